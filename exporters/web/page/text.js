// Numbers and names as text.

/**
 * A count and its noun.
 * @param {number} number
 * @param {string} noun
 */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * A name within a sentence: its direction of writing does not reach the words around it.
 * @param {string} name
 */
export function quoted(name) {
  return `\u2068${name}\u2069`;
}

/**
 * A file's size.
 * @param {number} bytes
 */
export function fileSize(bytes) {
  if (bytes < 1000) return count(bytes, "byte");
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value.toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}
