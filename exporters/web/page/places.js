// The control with which users choose where the model runs; visible only on pages exported with WebGPU.

import { replaceInAddress, wordOfAddress } from "./address.js";
import { PageError } from "./files.js";
import { CPU, GPU, Runner } from "./runner.js";
import { showError } from "./problem.js";
import { element } from "./view.js";

/** The model, on the device that the user chose. */
export class Places {
  /**
   * @param {any} manifest  Of the page's folder.
   * @param {() => void} searchAgain
   */
  constructor({ input, webgpu }, searchAgain) {
    // The model is loaded for the first picture, or once everything else is loaded.
    this.runner = new Runner(async (place, cpuModel) => {
      if (place === GPU) return (await import("./webgpu.js")).GpuModel.load(input, cpuModel);
      try {
        return await (await import("./model.js")).Model.load(input);
      } catch (error) {
        throw new PageError(`The model could not be loaded: ${error.message}`);
      }
    }, show);
    this.searchAgain = searchAgain;
    element("places").hidden = !webgpu;
    element("places").addEventListener("change", (event) => this.#choose(event.target.value, true));
    this.#choose(addressPlace(webgpu), false);
  }

  /**
   * Codes of prepared pixels, and where they were computed.
   * @param {Uint8Array} pixels
   */
  encode(pixels) {
    return this.runner.encode(pixels);
  }

  async #choose(place, again) {
    try {
      await this.runner.choose(place);
      if (again && this.runner.place === place) this.searchAgain();
    } catch (error) {
      showError(error);
    }
  }
}

function show({ place, line, isProblem }) {
  for (const input of document.querySelectorAll("#places input")) {
    input.checked = input.value === place;
  }
  element("place-line").textContent = line;
  element("place-line").classList.toggle("error", isProblem);
  replaceInAddress("run", place === GPU ? GPU : null);
}

/** The device that the URL requests. */
function addressPlace(webgpu) {
  const place = wordOfAddress("run") ?? CPU;
  if (place === CPU || (place === GPU && webgpu)) return place;
  const why =
    place === GPU
      ? "This page was exported without WebGPU."
      : `Unknown value of run in the URL: ${place}.`;
  showError(new PageError(`${why} The model runs on the CPU.`));
  return CPU;
}
