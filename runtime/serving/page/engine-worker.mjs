// Runs networks on this device by onnxruntime-web: one worker for WebAssembly, one for WebGPU.

import { answering, isOutOfMemory, Moved, PageError, tell } from "./calls.mjs";
import { fromUnits, toUnits } from "./pixels.mjs";
import { clockStep, PACE, planOf, threadsOf, turn } from "./timing.mjs";

const MOST_SESSIONS = 6;
const ROUNDS = 9; // of a measurement
const WARM_UP = 64; // pixels a side: a session's first run is slower than all others

const MODULES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };

const here = {
  agent: navigator.userAgent,
  isolated: globalThis.crossOriginIsolated === true,
  secure: globalThis.isSecureContext === true,
  cores: navigator.hardwareConcurrency || 1,
};

let stop = new AbortController(); // of the bench, or of the newest measurement

let ort = null;
let backend = "wasm";
let before = Promise.resolve(); // the run before: sessions of one runtime can't run at once
const sessions = new Map(); // by the file's address, the least recently used first

answering({ start, run, measure, bench, abandon });

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

/** Stylise RGB bytes; the same size, and the network's time. */
function run(given) {
  return inTurn(async () => {
    const session = await opened(given.model);
    const { height, width } = given;
    const { values, ms } = await timed(session, given.model, given);
    return new Moved({ data: values, height, width, ms }, [values.buffer]);
  });
}

/**
 * Time a network on RGB bytes as nstc bench does: of each round the lowest time of a run, in ms.
 * Tells of each round, between which other runs have their turn.
 */
async function measure(given) {
  const { signal } = (stop = new AbortController());
  const timing = (work) =>
    inTurn(async () => {
      signal.throwIfAborted();
      const session = await opened(given.model); // again: runs between rounds may have closed it
      const { values, shape, input, output } = prepared(session, given.model, given);
      const feed = { [input]: new ort.Tensor(given.model.dtype, values, shape) };
      return work({ run: async () => (await session.run(feed, [output]))[output] });
    });
  const plan = await timing((session) => planOf(session, PACE, clockStep()));
  const times = [];
  for (let round = 1; round <= ROUNDS; round++) {
    tell({ round, rounds: ROUNDS });
    times.push(await timing((session) => turn(session, plan, PACE)));
  }
  return times;
}

/** Do some work when that before is done. */
function inTurn(work) {
  const worked = before.then(work).catch((error) => {
    if (!isOutOfMemory(error)) throw error;
    throw Object.assign(new Error(error.message), { name: "OutOfMemory" });
  });
  before = worked.catch(() => {});
  return worked;
}

/** Do a run of `nstc bench`, whose files and messages are in a folder; tells of its progress. */
async function bench({ folder }) {
  const { runJob } = await import("./bench-job.mjs");
  await runJob(ort, folder, here, tell, stop.signal);
}

/** End the bench or the measurement before its next round. */
function abandon({ why }) {
  stop.abort(new DOMException(why, "AbortError"));
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

/** RGB bytes as a session takes them, and the names of its input and output. */
function prepared(session, model, { data, height, width }) {
  const inBytes = model.dtype === "uint8";
  return {
    inBytes,
    values: inBytes ? data : toUnits({ data, height, width }),
    shape: inBytes ? [1, height, width, 3] : [1, 3, height, width],
    input: model.input ?? session.inputNames[0],
    output: model.output ?? session.outputNames[0],
  };
}

async function timed(session, model, { data, height, width }) {
  const { inBytes, values, shape, ...names } = prepared(session, model, { data, height, width });
  const start = performance.now();
  const feed = { [names.input]: new ort.Tensor(model.dtype, values, shape) };
  const output = (await session.run(feed, [names.output]))[names.output];
  const given = await output.getData();
  const ms = performance.now() - start;
  const stylised = inBytes ? given.slice() : fromUnits(given);
  output.dispose();
  return { values: stylised, ms };
}
