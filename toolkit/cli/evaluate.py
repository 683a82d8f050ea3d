"""``hashkit evaluate``: codes and labels to metrics, and to a page."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hashkit.cli.cluster_options import (
    AddressOption,
    ClusterChoice,
    ClusterOption,
    ReplicasOption,
)
from hashkit.cli.console import TERMINAL, note
from hashkit.cli.evaluate_files import (
    emit_evaluations,
    keep_evaluation,
    save_evaluation_page,
    save_tables,
)
from hashkit.cli.evaluate_measures import evaluated, measured, rescoring_of
from hashkit.cli.flags import parse_integers, refuse_flags
from hashkit.cli.options import (
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    LeaksOption,
    ModelOption,
    MovedRootOption,
    ProfileOption,
    RunOption,
    RunsOption,
    RuntimeOption,
    WorkersOption,
    parse_batch_size,
)
from hashkit.errors import ConfigError, HashkitError
from hashkit.runs.run import DEFAULT_RUNS_DIR
from hashkit.runtimes.settings import RuntimeSettings

if TYPE_CHECKING:
    from hashkit.codesets import CodeDatabase
    from hashkit.evaluation.report import WithoutRelevant
    from hashkit.evaluation.settings import EvaluationSettings
    from hashkit.report.evaluations import Evaluation
    from hashkit.workflow.evaluation import Subject
    from hashkit.workflow.leaks import Leaks

__all__ = ["evaluate"]


def evaluate(
    query: Annotated[
        Path | None,
        typer.Argument(
            help="Bank, bank set, .npz, .npy or text file.", show_default="the run's queries"
        ),
    ] = None,
    database: Annotated[
        list[Path] | None,
        typer.Argument(
            help="The same; several count as one database.", show_default="the run's bank"
        ),
    ] = None,
    query_labels: Annotated[
        Path | None,
        typer.Option(
            "--query-labels",
            metavar="FILE",
            help="Labels of the queries: text, .npy, .npz or .mat.",
        ),
    ] = None,
    database_labels: Annotated[
        Path | None,
        typer.Option(
            "--database-labels",
            metavar="FILE",
            help="Labels of the database: text, .npy, .npz or .mat.",
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            metavar="BITS",
            min=1,
            help="Code length, if the files do not record it.",
            show_default="all bits of their bytes",
        ),
    ] = None,
    convention: Annotated[
        str,
        typer.Option(
            "--convention",
            metavar="NAME",
            help="Divisor of mAP@R: all-relevant, min, hits or caffe-dnnh.",
        ),
    ] = "all-relevant",
    cutoffs: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="N,...",
            help="Values of R for mAP@R, separated by commas.",
            show_default="1000,5000",
        ),
    ] = None,
    ks: Annotated[
        str | None,
        typer.Option(
            "--k",
            metavar="N,...",
            help="Values of k for precision@k and recall@k, separated by commas.",
            show_default="1,5,10,50,100,500,1000",
        ),
    ] = None,
    without_relevant: Annotated[
        str,
        typer.Option(
            "--without-relevant",
            metavar="NAME",
            help="Treatment of queries without relevant images: zero (count as 0) or drop.",
        ),
    ] = "zero",
    exclude_self: Annotated[
        bool,
        typer.Option(
            "--exclude-self",
            help="Leave out each query's own row; queries and database must be the same bank.",
        ),
    ] = False,
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank", help="Also evaluate rankings by the queries' logits; needs --oversample."
        ),
    ] = False,
    oversample: Annotated[
        int | None,
        typer.Option(
            "--oversample",
            metavar="N",
            min=1,
            help="With --rerank: order the nearest N times R or k images by the logits.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a page of charts and images (HTML)."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write one line per evaluation (CSV)."),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(
            "--latex", metavar="FILE", help="Write one row per evaluation for a paper (booktabs)."
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--beside",
            metavar="PATH",
            help="Evaluated run or JSON evaluation to compare with; may be repeated.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also evaluate simple codes of the run's images.")
    ] = False,
    leaks: LeaksOption = False,
    model: ModelOption = None,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    data_root: MovedRootOption = None,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "onnxruntime",
    profile: ProfileOption = "exact",
    batch_size: BatchSizeOption = "auto",
    num_workers: WorkersOption = None,
    cluster: ClusterOption = None,
    address: AddressOption = None,
    replicas: ReplicasOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate how well Hamming rankings find relevant images.

    Without arguments it uses the queries and database of the newest run, and saves the results in
    the run's folder as evaluation.json.

    \b
    Examples:
      hashkit evaluate
      hashkit evaluate --report page.html --baselines
      hashkit evaluate --run runs/c48 --beside runs/c24 --beside runs/c12 --report page.html
      hashkit evaluate --run runs/c48 --beside runs/c24 --latex table.tex --csv table.csv
      hashkit evaluate queries.h5 bank.h5 --json
      hashkit evaluate bank.h5 bank.h5 --exclude-self
      hashkit evaluate queries.h5 set/ --cluster ray
      hashkit evaluate queries.h5 bank.h5 --rerank --oversample 10 --model model.onnx
      hashkit evaluate q.txt db.txt --query-labels ql.txt --database-labels dl.txt
      hashkit evaluate q.npy db.npy --bits 12 --query-labels ql.npy --database-labels dl.npy
    """  # noqa: D301
    from hashkit.cli.evaluate_output import print_evaluations
    from hashkit.evaluation.label_facts import check_labelled
    from hashkit.evaluation.settings import EvaluationSettings
    from hashkit.report.evaluations import differences, load_evaluation, renamed_apart
    from hashkit.workflow.output_files import check_latex_path, check_page_path, check_table_path

    measures = EvaluationSettings(
        convention=convention,
        cutoffs=None if cutoffs is None else parse_integers("--at", cutoffs),
        ks=None if ks is None else parse_integers("--k", ks),
        without_relevant=cast("WithoutRelevant", without_relevant),
        exclude_self=exclude_self,
    )
    choice = ClusterChoice(cluster, address, replicas)
    check_page_path(page)
    check_table_path(csv, [query, *(database or ()), query_labels, database_labels])
    check_latex_path(latex)
    rescoring = rescoring_of(rerank, oversample, model)
    loaded = [load_evaluation(path) for path in beside or ()]
    if baselines and query is not None:
        raise ConfigError("--baselines uses the images of a run: leave QUERY and DATABASE out")
    settings = RuntimeSettings(
        runtime, device, profile=profile, batch_size=parse_batch_size(batch_size)
    )
    of_files = {
        "--bits": bits is not None,
        "--query-labels": query_labels,
        "--database-labels": database_labels,
    }
    if query is None:
        refuse_flags(of_files, "needs files of codes: name QUERY and DATABASE")
        subject = _run_subject(run, runs, settings, num_workers)
    else:
        refuse_flags(
            {"--run": run}, "cannot be combined with QUERY and DATABASE: leave out one or the other"
        )
        subject = _file_subject(query, database, query_labels, database_labels, bits)
    subject = dataclasses.replace(subject, data_root=data_root)
    subject.warn_of_other_models(TERMINAL)
    copies = _leaks(subject, num_workers) if leaks else None
    logits = None
    if rescoring is not None:  # before the evaluation, which may take longer
        check_labelled(subject.queries, subject.databases)
        logits = rescoring.logits(subject, settings)
    report = measured(measures, subject, choice)
    if rescoring is not None and logits is not None:
        report = rescoring.measure(subject, logits, report)
    own_evaluation = subject.evaluation(report)
    if subject.run is not None:
        keep_evaluation(own_evaluation, subject.run)
    simple = _baselines(subject, measures, settings) if baselines else []
    evaluations = renamed_apart([own_evaluation, *loaded, *simple])
    # Files first: a pipe that is closed early, as by `head`, ends the command at its output.
    save_tables(evaluations, csv, latex, measures.ks)
    if page is not None:
        save_evaluation_page(page, evaluations, subject, report)
    if json:
        emit_evaluations(evaluations, copies, with_beside=bool(loaded), with_baselines=baselines)
    else:
        print_evaluations(evaluations, is_multi_label=subject.is_multi_label)
    for other in evaluations[1:]:
        for line in differences(evaluations[0], other):
            note(f"warning: not comparable: {line}")


def _run_subject(
    run: Path | None, runs: Path, settings: RuntimeSettings, n_workers: int | None
) -> Subject:
    from hashkit.workflow.evaluation import Subject
    from hashkit.workflow.models import find_exported

    found = find_exported(run, runs, TERMINAL, instead=_hint_without_run)
    return Subject.of_run(found, settings, n_workers, TERMINAL)


def _hint_without_run(bank_path: Path | None) -> str:
    if bank_path is None or not _has_labels(bank_path):
        return "name codes with labels: hashkit evaluate QUERY DATABASE"
    bank = shlex.quote(str(bank_path))
    return f"{bank_path} lies here: hashkit evaluate {bank} {bank} --exclude-self"


def _has_labels(path: Path) -> bool:
    from hashkit.bank.reader import Bank

    try:
        with Bank.open(path) as bank:
            return bank.labels is not None
    except HashkitError:
        return False


def _file_subject(
    query: Path,
    database: list[Path] | None,
    query_labels: Path | None,
    database_labels: Path | None,
    n_bits: int | None,
) -> Subject:
    from hashkit.bank_set.places import is_bank_set
    from hashkit.formats import open_codes
    from hashkit.workflow.evaluation import Subject
    from hashkit.workflow.repeated import check_each_once

    check_each_once(database or ())
    if not database:
        raise ConfigError("name the database as well: hashkit evaluate QUERY DATABASE")
    name = f"{query.name} in {', '.join(path.name for path in database)}"
    queries = open_codes(query, query_labels, n_bits=n_bits)
    has_same_labels = _is_same_file(query_labels, database_labels)
    # One file is opened once, so that it is known to be one collection.
    databases: list[CodeDatabase] = []
    for path in database:
        if has_same_labels and _is_same_file(path, query):
            databases.append(queries)
        elif is_bank_set(path) and database_labels is None:  # by shard, without a copy in memory
            from hashkit.bank_set.opening import open_banks  # codes in text files need no h5py

            databases += open_banks(path)
        else:
            databases.append(open_codes(path, database_labels, n_bits=n_bits))
    return Subject.of_codes(name, queries, databases)


def _is_same_file(one: Path | None, other: Path | None) -> bool:
    if one is None or other is None:
        return one is other
    try:
        return one.samefile(other)
    except OSError:  # a missing file is reported where it is opened
        return False


def _baselines(
    subject: Subject, measures: EvaluationSettings, settings: RuntimeSettings
) -> list[Evaluation]:
    from hashkit.report.evaluations import Evaluation
    from hashkit.workflow.baselines import baseline_reports

    assert subject.run is not None  # noqa: S101 - by the check of --baselines
    reports = baseline_reports(
        subject.run,
        lambda name, queries, database: evaluated(measures, name, queries, [database]),
        settings=settings,
        reporter=TERMINAL,
    )
    return [Evaluation(name, report.to_dict(), is_baseline=True) for name, report in reports]


def _leaks(subject: Subject, n_workers: int | None) -> Leaks:
    from hashkit.workflow.leaks import leaks_of_subject

    found = leaks_of_subject(subject, n_workers, TERMINAL)
    found.report(TERMINAL)
    return found
