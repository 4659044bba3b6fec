// What the first bytes of a photo file say, before anything is decoded.

/**
 * @typedef {object} Header
 * @property {number} width
 * @property {number} height
 * @property {boolean} hasProfile Whether a colour profile tells what its colours mean.
 */

/**
 * Read a header of JPEG, PNG or WebP.
 *
 * @param {ArrayBuffer} buffer The file, or its beginning.
 * @returns {Header | null} null for another format, or where the beginning is not enough.
 */
export function photoHeader(buffer) {
  const view = new DataView(buffer);
  try {
    if (view.getUint16(0) === 0xffd8) return jpeg(view);
    if (view.getUint32(0) === 0x89504e47) return png(view);
    if (text(view, 0) === "RIFF" && text(view, 8) === "WEBP") return webp(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends too early: the decoder says so
  }
  return null;
}

function text(view, at, length = 4) {
  let read = "";
  for (let i = 0; i < length; i++) read += String.fromCharCode(view.getUint8(at + i));
  return read;
}

function jpeg(view) {
  let hasProfile = false;
  for (let at = 2; ; ) {
    while (view.getUint8(at) === 0xff && view.getUint8(at + 1) === 0xff) at++; // padding
    const marker = view.getUint16(at);
    const isSize = marker >= 0xffc0 && marker <= 0xffcf && ![4, 8, 12].includes(marker & 15);
    if (isSize) {
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), hasProfile };
    }
    if (marker < 0xff01 || marker === 0xffda || marker === 0xffd9) return null;
    if (marker === 0xffe2 && text(view, at + 4, 11) === "ICC_PROFILE") hasProfile = true;
    const standsAlone = marker === 0xff01 || (marker >= 0xffd0 && marker <= 0xffd7);
    at += standsAlone ? 2 : 2 + view.getUint16(at + 2);
  }
}

function png(view) {
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  for (let at = 8; ; at += 12 + view.getUint32(at)) {
    const name = text(view, at + 4);
    if (name === "iCCP") return { width, height, hasProfile: true };
    if (name === "IDAT") return { width, height, hasProfile: false };
  }
}

function webp(view) {
  const kind = text(view, 12);
  const side = (at) => 1 + view.getUint8(at) + (view.getUint16(at + 1, true) << 8);
  if (kind === "VP8X") {
    const hasProfile = (view.getUint8(20) & 0x20) !== 0;
    return { width: side(24), height: side(27), hasProfile };
  }
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >> 14) & 0x3fff), hasProfile: false };
  }
  const [width, height] = [26, 28].map((at) => view.getUint16(at, true) & 0x3fff);
  return { width, height, hasProfile: false };
}
