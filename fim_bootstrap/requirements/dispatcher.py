"""The dispatcher is on, and it can start the agent's plugin.

Vendor, prerequisite 4: auditd.conf must have `dispatcher = /sbin/audispd` uncommented. That starts the
dispatcher of audit 2.x, where auditd does not come up at all if the target is missing or has another mode.
audit 3 and later dispatch by themselves and ignore the line with a warning (audit-userspace 000a0547).
So the line is one question and a working dispatcher another: a plugin directory that is there, and a
plugin file that the loader accepts (auditd-plugins(5)).
"""

from __future__ import annotations

import posixpath
from typing import Optional

from ..audit import auditd_conf, plugin_file
from ..changes.files import EditAuditdConf
from ..facts.audit import AUDISPD_CONF, DISPATCHER, PLUGIN_DIRS
from ..host.reader import too_large
from ..model import Facts, Finding, Profile, Settings, Status

ID = "dispatcher"
TITLE = "the audit dispatcher is on and can start the plugin"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge auditd.conf as auditd reads it, then the plugin as the loader reads it."""
    blocked = _unread(facts, settings) or _refused(facts) or _beyond(facts)
    return blocked or _line(facts, settings) or _moved(facts) or _dispatching(facts)


def _unread(facts: Facts, settings: Settings) -> Optional[Finding]:
    """There is nothing to judge, or it cannot be read."""
    conf = facts.audit.conf
    if facts.audit.generation == 0:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    if settings.mode_for(facts) == "direct":
        return Finding(ID, TITLE, Status.SKIPPED, "direct mode: no dispatcher is used")
    if conf is None:
        return _blocked("auditd.conf is missing", "reinstall the audit package; a file made up here would be rejected")
    problem = f"{auditd_conf.PATH}: {conf.problem}"
    if conf.problem and not facts.privileged:
        return Finding(ID, TITLE, Status.WAITING, problem, remedy="run as root")
    return _blocked(problem, "put a regular file there: auditd accepts nothing else") if conf.problem else None


def _refused(facts: Facts) -> Optional[Finding]:
    """auditd would not start with this file, whatever becomes of the dispatcher line."""
    audit, text = facts.audit, facts.audit.conf_text
    value = auditd_conf.dispatcher_of(text)
    if value and value.rpartition("/")[2] != "audispd":
        return _blocked(f"dispatcher = {value} belongs to another product", "remove that product, or its line")
    lasting = auditd_conf.lasting_faults(text, audit.generation, audit.dialect)
    # what auditd itself has taken is no fault, whatever is known about it here
    if lasting and not (audit.preflight and audit.preflight.accepted):
        evidence = tuple(_faulty(line) for line in lasting)
        remedy = f"mend {auditd_conf.PATH} line {lasting[0].number}; auditd will not start with it (exit status 6)"
        return Finding(ID, TITLE, Status.BLOCKED, f"auditd refuses {auditd_conf.PATH}", evidence, remedy=remedy)
    if audit.generation == 2 and (problem := plugin_file.unfit_audispd(audit.audispd)):
        named = value or DISPATCHER
        return _blocked(f"{named}: {problem}; auditd would not start with it", "reinstall the audit package")
    return None


def _beyond(facts: Facts) -> Optional[Finding]:
    """There are more plugin files than are looked at, or one is too large for it."""
    last = facts.audit.plugins[-1:]
    if not last or not too_large(last[0]):
        return None
    return _blocked(f"{last[0].path}: {last[0].problem}", f"clear {facts.audit.plugin_dir} out")


def _line(facts: Facts, settings: Settings) -> Optional[Finding]:
    """The dispatcher line has to be written."""
    audit, text = facts.audit, facts.audit.conf_text
    faults = auditd_conf.faults(text, audit.generation, audit.dialect)
    inert = audit.generation == 3
    unwanted = inert and settings.dispatcher_line == "auto" and not faults
    after = text if unwanted else auditd_conf.with_dispatcher(text, DISPATCHER)
    if after == text:
        return None
    why = f"dispatcher = {DISPATCHER}" + (" (the agent's vendor asks for it; audit 3 ignores it)" if inert else "")
    change = EditAuditdConf(auditd_conf.PATH, text, after, why, audit.conf.mtime if audit.conf else 0.0, inert)
    evidence = tuple(_faulty(line) for line in faults)
    return Finding(ID, TITLE, Status.CHANGE, "the dispatcher line is not in force", evidence, (change,))


def _dispatching(facts: Facts) -> Finding:
    audit = facts.audit
    if not audit.plugin_dir_present:
        said = f"the plugin directory {audit.plugin_dir} is missing, or none"
        return _blocked(said, "reinstall the audit package")
    warnings = plugin_file.warnings(facts.agent, by_group=auditd_conf.HALT not in audit.dialect)
    how = f"audit {audit.generation}.x dispatches" + ("" if audit.generation == 2 else " by itself")
    return Finding(ID, TITLE, Status.OK, f"{how}; plugins in {audit.plugin_dir}", warnings=warnings)


def _moved(facts: Facts) -> Optional[Finding]:
    """The agent writes its plugin file to the standard folder at each start, whatever plugin_dir says."""
    audit, seen = facts.audit, facts.agent
    standard = PLUGIN_DIRS[audit.generation]
    if posixpath.normpath(audit.plugin_dir) == standard or (seen.registration and not seen.registration_problem):
        return None
    conf = auditd_conf.PATH if audit.generation == 3 else AUDISPD_CONF
    return Finding(
        ID, TITLE, Status.BLOCKED, f"the agent registers its plugin in {standard}, which is not read",
        (f"{conf}: plugin_dir = {audit.plugin_dir}",),
        remedy=f"take plugin_dir out of {conf}, and bring the plugin files that are needed to {standard}",
    )  # fmt: skip


def _blocked(summary: str, remedy: str) -> Finding:
    return Finding(ID, TITLE, Status.BLOCKED, summary, remedy=remedy)


def _faulty(line: auditd_conf.Line) -> str:
    return f"{auditd_conf.PATH}:{line.number}: {line.text.strip()!r}: {line.problem}"
