"""Evaluations for tests of the report page, and a parser for pages."""

from __future__ import annotations

import functools
from html.parser import HTMLParser

import numpy as np

import hashkit
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.report.evaluations import (
    Evaluation,
)
from hashkit.report.examples import find_examples
from hashkit.report.page import PageContent, render_page


def code_set(n_rows: int, n_bits: int, seed: int, class_names=("cat", "dog", "owl")) -> CodeSet:
    """Codes near one of three centres, with names and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).integers(0, 2, (3, n_bits))
    labels = np.arange(n_rows) % 3
    flips = rng.random((n_rows, n_bits)) < 0.25
    names = [f"{class_names[label]}/{row:03d}.png" for row, label in enumerate(labels)]
    return CodeSet(
        pack(centres[labels] ^ flips), n_bits, labels, names=names, class_names=class_names
    )


@functools.cache
def evaluated(n_bits: int = 16, n_queries: int = 24) -> tuple[CodeSet, CodeSet, hashkit.Report]:
    queries, database = code_set(n_queries, n_bits, 2), code_set(150, n_bits, 3)
    return queries, database, hashkit.evaluate(queries, database, cutoffs=[10, 100])


def an_evaluation(name: str = "first", n_bits: int = 16, **changes) -> Evaluation:
    return Evaluation(name, evaluated(n_bits)[2].to_dict(), **changes)


class Page(HTMLParser):
    """Elements, tables and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._cell = False
        self._skip = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._skip = tag in ("script", "style") or (self._skip and tag not in ("main",))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._skip = False
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        if self._skip:
            return
        self.text += data
        if self._cell:
            self.tables[-1][-1][-1] += " ".join(data.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def table(self, first_cell: str, width: int | None = None) -> list[list[str]]:
        """The table with this first cell and, if given, this number of columns."""
        (found,) = [
            table
            for table in self.tables
            if table[0][0] == first_cell and width in (None, len(table[0]))
        ]
        return found


def page_of(*evaluations: Evaluation, examples=()) -> Page:
    return Page(render_page(PageContent(evaluations[0], evaluations[1:], examples)))


def examples_of(find=lambda _, row: np.full((8, 8, 3), row % 256, np.uint8)):
    queries, database, report = evaluated()
    return find_examples(queries, [database], report.average_precision, find)
