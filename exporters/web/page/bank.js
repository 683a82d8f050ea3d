// The images that the page searches, and the folder's manifest.

import { codeSize, distances, ranking } from "./codes.js";
import { addressOf, fetchFile, PageError } from "./files.js";
import { quoted } from "./text.js";

const FORMAT_VERSION = 2;

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
   *           thumbnails: (string | null)[], pictures: (string | null)[],
   *           sizes: ([number, number] | null)[] }} images
   */
  constructor(nBits, codes, images) {
    this.nBits = nBits;
    this.size = codeSize(nBits);
    this.codes = codes;
    this.images = images;
    this.indices = new Map(images.rows.map((row, index) => [row, index]));
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

  /** All labels, sorted. */
  get labels() {
    return [...new Set(this.images.labels.flatMap((names) => names ?? []))].sort();
  }

  /**
   * Index of the image that a query names.
   * @param {{ row?: number, name?: string }} query
   */
  indexOf({ row, name }) {
    const index = row === undefined ? this.images.names.indexOf(name) : this.indices.get(row);
    if (index >= 0) return index;
    const what = row === undefined ? `named ${quoted(name)}` : `for row ${row}`;
    throw new PageError(`This page has no image ${what}.`);
  }

  /**
   * Address of a picture of a row; null if there is none.
   * @param {"thumbnails" | "pictures"} kind
   * @param {number} row
   */
  file(kind, row) {
    const name = this.images[kind][this.indexOf({ row })];
    return name && addressOf(`bank/${name}`).href;
  }

  /**
   * @param {number} index
   * @returns {import("./backend.js").Item}
   */
  item(index) {
    const { rows, names, labels } = this.images;
    return { row: rows[index], name: names[index], label: (labels[index] ?? []).join(", ") };
  }

  /**
   * Images in the order (distance, row).
   * @param {Uint8Array} code
   * @param {{ k?: number, radius?: number | null, label?: string }} [options]
   *   All images by default.
   * @param {number | null} without  Index of an image to leave out, the query itself.
   * @returns {import("./backend.js").Hit[]}
   */
  search(code, { k = this.length, radius = null, label = "" } = {}, without = null) {
    const all = distances(code, this.codes);
    const isWanted = (index) =>
      index !== without &&
      (radius === null || all[index] <= radius) &&
      (!label || (this.images.labels[index] ?? []).includes(label));
    const order = Array.from(ranking(all, this.nBits)).filter(isWanted).slice(0, k);
    return order.map((index, at) => ({
      ...this.item(index),
      rank: at + 1,
      distance: all[index],
    }));
  }
}
