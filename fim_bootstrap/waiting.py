"""Waiting for the agent: until its script is done, or until FIM runs, never longer than the limit.

Its start and its stop load an SELinux module and restart auditd. A semodule of ours in the meantime makes its own fail
after 5 s, and a restart of ours would meet its own: so nothing of that kind begins while its script is at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from .agent import state
from .agent.vendor import SCRIPT, SEMODULE
from .facts.processes import gather
from .host.reader import Reader
from .model import Facts, Settings
from .requirements import agent

PAUSE = 2.0  # seconds between two looks
NEWS = 30.0  # seconds between two lines that say what is waited for
Say = Callable[[str], Any]


def until_quiet(host: Reader, limit: float, say: Say) -> bool:
    """Wait until the agent's script is done with a start or a stop, and whether it was at work.

    One that is old, and so is a semodule beside it, hangs.
    """
    waited = False
    for tell in _pauses(limit, say):
        seen = gather(host).believed
        script = seen.get(SCRIPT)
        if script is None or time.time() - max(script.started, seen.get(SEMODULE, script).started) >= limit:
            break
        waited = True
        tell(f"{SCRIPT} (pid {script.pid}) is at work")
    return waited


def until_started(look: Callable[[], Facts], facts: Facts, settings: Settings, say: Say) -> Facts:
    """The facts once an agent that was starting runs, gave up, or shows no sign of life any more."""
    if not settings.chosen(agent.ID):
        return facts
    for tell in _pauses(settings.agent_timeout, say):
        if state.condition(facts, settings) != state.STARTING:
            break
        tell(state.last_sign(facts))
        facts = look()
    return facts


def _pauses(limit: float, say: Say) -> Iterator[Say]:
    """As often as a look is due within the limit: what waits until then, and says now and again what is waited for."""
    begun, told = time.monotonic(), -NEWS

    def tell(what: str) -> None:
        nonlocal told
        waited = time.monotonic() - begun
        if waited - told >= NEWS:
            told = waited
            say(f"waiting for the agent: {what}; {waited:.0f} of {limit:.0f} s")
        time.sleep(PAUSE)

    while time.monotonic() - begun < limit:
        yield tell
