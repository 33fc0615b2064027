"""Audit rules let FIM work: none freezes them, none discards every event.

Vendor, prerequisites 6 and 7. `-e 2` makes the kernel refuse new rules until the next boot; `-a never,task`
has every new process skip all rules (auditctl(8), "DISABLED BY DEFAULT"). The page names two files; the
lines mostly stand in others, and in the kernel. `-f 2` (panic) is an administrator's decision: it stays; so is every
other rule that silences FIM: taking it out is theirs to decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import written_by
from ..audit import auditctl, rules_d, silence
from ..audit.rules_d import Judged
from ..audit.silence import Silence
from ..audit.switched_on import way
from ..changes.files import EditFile
from ..changes.rules import DeleteRule
from ..model import DISABLED, LOCKED, AuditFacts, Change, Facts, Finding, Profile, Settings, Status

ID = "rules"
TITLE = "audit rules are mutable and let events through"
BACKLOG = 8192  # the agent's own default for AuditBacklogLimit
KERNEL = "kernel"
OUTSIDE = ("look for units, drop-ins and scripts that run auditctl, and for `immutable` in auditbeat or "
           "elastic-agent")  # fmt: skip
RECORDS, SILENT = ("exit", "always"), ("exit", "never")
Silencer = tuple[str, str, Silence]  # where it stands, the rule, and what it takes


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
    note = f"fim-bootstrap {facts.today}: {rules_d.WHY}"
    blocking = rules_d.blocking(audit.rules, audit.joins)
    locking = {span.path for line in blocking if line.rule.locks for span in line.spans}
    for file, after in zip(audit.rules, rules_d.unblocked(audit.rules, note)):
        if file.problem and (after != file.text or not file.text):
            status, remedy = (
                (Status.BLOCKED, "put a regular file there") if facts.privileged else (Status.WAITING, "run as root")
            )
            return Finding(ID, TITLE, status, f"{file.path}: {file.problem}", remedy=f"{remedy}, then run again")
        if after != file.text:
            why = "comment out what freezes or silences the rules"
            changes.append(EditFile(file.path, file.text, after, why, file.mtime, unlocks=file.path in locking))
    for line in blocking:
        asleep = f" (not in force yet: {line.why})" if line.rule.inert else ""
        evidence.append(f"{line.place}: {line.rule.text.strip()}{asleep}")
    kernel = audit.status or {}
    lines = rules_d.judged(audit.rules, audit.joins)
    silencers = _silencers(facts, lines)
    warnings = _warnings(facts, lines, silencers)
    # a frozen kernel loses its rules at the boot
    if silent := [one for one in silencers if one[2].total and (one[0], kernel.get("enabled")) != (KERNEL, LOCKED)]:
        ways = dict.fromkeys(_way_out(where, text) for where, text, _ in silent)
        return Finding(
            ID, TITLE, Status.BLOCKED, "a rule of yours leaves FIM no event",
            (*(f"{where}: {text}: takes {one.what}" for where, text, one in silent), *evidence), warnings=warnings,
            remedy="; ".join((*ways, "or prepare the rest with --skip rules")),
        )  # fmt: skip
    if kernel.get("enabled") != LOCKED and "-a never,task" in (audit.live_rules or ()):
        evidence.append("kernel: -a never,task")
        changes.append(DeleteRule())
        warnings += ("processes started until now stay unaudited until they are restarted, or the host is",)
    if changes:
        summary = "lines that freeze or silence the audit rules"
        return Finding(ID, TITLE, Status.CHANGE, summary, tuple(evidence), tuple(changes), warnings=warnings)
    if kernel.get("enabled") == LOCKED:
        return _locked(audit, warnings)
    if audit.status and kernel.get("enabled") == DISABLED and audit.daemon:
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
        remedy="plan a reboot, in batches and with other maintenance; nothing else unlocks the kernel; "
        f"if it is locked again afterwards, no rule file does it: {OUTSIDE}",
    )  # fmt: skip


def _warnings(facts: Facts, lines: Sequence[Judged], silencers: Sequence[Silencer]) -> tuple[str, ...]:
    audit, found = facts.audit, []
    status = audit.status or {}
    for line in lines:
        rule, said = line.rule, f"{line.place}: {line.rule.text.strip()}"
        if rule.panic:
            found.append(f"{line.place}: failure mode 2: the kernel panics when audit fails")
        if rule.stops:
            glued = f"; {line.spans[0].path} does not end in a newline" if len(line.spans) > 1 else ""
            found.append(f"{said}: {line.why}: rules below it are not loaded{glued}")
        elif rule.inert and not rule.blocks:
            found.append(f"{said}: has no effect as written: {line.why}")
    found += [f"{where}: {text}: blinds FIM for {one.what}" for where, text, one in silencers if not one.total]
    for line in rules_d.overruled(audit.rules, audit.joins):
        found.append(f"{line.place}: {line.rule.text.strip()}: has no effect as written: {line.why}")
    if not facts.environment.live:
        found += [f"may lock the rules of the system that boots from this tree: {by}" for by in audit.locked_by]
    for file in audit.rules:
        if writer := written_by.of(file.path, file.text, facts.os):
            found.append(f"{file.path} is generated by {writer}, or what is changed here comes back")
    if audit.status and not audit.may_cause_event:
        found.append("failure 2: the kernel panics when audit fails; no test event is ever caused here")
    if 0 < status.get("backlog_limit", 0) < BACKLOG:
        found.append(f"backlog_limit {status['backlog_limit']} is low for FIM; the agent asks for {BACKLOG}")
    if audit.switched_on is not None:
        found.append(
            f"auditing was switched on {audit.switched_on:.0f} s after the boot: what ran before is not audited until"
            " it is restarted; a reboot is advised, none is required, with audit=1 on the boot command line"
            f" ({way(facts.manager)})"
        )
    if status.get("lost", 0) > 0:
        found.append(f"{status['lost']} audit events were lost since boot")
    return tuple(found)


def _silencers(facts: Facts, lines: Sequence[Judged]) -> list[Silencer]:
    """Rules that take something from the log: of the files; of the kernel, where no file has the same."""
    rules = [(line.place, line.rule) for line in lines]
    known = {silence.of(rule) for _, rule in rules}
    live = [rule for text in facts.audit.live_rules or () for rule in auditctl.parse(text)]
    last = max((number for number, rule in enumerate(live) if rule.adds[:1] == (RECORDS,)), default=-1)
    for number, rule in enumerate(live):
        # an agent that runs has added its rules: a later one of the same list does not reach them
        late = facts.agent.edr is not None and -1 < last < number and rule.adds[:1] == (SILENT,)
        if silence.of(rule) not in known and not late:
            rules.append((KERNEL, rule))
    return [(where, rule.text.strip(), found) for where, rule in rules if (found := silence.of(rule))]


def _way_out(where: str, text: str) -> str:
    if where != KERNEL:
        return f"take out {where} `{text}` and load the rules anew (augenrules --load)"
    import shlex

    return f"auditctl -d {' '.join(map(shlex.quote, text.split()[1:]))}"
