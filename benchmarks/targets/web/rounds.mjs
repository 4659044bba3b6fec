// The rounds of nstc's latency.py where JavaScript runs: in Node, and in any browser.
//
// The server says what to do (job.json) and takes what came of it; it trusts nothing from here.

// A time is at least so many steps of the clock, or several runs are timed in one stretch.
const STEPS_OF_CLOCK = 100;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The smallest step in ms that the clock makes: browsers coarsen it, least where isolated. */
function clockStep() {
  let smallest = Infinity;
  for (let i = 0; i < 20; i++) {
    const before = performance.now();
    let after = before;
    while (after === before) after = performance.now();
    smallest = Math.min(smallest, after - before);
  }
  return smallest;
}

class Server {
  constructor(link) {
    this.link = link;
    this.key = "";
  }

  async get(name) {
    return accepted(await fetch(new URL(name, this.link), { cache: "no-store" }));
  }

  async post(name, body) {
    const headers = { "Content-Type": "application/octet-stream", "Nstc-Run": this.key };
    const to = new URL(name, this.link);
    return accepted(await fetch(to, { method: "POST", headers, body }));
  }

  tell(name, content) {
    return this.post(name, JSON.stringify(content));
  }
}

async function accepted(response) {
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error ?? `status ${response.status}`);
}

/** One session with its input ready; `run` gives the output, and counts as one inference. */
async function opened(ort, server, file) {
  const model = new Uint8Array(await (await server.get(file.model)).arrayBuffer());
  const bytes = await (await server.get(file.feed)).arrayBuffer();
  const values = file.dtype === "uint8" ? new Uint8Array(bytes) : new Float32Array(bytes);
  const externalData = []; // weights that lie beside the graph, by the names it has for them
  for (const { path, file: name } of file.weights) {
    externalData.push({ path, data: new Uint8Array(await (await server.get(name)).arrayBuffer()) });
  }
  const options = { executionProviders: ["wasm"], ...(externalData.length && { externalData }) };
  const session = await ort.InferenceSession.create(model, options);
  const feed = { [file.input]: new ort.Tensor(file.dtype, values, file.shape) };
  const name = file.output ?? session.outputNames[0];
  return { run: async () => (await session.run(feed, [name]))[name] };
}

/** Milliseconds a run, of as many runs in one stretch as the clock needs to tell them. */
async function timed(session, stretch = 1) {
  const start = performance.now();
  for (let i = 0; i < stretch; i++) (await session.run()).dispose();
  return (performance.now() - start) / stretch;
}

/** Run until a run is not faster than the one before by more than the share that counts. */
async function warmUp(session, job) {
  let before = await timed(session);
  for (let runs = 0; runs < job.maxWarmUps; runs++) {
    const now = await timed(session);
    if (now >= before * (1 - job.steady)) return { runs, warmMs: Math.min(before, now) };
    before = now;
  }
  return { runs: job.maxWarmUps, warmMs: before };
}

/** How a turn of a session goes. */
async function planOf(session, job, clockStepMs) {
  await sleep(job.pauseMs);
  const { runs, warmMs } = await warmUp(session, job);
  const seen = Math.max(warmMs, clockStepMs);
  return {
    repeats: Math.min(job.mostRepeats, Math.max(1, Math.floor(job.turnMs / seen))),
    warmUps: Math.max(1, runs),
    stretch: Math.ceil((STEPS_OF_CLOCK * clockStepMs) / seen),
  };
}

async function turn(session, { repeats, warmUps, stretch }, job) {
  await sleep(job.pauseMs);
  for (let i = 0; i < warmUps; i++) await timed(session);
  const times = [];
  for (let i = 0; i < repeats; i++) times.push(await timed(session, stretch));
  return Math.min(...times);
}

/**
 * Do what the server asks, tell it of every step, and give it the pictures and the times.
 *
 * @param ort The onnxruntime-web module.
 * @param link Where the server's files lie; ends with a slash.
 * @param here { agent, isolated, secure, cores }: what this place is; threads need isolation.
 * @param say Called with a line for whoever watches.
 * @param stop An AbortSignal, or nothing.
 */
export async function runJob(ort, link, here, say, stop) {
  const server = new Server(link);
  const job = await (await server.get("job.json")).json();
  const threads = here.isolated ? (job.threads ?? Math.min(4, Math.ceil(here.cores / 2))) : 1;
  const place = {
    agent: here.agent.slice(0, 300),
    secure: here.secure,
    isolated: here.isolated,
    threads,
    clock_step_ms: clockStep(),
  };
  server.key = await (await server.tell("begin", place)).text();
  try {
    const watch = (line) => {
      stop?.throwIfAborted();
      say(line);
    };
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = threads;
    const samples = await measured(ort, server, job, place.clock_step_ms, watch);
    watch("sending the results");
    await server.tell("samples", { samples_ms: samples });
  } catch (error) {
    await server.tell("failed", { message: String(error?.message ?? error).slice(0, 300) });
    throw error;
  }
}

async function measured(ort, server, job, clockStepMs, say) {
  const sessions = [];
  const plans = [];
  for (const [i, file] of job.files.entries()) {
    say(`network ${i + 1} of ${job.files.length}`);
    const session = await opened(ort, server, file);
    await server.post(`output/${i}`, (await session.run()).data);
    plans.push(await planOf(session, job, clockStepMs));
    sessions.push(session);
    await server.tell("step", {});
  }
  const samples = sessions.map(() => []);
  for (const [round, order] of job.orders.entries()) {
    say(`round ${round + 1} of ${job.orders.length}`);
    for (const i of order) {
      samples[i].push(await turn(sessions[i], plans[i], job));
      await server.tell("step", {});
    }
  }
  return samples;
}
