// The page: its parts, joined.

import { Camera } from "./camera.mjs";
import { PageError } from "./calls.mjs";
import { Controls } from "./controls.mjs";
import { takePhotos } from "./intake.mjs";
import { SamplePicker, StylePicker } from "./pickers.mjs";
import { toRgba } from "./pixels.mjs";
import { fragmentOf, initialSettings, settingsOf } from "./settings.mjs";
import { Split } from "./split.mjs";
import { Studio } from "./studio.mjs";
import { median } from "./timing.mjs";

const SCHEMA = "nstc.site/1";
const ADDRESS_WAIT_MS = 300; // browsers refuse an address that is written many times a second

const element = (id) => document.getElementById(id);
const imageOf = ({ data, height, width }) => new ImageData(data, width, height);

const canvases = { before: element("before"), after: element("after") };
const split = new Split(element("picture"), element("split"));

/** Put lines where they are read; "" takes one away. */
const lines = {
  fault: "",
  server: "",
  write() {
    const line = this.fault || this.server;
    element("notice-line").textContent = line;
    element("notice").hidden = line === "";
    element("notice").classList.toggle("is-waiting", this.fault === "");
  },
  set(kind, line) {
    if (this[kind] === line) return;
    this[kind] = line;
    this.write();
  },
};

function paint(canvas, picture) {
  if (!picture) return;
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    [canvas.width, canvas.height] = [picture.width, picture.height];
  }
  canvas.getContext("2d").putImageData(imageOf(picture), 0, 0);
}

/** What the studio tells the page. */
function viewOf(picker, isChosen, cameraTurned) {
  let isFirst = true;
  return {
    busy: (isBusy) => element("picture").classList.toggle("is-busy", isBusy),
    ready: (isReady) => (element("download").disabled = !isReady),
    fault: (line) => lines.set("fault", line),
    server: (line) => lines.set("server", line),
    said: (line) => (element("said").textContent = line),
    opened(before) {
      element("picture").classList.remove("has-result");
      this.shown(before, null);
    },
    shown(before, after) {
      paint(canvases.before, before);
      paint(canvases.after, after);
      const { height, width } = after ?? before;
      element("picture").style.setProperty("--ratio", String(width / height));
      element("result-size").textContent = `${width} × ${height}`;
      if (!after) return;
      element("picture").classList.add("has-result");
      if (isFirst) split.reveal();
      isFirst = false;
    },
    measured(engine, time) {
      const card = element(`engine-${engine}`);
      const ms = time ? `${figure(time.ms)} ms` : "–";
      const rate = time?.rate ? `${figure(time.rate)} frames/s` : "";
      card.querySelector(".ms").textContent = ms;
      card.querySelector(".rate").textContent = rate;
      if (time) card.querySelector(".where").textContent = time.where;
      if (time && isChosen(engine)) element("time").textContent = rate || ms;
    },
    cameraTurned,
    thumb: (name, picture) => picker.thumb(name, imageOf({ ...picture, data: toRgba(picture) })),
  };
}

function figure(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}

async function siteOf() {
  const response = await fetch("site.json", { cache: "no-cache" });
  if (!response.ok) throw new PageError("site.json can't be fetched: reload the page.");
  const site = await response.json();
  if (site.schema !== SCHEMA) throw new PageError("The page and site.json differ: reload the page.");
  if (site.models.length === 0) throw new PageError("There is no model on this page.");
  return site;
}

function placeOf(site, hasDevice) {
  if (!site.server) return "They are stylised on this device and never leave it.";
  const server = "They are stylised by the server that gave you this page";
  return hasDevice ? `${server}, or on this device.` : `${server}.`;
}

/** Settings of the address, for what this site has. */
function settled(site, settings) {
  const has = (name) => site.models.some((model) => model.name === name);
  const own = { ...settings };
  if (!has(own.model)) own.model = site.models[0].name;
  if (!has(own.second) || own.second === own.model) own.second = "";
  if (!site.server) own.engine = "device";
  else if (site.runtime === null) own.engine = "server";
  return own;
}

async function main() {
  const site = await siteOf();
  if (!site.server) {
    // before anything is shown: the page may load anew to have threads
    await Promise.race([
      import("./offline.mjs").then(({ keepOffline }) => keepOffline()).catch(() => false),
      new Promise((resolve) => setTimeout(resolve, 1500)),
    ]);
  }
  const initial = { ...initialSettings(), engine: site.server ? "server" : "device" };
  let settings = settled(site, settingsOf(location.hash, initial));
  const camera = new Camera(element("video"));
  const styles = new StylePicker(element("styles"), site.models, (model) => change({ model }));
  const view = viewOf(styles, (engine) => settings.engine === engine, showCamera);
  const studio = new Studio(site, settings, camera, view);
  const useSampleSafely = (photo) => attempt(() => useSample(photo));
  const samples = new SamplePicker(element("samples"), site.photos, useSampleSafely);
  const controls = new Controls(site, change);

  function show() {
    styles.show(settings.model);
    controls.show(settings);
    samples.show(settings.photo);
    element("after-name").textContent = nameOf(settings);
    writeAddress();
  }

  let writing = 0;
  function writeAddress() {
    clearTimeout(writing);
    writing = setTimeout(() => {
      try {
        history.replaceState(null, "", linkOf(settings));
      } catch (error) {
        console.warn(error); // too often even so: the next change writes it
      }
    }, ADDRESS_WAIT_MS);
  }

  function linkOf(own) {
    return new URL(`#${fragmentOf(own, initial)}`, location.href).href;
  }

  function nameOf({ model, second }) {
    const title = (name) => site.models.find((own) => own.name === name).title;
    return second ? `${title(model)} + ${title(second)}` : title(model);
  }

  const measureText = element("measure").textContent;
  let measuring = null; // ends the measurement, if there is one

  async function measure() {
    if (measuring) {
      endMeasurement();
      return;
    }
    const own = (measuring = new AbortController());
    const say = (line) => {
      if (!own.signal.aborted) element("measured").textContent = line;
    };
    element("measure").textContent = "Stop measuring";
    say("Measuring");
    const { height, width } = canvases.before;
    const told = ({ round, rounds }) => say(`Round ${round} of ${rounds}`);
    let line = "";
    try {
      const { times, where } = await studio.measure({ height, width }, told, own.signal);
      line = `Median ${figure(median(times))} ms, lowest ${figure(Math.min(...times))} ms`;
      line += ` (${width} × ${height}, ${where})`;
    } catch (error) {
      if (!own.signal.aborted) throw error;
    } finally {
      if (!own.signal.aborted) endMeasurement(line);
    }
  }

  /** End a measurement, if there is one: its times are disturbed, or not of what is on show. */
  function endMeasurement(line = "") {
    measuring?.abort();
    measuring = null;
    element("measure").textContent = measureText;
    element("measured").textContent = line;
  }

  function change(changed) {
    endMeasurement();
    settings = settled(site, { ...settings, ...changed });
    studio.change(settings);
    show();
  }

  /** Follow an address that was changed by hand. */
  function follow({ newURL }) {
    const { photo, ...changed } = settingsOf(new URL(newURL).hash, initial);
    const named = site.photos.find(({ name }) => name === photo);
    const isOther = named && photo !== settings.photo;
    change(changed);
    if (isOther) useSampleSafely(named);
  }

  async function attempt(work) {
    try {
      await work();
    } catch (error) {
      const text = error instanceof PageError ? error.message : `It failed: ${error.message}`;
      lines.set("fault", text);
    }
  }

  async function usePhoto(file, name = "") {
    endMeasurement();
    if (!(await studio.open(file, file.name || "The picture"))) return;
    settings.photo = name;
    show();
  }

  async function useSample({ name, file }) {
    endMeasurement();
    const turn = studio.turn();
    const response = await fetch(file);
    const blob = await response.blob();
    if (studio.isOutdated(turn)) return;
    if (!response.ok) throw new PageError(`${name} can't be fetched (status ${response.status}).`);
    await usePhoto(new File([blob], `${name}.jpg`), name);
  }

  function showCamera() {
    const { isOn, isOpening } = camera;
    if (isOn || isOpening) endMeasurement();
    element("measure").disabled = isOn || isOpening; // frames would take their share of its time
    // not `disabled`, which would take the focus away
    for (const id of ["camera", "flip"]) element(id).ariaDisabled = String(isOpening);
    element("camera-text").textContent = isOn ? "Stop camera" : "Camera";
    if (!isOn && !isOpening) element("flip").hidden = true;
    element("before-name").textContent = isOn ? "Camera" : "Photo";
    document.body.classList.toggle("is-live", isOn);
    controls.forCamera(isOn);
  }

  async function turnCamera() {
    if (camera.isOpening) return;
    if (camera.isOn) await studio.stopCamera();
    else if (await studio.startCamera()) {
      settings.photo = "";
      const hasSeveral = await camera.hasSeveral();
      element("flip").hidden = !(hasSeveral && camera.isOn);
    }
    show();
  }

  async function flipCamera() {
    if (!camera.isOpening) await studio.flipCamera();
  }

  async function download() {
    const blob = await studio.file();
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${studio.photoName}-${settings.model}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async function copyLink() {
    const text = element("copy-text");
    try {
      await navigator.clipboard.writeText(linkOf(settings));
      text.textContent = "Copied";
      element("said").textContent = "The link to these settings is copied.";
    } catch {
      throw new PageError("This browser copies nothing here: take the link from its address bar.");
    } finally {
      setTimeout(() => (text.textContent = "Copy link"), 2000);
    }
  }

  function reset() {
    const { strength, colors, brush, second, share } = initialSettings();
    change({ strength, colors, brush, second, share });
  }

  takePhotos(element("chooser"), element("drop"), (file) => attempt(() => usePhoto(file)));
  element("choose").addEventListener("click", () => element("chooser").click());
  element("camera").addEventListener("click", () => attempt(turnCamera));
  element("flip").addEventListener("click", () => attempt(flipCamera));
  element("download").addEventListener("click", () => attempt(download));
  element("copy").addEventListener("click", () => attempt(copyLink));
  element("measure").addEventListener("click", () => attempt(measure));
  element("reset").addEventListener("click", reset);
  element("dismiss").addEventListener("click", () => {
    lines.set("fault", "");
    element("choose").focus(); // what comes next, as the button is gone
  });
  addEventListener("hashchange", follow);
  document.addEventListener("visibilitychange", () => {
    const line = "Stopped: this page was in the background."; // where it is throttled
    if (document.hidden && measuring) endMeasurement(line);
  });

  element("engine-server").hidden = !site.server;
  element("measure-row").hidden = !site.server || studio.deviceFault !== "";
  const device = element("engine-device");
  device.classList.toggle("is-missing", studio.deviceFault !== "");
  device.querySelector("input").disabled = studio.deviceFault !== "";
  device.querySelector(".where").textContent = studio.deviceFault;
  element("engines").classList.toggle("is-single", !site.server);
  element("place").textContent = placeOf(site, studio.deviceFault === "");
  element("version").textContent = `nstc ${site.version}`;
  if (studio.deviceFault && !site.server) lines.set("fault", studio.deviceFault);
  show();
  showCamera();
  const first = site.photos.find(({ name }) => name === settings.photo) ?? site.photos[0];
  if (first) await attempt(() => useSample(first));
}

main().catch((error) => {
  lines.set("fault", error instanceof PageError ? error.message : `It failed: ${error.message}`);
});
