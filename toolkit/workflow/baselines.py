"""Baselines of a run: other codes for the same queries and database, measured the same way.

Their codes are kept in the folder ``baselines`` of the run, so that a second call only measures.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines import METHODS, BaselineModel, ClassCodes, Features, method_named
from hashkit.codesets import CodeSet
from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.datasets.split import Rows
from hashkit.errors import ConfigError, DatasetError, MissingExtraError, RunError
from hashkit.files.private import held
from hashkit.runs.run import Run
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.baseline_cache import BaselineCodes, read_codes, write_codes
from hashkit.workflow.baseline_features import Block, ImageFeatures, NetworkOutputs, PixelFeatures
from hashkit.workflow.baseline_images import BaselineSubject
from hashkit.workflow.reporter import SILENT, ProgressBar, Reporter

if TYPE_CHECKING:
    from hashkit.evaluation.evaluator import Report
    from hashkit.runtimes.encoder import Encoder

__all__ = ["Measure", "baseline_reports"]

Measure = Callable[[str, CodeSet, CodeSet], "Report"]
"""Evaluates codes, given a name to show, queries and a database, by the caller's conventions."""

_NAMES: Final = {
    "classifier": "class of a linear classifier on {}",
    "itq": "ITQ on {}",
    "pcah": "PCA hashing on {}",
    "lsh": "LSH on {}",
    "sh": "spectral hashing on {}",
    "random": "random codes",
}
_ON_OUTPUTS: Final = frozenset({"classifier"})
_CACHE_VERSION: Final = 1
_MOST_FIT_BYTES: Final = 2**28


def baseline_reports(
    run: Run,
    measure: Measure,
    *,
    settings: RuntimeSettings | None = None,
    methods: Sequence[str] = tuple(METHODS),
    features: ImageFeatures | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> list[tuple[str, Report]]:
    """Name and report of each baseline, on the images of the run's banks and at its code length.

    A baseline that does not work with these images or this installation is left out, and a note
    gives the reason. The name of the classifier's baseline includes its accuracy on the queries.

    Parameters
    ----------
    run
        A run with an exported model; its banks are encoded first if they are missing.
    measure
        Evaluates query and database codes by the run's conventions.
    settings
        How to run the model if the bank is encoded; None for the defaults.
    methods
        Names of `hashkit.baselines.METHODS`.
    features
        Features of all methods but the classifier; None for pixels.
    seed
        Seed of the methods that draw random numbers.
    reporter
        Takes notes and progress.

    Raises
    ------
    ConfigError
        If a method is unknown.
    RunError
        If the run has no model, neither queries nor a database, or another process computes its
        baselines.
    BankMismatchError
        If a bank holds other images than the run's.
    DatasetError
        If the images cannot be opened, or are no longer those of the banks.
    """
    for name in methods:
        method_named(name)
    settings = settings or RuntimeSettings()
    subject = BaselineSubject.open(run, settings, reporter)
    outputs = _network_outputs(subject, settings, reporter)
    pixels = PixelFeatures(subject.images, subject.manifest.size, subject.manifest.resize)
    sources = {name: outputs if name in _ON_OUTPUTS else features or pixels for name in methods}
    codes: dict[str, BaselineCodes] = {}
    with _locked(_folder(run)):
        for source in dict.fromkeys(sources.values()):
            names = [name for name in methods if sources[name] is source]
            codes |= _codes_on(subject, source, names, seed, reporter)
    titles = {name: _title(name, sources[name], codes[name]) for name in methods if name in codes}
    return [
        (
            title,
            measure(
                title,
                _code_set(codes[name].query_codes, codes[name].n_bits, subject.queries),
                _code_set(codes[name].database_codes, codes[name].n_bits, subject.database),
            ),
        )
        for name, title in titles.items()
    ]


def _network_outputs(
    subject: BaselineSubject, settings: RuntimeSettings, reporter: Reporter
) -> NetworkOutputs:
    def load_encoder() -> Encoder:
        from hashkit.workflow.encoding import load_encoder
        from hashkit.workflow.models import run_model

        return load_encoder(run_model(subject.run), settings, reporter)

    rows = np.unique(np.concatenate([subject.training, subject.query_rows, subject.database_rows]))
    return NetworkOutputs(
        subject.images,
        rows,
        n_bits=subject.n_bits,
        fingerprint=_digest({"model": subject.model_sha256, **subject.identity}),
        path=_folder(subject.run) / "outputs.npy",
        load_encoder=load_encoder,
    )


def _folder(run: Run) -> Path:
    return run.path / "baselines"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder of the codes, and keep other processes from writing it at the same time."""
    folder.mkdir(exist_ok=True)
    try:
        with held(folder):
            yield
    except BlockingIOError:
        raise RunError(
            f"{folder}: another process is computing baselines of this run; wait for it to end, "
            "and run the same command again"
        ) from None


def _digest(inputs: Mapping[str, object]) -> str:
    text = json.dumps({"version": _CACHE_VERSION, **inputs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _title(name: str, source: ImageFeatures, codes: BaselineCodes) -> str:
    title = _NAMES[name].format(source.name)
    return title if codes.accuracy is None else f"{title} (accuracy {codes.accuracy:.3f})"


def _code_set(codes: NDArray[np.uint8], n_bits: int, of: CodeSet) -> CodeSet:
    """A code set with the labels and names of another one."""
    return CodeSet(codes, n_bits, of.labels, of.names, of.class_names)


def _codes_on(
    subject: BaselineSubject,
    source: ImageFeatures,
    names: Sequence[str],
    seed: int,
    reporter: Reporter,
) -> dict[str, BaselineCodes]:
    """Codes of methods by name, from their files if the inputs are the same."""
    folder = _folder(subject.run)
    paths = {name: folder / f"{name}-{subject.n_bits}.npz" for name in names}
    fingerprints = {
        name: _digest(
            {
                "method": name,
                "n_bits": subject.n_bits,
                "seed": seed,
                "features": source.fingerprint,
                **subject.identity,
            }
        )
        for name in names
    }
    kept = {name: read_codes(paths[name], fingerprints[name]) for name in names}
    codes = {name: found for name, found in kept.items() if found is not None}
    missing = [name for name in names if name not in codes]
    if missing:
        for name, made in _compute(subject, source, missing, seed, reporter).items():
            write_codes(paths[name], made, fingerprints[name])
            codes[name] = made
    return codes


def _compute(
    subject: BaselineSubject,
    source: ImageFeatures,
    names: Sequence[str],
    seed: int,
    reporter: Reporter,
) -> dict[str, BaselineCodes]:
    """Fit methods on the training images, and encode queries and database in one pass."""
    source.prepare(reporter)
    most_rows = max(2, _MOST_FIT_BYTES // (4 * source.n_dimensions))
    training = subject.training
    training = training[spread_rows(len(training), most_rows)]
    parts = (training, subject.query_rows, subject.database_rows)
    n_images = sum(map(len, parts))
    with reporter.progress(f"baselines on {source.name}", n_images, "images") as bar:
        passes = _Passes(source, bar, reporter)
        models = _fit(subject, passes, training, names, seed)
        if not models:
            return {}
        query_codes = _encode(models, passes, subject.images, subject.query_rows)
        database_codes = _encode(models, passes, subject.images, subject.database_rows)
    return {
        name: BaselineCodes(
            model.n_bits,
            query_codes[name],
            database_codes[name],
            _accuracy(model, query_codes[name], subject.queries),
        )
        for name, model in models.items()
    }


class _Passes:
    """Features of the parts of the images, with progress over all of them."""

    def __init__(self, source: ImageFeatures, bar: ProgressBar, reporter: Reporter) -> None:
        self.note = reporter.note
        self._source = source
        self._bar = bar
        self._n_done = 0

    def blocks(self, rows: Rows) -> Iterator[Block]:
        for block in self._source.blocks(rows):
            yield block
            self._n_done += len(block[0])
            self.tell()

    def tell(self, detail: str = "") -> None:
        self._bar.update(self._n_done, detail)


def _fit(
    subject: BaselineSubject, passes: _Passes, training: Rows, names: Sequence[str], seed: int
) -> dict[str, BaselineModel]:
    blocks = list(passes.blocks(training))
    if not blocks:
        raise DatasetError(f"{subject.images.name}: none of its training images can be used")
    rows = np.concatenate([block_rows for block_rows, _ in blocks])
    features: Features = np.concatenate([values for _, values in blocks])
    labels = None if subject.images.labels is None else subject.images.labels[rows]
    models = {}
    for name in names:
        passes.tell(f"fitting {name}")
        try:
            models[name] = METHODS[name](features, labels, subject.n_bits, seed)
        except (ConfigError, MissingExtraError) as error:
            passes.note(f"the baseline {name} is left out: {error}")
    return models


def _encode(
    models: Mapping[str, BaselineModel], passes: _Passes, images: ImageSet, rows: Rows
) -> dict[str, NDArray[np.uint8]]:
    codes: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in models}
    n_usable = 0
    for block_rows, values in passes.blocks(rows):
        n_usable += len(block_rows)
        for name, model in models.items():
            codes[name].append(model.encode(values))
    if n_usable < len(rows):
        raise DatasetError(
            f"{images.name}: expected the {len(rows):,} images of the bank, but "
            f"{len(rows) - n_usable:,} of them can no longer be read"
        )
    return {name: np.concatenate(parts) for name, parts in codes.items()}


def _accuracy(
    model: BaselineModel, query_codes: NDArray[np.uint8], queries: CodeSet
) -> float | None:
    if not isinstance(model, ClassCodes) or queries.labels is None:
        return None
    has_label = queries.labels >= 0
    is_right = (model.labels_of(query_codes) == queries.labels)[has_label]
    return float(is_right.mean()) if len(is_right) else None
