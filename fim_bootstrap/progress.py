"""Say that a step is still at work, or what a run waits for; on stderr, never in a report.

On a terminal one line is rewritten. Elsewhere there is a line when it begins, one every 30 s, and one when it
ends; what is over within a second is not worth a line.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    import threading

GRACE = 1.0  # seconds before a step is spoken of
EVERY = 30.0  # seconds between two lines
REWRITTEN = 1.0  # seconds between two looks of the line on a terminal


class Progress:
    """What goes on now. `tell` puts a line on stderr; `rewrite` replaces the terminal's last one ('' clears it)."""

    def __init__(
        self, tell: Callable[[str], None] = lambda _: None, rewrite: Optional[Callable[[str], None]] = None
    ) -> None:
        self._tell, self._rewrite = tell, rewrite
        self._what, self._begun, self._told = "", 0.0, 0.0

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A step that may take minutes is at work."""
        import threading  # 2 ms: not for a run that changes nothing

        self.over()
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(what, ended), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            ended.set()
            ticker.join()
            self.over()

    def _tick(self, what: str, ended: threading.Event) -> None:
        begun = time.monotonic()
        pause = GRACE
        while not ended.wait(pause):
            self._show(what, f"{what}: at work", begun)
            pause = REWRITTEN

    def wait(self, what: str, left: float) -> None:
        """The run waits; said again and again, with the seconds that are left of its patience."""
        self._show(what, f"{what}; {max(left, 0):.0f} s left", time.monotonic())

    def _show(self, what: str, line: str, begun: float) -> None:
        now = time.monotonic()
        if what != self._what:
            self.over()
            self._what, self._begun, self._told = what, begun, float("-inf")
        if self._rewrite:
            self._rewrite(f"{line} ({now - self._begun:.0f} s)")
        elif now - self._told >= EVERY:
            self._tell(line if self._told < 0 else f"{line} ({now - self._begun:.0f} s)")
            self._told = now

    def over(self) -> None:
        """What was spoken of has ended."""
        if self._what and self._rewrite:
            self._rewrite("")
        elif self._what:
            self._tell(f"{self._what}: {time.monotonic() - self._begun:.0f} s")
        self._what = ""
