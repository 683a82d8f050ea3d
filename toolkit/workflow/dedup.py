"""``hashkit.find_duplicates``: the duplicates in a folder or a bank, and which of them to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.bank_set.joined import AnyBank, as_one
from hashkit.bank_set.opening import open_bank_or_set
from hashkit.bank_set.places import is_bank_set
from hashkit.bank_set.reader import BankSet
from hashkit.codesets import check_radius, kept_rows
from hashkit.collection.duplicates import (
    KEEP_RULE,
    DuplicateGroup,
    classes_of,
    group_duplicates,
    without_other_names,
)
from hashkit.collection.facts import ImageFacts
from hashkit.collection.folder_facts import facts_and_signatures, facts_of
from hashkit.collection.join import NO_PAIRS, PairBlock
from hashkit.collection.listing import list_folder
from hashkit.collection.near import near_pairs
from hashkit.collection.position_codes import N_BITS as HASH_BITS
from hashkit.collection.signature_cache import SignatureCache
from hashkit.collection.signatures import LEARNED_MODEL, Signatures, Signer
from hashkit.collection.verification import compile_verify, is_compiled
from hashkit.datasets.decoding import Fault
from hashkit.distribution import install_command
from hashkit.errors import ConfigError
from hashkit.inputs.arguments import checked_arguments, whole_number
from hashkit.model_names import BUILTIN_SHA256
from hashkit.runs.run import PathText
from hashkit.threads import check_threads
from hashkit.workflow.near_codes import distinct_codes, pairs_of_classes, pairs_of_codes
from hashkit.workflow.reporter import LOGGED, LateProgress, Reporter, plural
from hashkit.workflow.row_images import RowImages, sources_of

__all__ = ["BANK_RADIUS", "Duplicates", "PairFinder", "find_duplicates", "find_in_bank"]

PairFinder: TypeAlias = Callable[[int], PairBlock]

BANK_RADIUS: Final = 2
"""Bits by which two codes of a bank differ at most, unless asked otherwise."""


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """The duplicates of a folder, a bank or a bank set.

    Attributes
    ----------
    source
        The folder, the bank or the bank set.
    folder
        Folder of the images; None if a bank has none or several.
    radius
        Largest distance of near images from the one to keep, bits; None for a folder without a
        radius, whose near images were verified only by their pixels.
    n_images
        Images that were compared.
    groups
        The duplicates, by the name of the image to keep.
    faults
        Images that could not be used.
    """

    source: Path
    folder: Path | None
    radius: int | None
    n_images: int
    groups: tuple[DuplicateGroup, ...]
    faults: tuple[Fault, ...]

    def __repr__(self) -> str:
        groups = plural(len(self.groups), "group")
        return f"<Duplicates of {self.source}: {plural(self.n_duplicates, 'image')} in {groups}>"

    @property
    def n_duplicates(self) -> int:
        """Number of images other than those to keep."""
        return sum(len(group.duplicates) for group in self.groups)

    @property
    def n_spare_bytes(self) -> int:
        """Bytes of these images."""
        return sum(group.n_spare_bytes for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `hashkit dedup`; docs/cli.md lists its fields."""
        return {
            "source": str(self.source),
            "radius": self.radius,
            "n_images": self.n_images,
            "n_duplicates": self.n_duplicates,
            "spare_bytes": self.n_spare_bytes,
            "keep_rule": KEEP_RULE,
            "groups": [group.to_dict() for group in self.groups],
            "faults": [dataclasses.asdict(fault) for fault in self.faults],
        }


@checked_arguments
def find_duplicates(
    source: PathText | Bank | BankSet,
    radius: int | None = None,
    *,
    exact: bool = False,
    data_root: PathText | None = None,
    num_workers: int | None = None,
    reporter: Reporter | None = None,
) -> Duplicates:
    """Find the duplicates in a folder of images, a bank or a bank set, as ``hashkit dedup`` does.

    Images are duplicates if their files or their pixels are identical, or if they are near. Nothing
    is changed.

    Parameters
    ----------
    source
        A folder, whose images are compared by perceptual hashes and learned codes, and then by
        their pixels (`hashkit.collection.near`); or a bank or a bank set, whose codes are compared.
        Files of a bank's images are read if they exist.
    radius
        Largest distance between the code of an image and that of the one to keep, in bits. By
        default 2 for a bank, and none for a folder, where the pixels decide. If given for a folder,
        perceptual hashes of 256 bits must also be within it.
    exact
        Find only identical files and identical pixels; cannot be combined with a radius.
    data_root
        Current folder of a bank's images, if it was moved.
    num_workers
        Decoding threads; None for one per core.
    reporter
        Takes notes and progress; None to log the notes.

    Returns
    -------
    Duplicates
        Groups of an image to keep and its duplicates, for
        `hashkit.collection.moving.move_duplicates`.

    Raises
    ------
    DatasetError
        If there is no such folder.
    BankError
        If there is no such bank.
    ConfigError
        If an argument is invalid, or more pairs are near than can be grouped.
    """
    reporter = LOGGED if reporter is None else reporter
    n_workers = check_threads(num_workers, "num_workers")
    if radius is not None:
        radius = whole_number(radius, "radius", 0)
        if exact:
            raise ConfigError("`exact` and `radius` cannot be combined: leave one of the two out")
    wanted = _Wanted(radius, exact)
    if isinstance(source, Bank | BankSet):
        return _in_bank(as_one(source), wanted, data_root, n_workers, reporter)
    path = Path(source)
    if path.is_file() or is_bank_set(path):
        with open_bank_or_set(path) as bank:
            return _in_bank(as_one(bank), wanted, data_root, n_workers, reporter)
    if data_root is not None:
        raise ConfigError(
            "`data_root` is for a bank whose images were moved, found a folder of images: leave it "
            "out"
        )
    return _in_folder(path, wanted, n_workers, reporter)


def find_in_bank(
    bank: Bank | BankSet,
    find_pairs: PairFinder,
    radius: int | None = None,
    *,
    data_root: PathText | None = None,
    num_workers: int | None = None,
    reporter: Reporter = LOGGED,
) -> Duplicates:
    """The duplicates in a bank or a bank set whose near codes are found elsewhere.

    Parameters
    ----------
    find_pairs
        Takes a radius, and gives all pairs of near rows in no order; one row may stand for all that
        have its code.
    """
    n_workers = check_threads(num_workers, "num_workers")
    wanted = _Wanted(radius, False)
    return _in_bank(as_one(bank), wanted, data_root, n_workers, reporter, find_pairs)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Which duplicates are wanted: the arguments of `find_duplicates`."""

    radius: int | None
    is_exact: bool


def _in_folder(folder: Path, wanted: _Wanted, n_workers: int, reporter: Reporter) -> Duplicates:
    if wanted.radius is not None:
        check_radius(wanted.radius, HASH_BITS)
    listing = list_folder(folder)
    for line in listing.left_out:
        reporter.note(line)
    named = [(name, listing.folder / name) for name in sorted(listing.names)]
    title = f"reading {listing.folder.name}"
    if wanted.is_exact:
        learned = BUILTIN_SHA256[LEARNED_MODEL]
        caches = [SignatureCache(listing.folder, model) for model in ("", learned)]
        with reporter.progress(title, len(named), "images") as bar:
            images, faults = facts_of(named, n_workers, bar.update, caches)
        images = without_other_names(images)
        groups = group_duplicates(images, classes_of(images), NO_PAIRS)
    else:
        signer = Signer.load()
        with reporter.progress(title, len(named), "images") as bar:
            cache = SignatureCache(listing.folder, signer.model)
            read, signatures, faults = facts_and_signatures(
                named, signer, n_workers, bar.update, cache
            )
        images = without_other_names(read)
        signatures = signatures[_places(images, read)]
        groups = _near_groups(images, signatures, wanted.radius, n_workers, reporter)
        if signatures.learned is None:
            reporter.note(
                "without learned codes, fewer crops are found: "
                f"{install_command('lite')} installs their weights"
            )
    faults = [*listing.faults, *faults]
    radius = 0 if wanted.is_exact else wanted.radius
    return Duplicates(folder, listing.folder, radius, len(images), tuple(groups), tuple(faults))


def _near_groups(
    images: Sequence[ImageFacts],
    signatures: Signatures,
    radius: int | None,
    n_threads: int,
    reporter: Reporter,
) -> list[DuplicateGroup]:
    """Groups of images by their pixels and signatures."""
    classes = classes_of(images)
    _, first = np.unique(classes, return_index=True)
    with LateProgress(reporter, "verifying candidates", "pairs") as bar:

        def progress(done: int, total: int) -> None:
            if total and not (done or is_compiled()):
                reporter.note(
                    "compiling the comparison of pictures once, about 15 seconds; `hashkit "
                    "compile` does this in advance"
                )
                compile_verify()  # before the bar, which would count this time as that of pairs
            bar.update(done, total)

        near = near_pairs(signatures[first], n_threads=n_threads, progress=progress)
    is_near = near.distance <= (near.distance if radius is None else radius)
    pairs = PairBlock(near.left[is_near], near.right[is_near], near.distance[is_near])
    return group_duplicates(images, classes, pairs, near.score[is_near])


def _in_bank(
    bank: AnyBank,
    wanted: _Wanted,
    data_root: PathText | None,
    n_workers: int,
    reporter: Reporter,
    find_pairs: PairFinder | None = None,
) -> Duplicates:
    radius = min(BANK_RADIUS, bank.n_bits) if wanted.radius is None else wanted.radius
    check_radius(radius, bank.n_bits)
    kept = kept_rows(bank)
    distinct, classes = distinct_codes(bank.codes if bank.deleted is None else bank.codes[kept])
    if wanted.is_exact:
        pairs = NO_PAIRS
    elif find_pairs is None:
        pairs = pairs_of_codes(distinct, bank.n_bits, radius)
    else:
        pairs = pairs_of_classes(find_pairs(radius), kept, classes)
    is_candidate = np.bincount(classes, minlength=len(distinct)) > 1
    is_candidate[pairs.left] = True
    is_candidate[pairs.right] = True
    chosen = np.flatnonzero(is_candidate[classes])
    find = RowImages(None, data_root)
    read, faults = _facts_of_rows(bank, kept[chosen], find, n_workers, reporter)
    folder = _only_folder(bank, data_root)
    images = without_other_names(read)
    same = classes_of(images) if wanted.is_exact else classes[chosen[_places(images, read)]]
    groups = group_duplicates(images, same, pairs)
    radius = 0 if wanted.is_exact else radius
    return Duplicates(bank.path, folder, radius, len(kept), tuple(groups), tuple(faults))


def _places(chosen: Sequence[ImageFacts], images: Sequence[ImageFacts]) -> NDArray[np.int64]:
    """The places of some of the images among all, int64 [m]."""
    place_of = {image.name: place for place, image in enumerate(images)}
    return np.array([place_of[image.name] for image in chosen], np.int64)


def _facts_of_rows(
    bank: AnyBank,
    rows: NDArray[np.int64],
    find: RowImages,
    n_workers: int,
    reporter: Reporter,
) -> tuple[list[ImageFacts], list[Fault]]:
    """Facts of rows, in order: of their files, or from the bank where there is no file."""
    named = list(_rows_and_names(bank, rows))
    paths = {name: find(bank, row) for row, name in named}
    there = [(name, path) for name, path in paths.items() if isinstance(path, Path)]
    with reporter.progress("reading candidates", len(there), "images") as bar:
        read, faults = facts_of(there, n_workers, bar.update)
    facts = {image.name: image for image in read}
    if len(there) < len(named):
        reporter.note(
            f"{plural(len(named) - len(there), 'image')} of {bank.path} not found: they are "
            "compared only by their codes; if their folder was moved, give its current path with "
            "`data_root=...`"
        )
    return [facts.get(name) or _kept_facts(bank, row, name) for row, name in named], faults


def _rows_and_names(bank: AnyBank, rows: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Rows and their names, each name once: missing and repeated names get the row's number."""
    seen: set[str] = set()
    names = bank.names  # each access looks at the file
    for row in rows.tolist():
        name = (names[row] if len(names) else "") or f"row {row}"
        if name in seen:
            name = f"{name} (row {row})"
        seen.add(name)
        yield row, name


def _kept_facts(bank: AnyBank, row: int, name: str) -> ImageFacts:
    """What a bank keeps of the file of a row."""
    files = bank.files
    if files is None:
        return ImageFacts(name)
    digest = files.digests[row]
    return ImageFacts(
        name,
        n_bytes=int(files.sizes[row]),
        mtime_ns=int(files.mtimes_ns[row]),
        file_digest=digest.tobytes() if digest.any() else b"",
    )


def _only_folder(bank: AnyBank, data_root: PathText | None) -> Path | None:
    if data_root is not None:
        return Path(data_root)
    roots: Sequence[str | None] = [source.root for source in sources_of(bank)]
    return Path(roots[0]) if len(set(roots)) == 1 and roots[0] is not None else None
