"""The loop over cases that many tests use instead of parameters."""

from __future__ import annotations

import inspect
import os

import pytest
from looped import looped

seen: list[object] = []


@looped("first", [1, 2])
@looped(("second", "third"), [(3, 4), pytest.param(5, 6)])
def test_every_combination_is_a_case_with_a_folder_of_its_own(tmp_path, first, second, third):
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").touch()
    seen.append((first, second, third))


def test_all_cases_were_run():
    assert seen == [(1, 3, 4), (1, 5, 6), (2, 3, 4), (2, 5, 6)]


@looped("number", range(3))
def test_what_a_case_changes_is_undone(monkeypatch, capsys, number):
    assert "HASHKIT_LOOPED" not in os.environ
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("HASHKIT_LOOPED", "1")
    print(number)


def test_the_case_that_fails_is_named():
    @looped(("value", "limit"), [(1, 2), (3, 2), (9, 2)], ids=["low", "high", "higher"])
    def below(value, limit):
        assert value < limit

    @looped("value", [1, "one"], ids=repr)
    def number(value):
        assert value == 1

    assert not inspect.signature(below).parameters
    with pytest.raises(AssertionError) as caught:
        below()
    assert caught.value.__notes__ == ["case 1: high"]
    with pytest.raises(AssertionError) as caught:
        number()
    assert caught.value.__notes__ == ["case 1: {'value': 'one'}"]


def test_a_loop_over_nothing_is_refused():
    with pytest.raises(ValueError, match="no cases"):
        looped("value", [])
