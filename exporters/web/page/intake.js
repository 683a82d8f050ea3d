// Pictures that the user chooses, drops or pastes, and hits that are dropped.

import { PageError } from "./files.js";
import { quoted } from "./text.js";
import { DRAGGED_ROW, element } from "./view.js";

/**
 * Listen for pictures.
 * @param {Object} actions
 * @param {(file: File) => void} actions.picture
 * @param {(row: number) => void} actions.row
 * @param {(error: PageError) => void} actions.refuse
 */
export function listenForPictures({ picture, row, refuse }) {
  const input = element("file");
  const drop = element("drop");

  /** Take the first dropped or pasted file. */
  async function receive(data, complaint) {
    const [file] = data?.files ?? [];
    if (!file && complaint) refuse(new PageError(complaint));
    if (!file) return;
    const problem = await problemOf(file);
    if (problem) refuse(new PageError(problem));
    else picture(file.name ? file : new File([file], "Pasted picture", { type: file.type }));
  }

  input.addEventListener("change", async () => {
    await receive(input, "");
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // otherwise the browser would open a dropped file
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("dragend", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dragged = event.dataTransfer.getData(DRAGGED_ROW);
    if (dragged) row(Number(dragged));
    else receive(event.dataTransfer, "Only picture files and hits of this page can be dropped here.");
  });
  document.addEventListener("paste", (event) => receive(event.clipboardData, ""));
}

/** Why a file cannot be sent or decoded; empty if it can be tried. */
async function problemOf(file) {
  const name = quoted(file.name);
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return `${name} cannot be read: it may be a folder, or may have been moved.`;
  }
  return file.size ? "" : `${name} is empty.`;
}
