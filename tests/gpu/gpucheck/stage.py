"""Runs one stage in its own process: ``python -m gpucheck.stage``.

Arguments: module, settings file, record file, and time limit in seconds.
"""

from __future__ import annotations

import faulthandler
import importlib
import sys
import tempfile
import traceback
from pathlib import Path

from gpucheck.record import Record, SkipStage, one_line
from gpucheck.settings import ROOT, Settings


def main() -> None:
    """Run the stage and write its outcome to the record."""
    module, settings_path, record_path, seconds = sys.argv[1:]
    faulthandler.enable()
    settings = Settings.load(Path(settings_path))
    record = Record(Path(record_path), settings.identity(), float(seconds), _places(settings))
    try:
        importlib.import_module(module).run(record, settings)
    except SkipStage as skip:
        record.end(skipped=str(skip))
    except BaseException as error:
        traceback.print_exc()
        record.end(failed=one_line(error))
        if not isinstance(error, Exception):
            raise
    else:
        record.end()


def _places(settings: Settings) -> dict[str, str]:
    """Folders of this machine, and the names that replace them in results."""
    places = {
        str(Path(settings.work).resolve()): "<work>",
        str(Path(settings.out).resolve()): "<out>",
        settings.work: "<work>",
        settings.out: "<out>",
        str(ROOT): "<hashkit>",
        sys.prefix: "<python>",
        sys.base_prefix: "<python>",
        str(Path.home()): "~",
        tempfile.gettempdir(): "<tmp>",
    }
    for name in ("data", "weights", "wheels"):
        if path := getattr(settings, name):
            places[str(Path(path).resolve())] = places[path] = f"<{name}>"
    return {folder: name for folder, name in places.items() if len(folder) > 1}


if __name__ == "__main__":
    main()
