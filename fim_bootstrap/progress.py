"""What a run is at: a step that works, or what it waits for. On stderr, never in a report.

On a terminal one line is rewritten once a second, and stays when its step ends, with the seconds it took. Elsewhere
a step has a line when it begins and one when it ends, and whatever goes on has one every 30 s, so that a longer
silence means a dead run. Outside a step, what is over within a second is not worth a line.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Optional

if TYPE_CHECKING:
    import threading

GRACE = 1.0  # seconds before a command is spoken of that belongs to no step
EVERY = 30.0  # seconds of silence, at most
REWRITTEN = 1.0  # seconds between two looks of the line on a terminal
PAST = {"start": "....", "wait": "wait", "done": "done", "FAIL": "FAIL"}  # as a terminal shows them


class Activity(NamedTuple):
    """What goes on: at work or waiting, for which requirement, since when (monotonic), for so long at most (s)."""

    sign: str
    requirement: str
    what: str
    since: float
    limit: float = 0.0

    def took(self) -> str:
        """How long it has gone on, of how long it may."""
        seconds = time.monotonic() - self.since
        return f"{seconds:.0f} of {self.limit:.0f} s" if self.limit else f"{seconds:.0f} s"


class Progress:
    """What goes on now. `tell` puts a line on stderr; `rewrite` replaces the terminal's last one ('' clears it).

    `width` is that of the terminal, which a line fills with the seconds at its end.
    """

    def __init__(
        self,
        tell: Callable[[str], None] = lambda _: None,
        rewrite: Optional[Callable[[str], None]] = None,
        width: Callable[[], int] = lambda: 80,
    ) -> None:
        self._tell, self._rewrite, self._width = tell, rewrite, width
        self._begun = self._spoke = time.monotonic()
        self._step: Optional[Activity] = None
        self._detail: Optional[Activity] = None  # what a step is at, or what goes on without one
        self._stop: Callable[[], None] = lambda: None  # the line that says again and again what goes on

    # ------------------------------------------------------------------ what goes on

    @contextlib.contextmanager
    def step(self, requirement: str, what: str) -> Iterator[None]:
        """A change is made for a requirement."""
        self._turn_to(None, Activity("start", requirement, what, time.monotonic()))
        if not self._rewrite:
            self._say("start", requirement, what)
        try:
            yield
        except Exception as error:
            self._end("FAIL", requirement, str(error))
            raise
        else:
            self._end("done", requirement, what)
        finally:  # also where somebody interrupts it
            self._turn_to(None, None)

    @contextlib.contextmanager
    def command(self, what: str, limit: float) -> Iterator[None]:
        """A command that may take minutes is at work, for `limit` seconds at most."""
        self._turn_to(Activity("start", self._requirement(), f"{what} works", time.monotonic(), limit), self._step)
        try:
            yield
        finally:
            self._turn_to(None, self._step)

    def wait(self, what: str, left: float) -> bool:
        """The run waits, for the seconds that are left of its patience at most; whether it was not told of yet.

        It is told again and again, and is the same as long as nothing but numbers differs.
        """
        before = self._detail
        if before and before.sign == "wait" and _alike(before.what, what):
            self._detail = before._replace(what=what)
            return False
        self._turn_to(Activity("wait", self._requirement(), what, time.monotonic(), max(left, 0)), self._step)
        if not self._rewrite:
            self._say("wait", self._requirement(), f"{what}, {max(left, 0):.0f} s at most")
        return True

    def over(self) -> None:
        """What was waited for is there."""
        self._turn_to(None, self._step)

    def _requirement(self) -> str:
        return self._step.requirement if self._step else ""

    def _end(self, sign: str, requirement: str, what: str) -> None:
        """The line that stays of a step."""
        took = f"{time.monotonic() - self._step.since:.1f} s" if self._step else ""
        self._turn_to(None, None)
        if self._rewrite:
            self._tell(self._line(sign, requirement, what, took))
        else:
            self._say(sign, requirement, took if sign == "done" else what)

    # ------------------------------------------------------------------ how it is said

    def _turn_to(self, detail: Optional[Activity], step: Optional[Activity]) -> None:
        """From now on this goes on; a thread says so again and again, until something else does."""
        self._stop()
        self._stop = lambda: None
        if self._rewrite and (self._detail or self._step):
            self._rewrite("")
        self._detail, self._step = detail, step
        if not (detail or step):
            return
        import threading  # 2 ms: not for a run that changes nothing

        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(ended,), daemon=True)
        ticker.start()

        def stop() -> None:
            ended.set()
            ticker.join()

        self._stop = stop

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(REWRITTEN):
            activity = self._detail or self._step
            if activity is None or time.monotonic() - activity.since < GRACE:
                continue
            if self._rewrite:
                self._rewrite(self._line(activity.sign, activity.requirement, activity.what, activity.took()))
            elif time.monotonic() - self._spoke >= EVERY:
                self._say("wait", activity.requirement, f"{activity.what}, {activity.took()} so far")

    def _line(self, sign: str, requirement: str, what: str, seconds: str) -> str:
        """A terminal's line, which is as wide as that: what goes on is cut, the seconds stand at its end."""
        head = f"  {PAST[sign]:7} {requirement:11} "
        room = max(self._width() - 1 - len(head) - len(seconds) - 2, 20)
        said = what if len(what) <= room else f"{what[: room - 4]} ..."
        return f"{head}{said:{room}}  {seconds}"

    def _say(self, sign: str, requirement: str, what: str) -> None:
        """A line of its own, with the seconds since the run began."""
        self._spoke = time.monotonic()
        where = f"{requirement}: " if requirement else ""
        self._tell(f"[{self._spoke - self._begun:6.1f} s] {sign:5} {where}{what}")


def _alike(one: str, other: str) -> bool:
    return re.sub(r"\d+", "", one) == re.sub(r"\d+", "", other)
