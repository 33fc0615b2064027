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
Say = Callable[[str, float], Any]  # what is waited for, and how many seconds longer at most


def until_quiet(host: Reader, limit: float, say: Say) -> bool:
    """Wait until the agent's script is done with a start or a stop, and whether it was at work.

    One that is old, and so is a semodule beside it, hangs.
    """
    waited = False
    for left in _pauses(limit):
        seen = gather(host).believed
        script = seen.get(SCRIPT)
        if script is None or time.time() - max(script.started, seen.get(SEMODULE, script).started) >= limit:
            break
        waited = True
        say(f"the agent's {SCRIPT} (pid {script.pid}) is at work", left)
        time.sleep(PAUSE)
    return waited


def until_started(look: Callable[[], Facts], facts: Facts, settings: Settings, say: Say) -> Facts:
    """The facts once an agent that was starting runs, gave up, or shows no sign of life any more."""
    if not settings.chosen(agent.ID):
        return facts
    for left in _pauses(settings.agent_timeout):
        if state.condition(facts, settings) != state.STARTING:
            break
        say(f"the agent is starting: {state.last_sign(facts)}", left)
        time.sleep(PAUSE)
        facts = look()
    return facts


def _pauses(limit: float) -> Iterator[float]:
    """The seconds that are left of the limit, as long as there are any."""
    give_up = time.monotonic() + limit
    while (left := give_up - time.monotonic()) > 0:
        yield left
