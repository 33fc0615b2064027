"""One verdict, and the document that says it (schemas/report-1.json); screen.py shows that to a person."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from . import __version__, chain, consequences, expected, written_by
from .again import PROGRAM, Again
from .agent import state
from .engine import Outcome
from .errors import Blocked, BootstrapError, NeedsRoot
from .managers.rows import MANAGERS
from .model import LOCKED, Facts, Finding, Hop, Profile, Settings, Status
from .redact import one_line, redacted
from .requirements import delivery, guard, packages, rules

SCHEMA_VERSION = 1
TROUBLES = (Status.FAILED, Status.BLOCKED, Status.CHANGE, Status.WAITING)
ALONE = Again()


def unknown(findings: Sequence[Finding], facts: Facts) -> tuple[str, ...]:
    """The requirements of which it is not known whether they are met: something could not be looked at."""
    open_ended = (Status.OK, Status.REBOOT, Status.WAITING)
    return tuple(f.id for f in findings if f.id in facts.unknown and f.status in open_ended)


def verdict(findings: Sequence[Finding], unknown: Sequence[str] = ()) -> str:
    """The worst that is true of the host; what is not known to be met is not ready."""
    statuses = {f.status for f in findings if not consequences.only_a_reboot_is_missing(f, findings)}
    for status, word in (
        (Status.FAILED, "failed"),
        (Status.BLOCKED, "blocked"),
        (Status.CHANGE, "not-ready"),
        (Status.WAITING, "not-ready"),
        (Status.REBOOT, "ready-after-reboot"),
    ):
        if status in statuses or (unknown and status is Status.WAITING):
            return word
    return "ready"


def left_out(findings: Sequence[Finding], settings: Settings) -> dict[str, list[str]]:
    """What would have been looked at but for an option, by that option."""
    asked = [f.id for f in findings if (f.id != guard.ID or settings.guard) and (f.id != delivery.ID or settings.probe)]
    found: dict[str, list[str]] = {}
    for which in asked:
        if not settings.chosen(which):
            found.setdefault("--skip" if which in settings.skip else "--only", []).append(which)
    return found


def reboot_required(findings: Sequence[Finding]) -> bool:
    """Whether only a reboot brings the running kernel to what stands on the disk."""
    return any(finding.status is Status.REBOOT for finding in findings)


def reboot_after_apply(findings: Sequence[Finding], facts: Facts) -> bool:
    """Whether what apply would do takes effect only with a reboot after it."""
    due = {finding.id for finding in findings if finding.status is Status.CHANGE}
    unlocks = any(getattr(change, "unlocks", False) for finding in findings for change in finding.changes)
    frozen = (facts.audit.status or {}).get("enabled") == LOCKED and (unlocks or not facts.audit.reboot_spent)
    staged = facts.manager in MANAGERS and MANAGERS[facts.manager].staged
    return (rules.ID in due and frozen) or (packages.ID in due and staged)


def exit_code(command: str, outcome: Outcome, detailed: bool = False) -> int:
    """The documented exit status: an API, see README."""
    word = verdict(outcome.findings, unknown(outcome.findings, outcome.facts))
    if outcome.error or word in ("failed", "blocked"):
        status = outcome.error.exit_code if outcome.error else {"failed": 1, "blocked": 4}[word]
        # 4 says that nothing was changed; a blocker that shows only after a change is a step that failed
        return 1 if status == Blocked.exit_code and outcome.changed else status
    if command == "check":
        return 0 if word == "ready" else 3
    if not detailed:
        return 0
    return 3 if word != "ready" else 2 if outcome.changed else 0


def next_steps(command: str, outcome: Outcome, again: Again) -> list[str]:
    """What to type next, the first line first; none where the host is ready and nothing is left to prove."""
    findings, facts = outcome.findings, outcome.facts
    blind = unknown(findings, facts)
    if not_known(findings, blind):
        return [] if facts.privileged else [again.line("check", root=True)]
    by_status = {finding.status: finding.id for finding in reversed(findings)}
    if outcome.error or Status.FAILED in by_status:
        if command == "apply":
            return [again.line("apply"), again.line("revert")]
        return [again.line("apply") if Status.CHANGE in by_status else f"{PROGRAM} explain {by_status[Status.FAILED]}"]
    if Status.BLOCKED in by_status:
        return [f"{PROGRAM} explain {by_status[Status.BLOCKED]}", again.line("apply")]
    if Status.CHANGE in by_status:
        return [again.line("apply")]
    if Status.REBOOT in by_status:
        return [again.line("check")]
    if Status.WAITING in by_status:
        return [again.line("check") + " --wait"] if by_status[Status.WAITING] != delivery.ID else []
    unproven = outcome.done and facts.agent.edr and not facts.delivery
    return [again.line("check", root=True) + " --probe"] if unproven else []


def not_known(findings: Sequence[Finding], blind: Sequence[str]) -> bool:
    """Whether nothing is known to be wrong, and not all could be looked at."""
    return bool(blind) and not any(f.status in TROUBLES and f.id not in blind for f in findings)


def comment(outcome: Outcome, settings: Settings, following: Sequence[str] = ()) -> str:
    """The whole report in one line for a person, who sees nothing else of it in Salt where nothing changed.

    It ends with what to type next, the first of `following`, where the host is not ready.
    """
    parts = _judgement(outcome, settings)
    if outcome.done:
        parts.append(f"{len(outcome.done)} change{'s' * (len(outcome.done) > 1)} made")
    if reboot_required(outcome.findings):
        parts.append("reboot required")
    parts += [f"{f.id}: {f.summary}" for f in outcome.findings if f.status in TROUBLES]
    if following and exit_code("check", outcome):
        parts.append(f"-> {following[0]}")
    return one_line("; ".join(parts))


def _judgement(outcome: Outcome, settings: Settings) -> list[str]:
    """The verdict in words; how far was looked, and what to type where that was not far enough."""
    findings, facts = outcome.findings, outcome.facts
    blind = unknown(findings, facts)
    word = verdict(findings, blind)
    if not_known(findings, blind):
        who = "" if facts.privileged else " by this user"
        return [f"not known: {', '.join(blind)} cannot be looked at{who}"]
    skipped = [which for names in left_out(findings, settings).values() for which in names]
    if word != "ready" or not skipped:
        return [word.replace("-", " ")]
    return ["ready as far as looked at", f"skipped: {', '.join(skipped)}"]


def as_json(
    command: str, outcome: Outcome, profile: Optional[Profile], settings: Settings, seconds: float,
    again: Again = ALONE, status: Optional[int] = None,
) -> dict[str, Any]:  # fmt: skip
    """The report document; keys are only ever added. `status` is what the run will end with, if not `check`'s."""
    facts, findings = outcome.facts, outcome.findings
    blind = unknown(findings, facts)
    following = next_steps(command, outcome, again)
    line = comment(outcome, settings, following)
    judged = verdict(findings, blind)
    would = any(finding.status is Status.CHANGE for finding in findings)
    planned = [change for finding in findings for change in finding.changes]
    document: dict[str, Any] = redacted({
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "fim-bootstrap", "version": __version__},
        "command": command,
        "changed": outcome.changed or (command == "check" and would),
        "failed": judged in ("failed", "blocked"),
        "comment": line,
        "msg": line,
        "verdict": judged,
        "reboot_required": reboot_required(findings),
        "reboot_advised": facts.audit.switched_on is not None,
        "reboot_after_apply": command == "check" and reboot_after_apply(findings, facts),
        "time": _now(),
        "boot": facts.boot,
        "versions": {**facts.versions},
        "agent": state.condition(facts, settings),
        "host": {
            "hostname": facts.hostname,
            "machine": facts.machine,
            "os": {"id": facts.os.id, "version": facts.os.version, "name": facts.os.name},
            "profile": profile.id if profile else "",
            "root": settings.root or "/",
            "environment": facts.environment.value,
            "mode": settings.mode_for(facts),
            "selinux": facts.selinux.mode,
        },
        "requirements": [_requirement(finding) for finding in findings],
        "causes": [cause for finding in findings for cause in _causes(finding, facts)],
        "chain": [hop._asdict() for hop in _chain(facts, settings)],
        "expected": [_expected(finding) for finding in _foreseen(outcome, profile, settings)],
        "skipped_by_option": [finding.id for finding in findings if not settings.chosen(finding.id)],
        "done": outcome.account(),
        "diff": "".join(change.diff() for change in outcome.done or planned),
        "unseen": list(facts.unseen),
        "incomplete": [
            *(f"left out by {option}: {', '.join(names)}" for option, names in left_out(findings, settings).items()),
            *facts.unseen,
        ],
        "unknown": list(blind),
        "next": following,
        "exit_status": exit_code(command, outcome) if status is None else status,
        "seconds": round(seconds, 2),
    })  # fmt: skip
    return document


def _requirement(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "status": finding.status.value,
        "summary": finding.summary,
        "evidence": list(finding.evidence),
        "changes": [change.describe() for change in finding.changes],
        "diff": "".join(change.diff() for change in finding.changes),
        "remedy": finding.remedy,
        "waits_for": finding.waits_for,
        "warnings": list(finding.warnings),
        "more": f"{PROGRAM} explain {finding.id}",
    }


def _causes(finding: Finding, facts: Facts) -> list[dict[str, Any]]:
    """The lines that stand in the way, each with who writes that file, where the file tells it."""
    texts = {file.path: file.text for file in facts.audit.rules}
    return [
        {"id": finding.id, "file": cause.file, "line": cause.line, "text": cause.text,
         "source": str(written_by.of(cause.file, texts.get(cause.file, ""), facts.os) or "")}
        for cause in finding.causes if finding.status not in (Status.OK, Status.SKIPPED)
    ]  # fmt: skip


def _chain(facts: Facts, settings: Settings) -> Sequence[Hop]:
    """The way of the test event, or how the way looks without one."""
    return (facts.delivery.chain if facts.delivery else ()) or chain.of(facts, settings)


def _foreseen(outcome: Outcome, profile: Optional[Profile], settings: Settings) -> Sequence[Finding]:
    return expected.look(outcome.findings, outcome.facts, profile, settings) if profile else ()


def _expected(finding: Finding) -> dict[str, Any]:
    """What will follow the packages; without a diff, since a package may bring another text."""
    changes = [change.describe() for change in finding.changes]
    return {"id": finding.id, "summary": finding.summary, "changes": changes}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def of_error(
    command: str, error: BootstrapError, seconds: float, known: Mapping[str, Any] = {}
) -> dict[str, Any]:  # fmt: skip
    """The same document for a run that ended before anything could be judged; `known` is what is known all the same."""
    words = {69: "unsupported", 4: "blocked"}
    line = one_line(f"{error}" + (f" ({error.remedy})" if error.remedy else ""))
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "fim-bootstrap", "version": __version__},
        "command": command,
        "changed": False,
        "failed": True,
        "comment": line,
        "msg": line,
        "verdict": words.get(error.exit_code, "failed"),
        "reboot_required": False,
        "reboot_advised": False,
        "reboot_after_apply": False,
        "time": _now(),
        "host": {},
        "requirements": [],
        "causes": [],
        "chain": [],
        "expected": [],
        "skipped_by_option": [],
        "done": [],
        "diff": "",
        "unseen": [],
        "incomplete": [],
        "unknown": [],
        "next": [error.remedy] if isinstance(error, NeedsRoot) else [],
        "exit_status": error.exit_code,
        "seconds": round(seconds, 2),
        **known,
    }
