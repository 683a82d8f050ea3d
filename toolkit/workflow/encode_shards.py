"""``hashkit.encode_shards``: images to a bank set, on one machine."""

from __future__ import annotations

from pathlib import Path

from hashkit.bank_set.reader import BankSet
from hashkit.inputs.arguments import checked_arguments
from hashkit.runs.run import PathText
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.encode import encode_options, opened_model
from hashkit.workflow.folder_labels import Labels
from hashkit.workflow.images_to_shard import ImagesToShard
from hashkit.workflow.reporter import LOGGED, Reporter
from hashkit.workflow.shards import encode_all_shards

__all__ = ["encode_shards"]


@checked_arguments
def encode_shards(
    images: PathText,
    model: Encoder | PathText,
    out: PathText,
    shards: int,
    *,
    data_root: PathText | None = None,
    labels: Labels = "auto",
    image_column: str = "",
    label_column: str = "",
    device: str = "auto",
    runtime: str = "onnxruntime",
    profile: str = "exact",
    batch_size: int | None = None,
    num_workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    allow_other_provider: bool = False,
    reporter: Reporter | None = None,
) -> BankSet:
    """Encode images into a bank set, as ``hashkit encode --shards`` does on one machine.

    After an interruption, the same call continues; finished shards are not changed. docs/shards.md
    describes the slices, and how to encode on many machines.

    Parameters
    ----------
    images
        A list file, a folder of images, Parquet files or tars: a path, a folder of them, or a
        pattern such as ``train-{000..099}.tar``.
    model
        As for `hashkit.encode`; an encoder has its own ``device``, ``runtime`` and ``profile``.
    out
        The folder of the set.
    shards
        Number of banks of the set.
    data_root
        Folder of a list's images.
    labels
        Labels of a folder's images; see `hashkit.encode`.
    image_column, label_column
        Columns of Parquet files; empty for ``image`` and, if there is one, ``label``.
    device, runtime, profile, batch_size, num_workers, strict
        As for `hashkit.encode`.
    overwrite
        Remove the existing plan and shards, and make the set again.
    allow_other_provider
        Continue a set made with another device, runtime or version of Pillow.
    reporter
        Takes notes and progress; None to log the notes.

    Returns
    -------
    BankSet
        The set, open for reading.

    Raises
    ------
    ConfigError
        If settings contradict each other.
    DatasetError
        If the images cannot be listed, or the plan or a slice is damaged.
    ImageError
        If ``strict`` and an image cannot be used.
    ModelError, DeviceError
        If the model or the device cannot be used.
    BankMismatchError
        If the folder has the plan or shards of other images, another number of shards, or another
        model.
    BankError
        If the set cannot be written.
    """
    options = encode_options(
        batch_size=batch_size,
        num_workers=num_workers,
        strict=strict,
        append=False,
        overwrite=overwrite,
        allow_other_provider=allow_other_provider,
    )
    wanted = ImagesToShard(
        images,
        data_root=data_root,
        labels=labels,
        image_column=image_column,
        label_column=label_column,
    )
    reporter = reporter or LOGGED
    settings = RuntimeSettings(runtime, device, profile=profile, batch_size=batch_size)
    encoder = opened_model(model, settings, reporter)
    encode_all_shards(wanted, shards, Path(out), encoder, options, reporter)
    return BankSet.open(out)
