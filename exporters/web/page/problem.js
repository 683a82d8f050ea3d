// The line that tells the user what went wrong.

import { element } from "./view.js";

let retry = null;

/**
 * Show an error, with a button that tries again if that may help.
 * @param {Error & { mayPass?: boolean }} error
 * @param {(() => void) | null} again
 */
export function showError(error, again = null) {
  console.error(error);
  retry = error.mayPass ? again : null;
  element("error").textContent = error.message;
  element("error").hidden = false;
  element("again").hidden = !retry;
}

/** Remove the error. */
export function hideError() {
  element("error").hidden = true;
  element("again").hidden = true;
}

element("again").addEventListener("click", () => retry?.());
