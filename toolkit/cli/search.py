"""``hashkit search``: an image to the images with the nearest codes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from hashkit.cli.console import TERMINAL, emit_json, note
from hashkit.cli.options import (
    BankOption,
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    RunOption,
    RunsOption,
    RuntimeOption,
    WorkersOption,
    parse_batch_size,
)
from hashkit.errors import ConfigError, ImageError, RunError
from hashkit.runs.run import DEFAULT_RUNS_DIR, Run
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.reporter import plural
from hashkit.workflow.row_images import RowImages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hashkit.retrieval.search import Engine
    from hashkit.runtimes.encoder import Encoder
    from hashkit.workflow.search_results import Query

__all__ = ["search"]


def search(
    query: Annotated[
        list[str],
        typer.Option(
            "--query",
            metavar="IMAGE",
            help="Image file, or name of a query of the run; may be repeated.",
        ),
    ],
    top_k: Annotated[
        int, typer.Option("--k", metavar="N", min=1, help="Nearest images to show.")
    ] = 10,
    radius: Annotated[
        int | None,
        typer.Option(
            "--radius", metavar="BITS", min=0, help="Show all images within this many bits instead."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME", help="Search only images of this class; may be repeated."
        ),
    ] = None,
    rerank: Annotated[
        bool,
        typer.Option("--rerank", help="Order images at equal distance by the query's logits."),
    ] = False,
    oversample: Annotated[
        int | None,
        typer.Option(
            "--oversample",
            metavar="N",
            min=1,
            help="With --rerank: order the nearest N x k images by the query's logits instead.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="scan, index (of hashkit index), or auto: whichever is faster.",
        ),
    ] = "auto",
    bank: BankOption = None,
    model: ModelOption = None,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    save_picture: Annotated[
        Path | None,
        typer.Option(
            "--save-picture", metavar="FILE", help="Draw queries and hits into this file."
        ),
    ] = None,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "onnxruntime",
    profile: ProfileOption = "exact",
    batch_size: BatchSizeOption = "auto",
    num_workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Find the images of a bank that are nearest to an image.

    A run's database is encoded first if it has no bank yet.

    \b
    Examples:
      hashkit search --query img.png
      hashkit search --query img.png --bank photos.h5 --model model.onnx --radius 8
      hashkit search --query img.png --label cat --rerank
      hashkit search --query img.png --rerank --oversample 10
    """  # noqa: D301
    import numpy as np

    from hashkit.cli.search_output import draw_results, print_results
    from hashkit.retrieval.search import search as search_codes
    from hashkit.workflow.narrowing import open_index, rows_of_labels
    from hashkit.workflow.search_results import Result, hits_of

    settings = RuntimeSettings(
        runtime, device, profile=profile, batch_size=parse_batch_size(batch_size)
    )
    _check_oversample(oversample, rerank, radius)
    place = _Place(bank, model, run, runs, settings, num_workers)
    queries = [place.query(name) for name in query]
    codes = np.stack([one.code for one in queries])
    found = search_codes(
        codes,
        place.banks,
        top_k=top_k if radius is None else None,
        radius=radius,
        where=rows_of_labels(place.banks, label) if label else None,
        logits=np.stack([place.logits(one) for one in queries]) if rerank else None,
        oversample=oversample,
        engine=cast("Engine", engine),
        index=None if engine == "scan" else open_index(place.banks, TERMINAL),
    )
    results = [
        Result(one, hits) for one, hits in zip(queries, hits_of(found, place.banks), strict=True)
    ]
    if json:
        emit_json({"queries": [result.to_dict() for result in results]})
    else:
        print_results(results)
    if save_picture is not None:
        n_missing = draw_results(results, place.image, save_picture)
        lost = f" ({plural(n_missing, 'image')} not found)" if n_missing else ""
        note(f"picture: {save_picture}{lost}")


def _check_oversample(oversample: int | None, rerank: bool, radius: int | None) -> None:
    """Refuse `--oversample` where it has no effect, before images are encoded."""
    if oversample is not None and not rerank:
        raise ConfigError(
            "--oversample goes with --rerank, found it alone: add --rerank to order the nearest "
            "images by the query's logits"
        )
    if oversample is not None and radius is not None:
        raise ConfigError(
            "--oversample goes with --k, found --radius: all images within a radius are found "
            "anyway; leave one of the two out"
        )


class _Place:
    """What a search works on: banks, the model that made them, and their images.

    Parameters
    ----------
    banks
        Banks to search; None for the run's bank, which is encoded first if it is missing.
    model, run, runs
        As the flags.
    settings
        How to run the model.
    n_workers
        Decoding threads if a bank is encoded; None for one per core.
    """

    def __init__(
        self,
        banks: list[Path] | None,
        model: Path | None,
        run: Path | None,
        runs: Path,
        settings: RuntimeSettings,
        n_workers: int | None,
    ) -> None:
        from hashkit.bank.reader import Bank
        from hashkit.workflow.models import builtin_of_banks, find_exported

        self._settings = settings
        self._n_workers = n_workers
        self._run: Run | None = None
        self._is_warned = False
        opened = [Bank.open(path) for path in banks or ()]
        if model is None and run is None:
            model = builtin_of_banks(opened, TERMINAL)
        if not opened or model is None:
            self._run = find_exported(run, runs, TERMINAL)
        self.image = RowImages(self._run)
        self._model = model
        if not opened:
            opened = [Bank.open(self._run_bank("database", self._encoder if model else None))]
        self.banks = opened

    def _run_bank(
        self, part: Literal["queries", "database"], encoder: Encoder | None = None
    ) -> Path:
        from hashkit.workflow.banks import run_bank

        assert self._run is not None  # noqa: S101 - by __init__
        return run_bank(
            self._run, part, self._settings, encoder, self._n_workers, reporter=TERMINAL
        )

    @functools.cached_property
    def _encoder(self) -> Encoder:
        from hashkit.workflow.encoding import load_encoder
        from hashkit.workflow.models import run_model

        if self._model is not None:
            return load_encoder(self._model, self._settings, TERMINAL)
        assert self._run is not None  # noqa: S101 - by __init__
        return load_encoder(run_model(self._run), self._settings, TERMINAL)

    def query(self, name: str) -> Query:
        """Query of an image file, or of a name in the run's queries.

        Raises
        ------
        ImageError
            If it is neither, or the file cannot be used.
        BankMismatchError
            If a bank was made by another model.
        """
        from hashkit.preprocess import resampler
        from hashkit.workflow.search_results import Query

        path = Path(name)
        if not path.exists() and (known := self._known_query(name)) is not None:
            return known
        self._check_model(self._encoder.model_sha256)
        self._warn_of_resampler("the query", resampler())
        return Query(name, self._encoder.encode(path)[0], path)

    def logits(self, query: Query) -> NDArray[np.float32]:
        """Logits of a query, float32 [n_bits].

        Raises
        ------
        ImageError
            If its image is not available.
        """
        if query.image is None:
            raise ImageError(
                f"{query.name}: --rerank needs the query's image, which is missing", "missing"
            )
        logits: NDArray[np.float32] = self._encoder.logits([query.image])[0]
        return logits

    def _check_model(self, model_sha256: str) -> None:
        from hashkit.workflow.models import check_made_by

        check_made_by(self.banks, model_sha256)

    def _warn_of_resampler(self, what: str, library: str) -> None:
        """Warn, once, if the banks' images were resized by another library than the queries."""
        from hashkit.workflow.resamplers import warn_of_other_resamplers

        if not self._is_warned:
            self._is_warned = True
            banks = [(str(bank.path), bank.header.resampler) for bank in self.banks]
            warn_of_other_resamplers([(what, library), *banks], TERMINAL)

    def _known_query(self, name: str) -> Query | None:
        from hashkit.bank.reader import Bank
        from hashkit.codesets import label_names
        from hashkit.workflow.search_results import Query

        if self._run is None:
            return None
        try:
            queries = Bank.open(self._run_bank("queries"))
        except RunError:  # a run that learned from triplets has no queries
            return None
        names = list(queries.names)
        if name not in names:
            raise ImageError(
                f"{name}: there is no such file, nor is it the name of a query of {self._run.path} "
                f"(for example {names[0]})",
                "missing",
            )
        self._check_model(queries.header.model_sha256)
        self._warn_of_resampler(str(queries.path), queries.header.resampler)
        row = names.index(name)
        labels = label_names(queries, row)
        return Query(name, queries.codes[row], self.image(queries, row), labels)
