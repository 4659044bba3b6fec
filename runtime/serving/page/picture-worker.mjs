// Holds the photograph and its stylised pictures, and makes of them what is shown and saved.
//
// All work on pixels is here, so that the page never waits for it.

import { answering, isOutOfMemory, Moved, PageError } from "./calls.mjs";
import { blended, twoStyles } from "./compose.mjs";
import { photoHeader } from "./photo-header.mjs";
import { fromImageData, toRgba } from "./pixels.mjs";
import { png } from "./png.mjs";
import { resized, scaledSize } from "./resize.mjs";

const HEADER_BYTES = 1 << 20; // a JPEG's metadata, which come first, may be long
const MOST_BYTES = 400e6; // of stylised pictures that are kept
const MOST_FRAMES = 4;
const MOST_CANVAS = 2 ** 22; // pixels: a larger canvas may be blank on a phone, or not to be had
const LAST_FRAME = "camera"; // the key of what the camera showed last

let photo = null;
let photoNumber = 0; // what comes late for another is dropped
let scaled = null; // the photograph at the last size that was asked for
const layers = new Map(); // of each network and size: { photo, stylised }, oldest first
const frames = new Map(); // of the camera, by number

answering({
  ...{ open, openElsewhere, original, input, keep, missing, composed, file },
  ...{ frame, developed, freeze },
});

/**
 * Decode a photo file; its long side, or what is wrong where another program may still read it.
 * What was open stays if this one can't be read.
 */
async function open({ number, blob, name, limits }) {
  refuseBytes(blob, name, limits);
  const header = photoHeader(await blob.slice(0, HEADER_BYTES).arrayBuffer());
  if (header) refusePixels(header, name, limits);
  // as nstc: colours of a profile become sRGB, and without one the values are taken as they are
  const colorSpaceConversion = header && !header.hasProfile ? "none" : "default";
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion, premultiplyAlpha: "none" });
  } catch (error) {
    if (isOutOfMemory(error)) throw tooMuch();
    const fault =
      `${name} can't be read as a picture: it is damaged, or of a format that this browser lacks. ` +
      "Choose a JPEG, PNG or WebP file.";
    return { fault };
  }
  refusePixels(bitmap, name, limits);
  taken(number, pixelsOf(bitmap, bitmap.width, bitmap.height));
  return { long: Math.max(photo.height, photo.width) };
}

/** A photograph that the server alone can read takes the place of the one that is open. */
function openElsewhere({ number }) {
  taken(number, null);
}

function taken(number, picture) {
  if (number < photoNumber) return; // a later one was decoded first
  photo = picture;
  photoNumber = number;
  scaled = null;
  layers.clear();
}

function refuseBytes({ size }, name, limits) {
  if (size <= limits.bytes) return;
  const [has, most] = inMillions(size, limits.bytes);
  throw new PageError(`${name} has ${has} MB: the limit is ${most} MB. Choose a smaller photo.`);
}

function refusePixels({ width, height }, name, limits) {
  if (width * height <= limits.pixels) return;
  const [has, most] = inMillions(width * height, limits.pixels);
  throw new PageError(
    `${name} has ${width} × ${height} pixels (${has} million): the limit is ${most} million. ` +
      "Choose a smaller photo.",
  );
}

/** Rounded so that what is beyond a limit never reads as if it were within. */
function inMillions(has, most) {
  return [Math.ceil(has / 1e5) / 10, Math.floor(most / 1e5) / 10];
}

function pixelsOf(bitmap, width, height, mirrored = false) {
  try {
    const rows = Math.min(height, Math.max(1, Math.floor(MOST_CANVAS / width)));
    const canvas = new OffscreenCanvas(width, rows);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "copy"; // nothing of the band before
    if (mirrored) context.setTransform(-1, 0, 0, 1, width, 0);
    const bands = [];
    for (let top = 0; top < height; top += rows) {
      context.drawImage(bitmap, 0, -top, width, height);
      bands.push(fromImageData(context.getImageData(0, 0, width, Math.min(rows, height - top))));
    }
    return bands.length === 1 ? bands[0] : joined(bands, height, width);
  } catch (error) {
    throw isOutOfMemory(error) || error.name === "InvalidStateError" ? tooMuch() : error;
  } finally {
    bitmap.close();
  }
}

/** Bands of a picture, from the top, as one. */
function joined(bands, height, width) {
  const picture = { data: new Uint8Array(3 * height * width), height, width };
  if (bands.some(({ alpha }) => alpha)) picture.alpha = new Uint8Array(height * width).fill(255);
  let top = 0;
  for (const { data, alpha, height: rows } of bands) {
    picture.data.set(data, 3 * width * top);
    if (alpha) picture.alpha.set(alpha, width * top);
    top += rows;
  }
  return picture;
}

function tooMuch() {
  return new PageError("The photo is too large for this device's memory: choose a smaller one.");
}

/** The photograph with its long side at most `size`; 0 for its own. */
function based(size) {
  const long = Math.max(photo.height, photo.width);
  const scale = size && size < long ? size / long : 1;
  const [height, width] = scaledSize(photo.height, photo.width, scale);
  if (scaled?.height !== height || scaled?.width !== width) {
    scaled = resized(photo, height, width);
    if (photo.alpha && scaled !== photo) {
      scaled.alpha = resized({ ...photo, data: photo.alpha }, height, width, 1).data;
    }
  }
  return scaled;
}

function shown(picture) {
  const rgba = toRgba(picture);
  const { height, width } = picture;
  return new Moved({ data: rgba, height, width }, [rgba.buffer]);
}

/** The photograph as RGBA: at a size, or as it belongs to a stylised picture. */
function original({ size, key }) {
  return shown(layers.get(key)?.photo ?? based(size));
}

/** What a network takes: the photograph at a size, smaller for a larger brush. */
function input({ size, brush, multiple = 1 }) {
  return forNetwork(based(size), brush, multiple);
}

function forNetwork(base, brush, multiple) {
  const [height, width] = scaledSize(base.height, base.width, 1 / brush).map(
    (side) => Math.max(1, Math.round(side / multiple)) * multiple,
  );
  const { data } = resized(base, height, width);
  const own = data === base.data ? data.slice() : data;
  return new Moved({ data: own, height, width }, [own.buffer]);
}

/** Keep what a network gave for `input`, or both pictures as the server gives them. */
function keep({ number, key, size, stylised, photo: own }) {
  if (number !== photoNumber) return;
  const base = own ?? based(size);
  keepLayer(key, { photo: base, stylised: resized(stylised, base.height, base.width).data });
}

function keepLayer(key, layer) {
  layers.delete(key);
  layers.set(key, layer);
  let bytes = 0;
  for (const { stylised } of layers.values()) bytes += 2 * stylised.length;
  for (const [oldest, { stylised }] of layers) {
    if (bytes <= MOST_BYTES || layers.size <= 2) return; // two styles may be on show
    layers.delete(oldest);
    bytes -= 2 * stylised.length;
  }
}

/** Which of these are not kept. */
function missing({ keys }) {
  return keys.filter((key) => !layers.has(key));
}

/** The result as RGBA, or null if its parts are not kept. */
function composed(recipe) {
  const picture = made(recipe);
  return picture && shown(picture);
}

/** The result as a PNG file. */
async function file(recipe) {
  const picture = made(recipe);
  return picture && (await png(picture));
}

function made({ first, second, share, mixing }) {
  const one = layers.get(first);
  const two = second ? layers.get(second) : null;
  if (!one || (second && !two)) return null;
  const stylised = two ? twoStyles(one.stylised, two.stylised, share) : one.stylised;
  return { ...one.photo, data: blended(one.photo.data, stylised, mixing) };
}

/** Take a frame of the camera; what a network takes of it. */
function frame({ number, bitmap, size, brush, multiple = 1, mirrored }) {
  const scale = size / Math.max(bitmap.height, bitmap.width);
  const [height, width] = scaledSize(bitmap.height, bitmap.width, scale);
  const own = pixelsOf(bitmap, width, height, mirrored);
  frames.set(number, own);
  for (const old of frames.keys()) if (old <= number - MOST_FRAMES) frames.delete(old);
  return forNetwork(own, brush, multiple);
}

/** A frame and its result, both as RGBA; `second` may be missing. */
function developed({ number, first, second, share, mixing }) {
  const own = frames.get(number);
  if (!own) return null;
  frames.delete(number);
  const { height, width } = own;
  const sized = (stylised) => resized(stylised, height, width).data;
  const stylised = second ? twoStyles(sized(first), sized(second), share) : sized(first);
  keepLayer(LAST_FRAME, { photo: own, stylised });
  const [before, after] = [own.data, blended(own.data, stylised, mixing)].map((data) =>
    toRgba({ data, height, width }),
  );
  return new Moved({ before, after, height, width }, [before.buffer, after.buffer]);
}

/** The camera's last frame becomes the photograph; also as a file, for the server. Null for none. */
async function freeze({ number }) {
  const last = layers.get(LAST_FRAME)?.photo;
  if (!last) return null;
  taken(number, last);
  return { long: Math.max(last.height, last.width), blob: await png(last) };
}
