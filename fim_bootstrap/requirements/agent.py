"""The agent runs as it must, and its plugin hangs below the dispatcher.

Vendor, prerequisite 5 and "How to check if the process for FIM is running": qualys-edr runs as root, and
edr-plugin is a child of the dispatcher. A restart of auditd reloads its rules and so drops those that the
agent had added: the agent is restarted after it. A host that has no agent yet is no failure.
"""

from __future__ import annotations

from ..changes import RestartService
from ..facts import AGENT_SERVICE
from ..model import Facts, Finding, Profile, Settings, Status

ID = "agent"
TITLE = "the agent runs and its plugin is registered"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the agent's processes, from /proc rather than from a listing that would match itself."""
    agent = facts.agent
    if not agent.installed:
        return Finding(ID, TITLE, Status.SKIPPED, "no agent is installed; the host can be made ready before it")
    if not facts.environment.live:
        return Finding(ID, TITLE, Status.SKIPPED, "nothing runs in this tree")
    if agent.legacy:
        return Finding(
            ID, TITLE, Status.BLOCKED, "an agent older than 4.1: it has fimc where later ones have qualys-edr",
            remedy="update the agent to 4.1 or later",
        )  # fmt: skip
    warnings = _warnings(facts)
    if any(facts.uncertain(process) for process in (agent.main, agent.edr)):
        summary = "whether the agent runs is for root alone to see"
        return Finding(ID, TITLE, Status.WAITING, summary, remedy="run as root", warnings=warnings)
    dispatching = settings.mode_for(facts) == "dispatcher"
    if dispatching and facts.audit.daemon is None:
        return Finding(ID, TITLE, Status.WAITING, "auditd is not running yet")
    reason = _why_restart(facts, dispatching)
    if reason:
        pid = agent.main.pid if agent.main else 0
        children = ("qualys-edr", "edr-plugin") if dispatching else ("qualys-edr",)
        wake = facts.audit.may_cause_event
        change = RestartService(AGENT_SERVICE, AGENT_SERVICE, pid, children=children, may_wake=wake)
        return Finding(ID, TITLE, Status.CHANGE, reason, changes=(change,), warnings=warnings)
    if agent.edr is None:
        remedy = "see why in the agent's log; is a FIM profile assigned to it?"
        return _blocked("qualys-edr is not running", remedy, warnings)
    if agent.edr.uid != 0:
        return _blocked(
            f"qualys-edr runs as uid {agent.edr.uid}, not as root",
            "run the agent as root, or with sudo as its manual says", warnings,
        )  # fmt: skip
    if not dispatching:
        return Finding(ID, TITLE, Status.OK, f"qualys-edr runs as pid {agent.edr.pid}", warnings=warnings)
    if agent.plugin is None and agent.registration and not agent.registration_problem:
        return Finding(ID, TITLE, Status.WAITING, "the dispatcher has not started edr-plugin", warnings=warnings)
    if agent.plugin is None:
        return _blocked(
            f"edr-plugin is not running: {agent.registration_problem or 'no plugin file names it'}",
            f"mend {agent.registration}" if agent.registration else "is FIM activated for this agent? See its log",
            warnings,
        )
    return Finding(
        ID, TITLE, Status.OK, f"qualys-edr (pid {agent.edr.pid}) and edr-plugin (pid {agent.plugin.pid}) run",
        warnings=warnings,
    )  # fmt: skip


def _why_restart(facts: Facts, dispatching: bool) -> str:
    agent, daemon = facts.agent, facts.audit.daemon
    if agent.main is None:
        return "the agent is not running"
    # a start of the agent restarts auditd before its FIM part is there, which then adds the rules
    if dispatching and daemon and (agent.edr or agent.main).started < daemon.started:
        return "the agent started before auditd: rules that it had added are gone"
    return ""


def _warnings(facts: Facts) -> tuple[str, ...]:
    agent, found = facts.agent, [*facts.impostors(AGENT_SERVICE, "qualys-edr", "edr-plugin")]
    if not agent.service.enabled:
        found.append(f"{AGENT_SERVICE} is not enabled at boot")
    if agent.dispatcher_setting not in ("0", "1"):
        found.append(f"{agent.setting_line}: UseAuditDispatcher is {agent.dispatcher_setting}; 1 is assumed")
    if agent.settings_repeated:
        found.append(f"{agent.setting_line}: UseAuditDispatcher stands more than once; the last one counts")
    if agent.manifests == 0:
        found.append("no FIM profile (manifest) has arrived yet: assign one in the vendor's console")
    if agent.log_size < 0 and facts.privileged:
        found.append(f"{agent.log} is not there yet")
    return tuple(found)


def _blocked(summary: str, remedy: str, warnings: tuple[str, ...]) -> Finding:
    return Finding(ID, TITLE, Status.BLOCKED, summary, remedy=remedy, warnings=warnings)
