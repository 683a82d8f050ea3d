"""What ``hashkit evaluate`` measures, with progress on the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hashkit.cli.cluster_options import ClusterChoice, cluster_engine
from hashkit.cli.console import TERMINAL, progress_bar
from hashkit.cli.flags import given_flags
from hashkit.errors import ConfigError
from hashkit.runtimes.settings import RuntimeSettings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from hashkit.codesets import CodeDatabase
    from hashkit.evaluation.evaluator import Report
    from hashkit.evaluation.settings import EvaluationSettings
    from hashkit.workflow.evaluation import Subject
    from hashkit.workflow.reporter import ProgressBar

__all__ = ["Rescoring", "evaluated", "measured", "rescoring_of"]


def evaluated(
    settings: EvaluationSettings,
    name: str,
    queries: CodeDatabase,
    databases: Sequence[CodeDatabase],
) -> Report:
    """Evaluate on this machine, with progress under a name."""
    from hashkit.evaluation.evaluator import evaluate_with

    with _progress(name, databases) as bar:
        return evaluate_with(settings, queries, databases, lambda done, _: bar.update(done))


def _progress(name: str, databases: Sequence[CodeDatabase]) -> AbstractContextManager[ProgressBar]:
    """A bar that counts the rows of both passes over the databases."""
    return progress_bar(f"evaluating {name} in two passes", 2 * sum(map(len, databases)), "rows")


def measured(settings: EvaluationSettings, subject: Subject, choice: ClusterChoice) -> Report:
    """Evaluate, here or with the nodes of a cluster, with progress.

    Raises
    ------
    ConfigError
        If a cluster is to evaluate something other than banks.
    """
    if choice.cluster is None:
        return evaluated(settings, subject.name, subject.queries, subject.databases)
    from hashkit.bank.reader import Bank
    from hashkit.formats.rows import parts_of

    queries = parts_of(subject.queries)
    parts = [part for one in subject.databases for part in parts_of(one)]
    banks = [part for part in parts if isinstance(part, Bank)]
    if len(banks) < len(parts):
        raise ConfigError(
            "--cluster expects banks or bank sets as databases, found other codes: make a bank of "
            "them with hashkit convert"
        )
    with cluster_engine(choice.address) as engine:
        from hashkit.cluster.evaluating import evaluate_groups
        from hashkit.cluster.groups import ShardGroups

        with (
            ShardGroups(
                engine, banks, n_replicas=choice.replicas or 1, reporter=TERMINAL
            ) as groups,
            _progress(subject.name, banks) as bar,
        ):
            return evaluate_groups(groups, queries, settings, lambda done, _: bar.update(done))


@dataclasses.dataclass(frozen=True)
class Rescoring:
    """How rankings are rescored; see `hashkit.workflow.rescoring`."""

    oversample: int
    model: Path | None

    def logits(self, subject: Subject, settings: RuntimeSettings) -> NDArray[np.float32]:
        """Logits of the queries, with progress."""
        from hashkit.workflow.rescoring import query_logits

        return query_logits(subject, self.model, settings, TERMINAL)

    def measure(self, subject: Subject, logits: NDArray[np.float32], report: Report) -> Report:
        """The report with the metrics after rescoring, with progress."""
        from hashkit.workflow.rescoring import rescored

        queries, databases = subject.queries, subject.databases
        with progress_bar("rescoring", len(logits), "queries") as bar:
            found = rescored(queries, databases, logits, report, self.oversample, bar.update)
        return dataclasses.replace(report, rescored=found)


def rescoring_of(rerank: bool, oversample: int | None, model: Path | None) -> Rescoring | None:
    """What the flags ask for; None without --rerank."""
    if rerank and oversample is not None:
        return Rescoring(oversample, model)
    given = given_flags(
        {
            "--rerank": rerank,
            "--oversample": oversample is not None,
            "--model": model is not None,
        }
    )
    if given:
        raise ConfigError(
            f"expected --rerank and --oversample together, found {' and '.join(given)}: "
            "for example --rerank --oversample 10, with --model for the queries of a bank"
        )
    return None
