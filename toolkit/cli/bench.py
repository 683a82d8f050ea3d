"""``hashkit bench``: a model in every runtime and precision, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hashkit.cli.console import INTERRUPTED, TERMINAL, emit_json, note, progress_bar
from hashkit.cli.flags import parse_integers, shown
from hashkit.cli.options import (
    JsonOption,
    NetworkOption,
    ProfileOption,
    RunOption,
    RunsOption,
    model_or_path,
)
from hashkit.errors import ConfigError
from hashkit.exporters.bench.settings import BenchSettings, Floors
from hashkit.runs.run import DEFAULT_RUNS_DIR

if TYPE_CHECKING:
    from hashkit.exporters.bench.comparison import BenchRow
    from hashkit.exporters.bench.contenders import Contender
    from hashkit.workflow.bench import TrialSet

__all__ = ["bench"]

_DEFAULTS: Final = BenchSettings()


def bench(
    context: typer.Context,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    network: NetworkOption = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            parser=model_or_path,
            help="ONNX model or built-in model, the reference first; may be repeated.",
            show_default="model.onnx and model-*.onnx of the run",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="IMAGES",
            help="Folder, list file or named set for the comparison.",
            show_default="the run's queries and database",
        ),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Compare on random pixels, without mAP.")
    ] = False,
    queries: Annotated[
        int, typer.Option("--queries", metavar="N", min=1, help="Largest number of queries to use.")
    ] = 200,
    database: Annotated[
        int,
        typer.Option(
            "--database", metavar="N", min=1, help="Largest number of database images to use."
        ),
    ] = 1000,
    runtimes: Annotated[
        str | None,
        typer.Option(
            "--runtimes",
            metavar="NAME,...",
            help="Names of runtimes, separated by commas, including torch.",
            show_default="all that are installed",
        ),
    ] = None,
    precisions: Annotated[
        str | None,
        typer.Option(
            "--precisions",
            metavar="NAME,...",
            help="Precisions, separated by commas: fp32, fp16, int8.",
            show_default="all that have a file",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto for every device, cpu or cuda.")
    ] = "auto",
    profile: ProfileOption = _DEFAULTS.profile,
    batch_sizes: Annotated[
        str,
        typer.Option(
            "--batches", metavar="N,...", help="Batch sizes to time, separated by commas."
        ),
    ] = ",".join(map(str, _DEFAULTS.batch_sizes)),
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="SECONDS", help="Time for each batch size; at least 3 batches."
        ),
    ] = _DEFAULTS.seconds,
    n_starts: Annotated[
        int,
        typer.Option(
            "--starts", metavar="N", min=1, help="Starts in a new process; the median is shown."
        ),
    ] = _DEFAULTS.n_starts,
    n_slow_images: Annotated[
        int,
        typer.Option("--slow-images", metavar="N", min=2, help="Images for the runtime reference."),
    ] = _DEFAULTS.n_slow_images,
    timeout_seconds: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", help="Time limit of a process."),
    ] = _DEFAULTS.timeout_seconds,
    max_flips: Annotated[
        float | None,
        typer.Option(
            "--max-flips", metavar="X", help="Fail if more than this many bits per million flip."
        ),
    ] = None,
    min_map: Annotated[
        float | None, typer.Option("--min-map", metavar="X", help="Fail below this mAP.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the table to this file."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML page to this file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure a model in every runtime: speed, memory and codes.

    Each runtime and precision is a row. It is measured in new processes, and its codes for real
    images are compared with those of the first model in ONNX Runtime on the CPU. Missing runtimes
    are listed with the command that installs them.

    \b
    Examples:
      hashkit bench
      hashkit bench --run runs/photos --markdown bench.md --html bench.html
      hashkit bench --model model.onnx --model model-int8.onnx --images photos/
      hashkit bench --runtimes onnxruntime,openvino --precisions fp32 --max-flips 10
    """  # noqa: D301
    from hashkit.cli.bench_output import bench_document, print_bench
    from hashkit.exporters.bench.contenders import Wanted, contenders
    from hashkit.workflow.bench import BenchSubject, WantedImages
    from hashkit.workflow.output_files import check_markdown_path, check_page_path

    check_markdown_path(markdown)
    check_page_path(html)
    wanted = Wanted(_names(runtimes), _names(precisions), device, network)
    floors = Floors(max_flips, min_map)
    settings = BenchSettings(
        batch_sizes=parse_integers("--batches", batch_sizes),
        seconds=seconds,
        n_starts=n_starts,
        n_slow_images=n_slow_images,
        timeout_seconds=timeout_seconds,
        profile=profile,
    )
    wanted_images = WantedImages(images, random, queries, database)
    subject = BenchSubject.open(model or [], run, runs, TERMINAL)
    measured = contenders(subject.models, wanted, subject.checkpoint())
    trial = subject.images(wanted_images)
    if min_map is not None and not trial.sample.has_labels:
        raise ConfigError(f"--min-map needs labels, and {trial.source} have none")
    rows = _measure(measured, trial, settings, floors)
    rows = [dataclasses.replace(row, detail=shown(context, row.detail)) for row in rows]
    document = bench_document(subject, trial, settings, floors, wanted, rows)
    _save(document, markdown, html)  # before the output, which `head` may end
    if json:
        emit_json(document)
    else:
        print_bench(document)
    if not document["ok"]:
        note(f"error: {'; '.join(document['problems'])}")
        raise typer.Exit(1)


def _measure(
    contenders: Sequence[Contender], trial: TrialSet, settings: BenchSettings, floors: Floors
) -> list[BenchRow]:
    """Measure with progress; Ctrl-C also ends the measuring process."""
    from hashkit.exporters.bench.comparison import bench as measure

    title = ""

    def say(what: str) -> None:
        nonlocal title
        title = what

    n_steps = sum(map(settings.n_steps, contenders))
    try:
        with progress_bar("measuring", n_steps, "steps") as bar:
            return measure(
                contenders,
                trial.sample,
                settings,
                floors,
                say=say,
                progress=lambda done, _: bar.update(done, title),
            )
    except KeyboardInterrupt:
        note("interrupted; nothing is kept")
        raise typer.Exit(INTERRUPTED) from None


def _save(document: Mapping[str, Any], markdown: Path | None, html: Path | None) -> None:
    if markdown is not None:
        from hashkit.report.bench_table import markdown as to_markdown
        from hashkit.report.templates import save_text

        save_text(markdown, to_markdown(document))
        note(f"table: {markdown}")
    if html is not None:
        from hashkit.report.bench_page import save_bench_page

        save_bench_page(document, html)
        note(f"page: {html}")


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None for all."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())
