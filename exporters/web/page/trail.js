// The searches of this tab, so that Back and Forward show them again without searching.

import { addressOfSearch } from "./address.js";

const N_KEPT = 50;

/**
 * A search and the page of its hits that is shown.
 * @typedef {Object} Visit
 * @property {import("./backend.js").Query} query
 * @property {import("./backend.js").Options} options
 * @property {import("./backend.js").Answer} answer
 * @property {number} page  From 0.
 */

/** @type {Map<string, Visit>} */
const visits = new Map();
let last = 0;

/**
 * Add a visit to the browser's history, or put it in the place of the current one.
 * @param {Visit} visit
 * @param {{ inPlace?: boolean }} [options]
 */
export function remember(visit, { inPlace = false } = {}) {
  // Not a number from 0: the history outlives the page, whose reloaded copy counts again.
  const key = `${performance.timeOrigin}-${++last}`;
  visits.set(key, visit);
  if (visits.size > N_KEPT) visits.delete(visits.keys().next().value);
  const url = addressOfSearch(visit.query, visit.options, visit.page);
  const entry = { visit: key, picture: visit.query.picture?.name ?? null };
  const isSame = url.href === location.href && !visit.query.picture;
  if (inPlace || isSame) history.replaceState(entry, "", url);
  else history.pushState(entry, "", url);
}

/**
 * The visit of the current entry of the history.
 * @returns {Visit | null}  Null at the start, and for entries made before the page was reloaded.
 */
export function currentVisit() {
  return visits.get(history.state?.visit) ?? null;
}

/**
 * Name of the picture of the current entry; its content is gone if there is no visit.
 * @returns {string | null}
 */
export function currentPicture() {
  return history.state?.picture ?? null;
}
