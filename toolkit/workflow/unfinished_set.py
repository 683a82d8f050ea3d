"""Facts of a bank set that is planned and not finished, as JSON-ready values."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

from hashkit.bank.reader import Bank
from hashkit.bank_set.finishing import shard_name
from hashkit.bank_set.manifest import finish_command
from hashkit.bank_set.places import is_bank_set
from hashkit.bank_set.plan_files import PLAN_NAME
from hashkit.datasets.slices.plan import Plan
from hashkit.errors import BankError
from hashkit.model_names import builtin_name
from hashkit.workflow.shard_job import UNFINISHED_FOLDER, is_finished
from hashkit.workflow.shard_plans import planned

__all__ = ["is_unfinished_set", "unfinished_set_facts"]


def is_unfinished_set(path: Path) -> bool:
    """Whether a path is the folder of a set whose manifest is not written yet."""
    return (path / PLAN_NAME).is_file() and not is_bank_set(path)


def unfinished_set_facts(folder: Path) -> dict[str, Any]:
    """Facts of the plan, how far each shard is, and the command that continues.

    Raises
    ------
    BankError, BankMismatchError
        If a shard is damaged, or another bank.
    DatasetError
        If the plan is damaged.
    """
    plan = planned(folder)
    shards = [_shard_facts(folder, plan, number) for number in range(len(plan.slices))]
    n_done = sum(shard["n_done"] for shard in shards)
    return {
        "path": str(folder),
        "kind": "unfinished bank set",
        "n_bytes": sum(shard["n_bytes"] for shard in shards),
        "bits": plan.n_bits,
        "images": plan.images,
        "n_images": plan.n_images,
        "n_rows": sum(shard["n_rows"] for shard in shards),
        "is_complete": False,
        "n_images_left": plan.n_images - n_done,
        "label_kind": plan.label_kind,
        "model_sha256": plan.model_sha256 or None,
        "runtime": plan.runtime or None,
        "provider": plan.provider or None,
        "precision": plan.precision or None,
        "resampler": plan.resampler or None,
        "shards": shards,
        "next": _next_command(folder, plan, shards),
    }


def _shard_facts(folder: Path, plan: Plan, number: int) -> dict[str, Any]:
    name, images = shard_name(number), plan.slices[number]
    facts: dict[str, Any] = {
        "file": name,
        "state": "missing",
        "n_images": len(images),
        "n_done": 0,
        "n_rows": 0,
        "n_bytes": 0,
        "slice": {"list": plan.list, "start": images.start, "stop": images.stop},
    }
    final = folder / name
    if is_finished(final, plan, number):
        return facts | {"state": "complete", **_progress(final)}
    begun = (folder / UNFINISHED_FOLDER).glob(f"{final.stem}.*h5")  # more than one if a writer hung
    found = [_progress(path) for path in begun]
    if not found:
        return facts
    furthest = max(found, key=lambda shard: shard["n_done"])
    return facts | {"state": "begun", **furthest}


def _progress(path: Path) -> dict[str, int]:
    """How far a shard is; its writer may publish or replace it meanwhile."""
    with contextlib.suppress(BankError, OSError), Bank.open(path) as bank:
        n_bytes = path.stat().st_size
        return {"n_done": bank.n_consumed, "n_rows": len(bank), "n_bytes": n_bytes}
    return {"n_done": 0, "n_rows": 0, "n_bytes": 0}


def _next_command(folder: Path, plan: Plan, shards: list[dict[str, Any]]) -> str:
    """The command that encodes what is left on this machine, or writes the manifest."""
    if all(shard["state"] == "complete" for shard in shards):
        return finish_command(folder).strip("`")
    model = builtin_name(plan.model_sha256) or "MODEL"
    command = ["hashkit", "encode", plan.images, "--model", model]
    for name, value in plan.settings.items():
        if value and value != "auto":
            command += [f"--{name.replace('_', '-')}", value]
    return shlex.join([*command, "--shards", str(len(shards)), "--out", str(folder)])
