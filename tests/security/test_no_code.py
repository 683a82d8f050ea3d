"""No way from a file's content to code: pickles, templates, archives, classes by name."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import published_sets
import pytest
from house import MODULES
from looped import looped

import hashkit as package
from hashkit.datasets.cifar import CIFAR10, open_cifar
from hashkit.datasets.pickles import read_plain_pickle
from hashkit.errors import CheckpointError, CodesError, DatasetError, HashkitError, ModelError


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path):
    """A path that must not exist at the end: code from a file would make it."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


# Pickles


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_cifar_runs_nothing(trace, protocol):
    data = pickle.dumps({"data": Hostile(trace)}, protocol=protocol)
    with pytest.raises(DatasetError, match="this pickle calls"):
        read_plain_pickle(data, "data_batch_1")


@pytest.mark.parametrize("in_archive", [True, False])
def test_an_archive_of_cifar_runs_nothing(trace, tmp_path, in_archive):
    files = dict(published_sets.cifar10_python_files())
    files["data_batch_2"] = pickle.dumps(Hostile(trace))
    if in_archive:
        archive = published_sets.tar_gz("cifar-10-batches-py", files)
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive)
    else:
        published_sets.write_folder(tmp_path / "cifar-10-batches-py", files)
    with pytest.raises(DatasetError, match="this pickle calls"):
        open_cifar(CIFAR10, tmp_path)


@pytest.mark.parametrize("name", ["codes", "labels", "names", "class_names", "bits"])
def test_arrays_of_objects_are_refused(trace, tmp_path, name):
    hostile = np.array([Hostile(trace)] * 4, dtype=object)
    arrays = {"codes": np.zeros((4, 2), np.uint8), "bits": np.array(16)} | {name: hostile}
    np.savez(tmp_path / "a.npz", **arrays)
    np.save(tmp_path / "a.npy", hostile)
    for path in ("a.npz", "a.npy"):
        with pytest.raises(CodesError, match="Python objects, which would have to be unpickled"):
            package.open_codes(tmp_path / path)
    np.savez(tmp_path / "b.npz", codes=np.zeros((4, 2), np.uint8), bits=16, other=hostile)
    assert len(package.open_codes(tmp_path / "b.npz")) == 4  # what is not needed is not read


@pytest.mark.parametrize("suffix", ["safetensors", "onnx", "h5", "npz", "parquet", "faiss", "mih"])
def test_a_pickle_under_another_name_runs_nothing(trace, tmp_path, suffix):
    import torch

    path = tmp_path / f"a.{suffix}"
    torch.save({"model": Hostile(trace)}, path)
    from cli_samples import fail

    assert fail(f"info {path}").startswith("error: ")
    path.write_bytes(pickle.dumps(Hostile(trace)))
    assert fail(f"info {path}").startswith("error: ")
    if suffix == "safetensors":
        from hashkit.training.checkpoint import load_model, read_checkpoint

        for read in (load_model, read_checkpoint):
            with pytest.raises(CheckpointError):
                read(path)
    if suffix == "onnx":
        with pytest.raises(ModelError):
            package.Encoder.load(path, device="cpu")


# Archives


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


@looped(
    "odd",
    [
        member("../../escaped/data_batch_1", data=b"x"),
        member("/escaped/data_batch_1", data=b"x"),
        member("cifar-10-batches-py/data_batch_1", tarfile.SYMTYPE, "/etc/passwd"),
        member("cifar-10-batches-py/data_batch_1", tarfile.LNKTYPE, "../../etc/passwd"),
        member("cifar-10-batches-py/data_batch_1", tarfile.CHRTYPE),
        member("cifar-10-batches-py/data_batch_1", tarfile.FIFOTYPE),
        member("cifar-10-batches-py/data_batch_1", tarfile.DIRTYPE),
        member("cifar-10-batches-py/data_batch_1", tarfile.SYMTYPE, "data_batch_1"),
    ],
    ids=["up", "absolute", "link", "hard-link", "device", "pipe", "folder", "loop"],
)
def test_members_of_an_archive_are_read_into_memory_alone(tmp_path, odd):
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        info, data = odd
        archive.addfile(info, io.BytesIO(data))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=r"damaged|incomplete") as caught:
        open_cifar(CIFAR10, tmp_path)
    assert "root:" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_members_of_a_zip_are_not_extracted(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../codes.npy", "/codes.npy", "codes.npy"):
            with archive.open(name, "w") as file:
                np.lib.format.write_array(file, np.zeros((3, 2), np.uint8))
        with archive.open("bits.npy", "w") as file:
            np.lib.format.write_array(file, np.array(16))
    assert len(package.open_codes(path)) == 3
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


# Templates, and classes by name


def test_pages_escape_what_comes_from_files():
    from hashkit.report import templates

    environment = templates._environment()
    assert environment.autoescape is True
    page = environment.from_string("{{ name }}<p title='{{ name }}'>")
    hostile = "{{ 7 * 7 }}<script>alert(1)</script>' onload='x"
    shown = page.render(name=hostile)
    assert "<script>" not in shown
    assert "' onload" not in shown
    assert "{{ 7 * 7 }}" in shown  # a name is no template


def test_code_is_imported_by_fixed_names():
    """`importlib` takes names from this package's own tables, `--network` and `--loss`."""
    found = {
        module
        for module, path in MODULES.items()
        if "importlib.import_module" in path.read_text(encoding="utf-8")
    }
    assert found == {
        "hashkit",  # its public names
        "hashkit.imaging.formats",  # Pillow's readers, by the kind of an image
        "hashkit.runtimes.cuda",
        "hashkit.training.own_code",  # --network and --loss
        "hashkit.workflow.installation",  # packages of `hashkit doctor`
    }
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018
    assert issubclass(CheckpointError, HashkitError)
