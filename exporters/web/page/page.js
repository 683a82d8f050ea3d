// The page: takes a picture or one of the images, and shows its nearest images.

import { readAddress } from "./address.js";
import { openBackend } from "./backend.js";
import { PageError } from "./files.js";
import { Filters } from "./filters.js";
import { listenForPictures } from "./intake.js";
import { Pager } from "./pager.js";
import { hideError, showError } from "./problem.js";
import { count, quoted } from "./text.js";
import { currentPicture, currentVisit, remember } from "./trail.js";
import { element, hitTile, pictureOf, sampleTile } from "./view.js";
import { Viewer } from "./viewer.js";

const DEFAULT_HITS = 100;
const N_SAMPLES = 12;

/** The state of the page; `ending` ends the search that is under way. */
const state = { backend: null, filters: null, pager: null, viewer: null, visit: null, turn: 0 };
let ending = new AbortController();

/**
 * Search, and show the hits; only the answer to the last search is shown.
 * @param {import("./backend.js").Query} query
 * @param {{ inPlace?: boolean, page?: number, focus?: boolean }} [options]
 *   `inPlace` adds no step to the history; `focus` moves the focus to the results.
 */
async function search(query, { inPlace = false, page = 0, focus = false } = {}) {
  const { backend, filters } = state;
  const { options } = filters;
  ending.abort();
  const { signal } = (ending = new AbortController());
  hideError();
  element("result").hidden = false;
  element("result").setAttribute("aria-busy", "true");
  element("status").textContent = "Searching…";
  const k = Math.min(options.k ?? DEFAULT_HITS, backend.maxHits);
  try {
    const answer = await backend.search(query, { ...options, k }, signal);
    if (signal.aborted) return;
    const visit = { query, options, answer, page };
    remember(visit, { inPlace });
    show(visit);
    if (focus) element("result-title").focus();
  } catch (error) {
    if (signal.aborted) return;
    const isPageError = error instanceof PageError;
    showError(
      isPageError ? error : new PageError(`The search failed: ${error.message}`),
      () => search(query, { inPlace, page, focus }),
    );
    element("status").textContent = state.visit ? statusOf(state.visit) : "";
    element("result").hidden = !state.visit;
  } finally {
    if (!signal.aborted) element("result").removeAttribute("aria-busy");
  }
}

const searchHit = (hit) => search({ row: hit.row }, { focus: true });

function nameOf({ query, answer }) {
  return answer.image?.name ?? query.picture.name;
}

function show(visit) {
  state.visit = visit;
  const { query, answer } = visit;
  const name = nameOf(visit);
  hideError();
  state.viewer.close();
  state.filters.options = visit.options;
  document.title = `${name} – ${state.backend.title}`;
  element("query-name").textContent = name;
  element("query-label").textContent = answer.image?.label ?? "";
  element("query-picture").replaceChildren(pictureOf(addressOfQuery(visit), name));
  element("query-code").textContent = answer.code;
  element("result").hidden = false;
  element("result").removeAttribute("aria-busy");
  element("status").textContent = statusOf(visit);
  showPage(visit.page);
}

let address = null;

/** Address of the picture of a query; that of the previous picture file is released. */
function addressOfQuery({ query, answer }) {
  if (address) URL.revokeObjectURL(address);
  address = query.picture ? URL.createObjectURL(query.picture) : null;
  if (address) return address;
  return state.backend.thumbnail(answer.image.row);
}

function statusOf(visit) {
  const { options, answer } = visit;
  const name = quoted(nameOf(visit));
  const [nearest] = answer.hits;
  if (nearest) {
    const away = count(nearest.distance, "bit");
    const most = state.backend.maxHits;
    const limit = options.k > most ? `At most ${count(most, "hit")} can be shown.` : "";
    const sentence = `Nearest to ${name}: ${quoted(nearest.name)}, ${away} away.`;
    return [sentence, limit, answer.note].filter(Boolean).join(" ");
  }
  const limits = [
    options.radius === null ? "" : ` within ${count(options.radius, "bit")} of ${name}`,
    options.label && ` with the label ${quoted(options.label)}`,
  ].join("");
  return limits ? `There is no other image${limits}.` : "There are no other images.";
}

/** Show one page of hits. */
function showPage(page) {
  const { backend, pager, viewer, visit } = state;
  const { hits } = visit.answer;
  pager.show(page, hits.length);
  visit.page = pager.page;
  const tiles = hits.slice(pager.start, pager.end).map((hit, at) => {
    const open = () => viewer.open(hits, pager.start + at, backend);
    return hitTile(hit, backend.thumbnail(hit.row), open, () => searchHit(hit));
  });
  element("hits").replaceChildren(...tiles);
}

/** Turn to another page of hits, as a step of the history. */
function turnTo(page) {
  state.visit = { ...state.visit };
  showPage(page);
  remember(state.visit);
  element("result-title").scrollIntoView();
  focusHit(0);
}

/** Focus a tile of the page of hits that is shown. */
function focusHit(at) {
  element("hits").children[at]?.querySelector(".tile").focus();
}

/** After the larger view: the focus goes to the hit that was shown last. */
function returnToHit(at) {
  const { pager } = state;
  if (pager.pageOf(at) !== pager.page) {
    showPage(pager.pageOf(at));
    remember(state.visit, { inPlace: true });
  }
  focusHit(at - pager.start);
}

/** Left and right move between tiles. */
function moveBetweenTiles(event) {
  const steps = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" };
  const to = event.target.closest("li")?.[steps[event.key]];
  if (!to || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  to.querySelector(".tile").focus();
}

/** Show what the address and the history ask for. */
function followHistory() {
  ending.abort();
  state.viewer.close();
  const visit = currentVisit();
  if (visit) {
    show(visit);
    return;
  }
  hideError();
  state.visit = null;
  document.title = state.backend.title;
  element("result").hidden = true;
  try {
    const { query, options, page } = readAddress();
    state.filters.options = options;
    if (query) search(query, { inPlace: true, page });
  } catch (error) {
    showError(error);
  }
  const picture = currentPicture();
  if (picture) {
    showError(
      new PageError(
        `${quoted(picture)} is not kept when the page is closed or reloaded: choose it again.`,
      ),
    );
  }
}

/** Show other images to start from. */
async function showSamples() {
  const { backend } = state;
  try {
    const items = await backend.samples(N_SAMPLES, state.turn++);
    element("samples-section").hidden = !items.length;
    element("samples").replaceChildren(
      ...items.map((item) => sampleTile(item, backend.thumbnail(item.row), () => searchHit(item))),
    );
  } catch (error) {
    console.error(error);
    element("samples-section").hidden = true; // pictures can still be searched with
  }
}

async function start() {
  try {
    state.backend = await openBackend(() => {
      if (state.visit?.query.picture) search(state.visit.query, { inPlace: true });
    });
  } catch (error) {
    element("about").hidden = true;
    showError(new PageError(`The page could not start: ${error.message}`), () => location.reload());
    return;
  }
  const { title, line, facts, privacy } = state.backend;
  element("title").textContent = title;
  element("about").textContent = line;
  element("facts").textContent = facts;
  element("drop-hint").textContent = `or drop or paste one here. ${privacy}`;
  state.filters = new Filters(state.backend, DEFAULT_HITS, () => {
    if (state.visit) search(state.visit.query);
  });
  state.pager = new Pager([...document.querySelectorAll(".pager")], turnTo);
  state.viewer = new Viewer({ search: searchHit, closed: returnToHit });
  listenForPictures({
    picture: (picture) => search({ picture }, { focus: true }),
    row: (row) => search({ row }, { focus: true }),
    refuse: showError,
  });
  element("others").addEventListener("click", showSamples);
  element("hits").addEventListener("keydown", moveBetweenTiles);
  addEventListener("popstate", followHistory);
  element("file").disabled = false;
  element("others").disabled = false;
  followHistory();
  showSamples();
}

start();
