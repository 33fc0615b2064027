"""Audit rules let FIM work: none freezes them, none discards every event.

Vendor, prerequisites 6 and 7. `-e 2` makes the kernel refuse new rules until the next boot; `-a never,task`
has every new process skip all rules (auditctl(8), "DISABLED BY DEFAULT"). The page names two files; the
lines mostly stand in others, and in the kernel. `-f 2` (panic) is an administrator's decision: it stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .. import audit_rules
from ..changes import DeleteRule, EditFile, RestartService
from ..facts import AGENT_SERVICE
from ..host import File
from ..model import Change, Facts, Finding, Profile, Settings, Status

ID = "rules"
TITLE = "audit rules are mutable and let events through"
IMMUTABLE = 2
DISABLED = 0
BACKLOG = 8192  # the agent's own default for AuditBacklogLimit
WHY = "FIM needs audit rules without this line"
MANAGERS = ("ansible", "puppet", "chef", "salt", "scap", "managed by")


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the rule files as auditctl loads them, then the kernel."""
    audit = facts.audit
    if audit.generation == 0:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    asked = facts.environment.live and facts.privileged and "auditctl" in facts.commands
    if asked and (audit.status is None or audit.live_rules is None):
        return Finding(
            ID, TITLE, Status.BLOCKED, "auditctl does not say what the kernel's audit state is",
            remedy="see what auditctl -s and auditctl -l say; is this kernel built with audit?",
        )  # fmt: skip
    changes: list[Change] = []
    evidence: list[str] = []
    note = f"fim-bootstrap {facts.today}: {WHY}"
    for file in audit.rules:
        after = audit_rules.unblocked(file.text, note)
        if file.problem and (after != file.text or not file.text):
            status, remedy = (Status.BLOCKED, "put a regular file there") if facts.privileged else (
                Status.WAITING, "run as root")
            return Finding(ID, TITLE, status, f"{file.path}: {file.problem}", remedy=f"{remedy}, then run again")
        if after == file.text:
            continue
        for rule in audit_rules.parse(file.text):
            if rule.locks or rule.never_task or rule.dormant:
                asleep = f" (not in force yet: {rule.inert})" if rule.dormant else ""
                evidence.append(f"{file.path}:{rule.number}: {rule.text.strip()}{asleep}")
        why = "comment out what freezes or silences the rules"
        changes.append(EditFile(file.path, file.text, after, why, file.mtime))
    kernel = audit.status or {}
    warnings = _warnings(facts)
    if kernel.get("enabled") != IMMUTABLE and "-a never,task" in (audit.live_rules or ()):
        evidence.append("kernel: -a never,task")
        changes.append(DeleteRule())
        if facts.agent.main:
            changes.append(RestartService(AGENT_SERVICE, AGENT_SERVICE, facts.agent.main.pid))
        warnings += ("processes started until now stay unaudited until they are restarted, or the host is",)
    if changes:
        summary = "lines that freeze or silence the audit rules"
        return Finding(ID, TITLE, Status.CHANGE, summary, tuple(evidence), tuple(changes), warnings=warnings)
    if kernel.get("enabled") == IMMUTABLE:
        return Finding(
            ID, TITLE, Status.REBOOT, "right on disk; the kernel's rules stay frozen until the next boot",
            ("kernel: enabled 2", *_taken_out(audit.rules)), warnings=warnings,
            remedy="plan a reboot, in batches and with other maintenance; nothing else unlocks the kernel",
        )  # fmt: skip
    if audit.status and kernel.get("enabled") == DISABLED and audit.daemon:
        return Finding(
            ID, TITLE, Status.BLOCKED, "auditing is disabled in the kernel (enabled 0)", ("kernel: enabled 0",),
            remedy="remove audit=0 from the kernel command line, or `-e 0` from the rules; auditctl -e 1 until then",
        )  # fmt: skip
    where = "on disk and in the kernel" if audit.status else "on disk; the kernel was not asked"
    return Finding(ID, TITLE, Status.OK, f"nothing freezes or silences the rules, {where}", warnings=warnings)


def _taken_out(files: Sequence[File]) -> Iterator[str]:
    """The lines that froze the kernel until the next boot, where it was a run of this tool that took them out."""
    for file in files:
        for number, text in enumerate(file.text.splitlines(), 1):
            if match := re.match(rf"# fim-bootstrap \S+: {WHY}: (.*-e *2.*)", text):
                yield f"{file.path}:{number}: {match[1]}"


def _warnings(facts: Facts) -> tuple[str, ...]:
    audit, found = facts.audit, []
    status = audit.status or {}
    for file in audit.rules:
        for rule in audit_rules.parse(file.text):
            if rule.task_fields:
                found.append(f"{file.path}:{rule.number}: {rule.text.strip()}: blinds FIM for some processes")
            if rule.panic:
                found.append(f"{file.path}:{rule.number}: failure mode 2: the kernel panics when audit fails")
            if rule.inert and not rule.dormant:
                found.append(f"{file.path}:{rule.number}: {rule.text.strip()}: has no effect as written: {rule.inert}")
            elif rule.aborts:
                found.append(f"{file.path}:{rule.number}: {rule.aborts}: rules below it are not loaded")
        header = file.text[:600].lower()
        if any(word in header for word in MANAGERS):
            found.append(f"{file.path} looks generated: change it at its source too, or it comes back")
    if audit.status and not audit.may_cause_event:
        found.append("failure 2: the kernel panics when audit fails; no test event is ever caused here")
    if 0 < status.get("backlog_limit", 0) < BACKLOG:
        found.append(f"backlog_limit {status['backlog_limit']} is low for FIM; the agent asks for {BACKLOG}")
    if status.get("lost", 0) > 0:
        found.append(f"{status['lost']} audit events were lost since boot")
    return tuple(found)
