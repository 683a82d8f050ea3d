"""Facts of a run folder, and the command to type next."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.errors import BankError, EvaluationError, RunError
from hashkit.inputs.json_text import read_json
from hashkit.runs.named_code import is_own_loss, runs_own_code
from hashkit.runs.run import Run
from hashkit.workflow.models import is_outdated

__all__ = ["run_facts"]

_SETTINGS: Final = (
    "recipe",
    "network",
    "loss",
    "lengths",
    "height",
    "width",
    "epochs",
    "steps",
    "batch_size",
    "optimiser",
    "learning_rate",
    "schedule",
    "augmentation",
    "precision",
    "seed",
)
"""The settings of training that identify a run; the others are in its config.json."""


def run_facts(path: Path) -> dict[str, Any]:
    """Facts of a run folder.

    Raises
    ------
    RunError
        If it is not one, or its config.json is damaged.
    """
    run = Run.open(path)
    config = run.read_config()
    training = config.training.to_dict()
    facts: dict[str, Any] = {
        "path": str(path),
        "kind": "run",
        "created": config.created or None,
        "data": None if config.data is None else config.data.to_dict(),
        "triplets": config.triplets,
        "device": config.device,
        "training": {name: training[name] for name in _SETTINGS},
        **_progress(run),
        "snapshots": [step for step, _ in run.snapshots()],
        "has_best": run.best_path.is_file(),
        "model_bytes": run.model_path.stat().st_size if run.model_path.is_file() else None,
        "is_model_outdated": is_outdated(run),
        "queries": _bank(run.queries_path),
        "database": _bank(run.bank_path),
        "evaluation": _evaluation(run),
    }
    return facts | {"next": _next(run, facts)}


def _own_code(facts: Mapping[str, Any], settings: Iterable[str]) -> str:
    """The options that name the user's own code again; see `hashkit.runs.named_code`."""
    is_own = {"network": runs_own_code, "loss": is_own_loss}
    names = {name: facts["training"][name] for name in settings}
    return "".join(
        f" --{name} {shlex.quote(value)}" for name, value in names.items() if is_own[name](value)
    )


def _progress(run: Run) -> dict[str, Any]:
    """Progress of the training: the last line of its metrics and the best held-out score."""
    lines = run.read_metrics()
    losses = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if line.get("held_out") is not None]
    best = max(held_out, key=lambda line: float(line["held_out"]), default=None)
    return {
        "is_trained": run.is_trained,
        "last": losses[-1] if losses else None,
        "best_held_out": best,
        "summary": _read_json(run.summary_path),
    }


def _bank(path: Path) -> dict[str, Any] | None:
    from hashkit.bank.reader import Bank

    if not path.is_file():
        return None
    try:
        with Bank.open(path) as bank:
            return {
                "n_rows": len(bank),
                "n_deleted": bank.n_deleted,
                "is_complete": bank.is_complete,
                "n_bytes": path.stat().st_size,
            }
    except BankError as error:
        return {"error": str(error)}


def _evaluation(run: Run) -> dict[str, Any] | None:
    from hashkit.report.evaluations import load_evaluation

    try:
        fields = load_evaluation(run.path).fields
    except EvaluationError:
        return None
    return {name: fields[name] for name in ("map", "n_queries", "n_database") if name in fields}


def _next(run: Run, facts: Mapping[str, Any]) -> str:
    """The next command to type."""
    path = shlex.quote(str(run.path))
    if not facts["is_trained"]:
        return f"hashkit train --resume --run {path}{_own_code(facts, ('network', 'loss'))}"
    if facts["model_bytes"] is None or facts["is_model_outdated"]:
        return f"hashkit export --onnx --run {path}{_own_code(facts, ('network',))}"
    banks = (facts["queries"], facts["database"])
    if facts["triplets"] is None and not all(bank and bank.get("is_complete") for bank in banks):
        return f"hashkit encode --run {path}"
    if facts["triplets"] is not None:
        model = shlex.quote(str(run.model_path))
        return f"hashkit encode IMAGES --model {model} --out bank.h5"
    if facts["evaluation"] is None:
        return f"hashkit evaluate --run {path}"
    return f"hashkit search --query IMAGE --run {path}"


def _read_json(path: Path) -> Any:
    with contextlib.suppress(OSError, RunError):
        return read_json(path, RunError)
    return None
