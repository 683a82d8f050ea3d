// The backend in this browser: the model, the codes and the pictures lie in the page's folder.

import { Bank, loadManifest } from "./bank.js";
import { toHex } from "./codes.js";
import { PageError } from "./files.js";
import { prepare } from "./picture.js";
import { Places } from "./places.js";
import { GPU } from "./runner.js";
import { count, quoted } from "./text.js";

/** Searches the images of the folder. */
export class BrowserBackend {
  privacy = "It stays in this browser.";
  canRerank = false;

  constructor(settings, manifest, bank, places) {
    this.manifest = manifest;
    this.bank = bank;
    this.places = places;
    this.title = settings.title;
    this.labels = bank.labels;
    this.maxHits = bank.length;
    const { dataset, n_images, n_database, model, precision, model_sha256 } = manifest;
    const from = dataset ? ` from ${quoted(dataset)}` : "";
    const sampled =
      n_images < n_database ? `, evenly sampled from ${n_database.toLocaleString("en")}` : "";
    this.line =
      `Searches ${count(n_images, "image")}${from}${sampled}, with codes of ` +
      `${count(model.n_bits, "bit")}.`;
    this.facts =
      `Model: ${model.network || "unknown network"}, ${model.width}×${model.height} pixels, ` +
      `${precision}, SHA-256 ${model_sha256.slice(0, 12)}. ` +
      `hashkit ${manifest.hashkit}, ONNX Runtime Web ${manifest.onnxruntime_web}.`;
  }

  /**
   * Load the images; the model follows by itself.
   * @param {{ title: string }} settings
   * @param {() => void} searchAgain  Called when the user has chosen another device.
   */
  static async open(settings, searchAgain) {
    const manifest = await loadManifest();
    const bank = await Bank.load(manifest.model.n_bits);
    return new BrowserBackend(settings, manifest, bank, new Places(manifest, searchAgain));
  }

  /**
   * @param {number} n
   * @param {number} turn
   */
  async samples(n, turn) {
    const { length } = this.bank;
    const nShown = Math.min(n, length);
    const start = (turn * 7) % length;
    return Array.from({ length: nShown }, (_, at) =>
      this.bank.item((start + Math.floor((at * length) / nShown)) % length),
    );
  }

  /**
   * @param {import("./backend.js").Query} query
   * @param {import("./backend.js").Options} options
   * @returns {Promise<import("./backend.js").Answer>}
   */
  async search(query, options) {
    if (options.label && !this.labels.includes(options.label)) {
      throw new PageError(`No image has the label ${quoted(options.label)}.`);
    }
    if (query.picture) {
      const pixels = await prepare(query.picture, this.manifest.input);
      const { codes, place } = await this.places.encode(pixels);
      const note = this.manifest.webgpu
        ? `Its code was computed on the ${place === GPU ? "GPU" : "CPU"}.`
        : "";
      return { image: null, code: toHex(codes), hits: this.bank.search(codes, options), note };
    }
    const index = this.bank.indexOf(query);
    const code = this.bank.code(index);
    const hits = this.bank.search(code, options, index);
    return { image: this.bank.item(index), code: toHex(code), hits, note: "" };
  }

  /** @param {number} row */
  thumbnail(row) {
    return this.bank.file("thumbnails", row);
  }

  /** @param {number} row */
  picture(row) {
    return this.bank.file("pictures", row) ?? this.bank.file("thumbnails", row);
  }

  /** @param {number} row */
  size(row) {
    return this.bank.images.sizes[this.bank.indexOf({ row })];
  }
}
