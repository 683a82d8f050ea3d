// ONNX Runtime, from files in the page's folder. It uses one thread, which needs no special server
// headers, and runs one call at a time.

import * as ort from "../runtime/ort.js";
import { fetchFile } from "./files.js";

let last = Promise.resolve();

/** Run tasks one by one: the WebGPU build must not be called while it waits for the GPU. */
function oneAtATime(task) {
  const done = last.then(task);
  last = done.catch(() => {});
  return done;
}

/** The runtime's log lines while a GPU session is opened; otherwise null. */
let logLines = null;
let isStarted = false;

/** Verbose messages; a GPU session keeps logging each of its programs. */
const VERBOSE = /\[[VI]:onnxruntime/;

/** Collect the runtime's log lines in `logLines`, or pass warnings and errors to the console. */
function captureLog(console) {
  const original = console.error;
  console.error = (...words) => {
    const line = words.join(" ");
    if (logLines) logLines.push(line);
    else if (!VERBOSE.test(line)) original.apply(console, words);
  };
  return () => (console.error = original);
}

/** The first session starts the runtime, which keeps the `console.error` that it finds then. */
async function create(model, options) {
  if (isStarted) return ort.InferenceSession.create(model, options);
  // Given as bytes, because some servers do not know the type of WebAssembly files.
  ort.env.wasm.wasmBinary = await (await fetchFile("runtime/ort.wasm")).arrayBuffer();
  ort.env.wasm.numThreads = 1;
  const restore = captureLog(console);
  try {
    const session = await ort.InferenceSession.create(model, options);
    isStarted = true;
    return session;
  } finally {
    restore();
  }
}

/**
 * Open the model on the CPU.
 * @returns {Promise<ort.InferenceSession>}
 */
export async function openSession() {
  const model = await (await fetchFile("model.onnx")).arrayBuffer();
  return oneAtATime(() => create(model, { executionProviders: ["wasm"] }));
}

/**
 * Open the model on the GPU; operators without a GPU kernel run on the CPU.
 * @returns {Promise<{ session: ort.InferenceSession, lines: string[], device: GPUDevice }>}
 *   `lines` is the runtime's verbose log.
 */
export async function openGpuSession() {
  const model = await (await fetchFile("model.onnx")).arrayBuffer();
  return oneAtATime(async () => {
    const lines = (logLines = []);
    try {
      const options = { executionProviders: ["webgpu"], logSeverityLevel: 0 };
      const session = await create(model, options);
      return { session, lines, device: await ort.env.webgpu.device };
    } finally {
      logLines = null;
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
  const { code, logit } = await oneAtATime(() => session.run({ image }, options));
  return { codes: code.data, logits: logit.data };
}
