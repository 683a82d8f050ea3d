// The files beside the page, and what is said when they, or a picture, cannot be had.

/** An error whose message is a sentence for the page. */
export class PageError extends Error {}

/**
 * Fetch a file of the page's folder.
 * @param {string} path  Below the folder.
 * @returns {Promise<Response>}
 */
export async function fetchFile(path) {
  let response;
  try {
    response = await fetch(new URL(path, import.meta.url));
  } catch {
    throw new PageError(`${path} could not be fetched: is the server still there?`);
  }
  if (!response.ok) throw new PageError(`${path} could not be fetched (status ${response.status}).`);
  return response;
}
