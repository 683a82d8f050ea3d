"""Checks of `hashkit doctor`: Python, packages, threads, runtimes and extras."""

from __future__ import annotations

import importlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Final

from hashkit._version import __version__
from hashkit.distribution import DISTRIBUTION, DISTRIBUTIONS, install_command
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes.health import Check, check_runtimes, installed_version
from hashkit.threads import available_cpus, cpu_affinity, cpu_quota

__all__ = [
    "check_distributions",
    "check_extras",
    "check_installation",
    "check_packages",
    "check_threads",
]

_PACKAGES: Final = {"numpy": "numpy", "numba": "numba", "h5py": "h5py", "pillow": "PIL"}
"""Packages with compiled code that every command needs: distribution and import."""

_NOT_FOR_USERS: Final = frozenset({"dev", "docs"})


def check_installation() -> list[Check]:
    """All checks, in the order in which they are shown."""
    return [
        Check("Python", "ok", f"{platform.python_version()} on {platform.platform()}"),
        Check("hashkit", "ok", __version__),
        *check_distributions(),
        *check_packages(_PACKAGES),
        check_threads(),
        *check_runtimes(),
        *check_extras(),
    ]


def check_distributions() -> Iterator[Check]:
    """Check that hashkit is not installed twice: the two distributions have the same files."""
    found = [name for name in DISTRIBUTIONS if installed_version(name)]
    if len(found) > 1:
        remedy = f"pip uninstall -y {' '.join(found)} && {install_command()}"
        detail = f"{' and '.join(found)} overwrite each other"
        yield Check("distributions", "broken", detail, remedy)


def check_packages(packages: Mapping[str, str]) -> Iterator[Check]:
    """Check that required packages can be imported; ``packages`` has imports by distribution."""
    for distribution, module in packages.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a damaged package may raise anything when it is loaded
            reason = foreign_message(error)
            remedy = f"pip install --force-reinstall {distribution}"
            yield Check(distribution, "broken", f"cannot be imported ({reason})", remedy)
        else:
            yield Check(distribution, "ok", installed_version(distribution) or "of unknown version")


def check_threads() -> Check:
    """Number of threads that hashkit starts, and what limits them."""
    quota = cpu_quota()
    limits = [f"{os.cpu_count()} CPUs in the machine", f"{cpu_affinity()} in the affinity mask"]
    if quota is not None:
        limits.append(f"a control group's quota of {quota:g}")
    return Check("threads", "ok", f"{available_cpus()} ({', '.join(limits)})")


def check_extras(distribution: str | None = None) -> Iterator[Check]:
    """Check which extras of a distribution, by default hashkit's, are there; imports nothing."""
    if distribution is None:
        found = (name for name in DISTRIBUTIONS if installed_version(name))
        distribution = next(found, DISTRIBUTION)
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        yield Check(
            "extras", "absent", f"{distribution} is not installed as a package", install_command()
        )
        return
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra == ["']([\w-]+)["']""", requirement)
        if name and extra and extra[1] not in _NOT_FOR_USERS:
            extras.setdefault(extra[1], []).append(name[0])
    for extra_name, names in extras.items():
        yield _extra(extra_name, {name: installed_version(name) for name in names})


def _extra(extra: str, versions: Mapping[str, str | None]) -> Check:
    title, remedy = f"extra {extra}", install_command(extra)
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Check(title, "absent", f"{', '.join(missing)} not installed", remedy)
    return Check(title, "ok", ", ".join(f"{name} {found}" for name, found in versions.items()))
