"""Reads everything in a run folder, and finds what is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hashkit.errors import EvaluationError, HashkitError, RunError
from hashkit.features.computing import FEATURES_NAME
from hashkit.features.table import check_table, record_path
from hashkit.inputs.json_text import read_json
from hashkit.multi_index.index import index_path
from hashkit.report.evaluations import FILE_NAME, load_evaluation
from hashkit.runs.checkpoint_weights import check_weights
from hashkit.runs.run import Run
from hashkit.workflow.models import is_outdated
from hashkit.workflow.reporter import SILENT, Reporter, plural
from hashkit.workflow.verify_files import (
    Fault,
    Verification,
    verify_bank,
    verify_embedder,
    verify_index,
    verify_model,
    with_model_faults,
)

__all__ = ["verify_run"]


def verify_run(path: Path, reporter: Reporter = SILENT) -> list[Verification]:
    """Check everything in a run folder, and that its model and banks belong together.

    A file that the run does not have (yet) is not missed.
    """
    run = Run(path)
    found = [_records(run), *_checkpoints(run, reporter)]
    if run.embedder_path.is_file():
        found.append(verify_embedder(run.embedder_path))
    found += _features(run)
    if run.model_path.is_file():
        if is_outdated(run):
            reporter.note(
                f"{run.model_path}: has other weights than the run's checkpoint; "
                f'`hashkit.export("{run.path}")` makes it again'
            )
        found.append(verify_model(run.model_path))
    for bank in (run.bank_path, run.queries_path):
        if bank.is_file():
            found.append(verify_bank(bank, reporter))
        index = index_path(bank)
        if index.is_file():
            found.append(verify_index(index))
    return with_model_faults(found)


def _records(run: Run) -> Verification:
    """The run's JSON files."""
    readers: dict[Path, Callable[[], object]] = {
        run.config_path: run.read_config,
        run.metrics_path: run.read_metrics,
        run.summary_path: lambda: read_json(run.summary_path, RunError),
        run.path / FILE_NAME: lambda: load_evaluation(run.path),
    }
    faults, checked = [], []
    for path, read in readers.items():
        if path.is_file():
            checked.append(path.name)
            try:
                read()
            except (EvaluationError, RunError) as error:
                faults.append(Fault(str(error)))
    return Verification(run.path, "run", ", ".join(checked), tuple(faults))


def _features(run: Run) -> Iterator[Verification]:
    """The features of a run, and the outputs that its baselines are made of."""
    for path in (run.path / FEATURES_NAME, run.path / "baselines" / "outputs.npy"):
        if path.is_file() or record_path(path).is_file():
            faults: tuple[Fault, ...] = ()
            try:
                checked = check_table(path)
            except HashkitError as error:
                checked, faults = "its content", (Fault(str(error)),)
            yield Verification(path, "features", checked, faults)


def _checkpoints(run: Run, reporter: Reporter) -> Iterator[Verification]:
    paths = [path for _, path in run.snapshots()]
    paths += [run.best_path] if run.best_path.is_file() else []
    if not paths:
        return
    title = f"checking {plural(len(paths), 'checkpoint')}"
    with reporter.progress(title, len(paths), "files") as bar:
        for number, path in enumerate(paths, start=1):
            faults: tuple[Fault, ...] = ()
            try:
                checked = f"weights, SHA-256 {check_weights(path)}"
            except HashkitError as error:
                checked, faults = "its header and tensors", (Fault(str(error)),)
            bar.update(number)
            yield Verification(path, "checkpoint", checked, faults)
