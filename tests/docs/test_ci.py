"""Make's targets explain themselves, and CI runs all that a change must pass."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def targets() -> list[str]:
    """Targets that are not files."""
    return " ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)).split()


@pytest.mark.end_to_end
def test_make_alone_lists_every_target():
    ended = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    shown = re.findall(r"^  make (\S+) +\S", ended.stdout, re.MULTILINE)
    assert sorted(shown) == sorted(targets())


def test_ci_runs_each_check_and_the_tests_last():
    steps = re.findall(r'^step "([^"]+)"', CI, re.MULTILINE)
    assert steps[0].startswith("install ")
    for command in ("demo", "lint", "types", "docs", "fuzz", "gpu-check-cpu"):
        assert f"make {command}" in CI
    assert steps[-2:] == ["make test", "make test-end-to-end"]


def test_contributing_lists_each_steps_share_of_twenty_minutes():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("`", "")
    steps = re.findall(r'^step "([^"]+)"', CI, re.MULTILINE)
    rows = re.findall(r"^\| (.+?) \| (\d+) s \| (?:(\d+) s )?\|$", text, re.MULTILINE)
    shares = {name: int(share) for name, share, _ in rows}
    assert [name for name in shares if not name.endswith(", to come")] == steps
    assert 15 * 60 < sum(shares.values()) <= 20 * 60
    assert all(int(measured) <= int(share) for _, share, measured in rows if measured)


def test_the_workflow_calls_the_same_script_and_only_pinned_actions():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert {"run": ".ci/run"} in jobs["linux"]["steps"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert len(used) >= 4
    assert [name for name in used if not re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", name)] == []
    assert jobs["smoke"]["strategy"]["matrix"]["os"] == ["macos-14", "windows-2022"]
