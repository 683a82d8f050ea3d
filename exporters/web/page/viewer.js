// The larger view: one hit at a time, in a dialog.

import { count } from "./text.js";
import { element, pictureOf } from "./view.js";

const MISSING = "There is no picture: the file was moved or deleted, or cannot be shown.";

/** Shows hits one by one. */
export class Viewer {
  #hits = [];
  #at = 0;
  #backend = null;
  #isEnded = false;

  /**
   * @param {Object} actions
   * @param {(hit: import("./backend.js").Hit) => void} actions.search  Search with the hit.
   * @param {(at: number) => void} actions.closed  Called with the index of the hit shown last.
   */
  constructor({ search, closed }) {
    this.dialog = element("viewer");
    element("viewer-close").addEventListener("click", () => this.dialog.close());
    element("viewer-previous").addEventListener("click", () => this.#step(-1));
    element("viewer-next").addEventListener("click", () => this.#step(1));
    element("viewer-search").addEventListener("click", () => {
      const hit = this.#hits[this.#at];
      this.close();
      search(hit);
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // outside of its content
    });
    this.dialog.addEventListener("keydown", (event) => this.#press(event));
    this.dialog.addEventListener("close", () => {
      element("viewer-picture").replaceChildren(); // an image still on its way is not needed
      if (!this.#isEnded) closed(this.#at);
    });
  }

  /** Close, if it is open, without returning to the hit: other hits are to be shown. */
  close() {
    this.#isEnded = true;
    this.dialog.close();
  }

  /**
   * Open the view.
   * @param {import("./backend.js").Hit[]} hits
   * @param {number} at  Index of the first one to show.
   * @param {Object} backend
   */
  open(hits, at, backend) {
    this.#hits = hits;
    this.#backend = backend;
    this.#isEnded = false;
    this.#show(at);
    this.dialog.showModal();
    element("viewer-search").focus();
  }

  #press(event) {
    const places = { Home: 0, End: this.#hits.length - 1 };
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.altKey || event.ctrlKey || event.metaKey) return; // Alt and arrow: the browser's Back
    if (event.key in steps) this.#step(steps[event.key]);
    else if (event.key in places) this.#show(places[event.key]);
    else return;
    event.preventDefault();
  }

  #step(by) {
    const next = this.#at + by;
    if (next >= 0 && next < this.#hits.length) this.#show(next);
  }

  #show(at) {
    this.#at = at;
    const hit = this.#hits[at];
    element("viewer-place").textContent =
      `${hit.rank.toLocaleString("en")} of ${this.#hits.length.toLocaleString("en")}`;
    element("viewer-name").textContent = hit.name;
    element("viewer-label").textContent = hit.label;
    element("viewer-label").hidden = !hit.label;
    element("viewer-distance").textContent = `${count(hit.distance, "bit")} away`;
    this.#showPicture(hit);
    element("viewer-previous").disabled = at === 0;
    element("viewer-next").disabled = at === this.#hits.length - 1;
    // A button that is disabled loses the focus, and the dialog the keys.
    if (document.activeElement?.disabled) element("viewer-search").focus();
  }

  #showPicture(hit) {
    const address = this.#backend.picture(hit.row);
    const shown = pictureOf(address, hit.name, MISSING);
    element("viewer-picture").replaceChildren(shown);
    element("viewer-open").hidden = !address;
    if (address) element("viewer-open").href = address;
    const known = this.#backend.size(hit.row);
    showSize(known);
    if (!(shown instanceof HTMLImageElement)) return;
    const thumbnail = this.#backend.thumbnail(hit.row);
    if (thumbnail) shown.style.setProperty("--thumbnail", `url("${thumbnail}")`);
    shown.addEventListener("error", () => (element("viewer-open").hidden = true));
    shown.addEventListener("load", () => {
      shown.style.removeProperty("--thumbnail");
      if (!known && shown.isConnected) showSize([shown.naturalWidth, shown.naturalHeight]);
      this.#preload();
    });
  }

  /** Fetch the next picture while the user looks at this one. */
  #preload() {
    const next = this.#hits[this.#at + 1];
    const address = next && this.#backend.picture(next.row);
    if (address) new Image().src = address;
  }
}

function showSize(size) {
  element("viewer-size").textContent = size ? `${size[0]} × ${size[1]} pixels` : "";
  element("viewer-size").hidden = !size;
}
