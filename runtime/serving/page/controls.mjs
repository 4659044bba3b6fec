// The controls of the page, and the settings that they stand for.

import { FRAME_SIZES, SIZES } from "./settings.mjs";

const percent = (value) => `${Math.round(value * 100)} %`;

const RANGES = {
  strength: percent,
  share: percent,
  brush: (value) => `${value}×`,
};

const element = (id) => document.getElementById(id);

/** Shows settings, and reports changes of them. */
export class Controls {
  #models;

  /**
   * @param {object} site Of site.json.
   * @param {(changed: Partial<import("./settings.mjs").Settings>) => void} change
   */
  constructor(site, change) {
    this.#models = site.models;
    const on = (id, kind, read) =>
      element(id).addEventListener(kind, ({ target }) => change({ [id]: read(target) }));
    this.#listSizes();
    for (const id of Object.keys(RANGES)) on(id, "input", ({ value }) => Number(value));
    for (const id of ["size", "frame"]) on(id, "change", ({ value }) => Number(value));
    on("colors", "change", ({ checked }) => checked);
    on("second", "change", ({ value }) => value);
    for (const name of ["engine", "precision"]) {
      for (const radio of document.getElementsByName(name)) {
        radio.addEventListener("change", () => change({ [name]: radio.value }));
      }
    }
  }

  /** @param {import("./settings.mjs").Settings} settings */
  show(settings) {
    for (const [id, text] of Object.entries(RANGES)) {
      const range = element(id);
      range.value = String(settings[id]);
      const share = (settings[id] - range.min) / (range.max - range.min);
      range.style.setProperty("--fill", `${100 * share}%`);
      range.setAttribute("aria-valuetext", text(settings[id]));
      element(`${id}-now`).textContent = text(settings[id]);
    }
    element("colors").checked = settings.colors;
    for (const id of ["size", "frame"]) element(id).value = String(settings[id]);
    this.#listSeconds(settings);
    element("share-row").hidden = element("second").value === "";
    for (const name of ["engine", "precision"]) {
      for (const radio of document.getElementsByName(name)) {
        radio.checked = radio.value === settings[name];
      }
    }
    this.#allowPrecisions(settings);
  }

  /** Sizes of a camera's frames in the place of a photograph's, or the other way. */
  forCamera(isOn) {
    element("size-row").hidden = isOn;
    element("frame-row").hidden = !isOn;
  }

  #listSizes() {
    const text = (size) => (size ? `up to ${size} pixels` : "as large as it is");
    element("size").replaceChildren(...SIZES.map((size) => new Option(text(size), String(size))));
    const frames = FRAME_SIZES.map((size) => new Option(`${size} pixels`, String(size)));
    element("frame").replaceChildren(...frames);
  }

  #listSeconds({ model, second }) {
    const others = this.#models.filter(({ name }) => name !== model);
    const options = others.map(({ name, title }) => new Option(title, name));
    element("second").replaceChildren(new Option("No other style", ""), ...options);
    element("second").value = others.some(({ name }) => name === second) ? second : "";
    element("second-row").hidden = others.length === 0;
  }

  #allowPrecisions({ model, engine }) {
    const own = this.#models.find(({ name }) => name === model);
    const there =
      engine === "server" ? own.server : own.browser.map(({ precision }) => precision);
    for (const radio of document.getElementsByName("precision")) {
      radio.disabled = radio.value !== "auto" && !there.includes(radio.value);
      radio.closest("label").classList.toggle("is-missing", radio.disabled);
    }
    element("precision-row").hidden = there.length < 2;
  }
}
