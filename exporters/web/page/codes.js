// Packed codes: Hamming distances, rankings and hexadecimal text.

const BITS_OF_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest; rest &= rest - 1) count++;
  return count;
});

/**
 * Number of bytes of a code.
 * @param {number} nBits
 */
export function codeSize(nBits) {
  return Math.ceil(nBits / 8);
}

/**
 * Hamming distances between one code and many.
 * @param {Uint8Array} code  [size]
 * @param {Uint8Array} codes  [n * size], row after row.
 * @returns {Uint16Array}  [n], bits.
 */
export function distances(code, codes) {
  const size = code.length;
  const out = new Uint16Array(codes.length / size);
  for (let row = 0, at = 0; row < out.length; row++) {
    let distance = 0;
    for (let byte = 0; byte < size; byte++) distance += BITS_OF_BYTE[code[byte] ^ codes[at++]];
    out[row] = distance;
  }
  return out;
}

/**
 * All rows in the order (distance, row), by counting sort.
 * @param {Uint16Array} distances  [n], each at most `nBits`.
 * @param {number} nBits
 * @returns {Uint32Array}  [n], rows.
 */
export function ranking(distances, nBits) {
  const next = new Uint32Array(nBits + 2);
  for (const distance of distances) next[distance + 1]++;
  for (let distance = 0; distance <= nBits; distance++) next[distance + 1] += next[distance];
  const rows = new Uint32Array(distances.length);
  distances.forEach((distance, row) => (rows[next[distance]++] = row));
  return rows;
}

/**
 * Hexadecimal text of a code.
 * @param {Uint8Array} code
 */
export function toHex(code) {
  return Array.from(code, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
