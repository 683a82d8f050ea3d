"""The fields that an evaluation file must have, and their types, for pydantic.

The page uses these values without checking them again. This module imports pydantic, so it is
imported only when a file is read.
"""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

from pydantic import BaseModel, Field, model_validator

__all__ = ["EvaluationDocument"]

_SLACK = 1e-6
"""How far a share may be outside 0 to 1, by rounding."""

_Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Share: TypeAlias = Annotated[float, Field(strict=True, ge=-_SLACK, le=1 + _SLACK)]
_Count: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
_Bits: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=65_536)]
_Text: TypeAlias = Annotated[str, Field(strict=True)]
_ByCutoff: TypeAlias = dict[Annotated[str, Field(pattern="^[0-9]{1,18}$")], _Share]
_Pair: TypeAlias = Annotated[list[_Share], Field(min_length=2, max_length=2)]


class _RadiusPoint(BaseModel):
    radius: _Count
    precision: _Share
    recall: _Share
    empty: _Share


class _RankPoint(BaseModel):
    k: _Count
    precision: _Share
    recall: _Share


class _Distances(BaseModel):
    relevant: list[_Count]
    other: list[_Count]

    @model_validator(mode="after")
    def _are_counted_together(self) -> Self:
        if len(self.relevant) != len(self.other):
            raise ValueError("expected as many counts of relevant images as of other ones")
        return self


class _BitStatistics(BaseModel):
    share_of_ones: list[_Share] | None = None
    n_distinct_codes: _Number = 0
    largest_group: _Number = 0
    share_duplicated: _Number = 0
    mean_entropy: _Number = 0
    n_constant_bits: _Number = 0
    mean_absolute_correlation: _Number = 0
    max_absolute_correlation: _Number = 0


class _Interval(BaseModel):
    level: _Share


class _CutoffMetrics(BaseModel):
    map_at: _ByCutoff
    precision_at: _ByCutoff
    recall_at: _ByCutoff


class _Rescored(_CutoffMetrics):
    oversample: _Count
    hamming: _CutoffMetrics


class EvaluationDocument(BaseModel):
    """The document of one evaluation; fields with a default may be missing or None."""

    bits: _Bits
    n_queries: _Count
    n_database: _Count
    map: _Share
    map_best: _Share
    map_worst: _Share
    map_index: _Share
    convention: _Text
    map_at: _ByCutoff
    precision_at: _ByCutoff
    recall_at: _ByCutoff
    precision_radius_2: _Share
    empty_radius_2: _Share
    per_label: dict[str, _Share]
    pr_curve: list[_RadiusPoint]
    name: _Text | None = None
    title: _Text | None = None
    about: dict[str, _Text] | None = None
    lists: dict[str, _Text] | None = None
    n_without_relevant: _Count | None = None
    without_relevant: _Text | None = None
    exclude_self: Annotated[bool, Field(strict=True)] | None = None
    ndcg_at: _ByCutoff | None = None
    ndcg_gain: _Text | None = None
    per_label_queries: dict[str, _Number] | None = None
    per_label_interval: dict[str, _Pair | None] | None = None
    map_interval: _Pair | None = None
    interval: _Interval | None = None
    rank_curve: list[_RankPoint] | None = None
    distances: _Distances | None = None
    bit_statistics: _BitStatistics | None = None
    rescored: _Rescored | None = None
