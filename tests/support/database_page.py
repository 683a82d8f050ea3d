"""The code of docs/databases.md, which tests and a benchmark run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "databases.md").read_text(encoding="utf-8")
EXAMPLE, EXAMPLE_END = "5f82c2d967fac3e3", "0123456789abcdef"
"""The code of a query on the page, and the second half of a longer one."""


def blocks(section: str, language: str) -> list[str]:
    """Code of a section of the page."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def defined_in(section: str) -> dict[str, Any]:
    """Functions that the first Python code of a section defines."""
    names: dict[str, Any] = {}
    exec(blocks(section, "python")[0], names)  # noqa: S102
    return names
