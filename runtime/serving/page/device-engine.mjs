// The engine of this device: WebAssembly, and WebGPU where the browser has it.

import { Calls, PageError } from "./calls.mjs";

const PROBE = 256; // pixels a side of the picture by which the faster of two is chosen

/** Stylises in workers, so that the page never waits. */
export class DeviceEngine {
  #folder;
  #hasGpu;
  #remedy;
  #workers = new Map(); // by backend: { calls, started }, a promise of { calls, threads }
  #told = () => {}; // gets each round of the newest measurement
  #faster = null; // the backend that "auto" means, once measured

  /**
   * @param {{folder: string, webgpu: boolean} | null} runtime As site.json has it.
   * @param {string} remedy What to do where onnxruntime-web can't be loaded.
   */
  constructor(runtime, remedy) {
    this.#remedy = remedy;
    this.#folder = runtime && new URL(runtime.folder, document.baseURI).href;
    this.#hasGpu = Boolean(runtime?.webgpu && navigator.gpu);
  }

  /** Why it can't run, or "". */
  get fault() {
    if (this.#folder === null) return "onnxruntime-web is not installed: run nstc web-setup.";
    if (typeof WebAssembly !== "object") return "This browser has no WebAssembly.";
    return "";
  }

  /**
   * Stylise a picture of any size.
   *
   * @param {object} model Of site.json.
   * @param {string} precision "auto", or that of one of the model's files.
   * @param {import("./pixels.mjs").Picture} picture Its data move to a worker.
   * @returns {Promise<import("./pixels.mjs").Picture & {ms: number, where: string}>} `ms` is the
   *   time of the network alone, `where` says what ran it.
   */
  async stylise(model, precision, picture) {
    if (this.fault) throw new PageError(this.fault);
    const { backend, file } = await this.#plan(model, precision);
    const { threads } = await this.#worker(backend);
    const given = await this.#call("run", backend, model, file, picture);
    return { ...given, where: placeOf(file, backend, threads) };
  }

  /**
   * Time a model's network as `nstc bench` does.
   *
   * @param {object} model Of site.json.
   * @param {string} precision As of `stylise`.
   * @param {{height: number, width: number}} size Of the picture.
   * @param {(progress: {round: number, rounds: number}) => void} told Called before each round.
   * @param {AbortSignal} signal Ends it before its next round, as an AbortError.
   * @returns {Promise<{times: number[], where: string}>} A time in ms for each round.
   */
  async measure(model, precision, size, told, signal) {
    if (this.fault) throw new PageError(this.fault);
    const { backend, file } = await this.#plan(model, precision);
    const { calls, threads } = await this.#worker(backend);
    signal.throwIfAborted();
    this.#told = told;
    const abandon = () => calls.call("abandon", { why: "the measurement was ended" }).catch(() => {});
    signal.addEventListener("abort", abandon, { once: true });
    try {
      const times = await this.#call("measure", backend, model, file, probeOf(size));
      signal.throwIfAborted();
      return { times, where: placeOf(file, backend, threads) };
    } finally {
      signal.removeEventListener("abort", abandon);
    }
  }

  async #plan(model, precision) {
    const file = (name) => model.browser.find((own) => own.precision === name);
    const bytes = { backend: "wasm", file: file("int8") ?? model.browser[0] };
    if (!bytes.file) throw new PageError(`${model.title} has no file that runs in a browser.`);
    const float = file("float");
    if (!float || (precision === "int8" && file("int8"))) return bytes;
    const floats = { backend: (await this.#gpu()) ? "webgpu" : "wasm", file: float };
    if (precision === "float") return floats;
    if (floats.backend === "wasm") return bytes;
    this.#faster ??= await this.#measured(model, [floats, bytes]);
    return this.#faster === "webgpu" ? floats : bytes;
  }

  async #gpu() {
    if (!this.#hasGpu) return false;
    try {
      this.#hasGpu = (await this.#worker("webgpu")).threads !== null;
    } catch {
      this.#hasGpu = false; // its files may be missing: WebAssembly does without
    }
    return this.#hasGpu;
  }

  async #measured(model, plans) {
    let best = { ms: Infinity, backend: "wasm" };
    for (const { backend, file } of plans) {
      try {
        for (let i = 0; i < 2; i++) {
          const probe = probeOf({ height: PROBE, width: PROBE });
          const { ms } = await this.#call("run", backend, model, file, probe);
          if (ms < best.ms) best = { ms, backend };
        }
      } catch (error) {
        if (backend !== "webgpu") throw error;
        this.#hasGpu = false; // a driver that fails
      }
    }
    return best.backend;
  }

  #worker(backend) {
    const known = this.#workers.get(backend);
    if (known) return known.started;
    const calls = new Calls("./engine-worker.mjs", (progress) => this.#told(progress));
    const given = { folder: this.#folder, wanted: backend, remedy: this.#remedy };
    const started = calls.call("start", given).then((threads) => ({ calls, threads }));
    this.#workers.set(backend, { calls, started });
    started.catch(() => this.#drop(backend, calls));
    return started;
  }

  /** End a worker that failed, in whatever state it is; the next run starts another. */
  #drop(backend, calls) {
    calls.end();
    if (this.#workers.get(backend)?.calls === calls) this.#workers.delete(backend);
  }

  async #call(name, backend, model, file, { data, height, width }) {
    const { calls } = await this.#worker(backend);
    const { input, output, dtype } = file;
    const address = new URL(file.file, document.baseURI).href;
    const own = { address, input, output, dtype, multiple: model.size_multiple };
    try {
      return await calls.call(name, { model: own, data, height, width }, [data.buffer]);
    } catch (error) {
      if (error.name === "PageError" || error.name === "AbortError") throw error;
      this.#drop(backend, calls);
      if (error.name !== "OutOfMemory") throw error;
      const pixels = `${width} × ${height} pixels`;
      throw new PageError(`${pixels} are too many for this device's memory: choose a smaller size.`);
    }
  }
}

/** A picture of some pattern: what it shows changes no time. */
function probeOf({ height, width }) {
  const data = new Uint8Array(height * width * 3).map((_, k) => (k * 31) & 255);
  return { data, height, width };
}

function placeOf(file, backend, threads) {
  const place = backend === "webgpu" ? "WebGPU" : `WebAssembly, ${counted(threads)}`;
  return `${file.precision} · ${place}`;
}

function counted(threads) {
  return threads === 1 ? "1 thread" : `${threads} threads`;
}
