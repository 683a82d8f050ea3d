from __future__ import annotations

import itertools
import types

from linear_models import linear_model
from looped import looped

from hashkit.cli.console import TERMINAL
from hashkit.messages.byte_counts import file_size
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.encoding import load_encoder
from hashkit.workflow.models import find_run
from hashkit.workflow.reporter import SILENT, NoteList, plural


def test_notes_go_to_the_reporter_and_nowhere_else(tmp_path, capfd):
    run = Run.create(tmp_path, "first", RunConfig())
    linear_model(run.model_path, n_bits=12, height=8, width=8)
    kept = NoteList()
    assert find_run(None, tmp_path, kept).path == run.path
    load_encoder(run.model_path, RuntimeSettings(device="cpu"), kept)
    newest, model = kept.lines
    assert newest == f"using the newest run, {run.path}"
    assert model.startswith(f"{run.model_path}: 12 bits, onnxruntime ")
    assert capfd.readouterr() == ("", "")


def test_without_a_reporter_nothing_is_said(tmp_path, capfd):
    Run.create(tmp_path, "first", RunConfig())
    find_run(None, tmp_path)
    SILENT.note("unheard")
    with SILENT.progress("unseen", 10, "images", start=2) as bar:
        bar.update(10, "all")
    assert capfd.readouterr() == ("", "")


def test_the_terminal_reports_on_standard_error(capfd):
    TERMINAL.note("a line")
    with TERMINAL.progress("reading", 10, "images") as bar:
        bar.update(10)
    out, err = capfd.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == "a line"
    assert second.startswith("reading: 10 of 10 images, ")


def test_lines_in_a_log_come_less_often_in_long_work(capfd, monkeypatch):
    now = 0.0
    monkeypatch.setattr("hashkit.cli.console.time", types.SimpleNamespace(perf_counter=lambda: now))
    told_at = []
    with TERMINAL.progress("reading", 10_000, "images") as bar:
        for now in range(7_200):
            bar.update(now)
            if capfd.readouterr().err:
                told_at.append(now)
    between = [after - before for before, after in itertools.pairwise(told_at)]
    assert told_at[0] == 5
    assert between == sorted(between)
    assert between[-1] == 60
    assert len(told_at) < 200


@looped(
    ("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1200, "1,200 images")]
)
def test_counts_have_their_noun(count, text):
    assert plural(count, "image") == text


@looped(
    ("n_bytes", "text"),
    [
        (12, "12 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (3_400_000, "3.4 MB"),
        (10**16, "10,000.0 TB"),
    ],
)
def test_sizes_have_a_unit_that_suits_them(n_bytes, text):
    assert file_size(n_bytes) == text
