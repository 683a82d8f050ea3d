"""A run's model in another precision, and its comparison with the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hashkit.datasets.spec import open_spec
from hashkit.exporters.precision import PrecisionReport, export_precision
from hashkit.exporters.samples import TrialImages, draw_from_split, draw_from_training
from hashkit.manifest import Manifest
from hashkit.messages.byte_counts import file_size
from hashkit.runs.run import Run
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.workflow.reporter import SILENT, LateProgress, Reporter
from hashkit.workflow.training_source import TrainingSource

__all__ = ["export_run_precision"]

_WORTH_IT: Final = 1.2
"""Least speed relative to fp32 for which changed bits are worth it."""


def export_run_precision(
    run: Run,
    path: Path | None,
    precision: str,
    allow_loss: bool,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Make another precision of a run's model.onnx, and report its loss.

    Parameters
    ----------
    path
        File to write; None for ``model-<precision>.onnx`` in the run folder.

    Returns
    -------
    dict
        The report, JSON-ready.

    Raises
    ------
    ParityError
        If the loss exceeds the tolerance, and ``allow_loss`` is False.
    """
    source = run.model_path
    reporter.note(f"making {precision} of {source}")
    images = _trial_images(run, read_onnx_file(source).manifest)
    with LateProgress(reporter, "comparing", "images") as bar:
        report = export_precision(
            source,
            path or source.with_name(f"{source.stem}-{precision}{source.suffix}"),
            precision,
            calibration=images.calibration,
            sample=images.sample,
            allow_loss=allow_loss,
            say=reporter.note,
            progress=bar.update,
        )
    _tell(report, reporter)
    return report.to_dict()


def _trial_images(run: Run, manifest: Manifest) -> TrialImages:
    source = TrainingSource.of_run(run)
    if source.triplets is not None:
        return draw_from_training(source.read_triplets()[0], manifest)
    return draw_from_split(*open_spec(source.spec), manifest)


def _tell(report: PrecisionReport, reporter: Reporter) -> None:
    reporter.note(f"compared: {report.agreement.summary()}")
    if report.excesses:
        reporter.note(f"warning: it loses more than it should: {'; '.join(report.excesses)}")
    size = f"{file_size(report.n_bytes)}, {report.n_bytes / report.n_bytes_source:.0%} of fp32"
    if report.quantised:
        n_all = len(report.quantised) + len(report.kept)
        size += f"; {len(report.quantised)} of {n_all} convolutions in int8"
    reporter.note(f"{report.path}: {size}; {report.speed:.2f} times the speed of fp32 on this CPU")
    if report.precision == "int8":
        reporter.note(_advice(report))


def _advice(report: PrecisionReport) -> str:
    """Whether the file is worth using here, and how."""
    if report.speed < _WORTH_IT:
        return "it is hardly faster on this CPU: keep the fp32 model here"
    return (
        f"to use it, give {report.path} as `model=...` to whatever encodes, for banks and queries "
        "alike: banks of the fp32 model take no codes of it"
    )
