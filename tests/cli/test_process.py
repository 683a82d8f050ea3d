"""What surrounds a command: signals, standard streams and the exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from cli_samples import succeed
from looped import looped
from PIL import Image
from small_models import linear_model

from hashkit.cli import process
from hashkit.cli.app import _errors_in_a_line
from hashkit.cli.process import _Notes, _Results, _Signals
from hashkit.cli.stop_signal import StopSignal

posix = pytest.mark.skipif(os.name == "nt", reason="signals and streams of POSIX")
starts_processes = [posix, pytest.mark.end_to_end]


class FullDisk(io.RawIOBase):
    """A file that nothing can be written to."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def write(self, _data: object) -> int:
        raise OSError(self._number, os.strerror(self._number))


def stream_to(raw: io.RawIOBase | io.BytesIO, encoding: str = "utf-8") -> io.TextIOWrapper:
    buffer = raw if isinstance(raw, io.BytesIO) else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding)


# Streams


@looped("kind", [_Results, _Notes])
@looped(
    ("encoding", "written"),
    [
        ("utf-8", "кот ━ \\udcff".encode()),
        ("cp1252", b"\\u043a\\u043e\\u0442 \\u2501 \\udcff"),
        ("latin-1", b"\\u043a\\u043e\\u0442 \\u2501 \\udcff"),
        ("ascii", b"\\u043a\\u043e\\u0442 \\u2501 \\udcff"),
        ("cp866", "кот ".encode("cp866") + b"\\u2501 \\udcff"),
    ],
)
def test_characters_that_an_encoding_lacks_are_escaped(kind, encoding, written):
    memory = io.BytesIO()
    stream = kind.of(stream_to(memory, encoding))
    print("кот ━ \udcff", file=stream, flush=True)
    assert memory.getvalue().rstrip() == written


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (errno.ENOSPC, 1, "error: standard output: No space left on device; free some space"),
        (errno.EBADF, 1, "error: standard output: Bad file descriptor; it is closed"),
        (errno.EPIPE, 141, ""),
    ],
)
def test_results_that_cannot_be_written_end_the_command(monkeypatch, capsys, number, code, line):
    replaced = []
    monkeypatch.setattr(process, "_replace_stream", lambda *where: replaced.append(where))
    results = _Results.of(stream_to(FullDisk(number)))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is checked
        print("result", file=results, flush=True)
    assert caught.value.filename == "standard output"
    assert results.failure is caught.value
    assert replaced == [(1, os.O_WRONLY)]
    assert process._code_of_failure(results.failure) == code
    assert capsys.readouterr().err.startswith(line)


def test_notes_that_cannot_be_written_do_not_end_the_work():
    notes = _Notes.of(stream_to(FullDisk(errno.ENOSPC)))
    print("note", file=notes, flush=True)
    notes.flush()


# Signals


@pytest.fixture
def signals():
    return _Signals()


def test_during_the_work_a_signal_raises(signals):
    with pytest.raises(KeyboardInterrupt), signals.working():
        signals._take(signal.SIGINT, None)
    assert signals.received == signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_and_after_the_work_a_signal_ends_the_process(signals, monkeypatch, number):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    signals._take(number, None)
    with signals.working():
        pass
    signals._take(number, None)
    assert codes == [128 + number, 128 + number]


def test_exit_codes_tell_the_signal(signals):
    assert signals.exit_code(130) == 130
    signals.received = signal.SIGTERM
    assert signals.exit_code(130) == 143
    assert [signals.exit_code(code) for code in (0, 1, 2)] == [0, 1, 2]
    signals.received, signals.stopped_by = None, signal.SIGTERM
    assert signals.exit_code(130) == 143


@posix
def test_a_training_takes_the_signals_that_are_not_ignored(monkeypatch, capsys):
    monkeypatch.setattr("hashkit.cli.stop_signal.SIGNALS.stopped_by", None)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        with StopSignal() as should_stop:
            assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]
            assert not should_stop()
            os.kill(os.getpid(), signal.SIGHUP)
            assert not should_stop()
            signal.raise_signal(signal.SIGTERM)
            assert should_stop()
            assert process.SIGNALS.stopped_by == signal.SIGTERM
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == "stopping after this step, and saving\n"


def words(text: str) -> str:
    return text


@looped(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left", "a.h5"), "a.h5: No space left; free some space"),
        (OSError("a library's words"), "a library's words; fix that"),
        (PermissionError(errno.EACCES, "Denied"), "Denied; change its permissions"),
        (MemoryError(), "there is not enough memory"),
        (ModuleNotFoundError("no", name="some"), "some is not installed: pip install"),
    ],
)
def test_errors_of_the_system_become_one_line(capsys, error, line):
    with pytest.raises(typer.Exit) as caught, _errors_in_a_line(words):
        raise error
    assert caught.value.exit_code == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {line}")


def test_an_error_caused_by_an_interrupt_counts_as_an_interrupt(monkeypatch):
    monkeypatch.setattr("hashkit.cli.app.SIGNALS.received", signal.SIGINT)
    for error in (ValueError("an open archive"), OSError("x"), ModuleNotFoundError("y")):
        with pytest.raises(KeyboardInterrupt), _errors_in_a_line(words):
            raise error


def test_other_errors_are_bugs_and_are_raised_unchanged():
    with pytest.raises(ZeroDivisionError), _errors_in_a_line(words):
        raise ZeroDivisionError


INTERRUPTED_IMPORT = """
import sys, time
from hashkit.cli.process import SIGNALS

SIGNALS.install()
with SIGNALS.working():
    try:
        import slow_module
        print("imported", slow_module.is_whole, flush=True)
        time.sleep(20)
    except KeyboardInterrupt:
        print("interrupted")
"""
INTERRUPTED_FINALISER = """
import os, signal, sys, time
from hashkit.cli.process import SIGNALS

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

SIGNALS.install()
with SIGNALS.working():
    try:
        Finalised()
        time.sleep(20)
    except KeyboardInterrupt:
        print("interrupted")
"""


def run_code(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # A shell starts background processes, and so their children, with SIGINT ignored.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.run(
        [sys.executable, "-c", heeding + code], cwd=folder, capture_output=True, text=True
    )


class TestSignals:
    pytestmark = starts_processes

    def test_an_import_is_completed_first(self, tmp_path):
        (tmp_path / "slow_module.py").write_text(
            "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\n"
            "time.sleep(0.1)\nis_whole = True\n"
        )
        done = run_code(INTERRUPTED_IMPORT, tmp_path)
        assert done.stdout.split()[-1] == "interrupted"
        assert done.stderr == ""

    def test_a_second_signal_in_an_import_ends_the_process(self, tmp_path):
        (tmp_path / "slow_module.py").write_text(
            "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\n"
            "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
        )
        done = run_code(INTERRUPTED_IMPORT, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

    def test_an_interrupt_in_a_finaliser_is_not_lost(self, tmp_path):
        done = run_code(INTERRUPTED_FINALISER, tmp_path)
        assert (done.stdout, done.stderr) == ("interrupted\n", "")

    def test_ignored_signals_stay_ignored(self, tmp_path):
        code = (
            "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "from hashkit.cli.process import SIGNALS; SIGNALS.install()\n"
            "os.kill(os.getpid(), signal.SIGINT); print('goes on')"
        )
        assert run_code(code, tmp_path).stdout == "goes on\n"


# Whole processes


@pytest.fixture(scope="module")
def album(tmp_path_factory) -> Path:
    """A model, and a bank of images some of whose names most encodings lack."""
    place = tmp_path_factory.mktemp("album")
    linear_model(place / "m.onnx", n_bits=12, height=8, width=8)
    (place / "images").mkdir()
    for number, name in enumerate(["a.png", "кот.png", "naïve ☃.png"]):
        Image.fromarray(np.full((8, 8, 3), 60 * number, np.uint8)).save(place / "images" / name)
    succeed(f"encode {place}/images --model {place}/m.onnx --out {place}/b.h5")
    return place


SEARCH = ["search", "--query", "images/кот.png", "--bank", "b.h5", "--model", "m.onnx"]


def command(*arguments: str, redirected: str = "") -> list[str]:
    hashkit = [sys.executable, "-c", "from hashkit.cli import main; main()", *arguments]
    return ["sh", "-c", f'"$@" {redirected}', "sh", *hashkit] if redirected else hashkit


class TestProcesses:
    pytestmark = starts_processes

    @pytest.mark.parametrize(
        "setting",
        [
            {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
            {"PYTHONIOENCODING": "ascii:strict"},
            {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
            {"COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb"},
        ],
    )
    def test_names_are_written_in_every_encoding(self, album, setting):
        done = subprocess.run(
            command(*SEARCH), cwd=album, env=os.environ | setting, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert b"a.png" in done.stdout.replace(b"\n", b"")
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "shell", "code", "last"),
        [
            (["--version"], ">/dev/full", 1, "error: standard output: No space left on device; "),
            (["--help"], ">/dev/full", 1, "error: standard output: No space left on device; "),
            (["info", "b.h5"], ">&-", 1, "error: standard output: Bad file descriptor; "),
            ([*SEARCH, "--json"], ">/dev/full", 1, "error: standard output: No space left on "),
            (["info", "b.h5"], "2>&-", 0, ""),
            (["info", "b.h5"], "2>/dev/full", 0, ""),
            (["info", "none.h5"], "2>&-", 1, ""),
            (["info", "b.h5"], "<&-", 0, ""),
        ],
    )
    def test_streams_that_are_full_or_closed(self, album, arguments, shell, code, last):
        line = command(*arguments, redirected=shell)
        done = subprocess.run(line, cwd=album, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        lines = done.stderr.splitlines() or [""]
        assert lines[-1].startswith(last)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr

    def test_a_closed_output_is_never_a_file_that_is_written(self, album, tmp_path):
        """The lowest free number would otherwise go to the bank, and prints into it."""
        line = command("convert", "b.h5", str(tmp_path / "c.npz"), redirected="<&- >&- 2>&-")
        assert subprocess.run(line, cwd=album).returncode == 0
        with np.load(tmp_path / "c.npz") as archive:
            assert archive["codes"].shape == (3, 2)

    def test_a_reader_that_ends_first_is_not_an_error(self, album):
        process = subprocess.Popen(
            command(*SEARCH, "--json"), cwd=album, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.close()
        said = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait() == 141
        assert "Traceback" not in said
        assert "error" not in said

    @pytest.mark.parametrize(
        "number",
        [
            signal.SIGINT,
            pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
            pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        ],
    )
    def test_a_signal_at_any_time_is_quiet(self, album, number):
        """From the moment at which Python has started and runs code of this project."""
        heeding = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from hashkit.cli import main, process; print(flush=True); main()"
        )
        line = [sys.executable, "-c", heeding, *SEARCH]
        begun = time.monotonic()
        subprocess.run(line, cwd=album, capture_output=True, check=True)
        longest = time.monotonic() - begun
        delays = np.random.default_rng(number)
        for _ in range(6):
            process = subprocess.Popen(
                line, cwd=album, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            process.stdout.readline()
            # After the import of `process`, `main` needs no more than this to take the signals.
            time.sleep(0.01 + delays.random() * longest)
            process.send_signal(number)
            _, said = process.communicate()
            assert process.returncode in (0, 128 + number), said
            assert "Traceback" not in said
            assert "Exception ignored" not in said
            if process.returncode:
                assert said.count("\n") <= 2
