"""The baselines of a run: the same images, kept codes, and what is left out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import break_image, write_class_folders
from small_models import linear_model

import hashkit.workflow.baselines as baselines_module
from hashkit.bank.reader import Bank
from hashkit.baselines import METHODS
from hashkit.cli.console import TERMINAL
from hashkit.codes import unpack
from hashkit.datasets.digits import open_digits
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.spec import open_spec
from hashkit.errors import BankMismatchError, ConfigError, DatasetError, RunError
from hashkit.files.private import held
from hashkit.runs.data_spec import DataSpec, ProtocolOptions
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import RunConfig
from hashkit.runtimes.encoder import Encoder
from hashkit.workflow.baseline_cache import BaselineCodes, read_codes, write_codes
from hashkit.workflow.baseline_features import NetworkOutputs, PixelFeatures
from hashkit.workflow.baselines import baseline_reports
from hashkit.workflow.reporter import SILENT

pytestmark = pytest.mark.end_to_end

N_BITS = 12
SPEC = DataSpec(options=ProtocolOptions(training_per_class=40))
"""Training images are a part of the database, and must not be taken for all of it."""


def make_run(folder: Path, spec: DataSpec, model: Path | None = None) -> Run:
    """A run that no training made: its model is a linear map of the pixels."""
    run = Run.create(folder, "run", RunConfig(data=spec))
    model = model or linear_model(folder / "model.onnx", n_bits=N_BITS, height=8, width=8)
    shutil.copy(model, run.model_path)
    return run


def pair(_name, query, database):
    """Return the codes in place of measurements."""
    return query, database


def refuse(*arguments):
    raise AssertionError("nothing was left to compute")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on the digits with all its baselines; read only."""
    run = make_run(tmp_path_factory.mktemp("digits"), SPEC)
    return run, baseline_reports(run, pair)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that run, to be changed."""
    shutil.copytree(finished[0].path, tmp_path / "run")
    return Run.open(tmp_path / "run")


@pytest.fixture
def photos(tmp_path):
    """Three folders of six images each, and a run on them."""
    write_class_folders(tmp_path / "photos")
    options = {"queries_per_class": 1, "training_per_class": 3}
    spec = DataSpec(str(tmp_path / "photos"), options=ProtocolOptions(**options))
    return make_run(tmp_path / "runs", spec), tmp_path / "photos"


def test_a_name_says_method_and_features(finished):
    names = [name for name, _ in finished[1]]
    assert names[0].startswith("class of a linear classifier on the network's outputs (accuracy 0.")
    assert names[1:] == [
        "ITQ on 8x8 pixels",
        "PCA hashing on 8x8 pixels",
        "LSH on 8x8 pixels",
        "spectral hashing on 8x8 pixels",
        "random codes",
    ]


def test_every_baseline_has_a_name():
    assert set(baselines_module._NAMES) == set(METHODS)
    assert set(METHODS) >= baselines_module._ON_OUTPUTS


def test_all_are_measured_on_the_images_of_the_runs_banks(finished):
    run, reports = finished
    for part, bank in enumerate((Bank.open(run.queries_path), Bank.open(run.bank_path))):
        for _, codes in reports:
            assert list(codes[part].names) == list(bank.names)
            np.testing.assert_array_equal(codes[part].labels, bank.labels)
            assert codes[part].class_names == bank.class_names
    assert [codes[0].n_bits for _, codes in reports] == [10] + 5 * [N_BITS]


def test_methods_are_fitted_on_training_rows_and_encode_each_image_in_its_place(finished):
    _, reports = finished
    images, split = open_spec(SPEC)
    pixels = (images.pixels.reshape(len(images), -1) / 255).astype(np.float32)
    for number, name in enumerate(METHODS):
        if name == "classifier":
            continue
        model = METHODS[name](pixels[split.training], None, N_BITS, 0)
        for codes, rows in zip(reports[number][1], (split.queries, split.database), strict=True):
            expected = unpack(model.encode(pixels[rows]), N_BITS)
            found = unpack(codes.codes, N_BITS)
            assert (found != expected).mean() < 1e-4, name  # sums depend on the block's size


def test_the_classifier_is_fitted_on_the_models_outputs(finished):
    run, reports = finished
    images, split = open_spec(SPEC)
    encoder = Encoder.load(run.model_path, "cpu")
    logits = encoder.logits(images.pixels)
    model = METHODS["classifier"](logits[split.training], images.labels[split.training], N_BITS, 0)
    name, (queries, database) = reports[0]
    predicted = model.labels_of(model.encode(logits[split.queries]))
    found = model.labels_of(queries.codes)
    assert (found != predicted).mean() < 0.01
    accuracy = (found == images.labels[split.queries]).mean()
    assert accuracy > 0.5
    assert name.endswith(f"(accuracy {accuracy:.3f})")
    assert (model.labels_of(database.codes) == database.labels).mean() > 0.5


def test_codes_are_kept_for_the_next_call(run, finished, monkeypatch):
    monkeypatch.setattr(baselines_module, "_compute", refuse)
    monkeypatch.setattr(Encoder, "load", refuse)
    again = baseline_reports(run, pair)
    assert [name for name, _ in again] == [name for name, _ in finished[1]]
    for (_, before), (_, after) in zip(finished[1], again, strict=True):
        np.testing.assert_array_equal(before[0].codes, after[0].codes)
        np.testing.assert_array_equal(before[1].codes, after[1].codes)


def test_codes_of_other_inputs_are_computed_again(run, monkeypatch):
    computed = []
    compute = baselines_module._compute

    def watched(subject, source, names, *others):
        computed.extend(names)
        return compute(subject, source, names, *others)

    monkeypatch.setattr(baselines_module, "_compute", watched)
    shown = baseline_reports(run, lambda name, *_: name, methods=("lsh", "pcah"))
    assert all(name == title for title, name in shown)  # progress is shown under the title
    assert computed == []
    before = dict(baseline_reports(run, pair, methods=("lsh",)))
    after = dict(baseline_reports(run, pair, methods=("lsh",), seed=1))
    assert computed == ["lsh"]
    name = "LSH on 8x8 pixels"
    assert (before[name][0].codes != after[name][0].codes).any()


def test_another_model_means_other_outputs(run, tmp_path):
    other = linear_model(tmp_path / "other.onnx", n_bits=N_BITS, height=8, width=8, seed=1)
    outputs = np.load(run.path / "baselines" / "outputs.npy")
    shutil.copy(other, run.model_path)
    for path in (run.bank_path, run.queries_path):
        path.unlink()
    baseline_reports(run, pair, methods=("classifier",))
    images, _ = open_spec(SPEC)
    changed = np.load(run.path / "baselines" / "outputs.npy")
    assert (changed != outputs).any()
    np.testing.assert_allclose(changed, Encoder.load(other, "cpu").logits(images.pixels), atol=1e-4)


def test_damaged_files_are_computed_again(run, finished):
    folder = run.path / "baselines"
    for name in (f"itq-{N_BITS}.npz", "outputs.json"):
        (folder / name).write_bytes(b"this is none")
    (folder / f"classifier-{N_BITS}.npz").write_bytes(b"")
    again = dict(baseline_reports(run, pair, methods=("classifier", "itq")))
    for name, codes in finished[1][:2]:
        np.testing.assert_array_equal(again[name][1].codes, codes[1].codes)


# The network's outputs, kept while they are computed


class _Failing:
    """A model that is cut off after some images."""

    def __init__(self, encoder: Encoder, n_images: int) -> None:
        self.n_run = 0
        self.manifest, self.provider = encoder.manifest, encoder.provider
        self.prepare = encoder.prepare
        self._encoder, self._n_images = encoder, n_images

    def run(self, pixels):
        if self.n_run + len(pixels) > self._n_images:
            raise KeyboardInterrupt
        self.n_run += len(pixels)
        return self._encoder.run(pixels)


def test_an_interrupted_pass_continues_where_it_stopped(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("hashkit.workflow.baseline_features._ROWS_PER_BLOCK", 100)
    images, encoder = open_digits(), Encoder.load(finished[0].model_path, "cpu")
    rows = np.arange(3, 803)
    models = []

    def outputs(n_images, fingerprint="a"):
        models.append(_Failing(encoder, n_images))
        path = tmp_path / "outputs.npy"
        return NetworkOutputs(images, rows, N_BITS, fingerprint, path, lambda: models[-1])

    with pytest.raises(KeyboardInterrupt):
        outputs(500).prepare(SILENT)
    assert 400 <= models[-1].n_run <= 500
    second = outputs(10_000)
    second.prepare(SILENT)
    assert 300 <= models[-1].n_run <= 420  # what was not saved is done again
    found, values = next(second.blocks(rows[[5, 700]]))
    assert found.tolist() == [8, 703]
    np.testing.assert_allclose(values, encoder.logits(images.pixels[[8, 703]]), atol=1e-4)

    with pytest.raises(KeyboardInterrupt):  # another model must not take up where this one ended
        outputs(0, "b").prepare(SILENT)
    third = outputs(10_000)
    third.prepare(SILENT)
    assert models[-1].n_run == 800


def test_images_that_cannot_be_used_are_left_out_of_training(photos, capsys):
    run, folder = photos
    spec = run.read_config().data
    images, split = open_spec(spec)
    name = images.names[split.training[0]]
    break_image(folder / name)
    reports = dict(baseline_reports(run, pair, methods=("classifier", "lsh")))
    for _, database in reports.values():
        assert name not in list(database.names)
        assert len(database) == len(split.database) - 1
    table = np.load(run.path / "baselines" / "outputs.npy")
    assert np.isnan(table).all(axis=1).sum() == 1


def test_images_that_the_bank_has_must_still_be_there(photos):
    run, folder = photos
    baseline_reports(run, pair, methods=("lsh",))
    name = list(Bank.open(run.bank_path).names)[-1]
    break_image(folder / name)
    shutil.rmtree(run.path / "baselines")
    with pytest.raises(DatasetError, match=r"expected the 15 images of the bank, but 1 of them"):
        baseline_reports(run, pair, methods=("lsh",))


# Pixels


def test_pixels_are_rgb_from_0_to_1_at_the_models_size():
    images = open_digits()
    features = PixelFeatures(images, (8, 8), "crop-bilinear")
    rows = np.array([5, 2, 1700])
    ((found, values),) = features.blocks(rows)
    assert found.tolist() == rows.tolist()
    assert values.dtype == np.float32
    assert values.shape == (3, features.n_dimensions)
    np.testing.assert_allclose(values, images.pixels[rows].reshape(3, -1) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (32, 32)), ((224, 224), (32, 32)), ((48, 96), (16, 32)), ((500, 1), (32, 1))],
)
def test_large_inputs_are_scaled_down_in_proportion(size, expected):
    noise = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    images = ImageSet("noise", ["a", "b"], pixels=noise)
    features = PixelFeatures(images, size, "stretch-bilinear")
    assert features.name == f"{expected[1]}x{expected[0]} pixels"
    ((_, values),) = features.blocks(np.arange(2))
    assert values.shape == (2, expected[0] * expected[1] * 3)
    np.testing.assert_allclose(values.mean(), noise.mean() / 255, atol=0.03)


# What is left out, and what is refused


def test_more_bits_than_the_pixels_vary_along(tmp_path, capsys):
    model = linear_model(tmp_path / "m.onnx", n_bits=100, height=8, width=8)
    run = make_run(tmp_path, DataSpec(), model)
    reports = baseline_reports(run, pair, methods=("itq", "pcah", "lsh", "sh"), reporter=TERMINAL)
    assert [name.split()[0] for name, _ in reports] == ["LSH", "spectral"]
    told = capsys.readouterr().err
    assert "the baseline itq is left out: each bit needs a principal component" in told
    assert "the baseline pcah is left out: " in told


def test_images_without_labels_have_no_classifier(tmp_path, capsys):
    names = write_class_folders(tmp_path / "classes")
    (tmp_path / "photos").mkdir()
    for name in names:
        shutil.copy(tmp_path / "classes" / name, tmp_path / "photos" / name.replace("/", "-"))
    assert open_image_folder(tmp_path / "photos").labels is None
    options = {"n_queries": 4, "n_training": 9}
    options = ProtocolOptions(**options)
    spec = DataSpec(str(tmp_path / "photos"), protocol="random", options=options)
    run = make_run(tmp_path / "runs", spec)
    reports = baseline_reports(run, pair, methods=("classifier", "random"), reporter=TERMINAL)
    assert [name for name, _ in reports] == ["random codes"]
    assert "the baseline classifier is left out: " in capsys.readouterr().err


def test_other_features_take_the_place_of_pixels(run):
    class Brightness(PixelFeatures):
        name = "brightness"
        fingerprint = "mean"
        n_dimensions = 1

        def blocks(self, rows):
            for block_rows, values in super().blocks(rows):
                yield block_rows, values.mean(axis=1, keepdims=True)

    images, _ = open_spec(SPEC)
    features = Brightness(images, (8, 8), "crop-bilinear")
    ((name, (queries, _)),) = baseline_reports(run, pair, methods=("lsh",), features=features)
    assert name == "LSH on brightness"
    assert len(np.unique(queries.codes, axis=0)) == 2  # one number is above or below its threshold


def test_an_unknown_method_is_refused_before_anything_is_computed(tmp_path):
    run = make_run(tmp_path, DataSpec())
    with pytest.raises(ConfigError, match="unknown baseline 'ksh'"):
        baseline_reports(run, pair, methods=("lsh", "ksh"))
    assert not run.bank_path.exists()


def test_a_run_of_triplets_has_no_baselines(tmp_path):
    run = Run.create(tmp_path, "run", RunConfig(triplets="t.txt"))
    with pytest.raises(RunError, match="triplet list"):
        baseline_reports(run, pair)


def test_a_bank_of_other_images_is_refused(photos):
    run, folder = photos
    baseline_reports(run, pair, methods=("random",))
    gone = next(iter(Bank.open(run.queries_path).names))
    config = run.read_config()
    write_class_folders(folder.parent / "other", suffix=".png")
    other = dataclasses.replace(config.data, data=str(folder.parent / "other"))
    write_json(run.config_path, dataclasses.replace(config, data=other).to_dict())
    with pytest.raises(BankMismatchError, match=f"not in the run's image set, {gone}: hashkit enc"):
        baseline_reports(run, pair, methods=("random",))


# The files


@pytest.mark.parametrize("accuracy", [None, 0.25])
def test_kept_codes_come_back_for_the_same_fingerprint_alone(tmp_path, accuracy):
    path = tmp_path / "lsh-12.npz"
    assert read_codes(path, "a") is None
    codes = BaselineCodes(
        4, np.array([[16], [240]], np.uint8), np.zeros((0, 1), np.uint8), accuracy
    )
    write_codes(path, codes, "a")
    found = read_codes(path, "a")
    np.testing.assert_array_equal(found.query_codes, codes.query_codes)
    assert found.database_codes.shape == (0, 1)
    assert (found.n_bits, found.accuracy) == (4, accuracy)
    assert read_codes(path, "b") is None
    assert [child.name for child in tmp_path.iterdir()] == ["lsh-12.npz"]
    data = path.read_bytes()
    for broken in (data[:100], data[: len(data) // 2], b"", data.replace(b"\x10\xf0", b"\x11\xf1")):
        path.write_bytes(broken)
        assert read_codes(path, "a") is None


def test_two_processes_do_not_compute_baselines_of_one_run(finished):
    run = finished[0]
    (run.path / "baselines").mkdir(exist_ok=True)
    with (
        held(run.path / "baselines"),
        pytest.raises(RunError, match="another process is computing baselines of this run; wait"),
    ):
        baseline_reports(run, pair, methods=("lsh",))
