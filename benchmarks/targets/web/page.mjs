// Runs the rounds in the browser that opened the page; the console says when it is over.
import * as ort from "./ort.wasm.min.mjs";
import { runJob } from "./rounds.mjs";

const say = (line) => { document.getElementById("now").textContent = line; };
const isolated = globalThis.crossOriginIsolated === true;
const here = {
  agent: navigator.userAgent,
  isolated,
  secure: globalThis.isSecureContext === true,
  cores: navigator.hardwareConcurrency || 1,
};

// a page in the background is throttled: its times would say nothing
const stop = new AbortController();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stop.abort(new Error("the page was put into the background"));
});

document.getElementById("where").textContent = isolated
  ? "WebAssembly with threads"
  : "WebAssembly on one thread: threads need a secure page (--https)";
try {
  await navigator.wakeLock?.request("screen").catch(() => {}); // some refuse: not needed, only kind
  ort.env.wasm.wasmPaths = new URL("./", location.href).href;
  await runJob(ort, new URL("bench/", location.href), here, say, stop.signal);
  say("done: the results are where nstc bench runs, this page can be closed");
  console.info("nstc: done");
} catch (error) {
  say(`stopped: ${error.message}`);
  console.info(`nstc: ${error.message}`);
}
