// Resize an image to the model's input size: Pillow's antialiased resampling, bit for bit.
//
// The rule comes from the model's manifest. As in Pillow, weights are computed in double precision,
// rounded to 22 fractional bits, and applied to one axis after the other, with 8-bit values in
// between; the box is rounded to single precision first, as in Pillow's C code.

/**
 * Pixels that can be read in strips, so that a large photograph is never in memory as a whole.
 * @typedef {Object} PixelSource
 * @property {number} width
 * @property {number} height
 * @property {(top: number, count: number) => Uint8ClampedArray | Uint8Array} rows
 *   RGBA values of `count` rows, starting at row `top`.
 */

/**
 * @typedef {Object} Filter
 * @property {number} support  Radius of the filter, in target pixels.
 * @property {(x: number) => number} weight
 */

const PRECISION_BITS = 22;
const STRIP_ROWS = 128;

/** @type {Record<string, Filter>} */
const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
};

/** Keys' cubic with a = -0.5. @param {number} x */
function bicubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/**
 * The region of the image that a resize rule uses, [left, top, right, bottom] in pixels.
 * @param {number} sourceWidth
 * @param {number} sourceHeight
 * @param {number} width
 * @param {number} height
 * @param {string} shape  `crop` or `stretch`.
 * @returns {[number, number, number, number]}
 */
export function region(sourceWidth, sourceHeight, width, height, shape) {
  if (shape === "stretch") return [0, 0, sourceWidth, sourceHeight];
  const scale = Math.min(sourceWidth / width, sourceHeight / height);
  const left = (sourceWidth - width * scale) / 2;
  const top = (sourceHeight - height * scale) / 2;
  // Rounding may move an edge slightly outside the image.
  return [
    Math.max(0, left),
    Math.max(0, top),
    Math.min(sourceWidth, left + width * scale),
    Math.min(sourceHeight, top + height * scale),
  ];
}

/**
 * Weights of one axis: for each target pixel, the first source pixel, their number and weights.
 * @param {number} sourceSize
 * @param {number} start  Start and end of the box on this axis.
 * @param {number} end
 * @param {number} size
 * @param {Filter} filter
 */
export function axisWeights(sourceSize, start, end, size, filter) {
  const from = Math.fround(start);
  const scale = Math.fround(Math.fround(end) - from) / size;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  const reach = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(size);
  const count = new Int32Array(size);
  const weights = new Int32Array(size * reach);
  const values = new Float64Array(reach);
  for (let at = 0; at < size; at++) {
    const centre = from + (at + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(sourceSize, Math.trunc(centre + support + 0.5));
    let sum = 0;
    for (let x = 0; x < high - low; x++) {
      values[x] = filter.weight((x + low - centre + 0.5) * (1 / filterScale));
      sum += values[x];
    }
    for (let x = 0; x < high - low; x++) {
      const share = (sum === 0 ? values[x] : values[x] / sum) * (1 << PRECISION_BITS);
      weights[at * reach + x] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    first[at] = low;
    count[at] = high - low;
  }
  return { first, count, weights, reach };
}

/**
 * The model's input size and resize rule.
 * @typedef {Object} Input
 * @property {number} height
 * @property {number} width
 * @property {string} resize  A resize rule of the manifest, for example `crop-bilinear`.
 */

/**
 * Resize an image to the model's input size.
 * @param {PixelSource} source
 * @param {Input} input
 * @returns {Uint8Array}  RGB values [height, width, 3].
 */
export function resize(source, { width, height, resize: rule }) {
  const [shape, kernel] = rule.split("-");
  const filter = FILTERS[kernel];
  if (!filter || !["crop", "stretch"].includes(shape)) throw new Error(`unknown resize rule ${rule}`);
  const [left, top, right, bottom] = region(source.width, source.height, width, height, shape);
  const across = axisWeights(source.width, left, right, width, filter);
  const down = axisWeights(source.height, top, bottom, height, filter);
  const shorter = source.height - height;
  // The order affects the last bit; hashkit/preprocess.py uses the same one.
  const isDownFirst = shorter > 0 && shorter > 2 * (source.width - width);
  return (isDownFirst ? downThenAcross : acrossThenDown)(source, width, height, across, down);
}

function acrossThenDown(source, width, height, across, down) {
  const firstRow = down.first[0];
  const lastRow = down.first[height - 1] + down.count[height - 1];
  const middle = new Uint8Array((lastRow - firstRow) * width * 3);
  for (let top = firstRow; top < lastRow; top += STRIP_ROWS) {
    const nRows = Math.min(STRIP_ROWS, lastRow - top);
    const strip = source.rows(top, nRows);
    resampleAcross(strip, 4, nRows, source.width, width, across, middle, (top - firstRow) * width * 3);
  }
  const out = new Uint8Array(height * width * 3);
  for (let at = 0; at < height; at++) resampleDown(middle, 3, width, firstRow, down, at, out);
  return out;
}

function downThenAcross(source, width, height, across, down) {
  const middle = new Uint8Array(height * source.width * 3);
  for (let at = 0; at < height; at++) {
    const strip = source.rows(down.first[at], down.count[at]);
    resampleDown(strip, 4, source.width, down.first[at], down, at, middle);
  }
  const out = new Uint8Array(height * width * 3);
  resampleAcross(middle, 3, height, source.width, width, across, out, 0);
  return out;
}

/** Resample rows of `step` values per pixel to rows of `width` RGB pixels, written from `to` on. */
function resampleAcross(pixels, step, nRows, sourceWidth, width, axis, out, to) {
  const { first, count, weights, reach } = axis;
  for (let row = 0; row < nRows; row++) {
    for (let at = 0; at < width; at++) {
      let from = (row * sourceWidth + first[at]) * step;
      let red = HALF, green = HALF, blue = HALF;
      for (let x = at * reach, end = x + count[at]; x < end; x++, from += step) {
        const weight = weights[x];
        red += pixels[from] * weight;
        green += pixels[from + 1] * weight;
        blue += pixels[from + 2] * weight;
      }
      out[to++] = toByte(red);
      out[to++] = toByte(green);
      out[to++] = toByte(blue);
    }
  }
}

/** Compute target row `at` from rows of `step` values per pixel, starting at row `top`. */
function resampleDown(pixels, step, width, top, axis, at, out) {
  const { first, count, weights, reach } = axis;
  const start = (first[at] - top) * width * step;
  const end = at * reach + count[at];
  let to = at * width * 3;
  for (let column = 0; column < width; column++) {
    for (let channel = 0; channel < 3; channel++) {
      let from = start + column * step + channel;
      let value = HALF;
      for (let y = at * reach; y < end; y++, from += width * step) value += pixels[from] * weights[y];
      out[to++] = toByte(value);
    }
  }
}

const HALF = 1 << (PRECISION_BITS - 1);

/** @param {number} value */
function toByte(value) {
  const byte = value >> PRECISION_BITS;
  return byte < 0 ? 0 : byte > 255 ? 255 : byte;
}
