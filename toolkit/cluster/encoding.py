"""Encodes a bank set with the nodes of a cluster: one task for each shard."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hashkit.cluster.encode_jobs import EncodeWork, encode_one_shard, plan_set
from hashkit.cluster.engine import Engine, Resources
from hashkit.cluster.tasks import results_of_tasks
from hashkit.errors import ClusterError, HashkitError
from hashkit.workflow.reporter import SILENT, ProgressBar, Reporter, plural
from hashkit.workflow.shards import finish_shards, new_or_continued, shards_before

if TYPE_CHECKING:
    from hashkit.datasets.slices.plan import Plan
    from hashkit.runtimes.pipeline import EncodeReport
    from hashkit.workflow.shard_plans import ImagesToShard

__all__ = ["encode_on_cluster", "task_resources"]


def task_resources(
    engine: Engine, device: str, cpus: float | None = None, gpus: float | None = None
) -> Resources:
    """What a task takes: a CPU or, if there are GPUs, one of them and its share of the CPUs.

    Parameters
    ----------
    device
        ``cpu`` leaves GPUs alone; ``cuda`` needs one.
    cpus, gpus
        The user's own choice; less than one GPU lets several tasks share one.
    """
    if gpus is None:
        gpus = 1 if device != "cpu" and engine.n_gpus else 0
    if gpus > engine.n_gpus:
        raise ClusterError(
            f'expected a cluster with GPUs, found {engine.n_gpus:g}: use `device="cpu"`'
        )
    if cpus is None:
        cpus = 1 if not gpus else max(1, int(engine.n_cpus * gpus / engine.n_gpus))
    return Resources(cpus=cpus, gpus=gpus)


def encode_on_cluster(
    engine: Engine,
    work: EncodeWork,
    wanted: ImagesToShard,
    n_shards: int,
    resources: Resources,
    reporter: Reporter = SILENT,
) -> list[EncodeReport]:
    """Plan a bank set, encode its shards on the nodes, and write the manifest.

    The same call continues what was interrupted.

    Returns
    -------
    list
        A report for each shard.

    Raises
    ------
    ClusterError
        If shards failed; the others are complete.
    HashkitError
        See `hashkit.workflow.shards.encode_all_shards`.
    """
    work = _with_threads(work, resources)
    work = dataclasses.replace(work, options=new_or_continued(work.folder, work.options))
    plan = _planned(engine, work, wanted, n_shards, resources, reporter)
    reports: dict[int, EncodeReport] = {}
    failed: dict[int, HashkitError] = {}
    n_before = sum(len(plan.slices[number]) for number in shards_before(work.folder, plan))

    def lost(numbers: Sequence[int]) -> None:
        shards = ", ".join(str(number + 1) for number in sorted(numbers))
        what = f"shard {shards} goes" if len(numbers) == 1 else f"shards {shards} go"
        reporter.note(
            f"warning: a process or node of the cluster was lost; {what} on with another one, from "
            "the last committed rows"
        )

    with reporter.progress(
        f"encoding {work.folder.name}", plan.n_images, "images", start=n_before
    ) as bar:
        tasks = {number: (work, number) for number in range(n_shards)}
        for number, answer in results_of_tasks(engine, encode_one_shard, tasks, resources, lost):
            name = f"shard {number + 1} of {n_shards}"
            if isinstance(answer, HashkitError):
                failed[number] = answer
                reporter.note(f"warning: {name} failed: {answer}")
                continue
            for line in answer.notes:
                reporter.note(f"{name}: {line}")
            reports[number] = answer.report
            _show(bar, plan, reports)
    if failed:
        number = min(failed)
        raise ClusterError(
            f"{len(failed)} of {plural(n_shards, 'shard')} failed, first shard {number + 1} "
            f"({failed[number]}); the others are complete, and the same command tries these again"
        )
    finish_shards(
        work.folder, allow_other_provider=work.options.allow_other_provider, reporter=reporter
    )
    return [reports[number] for number in range(n_shards)]


def _planned(
    engine: Engine,
    work: EncodeWork,
    wanted: ImagesToShard,
    n_shards: int,
    resources: Resources,
    reporter: Reporter,
) -> Plan:
    tasks = {0: (work, wanted, n_shards)}
    ((_, answer),) = results_of_tasks(engine, plan_set, tasks, resources)
    if isinstance(answer, HashkitError):
        raise answer
    for line in answer.notes:
        reporter.note(line)
    plan: Plan = answer.plan
    return plan


def _show(bar: ProgressBar, plan: Plan, reports: dict[int, EncodeReport]) -> None:
    n_done = sum(len(plan.slices[number]) for number in reports)
    n_skipped = sum(report.n_skipped for report in reports.values())
    skipped = f", {n_skipped:,} skipped" if n_skipped else ""
    bar.update(n_done, f"{len(reports)} of {len(plan.slices)} shards{skipped}")


def _with_threads(work: EncodeWork, resources: Resources) -> EncodeWork:
    """As many threads as a task has CPUs, unless the user wants others."""
    n_threads = max(1, int(resources.cpus))
    settings, options = work.settings, work.options
    if settings.n_threads is None:
        settings = dataclasses.replace(settings, n_threads=n_threads)
    if options.n_workers is None:
        options = dataclasses.replace(options, n_workers=n_threads)
    return dataclasses.replace(work, settings=settings, options=options)
