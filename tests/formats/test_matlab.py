"""Labels in files of MATLAB, compared with SciPy, which reads and writes level 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from looped import looped
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.formats import open_codes, save_codes
from hashkit.formats.labels import load_labels
from hashkit.formats.matlab import read_mat
from hashkit.inputs.limits import set_limits

scipy_io = pytest.importorskip("scipy.io")

KINDS = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@looped("is_compressed", [False, True])
@looped("kind", KINDS)
def test_numbers_of_every_class_are_read(tmp_path: Path, kind: str, is_compressed: bool) -> None:
    array = (np.arange(12) % 5).reshape(3, 4).astype(kind)
    arrays = {"a": array, "longer_name": array.T, "one": np.array([[7]], kind)}
    scipy_io.savemat(tmp_path / "a.mat", arrays, do_compression=is_compressed)
    found = read_mat(tmp_path / "a.mat")
    assert list(found) == list(arrays)
    for name, expected in arrays.items():
        np.testing.assert_array_equal(found[name], expected, strict=True)


def test_other_variables_are_left_out(tmp_path: Path) -> None:
    others = {"text": "cat", "cell": np.array(["a", 3], object), "struct": {"x": 3}}
    others |= {"complex": np.array([[1j]])}
    scipy_io.savemat(tmp_path / "a.mat", {**others, "labels": np.array([1, 2])})
    assert list(read_mat(tmp_path / "a.mat")) == ["labels"]


@looped(
    ("labels", "expected"),
    [
        (np.array([[3.0], [0.0], [-1.0]]), [3, 0, -1]),
        (np.array([[3, 0, 1]], np.uint8), [3, 0, 1]),
        (np.array([[0, 1], [1, 0], [1, 1]], np.uint8), [[0, 1], [1, 0], [1, 1]]),
        (np.array([[True], [False], [True]]), [1, 0, 1]),
    ],
)
def test_labels_of_both_formats_are_read(
    tmp_path: Path, labels: NDArray[Any], expected: list[Any]
) -> None:
    scipy_io.savemat(tmp_path / "five.mat", {"labels": labels, "other": np.zeros(9)})
    write_hdf5(tmp_path / "hdf5.mat", {"labels": labels, "other": np.zeros((9, 1))})
    for name in ("five.mat", "hdf5.mat"):
        found, class_names = load_labels(tmp_path / name)
        assert found.tolist() == expected
        assert class_names == ()


def write_hdf5(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """A file as MATLAB writes it: after a text of 512 bytes, arrays with reversed dimensions."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")


def test_links_and_data_in_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    write_hdf5(tmp_path / "other.mat", {"labels": np.ones((3, 1))})
    write_hdf5(tmp_path / "a.mat", {"own": np.zeros((3, 1))})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        file["labels"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "labels")
        file["soft"] = h5py.SoftLink("/own")
        space = [(str(tmp_path / "secret.bin"), 0, 24)]
        file.create_dataset("outside", (3,), "f8", external=space)
    assert list(read_mat(tmp_path / "a.mat")) == ["own"]


def test_a_file_with_several_variables_is_ambiguous(tmp_path: Path) -> None:
    scipy_io.savemat(tmp_path / "a.mat", {"x": [[1]], "y": [[2]]})
    with pytest.raises(CodesError, match=r"one variable of numbers.*found 'x', 'y': save it alone"):
        load_labels(tmp_path / "a.mat")
    scipy_io.savemat(tmp_path / "a.mat", {"x": "text"})
    with pytest.raises(CodesError, match="found none"):
        load_labels(tmp_path / "a.mat")


def test_labels_of_matlab_belong_to_codes(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("01\n11\n00\n")
    scipy_io.savemat(tmp_path / "labels.mat", {"L": [[3], [1], [2]]})
    found = open_codes(tmp_path / "codes.txt", tmp_path / "labels.mat")
    assert found.labels is not None
    assert found.labels.tolist() == [3, 1, 2]
    save_codes(tmp_path / "bank.h5", found)


def test_a_small_file_of_a_large_variable_is_refused(tmp_path: Path) -> None:
    scipy_io.savemat(tmp_path / "a.mat", {"labels": np.zeros(1 << 17)}, do_compression=True)
    before = set_limits(array_bytes=1 << 20)
    try:
        with pytest.raises(CodesError, match=r"a variable has .* bytes, more than the 1,048,576"):
            load_labels(tmp_path / "a.mat")
    finally:
        set_limits(array_bytes=before.array_bytes)
    assert len(load_labels(tmp_path / "a.mat")[0]) == 1 << 17


@pytest.mark.parametrize("kind", ["plain", "compressed", "hdf5"])
def test_a_damaged_file_is_a_one_line_error(tmp_path: Path, kind: str) -> None:
    path, random = tmp_path / "a.mat", np.random.default_rng(0)
    arrays = {"labels": np.arange(40.0)[:, None], "x": np.eye(3)}
    if kind == "hdf5":
        write_hdf5(path, arrays)
    else:
        scipy_io.savemat(path, arrays, do_compression=kind == "compressed")
    content, found = path.read_bytes(), []
    for number in range(60):
        damaged = bytearray(content)
        at = random.integers(100, len(content))
        damaged[at : at + 4] = random.bytes(4)
        path.write_bytes(bytes(damaged[: len(damaged) if number % 2 else at]))
        try:
            found.append(str(load_labels(path)[0].shape))
        except CodesError as error:
            found.append(str(error))
    assert all(text.isprintable() for text in found)
    assert len(set(found)) > 1
