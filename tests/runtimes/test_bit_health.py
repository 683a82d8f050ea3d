"""Bits that do not tell images apart are counted, named and reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from linear_models import linear_model
from looped import looped
from numpy.typing import NDArray
from onnx import numpy_helper

from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ModelError
from hashkit.runtimes.bit_health import BitHealth, measure_bits
from hashkit.runtimes.bit_watch import BitWatch
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import EncodeProgress, EncodeReport, encode_to_bank

RNG = np.random.default_rng(0)
PICTURES = np.random.default_rng(9).integers(0, 256, (40, 2, 2, 3), np.uint8)
IMAGES = RNG.integers(0, 256, (64, 4, 5, 3), np.uint8)
LOGITS = RNG.standard_normal((64, 12)).astype(np.float32)


def changed(column: int, values: object) -> NDArray[np.float32]:
    logits = LOGITS.copy()
    logits[:, column] = values
    return logits


def of(logits: NDArray[np.float32], images: NDArray[np.uint8] = IMAGES) -> BitHealth:
    return measure_bits(images, logits)


def test_bits_that_differ_have_no_fault() -> None:
    health = of(LOGITS)
    assert health.faults() == ()
    assert (health.n_images, health.n_bits, health.n_codes) == (64, 12, 64)
    assert health.constant_bits == ()
    assert health.n_repeated_bits == health.n_not_finite == 0
    assert health.smallest_deviation == pytest.approx(LOGITS.std(0).min())
    assert health.largest_mean == pytest.approx(np.abs(LOGITS.mean(0)).max())


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return 1 / (1 + np.exp(-values))


@looped(
    "logits",
    [
        sigmoid(LOGITS),
        np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True),
        np.zeros_like(LOGITS),
        np.tanh(LOGITS) + 2,
        -np.abs(LOGITS),
    ],
    ids=["sigmoid", "softmax", "zeros", "tanh with a bias", "negative"],
)
def test_one_code_for_all_images_is_reported(logits: NDArray[np.float32]) -> None:
    health = of(logits)
    assert health.n_codes == 1
    (fault,) = health.faults()
    assert fault.startswith("all 64 images have the same code")


@looped("values", [0, -3, 5, sigmoid(LOGITS[:, 3]), np.maximum(LOGITS[:, 3], 1)])
def test_a_constant_bit_is_named(values: object) -> None:
    health = of(changed(3, values))
    assert health.constant_bits == (3,)
    (fault,) = health.faults()
    assert fault.startswith("1 of 12 bits are constant on all 64 images (bit 3)")


def test_only_some_constant_bits_are_listed() -> None:
    (fault,) = of(np.concatenate([LOGITS, np.ones((64, 20), np.float32)], axis=1)).faults()
    assert "20 of 32 bits" in fault
    assert "(bits 12, 13, 14, 15, 16, 17, 18, 19 and 12 more)" in fault


def test_bits_that_are_equal_or_opposite_are_counted() -> None:
    other = np.sign(LOGITS[:, 0]) * np.abs(LOGITS[:, 3])
    assert of(changed(3, other)).n_repeated_bits == 1
    assert of(changed(3, -other)).n_repeated_bits == 1
    assert of(changed(3, other)).faults() == ()  # good codes of few classes may have some
    sizes = np.abs(np.random.default_rng(3).standard_normal((64, 12)).astype(np.float32))
    health = of(np.sign(np.repeat(LOGITS[:, :2], 6, axis=1)) * sizes)
    assert health.n_repeated_bits == 10
    (fault,) = health.faults()
    assert fault.startswith("10 of 12 bits repeat another bit")


@pytest.mark.parametrize("factor", [1, -1, 2.5])
def test_bits_with_the_same_logits_are_named(factor: float) -> None:
    logits = changed(7, np.float32(factor) * LOGITS[:, 3])
    logits[:, 9] = logits[:, 3] * np.float32(1 + 1e-6)
    health = of(logits)
    assert health.equal_bits == (7, 9)
    (fault,) = health.faults()
    assert fault.startswith("2 of 12 bits have the logits of an earlier bit, or their opposite")
    assert "all 64 images (bits 7, 9)" in fault
    saturated = np.tanh(20 * np.sign(logits)) * (1 + 1e-5 * np.abs(LOGITS))
    assert of(saturated.astype(np.float32)).equal_bits == ()


def test_one_code_for_nearly_all_images_is_reported() -> None:
    logits = np.tile(LOGITS[:1], (64, 1)) * np.abs(LOGITS)
    logits[::25] = LOGITS[:3] + 4 * np.eye(3, 12, dtype=np.float32)
    logits[::25] *= np.where(np.arange(12) % 2, 1, -1)
    health = of(logits)
    assert 60 <= health.largest_group < 64
    assert f"{health.largest_group} of 64 images have the same code, so they" in "; ".join(
        health.faults()
    )
    assert of(LOGITS).largest_group == 1


def test_a_bit_that_is_nearly_constant_is_named() -> None:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (600, 2, 2, 3), np.uint8)
    logits = rng.standard_normal((600, 12)).astype(np.float32)
    logits[:, 5] = np.abs(logits[:, 5])
    logits[[3, 70, 500], 5] *= -1
    assert of(logits, images).rare_bits == (5,)
    (fault,) = of(logits, images).faults()
    assert fault.startswith("1 of 12 bits are nearly constant, the same in 99% or more of 600")
    assert of(logits[:400], images[:400]).faults() == ()  # too few to tell


def test_the_reason_of_one_code_follows_from_the_logits() -> None:
    (fault,) = of(sigmoid(LOGITS)).faults()
    low, high = sigmoid(LOGITS).min(), sigmoid(LOGITS).max()
    assert f"(logits of {low:.3g} to {high:.3g})" in fault
    assert "before any sigmoid" in fault
    (fault,) = of(3 + np.arange(12, dtype=np.float32) + LOGITS * np.float32(1e-5)).faults()
    assert "no logit deviates by more than 1e-05 between images; check the weights" in fault


def test_equal_images_count_once_and_few_images_prove_nothing() -> None:
    same = np.repeat(IMAGES[:1], 64, axis=0)
    assert of(np.repeat(LOGITS[:1], 64, axis=0), same).n_images == 1
    assert of(np.repeat(LOGITS[:1], 64, axis=0), same).faults() == ()
    assert of(np.zeros((15, 12), np.float32), IMAGES[:15]).faults() == ()
    assert len(of(np.zeros((16, 12), np.float32), IMAGES[:16]).faults()) == 1
    assert of(changed(3, 1)[:31], IMAGES[:31]).faults() == ()
    assert len(of(changed(3, 1)[:32], IMAGES[:32]).faults()) == 1


def test_images_without_finite_logits_are_counted_and_left_out() -> None:
    logits = LOGITS.copy()
    logits[5, 0], logits[6, 3] = np.nan, np.inf
    health = of(logits)
    assert health.n_not_finite == 2
    assert health.faults() == (
        "2 of 64 images have logits that are NaN or infinite, so their bits mean nothing",
    )
    assert of(np.full_like(LOGITS, np.nan)).n_not_finite == 64
    json.dumps(of(np.full_like(LOGITS, np.nan)).to_dict(), allow_nan=False)


@pytest.mark.parametrize(("factor", "shift"), [(0.2, 0), (1, 0.8), (5, 0)])
def test_logits_that_are_not_standardised_are_reported(factor: float, shift: float) -> None:
    assert of(LOGITS).scale_faults() == ()
    (fault,) = of(LOGITS * np.float32(factor) + np.float32(shift)).scale_faults()
    assert fault.startswith("expected standardised logits with mean 0 and deviation 1, found")
    assert of(LOGITS[:20] * 5, IMAGES[:20]).scale_faults() == ()


# Encoding


def with_weights(path: Path, weights: NDArray[np.float32]) -> Path:
    model = onnx.load(linear_model(path))
    tensor = next(one for one in model.graph.initializer if one.name == "weights")
    tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), "weights"))
    onnx.save(model, path)
    return path


def weights_of(n_pixels: int = 60) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((n_pixels, 12)).astype(np.float32)


def encode(model: Path, n_images: int = 64) -> tuple[EncodeReport, list[str]]:
    pixels = np.random.default_rng(2).integers(0, 256, (n_images, 4, 5, 3), np.uint8)
    names = [str(number) for number in range(n_images)]
    images = ImageSet(name="noise", names=names, pixels=pixels)
    said: list[str] = []
    report = encode_to_bank(
        Encoder.load(model, "cpu"),
        images,
        model.with_name("bank.h5"),
        source=BankSource("noise", None, "", "all", None, n_images, hash_names(names, None)),
        warn=said.append,
    )
    return report, said


def test_a_good_model_encodes_without_a_warning(tmp_path: Path) -> None:
    report, said = encode(with_weights(tmp_path / "m.onnx", weights_of()))
    assert said == [] == list(report.warnings)


def test_encoding_warns_of_one_code_for_all(tmp_path: Path) -> None:
    report, said = encode(with_weights(tmp_path / "m.onnx", np.zeros((60, 12))))
    assert said == list(report.warnings)
    assert [one.partition(",")[0] for one in said] == ["all 64 images have the same code"]
    assert report.to_dict()["warnings"] == tuple(said)


def test_encoding_names_a_dead_bit(tmp_path: Path) -> None:
    weights = weights_of()
    weights[:, 7] = 0
    _, said = encode(with_weights(tmp_path / "m.onnx", weights))
    assert len(said) == 1
    assert "(bit 7)" in said[0]


@looped("value", [np.nan, np.inf])
@looped("bits", [slice(None), slice(4, 5)])
def test_a_model_with_damaged_weights_is_refused(value: float, bits: slice, tmp_path: Path) -> None:
    weights = weights_of()
    weights[:, bits] = value
    with pytest.raises(ModelError, match=r"expected finite logits, found (1|12) of 12 bits"):
        Encoder.load(with_weights(tmp_path / "m.onnx", weights), "cpu")


def test_a_query_with_a_logit_that_is_not_finite_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder.load(linear_model(tmp_path / "m.onnx"), "cpu")
    broken = np.zeros((1, 12), np.float32)
    broken[0, 3] = np.nan
    monkeypatch.setattr(encoder, "run", lambda _: (np.zeros((1, 2), np.uint8), broken))
    with pytest.raises(ModelError, match="NaN or infinite ones for 1 of 1 images"):
        encoder.encode(IMAGES[0])
    assert np.isnan(encoder.logits(IMAGES[0])[0, 3])


def test_one_code_for_the_first_thousand_images_is_reported_before_the_end() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1500, 2, 2, 3), np.uint8)
    said: list[str] = []
    watch = BitWatch(1500, 12, said.append)
    for start in range(0, 1500, 50):
        rows = np.arange(start, start + 50)
        watch.add(rows, pixels[rows], np.ones((50, 12), np.float32))
        assert bool(said) == (start >= 950)
    watch.finish()
    assert len(said) == 1
    assert said[0].startswith("all 1,000 images have the same code")


def test_a_dead_bit_is_reported_after_the_first_thousand_images_of_a_long_job(
    tmp_path: Path,
) -> None:
    weights = weights_of()
    weights[:, 7] = 0
    weights[:, 4] = -weights[:, 2]
    model = with_weights(tmp_path / "m.onnx", weights)
    said: list[tuple[int, str]] = []
    done = [0]

    def progress(state: EncodeProgress) -> None:
        done[0] = state.n_done

    pixels = np.random.default_rng(2).integers(0, 256, (2500, 4, 5, 3), np.uint8)
    names = [str(number) for number in range(2500)]
    report = encode_to_bank(
        Encoder.load(model, "cpu"),
        ImageSet(name="noise", names=names, pixels=pixels),
        tmp_path / "bank.h5",
        source=BankSource("noise", None, "", "all", None, 2500, hash_names(names, None)),
        warn=lambda text: said.append((done[0], text)),
        progress=progress,
    )
    assert [text for _, text in said] == list(report.warnings)
    assert all(800 < n_done < 1100 for n_done, _ in said)
    constant, equal = report.warnings
    assert constant.startswith("1 of 12 bits are constant on all 1,000 images (bit 7)")
    assert equal.startswith("1 of 12 bits have the logits of an earlier bit")
    assert "(bit 4)" in equal


def test_a_set_sorted_by_class_is_judged_with_images_of_the_whole() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (3000, 2, 2, 3), np.uint8)
    logits = np.random.default_rng(5).standard_normal((3000, 12)).astype(np.float32)
    logits[:1500, 3] = np.abs(logits[:1500, 3])
    logits[1500:, 3] = -np.abs(logits[1500:, 3])
    said: list[str] = []
    watch = BitWatch(3000, 12, said.append)
    watch.add_sample(pixels[::50], logits[::50])
    for start in range(0, 3000, 100):
        rows = np.arange(start, start + 100)
        watch.add(rows, pixels[rows], logits[rows])
    watch.finish()
    assert said == []


def test_bits_are_judged_over_the_whole_set() -> None:
    """A set sorted by class begins with images whose codes are nearly the same."""
    n_images = 3000
    pixels = np.random.default_rng(4).integers(0, 256, (n_images, 2, 2, 3), np.uint8)
    codes = np.random.default_rng(5).choice([-1, 1], (3, 12))
    logits = np.repeat(codes, 1000, axis=0).astype(np.float32)
    logits[::7] *= np.random.default_rng(6).choice([-1, 1], logits[::7].shape)
    said: list[str] = []
    watch = BitWatch(n_images, 12, said.append)
    for start in range(0, n_images, 100):
        rows = np.arange(start, start + 100)
        watch.add(rows, pixels[rows], logits[rows])
    watch.finish()
    assert said == []


def test_every_image_without_finite_logits_is_counted() -> None:
    said: list[str] = []
    watch = BitWatch(64, 12, said.append)
    logits = LOGITS.copy()
    logits[3:10, 2] = np.nan
    watch.add(np.arange(64), IMAGES, logits)
    watch.finish()
    assert said == [
        "7 of 64 images have logits that are NaN or infinite, so their bits mean nothing"
    ]
    nothing = BitWatch(0, 12, said.append)
    nothing.finish()
    assert len(said) == 1


@pytest.mark.parametrize("kind", ["array", "list", "generator"])
def test_the_encoder_warns_in_python_too(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a sigmoid: every logit is above 0."""
    encoder = Encoder.load(linear_model(tmp_path / "m.onnx", height=2, width=2), "cpu")
    run = encoder.run
    encoder.run = lambda pixels: (  # type: ignore[method-assign]
        np.full((len(pixels), 2), 255, np.uint8),
        np.abs(run(pixels)[1]) + 1,
    )
    given = {"array": PICTURES, "list": list(PICTURES), "generator": (one for one in PICTURES)}
    encoder.encode(PICTURES[:15])
    encoder.encode(PICTURES[0])
    assert not caplog.records
    encoder.encode(given[kind])
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.name == "hashkit.runtimes.encoder"
    assert record.message.startswith("all 40 images have the same code")
    caplog.clear()
    encoder.encode(given[kind])
    assert not caplog.records


def test_the_encoder_does_not_warn_of_good_codes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Encoder.load(linear_model(tmp_path / "m.onnx", height=2, width=2), "cpu")
    encoder.encode(PICTURES)
    assert not caplog.records


def test_the_start_of_a_stream_of_unknown_length_says_nothing_about_single_bits() -> None:
    """It may be sorted by class."""
    pixels = np.random.default_rng(7).integers(0, 256, (1100, 2, 2, 3), np.uint8)
    logits = np.random.default_rng(8).choice([-1.0, 1.0], (1100, 12)).astype(np.float32)
    logits[:1050, 3] = 1
    said: list[str] = []
    for n_images, n_given in ((None, 1100), (None, 900), (1100, 1100)):
        watch = BitWatch(n_images, 12, said.append)
        watch.add(np.arange(n_given), pixels[:n_given], logits[:n_given])
        watch.finish()
    assert len(said) == 2  # for the last two; the sample of the last one is its first thousand
    assert all(text.startswith("1 of 12 bits are constant") for text in said)
