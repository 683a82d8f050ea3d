"""The user's own code by name: ``PACKAGE.MODULE:NAME`` or ``FILE.py:NAME``.

Importing a module runs its code: name only modules that you trust. A name that stands in a
checkpoint or config.json is not enough (`hashkit.runs.named_code`).
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hashkit.errors import ConfigError
from hashkit.inputs.opening import check_file
from hashkit.inputs.paths import with_home
from hashkit.messages.foreign_errors import foreign_message
from hashkit.messages.os_errors import reason_and_remedy
from hashkit.runs.known_names import OWN_CODE

__all__ = ["import_own"]


def import_own(setting: str, argument: str) -> Any:
    """Import what a name of the user's own network or loss stands for.

    Parameters
    ----------
    setting
        ``network`` or ``loss``, for messages.
    argument
        ``PACKAGE.MODULE:NAME`` or ``FILE.py:NAME``; importing it runs its code. A file that has
        changed since it was imported is imported again.

    Raises
    ------
    ConfigError
        If it cannot be imported, or has no such name.
    """
    place, _, name = argument.rpartition(":")
    if not place or not name:
        raise ConfigError(
            f"{setting} {OWN_CODE}:{argument} must be {OWN_CODE}:PACKAGE.MODULE:NAME or "
            f"{OWN_CODE}:FILE.py:NAME"
        )
    module = _import_file(with_home(place)) if place.endswith(".py") else _import_module(place)
    if not hasattr(module, name):
        raise ConfigError(f"{setting} {OWN_CODE}:{argument}: {place} has no {name}")
    return getattr(module, name)


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # the module's own code may raise anything
        raise ConfigError(
            f"module {name} cannot be imported ({foreign_message(error)}); install it, add it to "
            f"PYTHONPATH, or give the path of a file: {OWN_CODE}:FILE.py:NAME"
        ) from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    try:
        found = check_file(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: {': '.join(reason_and_remedy(error))}") from None
    version = abs(hash((path, found.st_mtime_ns, found.st_size)))
    name = f"hashkit_own_{path.stem}_{version:x}"
    if name in sys.modules:
        return sys.modules[name]
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # noqa: S101 - there is a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look for a class's module there
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path} cannot be imported: {foreign_message(error)}") from error
    return module
