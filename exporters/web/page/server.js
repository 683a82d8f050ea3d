// The backend of a server: `hashkit serve` has the model and the images.

import { addressOf, PageError } from "./files.js";
import { count, fileSize, quoted } from "./text.js";

const LONGEST_WAIT = 120_000; // milliseconds

/** Searches with the API of a server. */
export class ServerBackend {
  privacy = "It is sent to this server for the search.";

  /** @param {any} about  The answer of /about. */
  constructor(about) {
    this.about = about;
    this.title = about.title;
    this.line =
      `Searches ${count(about.rows, "image")}, with codes of ${count(about.bits, "bit")}.` +
      (about.fault ? ` Something is wrong: ${about.fault}.` : "");
    this.facts = `hashkit ${about.version}`;
    this.labels = about.labels;
    this.maxHits = about.max_k;
    this.canRerank = about.can_rerank;
  }

  static async open() {
    return new ServerBackend(await ask("about"));
  }

  /**
   * @param {number} n
   * @param {number} turn
   */
  async samples(n, turn) {
    const { rows } = await ask(`rows?n=${n}&turn=${turn}`);
    return rows.map(itemOf);
  }

  /**
   * @param {import("./backend.js").Query} query
   * @param {import("./backend.js").Options} options
   * @param {AbortSignal} signal
   * @returns {Promise<import("./backend.js").Answer>}
   */
  async search(query, { k, radius, label, rerank }, signal) {
    const { picture } = query;
    // An image finds itself, which is left out below.
    const wanted = picture ? k : Math.min(k + 1, this.maxHits);
    const parameters = new URLSearchParams({ k: `${wanted}` });
    if (radius !== null) parameters.set("radius", `${radius}`);
    if (label) parameters.set("label", label);
    if (rerank) parameters.set("rerank", "1");
    if (picture) this.#checkSize(picture);
    const found = await ask(`search?${parameters}`, {
      what: picture ? quoted(picture.name) : "",
      method: "POST",
      // Never the file's own type: JSON would be read as a query.
      headers: { "Content-Type": picture ? "application/octet-stream" : "application/json" },
      body: picture ?? JSON.stringify(query),
      signal,
    });
    const hits = found.hits.map((hit) => ({ ...hit, ...itemOf(hit) }));
    const note = rerank ? "At equal distance, hits are ordered by the logits of the query." : "";
    if (picture) return { image: null, code: found.code, hits, note };
    const image = itemOf({ row: found.row, name: found.query, label: found.label });
    return { image, code: found.code, hits: without(hits, image.row).slice(0, k), note };
  }

  #checkSize({ name, size }) {
    const most = this.about.max_bytes;
    if (size > most) {
      throw new PageError(
        `${quoted(name)} is too large: it has ${fileSize(size)}, and the server takes ` +
          `${fileSize(most)}.`,
      );
    }
  }

  /** @param {number} row */
  thumbnail(row) {
    return addressOf(`rows/${row}/thumbnail`).href;
  }

  /** @param {number} row */
  picture(row) {
    return addressOf(`rows/${row}/image`).href;
  }

  /** Unknown, as the server may send a smaller copy of the image. */
  size() {
    return null;
  }
}

function itemOf({ row, name, label }) {
  return { row, name: name || `row ${row}`, label: [label ?? []].flat().join(", ") };
}

function without(hits, row) {
  const others = hits.filter((hit) => hit.row !== row);
  return others.map((hit, at) => ({ ...hit, rank: at + 1 }));
}

/**
 * Answer of the server as JSON; errors are sentences for the user.
 * @param {string} path
 * @param {RequestInit & { what?: string }} [options]  `what` is the name of a picture that is sent.
 */
async function ask(path, { what = "", signal, ...options } = {}) {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), LONGEST_WAIT);
  signal?.addEventListener("abort", () => ending.abort());
  let response;
  try {
    response = await fetch(addressOf(path), { ...options, signal: ending.signal });
    if (response.ok) return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error; // another search has taken its place
    throw new PageError(
      ending.signal.aborted
        ? `The server gave no answer within ${LONGEST_WAIT / 1000} seconds.`
        : "The server cannot be reached: it may have stopped, or the connection is lost.",
      { mayPass: true },
    );
  } finally {
    clearTimeout(timer);
  }
  const { status } = response;
  if (status === 415 && what) throw new PageError(`${what} is not a picture that the server can read.`);
  const sent = what && `The search with ${what} failed. `;
  throw new PageError(sent + (await errorOf(response)), {
    mayPass: [408, 429, 502, 503, 504].includes(status),
  });
}

async function errorOf(response) {
  try {
    const { error } = await response.json();
    if (error) return `The server answered: ${error}`;
  } catch {
    // Not an answer of hashkit's server, but of something in front of it.
  }
  return `The server answered with status ${response.status}.`;
}
