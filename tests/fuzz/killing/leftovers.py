"""What a command left in a folder: whether each file is whole, and its content without times."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

__all__ = ["contents_of", "damage_in", "lost_pictures", "wrong_rows"]

_TIMES: Final = frozenset(
    {"seconds", "created", "images_per_second", "decode_seconds", "waited_seconds", "mtime"}
    | {"identity"}
)
"""Names of values that differ each time: measured, or drawn at random."""

_JOURNAL: Final = "hashkit-dedup-"
_PICTURES: Final = (".png", ".jpg", ".bmp")
_WITH_TIMES: Final = (".html", ".md")
"""Files that show measured times: only compared for being whole."""


def damage_in(folder: Path) -> list[str]:
    """Files under final names that are not whole; private files of writers are left out."""
    from hashkit.errors import HashkitError

    found = []
    for path in _files(folder):
        if _is_private(path):
            continue
        try:
            check = _CHECKS.get(path.suffix)
            if check is not None:
                check(path)
        except (HashkitError, ValueError, OSError, AssertionError) as error:
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def contents_of(folder: Path) -> dict[str, Any]:
    """Content of each file by its name, except for locks and times."""
    contents: dict[str, Any] = {}
    for path in _files(folder):
        name = str(path.relative_to(folder))
        if path.suffix == ".lock":
            continue
        if path.name.startswith(_JOURNAL):  # one for each time the command was run
            moves = json.loads(path.read_text())["moves"]
            joined = contents.setdefault("journals", [])
            joined[:] = sorted([*joined, *(one for one in moves if one not in joined)], key=str)
            continue
        # A private name has a random part.
        contents[name if not _is_private(path) else f"private file of {name[:20]}"] = _content(path)
    return contents


def wrong_rows(folder: Path, *references: dict[str, Any]) -> list[str]:
    """Banks whose rows are not the first ones of a reference: contents before or after."""
    from hashkit.bank.reader import Bank

    found = []
    for path in folder.rglob("*.h5"):
        # `sync` makes the bank of another model beside the one that it replaces, and a shard is
        # made in a folder of its own.
        name = str(path.relative_to(folder)).replace(".next.h5", ".h5").replace("unfinished/", "")
        if _is_private(path):
            continue
        with Bank.open(path) as bank:
            rows = _rows(bank)
        expected = [one[name]["rows"] for one in references if name in one]
        if all(rows != whole[: len(rows)] for whole in expected):
            numbers = " or ".join(str(len(whole)) for whole in expected)
            found.append(f"{name}: {len(rows)} rows that differ from the first of {numbers}")
    return found


def lost_pictures(folder: Path, before: dict[str, Any]) -> list[str]:
    """Pictures of the user, and of answered uploads, whose content is nowhere in the folder."""
    contents = {_content(path) for path in _files(folder) if path.suffix in _PICTURES}
    found = [
        f"{name}: its content is lost"
        for name, content in before.items()
        if name.startswith("photos") and name.endswith(_PICTURES) and content not in contents
    ]
    return found + _lost_uploads(folder)


def _lost_uploads(folder: Path) -> list[str]:
    from hashkit.bank.reader import Bank

    log = folder / "answered.log"
    if not log.exists():
        return []
    names: dict[str, str] = {}
    for line in log.read_text().splitlines():
        method, name = line.split(" ")
        names[name] = method
    with Bank.open(folder / "uploads.h5") as bank:
        rows = {
            name
            for row, name in enumerate(bank.names)
            if bank.deleted is None or not bank.deleted[row]
        }
    found = []
    for name, method in names.items():
        is_file = (folder / "uploads" / name).is_file()
        if method == "POST" and not (is_file and name in rows):
            found.append(f"{name}: an upload that was answered is lost")
        if method == "DELETE" and (is_file or name in rows):
            found.append(f"{name}: is there although its removal was answered")
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_private(path: Path) -> bool:
    from hashkit.files.private import is_private_name

    return any(map(is_private_name, path.parts))


def _rows(bank: Any) -> list[Any]:
    labels = [None] * len(bank) if bank.labels is None else bank.labels.tolist()
    return [list(row) for row in zip(bank.codes.tolist(), bank.names, labels, strict=True)]


def _content(path: Path) -> Any:
    if path.suffix == ".h5":
        return _bank_content(path)
    if path.suffix in (".npz", ".parquet"):
        return _codes_content(path)
    if path.name == "bankset.json":  # identities are drawn, and files have room for more rows
        names = ("file", "first_row", "n_rows", "n_deleted", "slice", "is_growing")
        shards = json.loads(path.read_text())["shards"]
        return [{name: shard.get(name) for name in names} for shard in shards]
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.name.endswith(".removed.jsonl"):  # a line for each commit
        lines = map(json.loads, path.read_text().splitlines())
        return sorted({row for line in lines for row in line["rows"]})
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix in _WITH_TIMES:
        return "whole"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _bank_content(path: Path) -> dict[str, Any]:
    from hashkit.bank.reader import Bank

    with Bank.open(path) as bank:
        return {
            "rows": _rows(bank),
            "deleted": None if bank.deleted is None else bank.deleted.tolist(),
            "is_complete": bank.is_complete,
            "n_consumed": bank.n_consumed,
            "model": bank.header.model_sha256,
            "sources": repr(bank.sources),
        }


def _codes_content(path: Path) -> list[Any]:
    from hashkit import open_codes

    codes = open_codes(path)
    labels = None if codes.labels is None else codes.labels.tolist()
    return [codes.codes.tolist(), labels, list(codes.names), list(codes.class_names)]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name not in _TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _check_bank(path: Path) -> None:
    from hashkit.bank.reader import Bank

    with Bank.open(path) as bank:
        bank.verify()


def _check_codes(path: Path) -> None:
    from hashkit import open_codes

    open_codes(path)


def _check_model(path: Path) -> None:
    from hashkit.features.embedder import read_embedder
    from hashkit.runtimes.encoder import Encoder

    if path.name == "embedder.onnx":
        read_embedder(path)
        return
    Encoder.load(path, device="cpu", n_threads=1)


def _check_page(path: Path) -> None:
    assert path.read_text().rstrip().endswith("</html>")


def _check_lines(path: Path) -> None:
    """Check that every line is JSON, except a last one without a line end."""
    for line in path.read_text().split("\n")[:-1]:
        json.loads(line)


def _check_checkpoint(path: Path) -> None:
    from hashkit.training.checkpoint import read_checkpoint

    read_checkpoint(path)


def _check_picture(path: Path) -> None:
    from hashkit.preprocess import decode

    if "photos" not in path.parts:
        decode(path)


def _check_index(path: Path) -> None:
    from hashkit import Bank, MultiIndex

    with Bank.open(path.with_suffix("")) as bank:
        MultiIndex.open(path, bank)


def _check_json(path: Path) -> None:
    from hashkit import BankSet

    json.loads(path.read_text())
    if path.name == "bankset.json":
        BankSet.open(path.parent).close()


_CHECKS: Final = {
    ".h5": _check_bank,
    ".npz": _check_codes,
    ".parquet": _check_codes,
    ".onnx": _check_model,
    ".html": _check_page,
    ".json": _check_json,
    ".jsonl": _check_lines,
    ".safetensors": _check_checkpoint,
    ".png": _check_picture,
    ".mih": _check_index,
}
