// The page: a picture or one of the images comes in, its nearest images are shown.

import { Bank, loadManifest } from "./bank.js";
import { toHex } from "./codes.js";
import { PageError } from "./files.js";
import { prepare } from "./picture.js";
import { GPU, PROCESSOR, Runner } from "./runner.js";
import { count, hitTile, pictureOf, sampleTile } from "./view.js";

const N_SAMPLES = 12;
const N_HITS = 24;

const element = (id) => document.getElementById(id);

/** What is on the page now; `turn` tells an answer that comes too late. */
const state = {
  bank: null,
  manifest: null,
  picture: null, // the file that was searched last, if it was none of the images
  hits: [],
  nShown: 0,
  samples: 0,
  turn: 0,
};

/** The model, loaded when the first picture needs it, or when all else is there. */
const runner = new Runner(async (place, processor) => {
  const { input } = state.manifest;
  if (place === GPU) return (await import("./webgpu.js")).GpuModel.load(input, processor);
  try {
    return await (await import("./model.js")).Model.load(input);
  } catch (error) {
    throw new PageError(`The model could not be loaded: ${error.message}`);
  }
}, showPlace);

/** Say where the model runs; only a page that has a GPU to offer has something to say. */
function showPlace({ place, line, isProblem }) {
  for (const input of document.querySelectorAll("#places input")) {
    input.checked = input.value === place;
  }
  element("place-line").textContent = line;
  element("place-line").classList.toggle("error", isProblem);
  setAddress("run", place === GPU ? GPU : null);
}

/** Run the model elsewhere, and search the picture again. */
async function choosePlace(place) {
  try {
    await runner.choose(place);
    if (state.picture && runner.place === place) await searchPicture(state.picture);
  } catch (error) {
    showError(error);
  }
}

/** Where the address wants the model to run. */
function addressPlace() {
  const place = new URL(location.href).searchParams.get("run") ?? PROCESSOR;
  if (place === PROCESSOR || (place === GPU && state.manifest.webgpu)) return place;
  const why =
    place === GPU ? "This page was exported without WebGPU." : `There is no place ${place} to run on.`;
  showError(new PageError(`${why} The model runs on the processor.`));
  return PROCESSOR;
}

function showError(error) {
  console.error(error);
  element("error").textContent = error.message;
  element("error").hidden = false;
}

function describe() {
  const { dataset, n_images, n_database, model, precision, model_sha256 } = state.manifest;
  const all = n_images < n_database ? ` of ${n_database.toLocaleString("en")}, spread over them` : "";
  const of = dataset ? ` of ${dataset}` : "";
  element("about").textContent =
    `Searches ${count(n_images, "image")}${of}${all}, by codes of ${count(model.n_bits, "bit")}.`;
  element("facts").textContent =
    `Model: ${model.network || "unknown network"}, ${model.width}×${model.height} pixels, ` +
    `${precision}, SHA-256 ${model_sha256.slice(0, 12)}. ` +
    `hashkit ${state.manifest.hashkit}, ONNX Runtime Web ${state.manifest.onnxruntime_web}.`;
}

/** Other images to start from: every so many rows, so that all kinds are among them. */
function showSamples() {
  const { bank } = state;
  const n = Math.min(N_SAMPLES, bank.length);
  const start = (state.samples++ * 7) % bank.length;
  const indices = Array.from(
    { length: n },
    (_, at) => (start + Math.floor((at * bank.length) / n)) % bank.length,
  );
  element("samples").replaceChildren(
    ...indices.map((index) => sampleTile(bank, index, searchImage)),
  );
}

/** Search with one of the images. */
function searchImage(index) {
  const { bank } = state;
  state.turn++;
  state.picture = null;
  const name = bank.images.names[index];
  const picture = pictureOf(bank.thumbnail(index), name);
  const text = [name, bank.label(index)].filter(Boolean).join(" · ");
  show(text, picture, bank.code(index), index);
  setAddress("query", bank.images.rows[index]);
}

/** Search with a picture's file. */
async function searchPicture(blob) {
  const turn = ++state.turn;
  element("error").hidden = true;
  element("result").hidden = false;
  element("result").setAttribute("aria-busy", "true");
  element("status").textContent = "Looking…";
  try {
    const pixels = await prepare(blob, state.manifest.input);
    const { codes, place } = await runner.encode(pixels);
    if (turn !== state.turn) return;
    const name = blob.name || "Pasted picture";
    state.picture = blob;
    show(name, pictureOf(pictureAddress(blob), name), codes, null);
    if (state.manifest.webgpu) {
      element("status").append(` Its code was computed on the ${place === GPU ? "GPU" : "processor"}.`);
    }
    setAddress("query", null);
  } catch (error) {
    if (turn !== state.turn) return;
    const isPlain = error instanceof PageError;
    showError(isPlain ? error : new PageError(`The picture could not be searched: ${error.message}`));
    element("status").textContent = "";
    element("result").hidden = !state.hits.length;
  } finally {
    if (turn === state.turn) element("result").removeAttribute("aria-busy");
  }
}

let address = null;

/** Address of a picture that is shown; that of the one before is let go. */
function pictureAddress(blob) {
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(blob);
  return address;
}

function show(name, picture, code, without) {
  state.hits = state.bank.search(code, without);
  state.nShown = 0;
  element("error").hidden = true;
  element("query-name").textContent = name;
  element("query-picture").replaceChildren(picture);
  element("query-code").textContent = toHex(code);
  element("hits").replaceChildren();
  element("result").hidden = false;
  element("result").removeAttribute("aria-busy");
  showMore();
  const [nearest] = state.hits;
  element("status").textContent = nearest
    ? `Nearest to ${name}: ${state.bank.images.names[nearest.index]}, ` +
      `${count(nearest.distance, "bit")} away.`
    : "There is no other image.";
}

function showMore() {
  const tiles = state.hits
    .slice(state.nShown, state.nShown + N_HITS)
    .map((hit) => hitTile(state.bank, hit, startAgain));
  element("hits").append(...tiles);
  state.nShown += tiles.length;
  element("more").hidden = state.nShown >= state.hits.length;
  return tiles;
}

/** Search with a hit, and go up to where the answer begins. */
function startAgain(index) {
  searchImage(index);
  element("result-title").tabIndex = -1;
  element("result-title").focus();
}

/** Keep what is chosen in the address, so that it can be linked to. */
function setAddress(name, value) {
  const url = new URL(location.href);
  if (value === null) url.searchParams.delete(name);
  else url.searchParams.set(name, value);
  history.replaceState(null, "", url);
}

function searchAddress() {
  const text = new URL(location.href).searchParams.get("query");
  if (text === null) return;
  const index = state.bank.images.rows.indexOf(Number(text));
  if (text.trim() === "" || index < 0) showError(new PageError(`There is no image of row ${text} here.`));
  else searchImage(index);
}

function listen() {
  const drop = element("drop");
  element("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) searchPicture(file);
    event.target.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // else the browser would open what is dropped
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    receive(event.dataTransfer, "What was dropped is not a file.");
  });
  document.addEventListener("paste", (event) => receive(event.clipboardData, ""));
  element("places").addEventListener("change", (event) => choosePlace(event.target.value));
  element("others").addEventListener("click", showSamples);
  element("more").addEventListener("click", () => showMore()[0]?.querySelector("button").focus());
}

/** Search with the first file of what was dropped or pasted. */
function receive(data, complaint) {
  const [file] = data?.files ?? [];
  if (file) searchPicture(file);
  else if (complaint) showError(new PageError(complaint));
}

async function start() {
  try {
    state.manifest = await loadManifest();
    state.bank = await Bank.load(state.manifest.model.n_bits);
  } catch (error) {
    element("about").hidden = true;
    showError(new PageError(`The images could not be loaded: ${error.message}`));
    return;
  }
  describe();
  showSamples();
  listen();
  element("file").disabled = false;
  element("others").disabled = false;
  element("places").hidden = !state.manifest.webgpu;
  searchAddress();
  choosePlace(addressPlace());
}

start();
