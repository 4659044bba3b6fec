// Pictures as arrays: RGB bytes as networks take them, RGBA as canvases have them.

/**
 * @typedef {object} Picture
 * @property {Uint8Array} data RGB bytes, rows from the top.
 * @property {number} height In pixels.
 * @property {number} width
 * @property {Uint8Array} [alpha] A byte a pixel; missing where all of it is opaque.
 */

/** @returns {Picture} What a canvas holds. */
export function fromImageData({ data, height, width }) {
  const rgb = new Uint8Array(height * width * 3);
  let opaque = 255;
  for (let i = 0, j = 0; i < data.length; i += 4) {
    rgb[j++] = data[i];
    rgb[j++] = data[i + 1];
    rgb[j++] = data[i + 2];
    opaque &= data[i + 3];
  }
  if (opaque === 255) return { data: rgb, height, width };
  const alpha = new Uint8Array(height * width);
  for (let i = 0; i < alpha.length; i++) alpha[i] = data[4 * i + 3];
  return { data: rgb, height, width, alpha };
}

/** @returns {Uint8ClampedArray} RGBA, for an ImageData. */
export function toRgba({ data, height, width, alpha }) {
  const rgba = new Uint8ClampedArray(height * width * 4);
  for (let i = 0, j = 0, k = 0; k < rgba.length; i++, k += 4) {
    rgba[k] = data[j++];
    rgba[k + 1] = data[j++];
    rgba[k + 2] = data[j++];
    rgba[k + 3] = alpha ? alpha[i] : 255;
  }
  return rgba;
}

/** @returns {Float32Array} RGB bytes as [1, 3, H, W] from 0 to 1. */
export function toUnits({ data, height, width }) {
  const plane = height * width;
  const units = new Float32Array(3 * plane);
  for (let i = 0, j = 0; i < plane; i++) {
    units[i] = data[j++] / 255;
    units[plane + i] = data[j++] / 255;
    units[2 * plane + i] = data[j++] / 255;
  }
  return units;
}

/** @returns {Uint8Array} [1, 3, H, W] from 0 to 1, clipped, as RGB bytes. */
export function fromUnits(units) {
  const plane = units.length / 3;
  const data = new Uint8ClampedArray(units.length);
  for (let i = 0, j = 0; i < plane; i++) {
    data[j++] = units[i] * 255;
    data[j++] = units[plane + i] * 255;
    data[j++] = units[2 * plane + i] * 255;
  }
  return new Uint8Array(data.buffer);
}
