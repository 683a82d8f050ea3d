"""Folders of drawn images, and the notes while they are appended to a bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from kept_reporter import Kept
from PIL import Image

import hashkit
from hashkit.runtimes.encoder import Encoder


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def append(album: Path, encoder: Encoder, bank: Path, **settings: object) -> tuple[list[str], str]:
    """Names of the bank after the images were appended, and the notes of this call."""
    notes = Kept()
    made = hashkit.encode(album, encoder, bank, append=True, reporter=notes, **settings)
    return list(made.names), notes.text


def names_of(path: Path) -> list[str]:
    return list(hashkit.Bank.open(path).names)


FIVE = [f"{seed}.png" for seed in range(5)]
