"""The baseline methods: compared with plain loops, by their properties, and on the digits."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from oracles_baselines import itq_rotation, quantisation_loss, side_of_planes, spectral_bits

from hashkit.baselines import METHODS, ClassCodes, method_named
from hashkit.baselines.classifier import fit_classifier
from hashkit.baselines.itq import fit_itq, quantisation_rotation
from hashkit.baselines.lsh import fit_lsh
from hashkit.baselines.pca import largest_eigenvectors, principal_components
from hashkit.baselines.pcah import fit_pcah
from hashkit.baselines.random_codes import fit_random
from hashkit.baselines.spectral import fit_spectral
from hashkit.codes import check_codes, unpack
from hashkit.datasets.digits import open_digits
from hashkit.errors import ConfigError, MissingExtraError

UNSUPERVISED = ("itq", "pcah", "lsh", "sh", "random")
DRAWN = ("itq", "lsh", "random")


def gaussian(n_rows: int, n_dimensions: int, seed: int = 0) -> np.ndarray:
    """Features whose directions differ in variance, with a mean that is not 0."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((n_dimensions, n_dimensions)) / np.arange(1, n_dimensions + 1)
    rows = rng.standard_normal((n_rows, n_dimensions)) @ mixing.T + 3
    return rows.astype(np.float32)


def three_classes(n_rows: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Features of three well separated classes, labelled 2, 5 and 9."""
    labels = np.arange(n_rows) % 3
    centres = np.array([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0]])
    noise = np.random.default_rng(1).standard_normal((n_rows, 4)) / 4
    return (centres[labels] + noise).astype(np.float32), np.array([2, 5, 9])[labels]


@pytest.fixture(scope="module")
def digits():
    """Pixels of the digits from 0 to 1, float32 [1797, 64], and their labels."""
    images = open_digits()
    return (images.pixels[..., 0].reshape(len(images), -1) / 255).astype(np.float32), images.labels


def strings(codes: np.ndarray, n_bits: int) -> list[str]:
    return [oracles.bit_string(code, n_bits) for code in codes]


# All methods


@looped("name", METHODS)
def test_codes_follow_the_convention_and_do_not_depend_on_blocks(name):
    features, labels = three_classes()
    model = METHODS[name](features, labels, 3, 0)
    codes = model.encode(features)
    check_codes(codes, model.n_bits)
    assert len(codes) == len(features)
    assert len(np.unique(codes, axis=0)) > 1
    blocks = [model.encode(features[start : start + 7]) for start in range(0, 90, 7)]
    np.testing.assert_array_equal(np.concatenate(blocks), codes)
    assert model.encode(features[:0]).shape == (0, codes.shape[1])


@looped("name", METHODS)
def test_the_same_seed_gives_the_same_codes(name):
    features, labels = three_classes()
    again = [METHODS[name](features, labels, 3, 7).encode(features) for _ in range(2)]
    np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_gives_other_codes(name):
    features = gaussian(100, 20)
    first, second = (METHODS[name](features, None, 16, seed).encode(features) for seed in (0, 1))
    assert (first != second).mean() > 0.2


@looped("name", UNSUPERVISED)
def test_unsupervised_methods_ignore_labels(name):
    features, labels = three_classes()
    with_labels = METHODS[name](features, labels, 3, 0).encode(features)
    np.testing.assert_array_equal(METHODS[name](features, None, 3, 0).encode(features), with_labels)


@looped("name", ["itq", "pcah", "lsh", "sh"])
def test_codes_of_new_rows_depend_on_training_rows_only(name):
    features = gaussian(200, 12)
    model = METHODS[name](features[:150], None, 8, 0)
    shifted = np.concatenate([features[150:], features[150:] + 100])
    np.testing.assert_array_equal(model.encode(shifted)[:50], model.encode(features[150:]))


@looped("name", ["classifier", "itq", "pcah", "lsh", "sh"])
@looped(
    ("features", "message"),
    [
        (np.ones((1, 4), np.float32), "two images"),
        (np.ones(4, np.float32), "two images"),
        (np.ones((9, 4), np.int64), "floating point"),
        (np.full((9, 4), np.nan, np.float32), "finite"),
    ],
)
def test_invalid_features_are_refused(name, features, message):
    with pytest.raises(ConfigError, match=message):
        METHODS[name](features, np.zeros(len(features), int), 2, 0)


def test_error_for_an_unknown_method_lists_the_known_methods():
    assert method_named("itq") is fit_itq
    with pytest.raises(ConfigError, match="unknown baseline 'ksh'; known: classifier, itq, pcah"):
        method_named("ksh")


# Random codes


@given(st.integers(1, 70), st.integers(0, 3))
def test_random_codes_are_a_function_of_the_row(n_bits, seed):
    features = gaussian(8, 3)
    twice = np.concatenate([features, features[::-1]])
    codes = check_codes(fit_random(features, None, n_bits, seed).encode(twice), n_bits)
    np.testing.assert_array_equal(codes[:8], codes[8:][::-1])


def test_random_bits_are_even_and_independent():
    n_bits = 13
    bits = unpack(fit_random(None, None, n_bits, 0).encode(gaussian(4000, 2)), n_bits)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.04
    assert np.abs(np.corrcoef(bits.T) - np.eye(n_bits)).max() < 0.08


# Random hyperplanes


def test_lsh_bits_are_sides_of_planes_through_the_mean():
    features = gaussian(30, 5)
    model = fit_lsh(features, None, 11, 3)
    mean = [float(np.mean([float(x) for x in column])) for column in features.T]
    expected = [side_of_planes(row, mean, model.directions.T.tolist()) for row in features.tolist()]
    assert strings(model.encode(features), 11) == expected


@looped("seed", range(4))
def test_lsh_distances_estimate_angles(seed):
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((6, 3)).astype(np.float32)
    features = np.concatenate([half, -half])  # of mean 0
    bits = unpack(fit_lsh(features, None, 20_000, seed).encode(features), 20_000)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    angles = np.arccos(np.clip(unit @ unit.T, -1, 1))
    distances = (bits[:, None] != bits[None]).mean(axis=2)
    assert np.abs(distances - angles / np.pi).max() < 0.02  # 5 standard deviations


# Principal components


def test_principal_components_match_the_singular_value_decomposition():
    features = gaussian(300, 10)
    found = principal_components(features, 4)
    _, _, rows = np.linalg.svd(features - features.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(np.abs(found.directions.T @ rows[:4].T), np.eye(4), atol=1e-5)
    np.testing.assert_allclose(
        found.project(features), (features - found.mean) @ found.directions, atol=1e-12
    )
    peaks = np.abs(found.directions).argmax(axis=0)
    assert (found.directions[peaks, range(4)] > 0).all()


def test_subspace_iteration_finds_the_largest_eigenvectors(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("hashkit.baselines.pca._SMALL", 128)
    basis = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    spectrum = np.arange(1, 201) ** -1.5
    matrix = basis * spectrum @ basis.T
    monkeypatch.setattr(np.linalg, "eigh", _only_small(np.linalg.eigh))
    values, vectors = largest_eigenvectors(matrix, 20)
    np.testing.assert_allclose(values, spectrum[:20], rtol=1e-9)
    np.testing.assert_allclose(np.abs(vectors.T @ basis[:, :20]), np.eye(20), atol=1e-6)


def _only_small(eigh):
    def checked(matrix):
        assert len(matrix) < 100, "the whole matrix was decomposed"
        return eigh(matrix)

    return checked


def test_eigenvalues_too_close_for_the_iteration_are_found(monkeypatch):
    monkeypatch.setattr("hashkit.baselines.pca._SMALL", 64)
    spectrum = 1 + np.arange(80)[::-1] * 1e-6
    matrix = np.diag(spectrum)
    values, vectors = largest_eigenvectors(matrix, 3)
    np.testing.assert_allclose(values, spectrum[:3], rtol=1e-12)
    np.testing.assert_allclose(np.abs(vectors), np.eye(80)[:, :3], atol=1e-6)


@pytest.mark.parametrize("fit", [fit_pcah, fit_itq])
def test_more_bits_than_components_are_refused(fit):
    features = gaussian(50, 6)
    assert fit(features, None, 6, 0).n_bits == 6
    with pytest.raises(ConfigError, match=r"expected at least 7, found 6 in 50 .* 6 dimensions"):
        fit(features, None, 7, 0)
    grey = np.repeat(features, 3, axis=1)  # 18 dimensions that vary along 6 directions
    assert fit(grey, None, 6, 0).n_bits == 6
    with pytest.raises(ConfigError, match="expected at least 7, found 6"):
        fit(grey, None, 7, 0)
    with pytest.raises(ConfigError, match="expected at least 5, found 3"):
        fit(features[:4], None, 5, 0)


@looped("fit", [fit_pcah, fit_itq, fit_spectral])
@looped("value", [0, 0.1, -1e6])
def test_features_without_variance_are_refused(fit, value):
    with pytest.raises(ConfigError, match="the same for all"):
        fit(np.full((40, 5), value, np.float32), None, 2, 0)


def test_features_that_differ_only_by_rounding_have_no_variance():
    features = np.full((40, 5), 1000, np.float32)
    features[::2, 1] = np.nextafter(np.float32(1000), np.float32(0))
    with pytest.raises(ConfigError, match="the same for all"):
        fit_pcah(features, None, 1, 0)


def test_pcah_bits_are_signs_along_the_axes_of_largest_variance():
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((500, 3)) * [1, 9, 3] + 5).astype(np.float32)
    bits = unpack(fit_pcah(features, None, 2, 0).encode(features), 2)
    above = features > features.mean(axis=0)
    assert (bits[:, 0] == above[:, 1]).mean() > 0.98
    assert (bits[:, 1] == above[:, 2]).mean() > 0.98


# Iterative quantisation


@given(st.integers(0, 50), st.integers(1, 8))
def test_no_iteration_increases_the_quantisation_loss(seed, n_bits):
    projected = np.random.default_rng(seed).standard_normal((60, n_bits))
    rotations = [quantisation_rotation(projected, seed, n) for n in range(8)]
    losses = [quantisation_loss(projected, rotation) for rotation in rotations]
    assert all(later <= before + 1e-9 for before, later in itertools.pairwise(losses))
    for rotation in rotations:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(n_bits), atol=1e-9)


@pytest.mark.parametrize("n_iterations", [1, 2, 50])
def test_itq_matches_the_alternation_of_the_paper(n_iterations):
    projected = np.random.default_rng(5).standard_normal((200, 6)) * [3, 2, 1.5, 1, 1, 0.5]
    first = quantisation_rotation(projected, 0, 0)
    found = quantisation_rotation(projected, 0, n_iterations)
    np.testing.assert_allclose(found, itq_rotation(projected, first, n_iterations), atol=1e-8)


def test_itq_finds_corners_that_pca_does_not():
    """Points near the corners of a rotated square, with more points at two of them."""
    rng = np.random.default_rng(0)
    corners = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])
    places = rng.choice(4, 2000, p=[0.3, 0.3, 0.2, 0.2])
    points = corners[places] + rng.standard_normal((2000, 2)) * 0.1
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    features = (points @ turn).astype(np.float32)
    of_corner = {}
    for fit in (fit_itq, fit_pcah):
        codes = fit(features, None, 2, 0).encode(features)[:, 0]
        of_corner[fit] = [np.bincount(codes[places == corner] >> 6).max() for corner in range(4)]
    sizes = np.bincount(places)
    assert (of_corner[fit_itq] == sizes).all()
    assert sum(of_corner[fit_pcah]) < 0.9 * sum(sizes)


# Spectral hashing


@pytest.mark.parametrize("n_bits", [1, 5, 16])
def test_spectral_bits_match_the_eigenfunctions_of_the_paper(n_bits):
    features = gaussian(120, 4)
    model = fit_spectral(features, None, n_bits, 0)
    components = principal_components(features, n_bits)
    new = gaussian(60, 4, seed=9)
    expected = spectral_bits(components.project(new), components.project(features), n_bits)
    assert strings(model.encode(new), n_bits) == expected


def test_a_wide_axis_gets_several_bits_before_a_narrow_one():
    features = (np.random.default_rng(0).random((4000, 2)) * [10, 2.2]).astype(np.float32)
    model = fit_spectral(features, None, 6, 0)
    assert model.axes.tolist() == [0, 0, 0, 0, 1, 0]
    waves = model.frequencies * np.where(model.axes == 0, 10, 2.2) / np.pi
    np.testing.assert_allclose(waves, [1, 2, 3, 4, 1, 5], rtol=0.05)


# The classifier


def test_a_class_code_is_one_hot_and_names_the_class():
    features, labels = three_classes()
    model = fit_classifier(features, labels, 48, 0)
    assert isinstance(model, ClassCodes)
    assert model.n_bits == 3
    codes = model.encode(features)
    assert strings(codes, 3) == [{2: "100", 5: "010", 9: "001"}[label] for label in labels]
    np.testing.assert_array_equal(model.labels_of(codes), labels)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_class_codes_match_scikit_learns_predictions(digits, n_classes):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = digits
    rows = np.flatnonzero(labels < n_classes)
    train, test = np.array_split(rows, 2)
    model = fit_classifier(features[train], labels[train], 0, 0)
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    reference.fit(features[train], labels[train])
    found = model.labels_of(model.encode(features[test]))
    assert (found == reference.predict(features[test])).mean() > 0.995
    assert (found == labels[test]).mean() > 0.85


def test_images_without_a_label_are_left_out():
    features, labels = three_classes()
    noise = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32) * 9
    mixed = fit_classifier(
        np.concatenate([noise, features]), np.concatenate([np.full(40, -1), labels]), 3, 0
    )
    alone = fit_classifier(features, labels, 3, 0)
    np.testing.assert_array_equal(mixed.weights, alone.weights)


@looped(
    ("labels", "message"),
    [
        (None, "found no labels"),
        (np.ones((90, 3), np.uint8), r"one label for each .* found labels \[90, 3\]"),
        (np.zeros(7, int), r"one label for each of 90 .* \[7\]"),
        (np.full(90, 4), "two classes, found 1"),
        (np.full(90, -1), "two classes, found 0"),
    ],
)
def test_labels_without_two_classes_are_refused(labels, message):
    features, _ = three_classes()
    with pytest.raises(ConfigError, match=message):
        fit_classifier(features, labels, 3, 0)


def test_error_for_a_missing_library_has_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtraError, match=r"needs scikit-learn.*'\.\[train\]'"):
        fit_classifier(*three_classes(), 3, 0)


# On real images


@pytest.mark.end_to_end
def test_precision_of_the_methods_on_the_digits(digits):
    """Mean precision of the 50 nearest images: by chance, with hyperplanes, and with learning."""
    features, labels = digits
    queries, database = np.arange(0, 200), np.arange(200, len(labels))
    precision = {}
    for name in METHODS:
        model = METHODS[name](features[database], labels[database], 24, 0)
        query_bits = unpack(model.encode(features[queries]), model.n_bits).astype(int)
        database_bits = unpack(model.encode(features[database]), model.n_bits).astype(int)
        distances = (query_bits[:, None] != database_bits[None]).sum(axis=2)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :50]
        precision[name] = (labels[database][nearest] == labels[queries, None]).mean()
    assert 0.07 < precision["random"] < 0.13
    assert precision["random"] + 0.3 < precision["lsh"] < precision["itq"]
    assert precision["itq"] < precision["classifier"]
    assert precision["pcah"] > precision["random"] + 0.3
    assert precision["sh"] > precision["random"] + 0.3
