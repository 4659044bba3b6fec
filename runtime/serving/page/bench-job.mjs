// The run of `nstc bench`: its server says what to do (job.json) and takes what came of it. It trusts
// nothing from here.

import { clockStep, planOf, threadsOf, turn } from "./timing.mjs";

const MOST_TEXT = 300; // characters of a message's text

class Server {
  constructor(folder) {
    this.folder = folder;
    this.key = "";
  }

  async get(name) {
    return accepted(await fetch(new URL(name, this.folder), { cache: "no-store" }));
  }

  async post(name, body) {
    const headers = { "Content-Type": "application/octet-stream", "Nstc-Run": this.key };
    const to = new URL(name, this.folder);
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

/**
 * Do what the server asks, tell it of every step, and give it the pictures and the times.
 *
 * @param ort The onnxruntime-web module.
 * @param {string | URL} folder Address of the run's files and messages; ends with a slash.
 * @param here { agent, isolated, secure, cores }: what this place is.
 * @param {(progress: Progress) => void} tell Called with how far it is, before and after what is
 *   timed, never meanwhile.
 * @param {AbortSignal} [stop]
 */
export async function runJob(ort, folder, here, tell, stop) {
  const server = new Server(folder);
  const job = await (await server.get("job.json")).json();
  const place = {
    agent: here.agent.slice(0, MOST_TEXT),
    secure: here.secure,
    isolated: here.isolated,
    threads: threadsOf(here, job.threads),
    clock_step_ms: clockStep(),
  };
  server.key = await (await server.tell("begin", place)).text();
  try {
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = place.threads;
    const run = new Run(ort, server, job, place, tell, stop);
    await server.tell("samples", { samples_ms: await run.samples() });
  } catch (error) {
    const message = String(error?.message ?? error).slice(0, MOST_TEXT);
    await server.tell("failed", { message });
    throw error;
  }
}

/**
 * @typedef {object} Progress
 * @property {string} line What happens now.
 * @property {number} threads
 * @property {string[]} names Of the files.
 * @property {number[][]} samples Of each file, a time in ms for each round.
 * @property {number} done Steps, of `steps`.
 * @property {number} steps
 */

class Run {
  constructor(ort, server, job, place, tell, stop) {
    Object.assign(this, { ort, server, job, place, tell, stop });
    this.progress = {
      line: "",
      threads: place.threads,
      names: job.files.map(({ name }) => name),
      samples: job.files.map(() => []),
      done: 0,
      steps: job.files.length * (1 + job.orders.length),
    };
  }

  async samples() {
    const { job, place, server } = this;
    const { samples } = this.progress;
    const sessions = [];
    const plans = [];
    for (const [i, file] of job.files.entries()) {
      this.say(`Network ${i + 1} of ${job.files.length}`);
      const session = await opened(this.ort, server, file);
      await server.post(`output/${i}`, (await session.run()).data);
      plans.push(await planOf(session, job, place.clock_step_ms));
      sessions.push(session);
      await this.step();
    }
    for (const [round, order] of job.orders.entries()) {
      this.say(`Round ${round + 1} of ${job.orders.length}`);
      for (const i of order) {
        samples[i].push(await turn(sessions[i], plans[i], job));
        await this.step();
      }
    }
    this.say("Sending the results");
    return samples;
  }

  say(line) {
    this.stop?.throwIfAborted();
    this.progress.line = line;
    this.tell(this.progress);
  }

  async step() {
    this.progress.done += 1;
    this.tell(this.progress);
    await this.server.tell("step", {});
  }
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
