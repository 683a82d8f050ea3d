// How many hits, how near, with which label: the fields above the hits.

import { element } from "./view.js";

const N_LABELS = 500; // suggestions; others can be typed

/** The fields with the options of a search. */
export class Filters {
  /**
   * @param {{ labels: string[], maxHits: number, canRerank: boolean }} backend
   * @param {number} defaultHits
   * @param {() => void} changed
   */
  constructor({ labels, maxHits, canRerank }, defaultHits, changed) {
    element("k").max = `${maxHits}`;
    element("k").placeholder = `${defaultHits}`;
    element("label-field").hidden = !labels.length;
    element("rerank-field").hidden = !canRerank;
    element("labels").replaceChildren(
      ...labels.slice(0, N_LABELS).map((value) => {
        return Object.assign(document.createElement("option"), { value });
      }),
    );
    const form = element("filters");
    form.addEventListener("change", () => form.reportValidity() && changed());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** @returns {import("./backend.js").Options} */
  get options() {
    const number = (id) => (element(id).value === "" ? null : Number(element(id).value));
    return {
      k: number("k"),
      radius: number("radius"),
      label: element("label").value.trim(),
      rerank: element("rerank").checked,
    };
  }

  /** @param {import("./backend.js").Options} options */
  set options({ k, radius, label, rerank }) {
    element("k").value = k ?? "";
    element("radius").value = radius ?? "";
    element("label").value = label;
    element("rerank").checked = rerank;
  }
}
