"""Audit rules let FIM work: none freezes them, none discards every event.

Vendor, prerequisites 6 and 7. `-e 2` makes the kernel refuse new rules until the next boot; `-a never,task`
has every new process skip all rules (auditctl(8), "DISABLED BY DEFAULT"). The page names two files; the
lines mostly stand in others, and in the kernel. `-f 2` (panic) is an administrator's decision: it stays; so is every
other rule that silences FIM: taking it out is theirs to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..audit import rule_warnings, rules_d, silence
from ..audit.silence import KERNEL, Silencer
from ..changes.rules import DeleteRule, unblocking
from ..model import DISABLED, LOCKED, AuditFacts, Facts, Finding, Profile, Settings, Status

ID = "rules"
TITLE = "audit rules are mutable and let events through"
OUTSIDE = ("look for units, drop-ins and scripts that run auditctl, and for `immutable` in auditbeat or "
           "elastic-agent")  # fmt: skip


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the rule files as auditctl loads them, then the kernel."""
    if unasked := _unasked(facts):
        return unasked
    audit = facts.audit
    mended = rules_d.unblocked(audit.rules, f"fim-bootstrap {facts.today}: {rules_d.WHY}")
    if unread := _unread(facts, mended):
        return unread
    lines = rules_d.judged(audit.rules, audit.joins)
    silencers = silence.silencers(facts, lines)
    warnings = rule_warnings.of(facts, lines, silencers)
    evidence, changes = unblocking(audit.rules, audit.joins, mended)
    locked = audit.enabled == LOCKED
    # a frozen kernel loses its rules at the boot
    if silent := [one for one in silencers if one[2].total and not (locked and one[0] == KERNEL)]:
        return _silenced(silent, evidence, warnings)
    if not locked and "-a never,task" in (audit.live_rules or ()):
        evidence, changes = (*evidence, "kernel: -a never,task"), (*changes, DeleteRule())
        warnings += ("processes started until now stay unaudited until they are restarted, or the host is",)
    if changes:
        summary = "lines that freeze or silence the audit rules"
        return Finding(ID, TITLE, Status.CHANGE, summary, evidence, changes, warnings=warnings)
    return _locked(audit, warnings) if locked else _let_through(audit, warnings)


def _unasked(facts: Facts) -> Optional[Finding]:
    """There are no rules yet, or the kernel's audit state is not to be had."""
    audit = facts.audit
    if audit.generation == 0:
        return Finding(ID, TITLE, Status.WAITING, "audit is not installed yet")
    asked = facts.environment.live and facts.privileged and "auditctl" in facts.commands
    if asked and (audit.status is None or audit.live_rules is None):
        return Finding(
            ID, TITLE, Status.BLOCKED, "auditctl does not say what the kernel's audit state is",
            remedy="see what auditctl -s and auditctl -l say; is this kernel built with audit?",
        )  # fmt: skip
    return None


def _unread(facts: Facts, mended: Sequence[str]) -> Optional[Finding]:
    """A rule file cannot be read, or has to be edited and may not be replaced."""
    for file, after in zip(facts.audit.rules, mended):
        if file.problem and (after != file.text or not file.text):
            status, remedy = (
                (Status.BLOCKED, "put a regular file there") if facts.privileged else (Status.WAITING, "run as root")
            )
            return Finding(ID, TITLE, status, f"{file.path}: {file.problem}", remedy=f"{remedy}, then run again")
    return None


def _silenced(silent: Sequence[Silencer], evidence: Sequence[str], warnings: tuple[str, ...]) -> Finding:
    """Rules that leave FIM no event, which are not ours to take out."""
    ways = dict.fromkeys(silence.way_out(where, text) for where, text, _ in silent)
    return Finding(
        ID, TITLE, Status.BLOCKED, "a rule of yours leaves FIM no event",
        (*(f"{where}: {text}: takes {one.what}" for where, text, one in silent), *evidence), warnings=warnings,
        remedy="; ".join((*ways, "or prepare the rest with --skip rules")),
    )  # fmt: skip


def _let_through(audit: AuditFacts, warnings: tuple[str, ...]) -> Finding:
    if audit.enabled == DISABLED and audit.daemon:
        return Finding(
            ID, TITLE, Status.BLOCKED, "auditing is disabled in the kernel (enabled 0)", ("kernel: enabled 0",),
            remedy="remove audit=0 from the kernel command line, or `-e 0` from the rules; auditctl -e 1 until then",
        )  # fmt: skip
    where = "on disk and in the kernel" if audit.status else "on disk; the kernel was not asked"
    return Finding(ID, TITLE, Status.OK, f"nothing freezes or silences the rules, {where}", warnings=warnings)


def _locked(audit: AuditFacts, warnings: tuple[str, ...]) -> Finding:
    """The rule files are clean, and the kernel is locked: a boot unlocks it, unless one has been made for that."""
    evidence = ("kernel: enabled 2", *rules_d.taken_out(audit.rules))
    if audit.reboot_spent:
        return Finding(
            ID, TITLE, Status.BLOCKED, "right on disk, and locked again since the reboot: no rule file does it",
            (*evidence, *(f"may lock it: {by}" for by in audit.locked_by)), warnings=warnings,
            remedy=f"{OUTSIDE}; mend that, then reboot; where you took a locking line out yourself since this boot, "
            "reboot once; or prepare the rest with --skip rules",
        )  # fmt: skip
    return Finding(
        ID, TITLE, Status.REBOOT, "right on disk; the kernel's rules stay frozen until the next boot",
        (*evidence, *(f"may lock it, too: {by}" for by in audit.locked_by)), warnings=warnings,
        remedy="plan a reboot, in batches and with other maintenance: nothing else unlocks the kernel\n"
        f"if it is locked again afterwards, no rule file does it: {OUTSIDE}",
    )  # fmt: skip
