// The address of the page: it holds the query, unless that is a picture, the options and the page
// of hits, so that results can be linked to.

import { PageError } from "./files.js";

/** @param {string} name */
export function wordOfAddress(name) {
  return new URL(location.href).searchParams.get(name);
}

/**
 * Set or remove one word of the address, without a step of the history.
 * @param {string} name
 * @param {string | null} value
 */
export function replaceInAddress(name, value) {
  const url = new URL(location.href);
  if (value === null) url.searchParams.delete(name);
  else url.searchParams.set(name, value);
  history.replaceState(history.state, "", url);
}

/**
 * Read the search that the address asks for.
 * @returns {{ query: import("./backend.js").Query | null,
 *             options: import("./backend.js").Options, page: number }}
 * @throws {PageError}  If it has something else in place of a number.
 */
export function readAddress() {
  const words = new URL(location.href).searchParams;
  const number = (name, least = 0) => {
    const text = words.get(name);
    if (text === null) return null;
    if (/^\d{1,12}$/.test(text) && Number(text) >= least) return Number(text);
    throw new PageError(
      `The address is wrong: expected ${name} to be a whole number from ${least}, found ${text}.`,
    );
  };
  let query = null;
  if (words.has("name")) query = { name: words.get("name") };
  if (words.has("query")) query = { row: number("query") };
  return {
    query,
    options: {
      k: number("k", 1),
      radius: number("radius"),
      label: words.get("label") ?? "",
      rerank: words.get("rerank") === "1",
    },
    page: (number("page", 1) ?? 1) - 1,
  };
}

/**
 * Address of a search.
 * @param {import("./backend.js").Query} query
 * @param {import("./backend.js").Options} options
 * @param {number} page  From 0.
 */
export function addressOfSearch({ row, name }, options, page) {
  const url = new URL(location.href);
  const words = {
    query: row ?? null,
    name: name ?? null,
    k: options.k,
    radius: options.radius,
    label: options.label || null,
    rerank: options.rerank ? 1 : null,
    page: page ? page + 1 : null,
  };
  for (const [key, value] of Object.entries(words)) {
    if (value === null) url.searchParams.delete(key);
    else url.searchParams.set(key, `${value}`);
  }
  return url;
}
