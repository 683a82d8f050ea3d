// Fetch the files of the page's folder, with errors that the page can show.

/** An error whose message is shown on the page. */
export class PageError extends Error {}

/**
 * Fetch a file of the page's folder.
 * @param {string} path  Relative to the folder.
 * @returns {Promise<Response>}
 */
export async function fetchFile(path) {
  let response;
  try {
    response = await fetch(new URL(path, import.meta.url));
  } catch {
    throw new PageError(`${path} could not be fetched: is the server running?`);
  }
  if (!response.ok) throw new PageError(`${path} could not be fetched (status ${response.status}).`);
  return response;
}
