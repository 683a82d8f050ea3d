"""The options of ``hashkit encode`` that make a set of banks, and what they do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from hashkit.cli.cluster_options import ClusterChoice, cluster_engine
from hashkit.cli.console import TERMINAL
from hashkit.errors import ConfigError

if TYPE_CHECKING:
    from hashkit.bank_set.manifest import SetManifest
    from hashkit.runtimes.encoder import Encoder
    from hashkit.runtimes.pipeline import EncodeReport
    from hashkit.runtimes.settings import RuntimeSettings
    from hashkit.workflow.encoding import EncodeOptions
    from hashkit.workflow.folder_labels import Labels
    from hashkit.workflow.images_to_shard import ImagesToShard

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
    "parse_request",
    "parse_shard",
]

ShardsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--shards", metavar="N", help="Make a set of N banks, on this machine."),
]
ShardOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Make bank I of a set of N, counted from 1, for job arrays."
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
    """The number of a shard, from 0, and the number of shards, from a text such as ``3/64``.

    Raises
    ------
    ConfigError
        If the text is something else.
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
    """What was asked for: all banks of a set, or one of them.

    Attributes
    ----------
    images
        The images of the set.
    folder
        The folder of the set.
    n_shards
        Number of banks in the set.
    number
        The bank to make, from 0; None for all.
    """

    images: ImagesToShard
    folder: Path
    n_shards: int
    number: int | None


def parse_request(
    images: str | None,
    out: Path | None,
    shards: int | None,
    shard: str | None,
    *,
    data_root: Path | None,
    labels: Labels,
    image_column: str,
    label_column: str,
) -> ShardsRequest:
    """What ``--shards`` or ``--shard`` asks for; one of them is given.

    Raises
    ------
    ConfigError
        If the options contradict each other.
    DatasetError
        If there are no such images.
    """
    from hashkit.workflow.images_to_shard import ImagesToShard
    from hashkit.workflow.output_files import check_writable_folder

    if shards is not None and shard is not None:
        raise ConfigError("--shards makes all banks of a set and --shard one: choose one")
    if images is None or out is None:
        raise ConfigError(
            "--shards and --shard expect IMAGES and --out: name the images, and the folder of "
            "the set to write"
        )
    check_writable_folder(out)
    number, n_shards = (None, shards) if shards is not None else parse_shard(shard or "")
    wanted = ImagesToShard(
        images,
        data_root=data_root,
        labels=labels,
        image_column=image_column,
        label_column=label_column,
    )
    return ShardsRequest(wanted, out, n_shards, number)


def encode_shards_here(
    request: ShardsRequest, encoder: Encoder, options: EncodeOptions
) -> dict[str, Any]:
    """Make all banks of a set, or one of them; returns what ``--json`` prints.

    Raises
    ------
    ConfigError
        If one bank was asked for, together with ``--overwrite``.
    """
    from hashkit.workflow.shard_plans import plan_shards
    from hashkit.workflow.shards import encode_all_shards, encode_shard

    images, folder, n_shards = request.images, request.folder, request.n_shards
    if request.number is None:
        reports = encode_all_shards(images, n_shards, folder, encoder, options, TERMINAL)
        return _answer(folder, reports)
    if options.mode == "overwrite":
        raise ConfigError(
            "--overwrite does not go with --shard, as each job of an array would remove what the "
            f"others made: remove {folder} before the array starts, or use --shards"
        )
    plan_shards(images, n_shards, folder, encoder, options, TERMINAL)
    report = encode_shard(folder, request.number, encoder, options, TERMINAL)
    TERMINAL.note(_line_of(report))
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
    if request.number is not None:
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
        work = EncodeWork(request.folder.absolute(), model.absolute(), settings, options)
        reports = encode_on_cluster(
            engine, work, request.images, request.n_shards, resources, TERMINAL
        )
    return _answer(request.folder, reports)


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


def _answer(folder: Path, reports: Sequence[EncodeReport]) -> dict[str, Any]:
    from hashkit.bank_set.manifest import read_manifest

    banks = [report.to_dict() for report in reports]
    return {"banks": banks, "set": _facts(folder, read_manifest(folder))}


def _line_of(report: EncodeReport) -> str:
    from hashkit.workflow.reporter import plural

    rows = plural(report.n_rows, "row")
    if report.was_complete:
        return f"{report.path} is already complete: {rows}"
    return f"{report.path}: {rows} from {plural(report.n_images, 'image')}"
