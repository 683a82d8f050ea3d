from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from looped import looped
from numpy.typing import NDArray
from precision_samples import MANIFEST, images, save, stack_model, weights
from small_models import linear_model, linear_weights

import hashkit
from hashkit.codes import binarize
from hashkit.codesets import CodeSet
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import ConfigError, ModelError, ParityError
from hashkit.exporters import samples
from hashkit.exporters.agreement import Agreement, Sample, Tolerance, compare
from hashkit.exporters.precision import TOLERANCES, export_precision
from hashkit.exporters.samples import draw_from_split, draw_from_training
from hashkit.manifest import Manifest
from hashkit.runtimes.onnx_file import read_onnx_file

N_BITS = 12
STRICT = Tolerance(flipped_per_million=0, map_lost=-1, neighbours_lost=0)


def pixels_of(n_images: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n_images, 4, 5, 3)).astype(np.uint8)


def logits_of(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """Logits of `linear_model` with that seed; exact, since all sums are multiples of 1/128."""
    flat = pixels.reshape(len(pixels), -1) - np.float32(127.5)
    return flat @ linear_weights(60, N_BITS, seed)


QUERIES, DATABASE = pixels_of(9, 0), pixels_of(70, 1)
LABELS = np.arange(9) % 3, np.arange(70) % 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    first, second = (linear_model(folder / f"{seed}.onnx", seed=seed) for seed in (0, 1))
    return first, second


# Agreement


def test_differences_are_counted(pair: tuple[Path, Path]) -> None:
    steps: list[tuple[int, int]] = []
    sample = Sample(QUERIES, DATABASE, *LABELS)
    found = compare(*pair, sample, progress=lambda *step: steps.append(step))

    everything = np.concatenate([QUERIES, DATABASE])
    before, after = logits_of(everything, 0), logits_of(everything, 1)
    flipped = (before > 0) != (after > 0)
    assert (found.n_queries, found.n_database, found.n_bits) == (9, 70, N_BITS)
    assert found.flipped_per_million == pytest.approx(1e6 * flipped.mean())
    assert found.codes_changed == np.mean([row.any() for row in flipped])
    assert found.largest_difference == pytest.approx(np.abs(after - before).max())
    assert found.relative_difference == pytest.approx(
        np.linalg.norm(after - before) / np.linalg.norm(before)
    )
    assert (found.n_packing_errors, found.n_not_finite) == (0, 0)
    assert steps[-1] == (2 * 79, 2 * 79)
    for value, logits in ((found.map_source, before), (found.map, after)):
        codes = binarize(logits)
        report = hashkit.evaluate(
            CodeSet(codes[:9], N_BITS, LABELS[0]), CodeSet(codes[9:], N_BITS, LABELS[1])
        )
        assert value == pytest.approx(report.map)
    assert found.map_lost == found.map_source - found.map
    assert found.neighbours_kept is None
    assert "\n" not in found.summary()


def test_nearest_neighbours_are_compared_without_labels(pair: tuple[Path, Path]) -> None:
    found = compare(*pair, Sample(QUERIES, DATABASE))

    def nearest(seed: int) -> list[set[int]]:
        queries, database = (logits_of(part, seed) > 0 for part in (QUERIES, DATABASE))
        distances = (queries[:, None] != database[None]).sum(axis=2)
        return [set(np.argsort(row, kind="stable")[:10].tolist()) for row in distances]

    shares = [len(a & b) / 10 for a, b in zip(nearest(0), nearest(1), strict=True)]
    assert found.neighbours_kept == pytest.approx(np.mean(shares))
    assert found.map is found.map_source is found.map_lost is None


def test_a_model_agrees_with_itself(pair: tuple[Path, Path]) -> None:
    found = compare(pair[0], pair[0], Sample(QUERIES, DATABASE))
    assert found.flipped_per_million == found.codes_changed == found.largest_difference == 0
    assert found.neighbours_kept == 1
    assert Tolerance(0, 0, 0).excesses(found) == []


def test_logits_near_zero_are_counted(tmp_path: Path) -> None:
    """No pixel has the value 127.5; equal numbers of 127 and 128 give exactly 0."""
    path = linear_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    tensor = next(one for one in model.graph.initializer if one.name == "weights")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones((60, N_BITS), np.float32), "weights"))
    onnx.save_model(model, str(path))
    image = np.full((1, 4, 5, 3), 127, np.uint8)
    image.reshape(-1)[::2] = 128
    found = compare(path, path, Sample(image, np.full((3, 4, 5, 3), 128, np.uint8)))
    assert found.near_zero == 0.25


def test_different_bits_and_empty_samples_are_refused(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    other = linear_model(tmp_path / "m.onnx", n_bits=8)
    with pytest.raises(ConfigError, match=r"12 bits and .* has 8"):
        compare(pair[0], other, Sample(QUERIES, DATABASE))
    with pytest.raises(ConfigError, match="found 9 and 0 images"):
        Sample(QUERIES, DATABASE[:0])


FOUND = Agreement(
    10, 20, 12, 900.0, 0.1, 0.2, 0.01, 0.0, 0, 0, 0.8, 0.795, None, "CPUExecutionProvider"
)


@looped(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"flipped_per_million": 1000.5}, "1,000 flipped bits per million (1,000 allowed)"),
        ({"flipped_per_million": float("nan")}, "nan flipped bits per million"),
        ({"map": 0.7}, "mAP lower by 0.1000 (0.01 allowed)"),
        ({"map": 0.85}, None),
        ({"map": None, "map_source": None, "neighbours_kept": 0.9}, None),
        ({"map": None, "map_source": None, "neighbours_kept": 0.7}, "30.0% of the 10 nearest"),
    ],
)
def test_excesses_list_what_exceeds_the_tolerance(changes: dict, complaint: str | None) -> None:
    tolerance = Tolerance(flipped_per_million=1000, map_lost=0.01, neighbours_lost=0.15)
    excesses = tolerance.excesses(dataclasses.replace(FOUND, **changes))
    assert len(excesses) == (complaint is not None)
    if complaint:
        assert excesses[0].startswith(complaint)


# Files


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(stack_model(), tmp_path_factory.mktemp("source") / "model.onnx")


PHOTOS = images(120)
PHOTO_SAMPLE = Sample(PHOTOS[:20], PHOTOS[20:60], np.arange(20) % 2, np.arange(40) % 2)
LENIENT = Tolerance(flipped_per_million=60_000, map_lost=0.5, neighbours_lost=1)


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.62), ("int8", 1)])
def test_export_of_another_precision(
    source: Path, tmp_path: Path, precision: str, share: float
) -> None:
    path = tmp_path / "deep" / "model.onnx"
    report = export_precision(
        source, path, precision, calibration=PHOTOS[60:], sample=PHOTO_SAMPLE, tolerance=LENIENT
    )

    assert list(path.parent.iterdir()) == [path]
    described = read_onnx_file(path)
    assert (described.precision, described.manifest) == (precision, MANIFEST)
    encoder = hashkit.Encoder.load(path, "cpu")
    assert encoder.precision == precision
    assert report.model_sha256 == encoder.model_sha256
    assert report.source_sha256 == hashkit.Encoder.load(source, "cpu").model_sha256
    assert report.n_bytes == path.stat().st_size < share * report.n_bytes_source
    assert report.excesses == ()
    assert report.speed > 0
    assert 0 < report.agreement.relative_difference < 0.1
    fields = json.loads(json.dumps(report.to_dict()))
    assert fields["agreement"]["map_lost"] == pytest.approx(report.agreement.map_lost)
    assert fields["quantised"] == list(report.quantised)
    assert bool(report.quantised) == (precision == "int8")
    content = path.read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert str(tmp_path).encode() not in content


@pytest.mark.end_to_end
@pytest.mark.parametrize("existing", [None, b"an older model"])
def test_a_file_with_too_much_loss_is_not_written(
    source: Path, tmp_path: Path, existing: bytes | None
) -> None:
    path = tmp_path / "model-int8.onnx"
    if existing:
        path.write_bytes(existing)
    arguments = {"calibration": PHOTOS[60:], "sample": PHOTO_SAMPLE, "tolerance": STRICT}
    with pytest.raises(
        ParityError, match=r"bits per million \(0 allowed\).*`allow_loss=True`"
    ) as c:
        export_precision(source, path, "int8", **arguments)
    assert "\n" not in str(c.value)
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left == ({"model-int8.onnx": existing} if existing else {})

    report = export_precision(source, path, "int8", allow_loss=True, **arguments)
    assert len(report.excesses) == 2
    assert read_onnx_file(path).precision == "int8"


def test_an_overflow_is_refused_even_if_loss_is_allowed(tmp_path: Path) -> None:
    """The outputs of the second layer exceed float16, on a device that computes in float16."""
    values = {name: array.copy() for name, array in weights().items()}
    values["conv1.weight"] *= 60_000
    values["conv2.weight"] /= 60_000
    source = save(stack_model(values), tmp_path / "model.onnx")
    with pytest.raises(ParityError, match="logits are NaN or infinite"):
        export_precision(
            source,
            tmp_path / "half.onnx",
            "fp16",
            calibration=PHOTOS[60:],
            sample=PHOTO_SAMPLE,
            allow_loss=True,
        )
    assert list(tmp_path.iterdir()) == [source]


def test_other_sources_than_fp32_and_unknown_precisions_are_refused(
    source: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.onnx"
    arguments = {"calibration": PHOTOS[60:], "sample": PHOTO_SAMPLE, "tolerance": LENIENT}
    export_precision(source, half, "fp16", **arguments)
    with pytest.raises(ModelError, match=r"half.onnx is fp16: convert the fp32 model instead"):
        export_precision(half, tmp_path / "m.onnx", "int8", **arguments)
    with pytest.raises(ConfigError, match="unknown precision 'int4'; known: fp16, int8"):
        export_precision(source, tmp_path / "m.onnx", "int4", **arguments)
    assert list(tmp_path.iterdir()) == [half]
    assert TOLERANCES.keys() == {"fp16", "int8"}


# Images


def numbered(n_images: int, labels: NDArray[np.int64] | None) -> ImageSet:
    """Images whose colour is their row number."""
    pixels = np.empty((n_images, 2, 2, 3), np.uint8)
    pixels[:] = np.arange(n_images, dtype=np.uint8)[:, None, None, None]
    return ImageSet("numbered", [f"n/{row}" for row in range(n_images)], pixels, labels=labels)


def rows_of(pixels: NDArray[np.uint8]) -> list[int]:
    return pixels[:, 0, 0, 0].tolist()


SPLIT = Split(
    "by hand", 0, queries=np.arange(0, 40), training=np.arange(30, 90), database=np.arange(40, 200)
)
SMALL = Manifest(8, 2, 2)


def test_calibration_has_no_queries_and_labels_match_their_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samples, "N_CALIBRATION", 20)
    monkeypatch.setattr(samples, "N_QUERIES", 10)
    drawn = draw_from_split(numbered(200, np.arange(200) * 7), SPLIT, SMALL)
    calibration = rows_of(drawn.calibration)
    assert len(calibration) == 20
    assert set(calibration) <= set(range(40, 90)), "expected training images that are not queries"
    assert len(drawn.sample.queries) == 10
    assert set(rows_of(drawn.sample.queries)) <= set(range(40))
    assert rows_of(drawn.sample.database) == list(range(40, 200))
    assert drawn.sample.query_labels is not None
    assert drawn.sample.query_labels.tolist() == [7 * r for r in rows_of(drawn.sample.queries)]


def test_labels_are_left_out_unless_all_are_known() -> None:
    labels = np.zeros(200, np.int64)
    labels[150] = -1
    assert not draw_from_split(numbered(200, labels), SPLIT, SMALL).sample.has_labels
    assert not draw_from_split(numbered(200, None), SPLIT, SMALL).sample.has_labels


def test_training_images_replace_missing_queries() -> None:
    drawn = draw_from_training(numbered(30, None), SMALL)
    parts = [drawn.calibration, drawn.sample.queries, drawn.sample.database]
    assert sorted(row for part in parts for row in rows_of(part)) == list(range(30))
    with pytest.raises(ConfigError, match=r"at least 3 training images.*found 2"):
        draw_from_training(numbered(2, None), SMALL)


@pytest.mark.end_to_end
def test_torch_is_not_needed(source: Path, tmp_path: Path) -> None:
    """An fp32 file can be converted where torch cannot be imported."""
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from pathlib import Path
from hashkit.exporters.agreement import Sample, Tolerance
from hashkit.exporters.precision import export_precision
pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.uint8)
for name in ("fp16", "int8"):
    export_precision(Path({str(source)!r}), f"{{name}}.onnx", name, calibration=pixels[:20],
                     sample=Sample(pixels[20:30], pixels[30:]), allow_loss=True)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"fp16.onnx", "int8.onnx"}
