from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_embedder import N_FEATURES, SIZE, tiny_embedder, tiny_features

import hashkit
from hashkit.errors import ConfigError, DatasetError, DeviceError, RunError
from hashkit.features.embedder import write_embedder
from hashkit.features.head_checkpoint import read_head
from hashkit.runs.known_names import FITTED
from hashkit.runs.run import Run
from hashkit.workflow import feature_settings
from hashkit.workflow.file_facts import model_facts
from hashkit.workflow.verify import verify_paths

pytestmark = pytest.mark.end_to_end

QUICK: dict[str, Any] = {"bits": 8, "network": "onnx:tiny", "device": "cpu"}
LEARNED: dict[str, Any] = QUICK | {"recipe": "features", "hidden": 16, "steps": 4, "batch_size": 20}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(feature_settings, "open_embedder", lambda *_: tiny_embedder())
    rng = np.random.default_rng(0)
    for row in range(90):
        name = f"{'abc'[row % 3]}/{row:02}.png"
        level = 60 + 60 * (row % 3)
        pixels = rng.integers(level - 50, level + 50, (SIZE, SIZE, 3), dtype=np.uint8)
        for folder, path in (("classes", name), ("photos", f"{row:02}.png")):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(Path(folder) / path)
    return tmp_path


def photographs() -> np.ndarray[Any, Any]:
    return np.stack([np.array(Image.open(path)) for path in sorted(Path("photos").iterdir())])


@pytest.mark.parametrize("loss", FITTED)
def test_a_folder_without_labels_becomes_a_model(loss: str) -> None:
    run = hashkit.train("photos", name="a", loss=loss, n_queries=10, **QUICK)
    assert run.is_trained
    model = hashkit.export(run)
    codes = hashkit.Encoder.load(model, device="cpu").encode(sorted(Path("photos").iterdir()))
    trained = read_head(run.checkpoint_path())
    np.testing.assert_array_equal(
        codes, hashkit.codes.binarize(trained.head(tiny_features(photographs())))
    )
    assert trained.manifest.loss == loss
    assert trained.manifest.weights_sha256
    bank = hashkit.encode("photos", model, "a.h5")
    assert len(bank) == 90


def test_the_recipe_is_chosen_and_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    settings = {name: value for name, value in QUICK.items() if name != "network"}
    run = hashkit.train("photos", name="a", **settings)
    assert run.read_config().training.recipe == "unlabelled"
    assert run.read_config().training.resize == "stretch-bilinear-reduced"
    assert "recipe unlabelled: photos has no folder for each class" in caplog.text
    assert "of 90, without labels" in caplog.text
    assert not {"query", "queries", "database"} & set(caplog.text.split())
    labelled = hashkit.train("classes", name="b", steps=2, batch_size=20, **QUICK)
    assert labelled.read_config().training.recipe == "features"
    assert labelled.read_config().training.resize == "stretch-bilinear"  # the embedder's own
    with pytest.raises(ConfigError, match="has no labels to learn from"):
        hashkit.train("photos", name="c", recipe="best", size=8)


def test_several_lengths_share_their_features() -> None:
    run = hashkit.train("photos", name="a", **QUICK | {"bits": (4, 8), "loss": "itq"})
    parts = run.per_length()
    assert list(parts) == [4, 8]
    for n_bits, part in parts.items():
        alone = hashkit.train(
            "photos", name=f"alone{n_bits}", **QUICK | {"bits": n_bits, "loss": "itq"}
        )
        ours, theirs = (read_head(one.checkpoint_path()) for one in (part, alone))
        assert ours.manifest.weights_sha256 == theirs.manifest.weights_sha256
        assert hashkit.Encoder.load(hashkit.export(part), device="cpu").n_bits == n_bits
        assert (alone.path / "features.npy").samefile(run.path / "features.npy")


def test_a_stopped_run_is_continued() -> None:
    run = hashkit.train("photos", name="a", loss="itq", should_stop=lambda: True, **QUICK)
    assert not run.is_trained
    assert (run.path / "features.json").is_file()
    again = hashkit.resume(run)
    assert again.is_trained
    expected = hashkit.train("photos", name="b", loss="itq", **QUICK)
    weights = [read_head(one.checkpoint_path()).manifest.weights_sha256 for one in (run, expected)]
    assert weights[0] == weights[1]


def test_a_head_learns_from_labels_and_is_continued_to_the_same_weights() -> None:
    whole = hashkit.train("classes", name="a", queries_per_class=5, **LEARNED)
    n_steps: list[int] = []
    stopped = hashkit.train(
        "classes",
        name="b",
        queries_per_class=5,
        should_stop=lambda: len(n_steps) >= 2 or bool(n_steps.append(0)),
        **LEARNED,
    )
    assert not stopped.is_trained
    hashkit.resume(stopped)
    weights = [read_head(one.checkpoint_path()).manifest.weights_sha256 for one in (whole, stopped)]
    assert weights[0] == weights[1]
    model = hashkit.export(whole)
    encoder = hashkit.Encoder.load(model, device="cpu")
    bank = hashkit.encode("classes", model, "a.h5")
    report = hashkit.evaluate(bank, bank)
    assert report.map > 0.6
    assert encoder.manifest.class_names == ("a", "b", "c")


def test_losses_without_labels_and_of_pairs_learn_too() -> None:
    for loss in ("bihalf", "dpsh", "csq"):
        run = hashkit.train("classes", name=loss, **LEARNED | {"loss": loss})
        assert Path(hashkit.export(run)).is_file()


def test_views_are_computed_once_and_a_run_is_continued_to_the_same_weights() -> None:
    settings = LEARNED | {"loss": "cibhash"}
    whole = hashkit.train("photos", name="a", **settings)
    assert np.load(whole.path / "features.npy").shape == (81, 4 * N_FEATURES)
    n_steps: list[int] = []
    stopped = hashkit.train(
        "photos",
        name="b",
        should_stop=lambda: len(n_steps) >= 2 or bool(n_steps.append(0)),
        **settings,
    )
    assert not stopped.is_trained
    assert (stopped.path / "features.npy").samefile(whole.path / "features.npy")
    hashkit.resume(stopped)
    same_views = hashkit.train("photos", name="c", **settings | {"views": 1})
    weights = [
        read_head(one.checkpoint_path()).manifest.weights_sha256
        for one in (whole, stopped, same_views)
    ]
    assert weights[0] == weights[1] != weights[2]
    assert Path(hashkit.export(whole)).is_file()


def test_the_embedder_is_kept_in_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = hashkit.train("photos", name="a", loss="itq", **QUICK)

    def refused(*_: object) -> None:
        raise AssertionError("the file that config.json names was opened")

    monkeypatch.setattr(feature_settings, "open_embedder", refused)
    hashkit.export(run)
    run.summary_path.unlink()
    hashkit.resume(run)
    shutil.move("runs/a", "runs/moved")
    moved = Run.open("runs/moved")
    hashkit.export(moved)
    moved.embedder_path.unlink()
    with pytest.raises(RunError, match=r"expected its embedder, .*, found no such file"):
        hashkit.export(moved)


def test_settings_of_images_are_refused() -> None:
    for settings, message in (
        ({"augmentation": "crop"}, "`augmentation` cannot be combined with frozen features"),
        ({"freeze": 1}, "`freeze` cannot be combined with frozen features"),
        (
            {"network": "compact"},
            r"itq is fitted .*, found the network compact: name an embedder.*torch.onnx.export",
        ),
        ({"loss": "orthohash"}, "has no labels to learn from"),
        ({"views": 3}, r"`views` needs a loss that learns from views \(cibhash\) and an embed"),
        ({"loss": "cibhash", "views": 65}, "`views` must be between 0 and 64, not 65"),
    ):
        with pytest.raises(ConfigError, match=message):
            hashkit.train("photos", **QUICK | {"recipe": "unlabelled"} | settings)
    with pytest.raises(ConfigError, match="`hidden` needs frozen features"):
        hashkit.train("classes", recipe="best", hidden=3, size=8)
    assert not list(Path("runs").glob("*/config.json"))


def test_a_few_images_get_a_method_that_can_be_fitted_to_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    run = hashkit.train("photos", recipe="unlabelled", n_queries=70, **QUICK | {"bits": 12})
    assert json.loads(run.config_path.read_text())["training"]["loss"] == "lsh"
    assert "method lsh: 20 training images are too few to fit itq to 12 bits" in caplog.text


def test_settings_of_training_are_refused_where_a_method_is_fitted() -> None:
    fitted = QUICK | {"loss": "itq"}
    for name, value in (("hidden", 4), ("dropout", 0.2), ("epochs", 3), ("precision", "bf16"),
                        ("holdout", 0.1), ("batch_size", 8)):  # fmt: skip
        with pytest.raises(
            ConfigError, match=f"`{name}` cannot be combined with itq, which is fitted"
        ):
            hashkit.train("photos", **fitted | {name: value})
    for name, value in (("mirror", True), ("calibrate", True), ("pretrained", False),
                        ("stage_decay", 0.5)):  # fmt: skip
        for settings in (fitted, LEARNED):
            with pytest.raises(
                ConfigError, match=f"`{name}` cannot be combined with frozen features"
            ):
                hashkit.train("classes", **settings | {name: value})
    assert not Path("runs").exists()
    # What it would be anyway is not refused.
    assert hashkit.train("photos", **fitted | {"hidden": 0, "display_steps": 5}).is_trained


def test_a_device_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_settings, "why_no_cuda", lambda: "there is no NVIDIA driver")
    first = hashkit.train("photos", name="a", loss="lsh", **QUICK)
    with pytest.raises(DeviceError, match="CUDA was asked for, but there is no NVIDIA driver"):
        hashkit.train("photos", name="b", loss="itq", **QUICK | {"device": "cuda"})
    with pytest.raises(ConfigError, match="unknown device 'tpu'; known: auto, cpu, cuda"):
        hashkit.train("photos", name="b", loss="itq", **QUICK | {"device": "tpu"})
    assert [path.name for path in Path("runs").glob("*/")] == ["a"]
    first.summary_path.unlink()
    with pytest.raises(DeviceError, match="CUDA was asked for"):
        hashkit.resume(first, device="cuda")


def test_one_training_image_is_too_few(caplog: pytest.LogCaptureFixture) -> None:
    message = "expected at least 2 training images to fit itq, found 1: add images, or use"
    with pytest.raises(ConfigError, match=message):
        hashkit.train("photos", name="a", loss="itq", n_queries=89, **QUICK)
    assert not Path("runs", "a").exists()


def test_a_trained_run_is_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run = hashkit.train("photos", name="a", loss="itq", **QUICK)
    content = run.best_path.read_bytes()
    next(Path("photos").iterdir()).unlink()
    hashkit.resume(run, network="onnx:elsewhere/tiny")
    assert run.best_path.read_bytes() == content
    with pytest.raises(ConfigError, match=r"has the network onnx:.*tiny, not onnx:other"):
        hashkit.resume(run, network="onnx:other")


def test_a_training_that_was_killed_before_its_settings_were_there_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hashkit.runs.run.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            hashkit.train("photos", name="a", loss="itq", **QUICK)
    left = [path.name for path in Path("runs/a").iterdir()]
    assert sorted(left) == ["checkpoints", "embedder.onnx"]
    assert hashkit.train("photos", name="a", loss="itq", **QUICK).is_trained

    # A folder of the user with an embedder is none of hashkit's.
    Path("runs/b").mkdir()
    Path("runs/b/embedder.onnx").write_bytes(b"theirs")
    with pytest.raises(RunError, match="exists already"):
        hashkit.train("photos", name="b", loss="itq", **QUICK)


def test_an_embedder_of_another_run_is_refused() -> None:
    run = hashkit.train("photos", name="a", loss="itq", **QUICK)
    write_embedder(run.embedder_path, dataclasses.replace(tiny_embedder(), height=4096, width=4096))
    with pytest.raises(
        RunError, match="an embedder for the run's 8 x 8 pixels, stretch-bilinear, "
    ):
        hashkit.export(run)


def test_triplets_do_not_go_with_frozen_features() -> None:
    Path("triplets.txt").write_text("photos/00.png photos/03.png photos/01.png\n")
    with pytest.raises(ConfigError, match="`triplets` cannot be combined with frozen features"):
        hashkit.train(triplets="triplets.txt", **QUICK)
    assert not Path("runs").exists()


def test_verify_checks_the_embedder_and_the_features_of_a_run() -> None:
    run = hashkit.train("photos", name="a", loss="lsh", **QUICK)
    assert not any(one.faults for one in verify_paths([run.path]))
    assert {"embedder", "features"} <= {one.kind for one in verify_paths([run.path])}
    (alone,) = verify_paths([run.embedder_path])
    assert (alone.kind, alone.faults) == ("embedder", ())
    facts = model_facts(run.embedder_path)
    assert (facts["kind"], facts["name"], facts["n_features"]) == ("embedder", "tiny", N_FEATURES)
    table = run.path / "features.npy"
    with table.open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"x")
    (broken,) = [one for one in verify_paths([run.path]) if one.kind == "features"]
    assert "features.npy: damaged: expected SHA-256" in broken.faults[0].message
    table.unlink()
    (gone,) = [one for one in verify_paths([run.path]) if one.kind == "features"]
    assert "found no features.npy" in gone.faults[0].message
    content = bytearray(run.embedder_path.read_bytes())
    content[len(content) // 2] ^= 1
    run.embedder_path.write_bytes(content)
    faults = {one.kind: one.faults for one in verify_paths([run.path])}
    assert "damaged" in faults["embedder"][0].message
    (alone,) = verify_paths([run.embedder_path])
    assert (alone.kind, "damaged" in alone.faults[0].message) == ("embedder", True)
    with pytest.raises(RunError, match="damaged"):
        hashkit.export(run)


@pytest.mark.parametrize("strict", [False, True])
def test_a_training_without_one_usable_image_leaves_no_run(strict: bool) -> None:
    for path in Path("photos").iterdir():
        path.write_text(f"no image {path}")
    with pytest.raises(DatasetError, match="not an image"):
        hashkit.train("photos", name="a", loss="lsh", strict=strict, **QUICK)
    assert not Path("runs/a").exists()


def test_a_head_that_starts_as_itq_becomes_a_model_and_continues_where_it_stopped() -> None:
    settings = QUICK | {"recipe": "open", "bits": (4, 6), "batch_size": 20, "steps": 5}
    whole = hashkit.train("classes", name="whole", **settings)
    calls = iter(range(100))
    stopped = hashkit.train("classes", name="a", should_stop=lambda: next(calls) > 2, **settings)
    assert not stopped.is_trained
    resumed = hashkit.resume(stopped)
    for n_bits in (4, 6):
        one, other = (read_head(run.per_length()[n_bits].checkpoint_path()).head
                      for run in (whole, resumed))  # fmt: skip
        values = tiny_features(photographs())
        np.testing.assert_array_equal(one(values), other(values))
    assert hashkit.export(resumed.per_length()[6]).is_file()
    with pytest.raises(ConfigError, match="needs a loss and linear heads"):
        hashkit.train("classes", name="b", hidden=8, **settings)
