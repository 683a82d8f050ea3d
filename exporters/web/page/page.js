// The page: takes a picture or one of the images, and shows its nearest images.

import { Bank, loadManifest } from "./bank.js";
import { toHex } from "./codes.js";
import { PageError } from "./files.js";
import { prepare } from "./picture.js";
import { CPU, GPU, Runner } from "./runner.js";
import { count, hitTile, pictureOf, sampleTile } from "./view.js";

const N_SAMPLES = 12;
const N_HITS = 24;

const element = (id) => document.getElementById(id);

/** The state of the page; answers to an earlier `search` are dropped. */
const state = {
  bank: null,
  manifest: null,
  picture: null, // the file of the last search, unless it was one of the images
  hits: [],
  nShown: 0,
  samples: 0,
  search: 0,
};

/** The model, loaded for the first picture, or once everything else is loaded. */
const runner = new Runner(async (place, cpuModel) => {
  const { input } = state.manifest;
  if (place === GPU) return (await import("./webgpu.js")).GpuModel.load(input, cpuModel);
  try {
    return await (await import("./model.js")).Model.load(input);
  } catch (error) {
    throw new PageError(`The model could not be loaded: ${error.message}`);
  }
}, showPlace);

/** Show where the model runs; visible only on pages exported with WebGPU. */
function showPlace({ place, line, isProblem }) {
  for (const input of document.querySelectorAll("#places input")) {
    input.checked = input.value === place;
  }
  element("place-line").textContent = line;
  element("place-line").classList.toggle("error", isProblem);
  setAddress("run", place === GPU ? GPU : null);
}

/** Run the model on another device, and search the picture again. */
async function choosePlace(place) {
  try {
    await runner.choose(place);
    if (state.picture && runner.place === place) await searchPicture(state.picture);
  } catch (error) {
    showError(error);
  }
}

/** The device that the URL requests. */
function addressPlace() {
  const place = new URL(location.href).searchParams.get("run") ?? CPU;
  if (place === CPU || (place === GPU && state.manifest.webgpu)) return place;
  const why =
    place === GPU
      ? "This page was exported without WebGPU."
      : `Unknown value of run in the URL: ${place}.`;
  showError(new PageError(`${why} The model runs on the CPU.`));
  return CPU;
}

function showError(error) {
  console.error(error);
  element("error").textContent = error.message;
  element("error").hidden = false;
}

function describe() {
  const { dataset, n_images, n_database, model, precision, model_sha256 } = state.manifest;
  const from = dataset ? ` from ${dataset}` : "";
  const sampled =
    n_images < n_database ? `, evenly sampled from ${n_database.toLocaleString("en")}` : "";
  element("about").textContent =
    `Searches ${count(n_images, "image")}${from}${sampled}, with codes of ` +
    `${count(model.n_bits, "bit")}.`;
  element("facts").textContent =
    `Model: ${model.network || "unknown network"}, ${model.width}×${model.height} pixels, ` +
    `${precision}, SHA-256 ${model_sha256.slice(0, 12)}. ` +
    `hashkit ${state.manifest.hashkit}, ONNX Runtime Web ${state.manifest.onnxruntime_web}.`;
}

/** Show other sample images, evenly spaced over the bank. */
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
  state.search++;
  state.picture = null;
  const name = bank.images.names[index];
  const picture = pictureOf(bank.thumbnail(index), name);
  const text = [name, bank.label(index)].filter(Boolean).join(" · ");
  show(text, picture, bank.code(index), index);
  setAddress("query", bank.images.rows[index]);
}

/** Search with a picture file. */
async function searchPicture(blob) {
  const search = ++state.search;
  element("error").hidden = true;
  element("result").hidden = false;
  element("result").setAttribute("aria-busy", "true");
  element("status").textContent = "Searching…";
  try {
    const pixels = await prepare(blob, state.manifest.input);
    const { codes, place } = await runner.encode(pixels);
    if (search !== state.search) return;
    const name = blob.name || "Pasted picture";
    state.picture = blob;
    show(name, pictureOf(pictureAddress(blob), name), codes, null);
    if (state.manifest.webgpu) {
      element("status").append(` Its code was computed on the ${place === GPU ? "GPU" : "CPU"}.`);
    }
    setAddress("query", null);
  } catch (error) {
    if (search !== state.search) return;
    const isPageError = error instanceof PageError;
    showError(isPageError ? error : new PageError(`The search failed: ${error.message}`));
    element("status").textContent = "";
    element("result").hidden = !state.hits.length;
  } finally {
    if (search === state.search) element("result").removeAttribute("aria-busy");
  }
}

let address = null;

/** Object URL of the picture shown; the previous one is released. */
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
    : "There are no other images.";
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

/** Search with a hit, and move the focus to the start of the results. */
function startAgain(index) {
  searchImage(index);
  element("result-title").tabIndex = -1;
  element("result-title").focus();
}

/** Store a choice in the URL, so that it can be linked to. */
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
  if (text.trim() !== "" && index >= 0) searchImage(index);
  else showError(new PageError(`This page has no image for row ${text}.`));
}

function listen() {
  const drop = element("drop");
  element("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) searchPicture(file);
    event.target.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // otherwise the browser would open a dropped file
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    receive(event.dataTransfer, "Only files can be dropped here.");
  });
  document.addEventListener("paste", (event) => receive(event.clipboardData, ""));
  element("places").addEventListener("change", (event) => choosePlace(event.target.value));
  element("others").addEventListener("click", showSamples);
  element("more").addEventListener("click", () => showMore()[0]?.querySelector("button").focus());
}

/** Search with the first dropped or pasted file. */
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
