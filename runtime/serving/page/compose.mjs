// What becomes of a photograph and its stylised picture: the formulas of nstc.runtime.control.
//
// With x the photograph and s the stylised picture, bytes, and Y the brightness of BT.601:
//
//     kept colours  c = x + Y(s - x)
//     strength a    y = x + a (c - x)      s in the place of c where colours are not kept
//     blend b       s = s1 + b (s2 - s1)   rounded to bytes, as strength b between two styles
//
// All in float32, every sum in the order that Python has it, so that a result is the same bytes.

const { fround } = Math;

/** Y of ITU-R BT.601, as float32. */
const BRIGHTNESS = [0.299, 0.587, 0.114].map(fround);

// Adding this to a float32 of less than 2^22 leaves no bits below 1: the sum rounds half to even.
const WHOLE = 1.5 * 2 ** 23;

/**
 * @typedef {object} Mixing
 * @property {number} strength 0 is the photograph, 1 the style; from -1 to 3 it extrapolates.
 * @property {boolean} keepColors Whether only the brightness is stylised.
 */

/**
 * Mix a photograph and its stylised picture; as `nstc.runtime.control.blended`, to the bit.
 *
 * @param {Uint8Array} photo RGB bytes.
 * @param {Uint8Array} stylised RGB bytes, as many.
 * @param {Mixing} mixing
 * @returns {Uint8Array} RGB bytes; `stylised` itself where nothing is mixed.
 */
export function blended(photo, stylised, { strength, keepColors }) {
  if (strength === 1 && !keepColors) return stylised;
  const mixed = new Uint8ClampedArray(photo.length);
  const a = fround(strength);
  if (keepColors) mixBrightness(photo, stylised, a, mixed);
  else {
    for (let i = 0; i < photo.length; i++) {
      mixed[i] = rounded(photo[i] + fround(a * (stylised[i] - photo[i])));
    }
  }
  return new Uint8Array(mixed.buffer);
}

function mixBrightness(photo, stylised, a, mixed) {
  const [red, green, blue] = BRIGHTNESS;
  for (let i = 0; i < photo.length; i += 3) {
    const r = fround(red * (stylised[i] - photo[i]));
    const g = fround(green * (stylised[i + 1] - photo[i + 1]));
    const b = fround(blue * (stylised[i + 2] - photo[i + 2]));
    const change = fround(a * fround(fround(r + g) + b));
    mixed[i] = rounded(photo[i] + change);
    mixed[i + 1] = rounded(photo[i + 1] + change);
    mixed[i + 2] = rounded(photo[i + 2] + change);
  }
}

/** A sum, as float32, to the nearest whole number, halves to even; the array clips it to a byte. */
function rounded(sum) {
  return fround(fround(fround(sum) + WHOLE) - WHOLE);
}

/**
 * One picture of two styles.
 *
 * @param {Uint8Array} first RGB bytes of one style.
 * @param {Uint8Array} second RGB bytes of the other.
 * @param {number} share How much of the second, from 0 to 1.
 * @returns {Uint8Array} RGB bytes.
 */
export function twoStyles(first, second, share) {
  if (share === 0) return first;
  return blended(first, second, { strength: share, keepColors: false });
}
