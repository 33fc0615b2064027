"""The agent runs as it must, and its plugin hangs below the dispatcher.

Vendor, prerequisite 5 and "How to check if the process for FIM is running": its FIM process runs as root, and its
plugin is a child of the dispatcher. Each start of FIM rebuilds the SELinux policy and restarts auditd before its
process comes, and takes minutes on a slow machine: an agent that starts is waited for, one that is well is never
restarted, and one that gave up has said why in its own log. A host that has no agent yet is no failure.
"""

from __future__ import annotations

import time

from ..agent.state import (
    GAVE_UP,
    STARTING,
    condition,
    gives_up,
    is_over,
    last_sign,
    restart_refused,
    told,
    told_after_ours,
)  # fmt: skip
from ..agent.vendor import CAUSES, DISPATCHER_KEY, EDR, PLUGIN, REMEDIES, SCRIPT, SERVICE
from ..audit import rule_origin
from ..changes.services import RestartService
from ..model import Facts, Finding, Process, Profile, Settings, Status, Verdict

ID = "agent"
TITLE = "the agent runs and its plugin is registered"
# what keeps an agent from running, in the order in which it is met
BEFORE = ("packages", "rules", "policy", "dispatcher", "auditd")


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the agent's processes, from /proc rather than from a listing that would match itself."""
    agent = facts.agent
    if not agent.installed:
        summary = "no agent is installed; the host can be made ready before it"
        return _finding(Status.SKIPPED, summary, warnings=(*_would_give_up(facts), *_baked_in(facts)))
    if not facts.environment.live:
        return _finding(Status.SKIPPED, "nothing runs in this tree", warnings=_baked_in(facts))
    if agent.legacy:
        return _finding(
            Status.BLOCKED, f"an agent older than 4.1: it has no {EDR}", remedy="update the agent to 4.1 or later"
        )
    dispatching = settings.mode_for(facts) == "dispatcher"
    state = condition(facts, settings)
    warnings = _warnings(facts)
    if any(facts.uncertain(process) for process in (agent.main, agent.edr)):
        summary = "whether the agent runs is for root alone to see"
        return _finding(Status.WAITING, summary, remedy="run as root", warnings=warnings)
    if state == STARTING:
        return _finding(
            Status.WAITING, f"the agent is starting: {last_sign(facts)}", warnings=warnings,
            remedy=f"run again in a moment, or check --wait; {agent.script_log} tells how far it is",
        )  # fmt: skip
    if dispatching and facts.audit.daemon is None:
        return _finding(Status.WAITING, "auditd is not running yet", follows=("auditd",))
    if reason := _why_restart(facts, settings, state, dispatching):
        if code := gives_up(facts):
            would = f"{reason}; started now, it would give up: {CAUSES[code][0]}"
            return _finding(Status.WAITING, would, _said(facts), warnings=warnings, follows=(CAUSES[code][1], *BEFORE))
        cause = told(facts, settings) if state == GAVE_UP else None
        change = RestartService(
            SERVICE, SERVICE, agent.main.pid if agent.main else 0, patience=agent.service.patience,
            answers=cause.code if cause else 0,
        )  # fmt: skip
        return _finding(Status.CHANGE, reason, _said(facts), warnings=warnings)._replace(changes=(change,))
    if agent.edr is None and not facts.privileged:
        return _finding(Status.WAITING, f"{EDR} is not running", remedy="run as root, to see what is known of it")
    if state == GAVE_UP:
        return _gave_up(facts, settings, warnings)
    if agent.edr is None:
        cause = told(facts, settings)
        warnings += (_when(cause),) if cause and not is_over(cause.code, facts) else ()
        return _finding(Status.OK, f"prepared: the agent runs, and starts {EDR} when it needs it", warnings=warnings)
    return _running(facts, agent.edr, dispatching, warnings)


def _running(facts: Facts, edr: Process, dispatching: bool, warnings: tuple[str, ...]) -> Finding:
    agent = facts.agent
    if edr.uid != 0:
        return _finding(
            Status.BLOCKED, f"{EDR} runs as uid {edr.uid}, not as root",
            remedy="run the agent as root, or with sudo as its manual says",
        )  # fmt: skip
    if not dispatching:
        return _finding(Status.OK, f"{EDR} runs as pid {edr.pid}", warnings=warnings)
    if agent.plugin:
        both = f"{EDR} (pid {edr.pid}) and {PLUGIN} (pid {agent.plugin.pid}) run"
        return _finding(Status.OK, both, warnings=warnings)
    if restart_refused(facts):
        return _finding(
            Status.BLOCKED, f"all is well but for {PLUGIN}: auditd was not restarted when the agent asked for it",
            (f"{agent.registration} is newer than auditd (pid {facts.audit.daemon.pid if facts.audit.daemon else 0})",),
            remedy="see what `service auditd restart` says; where it works, restart the agent",
            warnings=warnings, follows=("auditd", *BEFORE),
        )  # fmt: skip
    if agent.registration and not agent.registration_problem:
        summary = f"the dispatcher has not started {PLUGIN}"
        return _finding(Status.WAITING, summary, warnings=warnings, follows=("auditd", *BEFORE))
    return _finding(
        Status.BLOCKED, f"{PLUGIN} is not running: {agent.registration_problem or 'no plugin file names it'}",
        remedy=f"mend {agent.registration}" if agent.registration else "is FIM activated for this agent? See its log",
        warnings=warnings, follows=("dispatcher", *BEFORE),
    )  # fmt: skip


def _why_restart(facts: Facts, settings: Settings, state: str, dispatching: bool) -> str:
    """Why the agent has to be (re)started, or ''. One that works, or that would give up again, is left alone."""
    agent, audit = facts.agent, facts.audit
    if agent.main is None:
        return "the agent is not running"
    if state == GAVE_UP and (verdict := told(facts, settings)):
        if agent.collided:
            return f"{_when(verdict)}: it met our own semodule"
        if is_over(verdict.code, facts) and not told_after_ours(facts, settings):
            return f"{_when(verdict)}; that is over"
    if dispatching and agent.edr and audit.daemon and agent.edr.started < audit.daemon.started:
        texts = (file.text for file in audit.rules)
        if audit.live_rules is not None and not rule_origin.unexplained(audit.live_rules, texts):
            return f"{EDR} started before auditd, and the kernel has none of the rules that it had added"
    return ""


def _gave_up(facts: Facts, settings: Settings, warnings: tuple[str, ...]) -> Finding:
    agent, verdict = facts.agent, told(facts, settings)
    if verdict is None:
        hangs = f"; {SCRIPT} (pid {agent.script.pid}) hangs" if agent.script else ""
        return _finding(
            Status.BLOCKED, f"{EDR} is not running, and nothing moves for {settings.agent_timeout:.0f} s{hangs}",
            _said(facts), remedy=f"see {agent.script_log}, and the agent's log beside it",
            warnings=warnings, follows=BEFORE,
        )  # fmt: skip
    over = is_over(verdict.code, facts)
    remedy = REMEDIES.get(verdict.code, "mend that") if not over else f"see {agent.script_log}"
    return _finding(
        Status.BLOCKED, f"{_when(verdict)}" + ("; that looks mended, and yet a restart ended alike" if over else ""),
        _said(facts), remedy=f"{remedy}; then restart the agent",
        warnings=warnings, follows=(CAUSES[verdict.code][1], *BEFORE),
    )  # fmt: skip


def _when(verdict: Verdict) -> str:
    """The agent's own verdict, in our words."""
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(verdict.at))
    return f"the agent gave up at {at}: {CAUSES[verdict.code][0]}"


def _said(facts: Facts) -> tuple[str, ...]:
    verdict = facts.agent.verdict
    return (f"{facts.agent.script_log}: {verdict.line}",) if verdict else ()


def _would_give_up(facts: Facts) -> tuple[str, ...]:
    """The same, as a warning where there is no agent yet."""
    code = gives_up(facts) if facts.environment.live else 0
    return (f"an agent that starts here now would give up: {CAUSES[code][0]}",) if code else ()


def _baked_in(facts: Facts) -> tuple[str, ...]:
    """The agent's identity in an image: each clone would be the same host in the vendor's console."""
    if facts.environment.live or not facts.agent.identity:
        return ()
    said = f"{facts.agent.identity}: an agent's identity in this tree; every clone would be the same host in the"
    return (f"{said} vendor's console: remove it from the image",)


def _warnings(facts: Facts) -> tuple[str, ...]:
    agent, found = facts.agent, [*facts.impostors(SERVICE, EDR, PLUGIN)]
    if not agent.service.enabled:
        found.append(f"{SERVICE} is not enabled at boot")
    if agent.dispatcher_setting not in ("0", "1"):
        found.append(f"{agent.setting_line}: {DISPATCHER_KEY} is {agent.dispatcher_setting}; 1 is assumed")
    if agent.settings_repeated:
        found.append(f"{agent.setting_line}: {DISPATCHER_KEY} stands more than once; the last one counts")
    if agent.manifests == 0 and facts.privileged:
        found.append("no FIM profile (manifest) has arrived yet: assign one in the vendor's console")
    if agent.log_size < 0 and facts.privileged and agent.edr:
        found.append(f"{agent.log} is not there yet")
    return tuple(found)


def _finding(
    status: Status, summary: str, evidence: tuple[str, ...] = (), *, remedy: str = "",
    warnings: tuple[str, ...] = (), follows: tuple[str, ...] = (),
) -> Finding:  # fmt: skip
    return Finding(ID, TITLE, status, summary, evidence, remedy=remedy, warnings=warnings, follows=follows)
