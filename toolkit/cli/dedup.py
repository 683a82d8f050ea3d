"""``hashkit dedup``: duplicates in a folder or a bank, and which of them to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hashkit.cli.cluster_options import (
    AddressOption,
    ClusterChoice,
    ClusterOption,
    cluster_engine,
)
from hashkit.cli.console import TERMINAL, emit_json, note, progress_bar
from hashkit.cli.options import JsonOption, MovedRootOption, WorkersOption
from hashkit.errors import ConfigError
from hashkit.inputs.paths import with_home
from hashkit.workflow.reporter import LateProgress, plural

if TYPE_CHECKING:
    from hashkit.collection.moving import MoveReport
    from hashkit.workflow.dedup import Duplicates

__all__ = ["dedup"]

_COLUMNS: Final = ("distance", "score", "bytes", "width", "height")


def dedup(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER|BANK", help="Folder of images, code bank or bank set."),
    ] = None,
    radius: Annotated[
        int | None,
        typer.Option(
            "--radius",
            metavar="BITS",
            min=0,
            help="Largest distance between codes of near duplicates.",
            show_default="2 for a bank, none for a folder",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Find only identical files and identical pixels.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write one line per image to this file."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a page with pictures of the groups to this file.",
        ),
    ] = None,
    apply: Annotated[
        str | None,
        typer.Option(
            "--apply",
            metavar="move=FOLDER",
            help="Move the duplicates into this folder, and write a journal there.",
        ),
    ] = None,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="FILE", help="Move the files of this journal back."),
    ] = None,
    data_root: MovedRootOption = None,
    num_workers: WorkersOption = None,
    cluster: ClusterOption = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Find identical files, identical pixels, and near duplicates.

    Each group has one image to keep; all others in the group are copies of it. Nothing is moved
    without --apply, and nothing is ever deleted or replaced. --undo moves the files back.

    \b
    Examples:
      hashkit dedup photos/ --report duplicates.html
      hashkit dedup photos/ --exact --apply move=duplicates/
      hashkit dedup --undo duplicates/hashkit-dedup-20250101-120000-a1b2c3.json
      hashkit dedup album.h5 --radius 4 --json
      hashkit dedup set/ --cluster ray --json
    """  # noqa: D301
    if undo is not None:
        _undo(undo, source, apply, json=json)
        return
    if source is None:
        raise ConfigError("expected a folder or a bank, found none: hashkit dedup photos/")
    from hashkit.bank_set.places import is_bank_set
    from hashkit.collection.moving import check_target
    from hashkit.workflow.dedup import find_duplicates
    from hashkit.workflow.output_files import check_page_path, check_table_path

    choice = ClusterChoice(cluster, address)
    check_page_path(report)
    check_table_path(csv)
    target = None if apply is None else _target(apply)
    if target is not None and source.is_dir() and not is_bank_set(source):
        check_target(target, source)
    if choice.cluster is None:
        found = find_duplicates(
            source,
            radius,
            exact=exact,
            data_root=data_root,
            num_workers=num_workers,
            reporter=TERMINAL,
        )
    else:
        found = _on_cluster(source, radius, exact, data_root, num_workers, choice)
    if target is not None:
        check_target(target, found.folder)
    if csv is not None:
        _write_csv(found, csv)
    if report is not None:
        _write_page(found, report)
    moved = None if target is None else _move(found, target)
    if json:
        emit_json(found.to_dict() | ({} if moved is None else {"moved": _moved_json(moved)}))
    else:
        from hashkit.cli.dedup_output import print_duplicates

        print_duplicates(found, is_moved=moved is not None)


def _on_cluster(
    source: Path,
    radius: int | None,
    exact: bool,
    data_root: Path | None,
    num_workers: int | None,
    choice: ClusterChoice,
) -> Duplicates:
    """The duplicates in a bank or a bank set, whose near codes a cluster finds."""
    from hashkit.bank_set.opening import banks_of, open_bank_or_set
    from hashkit.bank_set.places import is_bank_set
    from hashkit.workflow.dedup import find_in_bank

    if exact or not (source.is_file() or is_bank_set(source)):
        raise ConfigError(
            "--cluster compares the codes of a bank or a bank set, found "
            f"{'--exact' if exact else 'a folder of images'}: leave --cluster out"
        )
    with open_bank_or_set(source) as opened, cluster_engine(choice.address) as engine:
        from hashkit.cluster.duplicates import pairs_of_shards

        banks = banks_of(opened)
        return find_in_bank(
            opened,
            lambda bits: pairs_of_shards(engine, banks, bits, TERMINAL),
            radius,
            data_root=data_root,
            num_workers=num_workers,
            reporter=TERMINAL,
        )


def _target(text: str) -> Path:
    action, _, folder = text.partition("=")
    if action != "move" or not folder:
        raise typer.BadParameter(f"expected move=FOLDER, found {text!r}", param_hint="--apply")
    return with_home(folder)


def _move(found: Duplicates, target: Path) -> MoveReport:
    from hashkit.bank_set.places import is_bank_set
    from hashkit.collection.moving import move_duplicates

    with LateProgress(TERMINAL, "moving duplicates", "files") as bar:
        report = move_duplicates(
            found.groups,
            target,
            bar.update,
            begun=lambda journal: note(f"journal, for --undo: {journal}"),
        )
    for line in report.faults:
        note(f"warning: {line}")
    if report.journal is None:
        note("nothing to move")
    else:
        note(
            f"{plural(len(report.moved), 'file')} moved to {target}; "
            f"hashkit dedup --undo {report.journal} moves them back"
        )
        if found.source.is_file() or is_bank_set(found.source):
            note(
                f"{found.source} still has their rows: hashkit sync {found.folder} --bank "
                f"{found.source} deletes them"
            )
    return report


def _moved_json(report: MoveReport) -> dict[str, object]:
    return {
        "journal": None if report.journal is None else str(report.journal),
        "files": [{"from": str(source), "to": str(path)} for source, path in report.moved],
        "faults": list(report.faults),
    }


def _undo(journal: Path, source: Path | None, apply: str | None, *, json: bool) -> None:
    from hashkit.collection.moving import undo_moves

    if source is not None or apply is not None:
        raise ConfigError("`undo=...` takes only the journal: leave out the other arguments")
    with LateProgress(TERMINAL, "moving back", "files") as bar:
        report = undo_moves(journal, bar.update)
    for line in report.faults:
        note(f"warning: {line}")
    rest = f"; {report.n_unmoved:,} already in place" if report.n_unmoved else ""
    note(f"{plural(report.restored, 'file')} moved back{rest}")
    if json:
        emit_json(
            {
                "restored": report.restored,
                "unmoved": report.n_unmoved,
                "faults": list(report.faults),
            }
        )
    if report.faults:
        raise typer.Exit(1)


def _write_csv(found: Duplicates, path: Path) -> None:
    from hashkit.files.csv_text import csv_text
    from hashkit.report.templates import save_text

    lines = [
        [number, image["kind"] or "", int(image["name"] == group["keep"])]
        + [image[key] for key in ("name", *_COLUMNS)]
        for number, group in enumerate(found.to_dict()["groups"], 1)
        for image in group["images"]
    ]
    save_text(path, csv_text(["group", "kind", "keep", "name", *_COLUMNS], lines))
    note(f"{path}: {plural(len(found.groups), 'group')}")


def _write_page(found: Duplicates, path: Path) -> None:
    from hashkit.report.duplicates_page import save_duplicates_page

    paths = {
        image.name: image.path
        for group in found.groups
        for image in (group.keep, *(one.image for one in group.duplicates))
    }
    n_images = found.n_duplicates + len(found.groups)
    with progress_bar(f"drawing {path.name}", n_images, "images") as bar:
        done = 0

        def find(name: str) -> Path | None:
            nonlocal done
            done += 1
            bar.update(done)
            return paths[name]

        save_duplicates_page(found.to_dict(), path, find)
    note(f"{path}: {plural(len(found.groups), 'group')}")
