"""Wheels without an installer: joining parts, compatibility tags, selection and unpacking."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from looped import looped

sys.path.insert(0, str(Path(__file__).parent))

from gpucheck.layout import lay_out
from gpucheck.settings import ROOT
from gpucheck.wheels import Machine, choose, join_parts, read_wheel, unpack

MACHINE = Machine(python=(3, 12), architecture="x86_64", glibc=(2, 35), cuda=13)


def make_wheel(folder: Path, name: str, files: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in (files or {"package/__init__.py": ""}).items():
            archive.writestr(member, text)
    return path


def make_runtime(folder: Path, version: str, tags: str, cuda: str | None) -> Path:
    """A fake wheel of ONNX Runtime with build information."""
    info = f"package_name = 'any'\n__version__ = '{version}'\n"
    if cuda:
        info += f"cuda_version = '{cuda}'\n"
    kind = "onnxruntime_gpu" if cuda else "onnxruntime"
    files = {
        "onnxruntime/__init__.py": f"version = {version!r}",
        "onnxruntime/capi/build_and_package_info.py": info,
    }
    return make_wheel(folder, f"{kind}-{version}-{tags}.whl", files)


def split(path: Path, n_parts: int) -> list[Path]:
    """Replace a file by its parts."""
    data = path.read_bytes()
    size = -(-len(data) // n_parts)
    parts = []
    for number in range(n_parts):
        part = path.with_name(f"{path.name}.part{number:02d}")
        part.write_bytes(data[number * size : (number + 1) * size])
        parts.append(part)
    path.unlink()
    return parts


def test_parts_are_joined_and_verified(tmp_path):
    path = make_wheel(tmp_path / "in", "thing-1.0-py3-none-any.whl", {"thing.py": "x = 1\n" * 999})
    data = path.read_bytes()
    text = f"{hashlib.sha256(data).hexdigest()}  {path.name}\n"
    path.with_name(path.name + ".sha256").write_text(text)
    split(path, 12)  # more than ten, so that the order of numbers with two digits matters
    (whole,), damaged = join_parts(tmp_path / "in", tmp_path / "out")
    assert not damaged
    assert whole.read_bytes() == data


def test_a_missing_part_a_wrong_sum_and_a_truncated_archive_are_reported(tmp_path):
    folder = tmp_path / "in"
    split(make_wheel(folder, "a-1-py3-none-any.whl"), 3)[1].unlink()
    summed = make_wheel(folder, "b-1-py3-none-any.whl")
    summed.with_name(summed.name + ".sha256").write_text("0" * 64)
    cut = make_wheel(folder, "c-1-py3-none-any.whl")
    cut.write_bytes(cut.read_bytes()[:-30])
    flipped = make_wheel(folder, "d-1-py3-none-any.whl", {"d.py": "some text"})
    flipped.write_bytes(flipped.read_bytes().replace(b"some text", b"same text"))
    make_wheel(folder, "e-1-py3-none-any.whl")
    whole, damaged = join_parts(folder, tmp_path / "out")
    assert [path.name[0] for path in whole] == ["e"]
    assert {name[0]: reason.partition(":")[0].partition(" ")[0] for name, reason in damaged.items()}
    assert damaged["a-1-py3-none-any.whl"] == "part 01 of 3 is missing"
    assert damaged["b-1-py3-none-any.whl"].startswith("SHA-256 ")
    assert damaged["c-1-py3-none-any.whl"].startswith("not a complete archive")
    assert damaged["d-1-py3-none-any.whl"] == "damaged: d.py"


@looped(
    ("tags", "why_not"),
    [
        ("cp312-cp312-manylinux_2_28_x86_64", None),
        ("cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64", None),
        ("cp38-abi3-manylinux1_x86_64", None),
        ("py3-none-any", None),
        ("py2.py3-none-any", None),
        ("py3-none-manylinux_2_35_x86_64", None),
        ("cp311-cp311-manylinux_2_28_x86_64", "it is for cp311 cp311, not Python 3.12"),
        ("cp313-abi3-manylinux_2_28_x86_64", "it is for cp313 abi3, not Python 3.12"),
        ("cp312-cp312t-manylinux_2_28_x86_64", "it is for cp312 cp312t, not Python 3.12"),
        ("py2-none-any", "it is for py2 none, not Python 3.12"),
        ("cp312-cp312-win_amd64", "it is for win_amd64, not x86_64 with glibc 2.35"),
        (
            "cp312-cp312-manylinux_2_39_x86_64",
            "it is for manylinux_2_39_x86_64, not x86_64 with glibc 2.35",
        ),
        (
            "cp312-cp312-manylinux_2_28_aarch64",
            "it is for manylinux_2_28_aarch64, not x86_64 with glibc 2.35",
        ),
    ],
)
def test_tags_determine_compatibility(tmp_path, tags, why_not):
    assert read_wheel(make_wheel(tmp_path, f"thing-1.0-{tags}.whl")).why_not(MACHINE) == why_not


def test_the_runtime_for_this_python_and_cuda_is_selected(tmp_path):
    tags = "cp312-cp312-manylinux_2_28_x86_64"
    right = make_runtime(tmp_path, "1.31.1", tags, "13.0")
    older = make_runtime(tmp_path, "1.9.0", tags, "13.0")
    cuda_12 = make_runtime(tmp_path, "1.40.0", tags, "12.8")
    cpu = make_runtime(tmp_path, "1.50.0", tags, None)
    python_311 = make_runtime(tmp_path, "1.31.1", "cp311-cp311-manylinux_2_28_x86_64", "13.0")
    here = make_wheel(tmp_path, "typer-0.20-py3-none-any.whl")
    missing = make_wheel(tmp_path, "Some_Thing-1.0-py3-none-any.whl")
    wheels = [read_wheel(path) for path in sorted(tmp_path.glob("*.whl"))]
    installed = {"onnxruntime": "1.30.0", "typer": "0.15"}
    chosen, passed_over = choose(wheels, MACHINE, installed, wants_cuda=True)
    assert {wheel.path for wheel in chosen} == {right, missing}
    assert passed_over == {
        older.name: f"{right.name} is preferred",
        cuda_12.name: "it is for CUDA 12, not CUDA 13",
        cpu.name: "it has no CUDA provider",
        python_311.name: "it is for cp311 cp311, not Python 3.12",
        here.name: "typer 0.15 is installed",
    }


def test_unpacked_wheels_match_an_installation(tmp_path):
    files = {
        "thing/__init__.py": "value = 3",
        "thing-1.0.dist-info/METADATA": "Name: thing",
        "thing-1.0.data/purelib/other.py": "value = 4",
        "thing-1.0.data/scripts/run": "no",
        "../outside.py": "no",
    }
    unpack(read_wheel(make_wheel(tmp_path, "thing-1.0-py3-none-any.whl", files)), tmp_path / "to")
    found = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*")}
    assert found >= {"thing/__init__.py", "other.py", "thing-1.0.dist-info/METADATA"}
    assert not (tmp_path / "outside.py").exists()
    assert not list((tmp_path / "to").rglob("run"))


def test_the_package_works_without_an_installation(tmp_path):
    target = lay_out(ROOT, tmp_path / "package")
    script = (
        "import hashkit, importlib.metadata as m, importlib.resources as r\n"
        "import hashkit.errors, importlib.util as u\n"
        "print(hashkit.__file__, m.version('hashkit-retrieval'))\n"
        "print(u.find_spec('hashkit.runtimes.probe') , u.find_spec('hashkit.exporters').origin)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{target}/hashkit/__init__.py 0." in done.stdout
    assert f"{target}/hashkit/exporters/__init__.py" in done.stdout
    assert (target / "hashkit" / "runtimes" / "probe.onnx").is_file()
