"""What codes of frozen features keep, by method and code length: mAP and nearest neighbours.

python tests/benchmarks/bench_frozen_features.py --images cifar10/ [--runs runs/a,runs/b]

The images are in train/<class>/ and test/<class>/. A built-in embedder computes their features
once; they stay in --work. Each method is fitted to 500 images per class; 100 images per class are
queries, and all others the database. Prints a Markdown table: mAP, and of the ten nearest
images by cosine of the float features, the share among the ten nearest codes; both also with the
first rows ordered by asymmetric distance (``oversample``). --runs adds the heads of trained runs
on the same embedder and size. --database N computes and searches N images alone: those for training
and others at random.

--unseen N prints another table instead: mAP on classes that no head has seen, for N splits of the
protocol unseen-classes, of ITQ and of the recipe `open` with several losses, with 48 bits, the
mean of --seeds trainings. --labelled 10,50 prints a table of classes that all heads have seen, by
the number of labelled images per class.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hashkit
from hashkit.codes import binarize
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.protocols import make_split
from hashkit.datasets.split import Split
from hashkit.features.computing import FeatureStore
from hashkit.features.fitting import fit_head
from hashkit.features.head import Head, head_from_tensors
from hashkit.features.head_checkpoint import read_head
from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite
from hashkit.machine import processor
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import ProtocolOptions
from hashkit.runs.known_names import FITTED, SPECTRAL
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.threads import available_cpus

Features = NDArray[np.float32]
PROTOCOL = ProtocolOptions(queries_per_class=100, training_per_class=500, training_in_database=True)
NEAREST = 10
UNSEEN_BITS = 48


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Features and labels of training images, queries and database."""

    training: Features
    queries: Features
    database: Features
    query_labels: NDArray[Any]
    database_labels: NDArray[Any]
    nearest: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".cache/frozen-features"))
    parser.add_argument("--embedder", default="efficientnet-lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--bits", default="32,48,64,128,256,512")
    parser.add_argument("--methods", default=",".join(FITTED))
    parser.add_argument("--database", type=int, help="images in the database; all by default")
    parser.add_argument("--oversample", type=int, default=10)
    parser.add_argument("--runs", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--unseen", type=int, default=0, metavar="N", help="number of splits")
    parser.add_argument("--labelled", default="", help="labelled images per class: 10,50,500")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each head")
    given = parser.parse_args()
    if given.unseen or given.labelled:
        print_learned(given)
        return
    images, facts = load(given)
    print(f"{processor()}, {available_cpus()} CPUs; {facts}", flush=True)
    times = f"{given.oversample}x"
    print(
        "| method | bits | mAP | of the float mAP | ten nearest "
        f"| mAP@1000, ordered {times} | ten nearest, ordered {times} | seconds to fit |"
    )
    print("|---|---|---|---|---|---|---|---|")
    float_map = cosine_map(images)
    print(f"| float features, cosine | | {float_map:.3f} | 1.00 | 1.00 | | | |", flush=True)
    rows = [{"method": "float", "map": float_map}]
    for name, n_bits, head, seconds in heads(given, images):
        row = measured(images, head, given.oversample)
        rows.append({"method": name, "bits": n_bits, "seconds": seconds, **row})
        print(
            f"| {name} | {n_bits} | {row['map']:.3f} | {row['map'] / float_map:.2f} "
            f"| {row['nearest']:.2f} "
            f"| {row['map_at_1000']:.3f} -> {row['ordered_map_at_1000']:.3f} "
            f"| {row['ordered_nearest']:.2f} | {seconds:.1f} |",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps({"facts": facts, "rows": rows}, indent=1))


ORTHOHASH = {"loss": "orthohash", "scale": 4.0, "label_smoothing": 0.1}
LEARNED: Mapping[str, Mapping[str, Any]] = {
    "recipe `open`": {},
    "`--loss multi-similarity --quantisation 2`": {"loss": "multi-similarity", "quantisation": 2.0},
    "`--loss orthohash --scale 4 --label-smoothing 0.1`": ORTHOHASH,
    "the same, and `--lr 0.002`": ORTHOHASH | {"learning_rate": 0.002},
    "`--start random`": {"start": "random"},
    "recipe `features`": {"recipe": "features"},
}
"""Changes of the recipe `open`, by name in the tables."""


def print_learned(given: argparse.Namespace) -> None:
    """Print the mAP of learned heads, and of ITQ, on unseen or on seen classes."""
    images = open_image_folder(given.images)
    features, facts = features_of(images, given.work, given.embedder, given.size)
    print(f"{processor()}, {available_cpus()} CPUs; {facts}", flush=True)
    columns: list[dict[str, float]]
    if given.unseen:
        what = "mAP of each split"
        columns = [
            unseen_scores(images, features, seed, given.seeds) for seed in range(given.unseen)
        ]
    else:
        counts = [int(one) for one in given.labelled.split(",")]
        what = f"mAP with {given.labelled} labelled images per class"
        columns = [seen_scores(images, features, count, given.seeds) for count in counts]
    print(f"| codes of the same features | {what} | mean |\n|---|---|---|")
    for name in columns[0]:
        values = [one[name] for one in columns]
        print(f"| {name} | {' '.join(f'{one:.3f}' for one in values)} | {np.mean(values):.3f} |")


def unseen_scores(images: ImageSet, features: Features, seed: int, n: int) -> dict[str, float]:
    """mAP by kind of code; nothing but ITQ on all classes sees the classes of the queries."""
    few = ProtocolOptions(queries_per_class=100, training_per_class=500)
    split = make_split(images, "unseen-classes", seed=seed, options=few)
    every = make_split(images, "per-class", seed=seed, options=PROTOCOL).training
    score = functools.partial(score_of, images, features, split)
    return {
        "ITQ, fitted to the seen classes": score(itq(features[split.training])),
        "ITQ, fitted to all classes": score(itq(features[every])),
    } | learned_scores(images, features, split, n)


def seen_scores(images: ImageSet, features: Features, count: int, n: int) -> dict[str, float]:
    """mAP by kind of code, with ``count`` labelled images of each class."""
    options = dataclasses.replace(PROTOCOL, training_per_class=count)
    split = make_split(images, "per-class", seed=0, options=options)
    own = score_of(images, features, split, itq(features[split.database]))
    return {"ITQ, fitted to the database": own} | learned_scores(images, features, split, n)


def learned_scores(images: ImageSet, features: Features, split: Split, n: int) -> dict[str, float]:
    """Mean mAP of the heads of `LEARNED`, of ``n`` seeds."""
    training, seen = images.subset(split.training), features[split.training]
    return {
        name: float(
            np.mean(
                [
                    score_of(images, features, split, learned(training, seen, seed=seed, **changes))
                    for seed in range(n)
                ]
            )
        )
        for name, changes in LEARNED.items()
    }


def score_of(
    images: ImageSet, features: Features, split: Split, logits: Callable[[Features], Features]
) -> float:
    """mAP of the queries of a split among its database."""
    assert images.labels is not None
    sets = [
        hashkit.CodeSet(binarize(logits(features[rows])), UNSEEN_BITS, images.labels[rows])
        for rows in (split.queries, split.database)
    ]
    return float(hashkit.evaluate(*sets).map)


def itq(features: Features) -> Head:
    """ITQ of features."""
    tensors = fit_head("itq", features, UNSEEN_BITS, seed=0)
    return head_from_tensors(tensors, has_cosine=False)


def learned(images: ImageSet, features: Features, **changes: Any) -> Callable[[Features], Features]:
    """Logits of a head that is trained on cached features by a recipe with changes."""
    import torch

    from hashkit.training.prepare import prepare_features
    from hashkit.training.recipes import settings_of
    from hashkit.training.trainer import Trainer

    values, _ = settings_of({"recipe": "open", "lengths": (UNSEEN_BITS,)} | changes)
    config = TrainConfig.from_dict(values)
    data = prepare_features(images, np.arange(len(images)), features[:, None], config)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "head", RunConfig(training=config))
        trainer = Trainer(config, data, run, torch.device("cpu"))
        trainer.fit()
    model = trainer.learner.model.eval()

    @torch.inference_mode()
    def logits(values: Features) -> Features:
        found: Features = model(torch.from_numpy(values)).numpy()
        return found

    return logits


def features_of(images: ImageSet, work: Path, name: str, size: int) -> tuple[Features, str]:
    """Features of images, computed once."""
    embedder = build_efficientnet_lite(name, (size, size))
    store = FeatureStore(work, images, embedder)
    started, n_before = time.process_time(), store.n_done
    store.compute(n_workers=available_cpus())
    seconds, n_computed = time.process_time() - started, len(images) - n_before
    found = store.read(available_cpus())
    assert len(found.rows) == len(images)
    facts = f"{len(images):,} images, {embedder.name} at {size} pixels"
    if n_computed:
        facts += f", {1000 * seconds / n_computed:.1f} CPU seconds per 1,000 images"
    return found.features, facts


def load(given: argparse.Namespace) -> tuple[Images, str]:
    """Features of the images in the parts of the protocol."""
    every = open_image_folder(given.images)
    split = make_split(every, "per-class", seed=0, options=PROTOCOL)
    database = np.asarray(split.database)
    if given.database is not None:
        others = np.random.default_rng(0).permutation(np.setdiff1d(database, split.training))
        n_others = given.database - len(split.training)
        database = np.sort(np.concatenate([split.training, others[:n_others]]))
    used = np.union1d(split.queries, database)
    images = every.subset(used)
    features, facts = features_of(images, given.work, given.embedder, given.size)
    assert images.labels is not None
    of_parts = [np.searchsorted(used, rows) for rows in (split.training, split.queries, database)]
    parts = [np.asarray(features[rows]) for rows in of_parts]
    return (
        Images(
            *parts,
            query_labels=images.labels[of_parts[1]],
            database_labels=images.labels[of_parts[2]],
            nearest=nearest_by_cosine(parts[1], parts[2]),
        ),
        facts,
    )


def unit(features: Features) -> Features:
    normed: Features = features / np.linalg.norm(features, axis=1, keepdims=True)
    return normed


def nearest_by_cosine(queries: Features, database: Features) -> NDArray[np.int64]:
    """The ten nearest rows of each query: int64 [q, 10]."""
    database = unit(database)
    blocks = [
        np.argpartition(-(unit(queries[start : start + 100]) @ database.T), NEAREST, axis=1)
        for start in range(0, len(queries), 100)
    ]
    return np.concatenate(blocks)[:, :NEAREST]


def cosine_map(images: Images) -> float:
    """mAP of the float features, ranked by cosine."""
    database = unit(images.database)
    scores = []
    for query, label in zip(unit(images.queries), images.query_labels, strict=True):
        hits = images.database_labels[np.argsort(-(database @ query), kind="stable")] == label
        ranks = np.flatnonzero(hits) + 1
        scores.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    return float(np.mean(scores))


def heads(given: argparse.Namespace, images: Images) -> Iterator[tuple[str, int, Head, float]]:
    for n_bits in map(int, given.bits.split(",")):
        for method in given.methods.split(","):
            started = time.perf_counter()
            tensors = fit_head(method, images.training, n_bits, seed=0)
            seconds = time.perf_counter() - started
            yield method, n_bits, head_from_tensors(tensors, has_cosine=method == SPECTRAL), seconds
    for path in filter(None, given.runs.split(",")):
        trained = read_head(Run.open(path).checkpoint_path())
        yield trained.manifest.recipe, trained.manifest.n_bits, trained.head, 0.0


def measured(images: Images, head: Head, oversample: int) -> dict[str, float]:
    """mAP and neighbours of the codes, plain and ordered by asymmetric distance."""
    logits = head(images.queries)
    codes, bits = binarize(logits), head.n_bits
    database = binarize(head(images.database))
    report = hashkit.evaluate(
        hashkit.CodeSet(codes, bits, images.query_labels),
        hashkit.CodeSet(database, bits, images.database_labels),
    )
    plain = hashkit.search(codes, database, top_k=1000, n_bits=bits)
    ordered = hashkit.search(
        codes, database, top_k=1000, n_bits=bits, logits=logits, oversample=oversample
    )
    near = hashkit.search(
        codes, database, top_k=NEAREST, n_bits=bits, logits=logits, oversample=oversample
    )
    return {
        "map": report.map,
        "map_at_1000": map_at(images, plain.rows),
        "ordered_map_at_1000": map_at(images, ordered.rows),
        "nearest": shared(images.nearest, plain.rows[:, :NEAREST]),
        "ordered_nearest": shared(images.nearest, near.rows),
    }


def map_at(images: Images, rows: NDArray[np.int64]) -> float:
    """Mean over queries of the precision at each relevant row among the given ones."""
    hits = images.database_labels[rows] == images.query_labels[:, None]
    precision = hits.cumsum(axis=1) / np.arange(1, rows.shape[1] + 1)
    per_query = (precision * hits).sum(axis=1) / np.maximum(hits.sum(axis=1), 1)
    return float(per_query.mean())


def shared(expected: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Share of the expected rows of each query that were found."""
    pairs = zip(expected, found, strict=True)
    return float(np.mean([len(np.intersect1d(one, other)) / NEAREST for one, other in pairs]))


if __name__ == "__main__":
    main()
