"""Messages of the package speak of arguments, the command line and the pages of real flags."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_samples import COMMANDS, fail
from house import MODULES, tree_of
from house import ROOT as REPOSITORY
from looped import looped

import hashkit
from hashkit.cli.flags import CALLS, parse_floats, parse_integers, parse_size, with_flags
from hashkit.cli.train_options import read_settings
from hashkit.errors import ConfigError, HashkitError

_FLAG = re.compile(r"(?<![\w-])--[a-z](?:[a-z0-9-]*[a-z0-9])?(?![\w-])")
_COMMAND = re.compile(r"\bhashkit (" + "|".join(COMMANDS) + r")\b")
_OTHER_PROGRAM = re.compile(r"\b(?:pip (?:install|download)|npm|python3?|git|pytest|ray) ")
_ARGUMENT = re.compile(r"`([a-z]\w*)=(?:True|False|\.\.\.|\"[^`]*\"|[^`\s=][^`\s]*)`")


def flags_of(command: str) -> set[str]:
    """All long flags of a command."""
    params = COMMANDS[command].params
    return {flag for param in params for flag in (*param.opts, *param.secondary_opts)} | {"--help"}


EVERY_FLAG = {flag for command in COMMANDS for flag in flags_of(command)} | {"--version"}
ARGUMENTS = {
    name
    for one in COMMANDS.values()
    for param in one.params
    for name in (param.name, *(flag[2:].replace("-", "_") for flag in param.opts))
} | {"loggers", "n_bits"}  # objects, which only Python has; --bits
FILES_OF = {
    "hashkit.cli.web": "export",
    "hashkit.cli.train_options": "train",
    "hashkit.runs.config": "train",  # the help of its flags
    **{f"hashkit.cli.{name}": name for name in COMMANDS},
    **{f"hashkit.cli.{name}_output": name for name in COMMANDS},
}
"""The command whose texts a module holds."""


def wrong_flags(text: str, command: str | None, known: set[str] | None = None) -> list[str]:
    """Flags of a text that the command they are about does not have.

    The command is the nearest ``hashkit COMMAND`` before the flag in the text, else ``command``;
    without either, the flag must be one of ``known``.
    """
    found = []
    for match in _FLAG.finditer(text):
        before = text[: match.start()]
        named = list(_COMMAND.finditer(before))
        other = list(_OTHER_PROGRAM.finditer(before))
        if other and (not named or other[-1].start() > named[-1].start()):
            continue
        about = named[-1][1] if named else command
        flags = flags_of(about) if about else known or set()
        if match[0] not in flags:
            found.append(f"{match[0]} of {about}: {text[:80]!r}")
    return found


@functools.cache
def texts_of(path: Path) -> tuple[tuple[str, bool], ...]:
    """Each text of a module, and whether it is a docstring; values put into it are ``{}``."""
    return tuple(texts_in(tree_of(path)))


def texts_in(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """The same of a part of a module."""
    parts: set[int] = set()
    nodes = list(ast.walk(tree))
    docstrings = {
        id(node.value)
        for node in nodes
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts |= {id(value) for value in node.values}
            yield (
                "".join(
                    str(value.value) if isinstance(value, ast.Constant) else "{}"
                    for value in node.values
                ),
                False,
            )
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value, id(node) in docstrings


def module_faults(module: str, text: str, *, is_docstring: bool) -> list[str]:
    """What is wrong with the flags and arguments of a text in a module of the package."""
    if re.fullmatch(r"--\S+", text):  # an element of a command's argument list
        return []
    command = FILES_OF.get(module)
    is_free = is_docstring or module.startswith("hashkit.cli.")
    faults = wrong_flags(text, command, EVERY_FLAG if is_free else None)
    arguments = set() if is_docstring else set(_ARGUMENT.findall(text))
    return faults + [f"{one}= is no argument: {text[:80]!r}" for one in arguments - ARGUMENTS]


@pytest.mark.end_to_end
def test_flags_in_messages_are_of_the_command_they_are_about():
    """The library names whole commands or arguments; bare flags are the command line's."""
    assert [
        f"{module}: {fault}"
        for module, path in MODULES.items()
        for text, is_docstring in texts_of(path)
        for fault in module_faults(module, text, is_docstring=is_docstring)
    ] == []


PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")], key=lambda path: path.name
)


def pieces_of_code(page: str) -> Iterator[str]:
    """Calls of hashkit in a page's blocks, continued lines joined, and code in its sentences."""
    fenced = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    rest = fenced.sub("", page)
    blocks = [*fenced.findall(page), *re.findall(r"(?:^ {4}.*\n)+", rest, re.MULTILINE)]
    for block in blocks:
        lines = re.sub(r"\\\n\s*", " ", block).splitlines()
        yield from (line for line in lines if re.match(r"\s*(?:\$ )?hashkit ", line))
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^ {4}.*\n", "", rest, flags=re.MULTILINE)):
        yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", paragraph))


def script_flags() -> set[str]:
    """Flags of the tests' own scripts, some of which pages name."""
    scripts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("*.py")]
    return {flag for text in scripts for flag in re.findall(r'"(--[a-z-]+)"', text)}


def test_flags_in_documents_are_of_the_command_they_are_about():
    known = (
        EVERY_FLAG
        | script_flags()
        | {"--version", "--build-arg", "--cpus", "--inplace", "--read-only"}
        | {"--include-log-monitor", "--node-ip-address"}
    )  # of Docker and rsync, and of Ray
    assert [
        f"{page.name}: {fault}"
        for page in PAGES
        for piece in pieces_of_code(page.read_text(encoding="utf-8"))
        for fault in wrong_flags(piece, None, known)
    ] == []


def test_the_pages_flags_are_found():
    text = "See `hashkit\nencode --a`.\n\n    hashkit train \\\n     --b\n\n```sh\nls --c\n```\n"
    found = [" ".join(piece.split()) for piece in pieces_of_code(text)]
    assert found == ["hashkit train --b", "hashkit encode --a"]


def test_a_wrong_flag_would_be_noticed():
    assert wrong_flags("see `hashkit encode --resume`", None)
    assert not wrong_flags("see `hashkit train --resume`", None)
    assert wrong_flags("pip install --upgrade x, then hashkit train --upgrade", None) != []
    assert not wrong_flags("pip install --upgrade x", None)
    assert module_faults("hashkit.bank.layout", "use --overwrite", is_docstring=False)
    assert module_faults("hashkit.bank.layout", "use `overwrit=True`", is_docstring=False)
    assert module_faults("hashkit.cli.encode", "--lr is wrong", is_docstring=False)
    assert not module_faults("hashkit.cli.encode", "--out is wrong", is_docstring=False)
    assert not module_faults("hashkit.bank.layout", "use `overwrite=True`", is_docstring=False)


# From arguments to flags


@looped(
    ("command", "message", "shown"),
    [
        ("encode", "replace it with `overwrite=True`", "replace it with --overwrite"),
        (
            "search",
            "replace it with `overwrite=True`",
            "replace it with hashkit encode --overwrite",
        ),
        ("train", "use `pretrained=False`", "use --no-pretrained"),
        ("train", "`learning_rate` must be above 0", "--lr must be above 0"),
        ("train", "lower `lr=0.1`, or `bits=...`", "lower --lr 0.1, or --bits"),
        ("train", '`loss="cibhash"`', "--loss cibhash"),
        ("train", '`data="my photos"`', "--data 'my photos'"),
        ("train", "`height` must be", "height must be"),
        ("encode", "name them with `images=...`", "name them with IMAGES"),
        ("encode", "`hashkit train` makes one", "`hashkit train` makes one"),
        ("encode", "`nothing=True`", "`nothing=True`"),
        ("doctor", '`device="cpu"`', "hashkit encode --device cpu"),
        ("search", "`lr=0.1`", "hashkit train --lr 0.1"),
        ("encode", "bits=64.h5: overwrite=True", "bits=64.h5: overwrite=True"),
        ("train", '`hashkit.resume("runs/a")`', "hashkit train --resume --run runs/a"),
        (
            "train",
            '`hashkit.resume("runs/a", network="module:my net.py:Net")`',
            "hashkit train --resume --run runs/a --network 'module:my net.py:Net'",
        ),
        ("search", '`hashkit.export("my runs/a")`', "hashkit export --onnx --run 'my runs/a'"),
        ("evaluate", "`n_bits=48`", "--bits 48"),
        ("search", '`hashkit.nothing("a")`', '`hashkit.nothing("a")`'),
    ],
)
def test_arguments_are_printed_as_flags(command, message, shown):
    assert with_flags(message, COMMANDS[command], COMMANDS) == shown


def test_calls_in_messages_are_of_public_functions():
    assert set(CALLS) <= set(hashkit.__all__)
    found = {
        name
        for module in MODULES.values()
        if "`hashkit." in module.read_text(encoding="utf-8")
        for text, is_docstring in texts_of(module)
        if not is_docstring
        for name in re.findall(r"`hashkit\.(\w+)\(", text)
    }
    assert found == {*CALLS, "set_limits"}  # the option --limit


def test_a_limit_is_an_option_on_the_command_line():
    message = "too large; raise it with `hashkit.set_limits(json_bytes=20)`"
    assert with_flags(message, None, {}) == "too large; raise it with --limit json-bytes=20"


_NO_ARGUMENTS = {
    "class_names",
    "crop_pct",
    "format_version",
    "max_user_watches",
    "name_ends",
    "shortest_edge",
}
"""Names in messages that are fields of files, or a setting of the system."""


def bare_names(module: Path) -> list[str]:
    """Names with an underscore in a module's errors that are not marked as code."""
    raised = [
        node.exc
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Raise) and node.exc is not None
    ]
    texts = [text for error in raised for text, _ in texts_in(error) if " " in text]
    plain = [re.sub(r"`[^`]*`|\[[^\]]*\]", "", text) for text in texts]
    return [
        name
        for text in plain
        for name in re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", text)
        if name not in _NO_ARGUMENTS
    ]


def test_messages_give_arguments_as_code(tmp_path):
    found = {name: bare_names(path) for name, path in MODULES.items()}
    assert {name: bare for name, bare in found.items() if bare} == {}

    wrong = tmp_path / "wrong.py"
    wrong.write_text('raise ValueError("top_k must be `top_k` or [n, n_bits]")\n')
    assert bare_names(wrong) == ["top_k"]


def test_an_error_is_printed_with_the_flags_of_its_command(monkeypatch):
    def broken(*_args, **_kwargs):
        raise HashkitError('a.h5: replace it with `overwrite=True`, on `device="cpu"`')

    monkeypatch.setattr("hashkit.workflow.models.find_run", broken)
    assert fail("encode") == "error: a.h5: replace it with --overwrite, on --device cpu"


# The values of flags


@pytest.mark.parametrize(("text", "size"), [("32", (32, 32)), ("32x48", (32, 48)), ("8X9", (8, 9))])
def test_a_size_is_one_number_or_two(text, size):
    assert parse_size(text) == size


@looped("text", ["", "8x", "x8", "8x8x8", "-8", "8.5"])
def test_another_size_is_refused(text):
    with pytest.raises(ConfigError, match=r"^--size must be pixels, as 32 or 48x64"):
        parse_size(text)


def test_numbers_are_separated_by_commas():
    assert parse_integers("--bits", "12, 24,48") == (12, 24, 48)
    assert parse_floats("--milestones", "0.25,0.5") == (0.25, 0.5)
    assert parse_floats("--milestones", "") == ()
    with pytest.raises(
        ConfigError, match=r"^--bits must be numbers separated by commas, not '1,x'"
    ):
        parse_integers("--bits", "1,x")
    with pytest.raises(ConfigError, match=r"^--at must be numbers separated by commas"):
        parse_integers("--at", "0.5")


def test_settings_are_read_from_the_text_of_their_flags():
    given = {"lengths": "12,24", "milestones": "0.25", "epochs": 3.0, "seed": None}
    assert read_settings(given) == {"lengths": (12, 24), "milestones": (0.25,), "epochs": 3.0}
