// Bicubic scaling as Pillow does it, to the byte: `nstc stylize --size` scales by Pillow.
//
// Pillow's convolution in fixed point (src/libImaging/Resample.c): the kernel is widened by the
// scale where a picture shrinks, weights are rounded to 22 bits, and rows are scaled before columns,
// unless they grow while columns shrink.

const BITS = 32 - 8 - 2;
const SUPPORT = 2; // of the bicubic kernel, in pixels
const A = -0.5;

/** Height and width times a scale, as Python rounds them; neither becomes 0. */
export function scaledSize(height, width, scale) {
  return [height, width].map((side) => Math.max(1, halfToEven(side * scale)));
}

function halfToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * Scale a picture to a height and width in pixels.
 *
 * @param {{data: Uint8Array, height: number, width: number}} picture `channels` bytes a pixel.
 * @param {number} height
 * @param {number} width
 * @param {number} channels 3 for colours, 1 for an alpha channel.
 * @returns {{data: Uint8Array, height: number, width: number}} The picture itself if it has that size.
 */
export function resized(picture, height, width, channels = 3) {
  const { data, height: from, width: along } = picture;
  if (height === from && width === along) return picture;
  if (width > along && height < from) {
    const lower = scaledColumns(data, from, height, along * channels);
    return { data: scaledRows(lower, height, along, width, channels), height, width };
  }
  const scaled = scaledRows(data, from, along, width, channels);
  return { data: scaledColumns(scaled, from, height, width * channels), height, width };
}

function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return ((A + 2) * t - (A + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * A;
  return 0;
}

/** Of each pixel of the result: where the pixels that it is made of begin, and their weights. */
function weights(from, to) {
  const scale = from / to;
  const widened = Math.max(scale, 1);
  const reach = SUPPORT * widened;
  const all = [];
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const own = new Float64Array(end - first);
    let sum = 0;
    for (let k = 0; k < own.length; k++) {
      own[k] = cubic((k + first - centre + 0.5) * (1 / widened));
      sum += own[k];
    }
    const fixed = new Int32Array(own.length);
    for (let k = 0; k < own.length; k++) {
      const weight = (sum === 0 ? own[k] : own[k] * (1 / sum)) * 2 ** BITS;
      fixed[k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    all.push({ first, fixed });
  }
  return all;
}

// sums stay below 2^31: the weights of a pixel add up to 2^22, and to some 1.3 times that in size
const HALF = 1 << (BITS - 1);

function scaledRows(data, height, from, to, channels) {
  if (from === to) return data;
  const scaled = new Uint8ClampedArray(height * to * channels);
  const columns = weights(from, to);
  let at = 0;
  for (let y = 0; y < height; y++) {
    const row = y * from * channels;
    for (const { first, fixed } of columns) {
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        let i = row + first * channels + c;
        for (let k = 0; k < fixed.length; k++, i += channels) sum += data[i] * fixed[k];
        scaled[at++] = sum >> BITS;
      }
    }
  }
  return new Uint8Array(scaled.buffer);
}

function scaledColumns(data, from, to, stride) {
  if (from === to) return data;
  const scaled = new Uint8ClampedArray(to * stride);
  const sums = new Int32Array(stride); // a whole row at once: memory is read in its order
  let at = 0;
  for (const { first, fixed } of weights(from, to)) {
    sums.fill(HALF);
    for (let k = 0; k < fixed.length; k++) {
      const weight = fixed[k];
      const row = (first + k) * stride;
      for (let x = 0; x < stride; x++) sums[x] += data[row + x] * weight;
    }
    for (let x = 0; x < stride; x++) scaled[at++] = sums[x] >> BITS;
  }
  return new Uint8Array(scaled.buffer);
}
