"""Quantise the convolutions of a network to 8 bits, calibrated on real images.

Static quantisation by ONNX Runtime in the QDQ form: int8 weights with one scale per output channel,
and int8 activations with the range observed on the calibration images. Both are signed, because
unsigned activations can saturate on CPUs with AVX2 but without VNNI. Operators between two
quantised convolutions, such as ReLU and max pooling, are quantised too. The first and last layers
stay in float32. If too many bits flip, the layers with the largest errors do too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    create_calibrator,
)
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from hashkit.errors import ConfigError, ModelError
from hashkit.exporters.network_nodes import first_and_last, inline_constants
from hashkit.exporters.onnx_files import describe
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes.answers import answers_of
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession

__all__ = ["Int8Builder", "Int8Model", "to_int8"]

_OPERATORS: Final = ["Conv", "MaxPool", "Relu", "Clip", "Add"]
"""Convolutions, and operators that are quantised only if they follow a quantised convolution."""

_CALIBRATION_BATCH: Final = 32
_RANKING_IMAGES: Final = 32

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Int8Model:
    """A quantised model.

    Attributes
    ----------
    model
        The graph, with metadata.
    quantised, kept
        Names of the convolutions in int8 and in float32, in graph order.
    """

    model: onnx.ModelProto
    quantised: tuple[str, ...]
    kept: tuple[str, ...]


class Int8Builder:
    """Builds quantised versions of a model, with any subset of its convolutions in int8.

    Activation ranges are measured once, in the constructor.

    Parameters
    ----------
    source
        A float32 model that follows the model contract; it is not modified.
    images
        uint8 [n, H, W, 3], n > 0: images for measuring the activation ranges.
    scratch
        Folder for temporary files of ONNX Runtime.

    Raises
    ------
    ConfigError
        If there are no images.
    ModelError
        If there is no convolution between the first and the last layer, or the graph cannot be
        prepared.
    """

    def __init__(self, source: onnx.ModelProto, images: NDArray[np.uint8], scratch: Path) -> None:
        if not len(images):
            raise ConfigError("int8 needs calibration images, found none")
        self._metadata = {entry.key: entry.value for entry in source.metadata_props}
        self._path = scratch / "prepared.onnx"
        _prepare(source, self._path)
        graph = onnx.load(self._path).graph
        outer = {graph.node[at].name for at in first_and_last(graph)}
        weights = {weight.name for weight in graph.initializer}
        self.convolutions = tuple(node.name for node in graph.node if node.op_type == "Conv")
        self.layers = tuple(
            node.name
            for node in graph.node
            if node.op_type == "Conv" and node.name not in outer and node.input[1] in weights
        )
        if not self.layers:
            raise ModelError(
                "the network has no convolution between its first and its last layer, so there is "
                "nothing to quantise: keep this model in fp32 or fp16"
            )
        self._ranges = _measure_ranges(self._path, images, scratch / "calibrated.onnx")

    def build(self, layers: Collection[str]) -> onnx.ModelProto:
        """The model with the given ``layers`` in int8."""
        with _no_output():
            quantizer = QDQQuantizer(
                onnx.load(self._path),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=None,
                nodes_to_exclude=[name for name in self.convolutions if name not in layers],
                op_types_to_quantize=_OPERATORS,
                extra_options={},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        model: onnx.ModelProto = quantizer.model.model
        _drop_unused_operator_sets(model)
        describe(model, self._metadata, "int8")
        return model


def to_int8(
    source: onnx.ModelProto,
    images: NDArray[np.uint8],
    *,
    flipped_per_million: float,
    progress: Say | None = None,
) -> Int8Model:
    """Quantise as many convolutions of a model as the limit on flipped bits allows.

    If quantising all of them flips too many bits, each is quantised alone to measure its error, and
    those with the largest errors stay in float32: the fewest that are enough, found by bisection.
    If no number is enough, all are quantised, and the caller must refuse the model.

    Parameters
    ----------
    source
        A float32 model that follows the model contract.
    images
        uint8 [n, H, W, 3], n > 1, training images: every other image sets the ranges, the rest are
        used to count flipped bits.
    flipped_per_million
        Largest acceptable number of flipped bits per million on these images.
    progress
        Called with a short text before each step.

    Raises
    ------
    ConfigError
        If there are fewer than two images.
    ModelError
        If nothing can be quantised.
    """
    if len(images) < 2:
        raise ConfigError(f"int8 needs at least two calibration images, found {len(images)}")
    say = progress or (lambda _: None)
    with tempfile.TemporaryDirectory(prefix="hashkit-int8-") as folder:
        say(f"calibrating on {len(images[::2])} images")
        builder = Int8Builder(source, images[::2], Path(folder))
        trial = _QuantisationTrial(source, builder, images[1::2], Path(folder) / "trial.onnx")
        layers = _choose_layers(builder.layers, trial, flipped_per_million, say)
        kept = tuple(name for name in builder.convolutions if name not in layers)
        return Int8Model(builder.build(layers), tuple(layers), kept)


class _QuantisationTrial:
    """Compares quantised versions with the source."""

    def __init__(
        self,
        source: onnx.ModelProto,
        builder: Int8Builder,
        images: NDArray[np.uint8],
        path: Path,
    ) -> None:
        self._builder, self._images, self._path = builder, images, path
        onnx.save_model(source, str(path))
        self._expected = self._run(images)

    def flipped_per_million(self, layers: Collection[str]) -> float:
        """Flipped bits per million with these layers in int8."""
        logits = self._answers(layers, self._images)
        return 1e6 * float(((logits > 0) != (self._expected > 0)).mean())

    def error(self, layer: str) -> float:
        """Mean squared difference of the logits with only this layer in int8."""
        few = slice(0, _RANKING_IMAGES)
        difference = self._answers([layer], self._images[few]) - self._expected[few]
        return float(np.mean(np.square(difference, dtype=np.float64)))

    def _answers(self, layers: Collection[str], images: NDArray[np.uint8]) -> NDArray[np.float32]:
        onnx.save_model(self._builder.build(layers), str(self._path))
        return self._run(images)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return answers_of(OnnxRuntimeSession(self._path, "cpu").run, [images]).logits


def _choose_layers(
    layers: Sequence[str], trial: _QuantisationTrial, flipped_per_million: float, say: Say
) -> list[str]:
    """The layers to quantise, in the given order."""
    flipped = trial.flipped_per_million(layers)
    say(
        f"{len(layers)} convolutions in int8: {flipped:,.0f} flipped bits per million on training "
        "images"
    )
    if flipped <= flipped_per_million or len(layers) == 1:
        return list(layers)
    say(f"quantising each of {len(layers)} convolutions alone")
    by_error = sorted(layers, key=trial.error, reverse=True)
    fewest, most = 1, len(layers) - 1
    chosen = list(layers)
    while fewest <= most:
        n_kept = (fewest + most) // 2
        rest = [name for name in layers if name not in by_error[:n_kept]]
        flipped = trial.flipped_per_million(rest)
        say(f"{len(rest)} convolutions in int8: {flipped:,.0f} flipped bits per million")
        if flipped <= flipped_per_million:
            chosen, most = rest, n_kept - 1
        else:
            fewest = n_kept + 1
    return chosen


def _prepare(source: onnx.ModelProto, path: Path) -> None:
    """Fold normalisation into convolutions, infer shapes, and name every node."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    inline_constants(model.graph)
    names: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}/{number}"
        names.add(node.name)
    named = path.with_name("named.onnx")
    onnx.save_model(model, str(named))
    with _no_output():
        try:
            # Given the graph instead of a file, it would write the weights to a second file.
            quant_pre_process(str(named), str(path), skip_symbolic_shape=True)
        except Exception as error:
            raise ModelError(
                f"the graph cannot be prepared for int8: {foreign_message(error)}"
            ) from error


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Batches of images for the calibrator."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        starts = range(0, len(images), _CALIBRATION_BATCH)
        self._batches = iter([images[start : start + _CALIBRATION_BATCH] for start in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": np.ascontiguousarray(batch)}


def _measure_ranges(path: Path, images: NDArray[np.uint8], scratch: Path) -> Any:
    """Minimum and maximum of every activation that may be quantised."""
    with _no_output():
        calibrator = create_calibrator(
            path, _OPERATORS, str(scratch), calibrate_method=CalibrationMethod.MinMax
        )
        calibrator.collect_data(_Batches(images))
        return calibrator.compute_data()


def _drop_unused_operator_sets(model: onnx.ModelProto) -> None:
    """Remove unused operator sets: preparation lists all that ONNX Runtime knows."""
    used = {"", *(node.domain for node in model.graph.node)}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Suppress what ONNX Runtime's tools print to standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
