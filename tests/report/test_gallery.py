from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_samples import cut_image, write_digit
from looped import looped
from PIL import Image

from hashkit.datasets.digits import open_digits
from hashkit.errors import HashkitError
from hashkit.report.gallery import GalleryRow, Tile, draw_gallery, save_gallery

SIDE, GAP, FRAME, QUERY_GAP = 112, 10, 4, 26
ROW = SIDE + 4 + 2 * 17 + GAP
WHITE, HIT, MISS, NEUTRAL = (255, 255, 255), (21, 128, 61), (200, 30, 30), (150, 155, 160)
EMPTY = (236, 238, 240)


def solid(colour, height=8, width=8) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def pixels(rows) -> np.ndarray:
    return np.asarray(draw_gallery(rows))


def tile_of(picture: np.ndarray, row: int, hit: int | None) -> np.ndarray:
    """The pixels of a hit, or of the query if ``hit`` is None."""
    left = GAP if hit is None else GAP + SIDE + QUERY_GAP + hit * (SIDE + GAP)
    top = GAP + row * ROW
    return picture[top : top + SIDE, left : left + SIDE]


@pytest.mark.parametrize(("n_rows", "n_hits"), [(1, 1), (1, 10), (3, 4)])
def test_size_depends_on_rows_and_hits(n_rows, n_hits):
    hit = Tile(solid(0), "a")
    picture = draw_gallery([GalleryRow(Tile(solid(0), "q"), [hit] * n_hits)] * n_rows)
    assert picture.mode == "RGB"
    width = GAP + SIDE + QUERY_GAP + n_hits * (SIDE + GAP)
    assert picture.size == (width, GAP + n_rows * ROW)


def test_rows_of_different_lengths_share_one_sheet():
    rows = [
        GalleryRow(Tile(solid(0), "q"), [Tile(solid(9), "a")] * 3),
        GalleryRow(Tile(solid(0), "q"), []),
    ]
    picture = pixels(rows)
    assert (tile_of(picture, 0, 2)[50, 50] == 9).all()
    assert (tile_of(picture, 1, 0) == WHITE).all()
    assert (tile_of(picture, 1, None)[50, 50] == 0).all()


def test_a_query_without_hits_is_drawn_alone():
    assert draw_gallery([GalleryRow(Tile(solid(0), "q"), [])]).width == 2 * GAP + SIDE


def test_each_image_is_in_its_place():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    hits = [Tile(solid(colour), "a") for colour in colours]
    rows = [GalleryRow(Tile(solid(colour), "q"), hits) for colour in colours]
    picture = pixels(rows)
    for row, colour in enumerate(colours):
        assert (tile_of(picture, row, None)[FRAME:-FRAME, FRAME:-FRAME] == colour).all()
        for place, expected in enumerate(colours):
            assert (tile_of(picture, row, place)[FRAME:-FRAME, FRAME:-FRAME] == expected).all()


@pytest.mark.parametrize(
    ("is_hit", "colour"), [(True, HIT), (False, MISS), (None, NEUTRAL)], ids=["hit", "miss", "none"]
)
def test_frame_and_mark_show_whether_it_is_a_hit(is_hit, colour):
    picture = pixels([GalleryRow(Tile(solid(0), "q"), [Tile(solid(0), "a", "", is_hit)])])
    tile = tile_of(picture, 0, 0)
    for edge in (tile[:FRAME], tile[-FRAME:], tile[:, :FRAME], tile[:, -FRAME:]):
        mine = (edge == colour).all(axis=2) | (edge == WHITE).all(axis=2)
        assert mine.all()
    corner = tile[:22, -22:]
    n_white = (corner == WHITE).all(axis=2).sum()
    # A mark besides the colour, for those who cannot tell green from red.
    assert (n_white > 20) == (is_hit is not None)


def test_hits_and_misses_have_different_marks():
    hits = [Tile(solid(0), "a", "", True), Tile(solid(0), "a", "", False)]
    picture = pixels([GalleryRow(Tile(solid(0), "q"), hits)])
    marks = [(tile_of(picture, 0, n)[:22, -22:] == WHITE).all(axis=2) for n in (0, 1)]
    assert (marks[0] != marks[1]).sum() > 20


def test_missing_images_leave_empty_tiles(tmp_path):
    broken = write_digit(0, tmp_path / "a.jpg")
    cut_image(broken)
    tiles = [Tile(source, "a") for source in (None, tmp_path / "no.png", broken, tmp_path)]
    picture = pixels([GalleryRow(Tile(solid(0), "q"), tiles)])
    for place in range(4):
        assert (tile_of(picture, 0, place)[FRAME:-FRAME, FRAME:-FRAME] == EMPTY).all()


def test_images_keep_their_aspect_ratio():
    wide, tall = solid((1, 2, 3), 10, 40), solid((1, 2, 3), 400, 100)
    hits = [Tile(wide, "a"), Tile(tall, "a")]
    picture = pixels([GalleryRow(Tile(solid(0), "q"), hits)])
    room = SIDE - 2 * FRAME
    for place, (height, width) in enumerate([(room // 4, room), (room, room // 4)]):
        rows, columns = np.nonzero((tile_of(picture, 0, place) == (1, 2, 3)).all(axis=2))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (height, width)
        # In the middle of the tile.
        assert abs(rows.mean() - (SIDE - 1) / 2) <= 0.5
        assert abs(columns.mean() - (SIDE - 1) / 2) <= 0.5


def test_enlarged_pixels_stay_square():
    digit = open_digits().pixels[0]
    picture = pixels([GalleryRow(Tile(digit, "q"), [])])
    shown = tile_of(picture, 0, None)[FRAME:-FRAME, FRAME:-FRAME]
    assert np.array_equal(shown, digit.repeat(13, axis=0).repeat(13, axis=1))


def has_ink(picture: np.ndarray, line: int) -> bool:
    top = GAP + SIDE + 3 + line * 17
    return bool((picture[top : top + 17, GAP : GAP + SIDE] < 128).all(axis=2).any())


def test_titles_are_below_their_tiles():
    assert has_ink(pixels([GalleryRow(Tile(solid(0), "seven"), [])]), 0)
    assert not has_ink(pixels([GalleryRow(Tile(solid(0), ""), [])]), 0)
    assert has_ink(pixels([GalleryRow(Tile(solid(0), "", "3 bits"), [])]), 1)


@pytest.mark.parametrize("title", ["a/very/long/path/" * 20 + "end.png", "two\nlines", "δ 漢字 ✓"])
def test_any_title_stays_below_its_own_tile(title):
    rows = [GalleryRow(Tile(solid(0), title, title), [Tile(solid(0), "", "")])]
    picture = pixels(rows)
    below = picture[GAP + SIDE + 1 :, GAP + SIDE :]
    assert (below == WHITE).all()
    assert has_ink(picture, 0)


def test_long_titles_keep_both_ends():
    def drawn(title: str) -> np.ndarray:
        return pixels([GalleryRow(Tile(solid(0), title), [])])

    long = drawn("IMG_" + "x" * 100 + "_0001.jpg")
    assert np.array_equal(long, drawn("IMG_" + "x" * 90 + "yy" + "x" * 90 + "_0001.jpg"))
    assert not np.array_equal(long, drawn("IMG_" + "x" * 100 + "_0002.jpg"))
    assert not np.array_equal(long, drawn("DSC_" + "x" * 100 + "_0001.jpg"))


@pytest.mark.parametrize("name", ["a.png", "deep/er/b.jpg", "c.webp"])
def test_suffix_sets_the_format(tmp_path, name):
    save_gallery([GalleryRow(Tile(solid(0), "q"), [])], tmp_path / name)
    with Image.open(tmp_path / name) as opened:
        assert opened.size == (2 * GAP + SIDE, GAP + ROW)
        assert opened.format == {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[name.split(".")[-1]]


@looped(
    ("name", "reason"),
    [
        ("a.nonsense", "expected a name that ends in .png, .jpg or .webp, found .nonsense"),
        ("none", "expected a name that ends in .png, .jpg or .webp, found no suffix"),
        ("a.psd", "expected a name that ends in .png, .jpg or .webp, found .psd"),
        ("a.h5", "cannot be written (HDF5 save handler not installed)"),
        ("folder.png", "cannot be written (Is a directory); it is a folder"),
    ],
)
def test_error_for_a_failed_write_is_one_line(tmp_path, name, reason):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(HashkitError) as caught:
        save_gallery([GalleryRow(Tile(solid(0), "q"), [])], tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: {reason}")
    assert "\n" not in message


def test_failed_write_leaves_no_file(tmp_path):
    with pytest.raises(HashkitError):
        save_gallery([GalleryRow(Tile(solid(0), "q"), [])], tmp_path / "a.psd")
    assert list(Path(tmp_path).iterdir()) == []
