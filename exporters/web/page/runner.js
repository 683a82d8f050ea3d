// Where the model runs: on the processor, or on the GPU for a reader who chooses it. What cannot run
// there runs on the processor, and is told.

export const PROCESSOR = "wasm";
export const GPU = "webgpu";

/**
 * What is told of the place.
 * @typedef {Object} Told
 * @property {string} place  `wasm` or `webgpu`: where the model runs from now on.
 * @property {string} line  A sentence or two.
 * @property {boolean} isProblem  Whether it is another place than was chosen.
 */

/** The model, wherever it runs. */
export class Runner {
  #loaded = new Map();

  /**
   * @param {(place: string, processor?: Object) => Promise<import("./model.js").Model>} load
   *   Loads the model; that of the GPU is given the processor's.
   * @param {(told: Told) => void} tell
   */
  constructor(load, tell) {
    this.load = load;
    this.tell = tell;
    this.place = PROCESSOR;
  }

  /**
   * Run the model there from now on; over when it is loaded, or given up.
   * @param {string} place  `wasm` or `webgpu`.
   */
  async choose(place) {
    this.place = place;
    if (!this.#loaded.has(place)) this.tell({ place, line: "Loading the model…", isProblem: false });
    const model = await this.#model();
    if (this.place === place) this.tell({ place, line: model.line, isProblem: false });
  }

  /**
   * Codes of prepared pixels, and where they were computed.
   * @param {Uint8Array} pixels  RGB values [n, height, width, 3].
   * @returns {Promise<{ codes: Uint8Array, place: string }>}
   */
  async encode(pixels) {
    const model = await this.#model();
    try {
      const { codes } = await model.encode(pixels);
      return { codes, place: model.place };
    } catch (error) {
      if (model.place === PROCESSOR) throw error;
      this.#giveUpGpu(`The GPU stopped: ${error.message}`);
      return this.encode(pixels);
    }
  }

  /** The model where it was chosen to run, or on the processor if that cannot be. */
  async #model() {
    const processor = await this.#get(PROCESSOR);
    if (this.place === PROCESSOR) return processor;
    try {
      return await this.#get(GPU, processor);
    } catch (error) {
      this.#giveUpGpu(`The GPU cannot be used: ${error.message}`);
      return processor;
    }
  }

  #get(place, processor) {
    if (!this.#loaded.has(place)) {
      const loading = this.load(place, processor);
      this.#loaded.set(place, loading);
      // So that the next picture tries again
      loading.catch(() => this.#loaded.delete(place));
    }
    return this.#loaded.get(place);
  }

  #giveUpGpu(why) {
    this.#loaded.delete(GPU);
    if (this.place === PROCESSOR) return; // told already, or no longer chosen
    this.place = PROCESSOR;
    const line = `${/[.!?]$/.test(why) ? why : `${why}.`} The model runs on the processor.`;
    this.tell({ place: PROCESSOR, line, isProblem: true });
  }
}
