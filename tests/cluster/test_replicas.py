"""Calls go to another actor where one is lost or hangs."""

from __future__ import annotations

import dataclasses
import time

import pytest
from inline_engine import InlineEngine
from processes import wait_until

from hashkit.cluster.engine import Resources
from hashkit.cluster.replicas import Patience, Replicas
from hashkit.errors import BankError, ClusterError, ImageError
from hashkit.workflow.reporter import NoteList

QUICK = Patience(ping_after=0.02, hung_after=0.05, note_after=60, retry_after=0.005)


class Adder:
    def __init__(self, start: int):
        if start < 0:
            raise BankError("expected a bank, found none")
        self._start = start

    def add(self, number: int, seconds: float = 0.0) -> int:
        time.sleep(seconds)
        return self._start + number

    def warm_up(self) -> None:
        pass

    def refuse(self) -> None:
        raise ImageError("a.png: expected an image, found none", "missing")


def replicas_of(n: int, start: int = 10):
    engine = InlineEngine()
    actors = [engine.actor(Adder, (start,), number, Resources()) for number in range(n)]
    notes = NoteList()
    return Replicas(engine, actors, "shards 1 to 2", notes), actors, notes


def test_spare_actors_are_prepared_and_so_is_one_that_comes_back():
    replicas, actors, _ = replicas_of(2)
    replicas.prepare_spares("warm_up")
    assert [one.calls for one in actors] == [[], ["warm_up"]]
    actors[0].kill()
    assert replicas.call("add", 1, patience=QUICK) == 11
    actors[0].start()
    wait_until(lambda: replicas.call("add", 1, patience=QUICK) and actors[0].calls)
    assert actors[0].calls == ["warm_up"]


def test_a_long_call_stays_with_an_actor_that_answers_pings():
    replicas, actors, _ = replicas_of(2)
    assert replicas.call("add", 1, 0.3, patience=QUICK) == 11
    assert [one.calls for one in actors] == [["add"], []]


def test_a_killed_actor_s_calls_go_to_the_other_from_then_on():
    replicas, actors, notes = replicas_of(2)
    actors[0].kill()
    assert [replicas.call("add", n, patience=QUICK) for n in (1, 2)] == [11, 12]
    assert [one.calls for one in actors] == [[], ["add", "add"]]
    actors[0].start()
    actors[1].kill()
    assert replicas.call("add", 3, patience=QUICK) == 13
    assert [line.rpartition(": ")[2] for line in notes.lines] == [
        "a process was lost; asking another one"
    ] * 2


def test_a_hung_actor_s_call_goes_to_the_other():
    replicas, actors, notes = replicas_of(2)
    actors[0].stop()
    began = time.monotonic()
    assert replicas.call("add", 1, patience=QUICK) == 11
    assert time.monotonic() - began < 5
    assert replicas.call("add", 2, patience=QUICK) == 12
    assert actors[0].calls == ["add"]
    assert notes.lines == ["warning: shards 1 to 2: a process does not answer; asking another one"]
    actors[0].go_on()


def test_without_another_a_call_waits_until_the_actor_is_started_again_and_says_so():
    replicas, actors, notes = replicas_of(1)
    actors[0].kill()

    class LateReporter(NoteList):
        def note(self, text):
            super().note(text)
            actors[0].start()

    replicas._reporter = late = LateReporter()
    impatient = dataclasses.replace(QUICK, note_after=0.1)
    assert replicas.call("add", 1, patience=impatient) == 11
    (line,) = late.lines
    assert line.startswith("warning: shards 1 to 2: no answer for 0 s; waiting")
    assert notes.lines == []


def test_a_call_that_nobody_answers_is_a_one_line_error():
    replicas, actors, _ = replicas_of(1)
    actors[0].kill()
    hopeless = Patience(note_after=0.01, give_up_after=0.1, retry_after=0.005)
    with pytest.raises(ClusterError, match="shards 1 to 2: expected an answer, found none: check"):
        replicas.call("add", 1, patience=hopeless)


def test_errors_of_the_work_are_raised_as_they_are():
    replicas, _, _ = replicas_of(2)
    with pytest.raises(ImageError, match=r"a\.png: expected an image, found none") as caught:
        replicas.call("refuse", patience=QUICK)
    assert caught.value.reason == "missing"
    replicas, _, _ = replicas_of(2, start=-1)
    with pytest.raises(BankError, match="expected a bank, found none"):
        replicas.call("add", 1, patience=QUICK)
    replicas, _, _ = replicas_of(1)
    with pytest.raises(ClusterError, match=r"a job failed: .*'int' and 'str'"):
        replicas.call("add", "x", patience=QUICK)
