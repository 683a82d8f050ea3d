"""``hashkit search``: an image to the images with the nearest codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hashkit.cli.cluster_options import (
    AddressOption,
    ClusterChoice,
    ClusterOption,
    ReplicasOption,
    cluster_engine,
)
from hashkit.cli.console import TERMINAL, emit_json, note
from hashkit.cli.options import (
    BankOption,
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    MovedRootOption,
    ProfileOption,
    RunOption,
    RunsOption,
    RuntimeOption,
    WorkersOption,
    parse_batch_size,
)
from hashkit.errors import ConfigError
from hashkit.runs.run import DEFAULT_RUNS_DIR
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.reporter import plural
from hashkit.workflow.row_images import missing_text

if TYPE_CHECKING:
    from hashkit.retrieval.search import Engine
    from hashkit.workflow.search_answers import Question
    from hashkit.workflow.search_place import SearchPlace
    from hashkit.workflow.search_results import Query, Result

__all__ = ["search"]


def search(
    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query",
            metavar="IMAGE",
            help="Image file, folder of images, or name of a query of the run; may be repeated.",
        ),
    ] = None,
    row: Annotated[
        list[int] | None,
        typer.Option(
            "--row",
            metavar="N",
            min=0,
            help="Row of the bank to search with, without a model; may be repeated.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of a row, as search prints it; may be repeated.",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--k",
            metavar="N",
            min=1,
            help="Number of nearest images to show; with --radius, the largest number.",
            show_default="10, or all within --radius",
        ),
    ] = None,
    radius: Annotated[
        int | None,
        typer.Option(
            "--radius", metavar="BITS", min=0, help="Show all images within this many bits."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME", help="Search only images of this class; may be repeated."
        ),
    ] = None,
    rerank: Annotated[
        bool,
        typer.Option("--rerank", help="Order images at equal distance by the query's logits."),
    ] = False,
    oversample: Annotated[
        int | None,
        typer.Option(
            "--oversample",
            metavar="N",
            min=1,
            help="With --rerank: order the nearest N x k images by the query's logits instead.",
        ),
    ] = None,
    exclude_self: Annotated[
        bool,
        typer.Option(
            "--exclude-self",
            help="Leave out the query's own row, otherwise found at distance 0.",
        ),
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="scan, index (made by hashkit index), or auto: the faster one.",
        ),
    ] = "auto",
    bank: BankOption = None,
    model: ModelOption = None,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    data_root: MovedRootOption = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write one line per hit to this file, instead of tables."
        ),
    ] = None,
    save_picture: Annotated[
        Path | None,
        typer.Option("--save-picture", metavar="FILE", help="Draw queries and hits to this file."),
    ] = None,
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
    """Find the images of a bank that are nearest to an image.

    The image is a file or a row of the bank. If a run has no bank yet, its database is encoded
    first.

    \b
    Examples:
      hashkit search --query img.png
      hashkit search --query img.png --bank photos.h5 --model model.onnx --radius 8
      hashkit search --query img.png --label cat --rerank
      hashkit search --query img.png --rerank --oversample 10
      hashkit search --name 2021/beach.jpg --bank photos.h5 --exclude-self
      hashkit search --query new/ --bank photos.h5 --csv hits.csv
      hashkit search --query img.png --bank set/ --cluster ray --replicas 2
    """  # noqa: D301
    from hashkit.cli.search_output import draw_results, print_results
    from hashkit.workflow.output_files import check_picture_path, check_table_path, check_writable
    from hashkit.workflow.search_answers import Question
    from hashkit.workflow.search_csv import write_csv
    from hashkit.workflow.search_place import SearchPlace
    from hashkit.workflow.search_queries import (
        check_queries,
        queries_of_files,
        queries_of_names,
        queries_of_rows,
    )

    if not (query or row or name):
        raise typer.BadParameter(
            "expected an image, or a row of the bank: --query IMAGE, --row N or --name NAME",
            param_hint="--query",
        )
    _check_oversample(oversample, rerank, radius)
    choice = ClusterChoice(cluster, address, replicas)
    # Everything that can be checked comes before images are encoded, which may take long.
    check_table_path(csv)
    if save_picture is not None:
        from hashkit.report.gallery import check_picture_format

        check_picture_format(save_picture)
        check_writable(save_picture)
    question = Question(
        top_k=10 if top_k is None and radius is None else top_k,
        radius=radius,
        labels=label or (),
        rerank=rerank,
        oversample=oversample,
        exclude_self=exclude_self,
        engine=cast("Engine", engine),
    )
    place = SearchPlace(
        bank,
        model,
        run,
        runs,
        RuntimeSettings(runtime, device, profile=profile, batch_size=parse_batch_size(batch_size)),
        n_workers=num_workers,
        data_root=data_root,
        needs_model=bool(query) or rerank,
        needs_images=rerank or save_picture is not None,
        reporter=TERMINAL,
    )
    check_queries(place, query or [])
    if save_picture is not None:
        check_picture_path(save_picture, place.images, place.banks, query or [])
    question.check(place.banks)
    of_rows = [*queries_of_rows(place, row or []), *queries_of_names(place, name or [])]
    queries = [*queries_of_files(place, query or [], TERMINAL), *of_rows]
    results = _answers(place, queries, question, choice)
    if csv is not None:
        n_hits = write_csv(results, csv)
        note(f"{csv}: {plural(n_hits, 'hit')} of {plural(len(results), 'query', 'queries')}")
    if save_picture is not None:  # before the output, which `head` may end
        n_missing = draw_results(results, place.images, save_picture)
        lost = f"; {missing_text(n_missing)}" if n_missing else ""
        TERMINAL.note(f"picture: {save_picture}{lost}")
    if json:
        emit_json({"queries": [result.to_dict() for result in results]})
    elif csv is None:
        print_results(results, radius)


def _answers(
    place: SearchPlace,
    queries: Sequence[Query],
    question: Question,
    choice: ClusterChoice,
) -> list[Result]:
    """The hits of each query, from this machine or from a cluster."""
    from hashkit.workflow.search_answers import answers

    if choice.cluster is None:
        return answers(place, queries, question, TERMINAL)
    with cluster_engine(choice.address) as engine:
        from hashkit.cluster.groups import ShardGroups
        from hashkit.cluster.searching import GroupSearcher

        with ShardGroups(
            engine, place.banks, n_replicas=choice.replicas or 1, reporter=TERMINAL
        ) as groups:
            searcher = GroupSearcher(groups, place.banks, question)
            return answers(place, queries, question, TERMINAL, searcher)


def _check_oversample(oversample: int | None, rerank: bool, radius: int | None) -> None:
    """Refuse `--oversample` where it has no effect, before images are encoded."""
    if oversample is not None and not rerank:
        raise ConfigError(
            "--oversample needs --rerank: add it to order the nearest images by the query's logits"
        )
    if oversample is not None and radius is not None:
        raise ConfigError(
            "--oversample cannot be combined with --radius: all images within a radius are found "
            "anyway; leave one of the two out"
        )
