"""What the source itself must not do: each of these calls is made in a few known places."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from house import MODULES, tree_of
from looped import looped


@functools.cache
def calls() -> list[tuple[str, ast.Call, str]]:
    """All calls of the package: module, call, and what is called."""
    return [
        (module, node, ast.unparse(node.func))
        for module, path in MODULES.items()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
    ]


def test_only_checked_places_build_networks():
    """Each of these is called with settings that the user gave, or after `network_to_build`."""
    builders = {"build_network", "find_network", "new_model", "build_own", "own_input_rule"}
    found = {(module, name) for module, _, name in calls() if name in builders}
    assert found == {
        ("hashkit.exporters.torch_embedder", "build_network"),  # settings of `hashkit train`
        ("hashkit.exporters.torch_embedder", "find_network"),
        ("hashkit.training.checkpoint", "new_model"),  # load_model
        ("hashkit.training.learner", "find_network"),  # Trainer
        ("hashkit.training.learner", "new_model"),
        ("hashkit.training.model", "build_network"),
        ("hashkit.training.networks", "build_own"),
        ("hashkit.training.networks", "find_network"),
        ("hashkit.training.networks", "own_input_rule"),
        ("hashkit.workflow.settings", "find_network"),  # settings of `hashkit train`
    }


def test_nothing_prints_past_the_console():
    """Only the console prints, and only `result_console` makes consoles for results."""
    names = {"print", "typer.echo", "Console", "sys.stdout.write", "sys.stderr.write"}
    printing: dict[str, set[str]] = {}
    for module, _, name in calls():
        if name in names:
            printing.setdefault(module, set()).add(name)
    printing.pop("hashkit.cli.process", None)  # errors of standard output itself
    assert printing == {
        "hashkit.cli.console": {"print", "Console"},
        "hashkit.cli.app": {"typer.echo"},  # the version
        "hashkit.cli.dedup_output": {"print"},  # of `visible` lines
        "hashkit.cli.verify": {"print"},  # of `visible` lines
        "hashkit.runtimes.measuring.worker": {"print"},  # JSON, to its parent process
    }


def test_files_are_opened_for_reading_in_one_place():
    """Other ways to open a file for reading would wait for a pipe."""
    allowed = {
        "hashkit.inputs.opening",
        "hashkit.files.writing",  # writes
        "hashkit.files.private",
        "hashkit.threads",  # limits of the system, in /proc and /sys
        "hashkit.machine",
        "hashkit.runtimes.measuring.peak_memory",
        "hashkit.report.templates",  # files of the package
        "hashkit.exporters.verified",  # files that were just written
        "hashkit.exporters.precision",
        "hashkit.exporters.web.page_files",  # files of the package
        "hashkit.datasets.digits",  # a file of scikit-learn's package
    }
    found = set()
    for module, call, name in calls():
        method = name.rpartition(".")[2]
        mode = call.args[0] if call.args else None
        is_open = isinstance(mode, ast.Constant) and mode.value in ("r", "rb") and method == "open"
        if is_open or ("." in name and method in ("read_bytes", "read_text")):
            found.add(module)
    assert found <= allowed, found - allowed


CODE_FROM_DATA = {
    "eval", "exec", "compile", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open",
    "yaml.load", "os.system", "os.popen", "__import__",
}  # fmt: skip


def code_from_data(call: ast.Call, name: str) -> Iterator[str]:
    """A call that could turn data into code, or write the members of an archive anywhere."""
    words = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if (
        name in CODE_FROM_DATA
        or name.rpartition(".")[2] in {"extractall", "from_string"}
        or (name == "np.load" and words.get("allow_pickle") != "False")
        or (name == "torch.load" and words.get("weights_only") != "True")
        or "shell" in words
        or ("Environment" in name and words.get("autoescape") != "True")
    ):
        yield name


def test_no_module_turns_data_into_code():
    found = {(module, one) for module, call, name in calls() for one in code_from_data(call, name)}
    assert found <= {("hashkit.inputs.arguments", "eval")}  # of annotations in the source


@looped(
    "code",
    [
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path, weights_only=False)",
        "pickle.loads(data)",
        "eval(text)",
        "archive.extractall(folder)",
        "subprocess.run(text, shell=True)",
        "jinja2.Environment(loader=loader)",
    ],
)
def test_such_calls_would_be_noticed(code):
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert list(code_from_data(call, ast.unparse(call.func)))
