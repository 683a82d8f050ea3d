"""A picture of search results: each query with its nearest images, hits and misses marked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from hashkit.errors import HashkitError
from hashkit.files.writing import make_parents, written_whole
from hashkit.messages.os_errors import cannot_write
from hashkit.preprocess import ImageSource, decode_usable

__all__ = ["GalleryRow", "Tile", "draw_gallery", "save_gallery"]

_SIDE: Final = 112
_GAP: Final = 10
_FRAME: Final = 4
_TEXT_LINES: Final = 2
_TEXT_SIZE: Final = 13
_QUERY_GAP: Final = 26

_PAPER: Final = (255, 255, 255)
_INK: Final = (32, 33, 36)
_MUTED: Final = (110, 114, 120)
_HIT: Final = (21, 128, 61)
_MISS: Final = (200, 30, 30)
_NEUTRAL: Final = (150, 155, 160)
_EMPTY: Final = (236, 238, 240)


@dataclasses.dataclass(frozen=True)
class Tile:
    """One image of a gallery.

    Attributes
    ----------
    source
        The image; None if it is not available, which leaves the tile empty.
    title, subtitle
        The lines below the image.
    is_hit
        True: framed as relevant, with a check mark; False: as not relevant, with a cross; None:
        unknown, without a mark.
    """

    source: ImageSource | None
    title: str
    subtitle: str = ""
    is_hit: bool | None = None


@dataclasses.dataclass(frozen=True)
class GalleryRow:
    """A query and its hits, nearest first."""

    query: Tile
    hits: Sequence[Tile]


def save_gallery(rows: Sequence[GalleryRow], path: Path) -> None:
    """Draw rows and save the picture; the file name's suffix sets the format.

    Raises
    ------
    HashkitError
        If the file cannot be written.
    """
    kind = check_picture_format(path)
    try:
        make_parents(path)
        with written_whole(path) as part:
            draw_gallery(rows).save(part, kind)
    except OSError as error:
        raise HashkitError(cannot_write(error, path)) from None
    except (KeyError, ValueError) as error:  # Pillow: formats for other kinds of pictures
        raise HashkitError(
            f"{path}: a picture of this kind cannot be written ({error}); use .png"
        ) from None


def check_picture_format(path: Path) -> str:
    """The format of a picture that is to be saved, by the suffix of its name.

    Raises
    ------
    HashkitError
        If there is none.
    """
    suffix = path.suffix.lower()
    kind = Image.registered_extensions().get(suffix)
    if kind not in Image.SAVE:
        raise HashkitError(
            f"{path}: expected a name that ends in .png, .jpg or .webp, "
            f"found {suffix or 'no suffix'}; change the name"
        )
    return kind


def draw_gallery(rows: Sequence[GalleryRow]) -> Image.Image:
    """Draw one row per query: the query, then its hits."""
    n_hits = max((len(row.hits) for row in rows), default=0)
    width = 2 * _GAP + _SIDE + (_QUERY_GAP + n_hits * (_SIDE + _GAP) - _GAP if n_hits else 0)
    row_height = _SIDE + 4 + _TEXT_LINES * (_TEXT_SIZE + 4) + _GAP
    sheet = Image.new("RGB", (width, _GAP + max(1, len(rows)) * row_height), _PAPER)
    for number, row in enumerate(rows):
        top = _GAP + number * row_height
        _draw_tile(sheet, row.query, _GAP, top)
        left = _GAP + _SIDE + _QUERY_GAP
        line = left - _QUERY_GAP // 2
        ImageDraw.Draw(sheet).line([(line, top), (line, top + _SIDE)], _NEUTRAL, 1)
        for place, tile in enumerate(row.hits):
            _draw_tile(sheet, tile, left + place * (_SIDE + _GAP), top)
    return sheet


def _draw_tile(sheet: Image.Image, tile: Tile, left: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    colour = {True: _HIT, False: _MISS, None: _NEUTRAL}[tile.is_hit]
    draw.rectangle([left, top, left + _SIDE - 1, top + _SIDE - 1], _EMPTY, colour, _FRAME)
    picture = _thumbnail(tile.source)
    if picture is not None:
        sheet.paste(
            picture,
            (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2),
        )
    if tile.is_hit is not None:
        _draw_mark(draw, left + _SIDE - 22, top, colour, tile.is_hit)
    font = ImageFont.load_default(_TEXT_SIZE)
    for line, (text, ink) in enumerate([(tile.title, _INK), (tile.subtitle, _MUTED)]):
        place = (left + 2, top + _SIDE + 3 + line * (_TEXT_SIZE + 4))
        draw.text(place, _fitted(text, font), ink, font)


def _draw_mark(
    draw: ImageDraw.ImageDraw, left: int, top: int, colour: tuple[int, int, int], is_hit: bool
) -> None:
    """Draw a check mark or a cross, for readers who cannot distinguish the colours."""
    draw.rectangle([left, top, left + 21, top + 21], colour)
    if is_hit:
        draw.line([(left + 5, top + 11), (left + 9, top + 15), (left + 16, top + 6)], _PAPER, 3)
    else:
        draw.line([(left + 6, top + 6), (left + 15, top + 15)], _PAPER, 3)
        draw.line([(left + 15, top + 6), (left + 6, top + 15)], _PAPER, 3)


def _thumbnail(source: ImageSource | None) -> Image.Image | None:
    image = decode_usable(source)
    if image is None:
        return None
    room = _SIDE - 2 * _FRAME
    scale = min(room / image.width, room / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Nearest neighbour when enlarging, so that a 32x32 image keeps its square pixels.
    kernel = Image.Resampling.BICUBIC if scale < 1 else Image.Resampling.NEAREST
    return image.resize(size, kernel)


def _fitted(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Text shortened to the width of a tile, in the middle: names differ at their ends."""
    text = " ".join(text.split())
    n_kept = len(text)
    shown = text
    while n_kept and font.getlength(shown) > _SIDE - 4:
        n_kept -= 1
        n_end = (n_kept + 1) // 2
        shown = text[: n_kept - n_end] + "…" + text[len(text) - n_end :]
    return shown
