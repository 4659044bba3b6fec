// Writes PNG files: a canvas would multiply colours by alpha and so lose some.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const RGB = 2;
const RGBA = 6;
const UP = 2; // a row as its difference from the one above: smaller files than plain rows

const CRC = new Uint32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/**
 * A picture as a PNG file, without loss.
 *
 * @param {{data: Uint8Array, height: number, width: number, alpha?: Uint8Array}} picture RGB bytes,
 *   and an alpha channel of one byte a pixel unless it is opaque.
 * @returns {Promise<Blob>}
 */
export async function png({ data, height, width, alpha }) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits a value
  header.setUint8(9, alpha ? RGBA : RGB);
  const deflated = new Blob([rows(alpha ? withAlpha(data, alpha) : data, height)])
    .stream()
    .pipeThrough(new CompressionStream("deflate"));
  const body = new Uint8Array(await new Response(deflated).arrayBuffer());
  const parts = [
    new Uint8Array(SIGNATURE),
    ...chunk("IHDR", new Uint8Array(header.buffer)),
    ...chunk("sRGB", new Uint8Array(1)),
    ...chunk("IDAT", body),
    ...chunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}

function withAlpha(data, alpha) {
  const joined = new Uint8Array(alpha.length * 4);
  for (let i = 0, j = 0; i < alpha.length; i++) {
    joined[j++] = data[3 * i];
    joined[j++] = data[3 * i + 1];
    joined[j++] = data[3 * i + 2];
    joined[j++] = alpha[i];
  }
  return joined;
}

function rows(values, height) {
  const stride = values.length / height;
  const filtered = new Uint8Array(values.length + height);
  let at = 0;
  for (let y = 0; y < height; y++) {
    filtered[at++] = UP;
    for (let i = y * stride; i < (y + 1) * stride; i++) {
      filtered[at++] = values[i] - (y > 0 ? values[i - stride] : 0);
    }
  }
  return filtered;
}

function chunk(name, body) {
  const tag = new TextEncoder().encode(name);
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, body.length);
  const sum = new DataView(new ArrayBuffer(4));
  let crc = 0xffffffff;
  for (const bytes of [tag, body]) {
    for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  }
  sum.setUint32(0, crc ^ 0xffffffff);
  return [new Uint8Array(length.buffer), tag, body, new Uint8Array(sum.buffer)];
}
