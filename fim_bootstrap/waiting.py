"""Waiting for the agent: until its script is done, or until FIM runs, never longer than the limit.

Its start and its stop load an SELinux module and restart auditd. A semodule of ours in the meantime makes its own fail
after 5 s, and a restart of ours would meet its own: so nothing of that kind begins while its script is at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .model import Facts, Settings
from .requirements import agent

PAUSE = 1.0  # seconds between two looks
NEWS = 30.0  # seconds between two lines that say what is waited for
Look = Callable[[], Facts]
Say = Callable[[str], Any]


def until_quiet(look: Look, facts: Facts, settings: Settings, say: Say) -> Facts:
    """The facts once the agent's script is done with a start or a stop."""
    return _while(agent.at_work, look, facts, settings, say)


def until_started(look: Look, facts: Facts, settings: Settings, say: Say) -> Facts:
    """The facts once an agent that was starting runs, gave up, or shows no sign of life any more."""
    return _while(_starting, look, facts, settings, say)


def _starting(facts: Facts, settings: Settings) -> bool:
    return settings.chosen(agent.ID) and agent.condition(facts, settings) == agent.STARTING


def _while(holds: Callable[[Facts, Settings], bool], look: Look, facts: Facts, settings: Settings, say: Say) -> Facts:
    begun, told = time.monotonic(), -NEWS
    while holds(facts, settings) and (waited := time.monotonic() - begun) < settings.agent_timeout:
        if waited - told >= NEWS:
            said = f"{waited:.0f} of {settings.agent_timeout:.0f} s"
            say(f"{agent.ID}: waiting for the agent: {facts.agent.sign}; {said}")
            told = waited
        time.sleep(PAUSE)
        facts = look()
    return facts
