"""The tests marked ``gpu``, run by pytest in its own process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from gpucheck.record import Record, SkipStage
from gpucheck.settings import ROOT, Settings

_ONE_FILE = "test_runtimes.py"
"""Without a GPU all of these tests skip, so one file is enough to test this stage."""


def run(record: Record, settings: Settings) -> None:
    """Run the files with such tests; pytest's time limit ends tests that hang."""
    if importlib.util.find_spec("pytest") is None:
        raise SkipStage("pytest is not installed")
    files = _files_with_gpu_tests()
    if settings.is_small:
        files = [path for path in files if path.name == _ONE_FILE]
    report = settings.work_path / "gpu-tests.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", *map(str, files), "-m", "gpu", "-v", "-rs"]
    # Warnings are no errors here, because versions may differ from the pinned ones. The options in
    # the repository's configuration need plugins that may be missing.
    command += ["-W", "default", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", f"--junit-xml={report}"]
    if importlib.util.find_spec("pytest_timeout") is not None:
        command.append("--timeout=100")
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=max(10.0, record.left() - 3), check=False)
        code = str(done.returncode)
    except subprocess.TimeoutExpired:
        code = "none: it ran out of time"
    record.figure("files", [path.name for path in files])
    record.figure("exit_code", code)
    if not report.is_file():
        record.check("the tests marked gpu", False, f"no report; exit code {code}")
        return
    _read(record, report)


def _files_with_gpu_tests() -> list[Path]:
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in paths if "mark.gpu\n" in path.read_text(encoding="utf-8")]


def _read(record: Record, report: Path) -> None:
    """Record the outcomes of tests from pytest's report."""
    outcomes: dict[str, list[str]] = {"passed": [], "skipped": [], "failed": []}
    reasons = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        outcome = "passed"
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome = "skipped" if child.tag == "skipped" else "failed"
                message = (child.get("message") or "").strip() or child.tag
                reasons[name] = message.splitlines()[0]
        outcomes[outcome].append(name)
    record.figure("outcomes", {name: len(tests) for name, tests in outcomes.items()})
    record.figure("skipped", {name: reasons[name] for name in outcomes["skipped"]})
    for name in outcomes["failed"]:
        record.check(name, False, reasons[name])
    n_run = len(outcomes["passed"]) + len(outcomes["failed"])
    record.check(
        "the tests marked gpu",
        not outcomes["failed"],
        f"{len(outcomes['passed'])} of {n_run} passed",
    )
