// The model on the CPU: ONNX Runtime in WebAssembly.

import { openSession, runSession } from "./session.js";

/** A loaded model. */
export class Model {
  /** Where it runs. */
  place = "wasm";
  /** The same as text for the page. */
  line = "Runs on the CPU. The codes are the same as in Python.";

  /**
   * @param {import("../runtime/ort.js").InferenceSession} session
   * @param {import("./resize.js").Input} input
   */
  constructor(session, input) {
    this.session = session;
    this.input = input;
  }

  /**
   * Load the model and its runtime from the page's folder.
   * @param {import("./resize.js").Input} input
   */
  static async load(input) {
    return new Model(await openSession(), input);
  }

  /**
   * Codes and logits of prepared pixels.
   * @param {Uint8Array} pixels  RGB values [n, height, width, 3].
   * @returns {Promise<{ codes: Uint8Array, logits: Float32Array }>}
   *   [n * ceil(n_bits / 8)] and [n * n_bits].
   */
  async encode(pixels) {
    const { height, width } = this.input;
    const n = pixels.length / (height * width * 3);
    return runSession(this.session, pixels, [n, height, width, 3]);
  }
}
