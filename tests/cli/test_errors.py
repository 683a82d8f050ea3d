"""Every error that the user can fix ends in one line and exit code 1."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_samples import QUICK, fail, hashkit, start, succeed, write_class_folders, write_digit
from small_models import linear_model

from hashkit.bank.reader import Bank
from hashkit.cli import app as app_module
from hashkit.errors import HashkitError, MissingExtraError
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.workflow.extras import require


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place) -> Run:
    """A run on digits, as far as its settings."""
    made = Run.create(place / "runs", "first", RunConfig(data=DataSpec()))
    return Run(made.path.relative_to(place))


@pytest.fixture
def model(run) -> Path:
    """The run's model, made without torch."""
    return linear_model(run.model_path, height=8, width=8)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> Path:
    """A folder with a run, its model and its banks; tests must not change it."""
    folder = tmp_path_factory.mktemp("encoded")
    made = Run.create(folder / "runs", "first", RunConfig(data=DataSpec()))
    linear_model(made.model_path, height=8, width=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("encode")
    return folder


@pytest.fixture
def banks(place, encoded) -> Run:
    """A copy of that run."""
    shutil.copytree(encoded / "runs", place / "runs")
    return Run(Path("runs/first"))


def usage(command: str) -> str:
    """Run a command whose line is wrong: exit 2, nothing on standard output."""
    outcome = hashkit(command)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


# What has to be there first


@pytest.mark.parametrize(
    "command",
    ["export --onnx", "encode", "search --query a.png", "evaluate", "train --resume"],
)
def test_without_a_run(command):
    assert "there is no run below runs" in fail(command)
    assert "`hashkit train` makes one" in fail(command)


def test_without_a_run_the_bank_in_the_folder_is_named():
    Path("my photos.h5").touch()
    assert "--bank 'my photos.h5'" in fail("encode")
    assert "hashkit evaluate 'my photos.h5' 'my photos.h5' --exclude-self" in fail("evaluate")
    assert "name a model with --model" in fail("encode photos --out photos.h5")


@pytest.mark.parametrize(
    "command", ["export --onnx", "encode", "search --query a.png", "evaluate", "train --resume"]
)
def test_a_folder_that_is_no_run(command):
    Path("other").mkdir()
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


# Names that are not known


def test_an_unknown_image_set():
    for command in ("train --data nothing", "train --data nothing/at/all"):
        assert "unknown image set" in fail(command)
        assert "digits, cifar10" in fail(command)


def test_an_unknown_image_set_to_encode(model):
    assert "unknown image set 'nothing'" in fail("encode nothing --out a.h5")


@pytest.mark.parametrize(
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


def test_cuda_that_is_not_there_is_not_replaced(model):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert "use --device cpu" in fail("train --device cuda")
    assert "--device cpu" in fail("encode --device cuda")
    assert not Path("runs/first/bank.h5").exists()


# Settings that contradict each other, or make no sense


@pytest.mark.parametrize(
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
        ("train --run runs/a", "--run goes with --resume"),
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


@pytest.mark.parametrize(
    "option",
    ["--out a.h5", "--append", "--part queries", "--protocol per-class", "--data-root .",
     "--split-seed 3", "--download", "--model m.onnx"],
)  # fmt: skip
def test_encoding_a_run_takes_no_options_of_other_images(model, run, option):
    line = fail(f"encode {option}")
    assert f"{option.split()[0]} goes with IMAGES" in line
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


def test_a_query_that_is_not_there_beside_a_bank_of_its_own(banks):
    line = fail(f"search --query no.png --bank {banks.bank_path} --model {banks.model_path}")
    assert "no.png: there is no such file" in line


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n cut"])
def test_a_query_that_is_no_image(banks, content):
    Path("odd.png").write_bytes(content)
    assert "odd.png" in fail("search --query odd.png")


def test_a_query_that_is_a_folder(banks):
    Path("folder").mkdir()
    assert "folder" in fail("search --query folder")


def test_images_of_which_none_can_be_used(model):
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


# Banks that do not fit


@pytest.fixture
def other(place) -> Path:
    """Another model of as many bits."""
    return linear_model(place / "other.onnx", height=8, width=8, seed=1)


def test_a_bank_of_another_model_is_not_searched(banks, other):
    write_digit(0, Path("img.png"))
    line = fail(f"search --query img.png --bank {banks.bank_path} --model {other}")
    assert "made by another model" in line
    assert "--model" in line


def test_a_query_by_name_is_not_compared_with_a_bank_of_another_model(banks, other):
    succeed(f"encode digits --model {other} --out other.h5")
    assert "made by another model" in fail("search --query digits/0000 --bank other.h5")


def test_a_bank_of_another_model_is_not_gone_on_with(banks, other):
    before = banks.bank_path.read_bytes()
    linear_model(banks.model_path, height=8, width=8, seed=1)
    assert "hashkit encode --overwrite --run runs/first" in fail("encode")
    assert banks.bank_path.read_bytes() == before
    for command in ("evaluate", "search --query digits/0000"):
        assert "hashkit encode --overwrite --run runs/first" in fail(command)
    succeed("encode --overwrite")
    succeed("evaluate")
    assert banks.bank_path.read_bytes() != before


def test_a_bank_of_other_bits_is_not_searched_or_evaluated(banks):
    few = linear_model(Path("few.onnx"), n_bits=8, height=8, width=8)
    succeed(f"encode digits --model {few} --out few.h5 --protocol per-class --part queries")
    assert "bits" in fail(f"evaluate few.h5 {banks.bank_path}")
    assert "another model" in fail("search --query digits/0000 --bank few.h5")


def test_banks_of_two_models_are_evaluated_with_a_warning(banks, other):
    succeed(f"encode digits --model {other} --out other.h5")
    outcome = succeed(f"evaluate {banks.queries_path} other.h5 --json")
    assert "were made by different models" in outcome.stderr
    assert outcome.json["n_database"] == 1797
    assert "warning" not in succeed("evaluate --json").stderr


def test_images_resized_by_two_versions_are_compared_with_a_warning(model, monkeypatch):
    write_class_folders(Path("photos"))
    succeed(f"encode photos --model {model} --labels folders --out new.h5")
    monkeypatch.setattr("PIL.__version__", "9.9.9")
    succeed(f"encode photos --model {model} --labels folders --out old.h5")
    warned = succeed("evaluate new.h5 old.h5").stderr
    assert "resized by different versions" in warned
    assert "old.h5: Pillow 9.9.9" in warned
    assert "different versions" not in succeed("evaluate old.h5 old.h5").stderr
    name = next(Path("photos").rglob("*.*"))
    search = f"search --query {name} --query {name} --model {model} --bank"
    assert succeed(f"{search} new.h5").stderr.count("different versions") == 1
    assert "different versions" not in succeed(f"{search} old.h5").stderr


def test_a_bank_of_other_images_is_not_gone_on_with(model):
    write_class_folders(Path("first"))
    write_class_folders(Path("second"), per_class=2)
    succeed("encode first --out a.h5")
    assert "a.h5" in fail("encode second --out a.h5")


def test_labels_that_are_missing():
    for name in ("q", "d"):
        Path(f"{name}.txt").write_text("0101\n1100\n")
    assert "label" in fail("evaluate q.txt d.txt")
    Path("l.txt").write_text("1\n")
    assert "expected 2 labels in l.txt" in fail("evaluate q.txt d.txt --query-labels l.txt")


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
    reason = (
        "cannot be written (No such file or directory); check the path, or make its folder first"
    )
    assert line == f"error: /proc/self/there: {reason}"


# How errors end


@pytest.mark.parametrize(
    "command",
    ["nothing", "train --no-such-option", "train --steps many", "search", "search --k 3",
     "search --query a --k 0", "search --query a --radius -1", "encode --batch-size 0",
     "encode --part some", "train --num-workers 0", "export a b", "--no-such-option"],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(command):
    assert "Usage: hashkit" in usage(command)


@pytest.mark.parametrize(
    "command",
    ["train --bits 8 --bits 16", "search --query a --k 1 --k 2", "train --nesterov --no-nesterov"],
)
def test_an_option_of_one_value_is_given_once(command):
    assert "expected the option once, found it 2 times" in usage(command)


def test_options_of_several_values_and_switches_may_be_repeated(banks):
    query = "search --query digits/0000 --query digits/0000 --k 1 --json --json"
    assert len(succeed(query).json["queries"]) == 2


def test_no_command_at_all_shows_the_help():
    outcome = hashkit("")
    assert outcome.exit_code == 2
    assert "search" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    "command", ["train --data nothing", "encode", "export --onnx", "evaluate", "search --query a"]
)
def test_json_says_nothing_of_an_error(command):
    # `fail` checks that standard output is empty.
    assert fail(f"{command} --json")


def test_json_is_the_only_thing_on_standard_output(banks):
    for command in ("encode", "evaluate", "search --query digits/0000", "search --query é.png"):
        if command.endswith("é.png"):
            write_digit(1, Path("é.png"))
        outcome = succeed(f"{command} --json")
        assert isinstance(outcome.json, dict)
        assert outcome.stdout.startswith("{\n")
        assert outcome.stdout.endswith("\n}\n")
        assert outcome.stdout.isascii()
    assert outcome.json["queries"][0]["query"] == "é.png"


def test_without_json_notes_are_not_on_standard_output(banks):
    assert succeed("encode").stdout == ""
    shown = succeed("search --query digits/0000 --k 2")
    assert "using the newest run" in shown.stderr
    assert "using the newest run" not in shown.stdout


def test_an_error_of_several_lines_is_printed_as_one(monkeypatch):
    def broken(*_args, **_kwargs):
        raise HashkitError("one\ntwo")

    monkeypatch.setattr("hashkit.workflow.models.find_run", broken)
    assert fail("export --onnx") == "error: one two"


def test_an_error_that_nobody_can_fix_is_not_dressed_up(monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("hashkit.workflow.models.find_run", broken)
    with pytest.raises(ZeroDivisionError):
        hashkit("export --onnx")


def test_the_entry_point_ends_as_the_commands_do(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hashkit", "evaluate"])
    with pytest.raises(SystemExit) as caught:
        app_module.run()
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"error: there is no run below runs{os.sep}: `hashkit train` makes one; name codes: "
        "hashkit evaluate QUERY DATABASE\n"
    )


def test_a_missing_extra_is_one_line_that_installs_it():
    with pytest.raises(MissingExtraError) as caught:
        require("train", "hashkit train", "json", "no_such_package")
    assert str(caught.value) == (
        "hashkit train needs no_such_package, which is not installed: "
        "pip install '.[train]' (in a clone of hashkit)"
    )
    require("train", "hashkit train", "json", "sys")


@pytest.mark.end_to_end
def test_a_closed_pipe_ends_quietly_after_the_files_are_written(banks, tmp_path):
    table = tmp_path / "table.csv"
    command = f"evaluate {banks.queries_path} {banks.bank_path} --json --csv {table}"
    process = start(command, Path.cwd())
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert len(table.read_text(encoding="utf-8").splitlines()) == 2


def test_what_was_written_stays_after_an_error(banks):
    codes = np.array(Bank.open(banks.bank_path).codes)
    fail("encode --append --overwrite")
    fail("search --query nothing.png")
    assert np.array_equal(Bank.open(banks.bank_path).codes, codes)
    assert json.loads(banks.config_path.read_text())["data"]["data"] == "digits"
