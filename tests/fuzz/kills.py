"""Kills every command that writes at random moments, and checks what it leaves.

    python tests/fuzz/kills.py                    # continues where it stopped
    python tests/fuzz/kills.py --kills 100        # until there are 100 in all
    python tests/fuzz/kills.py --scene encode --case 17

A case is a number: the moment of the kill follows from it and from the measured duration of the
command. After the kill, every file under a final name must be whole, and every committed row of a
bank must be right. Then the same command is typed again; it, or the one that its error names, must
end with the contents that an undisturbed command leaves, and with no other files but locks.

Commands run in processes forked from one that has imported everything, so that a case takes a
fraction of a second; one case in twenty-five runs as a process of its own, so that imports are
killed too. The results are lines of kills.jsonl.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from killing.forks import OverTimeError, answered, command_in_fork, command_in_process, preload
from killing.leftovers import contents_of, damage_in, lost_pictures, wrong_rows
from killing.scenes import SCENES, make_start, run_command

ROOT: Final = Path(__file__).resolve().parents[2]
_PROCESS_SHARE: Final = 0.04
_NOTE_SECONDS: Final = 30.0
_ROUND_SECONDS: Final = 1.0
"""Seconds of a quick command in one round."""


class Theatre:
    """The one folder in which all commands run, as paths are stored, and copies to start from."""

    def __init__(self, home: Path) -> None:
        self._home, self.work = home, home / "work"
        self._starts: dict[tuple[str, ...], Path] = {}

    def reset(self, steps: tuple[str, ...]) -> Path:
        """Put the start folder of some steps in place; steps are done once."""
        if steps not in self._starts:
            folder = self.reset(steps[:-1]) if len(steps) > 1 else self._replace(None)
            step = steps[-1]
            preload(lambda: make_start(step) or 0, folder)
            self.reset(steps[:-1]) if len(steps) > 1 else self._replace(None)
            code, _, printed = command_in_fork(lambda: make_start(step) or 0, folder)
            if code:
                raise RuntimeError(f"the step {step} failed: {printed}")
            self._starts[steps] = self._home / f"start-{len(self._starts)}"
            shutil.copytree(folder, self._starts[steps], symlinks=True)
        return self._replace(self._starts[steps])

    def _replace(self, start: Path | None) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        if start is None:
            self.work.mkdir()
        else:
            shutil.copytree(start, self.work, symlinks=True)
        return self.work


class Stage:
    """A scene, and what its undisturbed command does."""

    def __init__(self, name: str, theatre: Theatre) -> None:
        self.name, self.scene, self._theatre = name, SCENES[name], theatre
        self.before: dict[str, Any] = {}
        self.reference: dict[str, Any] = {}
        self.seconds = self._undisturbed()
        self.process_seconds = 0.0

    def _undisturbed(self) -> float:
        folder = self.copy()
        self.before = answered(lambda: contents_of(folder))
        preload(lambda: run_command(self.scene.command, self.scene.before), folder)
        preload(lambda: int(self._left_by_the_kill(folder)[1]), folder)
        seconds = []
        for _ in range(2):  # the first run may compile what the second one loads
            folder = self.copy()
            code, duration, printed = self.run(folder)
            if code:
                raise RuntimeError(f"{self.name}: exit code {code}: {printed}")
            seconds.append(duration)
            self.reference = answered(lambda folder=folder: contents_of(folder))
        return min(seconds)

    def copy(self) -> Path:
        """A fresh copy of the start folder."""
        return self._theatre.reset(self.scene.start)

    def run(self, folder: Path, kill_after: float | None = None) -> tuple[int | None, float, str]:
        return command_in_fork(
            lambda: run_command(self.scene.command, self.scene.before), folder, kill_after
        )

    def run_as_process(self, folder: Path, share: float) -> tuple[int | None, float, str]:
        line, before = shlex.split(self.scene.command), self.scene.before
        if not self.process_seconds:
            self.process_seconds = command_in_process(line, self.copy(), before=before)[1]
            folder = self.copy()
        return command_in_process(line, folder, share * self.process_seconds, before)

    def case(self, number: int) -> dict[str, Any]:
        """Run one case; its ``problems`` are empty if all is well."""
        rng = random.Random(f"{self.name} {number}")
        # Half of the kills come in the last third, where most commands write.
        share = rng.uniform(*rng.choice(((0, 1.05), (0.66, 1.05))))
        is_process = rng.random() < _PROCESS_SHARE
        folder = self.copy()
        if is_process:
            code, seconds, _ = self.run_as_process(folder, share)
        else:
            code, seconds, _ = self.run(folder, share * self.seconds)
        result = {
            "scene": self.name, "case": number, "killed": code is None, "process": is_process,
            "seconds": round(seconds, 3),
        }  # fmt: skip
        return result | {"problems": self._problems(folder, code)}

    def _problems(self, folder: Path, code: int | None) -> list[str]:
        problems = [] if code in (None, 0) else [f"exit code {code} without a kill"]
        damage, is_done = answered(lambda: self._left_by_the_kill(folder))
        problems += damage
        try:
            again, printed = self._typed_again(folder)
        except OverTimeError as error:  # unfinished files are not another problem
            return [*problems, f"typed again: {error}"]
        if again and not (is_done and "--overwrite" in printed):
            problems.append(f"typed again: exit code {again}: {printed[-600:]}")
        return problems + self._differences(folder)

    def _typed_again(self, folder: Path) -> tuple[int | None, str]:
        """Exit code and output of the same command, or of the one that its error names."""
        again, _, printed = self.run(folder)
        if again and self.scene.goes_on and "--resume" in printed:
            goes_on = self.scene.goes_on
            again, _, printed = command_in_fork(lambda: run_command(goes_on), folder)
        return again, printed

    def _left_by_the_kill(self, folder: Path) -> tuple[list[str], bool]:
        """What is damaged, and whether the command was done already."""
        found = damage_in(folder) + wrong_rows(folder, self.before, self.reference)
        found += lost_pictures(folder, self.before)
        is_done = not found and json.loads(json.dumps(contents_of(folder))) == self.reference
        return found, is_done

    def _differences(self, folder: Path) -> list[str]:
        found = answered(lambda: contents_of(folder))
        names = sorted(found.keys() | self.reference.keys())
        return [
            f"{name}: {_what(found.get(name), self.reference.get(name))}"
            for name in names
            if found.get(name) != self.reference.get(name)
        ]


def _one_round(stages: dict[str, Stage]) -> Iterator[str]:
    """Each scene once, and quick ones several times."""
    for name, stage in stages.items():
        for _ in range(max(1, round(_ROUND_SECONDS / stage.seconds))):
            yield name


def _what(found: Any, expected: Any) -> str:
    if expected is None:
        return "left over"
    return (
        "missing" if found is None else f"expected {str(expected)[:300]}, found {str(found)[:300]}"
    )


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scene", action="append", choices=tuple(SCENES), help="by default all")
    parser.add_argument("--case", type=int, help="run one case, and keep its folder")
    parser.add_argument("--kills", type=int, help="stop at so many processes killed, in all")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "kills")
    return parser.parse_args(arguments)


def main() -> int:
    options = parsed()
    names = options.scene or list(SCENES)
    shared = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="hashkit-kills-", dir=shared if shared.is_dir() else None))
    try:
        if options.case is not None:
            stage = Stage(names[0], Theatre(home))
            print(json.dumps(stage.case(options.case), indent=1))
            kept = options.folder / f"{names[0]}-{options.case}"
            shutil.copytree(home / "work", kept, dirs_exist_ok=True)
            print((home / "work.printed").read_text(), kept, sep="\n")
            return 0
        return campaign(names, home, options)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def campaign(names: list[str], home: Path, options: argparse.Namespace) -> int:
    """Run cases of all scenes in turn; returns 1 if one has a problem."""
    options.folder.mkdir(parents=True, exist_ok=True)
    log = options.folder / "kills.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    following = Counter(one["scene"] for one in done)
    n_killed, n_bad = sum(one["killed"] for one in done), 0
    began = noted = time.monotonic()
    stages, theatre = {}, Theatre(home)
    for name in names:
        stages[name] = Stage(name, theatre)
        print(f"{name}: {stages[name].seconds:.2f} s undisturbed", file=sys.stderr, flush=True)
    with log.open("a") as file:
        while options.kills is None or n_killed < options.kills:
            for name in _one_round(stages):
                result = stages[name].case(following[name])
                following[name] += 1
                n_killed += result["killed"]
                n_bad += bool(result["problems"])
                file.write(json.dumps(result) + "\n")
                file.flush()
                if result["problems"]:
                    print(f"{name} {result['case']}: {result['problems']}", file=sys.stderr)
            now = time.monotonic()
            if now - noted > _NOTE_SECONDS:
                noted = now
                rate = (sum(following.values()) - len(done)) / (now - began)
                print(f"{n_killed:,} killed, {rate:.1f} cases/s, {n_bad} bad", file=sys.stderr)
            if options.minutes is not None and now - began > 60 * options.minutes:
                break
    print(json.dumps({"cases": sum(following.values()), "killed": n_killed, "bad": n_bad}))
    return 1 if n_bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues")
    except OverTimeError as error:  # before a case began
        sys.exit(str(error))
