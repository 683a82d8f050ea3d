// The images that the page searches, and the folder's manifest.

import { codeSize, distances, ranking } from "./codes.js";
import { PageError, fetchFile } from "./files.js";

const FORMAT_VERSION = 1;

/**
 * A search result.
 * @typedef {Object} Hit
 * @property {number} index  Index in the page's files.
 * @property {number} rank  From 1.
 * @property {number} row  Row of the bank that the images were taken from.
 * @property {number} distance  Bits.
 */

/**
 * The folder's manifest.json.
 * @returns {Promise<any>}
 */
export async function loadManifest() {
  const manifest = await (await fetchFile("manifest.json")).json();
  if (manifest.hashkit_web === 0) {
    throw new PageError("The page is not complete: reload it later, or export it again.");
  }
  if (manifest.hashkit_web !== FORMAT_VERSION) {
    throw new PageError(
      `The folder has format ${manifest.hashkit_web}, but this page reads ${FORMAT_VERSION}: ` +
        "export it again.",
    );
  }
  return manifest;
}

/** Images by their codes. */
export class Bank {
  /**
   * @param {number} nBits
   * @param {Uint8Array} codes  [n * ceil(nBits / 8)]
   * @param {{ rows: number[], names: string[], labels: (string[] | null)[],
   *           thumbnails: (string | null)[] }} images
   */
  constructor(nBits, codes, images) {
    this.nBits = nBits;
    this.size = codeSize(nBits);
    this.codes = codes;
    this.images = images;
    const found = codes.length / this.size;
    if (found !== images.rows.length) {
      throw new PageError(
        `bank/codes.bin has ${found} codes for ${images.rows.length} images: copy the folder again.`,
      );
    }
  }

  /**
   * Load the bank from the page's folder.
   * @param {number} nBits
   */
  static async load(nBits) {
    const [codes, images] = await Promise.all([
      fetchFile("bank/codes.bin"),
      fetchFile("bank/images.json"),
    ]);
    return new Bank(nBits, new Uint8Array(await codes.arrayBuffer()), await images.json());
  }

  get length() {
    return this.images.rows.length;
  }

  /**
   * Code of an image.
   * @param {number} index
   */
  code(index) {
    return this.codes.subarray(index * this.size, (index + 1) * this.size);
  }

  /**
   * URL of an image's thumbnail; null if it has none.
   * @param {number} index
   */
  thumbnail(index) {
    const name = this.images.thumbnails[index];
    return name && new URL(`bank/${name}`, import.meta.url).href;
  }

  /**
   * Names of an image's classes as text; empty if unknown.
   * @param {number} index
   */
  label(index) {
    return (this.images.labels[index] ?? []).join(", ");
  }

  /**
   * All images in the order (distance, row).
   * @param {Uint8Array} code
   * @param {number | null} without  Index of an image to leave out, the query itself.
   * @returns {Hit[]}
   */
  search(code, without = null) {
    const all = distances(code, this.codes);
    const order = Array.from(ranking(all, this.nBits)).filter((index) => index !== without);
    return order.map((index, place) => ({
      index,
      rank: place + 1,
      row: this.images.rows[index],
      distance: all[index],
    }));
  }
}
