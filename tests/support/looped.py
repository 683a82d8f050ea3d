"""Cases of one test in a loop: one pytest test takes as long as many small cases."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest


def looped(
    names: str | tuple[str, ...],
    cases: Iterable[Any],
    ids: Callable[[Any], Any] | Iterable[str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for each case, as ``pytest.mark.parametrize`` does, but as one test.

    The first case that fails ends the test, and a note names it. Each case has its own empty
    ``tmp_path`` and ``monkeypatch``, and ``capsys`` and ``caplog`` without the output of earlier
    cases; all other fixtures are shared.
    """
    arguments = [one.strip() for one in names.split(",")] if isinstance(names, str) else [*names]
    alone = isinstance(names, str) and len(arguments) == 1
    sets = [_values(case, alone) for case in cases]
    if not sets:
        raise ValueError("a loop over no cases checks nothing")
    listed = None if ids is None or callable(ids) else [*ids]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def loop(**fixtures: Any) -> None:
            __tracebackhide__ = True
            for number, one in enumerate(sets):
                case = dict(zip(arguments, one, strict=True))
                try:
                    _run(test, case, fixtures, number)
                except BaseException as error:
                    shown = case if listed is None else listed[number]
                    error.add_note(f"case {number}: {shown}")
                    raise

        kept = [one for name, one in signature.parameters.items() if name not in arguments]
        loop.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return loop

    return decorate


def _values(case: Any, alone: bool) -> tuple[Any, ...]:
    if isinstance(case, type(pytest.param())):
        return tuple(case.values)
    return (case,) if alone else tuple(case)


def _run(
    test: Callable[..., None], case: dict[str, Any], fixtures: dict[str, Any], number: int
) -> None:
    __tracebackhide__ = True
    own = dict(fixtures)
    if "tmp_path" in own:
        own["tmp_path"] = Path(own["tmp_path"]) / str(number)
        own["tmp_path"].mkdir()
    if "capsys" in own:
        own["capsys"].readouterr()
    if "caplog" in own:
        own["caplog"].clear()
    if "monkeypatch" not in own:
        test(**own, **case)
        return
    with own["monkeypatch"].context() as own["monkeypatch"]:
        test(**own, **case)
