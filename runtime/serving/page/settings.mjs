// What a user can set, its bounds, and its form in the address, as in #model=udnie&strength=0.8.

/** Long sides in pixels that are offered; 0 is the photograph's own. */
export const SIZES = [256, 384, 512, 768, 1024, 1536, 2048, 0];

/** Long sides of a camera's frames. */
export const FRAME_SIZES = [192, 256, 320, 384, 512, 640];

/**
 * @typedef {object} Settings
 * @property {string} model Name of the style.
 * @property {string} second Name of the style that is blended in; "" for none.
 * @property {number} share How much of the second style, 0 to 1.
 * @property {number} strength 0 to 1.5.
 * @property {boolean} colors Whether the photograph's colours are kept.
 * @property {number} brush Size of brush strokes, a multiple of the trained one.
 * @property {number} size Largest long side in pixels; 0 for the photograph's own.
 * @property {number} frame Long side of a camera's frames in pixels.
 * @property {"device" | "server"} engine
 * @property {string} precision "auto", "int8" or "float".
 * @property {string} photo Name of a sample photograph; "" for one of the user's own.
 */

const FIELDS = {
  model: name(),
  second: name(),
  share: number(0, 1, 0.5),
  strength: number(0, 1.5, 1),
  colors: { initial: false, read: (text) => text === "1", write: (on) => (on ? "1" : "0") },
  brush: number(0.5, 3, 1),
  size: choice(SIZES.map(String), "1024", Number),
  frame: choice(FRAME_SIZES.map(String), "320", Number),
  engine: choice(["device", "server"], "device"),
  precision: choice(["auto", "int8", "float"], "auto"),
  photo: name(),
};

function number(low, high, initial) {
  const read = (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    return value >= low && value <= high ? value : initial;
  };
  return { initial, read, write: String };
}

function choice(values, initial, as = String) {
  const read = (text) => as(values.includes(text) ? text : initial);
  return { initial: as(initial), read, write: String };
}

function name() {
  const read = (text) => (/^[\w.:/-]{1,100}$/.test(text) ? text : "");
  return { initial: "", read, write: String };
}

/** @returns {Settings} What holds before anyone changes it. */
export function initialSettings() {
  return Object.fromEntries(Object.entries(FIELDS).map(([key, { initial }]) => [key, initial]));
}

/**
 * The settings of an address; what is missing or out of bounds stays as it is.
 *
 * @param {string} fragment With or without its "#".
 * @param {Settings} now
 * @returns {Settings}
 */
export function settingsOf(fragment, now) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const read = { ...now };
  for (const [key, field] of Object.entries(FIELDS)) {
    if (given.has(key)) read[key] = field.read(given.get(key));
  }
  return read;
}

/**
 * The fragment of an address, without "#": what differs from the settings that hold without one.
 *
 * @param {Settings} settings
 * @param {Settings} initial As `settingsOf` gets them where the address is read.
 * @returns {string}
 */
export function fragmentOf(settings, initial) {
  const given = new URLSearchParams();
  for (const [key, { write }] of Object.entries(FIELDS)) {
    if (key === "share" && settings.second === "") continue;
    if (settings[key] !== initial[key]) given.set(key, write(settings[key]));
  }
  return given.toString();
}
