"""The run and the model that a command works with."""

from __future__ import annotations

from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.workflow.models import find_run
from hashkit.workflow.reporter import NoteList


def test_a_damaged_run_is_left_out_with_a_warning(tmp_path):
    good, damaged = (Run.create(tmp_path, name, RunConfig()) for name in ("good", "damaged"))
    damaged.config_path.write_text("")
    notes = NoteList()
    assert find_run(None, tmp_path, notes) == good
    warning, used = notes.lines
    assert warning.startswith(f"warning: a run is left out: {damaged.config_path}: expected")
    assert used == f"using the newest run, {good.path}"
