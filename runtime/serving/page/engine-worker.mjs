// Runs networks on this device by onnxruntime-web: one worker for WebAssembly, one for WebGPU.

import { answering, isOutOfMemory, Moved, PageError, tell } from "./calls.mjs";
import { fromUnits, toUnits } from "./pixels.mjs";
import { threadsOf } from "./timing.mjs";

const MOST_SESSIONS = 6;
const WARM_UP = 64; // pixels a side: a session's first run is slower than all others

const MODULES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };

const here = {
  agent: navigator.userAgent,
  isolated: globalThis.crossOriginIsolated === true,
  secure: globalThis.isSecureContext === true,
  cores: navigator.hardwareConcurrency || 1,
};
const stop = new AbortController(); // of a bench

let ort = null;
let backend = "wasm";
let before = Promise.resolve(); // the run before: sessions of one runtime can't run at once
const sessions = new Map(); // by the file's address, the least recently used first

answering({ start, run, bench, abandon });

/** Load onnxruntime-web; how many threads it has, or null where WebGPU is not to be had. */
async function start({ folder, wanted, remedy }) {
  backend = wanted;
  if (backend === "webgpu" && !(await navigator.gpu?.requestAdapter())) return null;
  try {
    ort = await import(new URL(MODULES[backend], folder));
  } catch (error) {
    throw new PageError(`onnxruntime-web can't be loaded (${error.message}): ${remedy}.`);
  }
  const threads = threadsOf(here);
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  return threads;
}

/** Stylise RGB bytes; the same size, and the network's time. One after the other. */
function run(given) {
  const ran = before.then(() => runNow(given));
  before = ran.catch(() => {});
  return ran;
}

/** Do a run of `nstc bench`, whose files and messages are in a folder; tells of its progress. */
async function bench({ folder }) {
  const { runJob } = await import("./bench-job.mjs");
  await runJob(ort, folder, here, tell, stop.signal);
}

/** End the bench before its next round. */
function abandon({ why }) {
  stop.abort(new Error(why));
}

async function runNow({ model, data, height, width }) {
  try {
    const session = await opened(model);
    const { values, ms } = await timed(session, model, { data, height, width });
    return new Moved({ data: values, height, width, ms }, [values.buffer]);
  } catch (error) {
    if (!isOutOfMemory(error)) throw error;
    throw Object.assign(new Error(error.message), { name: "OutOfMemory" });
  }
}

async function opened(model) {
  const known = sessions.get(model.address);
  if (known) {
    sessions.delete(model.address);
    sessions.set(model.address, known);
    return known;
  }
  const response = await fetch(model.address);
  if (!response.ok) throw new PageError(`The model can't be fetched (status ${response.status}).`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: [backend],
    enableCpuMemArena: false, // or each session would keep the memory of its largest picture
  });
  const side = WARM_UP * Math.ceil(model.multiple / WARM_UP || 1);
  const blank = { data: new Uint8Array(side * side * 3), height: side, width: side };
  await timed(session, model, blank);
  sessions.set(model.address, session);
  for (const [oldest, own] of sessions) {
    if (sessions.size <= MOST_SESSIONS) break;
    sessions.delete(oldest);
    await own.release();
  }
  return session;
}

async function timed(session, model, { data, height, width }) {
  const inBytes = model.dtype === "uint8";
  const shape = inBytes ? [1, height, width, 3] : [1, 3, height, width];
  const values = inBytes ? data : toUnits({ data, height, width });
  const name = model.output ?? session.outputNames[0];
  const start = performance.now();
  const input = new ort.Tensor(model.dtype, values, shape);
  const feed = { [model.input ?? session.inputNames[0]]: input };
  const output = (await session.run(feed, [name]))[name];
  const given = await output.getData();
  const ms = performance.now() - start;
  const stylised = inBytes ? given.slice() : fromUnits(given);
  output.dispose();
  return { values: stylised, ms };
}
