"""Losses by name."""

from __future__ import annotations

from hashkit.training.losses.triplet import TripletLoss, TripletRankingLoss

__all__ = ["LOSSES", "TripletLoss", "TripletRankingLoss"]

LOSSES = {"triplet": TripletRankingLoss}
