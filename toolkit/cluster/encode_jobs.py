"""The jobs of an encoding on a cluster: each runs on some node, which keeps the model loaded."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hashkit._version import __version__
from hashkit.cluster.versions import check_version
from hashkit.workflow.encoding import EncodeOptions, load_encoder
from hashkit.workflow.reporter import NoteList
from hashkit.workflow.shard_plans import ImagesToShard, plan_shards
from hashkit.workflow.shards import encode_shard

if TYPE_CHECKING:
    from hashkit.datasets.slices.plan import Plan
    from hashkit.runtimes.encoder import Encoder
    from hashkit.runtimes.pipeline import EncodeReport
    from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["EncodeWork", "PlanAnswer", "ShardAnswer", "encode_one_shard", "plan_set"]


@dataclasses.dataclass(frozen=True)
class EncodeWork:
    """What all jobs of an encoding share; it can be pickled.

    Attributes
    ----------
    folder
        The folder of the set.
    model
        The model's file.
    settings, options
        How to run the model, and how to encode.
    version
        The driver's version of hashkit.
    """

    folder: Path
    model: Path
    settings: RuntimeSettings
    options: EncodeOptions
    version: str = __version__


class PlanAnswer(NamedTuple):
    """A plan, and notes for the user."""

    plan: Plan
    notes: list[str]


class ShardAnswer(NamedTuple):
    """The report on a shard, and notes for the user."""

    report: EncodeReport
    notes: list[str]


def plan_set(work: EncodeWork, wanted: ImagesToShard, n_shards: int) -> PlanAnswer:
    """Plan the set where the model runs as it will for the shards; see `plan_shards`."""
    check_version(work.version)
    notes = NoteList()
    encoder = _encoder(work.model, work.settings)
    plan = plan_shards(wanted, n_shards, work.folder, encoder, work.options, notes)
    return PlanAnswer(plan, notes.lines)


def encode_one_shard(work: EncodeWork, shard: int) -> ShardAnswer:
    """Encode a shard, from 0; see `encode_shard`."""
    check_version(work.version)
    notes = NoteList()
    encoder = _encoder(work.model, work.settings)
    report = encode_shard(work.folder, shard, encoder, work.options, notes)
    return ShardAnswer(report, notes.lines)


@functools.lru_cache(maxsize=1)
def _encoder(model: Path, settings: RuntimeSettings) -> Encoder:
    """The model, loaded once per process of a node."""
    return load_encoder(model, settings)
