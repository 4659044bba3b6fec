// The engine of the server: photographs by HTTP, frames of a camera by a WebSocket.

import { PageError } from "./calls.mjs";

const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 15;
const BUSY = 429;
const MOST_IN_FLIGHT = 2;
const HEAD_BYTES = 8; // of a frame: number, width, height
const TIME_BYTES = 4;

const sleep = (s, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, s * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

/** Waits that double, from one try to the next. */
class Backoff {
  #seconds = FIRST_WAIT_S;

  next() {
    const now = this.#seconds;
    this.#seconds = Math.min(LONGEST_WAIT_S, 2 * now);
    return now;
  }

  reset() {
    this.#seconds = FIRST_WAIT_S;
  }
}

/** Stylises where `nstc serve` runs. */
export class ServerEngine {
  #tell;
  #base;

  /**
   * @param {(line: string) => void} tell Called with a line when the server does not answer, and
   *   with "" when it does again.
   */
  constructor(tell, base = document.baseURI) {
    this.#tell = tell;
    this.#base = base;
  }

  /**
   * Stylise a photo file; tries again, later and later, while the server is away or busy, and says
   * so, for as long as it is not aborted.
   *
   * @param {Blob} blob
   * @param {Record<string, string | number>} options model, precision, size, style_scale.
   * @param {AbortSignal} [signal]
   * @returns {Promise<{photo: import("./pixels.mjs").Picture, stylised: Uint8Array, ms: number}>}
   */
  async stylise(blob, options, signal) {
    try {
      return await this.#stylised(blob, options, signal);
    } catch (error) {
      if (signal?.aborted) this.#tell("");
      throw error;
    }
  }

  /** As `stylise`, for what nobody waits for: one try, and not a word if it fails. */
  async tryOnce(blob, options, signal) {
    const response = await this.#posted(blob, options, signal);
    if (response?.ok) return pairOf(response);
    throw new Error(`the server gave no picture (status ${response?.status ?? "none"})`);
  }

  async #stylised(blob, options, signal) {
    const backoff = new Backoff();
    for (;;) {
      const response = await this.#posted(blob, options, signal);
      if (response?.ok) {
        this.#tell("");
        return pairOf(response);
      }
      if (response && response.status !== BUSY && response.status < 502) {
        this.#tell("");
        throw new PageError(await faultOf(response));
      }
      const seconds = backoff.next();
      const why = response?.status === BUSY ? "is busy" : "does not answer";
      this.#tell(`The server ${why}. Trying again in ${seconds} s.`);
      await sleep(seconds, signal);
    }
  }

  async #posted(blob, options, signal) {
    const address = new URL("stylize", this.#base);
    for (const [name, value] of Object.entries(options)) address.searchParams.set(name, value);
    const headers = { "Content-Type": "application/octet-stream" };
    try {
      return await fetch(address, { method: "POST", headers, body: blob, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      return null; // the network's own errors say nothing that differs
    }
  }

  /** @returns {FrameStream} Frames through one connection, which comes back by itself. */
  frames() {
    return new FrameStream(new URL("frames", this.#base), this.#tell);
  }
}

/** @returns {string} The precision that the server runs a model in: the wanted one if it has it. */
export function servedPrecision(model, precision) {
  return model.server.includes(precision) ? precision : model.server[0];
}

async function pairOf(response) {
  const { headers } = response;
  const [width, height] = ["Nstc-Width", "Nstc-Height"].map((name) => Number(headers.get(name)));
  const hasAlpha = headers.get("Nstc-Alpha") === "1";
  const body = new Uint8Array(await response.arrayBuffer());
  const values = width * height * 3;
  if (!(values > 0) || body.length !== 2 * values + (hasAlpha ? width * height : 0)) {
    throw new PageError("The server's reply can't be read: is it of the same version as the page?");
  }
  const photo = { data: body.slice(0, values), height, width };
  if (hasAlpha) photo.alpha = body.slice(2 * values);
  const ms = Number(headers.get("Nstc-Milliseconds"));
  return { photo, stylised: body.slice(values, 2 * values), ms };
}

async function faultOf(response) {
  const text = await response.text();
  try {
    return String(JSON.parse(text).error).slice(0, 300);
  } catch {
    return `The server refused it (status ${response.status}).`;
  }
}

/** Frames to the server and back, at most two on the way. */
export class FrameStream {
  #address;
  #tell;
  #socket = null;
  #opened = null;
  #chosen = "";
  #flying = new Map(); // by number: how to settle it
  #backoff = new Backoff();
  #mustWait = false;
  #pause = null; // until the next try
  #ended = new AbortController();
  #number = 0;

  constructor(address, tell) {
    this.#address = new URL(address);
    this.#address.protocol = this.#address.protocol.replace("http", "ws");
    this.#tell = tell;
  }

  /** How many frames may be on the way at a time. */
  get depth() {
    return MOST_IN_FLIGHT;
  }

  /**
   * @param {{model: string, precision: string}} choice
   * @param {import("./pixels.mjs").Picture} picture At most 65535 pixels a side.
   * @returns {Promise<{data: Uint8Array, height: number, width: number, ms: number} | null>}
   *   null for a frame that a newer one replaced, that the server refused, or that was lost with the
   *   connection.
   */
  async stylise(choice, { data, height, width }) {
    await this.#pause;
    const socket = await this.#connected();
    if (!socket) return null;
    const wanted = JSON.stringify({ model: choice.model, precision: choice.precision });
    if (wanted !== this.#chosen) {
      socket.send(wanted);
      this.#chosen = wanted;
    }
    const number = this.#number++ & 0xffffffff;
    const message = new Uint8Array(HEAD_BYTES + data.length);
    const head = new DataView(message.buffer);
    head.setUint32(0, number, true);
    head.setUint16(4, width, true);
    head.setUint16(6, height, true);
    message.set(data, HEAD_BYTES);
    return new Promise((resolve) => {
      this.#flying.set(number, resolve);
      socket.send(message);
    });
  }

  /** Close the connection for good. */
  end() {
    this.#ended.abort(new Error("ended"));
    this.#socket?.close();
    this.#settleAll();
    this.#tell("");
  }

  /** Wait before the next try, longer each time; who asks meanwhile waits for the same. */
  #wait(why) {
    this.#pause ??= this.#waited(why).finally(() => (this.#pause = null));
    return this.#pause;
  }

  async #waited(why) {
    const seconds = this.#backoff.next();
    this.#tell(`${why} Trying again in ${seconds} s.`);
    await sleep(seconds, this.#ended.signal).catch(() => {}); // at once where it has ended
  }

  async #connected() {
    if (this.#socket?.readyState === WebSocket.OPEN) return this.#socket;
    this.#opened ??= this.#open().finally(() => (this.#opened = null));
    return this.#opened;
  }

  async #open() {
    while (!this.#ended.signal.aborted) {
      if (this.#mustWait) {
        await this.#wait("The server does not answer.");
        if (this.#ended.signal.aborted) return null;
      }
      this.#mustWait = true; // unless it gives a picture, the next one comes later
      const socket = new WebSocket(this.#address);
      this.#socket = socket;
      socket.binaryType = "arraybuffer";
      socket.addEventListener("message", ({ data }) => this.#take(data));
      const isOpen = await new Promise((resolve) => {
        socket.addEventListener("open", () => resolve(true));
        socket.addEventListener("close", () => {
          this.#settleAll();
          resolve(false);
        });
      });
      if (!isOpen) continue;
      this.#chosen = "";
      return socket;
    }
    return null;
  }

  #take(message) {
    if (this.#ended.signal.aborted) return;
    if (typeof message === "string") {
      const { error } = JSON.parse(message);
      if (!error) return;
      this.#chosen = ""; // what was refused may be the choice of a model
      this.#mustWait = false; // longer than for this refusal, if the connection ends by it
      this.#wait(String(error).slice(0, 300));
      this.#settleAll();
      return;
    }
    this.#mustWait = false;
    this.#backoff.reset();
    this.#tell("");
    const head = new DataView(message);
    const number = head.getUint32(0, true);
    for (const [older, settle] of this.#flying) {
      if (older === number) break;
      settle(null); // replaced: it will not be answered
      this.#flying.delete(older);
    }
    this.#flying.get(number)?.({
      data: new Uint8Array(message.slice(HEAD_BYTES + TIME_BYTES)),
      width: head.getUint16(4, true),
      height: head.getUint16(6, true),
      ms: head.getFloat32(HEAD_BYTES, true),
    });
    this.#flying.delete(number);
  }

  /** Give up what is on the way. */
  #settleAll() {
    for (const settle of this.#flying.values()) settle(null);
    this.#flying.clear();
  }
}
