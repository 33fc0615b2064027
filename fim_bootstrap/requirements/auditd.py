"""auditd runs, with the configuration that stands on the disk; or it is stopped, if the agent wants that.

Vendor, prerequisites 2 and 6: with UseAuditDispatcher=1 auditd must run, with 0 "it is mandatory to have the
auditd service in stopped state". Stopping it ends the host's audit log, so that is done only under an
explicit --mode direct. A restart is needed if, and only if, the daemon started before its
configuration last changed: a run that was interrupted between edit and restart heals on the next one.
"""

from __future__ import annotations

from typing import Optional

from ..agent.vendor import PLUGIN
from ..audit import auditd_conf, restart_due, service_restart
from ..changes.services import EnableService, RestartService
from ..facts.own_files import FIRST_BOOT_NETWORK
from ..model import Change, Environment, Facts, Finding, Profile, Settings, Status
from . import direct_mode, packages

ID, TITLE = direct_mode.ID, direct_mode.TITLE


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the service by the mode that the agent is configured for, or that was asked for."""
    audit = facts.audit
    direct = settings.mode_for(facts) == "direct"
    certain = [obstacle for obstacle in audit.obstacles if obstacle.certain]
    if certain and not direct:
        evidence = tuple(f"{obstacle.where}: {obstacle.why}" for obstacle in certain)
        return Finding(ID, TITLE, Status.BLOCKED, certain[0].why, evidence, remedy=certain[0].remedy)
    late = packages.left_to_the_first_boot(facts, profile, settings)
    if audit.generation == 0 and not late:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    impostors = facts.impostors("auditd", "audispd")
    if facts.uncertain(audit.daemon):
        summary = "whether auditd runs is for root alone to see"
        return Finding(ID, TITLE, Status.WAITING, summary, remedy="run as root", warnings=impostors)
    if direct:
        return direct_mode.assess(facts, settings)
    if refusal := _refusal(facts):
        return refusal
    if audit.owner and audit.owner != "auditd":
        return Finding(
            ID, TITLE, Status.BLOCKED, f"{audit.owner} holds the kernel's audit connection, so auditd cannot have it",
            remedy=f"configure {audit.owner} not to take the audit socket (multicast, or leave it to auditd)",
        )  # fmt: skip
    enabling: list[Change] = [] if audit.service.enabled or not audit.generation else [EnableService("auditd")]
    return _running(facts, enabling) if facts.environment.live else _at_rest(facts, settings, enabling, late)


def _at_rest(facts: Facts, settings: Settings, enabling: list[Change], late: bool) -> Finding:
    """A tree or a chroot, in which nothing is started."""
    from ..changes import first_boot  # only for a tree

    offline = facts.environment is Environment.OFFLINE
    changes, warnings = (
        tuple(first_boot.prepared(facts, settings, enabling, late) if offline else enabling),
        _warnings(facts),
    )
    if settings.first_boot and FIRST_BOOT_NETWORK in facts.edited:
        warnings += (f"{FIRST_BOOT_NETWORK} was edited; it is left as it is",)
    if changes:
        summary = "not all is prepared for the first boot"
        return Finding(ID, TITLE, Status.CHANGE, summary, changes=changes, warnings=warnings)
    return Finding(ID, TITLE, Status.OK, "auditd is enabled; it starts when this tree boots", warnings=warnings)


def _running(facts: Facts, enabling: list[Change]) -> Finding:
    """A system that runs, or is about to."""
    audit, reason, changes, warnings = facts.audit, restart_due.why(facts), enabling, _warnings(facts)
    pid = audit.daemon.pid if audit.daemon else 0
    if reason:
        children = (PLUGIN,) if restart_due.plugin_expected(facts) else ()
        change = RestartService(
            "auditd", "auditd", pid, audit.service.refuses_stop, children, may_wake=audit.may_cause_event
        )
        changes = [*enabling, change]
    if reason and not facts.privileged:
        warnings += ("auditd was not asked whether it takes its configuration: that needs root",)
    if audit.restart_problem and facts.agent.plugin is None:
        return Finding(
            ID, TITLE, Status.BLOCKED, f"the agent could not restart auditd when it starts: {audit.restart_problem}",
            remedy=service_restart.REMEDY, warnings=warnings, follows=("packages",),
        )  # fmt: skip
    if audit.restart_problem:  # it has been able to, or somebody else was
        warnings += (f"the agent could not restart auditd at its next start: {audit.restart_problem}",)
    if changes:
        summary = reason or "auditd is not enabled at boot"
        return Finding(ID, TITLE, Status.CHANGE, summary, changes=tuple(changes), warnings=warnings)
    booting = " (the system is still booting)" if facts.environment is Environment.BOOTING else ""
    return Finding(ID, TITLE, Status.OK, f"auditd runs as pid {pid}, enabled at boot{booting}", warnings=warnings)


def _refusal(facts: Facts) -> Optional[Finding]:
    """auditd would not come up again: by its own word, or by what is known where it could not be asked."""
    audit, answer = facts.audit, facts.audit.preflight
    if answer is None or answer.accepted or audit.conf is None:
        return None
    summary = f"auditd refuses its configuration, so it is not restarted: {answer.said}"
    if answer.accepted is False:
        where = f"{auditd_conf.PATH}:{answer.line}" if answer.line else auditd_conf.PATH
        text = audit.conf.text.split("\n")[answer.line - 1].strip() if answer.line else ""
        evidence = (f"{where}: {text}" if text else where, f"auditd says: {answer.said}")
        remedy = f"mend {where}; auditd ends with exit status 6 on it"
        return Finding(ID, TITLE, Status.BLOCKED, summary, evidence, remedy=remedy)
    if faults := auditd_conf.lasting_faults(audit.conf.text, audit.generation, audit.dialect):
        known = tuple(f"{auditd_conf.PATH}:{line.number}: {line.text.strip()}: {line.problem}" for line in faults)
        remedy = f"mend {auditd_conf.PATH} line {faults[0].number}"
        return Finding(ID, TITLE, Status.BLOCKED, "auditd would not start with its configuration", known, remedy=remedy)
    return None


def _warnings(facts: Facts) -> tuple[str, ...]:
    answer = facts.audit.preflight
    unasked = f"auditd could not be asked whether it takes its configuration ({answer.said})" if answer else ""
    later = tuple(f"{obstacle.where}: {obstacle.why}" for obstacle in facts.audit.obstacles)
    return facts.impostors("auditd", "audispd") + later + ((unasked,) if answer and answer.accepted is None else ())
