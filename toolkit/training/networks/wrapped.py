"""A wrapper that makes a network of any torch module."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from hashkit.errors import ConfigError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.training.networks.base import LinearHead, Network

__all__ = ["Wrapped", "to_pixel_range"]


class Wrapped(Network):
    """The features of any torch module, with a linear map as head.

    Shapes: float [N, 3, H, W] -> float [N, n_features] or [N, n_features, h, w].

    Parameters
    ----------
    body
        The module. It is called once, in evaluation mode, to determine its output.
    name
        The network's name, for messages.
    size
        (height, width) of the images in that call, in pixels.
    any_size
        Whether the module takes images of other sizes too.
    dropout
        Fraction of features dropped before the head.
    stages
        Parts of the body, first to last, that together hold each parameter once. If None, its
        children in the order in which they are called; the children of an ``nn.Sequential`` count
        separately.

    Raises
    ------
    ConfigError
        If the body does not return features, or ``stages`` do not hold each parameter once.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        name: str,
        size: tuple[int, int],
        any_size: bool,
        dropout: float,
        stages: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self._name = name
        self._only_size = None if any_size else size
        self._dropout = dropout
        parts = list(dict.fromkeys(_parts(body)))
        self.n_features, parts = _probe(body, parts, name, size)
        if stages is None:
            found = _merged_into_stages(_own_parameters(body) + parts)
            # Parts that share a parameter cannot be frozen or have learning rates separately.
            stages = found if _cover_each_parameter_once(found, body) else [body]
        elif not _cover_each_parameter_once(stages, body):
            raise ConfigError(
                f"network {name}: stages() must return modules that together hold every parameter "
                "of the network exactly once"
            )
        self._stages = list(stages)

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised images."""
        if self._only_size is not None and images.shape[2:] != self._only_size:
            height, width = self._only_size
            raise ConfigError(
                f"network {self._name} takes only images of {height}x{width} pixels, not "
                f"{images.shape[2]}x{images.shape[3]}: set `size` to {height}x{width}"
            )
        features: Tensor = self.body(images)
        return features

    def stages(self) -> Sequence[nn.Module]:
        """Parts of the body, first to last."""
        return self._stages

    def new_head(self, n_bits: int) -> LinearHead:
        """A linear map."""
        return LinearHead(self.n_features, n_bits, self._dropout)


def to_pixel_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean or standard deviation per channel, converted from the range 0..1 to 0..255."""
    red, green, blue = values
    return 255 * red, 255 * green, 255 * blue


@torch.no_grad()
def _probe(
    body: nn.Module, parts: list[nn.Module], name: str, size: tuple[int, int]
) -> tuple[int, list[nn.Module]]:
    """Number of features of a body, and its parts in the order in which they are called.

    A part that is not called, such as an auxiliary classifier, stays after the part defined before
    it.
    """
    called: list[nn.Module] = []
    hooks = [part.register_forward_pre_hook(lambda part, _: called.append(part)) for part in parts]
    was_training = body.training
    try:
        features = body.eval()(torch.zeros(2, 3, *size))
    except Exception as error:
        raise ConfigError(
            f"network {name} must take images float [N, 3, H, W]; with shape "
            f"[2, 3, {size[0]}, {size[1]}] it failed: {foreign_message(error)}"
        ) from error
    finally:
        body.train(was_training)
        for hook in hooks:
            hook.remove()
    if (
        not isinstance(features, Tensor)
        or features.ndim not in (2, 4)
        or len(features) != 2
        or not features.is_floating_point()
    ):
        found = type(features).__name__
        if isinstance(features, Tensor):
            found = f"{features.dtype} {list(features.shape)}".removeprefix("torch.")
        raise ConfigError(
            f"network {name} must return features float [N, d] or float [N, d, h, w]; for N = 2 "
            f"it returned {found}"
        )
    first_call = {part: step for step, part in reversed(list(enumerate(called)))}
    step = -1
    steps: dict[nn.Module, int] = {}
    for part in parts:
        step = first_call.get(part, step)
        steps[part] = step
    return features.shape[1], sorted(parts, key=steps.__getitem__)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Children in the order of their definition; plain containers are replaced by theirs."""
    for child in module.children():
        # A subclass of a container may call its children in its own way.
        if type(child) in (nn.Sequential, nn.ModuleList):
            yield from _parts(child)
        else:
            yield child


def _own_parameters(body: nn.Module) -> list[nn.Module]:
    """Parameters that belong to no child, such as a transformer's embeddings, as one part."""
    loose = list(body.parameters(recurse=False))
    return [nn.ParameterList(loose)] if loose else []


def _merged_into_stages(parts: list[nn.Module]) -> list[nn.Module]:
    """Merge parts into stages with at least one matrix or kernel each.

    A normalisation, activation, pool or dropout is merged with the part before it, so that both
    are frozen together.
    """
    groups: list[list[nn.Module]] = []
    for part in parts:
        if groups and not (_has_weights(part) and any(map(_has_weights, groups[-1]))):
            groups[-1].append(part)
        else:
            groups.append([part])
    return [group[0] if len(group) == 1 else nn.ModuleList(group) for group in groups]


def _has_weights(part: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in part.parameters())


def _cover_each_parameter_once(stages: Sequence[nn.Module], body: nn.Module) -> bool:
    held = list(itertools.chain.from_iterable(stage.parameters() for stage in stages))
    return len(held) == len(set(held)) and set(held) == set(body.parameters())
