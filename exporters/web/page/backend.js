// Where the page searches: in this browser, or on a server. `settings.json` names it.
//
// A backend has the properties of `Facts` and these functions:
//   samples(n, turn)                  up to n images to start from, other ones for another turn
//   search(query, options, signal)    an Answer; `signal` ends a search whose answer is not wanted
//   thumbnail(row), picture(row)      addresses of an image in two sizes, null if there is none
//   size(row)                         [width, height] of the original; null if unknown

import { fetchFile, PageError } from "./files.js";

/**
 * What a backend says about itself.
 * @typedef {Object} Facts
 * @property {string} title
 * @property {string} line  What is searched.
 * @property {string} facts  Versions.
 * @property {string} privacy  What happens to a picture.
 * @property {string[]} labels
 * @property {number} maxHits
 * @property {boolean} canRerank  Whether it can order ties by the logits of the query.
 */

/**
 * An image of the collection.
 * @typedef {Object} Item
 * @property {number} row
 * @property {string} name
 * @property {string} label  Empty if unknown.
 */

/** @typedef {Item & { rank: number, distance: number }} Hit  Rank from 1, distance in bits. */

/** @typedef {{ row: number } | { name: string } | { picture: File }} Query */

/**
 * How to search.
 * @typedef {Object} Options
 * @property {number | null} k  Largest number of hits; the page gives the backend a number.
 * @property {number | null} radius  Largest distance, bits.
 * @property {string} label  Only images with this label; empty for all.
 * @property {boolean} rerank
 */

/**
 * The result of a search.
 * @typedef {Object} Answer
 * @property {Item | null} image  The image that the query is; null for a picture.
 * @property {string} code  Hexadecimal.
 * @property {Hit[]} hits  In the order (distance, row), without the query itself.
 * @property {string} note  A sentence for the user; may be empty.
 */

const BACKENDS = {
  browser: async (settings, searchAgain) =>
    (await import("./browser.js")).BrowserBackend.open(settings, searchAgain),
  server: async () => (await import("./server.js")).ServerBackend.open(),
};

/**
 * Open the backend that the settings name.
 * @param {() => void} searchAgain  Called when the same picture may have another code now.
 */
export async function openBackend(searchAgain) {
  const settings = await (await fetchFile("page/settings.json")).json();
  const open = BACKENDS[settings.backend];
  if (!open) throw new PageError(`page/settings.json names the unknown backend ${settings.backend}.`);
  return open(settings, searchAgain);
}
