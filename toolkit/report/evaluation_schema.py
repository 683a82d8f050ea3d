"""The fields that an evaluation file must have, and their types, for pydantic.

The page uses these values without checking them again. This module imports pydantic, so it is
imported only when a file is read.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, Field

__all__ = ["EvaluationDocument"]

_Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Count: TypeAlias = Annotated[int, Field(strict=True, ge=0)]
_Text: TypeAlias = Annotated[str, Field(strict=True)]
_ByCutoff: TypeAlias = dict[Annotated[str, Field(pattern="^[0-9]+$")], _Number]
_Pair: TypeAlias = Annotated[list[_Number], Field(min_length=2, max_length=2)]


class _RadiusPoint(BaseModel):
    radius: _Number
    precision: _Number
    recall: _Number
    empty: _Number


class _RankPoint(BaseModel):
    k: _Number
    precision: _Number
    recall: _Number


class _Distances(BaseModel):
    relevant: list[_Count]
    other: list[_Count]


class _Interval(BaseModel):
    level: _Number


class EvaluationDocument(BaseModel):
    """The document of one evaluation; fields with a default may be missing or None."""

    bits: _Count
    n_queries: _Count
    n_database: _Count
    map: _Number
    map_best: _Number
    map_worst: _Number
    map_index: _Number
    convention: _Text
    map_at: _ByCutoff
    precision_at: _ByCutoff
    recall_at: _ByCutoff
    precision_radius_2: _Number
    empty_radius_2: _Number
    per_label: dict[str, _Number]
    pr_curve: list[_RadiusPoint]
    name: _Text | None = None
    title: _Text | None = None
    about: dict[str, _Text] | None = None
    lists: dict[str, _Text] | None = None
    n_without_relevant: _Count | None = None
    without_relevant: _Text | None = None
    ndcg_at: _ByCutoff | None = None
    ndcg_gain: _Text | None = None
    per_label_queries: dict[str, _Number] | None = None
    per_label_interval: dict[str, _Pair | None] | None = None
    map_interval: _Pair | None = None
    interval: _Interval | None = None
    rank_curve: list[_RankPoint] | None = None
    distances: _Distances | None = None
    bit_statistics: dict[str, _Number | list[_Number]] | None = None
