"""``hashkit.warm_up`` and ``hashkit compile``: compiled kernels before they are needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hashkit.bank.reader import Bank
from hashkit.bank_set.opening import banks_of, open_bank_or_set
from hashkit.bank_set.reader import BankSet
from hashkit.codes import code_size
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.imaging.jpeg import run_jpeg_kernel
from hashkit.inputs.arguments import checked_arguments
from hashkit.kernels.widths import COUNTERS
from hashkit.retrieval.loading import KERNELS
from hashkit.retrieval.search import search
from hashkit.runs.run import PathText
from hashkit.workflow.reporter import SILENT, Reporter

__all__ = ["CompiledKernels", "compile_kernels", "warm_up", "warm_up_banks"]

_ALL_BITS: Final = tuple((1 << counters) - 2 for counters in COUNTERS)
"""Numbers of bits that need all kernels of linear search."""

_N_CODES: Final = 256


@checked_arguments
def warm_up(bank: Bank | BankSet | PathText | None = None) -> None:
    """Load everything that a search needs, so that no later search waits.

    Call it when a service starts.

    Loading cached kernels takes about half a second. On a new machine they are first compiled,
    which takes about half a minute on one core, unless ``hashkit compile`` was run before. Without
    this call no search is blocked either: NumPy answers until the kernels are loaded in the
    background, but is several times slower.

    Parameters
    ----------
    bank
        A bank or a bank set to be searched, as an open object or a path. Its codes are read once,
        and the kernels of its index are loaded if it has one. By default the kernels for codes of
        every length and for indexes are loaded.

    Raises
    ------
    BankError
        If the bank cannot be read.
    """
    if bank is None:
        for n_bits in _ALL_BITS:
            KERNELS.load(n_bits)
        _run_index()
    elif isinstance(bank, Bank | BankSet):
        warm_up_banks(banks_of(bank))
    else:
        with open_bank_or_set(bank) as opened:
            warm_up_banks(banks_of(opened))
    run_jpeg_kernel()


def warm_up_banks(banks: Sequence[Bank], n_threads: int | None = None) -> None:
    """Load the kernels that a search of open banks needs, and read their codes once.

    Parameters
    ----------
    banks
        One or more, of codes of the same number of bits.
    n_threads
        Threads that read; None for one per CPU.
    """
    from hashkit.multi_index.index import index_path

    KERNELS.load(banks[0].n_bits)
    if any(index_path(bank.path).is_file() for bank in banks):
        _run_index()
    filled = next((bank for bank in banks if len(bank)), None)
    if filled is not None:
        search(filled.codes[:1], banks, top_k=1, n_threads=n_threads)


@dataclasses.dataclass(frozen=True)
class CompiledKernels:
    """What `compile_kernels` did.

    Attributes
    ----------
    folders
        Where the kernels are kept.
    n_compiled
        Number of newly compiled kernels.
    """

    folders: tuple[str, ...]
    n_compiled: int


def compile_kernels(reporter: Reporter = SILENT) -> CompiledKernels:
    """Compile all kernels of hashkit into the folder from which other processes load them.

    This is ``NUMBA_CACHE_DIR`` if it is set, otherwise the folder of the kernels' source, or the
    user's Numba folder if the former is not writable. Processes also find kernels in the first two
    if these are read-only, as in a read-only container. Kernels are specific to the CPU that
    compiles them; for other CPUs, see docs/live-banks.md. Kernels that this process has already
    used are not written again.

    Raises
    ------
    ConfigError
        If no folder is writable, or the folder of ``NUMBA_CACHE_DIR`` is not.
    """
    import hashkit.kernels.scan  # noqa: F401 - so that there are caches
    from hashkit.kernels.cache import CACHES, KernelCache

    _check_folders()
    steps = list(_everything())
    KernelCache.reads_others = False  # what lies elsewhere is to be written too
    try:
        with reporter.progress("compiling kernels", len(steps), "steps") as bar:
            for number, (what, run) in enumerate(steps, 1):
                run()
                _check_folders()
                bar.update(number, what)
    finally:
        KernelCache.reads_others = True
    folders = {cache.found_in for cache in CACHES if cache.found_in}
    return CompiledKernels(tuple(sorted(folders)), sum(cache.n_compiled for cache in CACHES))


def _check_folders() -> None:
    from hashkit.kernels.cache import CACHES

    given = os.environ.get("NUMBA_CACHE_DIR")
    for cache in CACHES:
        is_given = not given or (cache.cache_path and _is_below(cache.cache_path, given))
        if not cache.is_kept or not is_given:
            raise ConfigError(
                "expected a writable folder for compiled kernels, found "
                f"{given or Path(cache.source).with_name('__pycache__')}, which cannot be written: "
                "set NUMBA_CACHE_DIR to a writable folder, here and where hashkit runs"
            )


def _is_below(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def _everything() -> Iterator[tuple[str, Callable[[], None]]]:
    """What needs kernels, and a function that uses all kernels of it."""
    for n_bits in _ALL_BITS:
        yield f"search of up to {n_bits} bits", lambda n_bits=n_bits: KERNELS.load(n_bits)  # type: ignore[misc]
    yield "search by population counts", _run_counts
    yield "index", _run_index
    yield "pairs", _run_joins
    yield "duplicates", _run_verification
    yield "evaluation", _run_evaluation
    yield "JPEG files", run_jpeg_kernel


def _codes(n_bits: int = 64) -> CodeSet:
    codes = np.random.default_rng(0).integers(0, 256, (_N_CODES, code_size(n_bits)), np.uint8)
    return CodeSet(codes, n_bits, np.arange(_N_CODES) % 3)


def _run_counts() -> None:
    from hashkit.kernels.widths import COUNTS
    from hashkit.retrieval.scan_compiled import run_each_kernel

    for _ in run_each_kernel(64, [COUNTS]):  # not every CPU uses them unless it is told to
        pass


def _run_index() -> None:
    from hashkit.multi_index.index import MultiIndex

    codes = _codes()
    index = MultiIndex.build(codes)
    index.search(codes.codes[:1], radius=2)
    index.search(codes.codes[:1], top_k=2)


def _run_joins() -> None:
    from hashkit.collection.join import hamming_join

    for engine in ("scan", "tables"):
        list(hamming_join(_codes().codes, None, 64, 2, engine=engine))


def _run_verification() -> None:
    from hashkit.collection.verification import compile_verify

    compile_verify()


def _run_evaluation() -> None:
    from hashkit.evaluation.evaluator import evaluate

    codes = _codes()
    evaluate(codes, codes)
