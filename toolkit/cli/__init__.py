"""The command line: `hashkit train`, `export`, `encode`, `search`, `evaluate`.

Each command is a file. Heavy imports are inside the commands, so that ``hashkit --help`` is
fast and each command needs only its own dependencies.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point ``hashkit``."""
    from hashkit.cli.process import run_process

    def command() -> None:
        from hashkit.cli.app import run

        run()

    run_process(command)
