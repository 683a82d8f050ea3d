// Runs the model on the CPU, or on the GPU if the user chooses it. If the GPU fails, the model runs
// on the CPU, and the page shows the reason.

export const CPU = "wasm";
export const GPU = "webgpu";

/**
 * Where the model runs, for the page.
 * @typedef {Object} PlaceStatus
 * @property {string} place  `wasm` or `webgpu`: where the model runs from now on.
 * @property {string} line  Text for the page.
 * @property {boolean} isProblem  Whether this differs from the user's choice.
 */

/** The model, on whichever device it runs. */
export class Runner {
  #loaded = new Map();

  /**
   * @param {(place: string, cpuModel?: Object) => Promise<import("./model.js").Model>} load
   *   Loads the model; for the GPU it also gets the CPU's model.
   * @param {(status: PlaceStatus) => void} report
   */
  constructor(load, report) {
    this.load = load;
    this.report = report;
    this.place = CPU;
  }

  /**
   * Run the model on a device from now on; resolves when it is loaded, or the GPU has failed.
   * @param {string} place  `wasm` or `webgpu`.
   */
  async choose(place) {
    this.place = place;
    const line = "Loading the model…";
    if (!this.#loaded.has(place)) this.report({ place, line, isProblem: false });
    const model = await this.#model();
    if (this.place === place) this.report({ place, line: model.line, isProblem: false });
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
      if (model.place === CPU) throw error;
      this.#giveUpGpu(`The GPU stopped: ${error.message}`);
      return this.encode(pixels);
    }
  }

  /** The model on the chosen device, or on the CPU if the GPU fails. */
  async #model() {
    const cpuModel = await this.#get(CPU);
    if (this.place === CPU) return cpuModel;
    try {
      return await this.#get(GPU, cpuModel);
    } catch (error) {
      this.#giveUpGpu(`The GPU cannot be used: ${error.message}`);
      return cpuModel;
    }
  }

  #get(place, cpuModel) {
    if (!this.#loaded.has(place)) {
      const loading = this.load(place, cpuModel);
      this.#loaded.set(place, loading);
      // Forget a failure, so that the next picture tries again.
      loading.catch(() => this.#loaded.delete(place));
    }
    return this.#loaded.get(place);
  }

  #giveUpGpu(why) {
    this.#loaded.delete(GPU);
    if (this.place === CPU) return; // already reported, or no longer chosen
    this.place = CPU;
    const line = `${/[.!?]$/.test(why) ? why : `${why}.`} The model runs on the CPU.`;
    this.report({ place: CPU, line, isProblem: true });
  }
}
