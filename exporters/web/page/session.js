// ONNX Runtime: its files beside the page, one thread, which needs no special server headers, and
// one call at a time.

import * as ort from "./runtime/ort.js";
import { fetchFile } from "./files.js";

let last = Promise.resolve();

/** A build that can wait for a GPU must not be entered again while it waits. */
function alone(task) {
  const done = last.then(task);
  last = done.catch(() => {});
  return done;
}

/** Lines that the runtime logs, while somebody listens. */
let heard = null;
let isStarted = false;

/** A GPU's session logs each of its programs, as it was asked to when it was opened. */
const CHATTER = /\[[VI]:onnxruntime/;

/** What the runtime logs: to whoever listens, else its warnings and errors to the console. */
function overhear(console) {
  const plain = console.error;
  console.error = (...words) => {
    const line = words.join(" ");
    if (heard) heard.push(line);
    else if (!CHATTER.test(line)) plain.apply(console, words);
  };
  return () => (console.error = plain);
}

/** The first session starts the runtime, which keeps the console that it finds then. */
async function create(model, options) {
  if (isStarted) return ort.InferenceSession.create(model, options);
  // Given as bytes, as some servers do not know the type of WebAssembly files.
  ort.env.wasm.wasmBinary = await (await fetchFile("runtime/ort.wasm")).arrayBuffer();
  ort.env.wasm.numThreads = 1;
  const restore = overhear(console);
  try {
    const session = await ort.InferenceSession.create(model, options);
    isStarted = true;
    return session;
  } finally {
    restore();
  }
}

/**
 * Open the model on the processor.
 * @returns {Promise<ort.InferenceSession>}
 */
export async function openSession() {
  const model = await (await fetchFile("model.onnx")).arrayBuffer();
  return alone(() => create(model, { executionProviders: ["wasm"] }));
}

/**
 * Open the model on the GPU, as far as its operators run there.
 * @returns {Promise<{ session: ort.InferenceSession, lines: string[], device: GPUDevice }>}
 *   `lines` is what the runtime logged, verbose.
 */
export async function openGpuSession() {
  const model = await (await fetchFile("model.onnx")).arrayBuffer();
  return alone(async () => {
    const lines = (heard = []);
    try {
      const options = { executionProviders: ["webgpu"], logSeverityLevel: 0 };
      const session = await create(model, options);
      return { session, lines, device: await ort.env.webgpu.device };
    } finally {
      heard = null;
    }
  });
}

const WARNINGS = 2;

/**
 * Run a session on prepared pixels.
 * @param {ort.InferenceSession} session
 * @param {Uint8Array} pixels
 * @param {number[]} shape  [n, height, width, 3].
 * @returns {Promise<{ codes: Uint8Array, logits: Float32Array }>}
 */
export async function runSession(session, pixels, shape) {
  const image = new ort.Tensor("uint8", pixels, shape);
  const options = { logSeverityLevel: WARNINGS };
  const { code, logit } = await alone(() => session.run({ image }, options));
  return { codes: code.data, logits: logit.data };
}
