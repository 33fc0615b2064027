"""auditd runs, with the configuration that stands on the disk; or it is stopped, if the agent wants that.

Vendor, prerequisites 2 and 6: with UseAuditDispatcher=1 auditd must run, with 0 "it is mandatory to have the
auditd service in stopped state". Stopping it ends the host's audit log, so that is done only under an
explicit --mode direct. A restart is needed if, and only if, the daemon started before its
configuration last changed: a run that was interrupted between edit and restart heals on the next one.
"""

from __future__ import annotations

from ..changes import CreateFiles, EnableService, LabelTree, RestartService, StopService
from ..facts import FETCHING, FIRST_BOOT, FIRST_BOOT_NETWORK, GUARD_UNITS, PRESET, PROGRAM
from ..model import Change, Environment, Facts, Finding, Profile, Settings, Status
from ..resources import text_of
from . import packages

ID = "auditd"
TITLE = "auditd runs with its present configuration"
FIRST_BOOT_UNIT = "fim-bootstrap-firstboot.service"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the service by the mode that the agent is configured for, or that was asked for."""
    audit = facts.audit
    late = _left_to_the_first_boot(facts, profile, settings)
    if audit.generation == 0 and not late:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    if settings.mode_for(facts) == "direct":
        return _direct(facts, settings)
    if audit.owner and audit.owner != "auditd":
        return Finding(
            ID, TITLE, Status.BLOCKED, f"{audit.owner} holds the kernel's audit connection, so auditd cannot have it",
            remedy=f"configure {audit.owner} not to take the audit socket (multicast, or leave it to auditd)",
        )  # fmt: skip
    changes: list[Change] = [] if audit.service.enabled or not audit.generation else [EnableService("auditd")]
    if facts.environment is Environment.OFFLINE:
        changes = _prepare(facts, settings, changes, late)
    if not facts.environment.live:
        if changes:
            return Finding(ID, TITLE, Status.CHANGE, "not all is prepared for the first boot", changes=tuple(changes))
        return Finding(ID, TITLE, Status.OK, "auditd is enabled; it starts when this tree boots")
    reason = why_restart(facts)
    if reason:
        changes.append(
            RestartService(
                "auditd", "auditd", audit.daemon.pid if audit.daemon else 0, audit.service.refuses_stop,
                ("edr-plugin",) if _plugin_expected(facts) else (), facts.audit.may_cause_event,
            )
        )  # fmt: skip
    if changes:
        summary = reason or "auditd is not enabled at boot"
        return Finding(ID, TITLE, Status.CHANGE, summary, changes=tuple(changes))
    pid = audit.daemon.pid if audit.daemon else 0
    booting = " (the system is still booting)" if facts.environment is Environment.BOOTING else ""
    return Finding(ID, TITLE, Status.OK, f"auditd runs as pid {pid}, enabled at boot{booting}")


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
        texts = {path: text_of(name) for path, name in FIRST_BOOT.items() if path in missing}
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
            ID, TITLE, Status.BLOCKED, "the agent is set to UseAuditDispatcher=0, which needs auditd stopped",
            (f"{facts.agent.setting_line}: UseAuditDispatcher=0",),
            remedy="either have the agent use the dispatcher"
            " (qualys-cloud-agent.sh UseAuditDispatcher=1; it restarts the agent),"
            " or agree to stop auditd, which ends the host's audit log: fim-bootstrap apply --mode direct",
        )  # fmt: skip
    change = StopService("auditd", audit.daemon.pid if audit.daemon else 0, audit.service.refuses_stop)
    return Finding(ID, TITLE, Status.CHANGE, "direct mode: auditd has to be stopped and disabled", changes=(change,))
