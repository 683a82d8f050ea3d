"""A network without an ONNX form: the error names operator and layer in one plain line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hashkit.errors import ModelError
from hashkit.exporters import onnx_export
from hashkit.exporters.onnx_export import export_onnx
from hashkit.exporters.trace_failures import why_not_traced
from hashkit.manifest import Manifest

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
MANIFEST = Manifest(12, 16, 16)


class OfLayers(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image.permute(0, 3, 1, 2).float() / 255)
        return logits


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(768, 12)

    def forward(self, image: Tensor) -> Tensor:
        values = image.flatten(1).float()
        logits: Tensor = self.linear(values * 2 if values.sum() > 0 else values)
        return logits


class Singular(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return torch.linalg.svdvals(image.float().reshape(-1, 12, 64))


def pooling() -> nn.Module:
    return OfLayers(
        nn.Conv2d(3, 2, 3), nn.AdaptiveMaxPool2d((2, 3)), nn.Flatten(), nn.Linear(12, 12)
    )


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (
            pooling,
            "no ONNX form of the operator aten.adaptive_max_pool2d (layer layers.1, Adaptive",
        ),
        (Branching, "a decision or a size depends on the values of an image (in Branching)"),
        (Singular, "no ONNX form of the operator aten._linalg_svd (layer network, Singular)"),
    ],
)
def test_the_error_names_what_has_no_onnx_form(
    network: type[nn.Module], reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError) as caught:
        export_onnx(network().eval(), MANIFEST, tmp_path / "m.onnx", images=IMAGES)
    text = str(caught.value)
    assert reason in text
    assert text.startswith(f"the network cannot be expressed in ONNX opset {onnx_export.OPSET}: ")
    assert text.isprintable()
    assert capfd.readouterr() == ("", ""), "torch's exporter printed something"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_failure_gives_its_first_cause() -> None:
    error = RuntimeError("\x1b[96mstep 1/3\x1b[0m failed. Next steps:\n- open an issue")
    error.__cause__ = KeyError("aten::strange")
    assert why_not_traced(error) == "'aten::strange'"
    other = RuntimeError("")
    assert why_not_traced(other) == "RuntimeError"
