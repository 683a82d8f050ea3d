// The model on the GPU: ONNX Runtime by WebGPU, tried out before it is used.

import { PageError } from "./files.js";
import { Model } from "./model.js";
import { placementLine, readPlacement } from "./placement.js";
import { openGpuSession } from "./session.js";

/**
 * Logits of this part of the largest one are next to 0: another order of a sum may turn their sign.
 * What is beyond it and differs was computed wrongly.
 */
const NEXT_TO_ZERO = 0.01;

/** A model on the GPU. */
export class GpuModel extends Model {
  place = "webgpu";

  /**
   * @param {import("./runtime/ort.js").InferenceSession} session
   * @param {import("./resize.js").Input} input
   * @param {GPUDevice} device
   * @param {import("./placement.js").Placement | null} placement
   */
  constructor(session, input, device, placement) {
    super(session, input);
    this.placement = placement;
    this.line =
      `Runs on ${deviceLine(device)}. ${placementLine(placement)} ` +
      "Bits whose logit is next to 0 may differ from Python's.";
    this.lost = device.lost.then(({ message, reason }) => {
      throw new Error(`its device was lost (${message || reason}).`);
    });
    this.lost.catch(() => {}); // it counts only while something runs
  }

  /**
   * Load the model on the GPU, and hold it against the processor on a trial picture.
   * @param {import("./resize.js").Input} input
   * @param {Model} processor  The same model there.
   */
  static async load(input, processor) {
    await checkWebGpu();
    const { session, lines, device } = await openGpuSession();
    const model = new GpuModel(session, input, device, readPlacement(lines));
    const pixels = trialPicture(input);
    checkTrial(await model.encode(pixels), await processor.encode(pixels));
    return model;
  }

  /** As `Model.encode`; fails when the device is lost. */
  async encode(pixels) {
    return Promise.race([this.lost, super.encode(pixels)]);
  }
}

/** Refuse a browser without WebGPU or an adapter, with the reason. */
async function checkWebGpu() {
  if (!globalThis.isSecureContext) {
    throw new PageError("browsers give WebGPU to pages over HTTPS or from this machine alone.");
  }
  if (!navigator.gpu) throw new PageError("this browser has no WebGPU.");
  if (!(await navigator.gpu.requestAdapter())) {
    throw new PageError("WebGPU finds no graphics adapter here.");
  }
}

function deviceLine(device) {
  const { vendor, architecture, isFallbackAdapter } = device.adapterInfo ?? {};
  const name = [vendor, architecture].filter(Boolean).join(" ") || "its name is not told";
  return isFallbackAdapter ? `WebGPU, but in software (${name})` : `the GPU by WebGPU (${name})`;
}

/** Noise, as it reaches all parts of a network; always the same. */
function trialPicture({ height, width }) {
  let state = 1;
  return Uint8Array.from({ length: height * width * 3 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/**
 * Refuse a GPU that computes wrongly.
 * @param {{ codes: Uint8Array }} found
 * @param {{ codes: Uint8Array, logits: Float32Array }} expected  The processor's.
 */
export function checkTrial(found, expected) {
  const largest = expected.logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  const wrong = expected.logits.reduce((count, logit, bit) => {
    const differs = ((found.codes[bit >> 3] ^ expected.codes[bit >> 3]) >> (7 - (bit & 7))) & 1;
    return count + (differs && Math.abs(logit) > NEXT_TO_ZERO * largest ? 1 : 0);
  }, 0);
  if (wrong) {
    throw new PageError(`it computes wrongly: ${wrong} of ${expected.logits.length} bits on a trial.`);
  }
}
