"""``hashkit encode``: images to a code bank."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hashkit.cli.cluster_options import (
    AddressOption,
    ClusterChoice,
    ClusterOption,
    CpusOption,
    GpusOption,
)
from hashkit.cli.console import TERMINAL, emit_json
from hashkit.cli.encode_shards import (
    FinishOption,
    ImageColumnOption,
    LabelColumnOption,
    ShardOption,
    ShardsOption,
    encode_shards_here,
    encode_shards_on_cluster,
    finish_set,
    parse_request,
)
from hashkit.cli.flags import refuse_flags
from hashkit.cli.options import (
    BatchSizeOption,
    DataRootOption,
    DeviceOption,
    DownloadOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    RunOption,
    RunsOption,
    RuntimeOption,
    StrictOption,
    WorkersOption,
    parse_batch_size,
)
from hashkit.errors import ConfigError
from hashkit.runs.run import DEFAULT_RUNS_DIR
from hashkit.runtimes.settings import RuntimeSettings

if TYPE_CHECKING:
    from hashkit.workflow.encoding import EncodeOptions

__all__ = ["encode"]


def encode(
    images: Annotated[
        str | None,
        typer.Argument(
            help="Folder, list file, named set, Parquet files or tars.",
            show_default="the run's queries and database",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Bank, or bank set, to write (with IMAGES)."),
    ] = None,
    model: ModelOption = None,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    data_root: DataRootOption = None,
    protocol: Annotated[
        str,
        typer.Option("--protocol", metavar="NAME", help="Encode one part of a split of IMAGES."),
    ] = "",
    part: Annotated[
        Literal["queries", "training", "database", "all"],
        typer.Option("--part", metavar="NAME", help="queries, training, database or all."),
    ] = "all",
    split_seed: Annotated[
        int, typer.Option("--split-seed", metavar="N", help="Seed of the split.")
    ] = 0,
    download: DownloadOption = False,
    labels: Annotated[
        Literal["auto", "folders", "none"],
        typer.Option(
            "--labels",
            metavar="NAME",
            help="Labels of a folder's images: folders (each subfolder is a class), none, or auto: "
            "folders if the model was trained on these classes or the bank has labels.",
        ),
    ] = "auto",
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "onnxruntime",
    profile: ProfileOption = "exact",
    batch_size: BatchSizeOption = "auto",
    num_workers: WorkersOption = None,
    strict: StrictOption = False,
    append: Annotated[bool, typer.Option("--append", help="Add the images to the bank.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bank.")] = False,
    allow_other_provider: Annotated[
        bool,
        typer.Option(
            "--allow-other-provider",
            help="Continue a bank made with another device, runtime or Pillow version.",
        ),
    ] = False,
    shards: ShardsOption = None,
    shard: ShardOption = None,
    finish: FinishOption = None,
    image_column: ImageColumnOption = "",
    label_column: LabelColumnOption = "",
    cluster: ClusterOption = None,
    address: AddressOption = None,
    cpus_per_task: CpusOption = None,
    gpus_per_task: GpusOption = None,
    json: JsonOption = False,
) -> None:
    """Encode images with an exported model into a code bank.

    To continue after an interruption, run the same command again. Images that cannot be used are
    skipped and listed in a file beside the bank.

    Without IMAGES it encodes the queries and the database of a run. With --shards, or with --shard
    on many machines and then --finish, it makes a set of banks.

    \b
    Examples:
      hashkit encode
      hashkit encode photos/ --model model.onnx --out photos.h5
      hashkit encode photos/ --model model.onnx --out set/ --shards 64
      hashkit encode photos/ --model model.onnx --out set/ --shards 64 --cluster ray
    """  # noqa: D301
    from hashkit.workflow.encode import encode_images, encode_options
    from hashkit.workflow.encoding import load_encoder
    from hashkit.workflow.images_to_encode import ImagesToEncode
    from hashkit.workflow.models import find_model
    from hashkit.workflow.output_files import check_bank_path

    per_batch = parse_batch_size(batch_size)
    options = encode_options(
        batch_size=per_batch,
        num_workers=num_workers,
        strict=strict,
        append=append,
        overwrite=overwrite,
        allow_other_provider=allow_other_provider,
    )
    settings = RuntimeSettings(runtime, device, profile=profile, batch_size=per_batch)
    of_split = {
        "--protocol": protocol,
        "--part": part != "all",
        "--split-seed": split_seed,
        "--download": download,
    }
    of_images = {
        "--out": out,
        "--model": model,
        "--data-root": data_root,
        **of_split,
        "--labels": labels != "auto",
        "--append": append,
        "--image-column": image_column,
        "--label-column": label_column,
    }
    choice = ClusterChoice(
        cluster, address, cpus_per_task=cpus_per_task, gpus_per_task=gpus_per_task
    )
    of_set = {"--shards": shards is not None, "--shard": shard is not None}
    if not any(of_set.values()):
        refuse_flags({"--cluster": cluster}, "makes a set of banks: add --shards N")
    answer: dict[str, object]
    if finish is not None:
        given = {"IMAGES": images, **of_images, **of_set, "--overwrite": overwrite}
        refuse_flags(
            given,
            "cannot be combined with --finish, which uses the existing banks: leave it out",
        )
        answer = finish_set(finish, allow_other_provider=allow_other_provider)
    elif any(of_set.values()):
        refuse_flags(
            {**of_split, "--append": append},
            "cannot be combined with --shards or --shard: leave it out",
        )
        request = parse_request(
            images,
            out,
            shards,
            shard,
            data_root=data_root,
            labels=labels,
            image_column=image_column,
            label_column=label_column,
        )
        found = find_model(model, run, runs, TERMINAL)
        if cluster is None:
            encoder = load_encoder(found, settings, TERMINAL)
            answer = encode_shards_here(request, encoder, options)
        else:
            answer = encode_shards_on_cluster(request, found, settings, options, choice)
    elif images is None:
        refuse_flags(of_images, "needs IMAGES: name a folder, a list file or a named set")
        answer = _encode_run(run, runs, settings, options)
    else:
        if out is None:
            raise ConfigError("--out is missing: name the bank to write")
        check_bank_path(out)
        wanted = ImagesToEncode(
            images,
            data_root=data_root,
            protocol=protocol,
            part=part,
            split_seed=split_seed,
            download=download,
            labels=labels,
            image_column=image_column,
            label_column=label_column,
        )
        encoder = load_encoder(find_model(model, run, runs, TERMINAL), settings, TERMINAL)
        answer = {"banks": [encode_images(wanted, encoder, out, options, TERMINAL).to_dict()]}
    if json:
        emit_json(answer)


def _encode_run(
    run: Path | None, runs: Path, settings: RuntimeSettings, options: EncodeOptions
) -> dict[str, object]:
    """Encode the queries and the database of a run."""
    from hashkit.workflow.banks import encode_run_part
    from hashkit.workflow.encoding import load_encoder
    from hashkit.workflow.models import find_exported, run_model

    found = find_exported(run, runs, TERMINAL, instead=_hint_without_run)
    encoder = load_encoder(run_model(found), settings, TERMINAL)
    reports = [
        encode_run_part(found, name, encoder, options, TERMINAL) for name in ("queries", "database")
    ]
    return {"banks": [report.to_dict() for report in reports]}


def _hint_without_run(bank_path: Path | None) -> str:
    if bank_path is None:
        return "name images and a model: hashkit encode IMAGES --model MODEL --out BANK"
    bank = shlex.quote(str(bank_path))
    return f"{bank_path} lies here: hashkit sync FOLDER --bank {bank} brings it up to date"
