// The model: ONNX Runtime in WebAssembly, on one thread, which needs no special server headers.

import * as ort from "./runtime/ort.wasm.js";
import { fetchFile } from "./files.js";

/** A loaded model. */
export class Model {
  /**
   * @param {ort.InferenceSession} session
   * @param {import("./resize.js").Input} input
   */
  constructor(session, input) {
    this.session = session;
    this.input = input;
  }

  /**
   * Load the model and its runtime from files beside the page.
   * @param {import("./resize.js").Input} input
   */
  static async load(input) {
    const [runtime, model] = await Promise.all([
      fetchFile("runtime/ort.wasm"),
      fetchFile("model.onnx"),
    ]);
    ort.env.wasm.numThreads = 1;
    // Given as bytes, as some servers do not know the type of WebAssembly files.
    ort.env.wasm.wasmBinary = await runtime.arrayBuffer();
    const session = await ort.InferenceSession.create(await model.arrayBuffer(), {
      executionProviders: ["wasm"],
    });
    return new Model(session, input);
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
    const image = new ort.Tensor("uint8", pixels, [n, height, width, 3]);
    const { code, logit } = await this.session.run({ image });
    return { codes: code.data, logits: logit.data };
  }
}
