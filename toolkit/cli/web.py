"""``hashkit export --web``: the search page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashkit.bank.reader import Bank
from hashkit.cli.console import TERMINAL, all_or_nothing, note, progress_bar
from hashkit.exporters.web.folder import export_web
from hashkit.exporters.web.images import live_rows
from hashkit.exporters.web.page_folder import check_target
from hashkit.exporters.web.pixels import check_rule
from hashkit.exporters.web.runtime import find_runtime
from hashkit.runs.run import Run
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.workflow.banks import run_bank
from hashkit.workflow.models import run_model
from hashkit.workflow.reporter import file_size, plural
from hashkit.workflow.row_images import RowImages

__all__ = ["check_web", "export_web_page"]


def check_web(folder: Path, runtime: Path | None) -> Path:
    """Folder of onnxruntime-web, after checking that a page can be written.

    Raises
    ------
    ConfigError
        If the folder holds something else, or onnxruntime-web is not there.
    """
    check_target(folder)
    return find_runtime(runtime)


def export_web_page(
    run: Run, folder: Path, runtime: Path, n_images: int, webgpu: bool
) -> dict[str, Any]:
    """Write the page of a run's model and database, with progress; returns its report.

    The database is encoded first if it has no bank yet.
    """
    model = run_model(run)
    check_rule(read_onnx_file(model).manifest)  # before a database is encoded for nothing
    with Bank.open(run_bank(run, "database", reporter=TERMINAL)) as bank:
        find = RowImages(run)
        n_taken = len(live_rows(bank, n_images))
        with (
            all_or_nothing(folder),
            progress_bar(f"writing {folder}", n_taken, "images") as bar,
        ):
            report = export_web(
                folder,
                model=model,
                bank=bank,
                image_of=lambda row: find(bank, row),
                runtime=runtime,
                webgpu=webgpu,
                n_images=n_images,
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
        note(f"{plural(n_missing, 'image')} could not be found or read, and have no picture")
    note(f"look at it: python3 -m http.server --directory {folder}, then http://localhost:8000")
    return report.to_dict()
