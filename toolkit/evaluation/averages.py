"""The numbers of a report that are means over queries."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.precision_recall import within_radius
from hashkit.evaluation.scoring import Measures, QueryScores

__all__ = ["means_by_distance", "means_by_rank"]

_BALL_QUERIES: Final = 512  # queries whose balls are averaged at a time


def means_by_rank(
    scores: QueryScores, kept: NDArray[np.bool_], measures: Measures
) -> dict[str, Any]:
    """The fields of `Report` that are means over the queries and depend on ranks."""

    def mean(values: NDArray[Any]) -> Any:
        return values[kept].mean(axis=0).tolist()

    curve = (measures.curve_ks, mean(scores.curve_precision), mean(scores.curve_recall))
    return {
        "map": mean(scores.expected),
        "map_best": mean(scores.best),
        "map_worst": mean(scores.worst),
        "map_index": mean(scores.row_order),
        "map_at": dict(zip(measures.cutoffs, mean(scores.at_cutoffs), strict=True)),
        "precision_at": dict(zip(measures.ks, mean(scores.precision_at), strict=True)),
        "recall_at": dict(zip(measures.ks, mean(scores.recall_at), strict=True)),
        "ndcg_at": dict(zip(measures.ks, mean(scores.ndcg_at), strict=True)),
        "rank_curve": [
            {"k": k, "precision": precision, "recall": recall}
            for k, precision, recall in zip(*curve, strict=True)
        ],
    }


def means_by_distance(scores: QueryScores, kept: NDArray[np.bool_]) -> dict[str, Any]:
    """The fields of `Report` that depend on distances."""
    relevant, total = scores.relevant_histogram[kept], scores.total_histogram[kept]
    n_queries, n_distances = relevant.shape
    precision, recall, empty = np.zeros((3, n_distances))
    for start in range(0, n_queries, _BALL_QUERIES):
        block = slice(start, start + _BALL_QUERIES)
        ball_precision, ball_recall, is_empty = within_radius(relevant[block], total[block])
        precision += ball_precision.sum(axis=0)
        recall += ball_recall.sum(axis=0)
        empty += is_empty.sum(axis=0)
    curve = [
        {"radius": radius, "precision": values[0], "recall": values[1], "empty": values[2]}
        for radius, values in enumerate(
            (np.stack([precision, recall, empty]) / n_queries).T.tolist()
        )
    ]
    radius_2 = curve[min(2, n_distances - 1)]  # codes of one bit have no distance above 1
    n_relevant = relevant.sum(axis=0)
    return {
        "precision_radius_2": radius_2["precision"],
        "empty_radius_2": radius_2["empty"],
        "pr_curve": curve,
        "distances": {
            "relevant": n_relevant.tolist(),
            "other": (total.sum(axis=0) - n_relevant).tolist(),
        },
    }
