"""``hashkit export --web``: the search page of a run, or of a model and a bank."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

from hashkit.bank_set.joined import as_one
from hashkit.bank_set.opening import open_bank_or_set, open_banks
from hashkit.cli.console import TERMINAL, all_or_nothing, note, progress_bar
from hashkit.errors import ConfigError
from hashkit.exporters.web.folder import DEFAULT_IMAGES, DEFAULT_TITLE, export_web
from hashkit.exporters.web.images import PICTURE_SIDE, live_rows
from hashkit.exporters.web.page_folder import check_target
from hashkit.exporters.web.pixels import check_rule
from hashkit.exporters.web.runtime import find_runtime
from hashkit.messages.byte_counts import file_size
from hashkit.runs.run import Run
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.workflow.banks import note_missing_queries, run_bank
from hashkit.workflow.models import model_of_banks, run_model
from hashkit.workflow.reporter import plural
from hashkit.workflow.row_images import RowImages
from hashkit.workflow.search_place import run_in_place

__all__ = ["WebSettings", "WebSource", "check_web", "export_web_page", "open_web_source"]


@dataclasses.dataclass(frozen=True)
class WebSource:
    """What a page is made of; ``run`` is None if model and bank were named."""

    model: Path
    bank: Path
    run: Run | None = None


@dataclasses.dataclass(frozen=True)
class WebSettings:
    """How the page looks, and which images it shows."""

    n_images: int
    picture_side: int
    title: str
    webgpu: bool

    @classmethod
    def of(
        cls, n_images: int | None, picture_side: int | None, title: str | None, *, webgpu: bool
    ) -> Self:
        """Settings with the library's defaults for what is None."""
        return cls(
            DEFAULT_IMAGES if n_images is None else n_images,
            PICTURE_SIDE if picture_side is None else picture_side,
            DEFAULT_TITLE if title is None else title,
            webgpu,
        )


def check_web(folder: Path, runtime: Path | None) -> Path:
    """Folder of onnxruntime-web, after checking that a page can be written.

    Raises
    ------
    ConfigError
        If the folder holds something else, or onnxruntime-web is not there.
    """
    check_target(folder)
    return find_runtime(runtime)


def open_web_source(
    model: Path | None, bank: Path | None, run: Path | None, runs: Path
) -> WebSource:
    """The named model and bank, otherwise those of the named or the newest run.

    The run's database is encoded first if it has no bank yet. A bank of a built-in model needs no
    name of the model.

    Raises
    ------
    ConfigError
        If one is named without the other, with a run, or a browser cannot make the model's pixels.
    HashkitError
        If they cannot be used.
    """
    if bank is None and model is None:
        found = run_in_place((), run, runs, TERMINAL)
        path = run_model(found)
        check_rule(read_onnx_file(path).manifest)  # before a database is encoded for nothing
        source = WebSource(path, run_bank(found, "database", reporter=TERMINAL), found)
        note_missing_queries(found, TERMINAL)
        return source
    if run is not None:
        raise ConfigError(
            "expected --run, or --model and --bank, found both: leave one of the two out"
        )
    if bank is None:
        raise ConfigError("expected --bank with --model, found none: name a bank of this model")
    if model is None:
        model = model_of_banks(open_banks(bank), "--web", TERMINAL)
    check_rule(read_onnx_file(model).manifest)
    return WebSource(model, bank)


def export_web_page(
    source: WebSource,
    folder: Path,
    runtime: Path,
    settings: WebSettings,
    data_root: Path | None = None,
) -> dict[str, Any]:
    """Write the page of a model and a bank, with progress; returns its report.

    ``data_root`` is where the images' folder is now, if it has moved.
    """
    find = RowImages(source.run, data_root)
    with open_bank_or_set(source.bank) as opened:
        bank = as_one(opened)
        n_taken = len(live_rows(bank, settings.n_images))
        with (
            all_or_nothing(folder),
            progress_bar(f"writing {folder}", n_taken, "images") as bar,
        ):
            report = export_web(
                folder,
                model=source.model,
                bank=bank,
                image_of=lambda row: find(bank, row),
                runtime=runtime,
                webgpu=settings.webgpu,
                n_images=settings.n_images,
                title=settings.title,
                picture_side=settings.picture_side,
                progress=lambda done, _: bar.update(done),
            )
    spread = f" of {report.n_database:,}, spread over the database"
    note(
        f"{folder}: {plural(report.n_images, 'image')}"
        f"{spread if report.n_images < report.n_database else ''}, "
        f"{plural(report.n_files, 'file')}, {file_size(report.n_bytes)}"
    )
    if report.n_thumbnails < report.n_images:
        n_missing = report.n_images - report.n_thumbnails
        TERMINAL.note(
            f"{plural(n_missing, 'image')} could not be found or read, and have no picture; if the "
            "folder was moved, give its current path with `data_root=...`"
        )
    note(f"to view it: python3 -m http.server --directory {folder}, then http://localhost:8000")
    return report.to_dict()
