"""``hashkit evaluate``: codes and labels to numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hashkit.cli.console import emit_json, note, progress_bar
from hashkit.cli.options import DeviceOption, JsonOption, RunOption, RunsOption, parse_integers
from hashkit.errors import ConfigError
from hashkit.runs import DEFAULT_RUNS_DIR

if TYPE_CHECKING:
    from hashkit.bank import Bank
    from hashkit.codesets import CodeDatabase
    from hashkit.evaluation import Report, WithoutRelevant

__all__ = ["evaluate"]


def evaluate(
    query: Annotated[
        Path | None,
        typer.Argument(help="Bank, .npz or text file.", show_default="the run's queries"),
    ] = None,
    database: Annotated[
        list[Path] | None,
        typer.Argument(help="Likewise; several count as one.", show_default="the run's bank"),
    ] = None,
    query_labels: Annotated[
        Path | None, typer.Option("--query-labels", help="Labels of the queries, one a line.")
    ] = None,
    database_labels: Annotated[
        Path | None, typer.Option("--database-labels", help="Labels of the database, one a line.")
    ] = None,
    convention: Annotated[
        str,
        typer.Option(
            "--convention", help="What mAP@R divides by: all-relevant, min, hits or caffe-dnnh."
        ),
    ] = "all-relevant",
    cutoffs: Annotated[
        str | None,
        typer.Option("--at", help="The R of mAP@R, separated by commas.", show_default="1000,5000"),
    ] = None,
    ks: Annotated[
        str | None,
        typer.Option(
            "--k",
            help="The k of precision@k and recall@k, separated by commas.",
            show_default="1,5,10,50,100,500,1000",
        ),
    ] = None,
    without_relevant: Annotated[
        str,
        typer.Option(
            "--without-relevant", help="Queries without relevant images: zero, or drop them."
        ),
    ] = "zero",
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure how well Hamming rankings find what is relevant.

    Without arguments it takes the newest run's queries and database.

    \b
    Examples:
      hashkit evaluate
      hashkit evaluate queries.h5 bank.h5 --json
      hashkit evaluate q.txt db.txt --query-labels ql.txt --database-labels dl.txt
    """  # noqa: D301
    from hashkit.evaluation import evaluate as evaluate_codes
    from hashkit.evaluation import open_codes

    if query is None:
        query, database = _run_banks(run, runs, device)
    if not database:
        raise ConfigError("name the database beside the queries: hashkit evaluate QUERY DATABASE")
    queries = open_codes(query, query_labels)
    databases = [open_codes(path, database_labels) for path in database]
    _warn_of_other_models(queries, databases)
    n_rows = sum(map(len, databases))
    with progress_bar("evaluating", 2 * n_rows, "rows") as bar:
        report = evaluate_codes(
            queries,
            databases,
            convention=convention,
            cutoffs=None if cutoffs is None else parse_integers("--at", cutoffs),
            ks=None if ks is None else parse_integers("--k", ks),
            without_relevant=cast("WithoutRelevant", without_relevant),
            progress=lambda done, _: bar.update(done),
        )
    if json:
        emit_json(report.to_dict())
    else:
        _print_report(report)


def _run_banks(run: Path | None, runs: Path, device: str) -> tuple[Path, list[Path]]:
    """Queries and database of a run, encoded first if they are missing."""
    from hashkit.cli.banks import run_bank
    from hashkit.cli.locate import find_run

    found = find_run(run, runs)
    return run_bank(found, "queries", device), [run_bank(found, "database", device)]


def _warn_of_other_models(queries: CodeDatabase, databases: list[CodeDatabase]) -> None:
    """Codes of two models may be compared on purpose, say of fp32 and int8; seldom otherwise."""
    from hashkit.codesets import CodeSet

    opened = [queries, *databases]
    banks = [cast("Bank", codes) for codes in opened if not isinstance(codes, CodeSet)]
    for bank in banks[1:]:
        if bank.header.model_sha256 != banks[0].header.model_sha256:
            note(f"warning: {banks[0].path} and {bank.path} were made by different models")


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False, highlight=False)  # names are names
    numbers = Table(
        title=f"{report.n_queries:,} queries, {report.n_database:,} in the database, "
        f"{report.bits} bits",
        title_justify="left",
    )
    numbers.add_column("measure")
    numbers.add_column("value", justify="right")
    for name, value in _lines(report):
        numbers.add_row(name, f"{value:.4f}")
    console.print(numbers)
    if report.per_label:
        labels = Table(title="mAP by label", title_justify="left")
        labels.add_column("label")
        labels.add_column("mAP", justify="right")
        for name, value in report.per_label.items():
            labels.add_row(name, f"{value:.4f}")
        console.print(labels)
    if report.n_without_relevant:
        does = {"zero": "count as 0", "drop": "are left out"}[report.without_relevant]
        note(f"{report.n_without_relevant:,} queries have no relevant image; they {does}")


def _lines(report: Report) -> list[tuple[str, float]]:
    lines = [
        ("mAP (whole ranking, mean over tie orders, all relevant)", report.map),
        ("mAP, ties in the best order", report.map_best),
        ("mAP, ties in the worst order", report.map_worst),
        ("mAP, ties in row order", report.map_index),
    ]
    lines += [(f"mAP@{r:,} ({report.convention})", value) for r, value in report.map_at.items()]
    lines += [(f"precision@{k:,}", value) for k, value in report.precision_at.items()]
    lines += [(f"recall@{k:,}", value) for k, value in report.recall_at.items()]
    lines += [
        ("precision within 2 bits (empty: 0)", report.precision_radius_2),
        ("queries with nothing within 2 bits", report.empty_radius_2),
    ]
    return lines
