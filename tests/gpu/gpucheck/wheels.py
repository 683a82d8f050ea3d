"""Wheels without a network: parts are joined, and compatible wheels selected and unpacked."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

__all__ = ["Machine", "Wheel", "choose", "join_parts", "read_wheel", "unpack"]

_PART = re.compile(r"(?P<name>.+\.whl)\.part(?P<number>\d+)")
_GLIBC = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_BUILD_INFO = "onnxruntime/capi/build_and_package_info.py"


@dataclasses.dataclass(frozen=True)
class Machine:
    """The machine that wheels must be compatible with.

    Attributes
    ----------
    python
        (major, minor).
    architecture
        For example ``x86_64``.
    glibc
        (major, minor); None without glibc.
    cuda
        Major version of CUDA; None if there is none or it is unknown.
    """

    python: tuple[int, int]
    architecture: str
    glibc: tuple[int, int] | None
    cuda: int | None

    @classmethod
    def here(cls) -> Machine:
        """This machine and this Python; free-threaded builds are compatible with no usual wheel."""
        name, version = platform.libc_ver()
        glibc = tuple(map(int, version.split(".")[:2])) if name == "glibc" else None
        python = sys.version_info[:2]
        if sysconfig.get_config_var("Py_GIL_DISABLED"):
            python = (python[0], -1)
        return cls(python, platform.machine(), glibc, cuda_major())  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A wheel, described by its file name (PEP 427) and, for ONNX Runtime, its build information.

    Attributes
    ----------
    name
        Name of the distribution, in lower case with dashes.
    pythons, abis, platforms
        Compatibility tags.
    cuda
        Major version of CUDA that ONNX Runtime was built for; None for the CPU and other wheels.
    """

    path: Path
    name: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]
    cuda: int | None = None

    @property
    def is_onnxruntime(self) -> bool:
        """Whether it installs the package ``onnxruntime``."""
        return self.name == "onnxruntime" or self.name.startswith(("onnxruntime-", "ort-"))

    @property
    def order(self) -> tuple[int, ...]:
        """Sort key; larger for newer versions."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version))

    def why_not(self, machine: Machine) -> str | None:
        """Reason why the wheel is not compatible; None if it is."""
        if not any(_fits_python(tag, self.abis, machine.python) for tag in self.pythons):
            wanted = ".".join(map(str, machine.python))
            return f"it is for {'.'.join(self.pythons)} {'.'.join(self.abis)}, not Python {wanted}"
        if not any(_fits_platform(tag, machine) for tag in self.platforms):
            libc = (
                "no glibc"
                if machine.glibc is None
                else f"glibc {machine.glibc[0]}.{machine.glibc[1]}"
            )
            return f"it is for {'.'.join(self.platforms)}, not {machine.architecture} with {libc}"
        if self.cuda is not None and machine.cuda is not None and self.cuda != machine.cuda:
            return f"it is for CUDA {self.cuda}, not CUDA {machine.cuda}"
        return None


def join_parts(folder: Path, target: Path) -> tuple[list[Path], dict[str, str]]:
    """Complete wheels of a folder; wheels in parts are joined in ``target``.

    Returns
    -------
    tuple
        The complete wheels, and the faults of the others by name: a part is missing, the SHA-256
        differs from that in ``NAME.whl.sha256``, or the archive is damaged.
    """
    whole = {path.name: path for path in sorted(folder.rglob("*.whl"))}
    pieces: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.rglob("*.whl.part*")):
        if match := _PART.fullmatch(path.name):
            pieces.setdefault(match["name"], {})[int(match["number"])] = path
    sums = {path.name.removesuffix(".sha256"): path for path in folder.rglob("*.whl.sha256")}
    damaged = {}
    for name, parts in pieces.items():
        missing = sorted(set(range(max(parts) + 1)) - parts.keys())
        if missing:
            damaged[name] = f"part {missing[0]:02d} of {max(parts) + 1} is missing"
        elif name not in whole:
            whole[name] = _joined([parts[number] for number in sorted(parts)], target / name)
    for name, path in list(whole.items()):
        reason = _what_is_wrong(path, sums.get(name))
        if reason:
            damaged[name] = reason
        if name in damaged:
            del whole[name]
    return [whole[name] for name in sorted(whole)], damaged


def _joined(parts: list[Path], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as output:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, output, 2**20)
    return path


def _what_is_wrong(path: Path, sum_path: Path | None) -> str | None:
    if sum_path is not None:
        words = sum_path.read_text(encoding="utf-8").split()
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not words or words[0].lower() != found:
            expected = words[0][:16] if words else "nothing"
            return f"SHA-256 {found[:16]}... is not {expected}... of {sum_path.name}"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        return f"not a complete archive: {error}"
    return None if bad is None else f"damaged: {bad}"


def read_wheel(path: Path) -> Wheel:
    """Read the description of a wheel.

    Raises
    ------
    ValueError
        If the file name is not that of a wheel.
    """
    fields = path.name.removesuffix(".whl").split("-")
    if len(fields) not in (5, 6):
        raise ValueError(f"{path.name} is not the name of a wheel")
    name, version, (pythons, abis, platforms) = fields[0], fields[1], fields[-3:]
    wheel = Wheel(
        path,
        re.sub(r"[-_.]+", "-", name).lower(),
        version,
        pythons=tuple(pythons.split(".")),
        abis=tuple(abis.split(".")),
        platforms=tuple(platforms.split(".")),
    )
    return dataclasses.replace(wheel, cuda=_built_for(path)) if wheel.is_onnxruntime else wheel


def _built_for(path: Path) -> int | None:
    """Major version of CUDA in the build information of ONNX Runtime."""
    with zipfile.ZipFile(path) as archive:
        try:
            text = archive.read(_BUILD_INFO).decode()
        except KeyError:
            return None
    match = re.search(r"cuda_version\s*=\s*['\"](\d+)", text)
    return int(match[1]) if match else None


def choose(
    wheels: Iterable[Wheel], machine: Machine, installed: dict[str, str], wants_cuda: bool
) -> tuple[list[Wheel], dict[str, str]]:
    """Wheels to unpack, and the reason by file name why the others are not used.

    Parameters
    ----------
    installed
        Versions of installed packages by name. They are preferred to wheels, except ONNX Runtime.
    wants_cuda
        Whether ONNX Runtime needs CUDA.
    """
    passed_over: dict[str, str] = {}
    fitting: dict[str, list[Wheel]] = {}
    for wheel in wheels:
        reason = wheel.why_not(machine)
        if reason is None and wheel.is_onnxruntime and wants_cuda and wheel.cuda is None:
            reason = "it has no CUDA provider"
        if reason is None and not wheel.is_onnxruntime and wheel.name in installed:
            reason = f"{wheel.name} {installed[wheel.name]} is installed"
        if reason is None:
            fitting.setdefault("onnxruntime" if wheel.is_onnxruntime else wheel.name, []).append(
                wheel
            )
        else:
            passed_over[wheel.path.name] = reason
    chosen = []
    for candidates in fitting.values():
        best = max(candidates, key=lambda wheel: (wheel.cuda is not None, wheel.order))
        chosen.append(best)
        for wheel in candidates:
            if wheel is not best:
                passed_over[wheel.path.name] = f"{best.path.name} is preferred"
    return chosen, passed_over


def unpack(wheel: Wheel, target: Path) -> None:
    """Unpack a wheel's packages into a folder like an installer; scripts are left out."""
    with zipfile.ZipFile(wheel.path) as archive:
        for member in archive.infolist():
            parts = PurePosixPath(member.filename).parts
            if len(parts) > 2 and parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            if member.is_dir() or ".." in parts or PurePosixPath(member.filename).is_absolute():
                continue
            path = target.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("wb") as output:
                shutil.copyfileobj(source, output, 2**20)


def installed_versions() -> dict[str, str]:
    """Versions of installed packages, by name in lower case with dashes."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return found


def cuda_major() -> int | None:
    """Major version of torch's CUDA, otherwise of the driver's; does not import torch."""
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        version = Path(spec.origin).with_name("version.py")
        if version.is_file():
            text = version.read_text(encoding="utf-8")
            if match := re.search(r"^cuda\b[^=\n]*=\s*['\"](\d+)", text, re.MULTILINE):
                return int(match[1])
    return _driver_major()


def _driver_major() -> int | None:
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int(0)
    return None if driver.cuDriverGetVersion(ctypes.byref(number)) else number.value // 1000


def _fits_python(tag: str, abis: tuple[str, ...], python: tuple[int, int]) -> bool:
    match = re.fullmatch(r"(cp|py)(\d)(\d*)", tag)
    if match is None or int(match[2]) != python[0]:
        return False
    minor = int(match[3]) if match[3] else 0
    if match[1] == "py":
        return "none" in abis and minor <= python[1]
    if minor == python[1]:
        return bool({f"cp{python[0]}{python[1]}", "abi3", "none"} & set(abis))
    return "abi3" in abis and minor < python[1]


def _fits_platform(tag: str, machine: Machine) -> bool:
    if tag == "any":
        return True
    if not tag.endswith(f"_{machine.architecture}"):
        return False
    kind = tag.removesuffix(f"_{machine.architecture}")
    if kind == "linux":
        return machine.glibc is not None
    match = re.fullmatch(r"manylinux_(\d+)_(\d+)", kind)
    needed = (int(match[1]), int(match[2])) if match else _GLIBC.get(kind)
    return needed is not None and machine.glibc is not None and machine.glibc >= needed
