"""Each stage runs with only its own dependencies installed.

The commands run in a process where importing any other package raises an error.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_samples import succeed, write_class_folders
from small_models import linear_model

import hashkit
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

pytestmark = pytest.mark.end_to_end

TRAINING = ("torch", "onnx", "onnxscript", "safetensors", "sklearn")
SEARCHING = (*TRAINING, "onnxruntime")
BLOCKER = '''
import sys

class Blocker:
    """A finder that comes before all others and refuses the blocked packages."""

    def __init__(self, names):
        self.names = frozenset(names)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)
        return None

names = {names!r}
assert not set(names) & set(sys.modules)
sys.meta_path.insert(0, Blocker(names))
'''


def python(code: str, folder: Path, blocked: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run Python code in a process in which ``blocked`` packages cannot be imported."""
    before = BLOCKER.replace("{names!r}", repr(blocked)) if blocked else ""
    return subprocess.run(
        [sys.executable, "-c", before + code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def command(line: str, folder: Path, blocked: tuple[str, ...]) -> subprocess.CompletedProcess:
    """Run ``hashkit <line>`` in such a process."""
    arguments = f"import sys; sys.argv = ['hashkit', *{line.split()!r}]\n"
    return python(arguments + "from hashkit.cli import main; main()", folder, blocked)


def answer(line: str, folder: Path, blocked: tuple[str, ...]) -> dict:
    """The JSON of a command that must succeed in such a process."""
    ended = command(f"{line} --json", folder, blocked)
    assert ended.returncode == 0, ended.stderr
    document: dict = json.loads(ended.stdout)
    return document


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with a model, images in class folders, and their bank."""
    folder = tmp_path_factory.mktemp("isolated")
    write_class_folders(folder / "photos", per_class=4, suffix=".png")
    linear_model(folder / "model.onnx", height=8, width=8)
    succeed(
        f"encode {folder}/photos --labels folders --model {folder}/model.onnx "
        f"--out {folder}/made.h5"
    )
    return folder


# Without training packages


def test_encode_search_and_evaluate_run_without_torch(place, tmp_path):
    out = tmp_path / "bank.h5"
    made = answer(f"encode photos --model model.onnx --labels folders --out {out}", place, TRAINING)
    assert made["banks"][0]["n_rows"] == 12
    assert (hashkit.Bank.open(out).codes == hashkit.Bank.open(place / "made.h5").codes).all()
    image = "photos/two/0002.png"
    line = f"search --query {image} --bank {out} --model model.onnx --save-picture {tmp_path}/a.png"
    found = answer(line, place, TRAINING)["queries"][0]["hits"]
    assert (found[0]["name"], found[0]["distance"]) == ("two/0002.png", 0)
    assert (tmp_path / "a.png").exists()
    report = answer(f"evaluate {out} {out}", place, TRAINING)
    assert report["n_queries"] == 12


def test_built_in_models_need_a_base_install_only(place, tmp_path):
    blocked = (*TRAINING, "openvino", "scipy")
    out = tmp_path / "copies.h5"
    made = answer(f"encode photos --model phash --out {out}", place, blocked)
    assert made["banks"][0]["n_rows"] == 12
    found = answer(f"search --query photos/two/0002.png --bank {out} --k 1", place, blocked)
    assert found["queries"][0]["hits"][0]["distance"] == 0


def test_the_python_api_works_without_torch(place):
    ended = python(
        "import hashkit\n"
        "encoder = hashkit.Encoder.load('model.onnx', device='cpu')\n"
        "codes = encoder.encode(['photos/two/0002.png'])\n"
        "bank = hashkit.Bank.open('made.h5')\n"
        "ranking = hashkit.search(codes, bank, top_k=3)\n"
        "print(bank.names[ranking.rows[0, 0]], ranking.distances[0, 0])\n",
        place,
        TRAINING,
    )
    assert ended.stdout.split() == ["two/0002.png", "0"], ended.stderr


def test_embedders_with_weights_are_built_without_torch(place):
    ended = python(
        "import numpy, onnxruntime\n"
        "from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite\n"
        "embedder = build_efficientnet_lite('efficientnet-lite0', (32, 32))\n"
        "session = onnxruntime.InferenceSession(embedder.graph)\n"
        "pixels = numpy.zeros((2, 32, 32, 3), numpy.uint8)\n"
        "print(session.run(['feature'], {'image': pixels})[0].shape)\n",
        place,
        ("torch", "timm", "torchvision", "onnxscript", "sklearn"),
    )
    assert ended.stdout == "(2, 1280)\n", ended.stderr


def test_codes_of_images_without_labels_are_learned_without_torch(place, tmp_path, monkeypatch):
    """From a folder to hits, with the extras ``onnx`` and ``lite`` alone."""
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "flat").mkdir()
    for path in (place / "photos").rglob("*.png"):
        shutil.copyfile(path, tmp_path / "flat" / f"{path.parent.name}-{path.name}")
    blocked = ("torch", "onnxscript", "sklearn", "scipy", "timm", "torchvision", "openvino")
    trained = command("train --data flat --bits 4 --size 32 --name a", tmp_path, blocked)
    assert trained.returncode == 0, trained.stderr
    assert "recipe unlabelled: flat has no folder for each class" in trained.stderr
    exported = command("export --onnx", tmp_path, blocked)
    assert exported.returncode == 0, exported.stderr
    assert answer("encode flat --out flat.h5", tmp_path, blocked)["banks"][0]["n_rows"] == 12
    line = "search --query flat/two-0002.png --bank flat.h5 --k 12"
    hits = answer(line, tmp_path, blocked)["queries"][0]["hits"]
    assert [hit["distance"] for hit in hits if hit["name"] == "two-0002.png"] == [0]
    looks = answer("encode flat --model lite0 --out looks.h5", tmp_path, (*blocked, "onnx"))
    assert looks["banks"][0]["n_rows"] == 12


def test_the_doctor_runs_on_a_base_install(place):
    document = answer("doctor", place, (*TRAINING, "openvino"))
    checks = {check["name"]: check for check in document["checks"]}
    assert document["ok"] is True
    assert checks["onnxruntime on CPU"]["status"] == "ok"
    assert checks["openvino on CPU"]["status"] == "absent"
    assert (
        checks["openvino on CPU"]["remedy"] == "pip install '.[openvino]' (in a clone of hashkit)"
    )
    assert checks["reference on CPU"]["status"] == "absent"


def test_the_doctor_runs_without_onnx_runtime(place):
    document = answer("doctor", place, SEARCHING)
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["onnxruntime on CPU"]["status"] == "absent"
    assert checks["onnxruntime on CUDA"]["status"] == "absent"
    assert checks["onnxruntime on CPU"]["remedy"] == "pip install . (in a clone of hashkit)"


def test_models_are_measured_on_a_base_install(place, tmp_path, monkeypatch):
    """The measuring processes block the packages too: Python imports the blocker at start-up."""
    blocked = (*TRAINING, "openvino")
    code = BLOCKER.replace("{names!r}", repr(blocked))
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line = "bench --model model.onnx --images photos --starts 1 --batches 1 --seconds 0.1"
    document = answer(f"{line} --device cpu --slow-images 2", place, ())
    rows = {row["runtime"]: row for row in document["rows"]}
    assert rows["onnxruntime"]["status"] == "ok"
    assert rows["onnxruntime"]["agreement"]["map"] is not None
    assert rows["openvino"]["status"] == "absent"
    assert rows["openvino"]["detail"].endswith("pip install '.[openvino]' (in a clone of hashkit)")
    assert rows["reference"]["status"] == "absent"
    assert python("import torch", tmp_path).stderr.endswith("(blocked)\n"), "nothing was blocked"


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("train", "torch"),
        ("train --data photos --recipe best", "torch"),
        ("export --onnx --run runs/a", "torch"),
        ("encode digits --model model.onnx --out digits.h5", "scikit-learn"),
    ],
)
def test_the_error_for_a_missing_extra_tells_how_to_install_it(place, line, package):
    if not (place / "runs" / "a").exists():
        Run.create(place / "runs", "a", RunConfig(data=DataSpec("digits")))
    ended = command(line, place, TRAINING)
    assert ended.returncode == 1
    assert ended.stdout == ""
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert f"needs {package}, which is not installed" in last
    assert last.endswith("pip install '.[train]' (in a clone of hashkit)")
    assert "Traceback" not in ended.stderr


def test_help_runs_without_training_and_encoding_packages(place):
    for line in ("--help", "train --help", "search --help"):
        ended = command(line, place, (*TRAINING, "onnxruntime", "h5py"))
        assert ended.returncode == 0, ended.stderr
        assert "Usage: hashkit" in ended.stdout


# Without ONNX Runtime too


def test_search_by_codes_runs_without_onnx_runtime(place):
    ended = python(
        "import hashkit\n"
        "bank = hashkit.Bank.open('made.h5')\n"
        "ranking = hashkit.search(bank.codes[:2], bank, top_k=1)\n"
        "near = hashkit.search(bank.codes[:2], [bank, bank], radius=0)\n"
        "report = hashkit.evaluate(bank, bank)\n"
        "print(ranking.rows[:, 0].tolist(), len(near.rows) >= 4, report.n_queries)\n",
        place,
        SEARCHING,
    )
    assert ended.stdout.strip() == "[0, 1] True 12", ended.stderr


def test_evaluate_runs_without_onnx_runtime(place):
    assert answer("evaluate made.h5 made.h5", place, SEARCHING) == json.loads(
        succeed(f"evaluate {place}/made.h5 {place}/made.h5 --json").stdout
    )


def test_codes_made_elsewhere_are_evaluated_without_h5py(place):
    (place / "codes.txt").write_text("0101\n0111\n1000\n")
    (place / "labels.txt").write_text("3\n3\n5\n")
    line = "evaluate codes.txt codes.txt --query-labels labels.txt --database-labels labels.txt"
    assert answer(line, place, (*SEARCHING, "h5py", "PIL"))["bits"] == 4


def test_a_run_whose_banks_are_complete_needs_no_onnx_runtime(place, tmp_path, monkeypatch):
    from hashkit.runs.data_spec import DataSpec
    from hashkit.runs.run import Run
    from hashkit.runs.run_config import RunConfig

    monkeypatch.chdir(tmp_path)
    write_class_folders(tmp_path / "photos", per_class=6, suffix=".png")
    spec = DataSpec(str(tmp_path / "photos"))
    run = Run.create(tmp_path / "runs", "a", RunConfig(data=spec))
    linear_model(run.model_path, height=8, width=8)
    succeed("encode")
    assert answer("evaluate", tmp_path, SEARCHING) == succeed("evaluate --json").json
    query = hashkit.Bank.open(run.queries_path).names[0]
    # The query is a row of the bank, which is also found without a run or a model.
    line = f"search --query {query} --k 3"
    found = answer(line, tmp_path, SEARCHING)
    assert found == succeed(f"{line} --json").json
    line = f"search --name {query} --bank {run.bank_path} --k 3 --exclude-self --csv hits.csv"
    (rest,) = answer(line, tmp_path, SEARCHING)["queries"]
    assert rest["row"] == found["queries"][0]["row"]
    assert len(rest["hits"]) == 3


# These tests can fail


@pytest.mark.parametrize("package", SEARCHING)
def test_blocked_packages_cannot_be_imported(tmp_path, package):
    ended = python(f"import {package}", tmp_path, SEARCHING)
    assert ended.returncode == 1
    assert f"No module named '{package}' (blocked)" in ended.stderr


def test_an_indirect_import_of_torch_is_detected(tmp_path):
    (tmp_path / "inner.py").write_text("import torch.nn\n")
    (tmp_path / "outer.py").write_text("def use():\n    import inner\n")
    ended = python("import outer; outer.use()", tmp_path, TRAINING)
    assert "No module named 'torch' (blocked)" in ended.stderr
    assert python("import hashkit.training.model", tmp_path, TRAINING).returncode == 1
    assert python("import hashkit.runtimes.cuda", tmp_path, SEARCHING).returncode == 1


# Importing is fast


def test_importing_the_package_imports_no_heavy_package(tmp_path):
    ended = python(
        "import sys; before = set(sys.modules); import hashkit\n"
        "print(' '.join(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))",
        tmp_path,
    )
    heavy = {*SEARCHING, "numpy", "h5py", "PIL", "typer", "rich", "scipy", "filelock"}
    loaded = set(ended.stdout.split())
    assert "hashkit" in loaded
    assert not loaded & heavy


def test_public_names_are_loaded_on_first_use(place):
    ended = python(
        "import sys, hashkit\n"
        "hashkit.search\n"
        "print('numpy' in sys.modules, 'torch' in sys.modules, 'onnxruntime' in sys.modules)\n"
        "hashkit.Encoder.load('model.onnx', 'cpu')\n"
        "print('onnxruntime' in sys.modules, 'torch' in sys.modules, 'openvino' in sys.modules)\n",
        place,
    )
    loaded = ["True", "False", "False", "True", "False", "False"]
    assert ended.stdout.split() == loaded, ended.stderr


def modules_after(line: str, folder: Path) -> set[str]:
    """Names of all modules imported by a process that ran ``hashkit <line>``."""
    ended = python(
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write('\\nMODULES ' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['hashkit', *{line.split()!r}]\n"
        "from hashkit.cli import main; main()",
        folder,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.rpartition("\nMODULES ")[2].split())


def test_help_imports_no_heavy_package(place):
    loaded = modules_after("--help", place)
    assert "hashkit.cli.search" in loaded
    assert not loaded & {*SEARCHING, "numpy", "PIL", "h5py", "numba", "rich", "pydantic"}


def test_a_search_imports_only_what_it_needs(place):
    """Not the kernels, as there are few rows, nor modules for galleries, datasets and downloads."""
    line = "search --query photos/two/0002.png --bank made.h5 --model model.onnx --json"
    loaded = modules_after(line, place)
    assert "onnxruntime" in loaded
    assert not loaded & {*TRAINING, "numba", "scipy", "rich", "jinja2", "http.client", "ssl"}
    assert not loaded & {
        "hashkit.report.gallery",
        "hashkit.datasets.sets",
        "hashkit.datasets.download",
    }


@pytest.mark.slow
def test_importing_the_package_takes_at_most_a_fifth_of_a_second(tmp_path):
    def seconds(code: str) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            assert python(code, tmp_path).returncode == 0
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    assert seconds("import hashkit") - seconds("pass") <= 0.2
