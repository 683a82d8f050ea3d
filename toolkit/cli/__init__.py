"""The command line: `hashkit train`, `export`, `encode`, `search`, `evaluate`.

Each command is a file. Heavy imports stand inside the commands, so that ``hashkit --help`` is
quick and each command runs where only its own dependencies are installed.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point ``hashkit``."""
    from hashkit.cli.app import run

    run()
