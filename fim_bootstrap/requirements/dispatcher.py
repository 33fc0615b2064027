"""The dispatcher is on, and it can start the agent's plugin.

Vendor, prerequisite 4: auditd.conf must have `dispatcher = /sbin/audispd` uncommented. That starts the
dispatcher of audit 2.x, where auditd does not come up at all if the target is missing or has another mode.
audit 3 and later dispatch by themselves and ignore the line with a warning (audit-userspace 000a0547).
So the line is one question and a working dispatcher another: a plugin directory that is there, and a
plugin file that the loader accepts (auditd-plugins(5)).
"""

from __future__ import annotations

import posixpath
import stat
from typing import Optional

from ..audit import auditd_conf, plugin_file
from ..changes.files import EditAuditdConf
from ..facts.audit import AUDISPD_CONF, AUDITD_CONF, DISPATCHER, PLUGIN_DIRS
from ..host.reader import Stat, too_large
from ..model import Facts, Finding, Profile, Settings, Status

ID = "dispatcher"
TITLE = "the audit dispatcher is on and can start the plugin"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge auditd.conf as auditd reads it, then the plugin as the loader reads it."""
    audit = facts.audit
    if audit.generation == 0:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    if settings.mode_for(facts) == "direct":
        return Finding(ID, TITLE, Status.SKIPPED, "direct mode: no dispatcher is used")
    if audit.conf and audit.conf.problem and not facts.privileged:
        return Finding(ID, TITLE, Status.WAITING, f"{AUDITD_CONF}: {audit.conf.problem}", remedy="run as root")
    if audit.conf is None:
        return _blocked("auditd.conf is missing", "reinstall the audit package; a file made up here would be rejected")
    if audit.conf.problem:
        return _blocked(f"{AUDITD_CONF}: {audit.conf.problem}", "put a regular file there: auditd accepts nothing else")
    text = audit.conf.text
    faults = auditd_conf.faults(text, audit.generation, audit.dialect)
    value = auditd_conf.dispatcher_of(text)
    if value and value.rpartition("/")[2] != "audispd":
        return _blocked(f"dispatcher = {value} belongs to another product", "remove that product, or its line")
    left = auditd_conf.lasting_faults(text, audit.generation, audit.dialect)
    # what auditd itself has taken is no fault, whatever is known about it here
    if left and not (audit.preflight and audit.preflight.accepted):
        evidence = tuple(_said(line) for line in left)
        remedy = f"mend {AUDITD_CONF} line {left[0].number}; auditd will not start with it (exit status 6)"
        return Finding(ID, TITLE, Status.BLOCKED, f"auditd refuses {AUDITD_CONF}", evidence, remedy=remedy)
    if audit.generation == 2 and (problem := _unfit(audit.audispd)):
        named = value or DISPATCHER
        return _blocked(f"{named}: {problem}; auditd would not start with it", "reinstall the audit package")
    if audit.plugins and too_large(last := audit.plugins[-1]):  # what comes after it was not looked at
        return _blocked(f"{last.path}: {last.problem}", f"clear {audit.plugin_dir} out")
    unwanted = audit.generation == 3 and settings.dispatcher_line == "auto" and not faults
    after = text if unwanted else auditd_conf.with_dispatcher(text, DISPATCHER)
    if after != text:
        inert = audit.generation == 3
        why = f"dispatcher = {DISPATCHER}" + (" (the agent's vendor asks for it; audit 3 ignores it)" if inert else "")
        change = EditAuditdConf(AUDITD_CONF, text, after, why, audit.conf.mtime, inert)
        summary = "the dispatcher line is not in force"
        return Finding(ID, TITLE, Status.CHANGE, summary, tuple(_said(line) for line in faults), (change,))
    if moved := _moved(facts):
        return moved
    if not audit.plugin_dir_present:
        said = f"the plugin directory {audit.plugin_dir} is missing, or none"
        return _blocked(said, "reinstall the audit package")
    how = f"audit {audit.generation}.x dispatches" + ("" if audit.generation == 2 else " by itself")
    return Finding(ID, TITLE, Status.OK, f"{how}; plugins in {audit.plugin_dir}", warnings=_warnings(facts))


def _moved(facts: Facts) -> Optional[Finding]:
    """The agent writes its plugin file to the standard folder at each start, whatever plugin_dir says."""
    audit, seen = facts.audit, facts.agent
    standard = PLUGIN_DIRS[audit.generation]
    if posixpath.normpath(audit.plugin_dir) == standard or (seen.registration and not seen.registration_problem):
        return None
    conf = AUDITD_CONF if audit.generation == 3 else AUDISPD_CONF
    return Finding(
        ID, TITLE, Status.BLOCKED, f"the agent registers its plugin in {standard}, which is not read",
        (f"{conf}: plugin_dir = {audit.plugin_dir}",),
        remedy=f"take plugin_dir out of {conf}, and bring the plugin files that are needed to {standard}",
    )  # fmt: skip


def _blocked(summary: str, remedy: str) -> Finding:
    return Finding(ID, TITLE, Status.BLOCKED, summary, remedy=remedy)


def _said(line: auditd_conf.Line) -> str:
    return f"{AUDITD_CONF}:{line.number}: {line.text.strip()!r}: {line.problem}"


def _unfit(target: Optional[Stat]) -> str:
    if target is None:
        return "is missing"
    if target.uid != 0:
        return f"belongs to uid {target.uid}, not root"
    mode = stat.S_IMODE(target.mode)
    return "" if mode in (0o750, 0o755) else f"has mode {mode:04o}; only 0750 and 0755 are accepted"


def _warnings(facts: Facts) -> tuple[str, ...]:
    agent, found = facts.agent, []
    if agent.registration_problem:
        found.append(f"the plugin is registered but will not start: {agent.registration_problem}")
    by_group = auditd_conf.HALT not in facts.audit.dialect  # before audit 4.2
    if agent.plugin_file and (problem := plugin_file.unfit(agent.plugin_file, by_group)):
        found.append(f"{agent.plugin_file.path} {problem}: the dispatcher skips it")
    return tuple(found)
