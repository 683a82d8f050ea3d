// Elements of the page: pictures and tiles.

import { count } from "./text.js";

/** Thumbnails narrower than this are enlarged with square pixels instead of smoothing. */
const PIXELATED_BELOW = 48;

/**
 * An element of index.html.
 * @param {string} id
 */
export function element(id) {
  return document.getElementById(id);
}

const MOST_TRIES = 6; // for a picture, while the server is busy

/** Type of a hit that is dragged; its data is the row. */
export const DRAGGED_ROW = "application/x-hashkit-row";

/**
 * A picture, or a text if there is none.
 * @param {string | null} address
 * @param {string} name
 * @param {string} [missing]
 */
export function pictureOf(address, name, missing = "no picture") {
  if (!address) return noPicture(missing);
  const image = document.createElement("img");
  image.alt = name;
  image.decoding = "async";
  image.addEventListener("load", () => {
    if (image.naturalWidth < PIXELATED_BELOW) image.classList.add("pixelated");
  });
  let tries = MOST_TRIES;
  image.addEventListener("error", async () => {
    if (--tries && (await isBusy(address))) {
      const pause = (MOST_TRIES - tries) * (500 + 1000 * Math.random());
      setTimeout(() => (image.src = address), pause);
    } else image.replaceWith(noPicture(missing));
  });
  image.src = address;
  return image;
}

/** Whether a server may not have sent a picture because it had too much to do. */
async function isBusy(address) {
  if (!address.startsWith("http")) return false;
  try {
    const { ok, status } = await fetch(address, { method: "HEAD" });
    return ok || [429, 503].includes(status); // by now it may have less to do
  } catch {
    return false;
  }
}

function noPicture(missing) {
  const text = document.createElement("span");
  text.className = "no-picture";
  text.textContent = missing;
  return text;
}

/**
 * The tile of an image to start from.
 * @param {import("./backend.js").Item} item
 * @param {string | null} thumbnail
 * @param {() => void} choose
 */
export function sampleTile(item, thumbnail, choose) {
  const tile = document.createElement("li");
  const button = tileButton(item, thumbnail, `Search with ${item.name}`, choose);
  tile.append(button);
  return tile;
}

/**
 * The tile of a hit: opens the larger view, and has a second button to search with the hit.
 * @param {import("./backend.js").Hit} hit
 * @param {string | null} thumbnail
 * @param {() => void} open
 * @param {() => void} search
 */
export function hitTile(hit, thumbnail, open, search) {
  const bits = count(hit.distance, "bit");
  const spoken = [`Rank ${hit.rank}`, `${bits} away`, hit.name, hit.label].filter(Boolean);
  const tile = document.createElement("li");
  tile.className = "hit";
  tile.dataset.row = `${hit.row}`;
  tile.dataset.distance = `${hit.distance}`;
  tile.draggable = true;
  tile.addEventListener("dragstart", (event) =>
    event.dataTransfer.setData(DRAGGED_ROW, `${hit.row}`),
  );
  const button = tileButton(hit, thumbnail, spoken.join(", "), open);
  button.append(
    line("place", `${hit.rank.toLocaleString("en")}`, bits),
    line("label", hit.label),
    line("name", hit.name.split("/").at(-1)), // folders would fill the line
  );
  const again = document.createElement("button");
  again.type = "button";
  again.className = "search";
  again.textContent = "Search";
  again.setAttribute("aria-label", `Search with ${hit.name}`);
  again.addEventListener("click", search);
  tile.append(button, again);
  return tile;
}

function tileButton(item, thumbnail, spoken, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.setAttribute("aria-label", spoken);
  button.title = item.name;
  button.addEventListener("click", act);
  const picture = document.createElement("span");
  picture.className = "picture";
  const shown = pictureOf(thumbnail, item.name);
  if (shown instanceof HTMLImageElement) shown.draggable = false; // the hit is dragged, not its image
  picture.append(shown);
  button.append(picture);
  return button;
}

function line(kind, ...parts) {
  const made = document.createElement("span");
  made.className = kind;
  made.dir = "auto"; // so that the end of a name is cut, whatever its direction
  made.append(
    ...parts.map((part) => {
      const span = document.createElement("span");
      span.textContent = part;
      return span;
    }),
  );
  return made;
}
