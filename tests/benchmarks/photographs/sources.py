"""Writes the originals of one half of the set, from Debian packages and from scikit-image.

    python tests/benchmarks/photographs/sources.py choosing.txt FOLDER [--packages FOLDER]

Each line of the list names a kind, a package and a pattern; matching files are written to
FOLDER/KIND/, at most --side pixels long. Packages come by ``apt-get download`` (no root needed)
and are unpacked by ``dpkg``; scikit-image must be installed. Files that two packages share are
written once. Drawings become two-tone pictures, and ``tiles`` six parts of a picture that share no
pixel, as a burst that pans would give. Anybody's photographs will do in place of this:
FOLDER/photograph/ is all that `copies.py` needs.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import importlib.util
import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from PIL import Image
from qt_resources import files_in

from hashkit.errors import ImageError
from hashkit.preprocess import decode

Pieces = Callable[[Image.Image], list[Image.Image]]

SIDE: Final = 1024
SHORTEST: Final = 200
"""Smaller pictures, by their shorter side, are left out."""

MOST: Final = {"screenshot": 40, "drawing": 40, "tiles": 12}
"""Most files of a kind; of more, every n-th is taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path, default=Path(".cache/photographs"))
    parser.add_argument("--side", type=int, default=SIDE)
    given = parser.parse_args()
    chosen: dict[str, list[tuple[str, bytes]]] = {}
    seen: set[bytes] = set()
    for line in given.list.read_text().splitlines():
        if line.startswith("#"):
            continue
        kind, package, pattern = line.split()
        found = [one for one in contents(package, given.packages) if matches(one[0], pattern)]
        print(f"{kind:11} {package:28} {pattern}: {len(found)}", flush=True)
        for name, data in found:
            digest = hashlib.sha256(data).digest()
            if digest not in seen:
                seen.add(digest)
                chosen.setdefault(kind, []).append((f"{package}-{Path(name).stem}", data))
    for kind, files in chosen.items():
        large = [one for one in files if min(Image.open(io.BytesIO(one[1])).size) >= SHORTEST]
        step = -(-len(large) // MOST.get(kind, len(large)))
        n_written = write(kind, large[::step], given.folder / kind, given.side)
        print(f"{kind}: {n_written} pictures of {len(files)} files")


def matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, f"*/{pattern}")


_CONTENTS: Final[dict[str, list[tuple[str, bytes]]]] = {}


def contents(package: str, folder: Path) -> list[tuple[str, bytes]]:
    """Pictures of a package: path and bytes, in the order of the paths."""
    if package not in _CONTENTS:
        _CONTENTS[package] = sorted(pictures(unpacked(package, folder)))
    return _CONTENTS[package]


def unpacked(package: str, folder: Path) -> Path:
    """The folder of a package's files, which is made if it is not there."""
    if package == "scikit-image":
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise SystemExit("scikit-image is not installed: pip install scikit-image")
        return Path(spec.origin).parent
    target = folder.resolve() / package
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        archive = max(folder.resolve().glob(f"{package}_*.deb"))
        subprocess.run(["dpkg", "-x", archive, target], check=True)
        archive.unlink()
    return target


def pictures(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.suffix == ".rcc":
            yield from ((f"/{name}", data) for name, data in files_in(path))
        elif path.suffix in (".jpg", ".png", ".webp") and path.is_file() and not path.is_symlink():
            yield f"/{path.relative_to(folder)}", path.read_bytes()


def tiles(image: Image.Image) -> list[Image.Image]:
    """Two rows of three parts, with an eighth of each part left out on every side."""
    width, height = image.width / 3, image.height / 2
    return [
        image.crop(
            (
                round((column + 1 / 8) * width),
                round((row + 1 / 8) * height),
                round((column + 7 / 8) * width),
                round((row + 7 / 8) * height),
            )
        )
        for row in range(2)
        for column in range(3)
    ]


def two_tone(image: Image.Image) -> list[Image.Image]:
    return [image.convert("L").convert("1", dither=Image.Dither.NONE)]


PIECES: Final[dict[str, Pieces]] = {"tiles": tiles, "drawing": two_tone}


def write(kind: str, files: list[tuple[str, bytes]], folder: Path, side: int) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    n_written = 0
    for number, (name, data) in enumerate(files):
        try:
            image = decode(data)
        except ImageError as error:
            print(f"left out: {name}: {error}")
            continue
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        for part, piece in enumerate(PIECES.get(kind, lambda one: [one])(image)):
            stored = io.BytesIO()
            is_drawn = kind in ("drawing", "screenshot")
            piece.save(stored, "PNG" if is_drawn else "JPEG", quality=92)
            suffix = ".png" if is_drawn else ".jpg"
            (folder / f"{number:03}-{part}-{name}{suffix}").write_bytes(stored.getvalue())
            n_written += 1
    return n_written


if __name__ == "__main__":
    main()
