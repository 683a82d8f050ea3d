// Fetch files and answers from where the page comes from, with errors that the page can show.

/** An error whose message is shown on the page. */
export class PageError extends Error {
  /**
   * @param {string} message
   * @param {{ mayPass?: boolean }} [options]  Whether the same search may succeed later.
   */
  constructor(message, { mayPass = false } = {}) {
    super(message);
    this.mayPass = mayPass;
  }
}

/**
 * Address of a file or an answer beside index.html; the scripts are one folder below it.
 * @param {string} path
 */
export function addressOf(path) {
  return new URL(`../${path}`, import.meta.url);
}

/**
 * Fetch a file of the page's folder.
 * @param {string} path  Relative to index.html.
 * @returns {Promise<Response>}
 */
export async function fetchFile(path) {
  let response;
  try {
    response = await fetch(addressOf(path));
  } catch {
    throw new PageError(`${path} could not be fetched: is the server running?`);
  }
  if (!response.ok) throw new PageError(`${path} could not be fetched (status ${response.status}).`);
  return response;
}
