"""The record of a stage, written to disk after every figure."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Record", "SkipStage", "one_line", "write_json"]


class SkipStage(Exception):  # noqa: N818 - not an error
    """A requirement of a stage is missing; the message is the reason."""


class Record:
    """Figures and checks of a stage, written after each of them.

    Parameters
    ----------
    path
        The JSON file.
    identity
        Settings that the figures depend on; see `Settings.identity`.
    seconds
        Time limit of the stage.
    places
        Names by folder, which replace paths of this machine.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], seconds: float, places: Mapping[str, str]
    ) -> None:
        self._path = path
        self._identity = dict(identity)
        self._places = sorted(places.items(), key=lambda item: -len(item[0]))
        self._started = time.monotonic()
        self.seconds = seconds
        self.figures: dict[str, Any] = {}
        self.checks: list[dict[str, Any]] = []
        self._save("running", "")

    def left(self) -> float:
        """Seconds until the time limit."""
        return self.seconds - (time.monotonic() - self._started)

    def figure(self, name: str, value: Any) -> None:
        """Record a figure, or a dict of figures."""
        self.figures[name] = value
        print(f"{name}: {json.dumps(value, default=str)}", flush=True)
        self._save("running", "")

    def check(self, name: str, passed: bool, detail: str = "") -> bool:
        """Record the outcome of a check; returns whether it passed."""
        outcome = {"name": name, "passed": bool(passed), "detail": detail}
        self.checks.append(outcome)
        print(f"{'passed' if passed else 'FAILED'}: {name}: {detail}", flush=True)
        self._save("running", "")
        return bool(passed)

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Turn an exception into a failed check, so that the stage continues."""
        try:
            yield
        except SkipStage:
            raise
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self.check(name, False, one_line(error))

    def end(self, skipped: str = "", failed: str = "") -> None:
        """Write the outcome: failed or skipped with a reason, or according to the checks."""
        wrong = [one["name"] for one in self.checks if not one["passed"]]
        if failed:
            self._save("failed", failed)
        elif wrong:
            self._save("failed", f"{len(wrong)} of {len(self.checks)} checks failed")
        elif skipped:
            self._save("skipped", skipped)
        else:
            self._save("ok", "")

    def _save(self, status: str, reason: str) -> None:
        content = {
            "status": status,
            "reason": reason,
            "seconds": round(time.monotonic() - self._started, 2),
            "identity": self._identity,
            "figures": self.figures,
            "checks": self.checks,
        }
        write_json(self._path, self._without_places(content))

    def _without_places(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: item if name == "identity" else self._without_places(item)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._without_places(item) for item in value]
        if isinstance(value, str):
            for folder, name in self._places:
                value = value.replace(folder, name)
        return value


def one_line(error: BaseException) -> str:
    """Type and first line of an exception."""
    text = str(error).strip()
    kind = type(error).__name__
    return f"{kind}: {text.splitlines()[0]}" if text else kind


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1, default=_plain) + "\n", encoding="utf-8")
    part.replace(path)


def _plain(value: Any) -> Any:
    """A NumPy number as a Python number, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
