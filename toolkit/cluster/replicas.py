"""Several actors that act as one: if one is lost or hangs, the call goes to another."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from hashkit.cluster.engine import PING, Actor, Call, Engine, LostError
from hashkit.errors import ClusterError
from hashkit.workflow.reporter import Reporter

__all__ = ["STARTING", "WORKING", "Patience", "Replicas"]


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for an actor, seconds.

    A call may take as long as it needs while its actor answers pings. With the defaults, another
    actor is asked at most 1.2 s after one dies or hangs. Ray reports a process that died after 1 to
    2 s, as it looks once per second, and a node that hangs after a minute.

    Attributes
    ----------
    ping_after
        Time between pings while a call runs.
    hung_after
        If a ping is not answered for this long, the actor counts as hung, and another is asked too.
    note_after
        If no actor answers for this long, a note says so.
    give_up_after
        If no actor answers for this long, the call ends with an error.
    retry_after
        Time between two looks at pings, and between two calls of an actor that was lost.
    """

    ping_after: float = 0.25
    hung_after: float = 0.75
    note_after: float = 5.0
    give_up_after: float = 600.0
    retry_after: float = 0.1


WORKING: Final = Patience()
STARTING: Final = Patience(hung_after=120, note_after=30)
"""For the first call: a process starts, imports and opens files before it answers."""


@dataclasses.dataclass(eq=False)
class _Attempt:
    """A call of one actor; ``pinged`` is when its ping was sent, or when the last one came back."""

    call: Call
    pinged: float
    ping: Call | None = None
    is_hung: bool = False


class Replicas:
    """Actors that give the same answers; the one that answered last is asked first.

    Threads may call at the same time.

    Parameters
    ----------
    engine
        Runs them.
    actors
        One or more.
    name
        What they hold, for notes: ``shards 3 to 5``.
    reporter
        Takes a note if a call has to wait.
    """

    def __init__(
        self, engine: Engine, actors: Sequence[Actor], name: str, reporter: Reporter
    ) -> None:
        self.name = name
        self._engine = engine
        self._actors = actors
        self._reporter = reporter
        self._lock = threading.Lock()
        self._order = list(range(len(actors)))
        self._probes: dict[int, Call] = {}
        self._preparation: str | None = None
        self._is_closed = False

    def call(self, method: str, *arguments: Any, patience: Patience = WORKING) -> Any:
        """Result of a method, from the first actor that gives one.

        Raises
        ------
        HashkitError
            The one that the method raised.
        ClusterError
            If no actor answers for a long time, or the engine failed.
        """
        self._look_for_recovered()
        attempts: dict[int, _Attempt] = {}
        lost: set[int] = set()
        answered = time.monotonic()
        has_noted = False
        while not self._is_closed:
            if all(attempt.is_hung for attempt in attempts.values()):
                self._ask_another(attempts, lost, method, arguments, patience)
            else:
                answered = time.monotonic()
            calls = [attempt.call for attempt in attempts.values()]
            pings = [attempt.ping for attempt in attempts.values() if attempt.ping is not None]
            ended = self._engine.wait([*calls, *pings], patience.retry_after)
            for replica, attempt in list(attempts.items()):
                if attempt.call in ended:
                    try:
                        result = self._engine.result(attempt.call)
                    except LostError:
                        del attempts[replica]
                        lost.add(replica)
                        self._give_up(replica, attempt, "was lost")
                    else:
                        self._prefer(replica)
                        return result
                elif self._check_ping(replica, attempt, ended, patience):
                    answered = time.monotonic()
            waited = time.monotonic() - answered
            if waited > patience.give_up_after:
                break
            if waited > patience.note_after and not has_noted:
                has_noted = True
                self._reporter.note(
                    f"warning: {self.name}: no answer for {waited:.0f} s; waiting for the cluster "
                    "to restart it"
                )
        raise ClusterError(
            f"{self.name}: expected an answer, found none: check the cluster with `ray status`, "
            "and run the same command again"
        )

    def prepare_spares(self, method: str) -> None:
        """Start a method of all actors but the first, and of those that are lost and come back.

        A call that goes to one of them then finds it prepared.
        """
        with self._lock:
            self._preparation = method
            for replica in self._order[1:]:
                self._actors[replica].call(method)

    def close(self) -> None:
        """End the calls that wait."""
        self._is_closed = True

    def _ask_another(
        self,
        attempts: dict[int, _Attempt],
        lost: set[int],
        method: str,
        arguments: tuple[Any, ...],
        patience: Patience,
    ) -> None:
        with self._lock:
            free = [other for other in self._order if other not in attempts]
        if not free:
            return
        # One that was lost in this call comes last, and after a pause.
        replica = min(free, key=lambda other: other in lost)
        if replica in lost:
            time.sleep(patience.retry_after)
        call = self._actors[replica].call(method, *arguments)
        attempts[replica] = _Attempt(call, time.monotonic())

    def _check_ping(
        self, replica: int, attempt: _Attempt, ended: Sequence[Call], patience: Patience
    ) -> bool:
        """Send a ping, or check the one that was sent; returns whether the actor answered it."""
        now = time.monotonic()
        if attempt.ping is None:
            if now - attempt.pinged > patience.ping_after:
                attempt.ping, attempt.pinged = self._actors[replica].call(PING), now
        elif attempt.ping in ended:
            ping, attempt.ping, attempt.pinged = attempt.ping, None, now
            try:
                self._engine.result(ping)
            except LostError:
                self._give_up(replica, attempt, "was lost")
            else:
                attempt.is_hung = False
                return True
        elif now - attempt.pinged > patience.hung_after:
            self._give_up(replica, attempt, "does not answer")
        return False

    def _give_up(self, replica: int, attempt: _Attempt, fault: str) -> None:
        """Have another actor asked as well, unless that was done before."""
        if attempt.is_hung:
            return
        attempt.is_hung = True
        if len(self._actors) > 1:
            self._reporter.note(f"warning: {self.name}: a process {fault}; asking another one")
        self._suspect(replica)

    def _prefer(self, replica: int) -> None:
        with self._lock:
            self._order.remove(replica)
            self._order.insert(0, replica)
            self._probes.pop(replica, None)

    def _suspect(self, replica: int) -> None:
        with self._lock:
            self._order.remove(replica)
            self._order.append(replica)
            self._probes[replica] = self._actors[replica].call(PING)

    def _look_for_recovered(self) -> None:
        """Move actors that answer again before those that do not; ping the others again."""
        with self._lock:
            for replica, probe in list(self._probes.items()):
                if not self._engine.wait([probe], 0):
                    continue
                try:
                    self._engine.result(probe)
                except LostError:
                    self._probes[replica] = self._actors[replica].call(PING)
                else:
                    del self._probes[replica]
                    if self._preparation is not None:
                        self._actors[replica].call(self._preparation)
            self._order.sort(key=lambda one: one in self._probes)
