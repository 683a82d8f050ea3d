"""``hashkit convert``: codes from one file format to another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashkit.cli.console import TERMINAL, all_or_nothing, emit_json, note, progress_bar
from hashkit.cli.options import JsonOption
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.codesets import CodeDatabase
    from hashkit.formats.format import Format

__all__ = ["convert"]


def convert(
    source: Annotated[
        Path, typer.Argument(help="Bank, bank set, or .npz, .npy, .parquet, .faiss or text file.")
    ],
    target: Annotated[
        Path,
        typer.Argument(help="File to write; its suffix gives the format. A folder with --shards."),
    ],
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards",
            metavar="N",
            min=1,
            help="Write a bank set: a folder of N banks of equal size.",
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            metavar="BITS",
            min=1,
            help="Code length, if SOURCE does not record it.",
            show_default="all bits of its bytes",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Labels of SOURCE: text, one per line, or .npy, .npz or .mat.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TARGET.")] = False,
    json: JsonOption = False,
) -> None:
    """Write codes in another format, or without deleted rows.

    TARGET appears only when it is complete. Suffixes: .h5 .hdf5 .npz .npy .parquet .faiss .index
    .txt, and .lance, which is only written

    \b
    Examples:
      hashkit convert bank.h5 codes.parquet
      hashkit convert index.faiss bank.h5 --bits 60 --labels labels.txt
      hashkit convert bank.h5 bank.h5 --overwrite
      hashkit convert bank.h5 set/ --shards 5
      hashkit convert set/ bank.h5
    """  # noqa: D301
    from hashkit.bank.reader import Bank
    from hashkit.codesets import n_kept_rows
    from hashkit.formats import format_named, open_codes, save_codes
    from hashkit.formats.bank import BANK
    from hashkit.formats.bank_set import BANK_SET, check_set_target
    from hashkit.formats.format import check_new
    from hashkit.formats.rows import parts_of
    from hashkit.workflow.index_state import report_index
    from hashkit.workflow.verify_files import check_rows

    kind = format_named(target) if shards is None else BANK_SET
    if shards is None:  # before codes are read, which may take long
        check_new(target, overwrite)
    else:
        check_set_target(target, overwrite)
    database = open_codes(source, labels, n_bits=bits)
    for part in parts_of(database):
        if isinstance(part, Bank):
            check_rows(part, TERMINAL)
    n_rows = n_kept_rows(database)
    n_deleted = len(database) - n_rows
    started = time.perf_counter()
    with all_or_nothing(target), progress_bar(f"writing {target.name}", n_rows, "rows") as bar:
        save_codes(
            target,
            database,
            overwrite=overwrite,
            shards=shards,
            progress=lambda done, total: bar.update(done * n_rows // max(total, 1)),
        )
    left_out = _left_out(database, kind)
    dropped = f", without {plural(n_deleted, 'deleted row')}" if n_deleted else ""
    cut = "" if shards is None else f" in {plural(shards, 'shard')}"
    note(f"{target}: {plural(n_rows, 'row')} of {plural(database.n_bits, 'bit')}{cut}{dropped}")
    if kind is BANK:
        report_index(target, TERMINAL)
    if left_out:
        note(f"a {kind.name} cannot hold everything: {' and '.join(left_out)} are left out")
    if not kind.keeps_bits and database.n_bits % 8:
        note(f"the file does not record the code length: read it with --bits {database.n_bits}")
    if json:
        emit_json(
            {
                "source": str(source),
                "target": str(target),
                "format": kind.name,
                "bits": database.n_bits,
                "n_rows": n_rows,
                "n_deleted": n_deleted,
                "left_out": left_out,
                "n_bytes": sum(part.stat().st_size for part in _files(target)),
                "seconds": time.perf_counter() - started,
            }
        )


def _files(target: Path) -> list[Path]:
    """The files that were written: those of a bank set or a dataset, or one."""
    inside = target.rglob("*") if target.is_dir() else [target]
    return [path for path in inside if path.is_file()]


def _left_out(database: CodeDatabase, kind: Format) -> list[str]:
    """What the source has but the target format cannot hold."""
    from hashkit.formats.bank import BANK
    from hashkit.formats.bank_set import BANK_SET
    from hashkit.formats.rows import has_files, has_names

    left_out = []
    if not kind.keeps_names and has_names(database):
        left_out.append("names")
    if not kind.keeps_labels and database.labels is not None:
        left_out.append("labels")
    if kind not in (BANK, BANK_SET) and has_files(database):
        left_out.append("sizes and digests of files")
    return left_out
