"""Queries of a search: image files, folders of them, queries of a run, and rows of the banks.

ONNX Runtime is imported only to encode images: a search with rows does not need it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.names import rows_named
from hashkit.bank.reader import Bank
from hashkit.codes import binarize
from hashkit.codesets import label_names
from hashkit.errors import ConfigError, DatasetError, ImageError
from hashkit.inputs.suggestions import did_you_mean
from hashkit.messages.visible_text import visible
from hashkit.runtimes.faults import read_faults
from hashkit.workflow.reporter import Reporter, plural
from hashkit.workflow.search_place import SearchPlace
from hashkit.workflow.search_results import Query

if TYPE_CHECKING:
    from hashkit.datasets.imageset import ImageSet

_MOST_COMPARED: Final = 20_000
"""Names that are compared with an unknown one letter by letter: a few tenths of a second."""

__all__ = [
    "check_queries",
    "find_own_rows",
    "queries_of_files",
    "queries_of_names",
    "queries_of_rows",
    "with_logits",
]


def check_queries(place: SearchPlace, names: Sequence[str]) -> None:
    """Check that each name is a file, a folder or a query of the run, before anything is encoded.

    Raises
    ------
    ImageError
        If a name is none of these.
    """
    missing = [name for name in names if not Path(name).exists()]
    known = place.run_query_names() if missing else None
    for name in missing:
        if known is None:
            raise ImageError(_no_such_file(place, name), "missing")
        if name not in known:
            example = next(iter(known))
            raise ImageError(
                f"{name}: there is no such file, and it is not the name of a query of "
                f"{place.run.path if place.run else 'the run'} (for example {example}); `name=...` "
                "takes the name of a row",
                "missing",
            )


def queries_of_files(place: SearchPlace, names: Sequence[str], reporter: Reporter) -> list[Query]:
    """Queries of image files, of all images below folders, and of names of the run's queries.

    Images of a folder that cannot be used are left out, with a note for each.

    Raises
    ------
    ImageError
        If a file cannot be used; names were checked by `check_queries`.
    DatasetError
        If a folder has no images, or none that can be used.
    BankMismatchError
        If a bank was made by another model.
    """
    queries: list[Query] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            place.check_query_model()
            queries += _of_folder(place, name, reporter)
        elif path.exists():
            place.check_query_model()
            queries.append(Query(name, place.encoder.encode(path)[0], path))
        else:
            queries.append(_of_run(place, name))
    return queries


def queries_of_rows(place: SearchPlace, rows: Sequence[int]) -> list[Query]:
    """Queries of rows of the banks, counted across them.

    Raises
    ------
    ConfigError
        If there is no such row, or it is deleted.
    """
    return [_of_row(place, row) for row in rows]


def queries_of_names(place: SearchPlace, names: Sequence[str]) -> list[Query]:
    """Queries of the rows of the banks that have these names, without deleted rows.

    Raises
    ------
    ConfigError
        If a name has no row, or all of its rows are deleted.
    """
    found: dict[str, list[int]] = {name: [] for name in names}
    for start, bank in place.numbered_banks():
        for name, rows in rows_named(bank.names, found).items():
            found[name] += [start + row for row in rows]
    queries: list[Query] = []
    for name in names:
        if not found[name]:
            raise ConfigError(_unknown_name(place, name))
        live = [row for row in found[name] if not place.is_deleted(row)]
        queries += queries_of_rows(place, live or found[name][:1])
    return queries


def with_logits(
    place: SearchPlace, queries: Sequence[Query], reporter: Reporter
) -> tuple[list[Query], NDArray[np.float32]]:
    """Queries with the codes of their logits, and the logits, float32 [q, n_bits].

    Raises
    ------
    ImageError
        If an image of a query is not available.
    """
    answered, logits = [], []
    for query in queries:
        image = query.image if query.row is None else place.image_of(query.row)
        if image is None:
            raise ImageError(
                f"{query.name}: `rerank` needs the query's image, which is missing: if its folder "
                "was moved, give its current path with `data_root=...`",
                "missing",
            )
        place.check_query_model()
        own_logits = place.encoder.logits([image])
        code = binarize(own_logits)[0]
        if not np.array_equal(code, query.code):
            reporter.note(
                f"warning: {query.name} now has a different code than in the bank; the new code is "
                "used"
            )
        answered.append(dataclasses.replace(query, code=code))
        logits.append(own_logits)
    return answered, np.concatenate(logits)


def find_own_rows(place: SearchPlace, queries: Sequence[Query]) -> list[list[int]]:
    """Rows of the banks that hold each query itself: its own row, or the rows of its file."""
    own_rows: list[list[int]] = [[] if query.row is None else [query.row] for query in queries]
    files = {
        at: query.image
        for at, query in enumerate(queries)
        if query.row is None and isinstance(query.image, Path)
    }
    for start, bank in place.numbered_banks() if files else ():
        names = {at: set(place.images.names_of(bank, path)) for at, path in files.items()}
        rows = rows_named(bank.names, set().union(*names.values()))
        for at, wanted in names.items():
            own_rows[at] += [start + row for name in sorted(wanted) for row in rows[name]]
    return own_rows


def _no_such_file(place: SearchPlace, name: str) -> str:
    """The message for a missing file; points to `name` where a row has its name."""
    if any(rows_named(bank.names, [name])[name] for bank in place.banks):
        return (
            f"{name}: there is no such file; to search with the row of this name, give "
            f'`name="{name}"`'
        )
    return f"{name}: there is no such file"


def _of_row(place: SearchPlace, row: int) -> Query:
    if not place.n_rows:
        raise ConfigError(f"{place.banks[0].path} has no rows to search with")
    if not 0 <= row < place.n_rows:
        raise ConfigError(
            f"`row` must be from 0 to {place.n_rows - 1}, the rows of the bank, found {row}"
        )
    bank, bank_row = place.locate(row)
    if place.is_deleted(row):
        raise ConfigError(
            f"row {row} ({visible(bank.names[bank_row])}) of {bank.path} is deleted: choose "
            "another row, or restore it with hashkit delete --restore"
        )
    return Query(
        bank.names[bank_row] or f"row {row}",
        bank.codes[bank_row],
        place.image_of(row) if place.needs_images else None,
        label_names(bank, bank_row),
        row,
    )


def _unknown_name(place: SearchPlace, name: str) -> str:
    """The message for a name without a row: why it has none, or a name that is similar."""
    for bank in place.banks:
        fault = next((one for one in read_faults(bank.path) if one.name == name), None)
        if fault is not None:
            return f'`name="{name}"`: {bank.path} has no row of this image: {fault.message}'
    if not any(bank.header.has_names for bank in place.banks):
        return f"{place.banks[0].path} has no names: give the number of a row with `row`"
    example = next((known for bank in place.banks for known in bank.names[:1]), "")
    hint = _similar_name_hint(place, name) or (
        f"names are paths in the folder, as {example}" if example else "it has no rows"
    )
    return f'`name="{name}"`: no row of {place.banks[0].path} has this name; {hint}'


def _similar_name_hint(place: SearchPlace, name: str) -> str:
    """``did you mean X?`` with a row's name that has the same end, or is similar."""
    last = _last_part(name)
    compared: list[str] = []
    for known in (known for bank in place.banks for known in bank.names):
        if _last_part(known) == last:
            return f"did you mean {known}?"
        if len(compared) < _MOST_COMPARED:
            compared.append(known)
    return did_you_mean(name, compared)


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].casefold()


def _of_folder(place: SearchPlace, folder: str, reporter: Reporter) -> Iterator[Query]:
    from hashkit.datasets.folders import open_image_folder

    images = open_image_folder(Path(folder), "none")
    for row, code in _codes(place, images, reporter):
        path = Path(folder) / images.names[row]
        yield Query(str(path), code, path)


def _codes(
    place: SearchPlace, images: ImageSet, reporter: Reporter
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Row and code of each image of a folder that can be used."""
    from hashkit.datasets.decoding import decode_batches
    from hashkit.preprocess import load
    from hashkit.runtimes.encoder import default_batch_size
    from hashkit.threads import check_threads

    encoder = place.encoder
    size, rule = encoder.manifest.size, encoder.manifest.resize
    batches = decode_batches(
        images,
        functools.partial(load, size=size, resize=rule),
        size,
        start=0,
        batch_size=default_batch_size(encoder),
        n_workers=check_threads(place.n_workers, "n_workers"),
    )
    n_found = 0
    bar = reporter.progress("encoding queries", len(images), "images")
    with contextlib.closing(batches), bar as progress:
        for batch in batches:
            for fault in batch.faults:
                reporter.note(f"left out: {fault.message}")
            if len(batch.rows):
                yield from zip(batch.rows.tolist(), encoder.run(batch.pixels)[0], strict=True)
            n_found += len(batch.rows)
            progress.update(batch.stop)
    if not n_found:
        raise DatasetError(
            f"{images.root}: none of its {plural(len(images), 'image')} can be used: give another "
            "folder, or image files"
        )


def _of_run(place: SearchPlace, name: str) -> Query:
    """A query of the run by its name."""
    queries = Bank.open(place.run_bank("queries"))
    place.check_model(queries.header.model_sha256)
    place.warn_of_resampler(str(queries.path), queries.header.resampler)
    if (own := _row_in_run_bank(place, name)) is not None:
        return _of_row(place, own)
    row = next(iter(rows_named(queries.names, [name])[name]), None)
    if row is None:
        raise ImageError(
            f"{name}: {queries.path} has no code of this query, whose image could not be used: "
            "choose another query",
            "missing",
        )
    image = place.images(queries, row) if place.needs_images else None
    return Query(name, queries.codes[row], image, label_names(queries, row))


def _row_in_run_bank(place: SearchPlace, name: str) -> int | None:
    """The row of a query of the run in the run's bank, if that holds all images."""
    for start, bank in place.numbered_banks():
        if place.run is not None and bank.path == place.run.bank_path:
            rows = (start + row for row in rows_named(bank.names, [name])[name])
            return next((row for row in rows if not place.is_deleted(row)), None)
    return None
