"""``hashkit.export``: a checkpoint to a model file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hashkit.errors import ConfigError, RunError
from hashkit.inputs.arguments import checked_arguments
from hashkit.runs.checkpoint_header import read_checkpoint_manifest
from hashkit.runs.known_names import check_name
from hashkit.runs.named_code import network_to_build
from hashkit.runs.run import PathText, Run, as_run
from hashkit.runs.run_lock import locked_run
from hashkit.workflow.extras import require
from hashkit.workflow.models import warn_if_outdated
from hashkit.workflow.output_files import check_model_path
from hashkit.workflow.reporter import LOGGED, Reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hashkit.datasets.imageset import ImageSet
    from hashkit.exporters.verified import ExportReport
    from hashkit.manifest import Manifest

__all__ = [
    "EXPORT_PRECISIONS",
    "N_VERIFY_IMAGES",
    "export",
    "export_run",
    "require_exporter",
]

EXPORT_PRECISIONS: Final = ("fp32", "fp16", "int8")

N_VERIFY_IMAGES: Final = 256
"""Training images that torch and the exported model are compared on."""


@checked_arguments
def export(
    run: Run | PathText,
    path: PathText | None = None,
    *,
    precision: str = "fp32",
    checkpoint: PathText | None = None,
    allow_loss: bool = False,
    network: str | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Export a trained model to an ONNX file that is verified on real images.

    Parameters
    ----------
    run
        The run, or its folder; for one of several code lengths, see `Run.per_length`.
    path
        File to write; None for the run's ``model.onnx``, or ``model-<precision>.onnx``. A file of
        another suffix is not replaced.
    precision
        ``fp32``; or ``fp16`` or ``int8``, made from the run's model.onnx, which is exported first
        if it is missing.
    checkpoint
        Checkpoint to export; None for the best on held-out images, otherwise the last.
    allow_loss
        Write fp16 or int8 even if its codes differ too much from fp32's.
    network
        The run's network, as named in training, ``module:FILE.py:NAME``. Required if it is code
        from outside hashkit, because code named only in a run's files is not imported.
    reporter
        Takes notes and progress; None to log the notes.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    RunError
        If there is no such run, it has no checkpoint yet, or it holds several code lengths.
    RunLockedError
        If another process is exporting it.
    ParityError
        If the exported model's outputs differ from its source's, or the loss exceeds the tolerance.
    ConfigError, CheckpointError, DatasetError, MissingExtraError
        If a setting is wrong, the run's network is code that was not named, the checkpoint is
        damaged, the run's training images are missing, or torch or onnx is not installed.
    """
    report = export_run(
        as_run(run),
        None if path is None else Path(path),
        precision=precision,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        allow_loss=allow_loss,
        network=network,
        reporter=reporter or LOGGED,
    )
    return Path(report["path"])


def export_run(
    run: Run,
    path: Path | None,
    *,
    precision: str,
    checkpoint: Path | None,
    allow_loss: bool,
    network: str | None = None,
    reporter: Reporter,
) -> dict[str, Any]:
    """Do the work of `export`; returns its report, JSON-ready."""
    check_name("precision", precision, EXPORT_PRECISIONS)
    if precision != "fp32" and checkpoint is not None:
        raise ConfigError(
            f'`checkpoint` cannot be combined with `precision="{precision}"`, which is made from '
            "the run's model.onnx: export that checkpoint first"
        )
    if precision == "fp32" and allow_loss:
        raise ConfigError(
            "`allow_loss` works only with the precisions fp16 and int8: fp32 loses nothing"
        )
    check_model_path(path)
    if checkpoint is not None:
        read_checkpoint_manifest(checkpoint)  # before torch is imported
    _check_length(run)
    if network is not None:
        recorded = run.read_config().training.network
        to_build = network_to_build(recorded, network, run.config_path)
        if to_build != recorded:
            reporter.note(f"{run.config_path} has the network {recorded}; {to_build} is used")
    # A model that is written elsewhere needs no place to write in the run's own folder.
    lock = locked_run(run.path, "export") if path is None else contextlib.nullcontext()
    with lock:
        return _export_locked(run, path, precision, checkpoint, allow_loss, network, reporter)


def _export_locked(
    run: Run,
    path: Path | None,
    precision: str,
    checkpoint: Path | None,
    allow_loss: bool,
    network: str | None,
    reporter: Reporter,
) -> dict[str, Any]:
    if precision == "fp32":
        return _export_fp32(run, path, checkpoint, network, reporter)
    require("train", f"hashkit export --precision {precision}", "onnx")
    if run.model_path.is_file():
        warn_if_outdated(run, reporter)
    else:
        _export_fp32(run, None, None, network, reporter)
    from hashkit.workflow.precisions import export_run_precision

    return export_run_precision(run, path, precision, allow_loss, reporter)


def require_exporter() -> None:
    """Raise MissingExtraError if the export of a checkpoint lacks a package."""
    require("train", "hashkit export --onnx", "torch", "onnx", "onnxscript", "safetensors")


def _check_length(run: Run) -> None:
    lengths = run.read_config().training.lengths
    if len(lengths) > 1:
        parts = ", ".join(str(part.path) for part in run.per_length().values())
        raise RunError(
            f"{run.path} trained {len(lengths)} code lengths together: export the run of one of "
            f"them: {parts}"
        )


def _export_fp32(
    run: Run,
    path: Path | None,
    checkpoint: Path | None,
    network: str | None,
    reporter: Reporter,
) -> dict[str, Any]:
    if run.read_config().training.has_embedder:
        return _export_features(run, path, checkpoint, reporter)
    require_exporter()
    from hashkit.exporters.onnx_export import export_onnx
    from hashkit.training.checkpoint import load_model

    checkpoint = checkpoint or run.checkpoint_path()
    loaded = load_model(checkpoint, network=network)
    reporter.note(f"exporting {checkpoint}")
    report = export_onnx(
        loaded.model,
        loaded.manifest,
        path or run.model_path,
        images=_real_images(run, loaded.manifest),
        progress=reporter.note,
    )
    return _note_findings(report, reporter, is_standardised=loaded.model.is_standardised)


def _export_features(
    run: Run, path: Path | None, checkpoint: Path | None, reporter: Reporter
) -> dict[str, Any]:
    """Export embedder and head, which needs no torch."""
    require("onnx", "hashkit export --onnx", "onnx", "safetensors")
    from hashkit.exporters.feature_model import export_features
    from hashkit.features.head_checkpoint import read_head
    from hashkit.workflow.feature_training import find_embedder

    checkpoint = checkpoint or run.checkpoint_path()
    trained = read_head(checkpoint)
    reporter.note(f"exporting {checkpoint}")
    report = export_features(
        find_embedder(run),
        trained.head,
        trained.manifest,
        path or run.model_path,
        images=_real_images(run, trained.manifest),
        progress=reporter.note,
    )
    return _note_findings(report, reporter, is_standardised=trained.config.standardise)


def _note_findings(
    report: ExportReport, reporter: Reporter, *, is_standardised: bool
) -> dict[str, Any]:
    """Note what an export found; returns its report, JSON-ready."""
    reporter.note(f"verified: {report.parity.differences()}")
    bits = report.parity.bits
    faults = [*bits.faults(), *(bits.scale_faults() if is_standardised else ())]
    for fault in faults:
        reporter.note(f"warning: {fault}")
    reporter.note(f"{report.path}: {report.n_bytes / 1e6:.1f} MB, opset {report.opset}")
    return report.to_dict()


def _real_images(run: Run, manifest: Manifest) -> NDArray[np.uint8]:
    """Up to `N_VERIFY_IMAGES` images that the run was trained on, at the model's size."""
    from hashkit.datasets.imageset import spread_rows
    from hashkit.datasets.screening import load_pixels

    images = _training_images(run)
    sample = images.subset(spread_rows(len(images), N_VERIFY_IMAGES))
    return load_pixels(sample, manifest.size, manifest.resize).pixels


def _training_images(run: Run) -> ImageSet:
    from hashkit.datasets.spec import open_spec
    from hashkit.workflow.training_source import TrainingSource

    source = TrainingSource.of_run(run)
    if source.triplets is not None:
        return source.read_triplets()[0]
    images, split = open_spec(source.spec)
    return images.subset(split.training)
