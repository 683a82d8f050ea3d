"""The DNNH network of the paper: Network-in-Network features, divide-and-encode.

Lai, Pan, Liu and Yan, *Simultaneous Feature Learning and Hash Coding with Deep Neural Networks*,
CVPR 2015 (arXiv 1504.03410). Its third convolution is 3x3; that of the Caffe implementation
(`dnnh_caffe`) is 1x1. The piece-wise threshold after the sigmoid is part of the loss, see
`hashkit.training.losses.triplet`.
"""

from __future__ import annotations

from torch import nn

from hashkit.training.networks.layers import SLICE_SIZE, DivideAndEncode, NinNetwork, dnnh_head

__all__ = ["Dnnh"]


class Dnnh(NinNetwork):
    """The paper's network; at 32x32 the grids are 32, 16, 8 and 4.

    Parameters
    ----------
    dropout
        Fraction of features dropped after the first and third pool.
    """

    def __init__(self, *, dropout: float) -> None:
        super().__init__(dropout=dropout, third_kernel=3)
        _initialise(self)

    def new_head(self, n_bits: int) -> nn.Module:
        """Divide-and-encode."""
        head = dnnh_head(n_bits, self.n_features)
        _initialise(head)
        return head


def _initialise(part: nn.Module) -> None:
    """Draw initial weights, which the paper does not specify.

    The initialisation of He et al. 2015 preserves the scale through eight ReLU layers without
    normalisation.
    """
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, DivideAndEncode):
            nn.init.normal_(module.weight, std=SLICE_SIZE**-0.5)
