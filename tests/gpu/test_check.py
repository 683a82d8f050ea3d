"""The GPU check, run small on the CPU and with stages that fail."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import check
from gpucheck.plan import STAGES
from gpucheck.running import Stage

pytestmark = [pytest.mark.gpu_check, pytest.mark.timeout(900)]

SCRIPT = Path(check.__file__)

# Stages of ``pretrained`` run the same code as those of ``best``.
NAMES = [
    stage.name for stage in STAGES if stage.name not in ("export-pretrained", "encode-pretrained")
]
SKIPPED = {"tensorrt"}


class Checked:
    """A run of the check, with its folder and results."""

    def __init__(self, out: Path, code: int) -> None:
        self.out, self.code = out, code
        self.result = json.loads((out / "result.json").read_text())
        self.stages = {stage["name"]: stage for stage in self.result["stages"]}

    def figures(self, name: str) -> dict:
        return self.stages[name]["figures"]


def run_check(out: Path, *arguments: str, stages=STAGES) -> Checked:
    code = check.main(["--device", "cpu", "--out", str(out), *arguments], stages)
    return Checked(out, code)


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> Checked:
    """All stages, once."""
    out = tmp_path_factory.mktemp("gpu-check")
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--out", str(out)]
    command += ["--minutes", "14", "--stages", ",".join(NAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return Checked(out, done.returncode)


def test_every_stage_is_ok_or_skipped_with_its_reason(checked):
    found = {name: (stage["status"], stage["reason"]) for name, stage in checked.stages.items()}
    assert list(found) == NAMES
    assert {name for name, (status, _) in found.items() if status != "ok"} == SKIPPED, found
    status, reason = found["tensorrt"]
    assert status == "skipped"
    assert "NVIDIA" in reason or "TensorRT" in reason
    assert checked.code == 0
    for stage in checked.stages.values():
        assert stage["seconds"] > 0
        assert all(one["passed"] for one in stage["checks"])


def test_the_machine_is_described(checked):
    figures = checked.figures("machine")
    assert figures["data"] == "digits"
    assert figures["cpu"]["cores"] >= 1
    assert figures["versions"].keys() >= {"torch", "numpy", "onnx"}
    assert "CPUExecutionProvider" in figures["onnxruntime"]["providers"]
    assert figures["onnxruntime"]["file"].endswith("onnxruntime/__init__.py")
    assert figures["onnxruntime"]["build"]
    assert figures["runtimes"]["onnxruntime on CPU"]["status"] == "ok"
    assert figures["missing"].get("tensorrt_libs") == "tensorrt"


@pytest.mark.parametrize(
    ("recipe", "precision"), [("best", "bf16"), ("best", "fp32"), ("pretrained", "fp32")]
)
def test_loop_and_bare_network_have_rates(checked, recipe, precision):
    figures = checked.figures(f"speed-{recipe}")[precision]
    for name in ("loop", "bare", "passes"):
        assert figures[f"images_per_second_{name}"] > 0
    low, high = figures["share_of_bare_range"]
    assert 0 < low <= figures["share_of_bare"] <= high
    assert figures["n_rounds"] == 2
    assert figures["cudnn"].keys() == {"benchmark", "deterministic", "allow_tf32"}
    assert figures["milliseconds_per_step"] == pytest.approx(
        1000 * figures["batch_size"] / figures["images_per_second_loop"], rel=0.01
    )


def test_a_killed_run_ends_like_an_uninterrupted_one(checked):
    figures = checked.figures("resume")["fp32"]
    assert figures["killed_by"] == "SIGKILL"
    assert 0 < figures["resumed_after_step"] < figures["n_steps"]
    for name in ("resumed", "same_seed"):
        assert figures[name]["is_bit_equal"]
        assert figures[name]["largest_difference"] == 0
        assert figures[name]["n_tensors"] > 10


def test_missing_devices_are_refused(checked):
    for name in ("--device cuda:99", "--device cuda without a visible GPU"):
        figures = checked.figures("resume")[name]
        assert figures["exit_code"] == 1
        (line,) = figures["lines"]
        assert line.startswith("error: --device cuda")


def test_the_export_agrees_with_torch(checked):
    parity = checked.figures("export-best")["parity"]
    assert parity["passed"]
    assert 0 <= parity["largest_difference"] <= parity["tolerance"] <= 1e-3
    assert parity["n_packing_errors"] == parity["n_not_finite"] == 0
    assert parity["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize("profile", ["exact", "fast"])
def test_encoding_is_measured_in_both_profiles(checked, profile):
    figures = checked.figures("encode-best")
    assert figures[profile]["provider"] == "CPUExecutionProvider"
    assert figures[profile]["images_per_second"] > 0
    assert figures[profile]["images_per_second_bare"] > 0
    # Both sides use the same provider here.
    assert figures[f"{profile}_beside_cpu"]["n_flipped_bits"] <= 2
    assert figures[f"{profile}_beside_cpu"]["n_images"] == 300
    assert set(figures["exact_equal_bits_by_batch_size"]) == {"1", "8", "64", "256", "1024"}
    assert figures[f"{profile}_times_torch"] > 0


def test_files_are_encoded_to_a_bank(checked):
    figures = checked.figures("pipeline")
    assert figures["images"] == {"set": "digits", "files": 200}
    rates = figures["images_per_second"]
    assert set(rates) == {"decoder", "pipeline", "model"}
    assert all(rate > 0 for rate in rates.values())
    assert figures["share_of_decoder"] == pytest.approx(rates["pipeline"] / rates["decoder"], 0.01)


def test_tests_marked_gpu_are_counted_with_their_reasons(checked):
    figures = checked.figures("tests")
    outcomes = figures["outcomes"]
    assert outcomes["failed"] == 0
    assert outcomes["skipped"] == len(figures["skipped"]) >= 2
    assert all(reason for reason in figures["skipped"].values())


def test_the_long_training_reports_map_over_seconds(checked):
    figures = checked.figures("training")
    seconds = [row["seconds"] for row in figures["curve"]]
    assert len(seconds) == 2
    assert 0 < seconds[0] < seconds[1] == figures["result"]["training_seconds"]
    assert figures["curve"][-1]["step"] == figures["result"]["n_steps"]
    assert set(figures["result"]["map_last"]) == {"12", "48"}
    assert 0.15 < figures["result"]["map_last"]["48"] <= 1
    assert "map_selected" in figures["result"]


def test_the_result_contains_no_path_of_this_machine(checked):
    text = (checked.out / "result.json").read_text()
    for place in (checked.out, SCRIPT.parent, Path.home(), Path(sys.prefix)):
        assert f"{place}/" not in text


def test_the_tables_show_the_figures(checked):
    text = (checked.out / "result.md").read_text()
    loop = checked.figures("speed-best")["fp32"]["images_per_second_loop"]
    assert f"| {loop:,.0f} |" in text
    assert "killed and resumed | all 66 tensors equal bit for bit" in text


# Stages that fail, and kept results


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Make a stage from lines of code, which may use ``record`` and ``settings``."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fakes"))
    (tmp_path / "fakes").mkdir()

    def make(name: str, lines: str, limit: float = 60, least: float = 1, prepares=False) -> Stage:
        body = textwrap.indent(textwrap.dedent(lines).strip(), "    ")
        text = f"import os, time\n\n\ndef run(record, settings):\n{body}\n"
        (tmp_path / "fakes" / f"fake_{name}.py").write_text(text)
        return Stage(name, "a fake", f"fake_{name}", 1, least, limit, prepares)

    return make


PREPARE = next(stage for stage in STAGES if stage.prepares)
GOOD = "record.figure('value', os.getpid())\nrecord.check('good', True, 'yes')"


def test_a_stage_that_raises_does_not_affect_others(tmp_path, fake):
    stages = [
        PREPARE,
        fake("before", GOOD),
        fake("raises", "record.figure('value', 7)\nraise KeyError('no such thing')"),
        fake("check", "with record.attempt('tries'):\n    1 / 0\nrecord.check('b', True)"),
        fake("after", GOOD),
    ]
    checked = run_check(tmp_path / "out", stages=stages)
    assert checked.code == 1
    statuses = {name: stage["status"] for name, stage in checked.stages.items()}
    assert statuses == {
        "prepare": "ok",
        "before": "ok",
        "raises": "failed",
        "check": "failed",
        "after": "ok",
    }
    assert checked.figures("raises") == {"value": 7}
    assert checked.stages["raises"]["reason"] == "KeyError: 'no such thing'"
    assert checked.stages["check"]["checks"][0] == {
        "name": "tries",
        "passed": False,
        "detail": "ZeroDivisionError: division by zero",
    }
    assert [one["passed"] for one in checked.stages["check"]["checks"]] == [False, True]
    log = (tmp_path / "out" / "failures.log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError" in log
    assert "no such thing" in log


def test_a_stage_that_hangs_or_dies_keeps_its_figures(tmp_path, fake):
    stages = [
        PREPARE,
        fake("hangs", "record.figure('value', 1)\ntime.sleep(60)", limit=1),
        fake("dies", "record.figure('value', 2)\nos.kill(os.getpid(), 11)"),
        fake("leaves", "record.figure('value', 3)\nos._exit(3)"),
    ]
    started = time.monotonic()
    checked = run_check(tmp_path / "out", stages=stages)
    assert time.monotonic() - started < 40
    assert checked.code == 1
    found = {name: stage["reason"] for name, stage in checked.stages.items()}
    assert found["hangs"] == "killed: it ran past its limit of 4 s"
    assert found["dies"] == "it was ended by SIGSEGV"
    assert found["leaves"] == "it ended with exit code 3 and no outcome"
    assert [checked.figures(name) for name in ("hangs", "dies", "leaves")] == [
        {"value": 1},
        {"value": 2},
        {"value": 3},
    ]


def test_finished_stages_are_kept_unless_again(tmp_path, fake):
    stages = [
        PREPARE,
        fake("good", GOOD),
        fake("bad", "record.check('bad', False, str(os.getpid()))"),
    ]
    first, second = (run_check(tmp_path / "out", stages=stages) for _ in range(2))
    assert first.code == second.code == 1
    assert first.figures("good") == second.figures("good")
    assert first.stages["bad"]["checks"] != second.stages["bad"]["checks"]
    again = run_check(tmp_path / "out", "--again", stages=stages)
    assert again.figures("good") != first.figures("good")


def test_stages_without_time_are_skipped_with_the_reason(tmp_path, fake):
    stages = [PREPARE, fake("short", GOOD, least=1), fake("long", GOOD, least=500)]
    checked = run_check(tmp_path / "out", "--minutes", "1", stages=stages)
    assert checked.code == 0
    assert checked.stages["short"]["status"] == "ok"
    assert checked.stages["long"]["status"] == "skipped"
    assert checked.stages["long"]["reason"].endswith("s were left of 60 s, and it needs 500 s")


def test_stages_by_name_and_unknown_ones(tmp_path, fake, capsys):
    stages = [PREPARE, fake("one", GOOD), fake("two", GOOD)]
    checked = run_check(tmp_path / "out", "--stages", "two", stages=stages)
    assert list(checked.stages) == ["prepare", "two"]
    after = run_check(tmp_path / "out", "--stages", "one", stages=stages)
    assert list(after.stages) == ["prepare", "one", "two"]
    assert after.figures("two") == checked.figures("two")
    assert check.main(["--out", str(tmp_path / "out"), "--stages", "three"], stages) == 2
    assert "unknown stage three; known: prepare, one, two" in capsys.readouterr().err


def test_ctrl_c_keeps_finished_stages(tmp_path):
    out = tmp_path / "out"
    # A job in the background of a shell ignores SIGINT, and so do its children.
    heeding = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    heeding += "; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", heeding, str(SCRIPT), "--device", "cpu", "--out", str(out)]
    command += ["--stages", "machine,speed-pretrained"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "speed-pretrained: pretrained" in line:
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    result = json.loads((out / "result.json").read_text())
    found = {stage["name"]: (stage["status"], stage["reason"]) for stage in result["stages"]}
    assert found == {
        "prepare": ("ok", ""),
        "machine": ("ok", ""),
        "speed-pretrained": ("failed", "interrupted"),
    }


def test_wheels_and_an_archive_of_images_are_prepared(tmp_path, fake):
    """A wheel in parts precedes an installed package; an incompatible wheel is not used."""
    from test_wheels import make_runtime, make_wheel, split

    wheels, tag = tmp_path / "wheels", f"cp{sys.version_info[0]}{sys.version_info[1]}"
    platform = "manylinux_2_17_x86_64.manylinux_2_17_aarch64"
    right = make_runtime(wheels, "99.0", f"{tag}-{tag}-{platform}", None)
    split(right, 3)
    wrong = make_runtime(wheels, "99.5", f"cp39-cp39-{platform}", None)
    make_wheel(wheels, "hashkit_made_up-1-py3-none-any.whl", {"hashkit_made_up.py": "x = 5"})
    images = tmp_path / "images"
    for part in ("train", "test"):
        (images / part / "cat").mkdir(parents=True)
    archive = shutil.make_archive(str(tmp_path / "cifar10"), "gztar", images)
    stages = [
        PREPARE,
        fake(
            "looks",
            """
            import hashkit, hashkit_made_up, onnxruntime
            record.figure("version", onnxruntime.version)
            record.figure("file", onnxruntime.__file__)
            record.figure("hashkit", hashkit.__file__)
            record.figure("root", settings.environment()["data"]["root"])
            """,
        ),
    ]
    arguments = ("--wheels", str(wheels), "--data-root", archive)
    checked = run_check(tmp_path / "out", *arguments, stages=stages)
    assert checked.code == 0
    rows = {row["wheel"]: row for row in checked.figures("prepare")["wheels"]}
    assert rows[right.name]["outcome"] == "chosen"
    assert rows[wrong.name]["outcome"] == "not used"
    assert "it is for cp39 cp39" in rows[wrong.name]["reason"]
    assert checked.figures("looks") == {
        "version": "99.0",
        "file": "<work>/site/onnxruntime/__init__.py",
        "hashkit": "<work>/package/hashkit/__init__.py",
        "root": "<work>/images/cifar10",
    }
