"""auditd runs, with the configuration that stands on the disk; or it is stopped, if the agent wants that.

Vendor, prerequisites 2 and 6: with UseAuditDispatcher=1 auditd must run, with 0 "it is mandatory to have the
auditd service in stopped state". Stopping it ends the host's audit log, so that is done only under an
explicit --mode direct. A restart is needed if, and only if, the daemon started before its
configuration last changed: a run that was interrupted between edit and restart heals on the next one.
"""

from __future__ import annotations

from typing import Optional

from ..agent.state import restart_refused
from ..agent.vendor import DISPATCHER_KEY, PLUGIN, USE_DISPATCHER
from ..audit import auditd_conf
from ..changes.files import CreateFiles
from ..changes.policy import LabelTree
from ..changes.services import EnableService, RestartService, StopService
from ..facts.audit import AUDITD_CONF
from ..facts.own_files import FETCHING, FIRST_BOOT, FIRST_BOOT_NETWORK, GUARD_UNITS, PRESET, PROGRAM, unit
from ..model import Change, Environment, Facts, Finding, Profile, Settings, Status
from ..resources import text_of
from . import packages

ID = "auditd"
TITLE = "auditd runs with its present configuration"
# by hand, where the packages do not bring it
RESTARTABLE = (
    "`service auditd restart` has to work: install service(8) (initscripts-service) and audit's legacy action, or allow"
    " the stop (systemctl edit auditd: [Unit] RefuseManualStop=no)"
)
FIRST_BOOT_UNIT = "fim-bootstrap-firstboot.service"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the service by the mode that the agent is configured for, or that was asked for."""
    audit = facts.audit
    direct = settings.mode_for(facts) == "direct"
    certain = [obstacle for obstacle in audit.obstacles if obstacle.certain]
    if certain and not direct:
        evidence = tuple(f"{obstacle.where}: {obstacle.why}" for obstacle in certain)
        return Finding(ID, TITLE, Status.BLOCKED, certain[0].why, evidence, remedy=certain[0].remedy)
    late = _left_to_the_first_boot(facts, profile, settings)
    if audit.generation == 0 and not late:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    impostors = facts.impostors("auditd", "audispd")
    if facts.uncertain(audit.daemon):
        summary = "whether auditd runs is for root alone to see"
        return Finding(ID, TITLE, Status.WAITING, summary, remedy="run as root", warnings=impostors)
    if direct:
        return _direct(facts, settings)
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
    offline = facts.environment is Environment.OFFLINE
    changes, warnings = tuple(_prepare(facts, settings, enabling, late) if offline else enabling), _warnings(facts)
    if changes:
        summary = "not all is prepared for the first boot"
        return Finding(ID, TITLE, Status.CHANGE, summary, changes=changes, warnings=warnings)
    return Finding(ID, TITLE, Status.OK, "auditd is enabled; it starts when this tree boots", warnings=warnings)


def _running(facts: Facts, enabling: list[Change]) -> Finding:
    """A system that runs, or is about to."""
    audit, reason, changes, warnings = facts.audit, why_restart(facts), enabling, _warnings(facts)
    pid = audit.daemon.pid if audit.daemon else 0
    if reason:
        children = (PLUGIN,) if _plugin_expected(facts) else ()
        change = RestartService(
            "auditd", "auditd", pid, audit.service.refuses_stop, children, may_wake=audit.may_cause_event
        )
        changes = [*enabling, change]
    if reason and not facts.privileged:
        warnings += ("auditd was not asked whether it takes its configuration: that needs root",)
    if audit.restart_problem and facts.agent.plugin is None:
        return Finding(
            ID, TITLE, Status.BLOCKED, f"the agent could not restart auditd when it starts: {audit.restart_problem}",
            remedy=RESTARTABLE, warnings=warnings, follows=("packages",),
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
        where = f"{AUDITD_CONF}:{answer.line}" if answer.line else AUDITD_CONF
        text = audit.conf.text.split("\n")[answer.line - 1].strip() if answer.line else ""
        evidence = (f"{where}: {text}" if text else where, f"auditd says: {answer.said}")
        remedy = f"mend {where}; auditd ends with exit status 6 on it"
        return Finding(ID, TITLE, Status.BLOCKED, summary, evidence, remedy=remedy)
    if faults := auditd_conf.lasting_faults(audit.conf.text, audit.generation, audit.dialect):
        known = tuple(f"{AUDITD_CONF}:{line.number}: {line.text.strip()}: {line.problem}" for line in faults)
        remedy = f"mend {AUDITD_CONF} line {faults[0].number}"
        return Finding(ID, TITLE, Status.BLOCKED, "auditd would not start with its configuration", known, remedy=remedy)
    return None


def _warnings(facts: Facts) -> tuple[str, ...]:
    answer = facts.audit.preflight
    unasked = f"auditd could not be asked whether it takes its configuration ({answer.said})" if answer else ""
    later = tuple(f"{obstacle.where}: {obstacle.why}" for obstacle in facts.audit.obstacles)
    return facts.impostors("auditd", "audispd") + later + ((unasked,) if answer and answer.accepted is None else ())


def _left_to_the_first_boot(facts: Facts, profile: Profile, settings: Settings) -> bool:
    """Whether packages are missing in a tree and are left out here, so that the first boot has to fetch them."""
    here = packages.ID not in settings.skip and (not settings.only or packages.ID in settings.only)
    missing = any(command not in facts.commands for command in packages.needed(facts, profile))
    return settings.first_boot and missing and not here


def _prepare(facts: Facts, settings: Settings, enabling: list[Change], late: bool) -> list[Change]:
    """A preset, since image builders run `systemctl preset-all`; the unit for the first boot; and labels.

    The labels come last: what was installed and created before them has none where the builder's kernel
    has no SELinux.
    """
    changes = [*enabling]
    if PRESET not in facts.prepared and (enabling or settings.first_boot or settings.guard):
        units = ("auditd.service", FIRST_BOOT_UNIT, *GUARD_UNITS)
        changes.append(CreateFiles({PRESET: "".join(f"enable {unit}\n" for unit in units)}))
    missing = [path for path in (PROGRAM, *FIRST_BOOT) if path not in facts.prepared]
    if settings.first_boot and missing:
        texts = {path: unit(name, facts.prepared) for path, name in FIRST_BOOT.items() if path in missing}
        changes.append(CreateFiles(texts, (FIRST_BOOT_UNIT,), PROGRAM if PROGRAM in missing else ""))
    if settings.first_boot and late is not (FIRST_BOOT_NETWORK in facts.prepared):
        text = text_of(FETCHING[FIRST_BOOT_NETWORK]) if late else "# nothing is fetched at the first boot\n"
        changes.append(CreateFiles({FIRST_BOOT_NETWORK: text}))
    if facts.selinux.file_contexts and "setfiles" in facts.commands and (changes or facts.selinux.mislabelled):
        changes.append(LabelTree(facts.selinux.file_contexts))
    return changes


def why_restart(facts: Facts) -> str:
    """Why auditd has to be (re)started, or ''."""
    audit = facts.audit
    if audit.daemon is None:
        return "auditd is not running"
    if facts.privileged and audit.status and audit.status.get("pid") != audit.daemon.pid:
        return f"auditd runs as pid {audit.daemon.pid}, but the kernel does not send it events"
    # the clock may have been set since: the start is known by the present clock and by the one of then
    if audit.conf_since > min(audit.daemon.started, audit.pid_file):
        return "auditd started before auditd.conf last changed"
    if restart_refused(facts):
        return "auditd is older than the agent's plugin file: the restart that the agent asked for did not happen"
    if _plugin_expected(facts) and facts.agent.plugin is None:
        return "the dispatcher has given up on the agent's plugin"
    return ""


def _plugin_expected(facts: Facts) -> bool:
    agent = facts.agent
    return bool(agent.edr and agent.registration and not agent.registration_problem)


def _direct(facts: Facts, settings: Settings) -> Finding:
    audit = facts.audit
    if audit.daemon is None and not audit.service.enabled:
        return Finding(ID, TITLE, Status.OK, "direct mode: auditd is stopped and disabled")
    if settings.mode != "direct":
        return Finding(
            ID, TITLE, Status.BLOCKED, f"the agent is set to {DISPATCHER_KEY}=0, which needs auditd stopped",
            (f"{facts.agent.setting_line}: {DISPATCHER_KEY}=0",),
            remedy="either have the agent use the dispatcher"
            f" ({USE_DISPATCHER}; it restarts the agent),"
            " or agree to stop auditd, which ends the host's audit log: fim-bootstrap apply --mode direct",
        )  # fmt: skip
    change = StopService("auditd", audit.daemon.pid if audit.daemon else 0, audit.service.refuses_stop)
    return Finding(ID, TITLE, Status.CHANGE, "direct mode: auditd has to be stopped and disabled", changes=(change,))
