"""The options of ``hashkit encode`` that make a set of banks, and what they do."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from hashkit.cli.cluster_options import ClusterChoice, cluster_engine
from hashkit.cli.console import TERMINAL
from hashkit.errors import ConfigError

if TYPE_CHECKING:
    from hashkit.bank_set.manifest import SetManifest
    from hashkit.runtimes.encoder import Encoder
    from hashkit.runtimes.settings import RuntimeSettings
    from hashkit.workflow.encoding import EncodeOptions
    from hashkit.workflow.folder_labels import Labels
    from hashkit.workflow.shard_plans import ImagesToShard

__all__ = [
    "FinishOption",
    "ImageColumnOption",
    "LabelColumnOption",
    "ShardOption",
    "ShardsOption",
    "ShardsRequest",
    "encode_shards_here",
    "encode_shards_on_cluster",
    "finish_set",
    "parse_shard",
]

ShardsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--shards", metavar="N", help="Make a set of N banks, on this machine."),
]
ShardOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Make bank I of a set of N, from 1: for job arrays."
    ),
]
FinishOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--finish",
        metavar="FOLDER",
        help="Check the banks that --shard made, and write the manifest of their set.",
    ),
]

ImageColumnOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--image-column", metavar="NAME", help="Column of Parquet files with the images' bytes."
    ),
]
LabelColumnOption: TypeAlias = Annotated[
    str,
    typer.Option("--label-column", metavar="NAME", help="Column of Parquet files with labels."),
]

_SHARD: Final = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


def parse_shard(text: str) -> tuple[int, int]:
    """Number of a shard, from 0, and of all shards, of ``3/64``.

    Raises
    ------
    ConfigError
        If it is none.
    """
    found = _SHARD.fullmatch(text)
    number, n_shards = (0, 0) if found is None else (int(found[1]), int(found[2]))
    if not 1 <= number <= n_shards:
        n_known = n_shards or 64
        raise ConfigError(
            "--shard must be a bank's number, from 1, and the number of all, as "
            f"1/{n_known} to {n_known}/{n_known}, not {text!r}"
        )
    return number - 1, n_shards


@dataclasses.dataclass(frozen=True)
class ShardsRequest:
    """What was asked for on the command line.

    Attributes
    ----------
    images, data_root, labels, image_column, label_column
        See `hashkit.workflow.shard_plans.ImagesToShard`.
    out
        The folder of the set.
    shards, shard
        How many banks to make, or which one, as the options have it; one of them is given.

    Raises
    ------
    ConfigError
        If the options contradict each other.
    """

    images: str | None
    out: Path | None
    shards: int | None
    shard: str | None
    data_root: Path | None
    labels: Labels
    image_column: str = ""
    label_column: str = ""

    def __post_init__(self) -> None:
        if self.shards is not None and self.shard is not None:
            raise ConfigError("--shards makes all banks of a set and --shard one: choose one")
        if self.images is None or self.out is None:
            raise ConfigError(
                "--shards and --shard expect IMAGES and --out: name the images, and the folder of "
                "the set to write"
            )
        if self.shard is not None:
            parse_shard(self.shard)
        _ = self.wanted  # refused before a model is loaded

    @property
    def folder(self) -> Path:
        """The folder of the set."""
        assert self.out is not None  # noqa: S101 - by __post_init__
        return self.out

    @functools.cached_property
    def wanted(self) -> ImagesToShard:
        """The images."""
        from hashkit.workflow.shard_plans import ImagesToShard

        assert self.images is not None  # noqa: S101 - by __post_init__
        return ImagesToShard(
            self.images, self.data_root, self.labels, self.image_column, self.label_column
        )


def encode_shards_here(
    request: ShardsRequest, encoder: Encoder, options: EncodeOptions
) -> dict[str, Any]:
    """Make all banks of a set, or one of them; returns what ``--json`` prints.

    Raises
    ------
    ConfigError
        If one bank was asked for, and to remove what is there.
    """
    from hashkit.bank_set.manifest import read_manifest
    from hashkit.workflow.shard_plans import plan_shards
    from hashkit.workflow.shards import encode_all_shards, encode_shard

    folder = request.folder
    if request.shards is not None:
        reports = encode_all_shards(
            request.wanted, request.shards, folder, encoder, options, TERMINAL
        )
        banks = [report.to_dict() for report in reports]
        return {"banks": banks, "set": _facts(folder, read_manifest(folder))}
    number, n_shards = parse_shard(request.shard or "")
    if options.mode == "overwrite":
        raise ConfigError(
            "--overwrite does not go with --shard, as each job of an array would remove what the "
            f"others made: remove {folder} before the array starts, or use --shards"
        )
    plan_shards(request.wanted, n_shards, folder, encoder, options, TERMINAL)
    report = encode_shard(folder, number, encoder, options, TERMINAL)
    TERMINAL.note(_line_of(report.path, report.n_rows, report.n_images, report.was_complete))
    return {"banks": [report.to_dict()]}


def encode_shards_on_cluster(
    request: ShardsRequest,
    model: Path,
    settings: RuntimeSettings,
    options: EncodeOptions,
    choice: ClusterChoice,
) -> dict[str, Any]:
    """Make all banks of a set with a cluster; returns what ``--json`` prints.

    Raises
    ------
    ConfigError
        If one bank was asked for.
    HashkitError
        See `hashkit.cluster.encoding.encode_on_cluster`.
    """
    from hashkit.bank_set.manifest import read_manifest

    if request.shards is None:
        raise ConfigError(
            "--cluster expects --shards N, the number of banks to make, found --shard: the cluster "
            "makes all of them"
        )
    with cluster_engine(choice.address) as engine:
        from hashkit.cluster.encode_jobs import EncodeWork
        from hashkit.cluster.encoding import encode_on_cluster, task_resources

        resources = task_resources(
            engine, settings.device, choice.cpus_per_task, choice.gpus_per_task
        )
        folder = request.folder.absolute()
        work = EncodeWork(folder, model.absolute(), settings, options)
        reports = encode_on_cluster(
            engine, work, request.wanted, request.shards, resources, TERMINAL
        )
    banks = [report.to_dict() for report in reports]
    return {"banks": banks, "set": _facts(request.folder, read_manifest(request.folder))}


def finish_set(folder: Path, *, allow_other_provider: bool) -> dict[str, Any]:
    """Write the manifest of a set; returns what ``--json`` prints.

    Raises
    ------
    HashkitError
        See `hashkit.workflow.shards.finish_shards`.
    """
    from hashkit.workflow.shards import finish_shards

    manifest = finish_shards(folder, allow_other_provider=allow_other_provider, reporter=TERMINAL)
    return {"set": _facts(folder, manifest)}


def _facts(folder: Path, manifest: SetManifest) -> dict[str, Any]:
    return {
        "path": str(folder),
        "identity": manifest.identity,
        "n_shards": len(manifest.shards),
        "n_rows": manifest.n_rows,
    }


def _line_of(path: Path, n_rows: int, n_images: int, was_complete: bool) -> str:
    from hashkit.workflow.reporter import plural

    if was_complete:
        return f"{path} is already complete: {plural(n_rows, 'row')}"
    return f"{path}: {plural(n_rows, 'row')} from {plural(n_images, 'image')}"
