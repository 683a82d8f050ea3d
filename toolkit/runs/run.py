"""The run folder: one training run and everything made from it.

::

    runs/<name>/
        config.json       settings, image set, split, device
        faults.jsonl      images that could not be used, if there were any
        metrics.jsonl     one line per interval: step, loss, rate; held-out results
        checkpoints/      step-0001234.safetensors (snapshots), best.safetensors
        summary.json      written when the training is done
        model.onnx        by `hashkit export --onnx`
        bank.h5           codes of the database, by `hashkit encode` or `hashkit search`
        queries.h5        codes of the queries, by the same commands
        evaluation.json   by `hashkit evaluate`
        baselines/        codes of other methods, by `hashkit evaluate --baselines`
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from hashkit.errors import RunError
from hashkit.files.private import is_private_name, remove_leftovers
from hashkit.files.writing import write_whole
from hashkit.inputs.arguments import checked_arguments
from hashkit.runs.metrics_file import append_metrics, read_metrics, rewind_metrics
from hashkit.runs.run_config import RunConfig, read_json_object, read_run_config

__all__ = [
    "DEFAULT_RUNS_DIR",
    "PathText",
    "Run",
    "as_run",
    "bank_path",
    "run_name",
    "whole_run",
    "write_json",
]

PathText: TypeAlias = str | os.PathLike[str]

DEFAULT_RUNS_DIR: Final = Path("runs")
_SNAPSHOT = re.compile(r"step-(\d+)\.safetensors")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file completely or not at all."""
    # A path that is not UTF-8 holds lone surrogates, which JSON can only escape.
    escape = "backslashreplace"
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8", escape))


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def config_path(self) -> Path:
        """Settings of the run."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """Progress of the training, JSON lines."""
        return self.path / "metrics.jsonl"

    @property
    def summary_path(self) -> Path:
        """Outcome of the training."""
        return self.path / "summary.json"

    @property
    def model_path(self) -> Path:
        """The exported model."""
        return self.path / "model.onnx"

    @property
    def embedder_path(self) -> Path:
        """The embedder of a run on frozen features."""
        return self.path / "embedder.onnx"

    @property
    def bank_path(self) -> Path:
        """Codes of the database."""
        return self.path / "bank.h5"

    @property
    def queries_path(self) -> Path:
        """Codes of the queries."""
        return self.path / "queries.h5"

    @property
    def checkpoints_path(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best_path(self) -> Path:
        """Checkpoint with the best held-out score."""
        return self.checkpoints_path / "best.safetensors"

    @classmethod
    def create(
        cls,
        parent: Path,
        name: str,
        config: RunConfig,
        write_embedder: Callable[[Path], None] | None = None,
    ) -> Run:
        """Make a new run folder below ``parent`` and write its config.json.

        Leftovers of a killed attempt are removed first. The config.json is written last, with the
        current time.

        Parameters
        ----------
        write_embedder
            Writes the run's embedder to a path, if it has one.

        Raises
        ------
        RunError
            If something of that name exists already.
        OSError
            If the embedder cannot be written; the folder is removed.
        """
        cls.check_free(parent, name)
        run = cls(parent / name)
        run._remove_remains()
        run.path.mkdir(parents=True)
        run.checkpoints_path.mkdir()
        if write_embedder is not None:
            try:
                write_embedder(run.embedder_path)
            except OSError:
                run._remove_remains()
                raise
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        write_json(run.config_path, dataclasses.replace(config, created=created).to_dict())
        return run

    @classmethod
    def check_free(cls, parent: Path, name: str) -> None:
        """Check that a run of that name can be made below ``parent``.

        Raises
        ------
        RunError
            If something of that name exists already.
        """
        path = parent / name
        if path.exists() and not cls(path).is_cut_off():
            raise RunError(
                f"{path} exists already: choose another `name=...`, or continue that run with "
                f'`hashkit.resume("{path}")`'
            )

    @classmethod
    @checked_arguments
    def open(cls, path: PathText) -> Run:
        """Open an existing run folder.

        Raises
        ------
        RunError
            If it is not one.
        """
        run = cls(Path(path))
        if not run.config_path.is_file():
            raise RunError(f"{path} is not a run folder: it has no config.json")
        return run

    @classmethod
    def newest(cls, parent: Path, when_damaged: Callable[[str], None] | None = None) -> Run:
        """Open the run below ``parent`` that was created last.

        Parameters
        ----------
        when_damaged
            Called with the problem of an unreadable config.json; its run is skipped.

        Raises
        ------
        RunError
            If there is none.
        """
        runs = []
        for path in sorted(parent.glob("*/config.json")):
            try:
                created = str(read_json_object(path).get("created"))
            except RunError as error:
                if when_damaged is not None:
                    when_damaged(str(error))
            else:
                runs.append((created, path.parent))
        if not runs:
            raise RunError(f"there is no run below {parent}{os.sep}: `hashkit train` makes one")
        return cls(max(runs)[1])

    @property
    def is_trained(self) -> bool:
        """Whether the training is done."""
        return self.summary_path.is_file()

    def per_length(self) -> dict[int, Run]:
        """The run of each trained code length; for a single length, the run itself.

        Returns
        -------
        dict
            Runs by their bits, in the order of the settings.

        Raises
        ------
        RunError
            If a training of several lengths is not finished, or one of their runs was removed.
        """
        lengths = self.read_config().training.lengths
        if len(lengths) == 1:
            return {lengths[0]: self}
        whole = self.path.resolve() if self.path.name in ("", "..") else self.path
        runs = {n_bits: Run(whole.parent / run_name(whole.name, n_bits)) for n_bits in lengths}
        for run in runs.values():
            if not run.config_path.is_file():
                raise RunError(
                    f"{run.path} is missing: it is made when the training of {self.path} ends; "
                    f'continue that with `hashkit.resume("{self.path}")`'
                )
        return runs

    def is_cut_off(self) -> bool:
        """Whether the folder is left over from a killed `create`, without any data."""
        if not self.path.is_dir() or self.path.is_symlink():
            return False
        # An embedder alone may be a file of the user.
        own_paths = [
            self.checkpoints_path,
            *([self.embedder_path] if self._has_embedder_only() else []),
        ]
        written = (self.config_path.name, self.embedder_path.name)
        return all(
            path in own_paths
            or (path.parent == self.path and any(is_private_name(path.name, n) for n in written))
            for path in self.path.rglob("*")
        )

    def _has_embedder_only(self) -> bool:
        is_file = self.embedder_path.is_file() and not self.embedder_path.is_symlink()
        return is_file and self.checkpoints_path.is_dir()

    def _remove_remains(self) -> None:
        # Each by name, so that nothing is lost that another process writes here meanwhile.
        remove_leftovers(self.config_path)
        remove_leftovers(self.embedder_path)
        if self._has_embedder_only():
            self.embedder_path.unlink()
        for folder in (self.checkpoints_path, self.path):
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()

    def discard(self, files: Iterable[Path]) -> None:
        """Remove a new run that failed: what `create` made, and ``files`` in it.

        The folder stays if it holds anything else.
        """
        for path in (*files, self.config_path):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._remove_remains()

    def read_config(self) -> RunConfig:
        """Content of config.json.

        Raises
        ------
        RunError
            See `hashkit.runs.run_config.read_run_config`.
        """
        return read_run_config(self.config_path)

    def snapshot_path(self, step: int) -> Path:
        """Path of the snapshot after ``step`` steps."""
        return self.checkpoints_path / f"step-{step:07d}.safetensors"

    def snapshots(self) -> list[tuple[int, Path]]:
        """(step, path) of all snapshots, oldest first."""
        found = []
        for path in self.checkpoints_path.glob("step-*.safetensors"):
            if match := _SNAPSHOT.fullmatch(path.name):
                found.append((int(match[1]), path))
        return sorted(found)

    def checkpoint_path(self) -> Path:
        """The checkpoint to export: the best on held-out images, otherwise the last.

        Raises
        ------
        RunError
            If there is none yet.
        """
        if self.best_path.is_file():
            return self.best_path
        snapshots = self.snapshots()
        if not snapshots:
            raise RunError(
                f"{self.path} has no checkpoint yet: continue its training with "
                f'`hashkit.resume("{self.path}")`'
            )
        return snapshots[-1][1]

    def append_metrics(self, entry: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        append_metrics(self.metrics_path, entry)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl, without an incomplete last line.

        Raises
        ------
        RunError
            If another line is not an object with a step.
        """
        return read_metrics(self.metrics_path)

    def rewind_metrics(self, step: int) -> None:
        """Drop the lines of metrics.jsonl after ``step``, because these steps will be run again."""
        rewind_metrics(self.metrics_path, step)


def as_run(run: Run | PathText) -> Run:
    """A run, given as such or by its folder.

    Raises
    ------
    RunError
        If that is not a run folder.
    """
    return run if isinstance(run, Run) else Run.open(Path(run))


def whole_run(run: Run) -> Run:
    """The training run; for the run of one of several code lengths, their common training run."""
    shared = run.read_config().shared
    return run if shared is None else Run.open(run.path.resolve().parent / shared.run)


def run_name(name: str, n_bits: int) -> str:
    """Name of the run folder of one of a run's code lengths."""
    return f"{name}-{n_bits}bits"


def bank_path(run: Run, part: Literal["queries", "database"]) -> Path:
    """Path of the bank of a run's queries or database."""
    return run.queries_path if part == "queries" else run.bank_path
