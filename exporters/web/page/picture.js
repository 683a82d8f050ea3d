// Decode a picture with the browser's own decoder.

import { PageError } from "./files.js";
import { resize } from "./resize.js";
import { quoted } from "./text.js";

/** Larger pictures are refused, as in Python. */
const MAX_PIXELS = 89_478_485;

const AS_STORED = {
  colorSpaceConversion: "none",
  premultiplyAlpha: "none",
  imageOrientation: "from-image",
};

/**
 * Decode a picture with its EXIF orientation applied and without colour management.
 * @param {Blob} blob
 * @returns {Promise<ImageBitmap>}
 */
export async function decode(blob) {
  const name = blob.name ? quoted(blob.name) : "The picture"; // only files have a name
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, AS_STORED);
  } catch {
    throw new PageError(`${name} is not a picture that this browser can read.`);
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) {
    bitmap.close();
    throw new PageError(`${name} has more than ${MAX_PIXELS.toLocaleString("en")} pixels.`);
  }
  return bitmap;
}

/**
 * Pixels of a bitmap in strips, with transparency over white.
 * @param {ImageBitmap} bitmap
 * @returns {import("./resize.js").PixelSource}
 */
export function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  // On the CPU: a graphics card may round values when it copies.
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  return {
    width,
    height,
    rows(top, count) {
      canvas.width = width;
      canvas.height = count;
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, count);
      context.drawImage(bitmap, 0, -top);
      return context.getImageData(0, 0, width, count).data;
    },
  };
}

/**
 * Decode a picture file and resize it to the model's input size.
 * @param {Blob} blob
 * @param {import("./resize.js").Input} input
 * @returns {Promise<Uint8Array>}  RGB values [height, width, 3].
 */
export async function prepare(blob, input) {
  const bitmap = await decode(blob);
  try {
    return resize(pixelsOf(bitmap), input);
  } finally {
    bitmap.close();
  }
}
