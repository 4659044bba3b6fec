// What is stylised now, by which engine, and what becomes of it: the page without its controls.

import { Calls, PageError } from "./calls.mjs";
import { DeviceEngine } from "./device-engine.mjs";
import { Filming } from "./filming.mjs";
import { Newest } from "./newest.mjs";
import { ServerEngine, servedPrecision } from "./server-engine.mjs";

const THUMB = 160; // pixels of the long side

/**
 * @typedef {object} View What a studio tells the page.
 * @property {(isBusy: boolean) => void} busy
 * @property {(isReady: boolean) => void} ready Whether there is a result to save.
 * @property {(line: string) => void} fault One line, or "" when it is over.
 * @property {(line: string) => void} server How it is with the server; "" when it answers.
 * @property {(line: string) => void} said What was done, for who can't see it.
 * @property {(before: object) => void} opened A photograph, RGBA; its result comes later.
 * @property {(before: object | null, after: object | null) => void} shown RGBA pictures; null for
 *   one that stays.
 * @property {() => void} cameraTurned It is on now, or off, or being opened.
 * @property {(engine: string, time: {ms: number, where: string, rate?: number} | null) => void} measured
 * @property {(model: string, picture: object) => void} thumb
 */

/** Takes photographs and frames, and shows them stylised. */
export class Studio {
  #site;
  #view;
  #settings;
  #camera;
  #pictures = new Calls("./picture-worker.mjs");
  #device;
  #server;
  #photo = null; // { number, blob, name, long, isDecoded }; its long side in pixels
  #numbers = 0;
  #turns = 0; // of what is chosen to be shown, photo or camera
  #times = new Map(); // of networks, by layer's key
  #developing = new Newest(() => this.#develop());
  #composing = new Newest(() => this.#compose());
  #aside = new Newest(() => this.#workAside());
  #request = new AbortController();
  #filming;

  /**
   * @param {object} site Of site.json.
   * @param {import("./settings.mjs").Settings} settings
   * @param {import("./camera.mjs").Camera} camera
   * @param {View} view
   */
  constructor(site, settings, camera, view) {
    [this.#site, this.#settings, this.#camera, this.#view] = [site, settings, camera, view];
    const remedy = site.server ? "run nstc web-setup" : "reload the page";
    this.#device = new DeviceEngine(site.runtime, remedy);
    this.#server = new ServerEngine(view.server);
    const engines = { device: this.#device, server: this.#server };
    this.#filming = new Filming(camera, this.#pictures, engines, view);
  }

  /** Why this device can't stylise, or "". */
  get deviceFault() {
    return this.#device.fault;
  }

  /** Time the style's network on this device, on a picture of a size; see `DeviceEngine`. */
  measure(size, told, signal) {
    const { model, precision } = this.#settings;
    return this.#device.measure(this.#model(model), precision, size, told, signal);
  }

  /** The name of the photograph, for files. */
  get photoName() {
    return this.#photo?.name ?? "photo";
  }

  /** Begin to choose what is shown, in the place of what was chosen before. */
  turn() {
    return ++this.#turns;
  }

  /** Whether something else was chosen since this turn. */
  isOutdated(turn) {
    return turn !== this.#turns;
  }

  /**
   * Show a photo file; whether it is on show, and not the camera or a photo that was chosen later.
   * `PageError` if it can't be; what was shown stays.
   */
  async open(blob, name) {
    const number = ++this.#numbers;
    const { limits } = this.#site;
    const turn = this.turn();
    const { fault, ...here } = await this.#pictures.call("open", { number, blob, name, limits });
    const { long } = fault ? await this.#openElsewhere(number, blob, fault) : here;
    if (this.#isPast(number)) return false;
    // the worker has it open now, so that it is the photo, whatever was chosen meanwhile
    if (!this.isOutdated(turn)) this.#closeCamera();
    this.#photo = { number, blob, name: name.replace(/\.\w+$/, ""), long, isDecoded: !fault };
    if (this.#camera.isOn) return false;
    if (!fault) {
      const { size } = this.#settings;
      const before = await this.#pictures.call("original", { size });
      if (this.#isPast(number) || this.#camera.isOn) return false;
      this.#view.opened(before);
    }
    this.#redevelop();
    return true;
  }

  /** Whether a later photo is open: the rule by which the worker, too, takes one or not. */
  #isPast(number) {
    return number < (this.#photo?.number ?? 0);
  }

  /** The server may read what this browser can't; if it can't either, the fault is thrown. */
  async #openElsewhere(number, blob, fault) {
    const { engine, model } = this.#settings;
    if (engine !== "server") throw new PageError(fault);
    const options = { model, precision: servedPrecision(this.#model(model), "auto") };
    try {
      const { photo } = await this.#server.stylise(blob, options);
      await this.#pictures.call("openElsewhere", { number });
      return { long: Math.max(photo.height, photo.width) };
    } catch (error) {
      throw error.name === "PageError" ? new PageError(fault) : error;
    }
  }

  /** Take other settings; only those that need a network run one. */
  change(settings) {
    const before = this.#settings;
    this.#settings = settings;
    const isOther = (field) => settings[field] !== before[field];
    if (this.#camera.isOn) {
      if (isOther("engine")) this.#filming.disconnect();
      if (["model", "frame", "brush", "precision"].some(isOther)) this.#forgetTimes();
    } else if (["model", "second", "brush", "size", "engine", "precision"].some(isOther)) {
      this.#redevelop();
    } else this.#composing.ask();
  }

  /** The result as a PNG file, or null if there is none. */
  async file() {
    const recipe = this.#camera.isOn ? { first: "camera" } : this.#recipe();
    return this.#pictures.call("file", { ...recipe, mixing: this.#mixing() });
  }

  #redevelop() {
    this.#view.ready(false);
    this.#request.abort(new DOMException("something newer is asked for", "AbortError"));
    return this.#developing.ask();
  }

  #styles() {
    const { model, second } = this.#settings;
    return second && second !== model ? [model, second] : [model];
  }

  #model(name) {
    return this.#site.models.find((own) => own.name === name);
  }

  #key(engine, name) {
    const { precision, size, brush } = this.#settings;
    return [this.#photo?.number, engine, name, precision, size, brush].join("|");
  }

  #mixing() {
    return { strength: this.#settings.strength, keepColors: this.#settings.colors };
  }

  #recipe() {
    const keys = this.#styles().map((name) => this.#key(this.#settings.engine, name));
    return { first: keys[0], second: keys[1], share: this.#settings.share, mixing: this.#mixing() };
  }

  async #develop() {
    const photo = this.#photo;
    if (!photo || this.#camera.isOn) return;
    const { engine } = this.#settings;
    this.#request = new AbortController();
    this.#view.busy(true);
    try {
      for (const name of this.#styles()) {
        await this.#layer(engine, name);
        if (this.#developing.isOutdated || this.#camera.isOn) return;
      }
      this.#view.fault("");
      await this.#show(engine);
      this.#aside.ask();
    } catch (error) {
      if (error.name !== "AbortError") this.#view.fault(lineOf(error));
    } finally {
      if (!this.#developing.isOutdated) this.#view.busy(false);
    }
  }

  async #show(engine) {
    const key = this.#key(engine, this.#settings.model);
    const before = await this.#pictures.call("original", { key, size: this.#settings.size });
    if (this.#developing.isOutdated) return;
    this.#view.shown(before, null);
    await this.#compose();
    const { title } = this.#model(this.#settings.model);
    const { ms } = this.#times.get(key);
    const pixels = `${before.width} by ${before.height} pixels`;
    this.#view.said(`Stylised as ${title}, ${pixels}, in ${Math.round(ms)} ms.`);
    for (const one of ["device", "server"]) {
      const time = this.#times.get(this.#key(one, this.#settings.model));
      this.#view.measured(one, time ?? null);
    }
  }

  async #compose() {
    if (!this.#photo || this.#camera.isOn) return;
    const recipe = this.#recipe();
    const after = await this.#pictures.call("composed", recipe);
    const { first, second } = this.#recipe();
    const isWanted = recipe.first === first && recipe.second === second && !this.#camera.isOn;
    if (!after || !isWanted) return;
    this.#view.shown(null, after);
    this.#view.ready(true);
  }

  /** See to it that a style's picture by an engine is kept. */
  async #layer(engine, name, isAside = false) {
    const key = this.#key(engine, name);
    const [settings, own] = [this.#settings, this.#photo];
    const [isMissing] = await this.#pictures.call("missing", { keys: [key] });
    if (!isMissing) return;
    const { ms, where, photo, stylised } = await this.#stylised(
      engine, name, settings, own, isAside);
    const { size } = settings;
    await this.#pictures.call("keep", { number: own.number, key, size, stylised, photo });
    this.#times.set(key, { ms, where });
  }

  /** The photograph in a style at a size: { ms, where, stylised, photo } with the server's photo. */
  async #stylised(engine, name, { size, brush, precision }, own, isAside) {
    const model = this.#model(name);
    const multiple = model.size_multiple;
    if (engine === "device") {
      if (!own.isDecoded) throw new PageError("This browser can't read the photo's format.");
      const input = await this.#pictures.call("input", { size, brush, multiple });
      const { ms, where, ...stylised } = await this.#device.stylise(model, precision, input);
      return { ms, where, stylised };
    }
    const chosen = servedPrecision(model, precision);
    const options = { model: name, precision: chosen, style_scale: brush };
    if (size && size < own.long) options.size = size; // the server would enlarge it
    const { signal } = this.#request;
    const given = isAside
      ? await this.#server.tryOnce(own.blob, options, signal)
      : await this.#server.stylise(own.blob, options, signal);
    const { height, width } = given.photo;
    const stylised = { data: given.stylised, height, width };
    return { ms: given.ms, where: chosen, stylised, photo: given.photo };
  }

  /** What can wait: small pictures of all styles, and the other engine's time for the same photo. */
  async #workAside() {
    const photo = this.#photo;
    const isOver = () =>
      this.#photo !== photo || this.#developing.isOutdated || this.#camera.isOn;
    const { engine, model } = this.#settings;
    const other = engine === "device" ? "server" : "device";
    try {
      const own = this.#can("device", model) ? "device" : engine;
      const small = { size: THUMB, brush: 1, precision: "auto" };
      for (const { name } of this.#thumbed === photo.number ? [] : this.#site.models) {
        if (isOver()) return;
        const { stylised } = await this.#stylised(own, name, small, photo, true);
        if (!isOver()) this.#view.thumb(name, stylised);
      }
      this.#thumbed = photo.number;
      if (isOver() || !this.#can(other, model)) return;
      const key = this.#key(other, model);
      await this.#layer(other, model, true);
      if (!isOver()) this.#view.measured(other, this.#times.get(key) ?? null);
    } catch (error) {
      if (error.name !== "AbortError") console.warn(error); // nobody asked for it
    }
  }

  #thumbed = 0; // the photograph whose small pictures are shown

  /** Times of both engines are shown beside one another: let them be of the same frames. */
  #forgetTimes() {
    for (const engine of ["device", "server"]) this.#view.measured(engine, null);
  }

  #can(engine, name) {
    const model = this.#model(name);
    if (engine === "server") return this.#site.server && model.server.length > 0;
    return this.#device.fault === "" && model.browser.length > 0 && this.#photo.isDecoded;
  }

  /** Open the camera, and stylise its frames until it is stopped; whether it is on. */
  async startCamera() {
    this.turn();
    return this.#film(this.#camera.start(() => this.stopCamera()));
  }

  /** Turn to the other camera; whether it is on. */
  async flipCamera() {
    if (!this.#camera.isOn) return false;
    try {
      return await this.#film(this.#camera.flip(() => this.stopCamera()));
    } catch (error) {
      await this.#freeze(); // of the camera before
      this.#redevelop();
      throw error;
    }
  }

  async #film(opening) {
    this.#view.cameraTurned();
    try {
      if (!(await opening)) return false;
    } finally {
      this.#view.cameraTurned();
    }
    this.#view.fault("");
    this.#forgetTimes();
    this.#request.abort(new DOMException("the camera is on", "AbortError"));
    this.#view.busy(false);
    this.#view.ready(false);
    const now = () => ({
      settings: this.#settings,
      models: this.#styles().map((name) => this.#model(name)),
      mixing: this.#mixing(),
    });
    this.#filming.run(now).catch((error) => this.#endFilming(error));
    return true;
  }

  async #endFilming(error) {
    this.#closeCamera();
    await this.#freeze();
    this.#view.fault(lineOf(error));
    await this.#redevelop(); // which takes the line away if it succeeds
    if (!this.#camera.isOn) this.#view.fault(lineOf(error));
  }

  /** Close the camera; its last frame becomes the photograph. */
  async stopCamera() {
    if (!this.#camera.isOn) return;
    this.#closeCamera();
    await this.#freeze();
    this.#redevelop();
  }

  async #freeze() {
    const number = ++this.#numbers;
    const last = await this.#pictures.call("freeze", { number });
    if (last && !this.#isPast(number)) this.#photo = { number, ...last, name: "camera", isDecoded: true };
  }

  #closeCamera() {
    if (!this.#camera.isOn && !this.#camera.isOpening) return;
    this.#camera.stop();
    this.#filming.disconnect();
    this.#view.cameraTurned();
  }
}

function lineOf(error) {
  if (error.name === "PageError") return error.message;
  return `It failed: ${error.message.split("\n")[0].slice(0, 200)}`;
}
