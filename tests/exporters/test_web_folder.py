"""The files of an exported page; these tests need no browser."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import COMMANDS, break_image, fail, succeed, write_class_folders
from made_up_runtime import PUBLISHED, write_runtime
from PIL import Image
from small_models import linear_model

import hashkit
from hashkit.errors import BankError, BankMismatchError, ConfigError
from hashkit.exporters.web import runtime as web_runtime
from hashkit.exporters.web.folder import DEFAULT_IMAGES, DEFAULT_TITLE, export_web
from hashkit.exporters.web.images import PICTURE_SIDE, write_images
from hashkit.exporters.web.page_files import SETTINGS, page_files
from hashkit.exporters.web.page_folder import check_target
from hashkit.exporters.web.runtime import (
    RUNTIME_FILES,
    RUNTIME_VERSION,
    WEBGPU_RUNTIME_FILES,
    find_runtime,
)
from hashkit.manifest import Manifest
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.runtimes.builtin import model_path

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runtime(tmp_path, monkeypatch) -> Path:
    """A made-up runtime whose files count as the published ones."""
    package = write_runtime(tmp_path / "npm" / "node_modules" / "onnxruntime-web")
    for attribute, files in PUBLISHED.items():
        monkeypatch.setattr(web_runtime, attribute, files)
    return package


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> Path:
    """A folder with images in class folders, a model and a bank."""
    folder = tmp_path_factory.mktemp("encoded")
    write_class_folders(folder / "photos", per_class=4, suffix=".png")
    linear_model(folder / "model.onnx", n_bits=12, height=8, width=8)
    succeed(
        f"encode {folder}/photos --labels folders --model {folder}/model.onnx "
        f"--out {folder}/made.h5"
    )
    return folder


@pytest.fixture
def place(encoded, tmp_path) -> Path:
    """A copy of that folder that a test may change."""
    return Path(shutil.copytree(encoded, tmp_path / "place"))


def export(place: Path, runtime: Path, **settings):
    bank = hashkit.Bank.open(place / "made.h5")
    settings = {"image_of": lambda row: place / "photos" / bank.names[row]} | settings
    report = export_web(
        place / "site", model=place / "model.onnx", bank=bank, runtime=runtime, **settings
    )
    return bank, report


def images_of(site: Path) -> dict:
    document: dict = json.loads((site / "bank" / "images.json").read_text())
    return document


# The files


def test_the_folder_has_every_row_of_the_bank(place, runtime):
    done = []
    bank, report = export(place, runtime, progress=lambda *state: done.append(state))
    site = place / "site"
    codes = np.frombuffer((site / "bank" / "codes.bin").read_bytes(), np.uint8)
    assert np.array_equal(codes.reshape(12, 2), bank.codes)
    images = images_of(site)
    assert images["rows"] == list(range(12))
    assert images["names"] == list(bank.names)
    assert images["labels"] == [[bank.class_names[label]] for label in bank.labels]
    assert done == [(12, 12)]
    assert (report.n_images, report.n_thumbnails, report.n_database) == (12, 12, 12)
    files = [path for path in site.rglob("*") if path.is_file()]
    assert report.n_files == len(files)
    assert report.n_bytes == sum(path.stat().st_size for path in files)


def test_the_folder_has_the_model_and_its_input_rule(place, runtime):
    bank, report = export(place, runtime)
    manifest = json.loads((place / "site" / "manifest.json").read_text())
    model = (place / "model.onnx").read_bytes()
    assert (place / "site" / "model.onnx").read_bytes() == model
    assert manifest["model_sha256"] == report.model_sha256 == hashlib.sha256(model).hexdigest()
    assert manifest["model_bytes"] == len(model)
    assert manifest["model"] == bank.header.manifest.to_dict()
    assert {key: manifest["input"][key] for key in ("height", "width", "resize")} == {
        "height": 8,
        "width": 8,
        "resize": "crop-bilinear",
    }
    assert manifest["dataset"] == "photos"  # without its path


def test_nothing_is_fetched_from_elsewhere(place, runtime):
    export(place, runtime)
    site = place / "site"
    for name, (target, _) in web_runtime.RUNTIME_FILES.items():
        assert (site / "runtime" / target).read_text() == f"stands for {name}"
    texts = {name: data.decode() for name, data in page_files().items()}
    assert all((site / name).is_file() for name in texts)
    for name, text in texts.items():
        addresses = set(re.findall(r"\w+://[\w.]+", text)) - {
            "http://www.w3.org",
            "http://localhost",
        }
        assert addresses == set(), name
        for used in re.findall(r'(?:from|import\(|src=|href=) ?"([^"]+)"', text):
            assert (site / name).parent.joinpath(used).is_file(), used
    assert "default-src 'none'" in texts["index.html"]


def test_pictures_are_jpegs_of_their_size_without_metadata(place, runtime):
    large = Image.radial_gradient("L").resize((1000, 500)).convert("RGB")
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "where I live", 6  # description; rotated by 90 degrees
    large.save(place / "large.jpg", exif=exif, icc_profile=b"a profile", comment=b"a comment")
    for side, expected in ((640, (320, 640)), (800, (400, 800)), (0, None)):
        export(place, runtime, image_of={3: place / "large.jpg"}.get, picture_side=side)
        site = place / "site" / "bank"
        images = images_of(place / "site")
        assert images["sizes"] == [[500, 1000] if row == 3 else None for row in range(12)]
        names = {images["thumbnails"][3]: (96, 192), images["pictures"][3]: expected}
        for name, size in names.items():
            if name is None:
                assert size is None
                continue
            with Image.open(site / name) as picture:
                assert (picture.format, picture.size) == ("JPEG", size)
                assert dict(picture.getexif()) == {}
                assert set(picture.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert b"where I live" not in (site / name).read_bytes()
    assert not (place / "site" / "bank" / "pictures").exists()  # those of the earlier page are gone


def test_small_images_have_no_larger_picture(place, runtime):
    export(place, runtime)
    assert set(images_of(place / "site")["pictures"]) == {None}


def test_the_title_is_in_the_settings(place, runtime):
    export(place, runtime, title='A "title" \u05d0')
    settings = json.loads((place / "site" / SETTINGS).read_text())
    assert settings == {"backend": "browser", "title": 'A "title" \u05d0'}
    assert json.loads(page_files()[SETTINGS]) == {"backend": "server"}


def test_missing_and_broken_images_have_no_thumbnail(place, runtime):
    bank = hashkit.Bank.open(place / "made.h5")
    break_image(place / "photos" / bank.names[2])

    def image_of(row):
        return None if row == 5 else place / "photos" / bank.names[row]

    _, report = export(place, runtime, image_of=image_of)
    lost = [row for row, name in enumerate(images_of(place / "site")["thumbnails"]) if name is None]
    assert lost == [2, 5]
    assert report.n_thumbnails == 10


def test_a_sample_is_evenly_spaced_over_the_live_rows(place, runtime):
    hashkit.delete_rows(place / "made.h5", [0, 6])
    bank, report = export(place, runtime, n_images=4)
    rows = images_of(place / "site")["rows"]
    assert rows == [1, 4, 8, 11]
    codes = np.frombuffer((place / "site" / "bank" / "codes.bin").read_bytes(), np.uint8)
    assert np.array_equal(codes.reshape(4, 2), bank.codes[rows])
    assert (report.n_images, report.n_database) == (4, 10)


def test_a_bank_of_another_model_is_refused(place, runtime):
    linear_model(place / "model.onnx", n_bits=12, height=8, width=8, seed=1)
    with pytest.raises(BankMismatchError, match="made by another model"):
        export(place, runtime)
    assert not (place / "site").exists()


def test_a_bank_without_rows_is_refused(place, runtime):
    hashkit.delete_rows(place / "made.h5", range(12))
    with pytest.raises(BankError, match="no rows"):
        export(place, runtime)


# Refusals and replacement


def test_a_reduced_resize_rule_is_refused(place, runtime):
    model = place / "model.onnx"
    metadata = Manifest(12, 8, 8, resize="stretch-bicubic-reduced").to_metadata()
    linear_model(model, n_bits=12, height=8, width=8, metadata=metadata)
    succeed(
        f"encode {place}/photos --model {model} --labels folders --out {place}/made.h5 --overwrite"
    )
    with pytest.raises(ConfigError, match=r'bicubic-reduced; .* `resize="stretch-bicubic"`, or'):
        export(place, runtime)
    assert not (place / "site").exists()


def test_an_earlier_page_is_replaced(place, runtime):
    export(place, runtime)
    (place / "site" / "bank" / "thumbnails" / "99.jpg").write_bytes(b"of an earlier bank")
    export(place, runtime, n_images=3)
    assert len(list((place / "site" / "bank" / "thumbnails").iterdir())) == 3
    assert not list(place.rglob(".*.hashkit-part"))


def test_a_failure_leaves_the_earlier_page(place, runtime):
    export(place, runtime)
    before = (place / "site" / "manifest.json").read_bytes()

    def fails(row):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        export(place, runtime, image_of=fails)
    assert (place / "site" / "manifest.json").read_bytes() == before
    assert not list(place.rglob(".*.hashkit-part"))


def test_other_folders_and_files_are_never_replaced(place, runtime, tmp_path):
    (place / "site").mkdir()
    (place / "site" / "manifest.json").write_text('{"name": "a page of my own"}')
    with pytest.raises(ConfigError, match="exists and is not a page written by hashkit"):
        export(place, runtime)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        check_target(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")


# onnxruntime-web


def test_the_runtime_is_found_where_npm_installs_it(runtime, monkeypatch):
    assert find_runtime(runtime) == runtime
    assert find_runtime(runtime.parent.parent) == runtime
    monkeypatch.chdir(runtime.parent.parent)
    assert find_runtime().resolve() == runtime


def test_error_for_a_missing_runtime_has_the_install_command(tmp_path):
    with pytest.raises(
        ConfigError, match=f"npm install onnxruntime-web@{RUNTIME_VERSION}"
    ) as caught:
        find_runtime(tmp_path)
    assert "`web_runtime=...`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_version_is_refused(tmp_path):
    package = write_runtime(tmp_path / "package", version="1.19.2")
    with pytest.raises(
        ConfigError, match=rf"expected onnxruntime-web {RUNTIME_VERSION}, found 1\.19"
    ):
        find_runtime(package)


def test_files_that_are_not_the_published_ones_are_refused(place, runtime):
    (runtime / "dist" / "ort-wasm-simd-threaded.wasm").write_text("something else")
    with pytest.raises(ConfigError, match="expected SHA-256"):
        export(place, runtime)
    (runtime / "dist" / "ort-wasm-simd-threaded.wasm").unlink()
    with pytest.raises(ConfigError, match="no such file"):
        export(place, runtime)
    assert not (place / "site").exists()


def test_the_folder_has_one_runtime_and_the_manifest_names_it(place, runtime):
    for webgpu, files in ((False, RUNTIME_FILES), (True, WEBGPU_RUNTIME_FILES)):
        _, report = export(place, runtime, webgpu=webgpu)
        found = {path.name: path.read_text() for path in (place / "site" / "runtime").iterdir()}
        assert found == {target: f"stands for {name}" for name, (target, _) in files.items()}
        manifest = json.loads((place / "site" / "manifest.json").read_text())
        assert (manifest["webgpu"], report.to_dict()["webgpu"]) == (webgpu, webgpu)


def test_package_json_has_the_supported_version():
    package = json.loads((ROOT / "package.json").read_text())
    assert package["dependencies"] == {"onnxruntime-web": RUNTIME_VERSION}


# The command


def test_the_command_uses_the_newest_run(place, runtime, monkeypatch):
    monkeypatch.chdir(place)
    run = Run.create(place / "runs", "a", RunConfig(data=DataSpec()))
    linear_model(run.model_path, n_bits=12, height=8, width=8)
    outcome = succeed(f"export --web site --web-images 20 --web-runtime {runtime} --json")
    assert outcome.json["path"] == "site"
    assert (outcome.json["n_images"], outcome.json["n_thumbnails"]) == (20, 20)
    assert outcome.json["n_database"] == 1597
    assert "20 images of 1,597, spread over the database" in outcome.stderr
    assert run.bank_path.is_file()
    assert images_of(place / "site")["labels"][0] is not None
    assert outcome.json["webgpu"] is False
    outcome = succeed(f"export --web site --web-images 2 --web-runtime {runtime} --web-gpu --json")
    assert outcome.json["webgpu"] is True


def test_the_command_reports_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "npm install" in fail("export --web site")
    assert "cannot be combined with --web" in fail("export --onnx --web site")
    assert "cannot be combined with --web" in fail("export model.onnx --web site")
    assert "--web FOLDER" in fail("export")
    assert "--web-gpu needs --web FOLDER" in fail("export --onnx --web-gpu")
    for flag in ("--web-images 2000", "--web-size 0", "--title T", f"--web-runtime {tmp_path}"):
        assert f"{flag.split()[0]} needs --web FOLDER" in fail(f"export --onnx {flag}")


def test_the_defaults_are_the_library_s():
    shown = {one.name: one.show_default for one in COMMANDS["export"].params}
    defaults = {"web_images": DEFAULT_IMAGES, "web_size": PICTURE_SIDE, "title": DEFAULT_TITLE}
    assert {name: shown[name] for name in defaults} == {
        name: str(value) for name, value in defaults.items()
    }


def test_images_without_names_are_called_by_their_rows(tmp_path):
    bank_path = tmp_path / "bank.h5"
    hashkit.save_codes(bank_path, hashkit.CodeSet(np.zeros((3, 1), np.uint8), 8))
    with hashkit.Bank.open(bank_path) as bank:
        write_images(tmp_path / "images", bank, np.array([0, 2]), lambda _: None)
    document = json.loads((tmp_path / "images" / "images.json").read_text())
    assert document["names"] == ["row 0", "row 2"]


def test_a_page_is_made_of_a_named_model_and_bank(place, runtime, monkeypatch):
    monkeypatch.chdir(place)
    succeed("encode photos --model phash --out p.h5")
    page = f"export --web-runtime {runtime} --web"
    outcome = succeed(f"{page} site --model phash --bank p.h5 --title Ours --web-size 0 --json")
    assert json.loads(Path("site", SETTINGS).read_text())["title"] == "Ours"
    assert (outcome.json["n_images"], outcome.json["n_thumbnails"]) == (12, 12)
    assert Path("site/model.onnx").read_bytes() == model_path("phash").read_bytes()
    outcome = succeed(f"{page} other --bank p.h5")
    assert "using the built-in model phash" in outcome.stderr


def test_a_page_needs_both_model_and_bank(place, runtime, monkeypatch):
    monkeypatch.chdir(place)
    Path("model.onnx").rename("mine.onnx")  # beside the bank, it would be found
    page = f"--web-runtime {runtime} --web site"
    for flags, words in (
        (f"{page} --model phash", "expected --bank with --model"),
        (f"{page} --bank made.h5", "name its file with --model"),
        (f"{page} --bank made.h5 --model phash", "was made by another model"),
        (f"{page} --bank made.h5 --run runs/first", "leave one of the two out"),
        ("--onnx --model phash", "need --web FOLDER"),
    ):
        assert words in fail(f"export {flags}")
    assert not Path("site").exists()
