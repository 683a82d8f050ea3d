// Elements of the page: pictures and tiles.

/** Thumbnails narrower than this are enlarged with square pixels instead of smoothing. */
const PIXELATED_BELOW = 48;

/**
 * A count and its noun.
 * @param {number} number
 * @param {string} noun
 */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * A picture, or a text if there is none.
 * @param {string | null} address
 * @param {string} name
 */
export function pictureOf(address, name) {
  if (!address) {
    const text = document.createElement("span");
    text.className = "no-picture";
    text.textContent = "no picture";
    return text;
  }
  const image = document.createElement("img");
  image.alt = name;
  image.decoding = "async";
  image.addEventListener("load", () => {
    if (image.naturalWidth < PIXELATED_BELOW) image.classList.add("pixelated");
  });
  image.src = address;
  return image;
}

/**
 * The tile of a sample image.
 * @param {import("./bank.js").Bank} bank
 * @param {number} index
 * @param {(index: number) => void} choose
 */
export function sampleTile(bank, index, choose) {
  const name = bank.images.names[index];
  return tile(bank, index, () => choose(index), `Search with ${name}`, []);
}

/**
 * The tile of a hit.
 * @param {import("./bank.js").Bank} bank
 * @param {import("./bank.js").Hit} hit
 * @param {(index: number) => void} choose
 */
export function hitTile(bank, hit, choose) {
  const name = bank.images.names[hit.index];
  const label = bank.label(hit.index);
  const bits = count(hit.distance, "bit");
  const spoken = [`Rank ${hit.rank}`, `${bits} away`, name, label].filter(Boolean).join(", ");
  const lines = [
    line("place", `${hit.rank}`, bits),
    line("label", label),
    line("name", name),
  ];
  const made = tile(bank, hit.index, () => choose(hit.index), `${spoken}. Search with it`, lines);
  made.dataset.row = `${hit.row}`;
  made.dataset.distance = `${hit.distance}`;
  return made;
}

function tile(bank, index, choose, spoken, lines) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.setAttribute("aria-label", spoken);
  button.title = bank.images.names[index];
  button.addEventListener("click", choose);
  const picture = document.createElement("span");
  picture.className = "picture";
  picture.append(pictureOf(bank.thumbnail(index), bank.images.names[index]));
  button.append(picture, ...lines);
  item.append(button);
  return item;
}

function line(kind, ...parts) {
  const made = document.createElement("span");
  made.className = kind;
  made.append(
    ...parts.map((part) => {
      const span = document.createElement("span");
      span.textContent = part;
      return span;
    }),
  );
  return made;
}
