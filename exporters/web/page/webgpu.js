// The model on the GPU: ONNX Runtime with WebGPU, tested before it is used.

import { PageError } from "./files.js";
import { Model } from "./model.js";
import { placementLine, readPlacement } from "./placement.js";
import { openGpuSession } from "./session.js";

/**
 * A logit below this fraction of the largest is close to 0: another summation order may change its
 * sign. A larger logit with a different sign was computed incorrectly.
 */
const CLOSE_TO_ZERO = 0.01;

/** A model on the GPU. */
export class GpuModel extends Model {
  place = "webgpu";

  /**
   * @param {import("../runtime/ort.js").InferenceSession} session
   * @param {import("./resize.js").Input} input
   * @param {GPUDevice} device
   * @param {import("./placement.js").Placement | null} placement
   */
  constructor(session, input, device, placement) {
    super(session, input);
    this.placement = placement;
    this.line =
      `Runs on ${deviceLine(device)}. ${placementLine(placement)} ` +
      "Bits whose logit is close to 0 may differ from Python's.";
    this.lost = device.lost.then(({ message, reason }) => {
      throw new Error(`its device was lost (${message || reason}).`);
    });
    this.lost.catch(() => {}); // the loss matters only while something runs
  }

  /**
   * Load the model on the GPU, and compare it with the CPU on a test picture.
   * @param {import("./resize.js").Input} input
   * @param {Model} cpuModel  The same model on the CPU.
   */
  static async load(input, cpuModel) {
    await checkWebGpu();
    const { session, lines, device } = await openGpuSession();
    const model = new GpuModel(session, input, device, readPlacement(lines));
    const pixels = testPicture(input);
    checkOutputs(await model.encode(pixels), await cpuModel.encode(pixels));
    return model;
  }

  /** Like `Model.encode`, but fails if the device is lost. */
  async encode(pixels) {
    return Promise.race([this.lost, super.encode(pixels)]);
  }
}

/** Throw an error with the reason if the browser has no WebGPU or no adapter. */
async function checkWebGpu() {
  if (!globalThis.isSecureContext) {
    throw new PageError("browsers offer WebGPU only to pages over HTTPS or from localhost.");
  }
  if (!navigator.gpu) throw new PageError("this browser has no WebGPU.");
  if (!(await navigator.gpu.requestAdapter())) {
    throw new PageError("WebGPU found no graphics adapter.");
  }
}

function deviceLine(device) {
  const { vendor, architecture, isFallbackAdapter } = device.adapterInfo ?? {};
  const name = [vendor, architecture].filter(Boolean).join(" ") || "unknown adapter";
  return isFallbackAdapter
    ? `a software adapter of WebGPU (${name})`
    : `the GPU with WebGPU (${name})`;
}

/** Noise, which reaches all parts of a network; always the same. */
function testPicture({ height, width }) {
  let state = 1;
  return Uint8Array.from({ length: height * width * 3 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/**
 * Refuse a GPU that computes incorrect codes.
 * @param {{ codes: Uint8Array }} found
 * @param {{ codes: Uint8Array, logits: Float32Array }} expected  Outputs of the CPU.
 */
export function checkOutputs(found, expected) {
  const largest = expected.logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  const wrong = expected.logits.reduce((count, logit, bit) => {
    const differs = ((found.codes[bit >> 3] ^ expected.codes[bit >> 3]) >> (7 - (bit & 7))) & 1;
    return count + (differs && Math.abs(logit) > CLOSE_TO_ZERO * largest ? 1 : 0);
  }, 0);
  if (wrong) {
    throw new PageError(
      `it computes incorrect codes: ${wrong} of ${expected.logits.length} bits of a test picture ` +
        "are wrong.",
    );
  }
}
