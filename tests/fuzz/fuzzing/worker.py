"""The process that reads damaged files, thousands in a row; its parent watches it.

It takes a JSON object per line, ``{"format": name, "first": case, "stop": case}``, and answers with
one object per finding and a last one with the counts. What readers print goes to a file. The number
of the case is in a small shared file, so that the parent knows where a crash or a hang was.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import mmap
import os
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from pathlib import Path
from typing import Any, Final

from fuzzing.catalogue import SUBJECTS
from fuzzing.subject import Subject, mutated
from hashkit.errors import HashkitError

__all__ = ["CASE", "MEMORY_BYTES", "run_case", "serve", "workspace"]

CASE: Final = struct.Struct("<qqq")
"""The shared file: the number of the case that runs, -1 between cases, and how many cases of the
request were read and refused."""

MEMORY_BYTES: Final = 4 << 30
"""Growth of the address space in one case; more is a `MemoryError`, which is a finding."""

_NOT_SHOWN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, lone surrogates, and ends of lines."""

_ROOTS: Final = ("/toolkit/", "/datasets/", "/runtimes/", "/exporters/")


class _Records(logging.Handler):
    """Remembers log messages of more than one line; commands print others as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.odd: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "\n" in text:
            self.odd.append(text)


def serve(numbers: Path, printed: Path) -> None:
    """Answer requests from standard input until it ends.

    Parameters
    ----------
    numbers
        The shared file.
    printed
        The file that takes the place of standard output and standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    with printed.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    faulthandler.enable()
    with numbers.open("r+b") as file, mmap.mmap(file.fileno(), CASE.size) as current:
        harness = _Harness(current, answers)
        for line in sys.stdin:
            harness.run(**json.loads(line))


class _Harness:
    def __init__(self, current: mmap.mmap, answers: Any) -> None:
        self._current, self._answers = current, answers
        self._subjects: dict[str, Subject] = {}
        self._folder = workspace()
        self._records = _Records()
        logging.getLogger().addHandler(self._records)
        # Readers wait for writers that may be at work; there are none here.
        time.sleep = lambda _: None

    def run(self, format: str, first: int, stop: int) -> None:  # noqa: A002 - as in the requests
        if format not in self._subjects:
            folder = self._folder / format
            folder.mkdir()
            self._subjects[format] = SUBJECTS[format](folder)
            _warm_up(self._subjects[format])
        _limit_memory()
        n_read, n_refused = 0, 0
        for case in range(first, stop):
            CASE.pack_into(self._current, 0, case, n_read, n_refused)
            outcome, finding = run_case(self._subjects[format], format, case, self._records.odd)
            if finding is not None:
                self._say({"format": format, "case": case, **finding})
            n_read += finding is None and outcome == "read"
            n_refused += finding is None and outcome == "refused"
            CASE.pack_into(self._current, 0, -1, n_read, n_refused)
        self._say({"done": True})

    def _say(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()


def _warm_up(subject: Subject) -> None:
    """Use undamaged files in several ways, so that no case takes the time to compile kernels."""
    for number in range(8):
        subject.path.unlink(missing_ok=True)
        subject.path.write_bytes(subject.seeds[number % len(subject.seeds)])
        with contextlib.suppress(HashkitError):
            subject.read(subject.path, random.Random(number))


def workspace() -> Path:
    """A new folder in memory, where the system has one."""
    shared = Path("/dev/shm")
    parent = shared if shared.is_dir() else None
    return Path(tempfile.mkdtemp(prefix=f"hashkit-fuzz-{os.getpid()}-", dir=parent))


def run_case(
    subject: Subject, name: str, case: int, odd_records: list[str]
) -> tuple[str, dict[str, str] | None]:
    """Read the file of one case.

    Returns
    -------
    tuple
        ``read`` or ``refused``, and the finding, if there is one: its ``kind``, a ``key`` that
        equal findings share, and a ``text``.
    """
    rng = random.Random(f"{name} {case}")
    data = mutated(subject, rng)
    subject.path.unlink(missing_ok=True)  # overwritten in place, a mapping of it would change
    subject.path.write_bytes(data)
    start = os.fstat(2).st_size
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # as on the command line
        outcome, finding = _read(subject, rng)
    if finding is None and caught:
        finding = _described("warning", f"{caught[0].category.__name__}: {caught[0].message}")
    if finding is None and odd_records:
        finding = _described("log message of several lines", odd_records[0])
    odd_records.clear()
    if finding is None and os.fstat(2).st_size > start:
        finding = _described("output", _printed_since(start))
    return outcome, finding


def _read(subject: Subject, rng: random.Random) -> tuple[str, dict[str, str] | None]:
    try:
        subject.read(subject.path, rng)
    except HashkitError as error:
        text = str(error)
        if text and not any(unicodedata.category(one) in _NOT_SHOWN for one in text):
            return "refused", None
        key = "\n".join([type(error).__name__, *_own_frames(error)])
        return "refused", {"kind": "message", "key": key, "text": ascii(text)[:2000]}
    except (Exception, RecursionError, MemoryError) as error:
        frames = [type(error).__name__, *_own_frames(error)]
        text = "".join(traceback.format_exception(error))
        text = text if len(text) < 6000 else f"{text[:3000]}\n...\n{text[-3000:]}"
        return "raised", {"kind": "exception", "key": "\n".join(frames), "text": text}
    return "read", None


def _own_frames(error: BaseException) -> list[str]:
    """The last places in hashkit's code."""
    frames = [
        f"{frame.filename}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if any(root in frame.filename for root in _ROOTS) and "site-packages" not in frame.filename
    ]
    return [name.rpartition("/")[2] for name in frames[-3:]]


def _described(kind: str, text: str) -> dict[str, str]:
    # Messages of other libraries name the place in the file; their first words are the same.
    words = text.partition(":")[0] if kind == "output" else text.partition(".")[0]
    key = "".join("#" if one.isdigit() else one for one in words[:40])
    return {"kind": kind, "key": f"{kind} {key}", "text": text[:2000]}


def _printed_since(start: int) -> str:
    with Path(f"/proc/self/fd/{2}").open("rb") as file:
        file.seek(start)
        return file.read(2000).decode("utf-8", "replace")


def _limit_memory() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = n_pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
