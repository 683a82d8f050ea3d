"""Makes the built-in models ``phash`` and ``phash-256``: a perceptual hash as an ONNX graph.

    python -m hashkit.exporters.phash FOLDER

The hash is the one that the package ImageHash calls ``phash``: the image in grey, resized to four
times the hash's side; its discrete cosine transform (DCT-II), of which the lowest ``side`` x
``side`` coefficients are kept; a bit is 1 if its coefficient is above their median.

In an artificial picture many coefficients are 0, and so is their median. Then a rounding error
would decide a bit. So every sum of the graph is one of whole numbers that float32 holds exactly, in
whatever order they are added: all runtimes give the same logits, to the last bit. TF32 does not
change them either, because the factors have at most 11 bits. `_cosines` and `_transform` give the
bounds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hashkit.exporters.onnx_files import check_and_save, describe, written_model
from hashkit.exporters.packing import contract_outputs, packing_constants, packing_nodes
from hashkit.manifest import Manifest

__all__ = ["phash_model"]

_OPSET: Final = 17
_IR_VERSION: Final = 8

_SIDES: Final = {"phash-v1": 8, "phash-256-v1": 16}
"""Coefficients per axis, by the name that the metadata give."""

_OVERSAMPLING: Final = 4
"""Pixels of the grey image per coefficient, on each axis."""

_LUMA: Final = (19595, 38470, 7471)
"""Weights of red, green and blue in 1/65536, as Pillow converts to grey (ITU-R BT.601)."""

_COSINE_UNIT: Final = 1024
"""The cosines are multiples of 1/1024."""

_ROW_SHIFT, _SPLIT = 64, 512
"""Divisor of the sums along rows, and the unit of the upper of their two parts."""


def phash_model(name: str) -> onnx.ModelProto:
    """The model of a name: ``phash-v1`` (64 bits) or ``phash-256-v1`` (256 bits)."""
    side = _SIDES[name]
    size, n_bits = side * _OVERSAMPLING, side * side
    constants = {**_constants(side), **packing_constants(n_bits)}
    graph = helper.make_graph(
        [*_grey(), *_transform(), *_less_median(), *packing_nodes()],
        name,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size, size, 3])],
        contract_outputs(n_bits),
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    manifest = Manifest(n_bits, size, size, resize="stretch-bicubic", network=name)
    describe(model, manifest.to_metadata(), "fp32")
    return model


def _grey() -> Sequence[onnx.NodeProto]:
    """From ``image`` to ``grey``, whole numbers 0 .. 255, float32 [N, size, size].

    The weighted sum is below 2 ** 24. It is not a matrix product, as the weights have 16 bits.
    """
    return (
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "luma"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "last_axis"], ["luma_sum"], keepdims=0),
        helper.make_node("Add", ["luma_sum", "luma_half"], ["luma_rounded"]),
        helper.make_node("Mul", ["luma_rounded", "luma_scale"], ["luma_scaled"]),
        helper.make_node("Floor", ["luma_scaled"], ["grey"]),
    )


def _transform() -> Sequence[onnx.NodeProto]:
    """From ``grey`` to ``coefficients``, float32 [N, side * side].

    Sums of 64 pixels of 255 and cosines of 1,024 are multiples of 1,024 up to 1.7e7 for the first
    row of cosines, which is constant, and for the others have no partial sum above 5.4e6. Divided
    by 64 and rounded they need 18 bits. The sums over columns take them in two parts, of at most
    510 and 256, so that no partial sum is above 1.1e7. The two results are joined by one addition,
    which IEEE 754 rounds in one way.
    """
    return (
        helper.make_node("MatMul", ["grey", "cosines_across"], ["rows"]),
        helper.make_node("Mul", ["rows", "row_scale"], ["rows_scaled"]),
        helper.make_node("Add", ["rows_scaled", "half"], ["rows_raised"]),
        helper.make_node("Floor", ["rows_raised"], ["rows_rounded"]),
        helper.make_node("Mul", ["rows_rounded", "split_scale"], ["split_scaled"]),
        helper.make_node("Add", ["split_scaled", "half"], ["split_raised"]),
        helper.make_node("Floor", ["split_raised"], ["upper"]),
        helper.make_node("Mul", ["upper", "split"], ["upper_whole"]),
        helper.make_node("Sub", ["rows_rounded", "upper_whole"], ["lower"]),
        helper.make_node("MatMul", ["cosines_down", "upper"], ["upper_sums"]),
        helper.make_node("MatMul", ["cosines_down", "lower"], ["lower_sums"]),
        helper.make_node("Mul", ["upper_sums", "split"], ["upper_sums_whole"]),
        helper.make_node("Add", ["upper_sums_whole", "lower_sums"], ["sums"]),
        helper.make_node("Mul", ["sums", "mean_scale"], ["means"]),
        helper.make_node("Reshape", ["means", "bits_shape"], ["coefficients"]),
    )


def _less_median() -> Sequence[onnx.NodeProto]:
    """From ``coefficients`` to ``logit``: less their median, the mean of the middle two."""
    return (
        helper.make_node("TopK", ["coefficients", "upper_half"], ["largest", "places"], axis=1),
        helper.make_node("Slice", ["largest", "middle", "end", "bit_axis"], ["middle_two"]),
        helper.make_node("ReduceSum", ["middle_two", "bit_axis"], ["middle_sum"], keepdims=1),
        helper.make_node("Mul", ["middle_sum", "half"], ["median"]),
        helper.make_node("Sub", ["coefficients", "median"], ["logit"]),
    )


def _constants(side: int) -> Mapping[str, NDArray[Any]]:
    size, n_bits = side * _OVERSAMPLING, side * side
    cosines = _cosines(size, side)
    # A coefficient is the mean of grey value times cosines over the pixels.
    mean_scale = _ROW_SHIFT / (_COSINE_UNIT * size) ** 2
    scalars = {
        "luma_half": 2**15,
        "luma_scale": 2**-16,
        "half": 0.5,
        "row_scale": 1 / _ROW_SHIFT,
        "split": _SPLIT,
        "split_scale": 1 / _SPLIT,
        "mean_scale": mean_scale,
    }
    return {
        "luma": np.array(_LUMA, np.float32),
        "cosines_across": np.ascontiguousarray(cosines.T),
        "cosines_down": cosines,
        **{name: np.array(value, np.float32) for name, value in scalars.items()},
        "last_axis": np.array([3], np.int64),
        "bit_axis": np.array([1], np.int64),
        "bits_shape": np.array([-1, n_bits], np.int64),
        "upper_half": np.array([n_bits // 2 + 1], np.int64),
        "middle": np.array([n_bits // 2 - 1], np.int64),
        "end": np.array([n_bits // 2 + 1], np.int64),
    }


def _cosines(size: int, side: int) -> NDArray[np.float32]:
    """The DCT's first ``side`` rows in multiples of 1/1024: whole numbers, float32 [side, size].

    Rounding keeps the symmetry of cosines, so each row but the first has the sum 0, and an image of
    one colour has no coefficient but the first.
    """
    angles = np.arange(side)[:, None] * (2 * np.arange(size) + 1) * (np.pi / (2 * size))
    cosines: NDArray[np.float32] = np.rint(_COSINE_UNIT * np.cos(angles)).astype(np.float32)
    return cosines


def main(folder: str) -> None:
    """Write every model into a folder."""
    for name in _SIDES:
        with written_model(Path(folder) / f"{name}.onnx") as part:
            check_and_save(phash_model(name), part)


if __name__ == "__main__":
    main(*sys.argv[1:])
