// A camera's frames through a network, for as long as the camera is on; the newest frame wins.

import { Rate } from "./newest.mjs";
import { servedPrecision } from "./server-engine.mjs";

/**
 * @typedef {object} Now What holds while a frame is taken.
 * @property {import("./settings.mjs").Settings} settings
 * @property {object[]} models Of site.json: one style, or two that are blended.
 * @property {import("./compose.mjs").Mixing} mixing
 */

/** Takes frames, has them stylised, and shows them. */
export class Filming {
  #camera;
  #pictures;
  #engines;
  #view;
  #streams = []; // to the server: one for each style
  #runs = 0; // a run ends where a newer one begins: the camera was closed and opened in between
  #frames = 0; // counted through all runs: the worker of pictures keeps frames by number

  /**
   * @param {import("./camera.mjs").Camera} camera
   * @param {import("./calls.mjs").Calls} pictures The worker of pictures.
   * @param {{device: object, server: object}} engines
   * @param {import("./studio.mjs").View} view
   */
  constructor(camera, pictures, engines, view) {
    [this.#camera, this.#pictures, this.#engines, this.#view] = [camera, pictures, engines, view];
  }

  /**
   * Show frames until the camera is off, or another run begins.
   *
   * @param {() => Now} now
   */
  async run(now) {
    const run = ++this.#runs;
    const isOver = () => run !== this.#runs || !this.#camera.isOn;
    const flying = new Set();
    const rate = new Rate();
    let fault = null;
    let newest = -1;
    while (!isOver()) {
      const depth = now().settings.engine === "server" ? this.#stream(0).depth : 1;
      while (flying.size >= depth) await Promise.race(flying);
      if (isOver()) return;
      if (fault) throw fault;
      const bitmap = await this.#next(isOver);
      if (!bitmap) return;
      const number = this.#frames++;
      const one = this.#frame(number, bitmap, now())
        .then((given) => {
          if (!given || number < newest || isOver()) return;
          newest = number;
          this.#view.shown(given.before, given.after);
          this.#view.ready(true);
          this.#view.measured(given.engine, { ...given.time, rate: rate.count() });
        })
        .catch((error) => (fault = error))
        .finally(() => flying.delete(one));
      flying.add(one);
    }
  }

  /** Close what is open to the server; frames on the way are lost. */
  disconnect() {
    for (const stream of this.#streams) stream.end();
    this.#streams = [];
  }

  /** The camera's next picture, or null if there is to be none. */
  async #next(isOver) {
    try {
      const bitmap = await this.#camera.frame();
      if (!isOver()) return bitmap;
      bitmap.close();
    } catch (error) {
      if (!isOver()) throw error; // a camera that was closed has no picture
    }
    return null;
  }

  async #frame(number, bitmap, { settings, models, mixing }) {
    const { engine, frame: size, brush, precision, share } = settings;
    const multiple = models[0].size_multiple;
    const mirrored = this.#camera.isMirrored;
    const given = { number, bitmap, size, brush, multiple, mirrored };
    const input = await this.#pictures.call("frame", given, [bitmap]);
    const made = models.map((model, slot) => {
      const isLast = slot === models.length - 1; // an engine may take the data for itself
      const own = isLast ? input : { ...input, data: input.data.slice() };
      return this.#stylised(engine, slot, model, precision, own);
    });
    const [first, second] = await Promise.all(made);
    if (!first || (models.length === 2 && !second)) return null;
    const recipe = { number, first, second, share, mixing };
    const pair = await this.#pictures.call("developed", recipe);
    if (!pair) return null;
    const { height, width } = pair;
    const time = { ms: first.ms, where: first.where };
    const [before, after] = [pair.before, pair.after].map((data) => ({ data, height, width }));
    return { before, after, time, engine };
  }

  async #stylised(engine, slot, model, precision, picture) {
    if (engine === "device") return this.#engines.device.stylise(model, precision, picture);
    const chosen = servedPrecision(model, precision);
    const choice = { model: model.name, precision: chosen };
    const given = await this.#stream(slot).stylise(choice, picture);
    return given && { ...given, where: chosen };
  }

  /** A connection for each of two styles: frames of one must not replace those of the other. */
  #stream(slot) {
    this.#streams[slot] ??= this.#engines.server.frames();
    return this.#streams[slot];
  }
}
