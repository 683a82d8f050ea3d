"""The commands that write, and the folders that they start from."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

_SUPPORT: Final = str(Path(__file__).resolve().parents[2] / "support")
sys.path.append(_SUPPORT)

__all__ = ["SCENES", "Scene", "make_start", "run_command"]

NETWORK: Final = "--network " + shlex.quote(
    f"module:{Path(__file__).resolve().with_name('network.py')}:ThreeConvolutions"
)
_N_CODES: Final = 1_000

_TRAIN: Final = (
    "train --data photos --name r --bits 12 --batch-size 6 --steps 4 --snapshot-steps 1 "
    "--display-steps 1 "
    f"--size 8 --holdout 0.2 --queries-per-class 1 --device cpu --num-workers 1 {NETWORK}"
)
_FEATURES: Final = (
    "train --data photos --name f --bits 4,8 --loss lsh --network onnx:their.network "
    "--preprocessing imagenet --queries-per-class 1 --device cpu --num-workers 1"
)
_HEAD: Final = (
    "train --data photos --name h --bits 12 --hidden 4 --batch-size 6 --steps 4 --snapshot-steps 1 "
    "--display-steps 1 --network onnx:their.network --preprocessing imagenet --holdout 0.2 "
    "--queries-per-class 1 --device cpu --num-workers 1"
)
_PRECISION: Final = "export --onnx --allow-loss --precision"
_SHARDS: Final = (
    "encode photos --model model.onnx --out set --shards 3 --batch-size 4 --num-workers 1"
)
_ENCODE: Final = "encode photos --model model.onnx --out bank.h5 --batch-size 4 --num-workers 1"
_SYNC: Final = "sync photos --bank bank.h5 --batch-size 4 --num-workers 1 --model"
_DEDUP: Final = "dedup photos --exact --apply move=moved --report dedup.html"
_WEB: Final = "export --web site --run runs/w --web-runtime npm"
_STAND_IN: Final = (
    f"import sys; sys.path.append({_SUPPORT!r}); "
    "from made_up_runtime import take_as_published; take_as_published()"
)
_UPLOADS: Final = (
    f"import sys; sys.path += [{_SUPPORT!r}, {str(Path(__file__).resolve().parents[1])!r}]; "
    "from killing.uploading import take_uploads; take_uploads()"
)
_SERVE: Final = "serve --bank uploads.h5 --model model.onnx --writable uploads --port 0"
_APPEND: Final = (
    "encode more --model model.onnx --out bank.h5 --append --batch-size 4 --num-workers 1"
)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A command to kill.

    Attributes
    ----------
    command
        The command.
    start
        Names of the steps that prepare its folder, in order; see `make_start`.
    goes_on
        The command that continues where the first one refuses to, as its error says.
    before
        Python code that a process runs before the command.
    """

    command: str
    start: tuple[str, ...]
    goes_on: str = ""
    before: str = ""


def run_command(line: str, before: str = "") -> int:
    """Run ``hashkit LINE`` in this process and folder; returns its exit code."""
    from hashkit.cli import main

    exec(before, {})  # noqa: S102 - of a scene
    sys.argv = ["hashkit", *shlex.split(line)]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _photos() -> None:
    from cli_samples import write_class_folders

    write_class_folders(Path("photos"), per_class=8, suffix=".png")
    # Other files than the first ones, which encode --append would refuse as copies.
    write_class_folders(Path("more"), per_class=4)
    (Path("photos") / "one" / "broken.png").write_bytes(b"no image")


def _model() -> None:
    from linear_models import linear_model

    linear_model(Path("model.onnx"), height=8, width=8)


def _network() -> None:
    import onnx
    from foreign_graphs import pooled_network

    onnx.save(pooled_network(), "their.network")


def _half_featured() -> None:
    """A run on frozen features whose computation was killed after its first record."""
    from hashkit.features import computing

    computing._ROWS_PER_SAVE = 4  # type: ignore[misc]
    computing.batch_size_for_size = lambda *_: 4
    from hashkit.features import session

    session.batch_size_for_size = lambda *_: 4
    append, n_left = computing.OutputTable._save_progress, [3]

    def dying(self: computing.OutputTable, n_done: int) -> None:
        append(self, n_done)
        n_left[0] -= 1
        if not n_left[0]:
            os._exit(0)

    computing.OutputTable._save_progress = dying  # type: ignore[method-assign]
    run_command(_FEATURES)


def _codes() -> None:
    import numpy as np

    from hashkit import CodeSet, save_codes

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (_N_CODES, 3), np.uint8)
    names = [f"{row:05d}.png" for row in range(_N_CODES)]
    labels = np.arange(_N_CODES) % 5
    save_codes("codes.h5", CodeSet(codes, 24, labels, names, tuple("abcde")))
    save_codes("codes.npz", CodeSet(codes, 24, labels, names, tuple("abcde")))
    save_codes("queries.npz", CodeSet(codes[:20], 24, labels[:20], names[:20], tuple("abcde")))


def _half_trained() -> None:
    """A run whose training was killed after its second snapshot."""
    _must(_TRAIN)
    run = Path("runs/r")
    for name in ("summary.json", "checkpoints/best.safetensors"):
        (run / name).unlink(missing_ok=True)
    snapshots = sorted(run.glob("checkpoints/step-*"))
    for path in snapshots[1:]:
        path.unlink()


def _half_encoded() -> None:
    """A bank whose writer was killed after its third batch."""
    from hashkit.bank.writer import BankWriter

    write, left = BankWriter.write, [3]

    def dying(self: BankWriter, *arguments: object, **options: object) -> None:
        write(self, *arguments, **options)  # type: ignore[arg-type]
        left[0] -= 1
        if not left[0]:
            os._exit(0)

    BankWriter.write = dying  # type: ignore[method-assign]
    _must(_ENCODE)


def _other_model() -> None:
    from linear_models import linear_model

    linear_model(Path("other.onnx"), n_bits=16, height=8, width=8, seed=1)


def _changed() -> None:
    """Changes of every kind since the last sync of the bank."""
    from cli_samples import write_class_folders

    names, others = (sorted(one.glob("0*.png")) for one in sorted(Path("photos").iterdir())[:2])
    for path in names[:4]:
        path.rename(Path("photos") / f"moved-{path.name}")
    names[4].unlink()
    shutil.copy(names[5], "photos/copy.png")
    names[6].write_bytes(others[0].read_bytes())
    os.utime(names[7], ns=(1, 1))
    write_class_folders(Path("photos/new"), per_class=4)


def _page_run() -> None:
    """A run with a model and its bank, and a stand-in for the runtime of browsers."""
    from linear_models import linear_model
    from made_up_runtime import write_runtime

    from hashkit.runs.data_spec import DataSpec
    from hashkit.runs.run import Run
    from hashkit.runs.run_config import RunConfig

    run = Run.create(Path("runs"), "w", RunConfig(data=DataSpec()))
    linear_model(run.model_path, n_bits=12, height=8, width=8)
    write_runtime(Path("npm"))
    _must("encode --run runs/w --num-workers 1")


def _page() -> None:
    """An earlier page, of more images, in a folder with files of the user."""
    run_command(f"{_WEB} --web-images 60", _STAND_IN)
    Path("site", "CNAME").write_text("example.org\n")
    Path("site", ".git").mkdir()
    Path("site", ".git", "HEAD").write_text("ref: refs/heads/pages\n")


def _copies() -> None:
    """Copies of photographs, equal by bytes or by pixels alone, and an empty folder of the user."""
    from PIL import Image

    for number, path in enumerate(sorted(Path("photos").rglob("0*.png"))[:12]):
        copy = path.with_name(f"copy-of-{path.name}")
        if number % 3:
            shutil.copy(path, copy)
        else:
            with Image.open(path) as image:
                image.save(copy.with_suffix(".bmp"))
    Path("moved").mkdir()


def _moved() -> None:
    """Duplicates that were moved, and the journal under a name that is known."""
    _must(_DEDUP)
    (journal,) = Path("moved").glob("hashkit-dedup-*.json")
    journal.rename("moved/journal.json")


def _deleted() -> None:
    _must("delete codes.h5 --rows 3,7-90,600-900")


def _must(line: str) -> None:
    if code := run_command(line):
        raise RuntimeError(f"hashkit {line}: exit code {code}")


_STEPS: Final[Mapping[str, Callable[[], None]]] = {
    "photos": _photos,
    "model": _model,
    "codes": _codes,
    "network": _network,
    "half-featured": _half_featured,
    "featured": lambda: _must(_FEATURES),
    "half-trained": _half_trained,
    "half-encoded": _half_encoded,
    "deleted": _deleted,
    "copies": _copies,
    "moved": _moved,
    "page-run": _page_run,
    "page": _page,
    "trained": lambda: _must(_TRAIN),
    "exported": lambda: _must(f"export --onnx --run runs/r {NETWORK}"),
    "encoded": lambda: _must(_ENCODE),
    "cut": lambda: _must("convert codes.h5 set --shards 4"),
    "cut-bank": lambda: _must("convert bank.h5 set --shards 3"),
    "synced": lambda: _must(f"{_SYNC} model.onnx"),
    "changed": _changed,
    "other-model": _other_model,
    "run-encoded": lambda: _must("encode --run runs/r --num-workers 1"),
}


def make_start(name: str) -> None:
    """Do one step in the current folder; each is run in a process of its own."""
    _STEPS[name]()


_PHOTOS: Final = ("photos", "model")
_RUN: Final = ("photos", "trained")
_EXPORTED: Final = (*_RUN, "exported")

SCENES: Final = {
    "train": Scene(_TRAIN, ("photos",), f"train --resume --run runs/r {NETWORK}"),
    "train-resume": Scene(
        f"train --resume --run runs/r {NETWORK}", ("photos", "half-trained")
    ),
    "train-features": Scene(
        _FEATURES, ("photos", "network"), "train --resume --run runs/f"
    ),
    "train-features-resume": Scene(
        "train --resume --run runs/f", ("photos", "network", "half-featured")
    ),
    "train-head": Scene(_HEAD, ("photos", "network"), "train --resume --run runs/h"),
    # Takes the features of the earlier run.
    "train-features-again": Scene(
        _FEATURES.replace("--name f", "--name g"),
        ("photos", "network", "featured"),
        "train --resume --run runs/g",
    ),
    "export-features": Scene(
        "export --onnx --run runs/f-4bits", ("photos", "network", "featured")
    ),
    "export": Scene(f"export --onnx --run runs/r {NETWORK}", _RUN),
    "export-fp16": Scene(f"{_PRECISION} fp16 --run runs/r {NETWORK}", _EXPORTED),
    "export-int8": Scene(f"{_PRECISION} int8 --run runs/r {NETWORK}", _EXPORTED),
    "export-web": Scene(f"{_WEB} --web-images 40", ("page-run",), before=_STAND_IN),
    "export-web-again": Scene(
        f"{_WEB} --web-images 40", ("page-run", "page"), before=_STAND_IN
    ),
    "encode": Scene(_ENCODE, _PHOTOS),
    "encode-resumed": Scene(_ENCODE, (*_PHOTOS, "half-encoded")),
    "encode-shards": Scene(_SHARDS, _PHOTOS),
    "encode-append": Scene(_APPEND, (*_PHOTOS, "encoded")),
    "sync": Scene(f"{_SYNC} model.onnx", _PHOTOS),
    "sync-changed": Scene(f"{_SYNC} model.onnx", (*_PHOTOS, "synced", "changed")),
    "sync-model": Scene(f"{_SYNC} other.onnx", (*_PHOTOS, "synced", "other-model")),
    "serve": Scene(_SERVE, ("model",), before=_UPLOADS),
    "dedup": Scene(_DEDUP, ("photos", "copies")),
    "dedup-undo": Scene("dedup --undo moved/journal.json", ("photos", "copies", "moved")),
    "encode-run": Scene("encode --run runs/r --num-workers 1 --batch-size 4", _EXPORTED),
    "convert-to-bank": Scene("convert codes.npz new.h5", ("codes",)),
    "convert-to-npz": Scene("convert codes.h5 new.npz", ("codes",)),
    "convert-to-parquet": Scene("convert codes.h5 new.parquet", ("codes",)),
    "convert-in-place": Scene("convert codes.h5 codes.h5 --overwrite", ("codes", "deleted")),
    "convert-to-set": Scene("convert codes.h5 set --shards 4", ("codes",)),
    "delete-set": Scene("delete set --rows 5,9-400,990", ("codes", "cut")),
    "sync-set": Scene(
        f"{_SYNC.replace('bank.h5', 'set')} model.onnx",
        (*_PHOTOS, "encoded", "cut-bank", "changed"),
    ),
    "delete": Scene("delete codes.h5 --rows 5,9-400", ("codes",)),
    "restore": Scene("delete codes.h5 --restore --rows 7-80", ("codes", "deleted")),
    "index": Scene("index codes.h5", ("codes",)),
    "evaluate-report": Scene(
        "evaluate queries.npz codes.npz --report page.html", ("codes",)
    ),
    "evaluate-run": Scene("evaluate --run runs/r --report page.html", (*_EXPORTED, "run-encoded")),
    "search": Scene("search --query photos/one/0001.png --run runs/r --num-workers 1", _EXPORTED),
    "search-picture": Scene(
        "search --query photos/one/0001.png --bank bank.h5 --model model.onnx "
        "--save-picture hits.png",
        (*_PHOTOS, "encoded"),
    ),
    "bench-report": Scene(
        "bench --model model.onnx --random --queries 4 --database 8 --runtimes onnxruntime "
        "--device cpu --batches 2 --seconds 0.01 --starts 1 --slow-images 2 "
        "--markdown table.md --html table.html",
        _PHOTOS,
    ),
}  # fmt: skip
"""The scenes by name."""
