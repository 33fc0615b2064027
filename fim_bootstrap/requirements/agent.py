"""The agent runs as it must, and its plugin hangs below the dispatcher.

Vendor, prerequisite 5 and "How to check if the process for FIM is running": its FIM process runs as root, and its
plugin is a child of the dispatcher. Each start of FIM rebuilds the SELinux policy and restarts auditd before its
process comes, and takes minutes on a slow machine: an agent that starts is waited for, one that is well is never
restarted, and one that gave up has said why in its own log. A host that has no agent yet is no failure.
"""

from __future__ import annotations

from typing import Optional

from ..agent import warnings as warn
from ..agent.state import GAVE_UP, STARTING, condition, gives_up, last_sign, told, why_restart
from ..agent.vendor import CAUSES, EDR, SERVICE
from ..changes.services import RestartService
from ..model import Facts, Finding, Profile, Settings, Status
from . import settled_agent as settled
from .settled_agent import BEFORE, finding, quoted

ID, TITLE = settled.ID, settled.TITLE


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the agent's processes, from /proc rather than from a listing that would match itself."""
    undone = _unjudged(facts) or _unsettled(facts, settings) or _restart(facts, settings)
    return undone or settled.assess(facts, settings)


def _unjudged(facts: Facts) -> Optional[Finding]:
    """There is no agent, it does not run here, or it is none that this tool knows."""
    if not facts.agent.installed:
        summary = "no agent is installed; the host can be made ready before it"
        return finding(Status.SKIPPED, summary, warnings=(*warn.would_give_up(facts), *warn.baked_in(facts)))
    if not facts.environment.live:
        return finding(Status.SKIPPED, "nothing runs in this tree", warnings=warn.baked_in(facts))
    if facts.agent.legacy:
        remedy = "update the agent to 4.1 or later"
        return finding(Status.BLOCKED, f"an agent older than 4.1: it has no {EDR}", remedy=remedy)
    return None


def _unsettled(facts: Facts, settings: Settings) -> Optional[Finding]:
    """It cannot be known yet how the agent is."""
    agent, warnings = facts.agent, warn.of_installed(facts)
    if any(facts.uncertain(process) for process in (agent.main, agent.edr)):
        summary = "whether the agent runs is for root alone to see"
        return finding(Status.WAITING, summary, remedy="run as root", warnings=warnings)
    if condition(facts, settings) == STARTING:
        return finding(
            Status.WAITING, f"the agent is starting: {last_sign(facts)}", warnings=warnings,
            remedy=f"run again in a moment, or check --wait; {agent.script_log} tells how far it is",
        )  # fmt: skip
    if settings.mode_for(facts) == "dispatcher" and facts.audit.daemon is None:
        return finding(Status.WAITING, "auditd is not running yet", follows=("auditd",))
    return None


def _restart(facts: Facts, settings: Settings) -> Optional[Finding]:
    """The agent has to be (re)started; not one that would give up again."""
    agent, warnings = facts.agent, warn.of_installed(facts)
    reason = why_restart(facts, settings)
    if not reason:
        return None
    if code := gives_up(facts):
        would = f"{reason}; started now, it would give up: {CAUSES[code][0]}"
        return finding(Status.WAITING, would, quoted(facts), warnings=warnings, follows=(CAUSES[code][1], *BEFORE))
    cause = told(facts, settings) if condition(facts, settings) == GAVE_UP else None
    change = RestartService(
        SERVICE, SERVICE, agent.main.pid if agent.main else 0, patience=agent.service.patience,
        answers=cause.code if cause else 0,
    )  # fmt: skip
    return finding(Status.CHANGE, reason, quoted(facts), warnings=warnings)._replace(changes=(change,))
