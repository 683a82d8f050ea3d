"""Every error that the user can fix ends in one line and exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import QUICK, fail, hashkit, succeed, write_class_folders, write_digit
from looped import looped

pytestmark = pytest.mark.usefixtures("place")


# What has to be there first


@looped(
    "command",
    ["export --onnx", "encode", "search --query a.png", "evaluate", "train --resume"],
)
def test_without_a_run(command):
    assert "there is no run below runs" in fail(command)
    assert "`hashkit train` makes one" in fail(command)


def test_without_a_run_the_bank_in_the_folder_is_named():
    Path("my photos.h5").touch()
    assert "--bank 'my photos.h5'" in fail("encode")
    assert "name codes with labels" in fail("evaluate")
    write_class_folders(Path("photos"), per_class=1)
    succeed("encode photos --model phash --labels folders --out 'my photos.h5' --overwrite")
    assert "hashkit evaluate 'my photos.h5' 'my photos.h5' --exclude-self" in fail("evaluate")
    assert "name a model with --model" in fail("encode . --out photos.h5")


@looped(
    "command", ["export --onnx", "encode", "search --query a.png", "evaluate", "train --resume"]
)
def test_a_folder_that_is_not_a_run(command):
    Path("other").mkdir(exist_ok=True)
    assert "other is not a run folder" in fail(f"{command} --run other")


@pytest.mark.parametrize("command", ["encode", "search --query digits/0000", "evaluate"])
def test_without_a_model(run, command):
    assert "runs/first has no model yet: hashkit export --onnx" in fail(command)


def test_without_a_checkpoint(run):
    assert "runs/first has no checkpoint yet" in fail("export --onnx")


@pytest.mark.parametrize("command", ["evaluate a.h5 b.h5", "search --query x.png --bank a.h5"])
def test_without_a_bank(model, command):
    assert "a.h5: there is no such bank" in fail(command)


def test_a_damaged_model_or_bank(banks):
    banks.bank_path.write_bytes(b"no bank" * 100)
    assert "bank.h5" in fail("search --query digits/0000")
    assert "bank.h5" in fail("evaluate")
    banks.model_path.write_bytes(b"no model")
    assert "model.onnx" in fail("encode --overwrite")


def test_a_run_with_damaged_settings(model, run):
    run.config_path.write_text("{")
    assert "config.json" in fail("encode --run runs/first")


# What was typed is checked before anything slow


def test_a_wrong_word_of_a_search_is_found_before_images_are_encoded(model):
    Path("taken").mkdir()
    write_digit(0, Path("a.png"))
    wrong = {
        "--query typo.png": "typo.png: there is no such file, and it is not the name of a query",
        "--query a.png --engine fast": "--engine must be one of",
        "--query a.png --csv taken": "taken: cannot be written (Is a directory)",
        "--query a.png --save-picture a.png/hits.png": "a.png: Not a directory",
    }
    for words, message in wrong.items():
        assert message in fail(f"search {words}")
        assert not list(model.parent.glob("*.h5*"))


def test_a_wrong_word_of_a_search_is_found_before_a_model_is_loaded(banks):
    write_digit(0, Path("a.png"))
    banks.model_path.unlink()
    wrong = {
        "--query typo.png": "typo.png: there is no such file",
        "--query a.png --name typo": "--name typo: no row",
        "--query a.png --row 9999": "--row must be from 0",
        "--query a.png --label typo": "--label typo: no such class",
        "--query a.png --radius 999": "--radius must be at most",
        "--query a.png --engine index": "--engine index needs an index",
    }
    for words, message in wrong.items():
        assert message in fail(f"search {words}")


def test_a_file_that_cannot_be_written_is_found_before_the_work(banks):
    Path("taken").mkdir()
    Path("notes.txt").write_text("mine")
    for words in ("--report taken", "--csv taken", "--latex taken"):
        outcome = hashkit(f"evaluate {words}")
        assert outcome.stderr.endswith("it is a folder; choose the name of a file\n")
        assert "evaluating" not in outcome.stderr
    assert "is not replaced" in fail("export notes.txt --onnx")
    assert Path("notes.txt").read_text() == "mine"


def test_a_wrong_setting_of_a_training_is_found_before_images_are_read(banks):
    wrong = {
        "--policy typo": "unknown policy 'typo'",
        "--bits 0": "--bits must be between 1",
        "--epochs 0": "--epochs must be above 0",
        "--device typo": "unknown device 'typo'",
        "--name first": "exists already",
        "--runs runs/first/config.json": "cannot be written (Not a directory)",
    }
    for words, message in wrong.items():
        assert message in fail(f"train --data not-looked-for {words}")


def test_a_file_that_a_conversion_would_replace_is_found_before_rows_are_read(banks):
    Path("there.npz").touch()
    outcome = hashkit(f"convert {banks.bank_path} there.npz")
    assert outcome.stderr == "error: there.npz: exists already; replace it with --overwrite\n"


def test_options_of_runs_and_of_code_files_do_not_mix(banks):
    assert "--query-labels needs files of codes" in fail("evaluate --query-labels a.txt")
    codes = f"{banks.queries_path} {banks.bank_path}"
    assert "--run cannot be combined with QUERY and DATABASE" in fail(
        f"evaluate {codes} --run runs/first"
    )


# Names that are not known


def test_an_unknown_image_set():
    for command in ("train --data nothing", "train --data nothing/at/all"):
        assert "unknown image set" in fail(command)
        assert "digits, cifar10" in fail(command)


def test_an_unknown_image_set_to_encode(model):
    assert "unknown image set 'nothing'" in fail("encode nothing --out a.h5")


@looped(
    ("option", "known"),
    [
        ("--protocol nothing", "per-class"),
        ("--network nothing", "dnnh-caffe"),
        ("--loss nothing", "triplet"),
        ("--schedule nothing", "one-cycle"),
        ("--augmentation nothing", "shift-flip"),
        ("--precision nothing", "bf16"),
        ("--resize nothing", "crop-bicubic"),
        ("--device tpu", "cuda"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(option, known):
    line = fail(f"train {option}")
    assert option.split()[1] in line
    assert known in line
    assert not Path("runs").exists()


def test_an_unknown_device_convention_or_protocol(banks):
    assert "known: auto, cpu, cuda" in fail("encode --device tpu")
    assert "caffe-dnnh" in fail("evaluate --convention nothing")
    assert "zero or drop" in fail("evaluate --without-relevant nothing")
    assert "known: per-class" in fail("encode digits --protocol nothing --out a.h5")


def test_missing_cuda_is_an_error_and_not_replaced_by_the_cpu(model):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert "use --device cpu" in fail("train --device cuda")
    assert "--device cpu" in fail("encode --device cuda")
    assert not Path("runs/first/bank.h5").exists()


# Settings that contradict each other, or make no sense


@looped(
    ("command", "words"),
    [
        ("train --bits 0", "--bits must be between"),
        ("train --bits 12,12", "--bits must be one or more different numbers, not 12,12"),
        ("train --momentum 0", "--nesterov needs a --momentum above 0"),
        ("train --milestones 2", "--milestones must be fractions"),
        ("train --query-list a.txt --protocol random", "--query-list defines the split"),
        ("train --unseen-fraction 0.5", "per-class takes no --unseen-fraction"),
        ("train --bits many", "numbers separated by commas"),
        ("train --freeze 99 --recipe paper", "freeze must be at most 4"),
        ("train --lr 0", "--lr must be above 0"),
        ("train --size 8x", "--size must be pixels"),
        ("train --size 4", "--size must be between"),
        ("train --milestones 0.5,x", "--milestones must be numbers"),
        ("train --split-seed -1", "--split-seed must be 0 or more"),
        ("train --run runs/a", "--run needs --resume"),
        ("train --name a/b", "--name must name one folder"),
        ("train --name ..", "--name must name one folder"),
        ("train --training-list a.txt", "--training-list needs --query-list"),
        ("train --precision fp16 --steps 1 --device cpu", "--precision fp16 needs a GPU"),
        ("train --triplets none.txt", "none.txt"),
        ("export", "hashkit export --onnx"),
        ("encode --append --overwrite", "choose one"),
        ("encode photos", "--out is missing"),
        ("encode digits --out a.h5 --part queries", "choose one with --protocol"),
        ("evaluate a.h5", "name the database"),
        ("evaluate a.npz b.npz", "a.npz"),
    ],
)
def test_settings_that_make_no_sense(run, command, words):
    assert words in fail(command)


@looped(
    "option",
    ["--out a.h5", "--append", "--part queries", "--protocol per-class", "--data-root .",
     "--split-seed 3", "--download", "--model m.onnx"],
)  # fmt: skip
def test_encoding_a_run_takes_no_options_of_other_images(model, run, option):
    line = fail(f"encode {option}")
    assert f"{option.split()[0]} needs IMAGES" in line
    assert not run.bank_path.exists()


@pytest.mark.parametrize("option", ["--bits 8", "--lr 1", "--no-nesterov"])
def test_a_resumed_run_takes_no_settings(run, option):
    flag = option.split()[0].replace("--no-", "--")
    assert f"leave out {flag}" in fail(f"train --resume {option}")


@pytest.mark.parametrize("option", ["--data photos", "--name b", "--size 16", "--n-queries 3"])
def test_a_resumed_run_takes_no_other_images(run, option):
    assert f"leave out {option.split()[0]}" in fail(f"train --resume {option}")


def test_a_run_is_not_trained_over(run):
    line = fail(f"train {QUICK} --training-per-class 2 --name first")
    assert "exists already" in line
    assert "hashkit train --resume --run runs/first" in line


@pytest.mark.parametrize("value", ["0", "-1", "5,0"])
def test_cut_offs_are_positive(banks, value):
    assert "must be between 1 and" in fail(f"evaluate --at={value}")
    assert "must be between 1 and" in fail(f"evaluate --k={value}")


# Images


def test_a_query_that_is_not_there(banks):
    line = fail("search --query nothing.png")
    assert "nothing.png: there is no such file" in line
    assert "(for example digits/" in line


def test_a_query_that_is_not_there_with_a_bank_and_a_model(banks):
    line = fail(f"search --query no.png --bank {banks.bank_path} --model {banks.model_path}")
    assert "no.png: there is no such file" in line


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n cut"])
def test_a_query_that_is_not_an_image(banks, content):
    Path("odd.png").write_bytes(content)
    assert "odd.png" in fail("search --query odd.png")


def test_a_query_that_is_a_folder(banks):
    Path("folder").mkdir()
    assert "folder" in fail("search --query folder")


def test_images_none_of_which_can_be_used(model):
    names = write_class_folders(Path("photos"))
    for name in names:
        (Path("photos") / name).write_bytes(b"no image")
    assert "none of its 18 images can be used" in fail("encode photos --out a.h5")
    assert "15 of 15 images cannot be used" in fail(f"train --data photos {QUICK}")


def test_a_folder_without_images(model):
    Path("photos").mkdir()
    assert "photos" in fail("encode photos --out a.h5")


def test_images_without_labels_cannot_be_trained_on():
    for row in range(20):
        write_digit(row, Path("photos") / f"{row}.png")
    assert "photos has no labels" in fail(f"train --data photos --recipe best {QUICK}")


# Files that cannot be written


def test_a_picture_that_cannot_be_written(banks):
    Path("folder.png").mkdir()
    reasons = {
        "folder.png": "cannot be written (Is a directory)",
        "a.nonsense": "expected a name that ends in .png, .jpg or .webp, found .nonsense",
        "a.psd": "expected a name that ends in .png, .jpg or .webp, found .psd",
    }
    for name, reason in reasons.items():
        outcome = hashkit(f"search --query digits/0000 --k 1 --save-picture {name}")
        assert outcome.exit_code == 1
        (line,) = [one for one in outcome.stderr.splitlines() if one.startswith("error: ")]
        assert f"{name}: {reason}" in line


def test_a_bank_that_cannot_be_written(model):
    Path("folder").mkdir()
    assert "folder" in fail("encode digits --out folder")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write in")
def test_a_run_that_cannot_be_written():
    line = fail(f"train {QUICK} --training-per-class 2 --runs /proc/self/there")
    assert line.startswith("error: /proc/self/there: cannot be written (")
