"""The exception tree drawn in errors.py matches the classes."""

from __future__ import annotations

import builtins
import inspect
import re

from hashkit import errors
from hashkit.errors import HashkitError, ImageError, MissingExtraError

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


def drawn_tree() -> dict[str, str]:
    """Parent of each class, as drawn in the module's docstring."""
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([|` -]*)(\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        parents[match[2]] = stack[-1][1] if stack else ""
        stack.append((depth, match[2]))
    return parents


def test_the_drawn_tree_matches_the_classes():
    expected = {
        name: next((base.__name__ for base in kind.__bases__ if base.__name__ in CLASSES), "")
        for name, kind in CLASSES.items()
    }
    assert drawn_tree() == expected
    assert list(drawn_tree().values()).count("") == 1


def test_the_drawn_tree_is_parsed():
    drawn = drawn_tree()
    assert drawn["HashkitError"] == ""
    assert drawn["ParityError"] == "ModelError"
    assert drawn["BankLockedError"] == "BankError"
    assert len(drawn) > 15


def test_the_other_base_classes_in_the_tree_are_right():
    also = re.findall(r"(\w+Error) .*\(also an? (\w+)\)", errors.__doc__)
    assert ("MissingExtraError", "ImportError") in also
    for name, base in also:
        assert issubclass(CLASSES[name], getattr(builtins, base))


def test_every_name_is_public():
    assert set(errors.__all__) == {*CLASSES, "ImageFault"}
    assert errors.__all__ == sorted(errors.__all__)


def test_every_error_is_a_hashkit_error_with_a_docstring():
    for name, error in CLASSES.items():
        assert issubclass(error, HashkitError), name
        assert error.__doc__, name


def test_an_image_error_has_a_reason():
    error = ImageError("a.png: there is no such file", "missing")
    assert (str(error), error.reason) == ("a.png: there is no such file", "missing")


def test_a_missing_extra_is_an_import_error_with_the_install_command():
    error = MissingExtraError("torch", "train", "hashkit train")
    assert isinstance(error, ImportError)
    assert str(error) == (
        "hashkit train needs torch, which is not installed: "
        "pip install '.[train]' (in a clone of hashkit)"
    )


def test_the_text_of_an_error_is_one_line_that_cannot_act_on_a_terminal():
    for kind in (errors.HashkitError, errors.CodesError, errors.BankLockedError):
        error = kind("a name\x1b]0;x\x07 of\ntwo lines, \u202e, and \udcff")
        assert str(error) == r"a name\x1b]0;x\x07 of two lines, \u202e, and \xff"
    assert str(errors.ImageError("\x9b1m", "broken")) == r"\x9b1m"
    assert str(errors.MissingExtraError("a\x07", "b", "c")).startswith(r"c needs a\x07, which")
