"""`hashkit doctor` says what works, what is absent and what is broken, and how to fix it."""

from __future__ import annotations

import json
from importlib import metadata

import numpy as np
import onnxruntime
import probe_model
import pytest
from cli_samples import hashkit as run_command
from cli_samples import succeed

import hashkit
from hashkit.codes import binarize
from hashkit.runtimes import cuda, health, protocol
from hashkit.runtimes.health import Check, check_runtime, check_runtimes, probe_images
from hashkit.workflow import installation


class Answering:
    """A runtime that answers the tiny model as it is told to."""

    name, provider, precision = "fake 1.0", "FakeProvider", "fp32"

    def __init__(self, codes, logits):
        self._answer = codes, logits

    def run(self, _):
        return self._answer


def answering(monkeypatch, codes, logits):
    monkeypatch.setattr(health, "open_runtime", lambda *_: Answering(codes, logits))


def true_answer():
    logits = probe_model.expected_logits(probe_images()).astype(np.float32)
    return binarize(logits), logits


@pytest.fixture
def checks(monkeypatch):
    """Statuses by name; no GPU, whatever this machine has."""
    monkeypatch.setattr(cuda, "why_no_cuda", lambda: "there is no NVIDIA driver")
    return {check.name: check for check in check_runtimes()}


# The tiny model


def test_the_shipped_model_is_the_one_that_the_tests_describe():
    assert probe_model.PATH.read_bytes() == probe_model.model_bytes()


def test_the_known_answer_is_that_of_the_model():
    expected = probe_model.expected_logits(probe_images())
    np.testing.assert_array_equal(np.reshape(health._LOGITS, (2, 12)), expected)
    assert len(np.unique(binarize(expected), axis=0)) == 2
    assert np.abs(expected).min() > 4 * health._TOLERANCE, "a bit could flip within the tolerance"


# Runtimes


def test_installed_runtimes_work_and_cuda_is_absent(checks):
    assert checks["onnxruntime on CPU"].status == "ok"
    assert onnxruntime.__version__ in checks["onnxruntime on CPU"].detail
    assert checks["reference on CPU"].status == "ok"
    assert checks["onnxruntime on CUDA"].status == "absent"
    assert checks["onnxruntime on CUDA"].detail == "there is no NVIDIA driver"
    assert checks["onnxruntime-tensorrt on CUDA"].status == "absent"


def test_a_right_answer_is_ok(monkeypatch):
    answering(monkeypatch, *true_answer())
    check = check_runtime("onnxruntime", "cpu")
    assert check == Check("onnxruntime on CPU", "ok", "fake 1.0, FakeProvider, fp32")


@pytest.mark.parametrize("fault", ["logits", "nan", "codes"])
def test_a_wrong_answer_is_broken(monkeypatch, fault):
    codes, logits = true_answer()
    if fault == "codes":
        codes = codes ^ 1
    else:
        logits = logits.copy()
        logits[1, 3] = np.nan if fault == "nan" else -logits[1, 3]
    answering(monkeypatch, codes, logits)
    check = check_runtime("onnxruntime", "cpu")
    assert check.status == "broken"
    assert ("wrong codes" if fault == "codes" else "wrong logits") in check.detail
    assert check.remedy


def test_an_absent_runtime_names_the_command(monkeypatch):
    monkeypatch.setattr(protocol, "why_no_package", lambda *_: "x is absent: pip install x")
    check = check_runtime("openvino", "cpu")
    assert check == Check("openvino on CPU", "absent", "x is absent", "pip install x")


def test_a_package_that_cannot_be_loaded_is_broken(monkeypatch):
    def fail(*_):
        raise ImportError("libx.so: cannot open shared object file\nmore")

    monkeypatch.setattr(health, "open_runtime", fail)
    check = check_runtime("onnxruntime", "cpu")
    assert check.status == "broken"
    assert check.detail == "ImportError: libx.so: cannot open shared object file more"
    assert "onnxruntime-gpu" in check.remedy


@pytest.mark.parametrize(
    ("driver", "built", "status"),
    [("12.8", "13.0", "broken"), ("13.1", "13.0", "ok"), ("13.0", "12.8", "ok")],
)
def test_a_driver_that_is_too_old_is_named(monkeypatch, driver, built, status):
    monkeypatch.setattr(cuda, "why_no_cuda", lambda: None)
    monkeypatch.setattr(cuda, "driver_version", lambda: driver)
    monkeypatch.setattr(cuda, "built_version", lambda: built)
    answering(monkeypatch, *true_answer())
    (check,) = (check for check in check_runtimes() if check.name == "onnxruntime on CUDA")
    assert check.status == status
    if status == "broken":
        assert check.detail == (
            "the driver runs CUDA 12.8 at most, onnxruntime-gpu was built for 13.0"
        )
        assert check.remedy.startswith("update the NVIDIA driver, or ")


def test_two_builds_in_one_folder_are_broken(monkeypatch):
    version = health.installed_version
    found = {"onnxruntime": "1.20.0", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(health, "installed_version", lambda name: found.get(name) or version(name))
    check = next(check_runtimes())
    assert check.status == "broken"
    assert "onnxruntime 1.20.0, onnxruntime-gpu 1.31.1" in check.detail
    assert check.remedy == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def test_the_build_is_the_installed_one():
    check = next(check_runtimes())
    assert check.status == "ok"
    assert onnxruntime.__version__ in check.detail


def test_the_right_build_for_the_machine_is_named(monkeypatch):
    said = {}
    for build in ("onnxruntime", "onnxruntime-gpu"):
        found = {build: "1.31.1", "hashkit-retrieval": "0.1.0"}
        monkeypatch.setattr(health, "installed_version", found.get)
        for driver in (None, "13.0"):
            monkeypatch.setattr(cuda, "driver_version", lambda driver=driver: driver)
            said[build, driver] = next(health._check_builds())
    assert {check.status for check in said.values()} == {"ok"}
    assert "the right one" in said["onnxruntime", None].detail
    assert "the right one" in said["onnxruntime-gpu", "13.0"].detail
    assert said["onnxruntime-gpu", None].remedy == (
        "pip uninstall -y hashkit-retrieval onnxruntime-gpu && "
        "pip install ./packaging/cpu (in a clone of hashkit)"
    )
    assert "does not use the NVIDIA GPU" in said["onnxruntime", "13.0"].detail


def test_two_distributions_of_hashkit_are_broken(monkeypatch):
    monkeypatch.setattr(installation, "installed_version", lambda _: "0.1.0")
    (check,) = installation.check_distributions()
    assert check.status == "broken"
    assert check.remedy.startswith("pip uninstall -y hashkit-retrieval hashkit-retrieval-cpu && ")


# Packages, threads, extras


def test_a_package_that_fails_to_load_is_broken(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("raise ImportError('no libfoo\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    packages = {"numpy": "numpy", "broken": "broken_package", "gone": "no_such_package"}
    good, broken, gone = installation.check_packages(packages)
    assert good == Check("numpy", "ok", np.__version__)
    assert broken.detail == "cannot be imported (no libfoo more)"
    assert broken.remedy == "pip install --force-reinstall broken"
    assert gone.status == "broken"


def test_extras_are_read_from_the_distribution(monkeypatch):
    requirements = ["numpy>=2", 'numpy>=2; extra == "a"', 'nothing-here; extra == "b"']
    requirements += ['onnx>=1; extra == "b"', 'pytest; extra == "dev"']
    monkeypatch.setattr(metadata, "requires", lambda _: requirements)
    first, second = installation.check_extras("some-name")
    assert first == Check("extra a", "ok", f"numpy {np.__version__}")
    assert (second.name, second.status) == ("extra b", "absent")
    assert second.detail == "nothing-here not installed"
    assert second.remedy == "pip install '.[b]' (in a clone of hashkit)"


def test_a_copy_that_is_not_installed_has_no_extras():
    (check,) = installation.check_extras("no-such-distribution")
    assert check.status == "absent"


def test_threads_say_what_limits_them(monkeypatch):
    monkeypatch.setattr(installation, "cpu_quota", lambda: 1.5)
    check = installation.check_threads()
    assert check.status == "ok"
    assert check.detail.endswith("a control group's quota of 1.5)")


# The command


def test_it_prints_a_line_for_each_check():
    shown = succeed("doctor").stdout
    lines = {line[8:].split("  ")[0]: line for line in shown.splitlines()}
    assert lines["hashkit"].endswith(hashkit.__version__)
    assert lines["onnxruntime on CPU"].startswith("ok ")
    assert all(line.split()[0] in ("ok", "absent", "broken") for line in shown.splitlines())


@pytest.mark.parametrize("status", ["ok", "absent", "broken"])
def test_the_exit_code_tells_broken_from_absent(monkeypatch, status):
    found = [Check("a", "ok", "1"), Check("b", status, "2", "fix it")]
    monkeypatch.setattr(installation, "check_installation", lambda: found)
    outcome = run_command("doctor --json")
    assert outcome.exit_code == (1 if status == "broken" else 0)
    document = json.loads(outcome.stdout)
    assert document["ok"] is (status != "broken")
    assert document["checks"][1] == {
        "name": "b",
        "status": status,
        "detail": "2",
        "remedy": "fix it",
    }
    assert run_command("doctor").exit_code == outcome.exit_code


def test_advice_is_given_in_flags(monkeypatch):
    found = [Check("a", "broken", 'no CUDA; use `device="cpu"`')]
    monkeypatch.setattr("hashkit.workflow.installation.check_installation", lambda: found)
    for line in ("doctor", "doctor --json"):
        outcome = run_command(line)
        assert outcome.exit_code == 1
        assert "no CUDA; use hashkit encode --device cpu" in outcome.stdout
