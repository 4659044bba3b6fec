// The bench mode: this device runs what `nstc bench` asks for, in the worker of the live page.

import { Calls } from "./calls.mjs";
import { median } from "./timing.mjs";

const RUNTIME = "runtime/"; // where onnxruntime-web lies, and the run's own files
const RUN = "bench/";

const element = (id) => document.getElementById(id);
const address = (folder) => new URL(folder, document.baseURI).href;
const worker = new Calls("./engine-worker.mjs", show);

/** @param {import("./bench-job.mjs").Progress} progress */
function show({ line, threads, names, samples, done, steps }) {
  say(line);
  element("place").textContent = placeOf(threads);
  element("progress").max = steps;
  element("progress").value = done;
  element("figures").hidden = false;
  element("times").replaceChildren(...names.map((name, i) => rowOf(name, samples[i])));
}

function placeOf(threads) {
  if (threads > 1) return `WebAssembly, ${threads} threads`;
  if (crossOriginIsolated) return "WebAssembly, 1 thread";
  return "WebAssembly, 1 thread: more need a secure page (--https)";
}

function rowOf(name, times) {
  const row = document.createElement("tr");
  const title = document.createElement("th");
  title.scope = "row";
  title.textContent = name;
  row.append(title);
  for (const time of [median(times), Math.min(...times)]) {
    row.insertCell().textContent = times.length ? figure(time) : "–";
  }
  return row;
}

function figure(ms) {
  return ms.toPrecision(Math.max(3, Math.ceil(Math.log10(ms))));
}

function say(line) {
  if (element("now").textContent !== line) element("now").textContent = line; // it is read out
}

// a page in the background is throttled: its times would say nothing
document.addEventListener("visibilitychange", () => {
  const why = "the page was put into the background";
  if (document.hidden) worker.call("abandon", { why }).catch(() => {}); // it has ended already
});

try {
  await navigator.wakeLock?.request("screen").catch(() => {}); // some refuse: not needed, only kind
  await worker.call("start", {
    folder: address(RUNTIME),
    wanted: "wasm",
    remedy: "run nstc bench again",
  });
  await worker.call("bench", { folder: address(RUN) });
  say("Done");
  element("keep").textContent = "The results are where nstc bench runs: this page can be closed.";
  console.info("nstc: done"); // for whoever drives this browser, who must not ask meanwhile
} catch (error) {
  for (const id of ["now", "progress", "keep"]) element(id).hidden = true;
  element("notice").hidden = false;
  element("notice-line").textContent = `Stopped: ${error.message}`;
  console.info(`nstc: ${error.message}`);
}
worker.end();
