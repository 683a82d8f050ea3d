"""What `hashkit dedup` finds among changed copies of photographs, beside other programs.

    python tests/benchmarks/photographs/sources.py tests/benchmarks/photographs/measuring.txt FOLDER
    python tests/benchmarks/photographs/copies.py FOLDER SET
    python tests/benchmarks/bench_duplicates.py SET [--peers] [--one-in 10]

Precision counts all pairs of files: two files are copies if they were made from one original.
Recall is printed for pairs of an original with its copy, by kind of change, and for all pairs,
among them those of two copies that were changed in two ways. Every system is given its best
threshold for a precision on these very files, except that hashkit's own threshold, chosen on other
photographs, is printed too. Times are CPU time of one thread per image, decoding included. What was
computed is kept in --work. --one-in N saves time: of the pairs in which both files were changed,
it verifies one of N, drawn by chance, and counts it N times.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.near import THRESHOLD, Candidates, find_candidates
from hashkit.collection.signatures import Signatures, Signer, canvas_of, joined
from hashkit.collection.verification import verify
from hashkit.machine import processor

sys.path.insert(0, str(Path(__file__).parent / "photographs"))

PRECISIONS: Final = (0.99, 0.95)
BATCH: Final = 64


class Files(NamedTuple):
    """Files of a set and the truth about them: groups and kinds, [n], and what each file is."""

    paths: list[Path]
    groups: NDArray[np.int64]
    kinds: NDArray[np.str_]
    is_original: NDArray[np.bool_]
    is_changed: NDArray[np.bool_]


class Found(NamedTuple):
    """Pairs of files with a score each, which is higher for likelier copies, and a weight."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    score: NDArray[np.float64]
    weight: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--one-in", type=int, default=1)
    given = parser.parse_args()
    work = given.work or given.set.with_name(f"{given.set.name}-work")
    work.mkdir(parents=True, exist_ok=True)
    files = read_truth(given.set)
    print(f"{processor()}; {len(files.paths)} files, {files.is_original.sum()} originals")
    systems, seconds = own_systems(files, work, given.one_in)
    if given.peers:
        from photographs import peers

        for method in peers.METHODS:
            rows, taken = peers.encoded(method, files.paths, work)
            systems[method], seconds[method] = functools.partial(every_pair, rows), taken
        own = peers.cnn_seconds(files.paths[::30])
        print(f"imagededup's CNN with its own network: {1 / own:.0f} images per CPU second")
    report(files, systems, seconds)


def read_truth(folder: Path) -> Files:
    truth = json.loads((folder / "truth.json").read_text())
    _, groups = np.unique([one["group"] for one in truth.values()], return_inverse=True)
    kinds = np.array([one["kind"] for one in truth.values()])
    paths = [folder / name for name in truth]
    is_original = kinds == "original"
    is_changed = np.isin(groups, groups[is_original]) & ~is_original
    return Files(paths, groups.astype(np.int64), kinds, is_original, is_changed)


def own_systems(
    files: Files, work: Path, one_in: int
) -> tuple[dict[str, Callable[[], Found]], dict[str, float]]:
    """hashkit with both codes, with hashes alone, and the hash without verification."""
    signatures, spent = signed(files, work)
    both = find_candidates(signatures)
    left, right, score, weight, taken = verified(files, signatures, both, work, one_in)
    found = Found(left, right, score, weight)
    alone = Signatures(signatures.hashes, signatures.thumbnails, None)
    of_hashes = find_candidates(alone)
    n = len(files.paths)
    is_hash = np.isin(left * n + right, of_hashes.left * n + of_hashes.right)
    by_hash = Found(*(column[is_hash] for column in found))
    per_pair = taken / max(len(left), 1)
    hashing = spent["decoding"] + spent["hashes"]
    return {
        "hashkit, two codes": lambda: found,
        "hashkit, phash alone": lambda: by_hash,
        "phash-256 without verification": lambda: every_pair(signatures.hashes[:, 0]),
    }, {
        "hashkit, two codes": hashing + spent["learned"] + per_pair * len(both.left) / n,
        "hashkit, phash alone": hashing + per_pair * len(of_hashes.left) / n,
        "phash-256 without verification": hashing,
    }


def signed(files: Files, work: Path) -> tuple[Signatures, dict[str, float]]:
    """Signatures of the files, and the CPU seconds per file of each stage."""
    stored = work / "signatures.npz"
    if not stored.exists():
        signers, parts = {"hashes": Signer(None), "both": Signer.load(True, n_threads=1)}, []
        spent = dict.fromkeys(["decoding", *signers], 0.0)
        for first in range(0, len(files.paths), BATCH):
            start = time.process_time()
            canvases = np.stack([canvas_of(path) for path in files.paths[first : first + BATCH]])
            spent["decoding"] += time.process_time() - start
            for name, signer in signers.items():
                start = time.process_time()
                part = signer.sign(canvases)
                spent[name] += time.process_time() - start
            parts.append(part)
        whole = joined(parts)
        per_file = {name: taken / len(files.paths) for name, taken in spent.items()}
        per_file["learned"] = per_file.pop("both") - per_file["hashes"]
        np.savez(
            stored,
            hashes=whole.hashes,
            thumbnails=whole.thumbnails,
            learned=whole.learned,
            spent=json.dumps(per_file),
        )
    with np.load(stored) as read:
        found = Signatures(read["hashes"], read["thumbnails"], read["learned"])
        return found, json.loads(str(read["spent"]))


def verified(
    files: Files, signatures: Signatures, candidates: Candidates, work: Path, one_in: int
) -> tuple[Any, ...]:
    """The candidates' pairs, scores and weights, and the CPU seconds of all."""
    stored = work / "scores.npz"
    if not stored.exists():
        left, right = candidates.left, candidates.right
        is_sampled = files.is_changed[left] & files.is_changed[right]
        drawn = np.random.default_rng(0).random(len(left)) < 1 / one_in
        chosen = np.flatnonzero(~is_sampled | drawn)
        pairs = left[chosen], right[chosen], candidates.position[chosen]
        verify(signatures.thumbnails, *(column[:1] for column in pairs))  # compiles
        start = time.process_time()
        scores = verify(signatures.thumbnails, *pairs).scores
        taken = time.process_time() - start
        weights = np.where(is_sampled[chosen], float(one_in), 1.0)
        np.savez(
            stored,
            left=left[chosen],
            right=right[chosen],
            score=scores,
            weight=weights,
            seconds=taken,
        )
    with np.load(stored) as read:
        columns = [read[name] for name in ("left", "right", "score", "weight")]
        return *columns, float(read["seconds"])


def every_pair(rows: NDArray[Any]) -> Found:
    """All pairs of codes or features: minus the distance in bits, or the cosine, as a score."""
    lefts, rights, scores = [], [], []
    if rows.dtype != np.uint8:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for left in range(len(rows) - 1):
        others = rows[left + 1 :]
        if rows.dtype == np.uint8:
            score = -np.bitwise_count(others ^ rows[left]).sum(axis=1, dtype=np.float64)
        else:
            score = (others @ rows[left]).astype(np.float64)
        lefts.append(np.full(len(others), left))
        rights.append(np.arange(left + 1, len(rows)))
        scores.append(score)
    score = np.concatenate(scores)
    return Found(np.concatenate(lefts), np.concatenate(rights), score, np.ones(len(score)))


def report(
    files: Files, systems: Mapping[str, Callable[[], Found]], seconds: Mapping[str, float]
) -> None:
    """Print a line per system, and recall by kind of change at precision .99."""
    kinds = list(dict.fromkeys(files.kinds[files.is_changed]))
    by_kind, sizes = {}, np.bincount(files.groups)
    n_pairs, n_copies = (
        int((sizes * (sizes - 1) // 2).sum()),
        int(np.isin(files.kinds, kinds).sum()),
    )
    print(f"{n_pairs} pairs of copies, {n_copies} of an original with its copy")
    print("| | threshold | precision | recall, original and copy | all pairs | images per CPU s |")
    print("|---|---|---|---|---|---|")
    for name, load in systems.items():
        found = load()
        same = files.groups[found.left] == files.groups[found.right]
        with_original = same & (files.is_original[found.left] | files.is_original[found.right])
        thresholds = [best_threshold(found, same, wanted, n_pairs) for wanted in PRECISIONS]
        if name.startswith("hashkit"):
            thresholds.insert(0, THRESHOLD)
        for threshold in thresholds:
            kept = found.score >= threshold
            true = float(found.weight[kept & same].sum())
            false = float(found.weight[kept & ~same].sum())
            precision = true / max(true + false, 1)
            recall = float((kept & with_original).sum()) / n_copies
            print(
                f"| {name} | {threshold:.3g} | {precision:.3f} | {recall:.3f} "
                f"| {true / n_pairs:.3f} | {1 / seconds[name]:.0f} |"
            )
        kept = with_original & (found.score >= thresholds[0])
        by_kind[name] = [share_found(files, found, kept, kind) for kind in kinds]
        false = ~same & (found.score >= thresholds[0])
        print_false(files, found, false)
    print("\n| change | " + " | ".join(by_kind) + " |\n|" + "---|" * (1 + len(by_kind)))
    for row, kind in enumerate(kinds):
        print(f"| {kind} | " + " | ".join(f"{one[row]:.2f}" for one in by_kind.values()) + " |")


def best_threshold(found: Found, same: NDArray[np.bool_], precision: float, n_pairs: int) -> float:
    """The lowest threshold that reaches a precision; infinite if none does."""
    order = np.argsort(-found.score, kind="stable")
    weight, is_true, score = found.weight[order], same[order], found.score[order]
    true, all_found = np.cumsum(weight * is_true), np.cumsum(weight)
    is_last = np.r_[score[1:] != score[:-1], True]  # pairs with equal scores count together
    good = np.flatnonzero(is_last & (true >= precision * all_found))
    return float(score[good[-1]]) if len(good) else float("inf")


def share_found(files: Files, found: Found, kept: NDArray[np.bool_], kind: str) -> float:
    changed = (files.kinds[found.left] == kind) | (files.kinds[found.right] == kind)
    return float((kept & changed).sum()) / max(int((files.kinds == kind).sum()), 1)


def print_false(files: Files, found: Found, false: NDArray[np.bool_]) -> None:
    """Print which groups, or kinds of look-alikes, are confused most often."""
    ends = [
        tuple(
            sorted(
                str(files.kinds[one])
                if not np.isin(files.groups[one], files.groups[files.is_original])
                else files.paths[one].stem[:40]
                for one in pair
            )
        )
        for pair in zip(found.left[false][:2000], found.right[false][:2000], strict=True)
    ]
    counts: dict[Any, int] = {}
    for end in ends:
        counts[end] = counts.get(end, 0) + 1
    largest = sorted(counts.items(), key=lambda one: -one[1])[:4]
    print(f"  {int(false.sum())} false pairs, most often {largest}", file=sys.stderr)


if __name__ == "__main__":
    main()
