"""``hashkit.encode``: images to a code bank."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hashkit.bank.reader import Bank
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.sets import open_image_set
from hashkit.datasets.slices.opening import open_contained
from hashkit.datasets.spec import open_spec
from hashkit.errors import ConfigError
from hashkit.inputs.arguments import checked_arguments
from hashkit.runs.run import PathText
from hashkit.runtimes.builtin import model_path
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import EncodeReport
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.threads import check_threads
from hashkit.workflow.encoding import EncodeOptions, encode_set, load_encoder
from hashkit.workflow.folder_labels import Labels, open_folder_to_encode
from hashkit.workflow.images_to_encode import ImagesToEncode, Part
from hashkit.workflow.output_files import check_bank_path
from hashkit.workflow.reporter import LOGGED, Reporter

__all__ = [
    "encode",
    "encode_images",
    "encode_options",
    "opened_model",
]


@checked_arguments
def encode(
    images: PathText | ImageSet,
    model: Encoder | PathText,
    out: PathText,
    *,
    data_root: PathText | None = None,
    protocol: str = "",
    part: Part = "all",
    split_seed: int = 0,
    download: bool = False,
    labels: Labels = "auto",
    image_column: str = "",
    label_column: str = "",
    device: str = "auto",
    runtime: str = "onnxruntime",
    profile: str = "exact",
    batch_size: int | None = None,
    num_workers: int | None = None,
    strict: bool = False,
    append: bool = False,
    overwrite: bool = False,
    allow_other_provider: bool = False,
    reporter: Reporter | None = None,
) -> Bank:
    """Encode images into a code bank, as ``hashkit encode`` does.

    After an interruption, the bank keeps its rows, and the same call continues. Images that cannot
    be used are skipped; `hashkit.runtimes.faults.read_faults` lists them with the reasons, from the
    file ``<out>.faults.jsonl``, and their number is among the notes.

    Parameters
    ----------
    images
        A folder, a list file, a named set, Parquet files or tars (see `hashkit.encode_shards`), or
        an open image set.
    model
        An ONNX file, the name of a built-in model, or an encoder, which has its own ``device``,
        ``runtime`` and ``profile``.
    out
        The bank to write.
    data_root
        Folder of a named set's files, or of a list's images.
    protocol, part, split_seed
        Encode one part of a split of the images only.
    download
        Download the missing files of a named set.
    labels
        Labels of a folder's images: ``folders`` (the subfolder is the class), ``none``, or
        ``auto``: those of the subfolders if all of these are classes that the model was trained on,
        if the bank that is continued has labels, or with ``protocol``; otherwise none.
    image_column, label_column
        Columns of Parquet files; empty for ``image`` and, if there is one, ``label``.
    device, runtime, profile
        See `hashkit.runtimes.settings.RuntimeSettings`.
    batch_size
        Images per batch; None to choose by device and input size.
    num_workers
        Decoding threads; None for one per core.
    strict
        Stop at an image that cannot be used, instead of skipping it.
    append, overwrite
        Add the images to a complete bank, or replace it. If the folder is in the bank, only missing
        images are added. With neither, a bank of the same images and model is continued.
    allow_other_provider
        Continue a bank made with another device, runtime or version of Pillow.
    reporter
        Takes notes and progress; None to log the notes.

    Returns
    -------
    Bank
        The bank, open for reading.

    Raises
    ------
    ConfigError
        If settings contradict each other.
    DatasetError
        If the images cannot be opened, or none can be used.
    ImageError
        If ``strict`` and an image cannot be used.
    ModelError, DeviceError
        If the model or the device cannot be used.
    BankError
        If the bank cannot be written, or holds other images or another model's codes.
    """
    options = encode_options(
        batch_size=batch_size,
        num_workers=num_workers,
        strict=strict,
        append=append,
        overwrite=overwrite,
        allow_other_provider=allow_other_provider,
    )
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
    check_bank_path(Path(out))
    reporter = reporter or LOGGED
    settings = RuntimeSettings(runtime, device, profile=profile, batch_size=batch_size)
    encode_images(wanted, opened_model(model, settings, reporter), Path(out), options, reporter)
    return Bank.open(out)


def opened_model(
    model: Encoder | PathText, settings: RuntimeSettings, reporter: Reporter
) -> Encoder:
    """The encoder of an argument ``model``.

    Raises
    ------
    ConfigError
        If it is an encoder, and ``settings`` are not the defaults.
    """
    if not isinstance(model, Encoder):
        return load_encoder(model_path(model), settings, reporter)
    given = (settings.device, settings.runtime, settings.profile)
    if given != ("auto", "onnxruntime", "exact"):
        raise ConfigError(
            "`device`, `runtime` and `profile` are those of the encoder: leave them out, or give "
            "the model's file"
        )
    return model


def encode_options(
    *,
    batch_size: int | None,
    num_workers: int | None,
    strict: bool,
    append: bool,
    overwrite: bool,
    allow_other_provider: bool,
) -> EncodeOptions:
    """Options of `encode`.

    Raises
    ------
    ConfigError
        If the arguments ask both to keep and to replace the bank.
    """
    if append and overwrite:
        raise ConfigError(
            "`append=True` keeps the bank's rows and `overwrite=True` does not: choose one"
        )
    check_threads(num_workers, "num_workers")
    return EncodeOptions(
        batch_size=batch_size,
        n_workers=num_workers,
        strict=strict,
        mode="append" if append else "overwrite" if overwrite else "resume",
        allow_other_provider=allow_other_provider,
    )


def encode_images(
    wanted: ImagesToEncode,
    encoder: Encoder,
    out: Path,
    options: EncodeOptions,
    reporter: Reporter,
) -> EncodeReport:
    """Do the work of `encode` with a loaded model; returns its report.

    ``out`` was checked by `hashkit.workflow.output_files.check_bank_path`.
    """
    if isinstance(wanted.images, ImageSet):
        images = wanted.images
        return encode_set(
            encoder, images, out, dataset=images.name, options=options, reporter=reporter
        )
    if wanted.contained is not None:
        listing = wanted.contained.listing(encoder.manifest, reporter)
        images = open_contained(listing, wanted.image_column, with_labels=wanted.labels != "none")
        dataset = str(listing.images)
        return encode_set(encoder, images, out, dataset=dataset, options=options, reporter=reporter)
    spec = wanted.spec
    if spec.protocol:
        images, split = open_spec(spec, download=wanted.download)
        images = images.subset(split.part(wanted.part))
    elif wanted.is_folder and spec.root is None:
        continued = None if options.mode == "overwrite" else out
        images = open_folder_to_encode(
            Path(spec.data), wanted.labels, encoder.manifest, continued, reporter
        )
    else:
        folder = None if spec.root is None else Path(spec.root)
        images = open_image_set(spec.data, root=folder, download=wanted.download)
    if wanted.labels == "none":
        images = dataclasses.replace(images, labels=None, class_names=())
    return encode_set(
        encoder,
        images,
        out,
        dataset=spec.data,
        options=options,
        protocol=spec.protocol,
        part=wanted.part,
        seed=spec.seed if spec.protocol else None,
        reporter=reporter,
    )
