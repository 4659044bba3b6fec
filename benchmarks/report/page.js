"use strict";
const root = document.documentElement;
root.classList.add("scripted");

const schemeButton = document.getElementById("scheme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.scheme || (prefersDark.matches ? "dark" : "light")) === "dark";
const nameScheme = () => { schemeButton.textContent = isDark() ? "Light" : "Dark"; };
schemeButton.setAttribute("aria-label", "Change between the light and the dark page");
schemeButton.hidden = false;
schemeButton.addEventListener("click", () => {
  root.dataset.scheme = isDark() ? "light" : "dark";
  nameScheme();
});
prefersDark.addEventListener("change", nameScheme);
nameScheme();

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const label = heading.querySelector("span");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label.textContent;
    label.replaceWith(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const numeric = heading.dataset.sort === "number";
      const value = (row) => row.cells[column].dataset.value;
      const known = [...body.rows].filter((row) => value(row) !== "");
      const unknown = [...body.rows].filter((row) => value(row) === "");
      const number = (row) => (value(row) === "inf" ? Infinity : Number(value(row)));
      const difference = (a, b) => (number(a) === number(b) ? 0 : number(a) - number(b));
      known.sort((a, b) => sign * (numeric ? difference(a, b) : value(a).localeCompare(value(b))));
      body.append(...known, ...unknown);
    });
  });
}

const cut = (layer, share) => { layer.style.clipPath = `inset(0 ${100 - share}% 0 0)`; };
const within = (number) => Math.max(0, Math.min(100, number));

for (const gallery of document.querySelectorAll(".gallery")) {
  const select = gallery.querySelector("select");
  const viewers = [...gallery.querySelectorAll(".viewer")];
  const show = (viewer) => {
    const slider = viewer.querySelector("input");
    const teacher = viewer.querySelector(".teacher");
    const at = Number(slider.value);
    const whole = teacher === null ? 0 : 100;
    if (teacher !== null) cut(teacher, within(at));
    viewer.querySelectorAll(".student").forEach((student, position) => {
      student.hidden = position !== select.selectedIndex;
      cut(student, within(at - whole));
    });
    const under = at < whole ? "photograph" : teacher === null ? "photograph" : "teacher";
    const over = at < whole ? "teacher" : "student";
    const share = at < whole ? at : at - whole;
    slider.setAttribute("aria-valuetext", `${Math.round(share)} % ${over}, the rest ${under}`);
  };
  select.addEventListener("change", () => viewers.forEach(show));
  for (const viewer of viewers) {
    viewer.querySelector("input").addEventListener("input", () => show(viewer));
    show(viewer);
  }
}
