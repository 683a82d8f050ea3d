"""Two views of unlabelled images beside each batch: one weakly and one strongly augmented."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashkit.overlap import computed_ahead
from hashkit.runs.config import TrainConfig
from hashkit.training.augment import Augmentation, augment, draw
from hashkit.training.batches import Batch, Views
from hashkit.training.data import Pixels
from hashkit.training.devices import to_device
from hashkit.training.learner import Learner
from hashkit.training.sampling import (
    UNLABELLED_AUGMENT_STREAM,
    UNLABELLED_ORDER_STREAM,
    BatchOrder,
    step_seed,
)

__all__ = ["UnlabelledViews", "with_trusted"]


class UnlabelledViews:
    """Views of the unlabelled images of each step.

    Which images, and how they change, is a function of seed and step.

    Parameters
    ----------
    pixels
        The images.
    order
        Images of each step.
    weak, strong
        Augmentation of the two views.
    size
        (height, width) of the images, pixels.
    device
        Where the views are made.
    """

    def __init__(
        self,
        pixels: Pixels,
        order: BatchOrder,
        weak: Augmentation,
        strong: Augmentation,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._pixels = pixels.on(device)
        self._order = order
        self._weak, self._strong = weak, strong
        self._size = size
        self._device = device

    @classmethod
    def of_run(
        cls, pixels: Pixels, config: TrainConfig, labelled: Augmentation, device: torch.device
    ) -> Self:
        """Views by the settings of a run.

        Parameters
        ----------
        labelled
            Augmentation of the labelled images. The weak one is the same without a masked square
            and a policy; the strong one has those of the settings.
        """
        weak = dataclasses.replace(labelled, cutout=0.0, policy="none")
        strong = dataclasses.replace(weak, cutout=config.strong_cutout, policy=config.strong_policy)
        order = BatchOrder(
            n_items=len(pixels),
            batch_size=config.unlabelled_ratio * config.batch_size,
            seed=config.seed,
            stream=UNLABELLED_ORDER_STREAM,
        )
        return cls(pixels, order, weak, strong, (config.height, config.width), device)

    def beside(
        self, batches: Generator[Batch, None, None], *, first_step: int, n_steps: int
    ) -> Generator[Batch, None, None]:
        """The batches of the steps from ``first_step`` to ``n_steps``, with unlabelled images.

        Close the generator if you do not exhaust it.
        """
        views = self._steps(first_step, n_steps)
        with contextlib.closing(batches), contextlib.closing(views):
            for batch, unlabelled in zip(batches, views, strict=True):
                yield dataclasses.replace(batch, unlabelled=unlabelled)

    def _steps(self, first_step: int, n_steps: int) -> Generator[Views, None, None]:
        # The rows are generated a second time for the images, which another thread may take.
        rows = (rows_of_step for _, rows_of_step in self._rows(first_step, n_steps))
        images = self._pixels.batches(rows)

        def make(item: tuple[int, NDArray[np.int64]]) -> Views:
            return self._views(item[0], next(images))

        items = self._rows(first_step, n_steps)
        if self._device.type == "cpu":
            made = ((item, make(item)) for item in items)
        else:
            made = computed_ahead(items, make)
        # ``made`` is closed first: on a GPU another thread takes from ``images`` for it.
        with contextlib.closing(images), contextlib.closing(made):
            for _, views in made:
                yield views

    def _rows(self, first_step: int, n_steps: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Number and images of each step."""
        step = first_step
        while step < n_steps:
            epoch, n_done = divmod(step, self._order.steps_per_epoch)
            for rows in self._order.epoch(epoch)[n_done : n_done + n_steps - step]:
                yield step, rows
                step += 1

    def _views(self, step: int, images: Tensor) -> Views:
        seed = step_seed(self._order.seed, UNLABELLED_AUGMENT_STREAM, step)
        generator = torch.Generator().manual_seed(seed)
        images = to_device(images, self._device)
        weak, strong = (
            augment(
                images,
                augmentation,
                draw(len(images), self._size, augmentation, generator).to(self._device),
            )
            for augmentation in (self._weak, self._strong)
        )
        return Views(weak, strong)


@torch.no_grad()
def with_trusted(
    batch: Batch,
    learner: Learner,
    autocast: Callable[[], contextlib.AbstractContextManager[object]],
) -> Batch:
    """The batch with its unlabelled images, strongly augmented, and their classes as labels.

    The classes are those that the model, as it is, finds in the weak views; -1 where it is not
    confident. A batch without unlabelled images is returned as it is.

    Parameters
    ----------
    autocast
        Makes the context of mixed precision.
    """
    if batch.unlabelled is None:
        return batch
    assert batch.images is not None  # noqa: S101 - features are not fixed with two views
    assert batch.labels is not None  # noqa: S101 - by the checks of the settings
    with autocast():
        logits = learner.model(batch.unlabelled.weak)
    classes = learner.trusted_classes(logits.float())
    return dataclasses.replace(
        batch,
        images=torch.cat([batch.images, batch.unlabelled.strong]),
        labels=torch.cat([batch.labels, classes]),
        n_trusted=len(classes),
    )
