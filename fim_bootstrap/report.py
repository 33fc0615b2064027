"""One verdict, as text for a person and as JSON for a program (schemas/report-1.json)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional

from . import __version__, chain, consequences, written_by
from .dialects import MANAGERS
from .engine import Outcome
from .errors import Blocked, BootstrapError
from .model import LOCKED, Facts, Finding, Hop, Profile, Settings, Status
from .redact import SENTENCE, one_line, redacted, shown
from .requirements import agent, packages, rules

SCHEMA_VERSION = 1
SIGNS = {
    Status.OK: "ok", Status.CHANGE: "CHANGE", Status.REBOOT: "REBOOT", Status.WAITING: "waiting",
    Status.BLOCKED: "BLOCKED", Status.SKIPPED: "skipped", Status.FAILED: "FAILED",
}  # fmt: skip


def verdict(findings: Sequence[Finding]) -> str:
    """The worst that is true of the host."""
    statuses = {f.status for f in findings if not consequences.only_a_reboot_is_missing(f, findings)}
    for status, word in (
        (Status.FAILED, "failed"),
        (Status.BLOCKED, "blocked"),
        (Status.CHANGE, "not-ready"),
        (Status.WAITING, "not-ready"),
        (Status.REBOOT, "ready-after-reboot"),
    ):
        if status in statuses:
            return word
    return "ready"


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
    word = verdict(outcome.findings)
    if outcome.error or word in ("failed", "blocked"):
        status = outcome.error.exit_code if outcome.error else {"failed": 1, "blocked": 4}[word]
        # 4 says that nothing was changed; a blocker that shows only after a change is a step that failed
        return 1 if status == Blocked.exit_code and outcome.changed else status
    if command == "check":
        return 0 if word == "ready" else 3
    if not detailed:
        return 0
    return 3 if word != "ready" else 2 if outcome.changed else 0


def comment(outcome: Outcome) -> str:
    """The whole report in one line for a person; Salt shows nothing else when nothing changed."""
    word = verdict(outcome.findings)
    parts = [word.replace("-", " ")]
    if outcome.done:
        parts.append(f"{len(outcome.done)} change{'s' * (len(outcome.done) > 1)} made")
    if reboot_required(outcome.findings):
        parts.append("reboot required")
    troubles = (Status.FAILED, Status.BLOCKED, Status.CHANGE, Status.WAITING)
    parts += [f"{f.id}: {f.summary}" for f in outcome.findings if f.status in troubles]
    return one_line("; ".join(parts))


def as_json(
    command: str, outcome: Outcome, profile: Optional[Profile], settings: Settings, seconds: float
) -> dict[str, Any]:
    """The report document; keys are only ever added."""
    facts, findings = outcome.facts, outcome.findings
    line = comment(outcome)
    would = any(finding.status is Status.CHANGE for finding in findings)
    planned = [change for finding in findings for change in finding.changes]
    document: dict[str, Any] = redacted({
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "fim-bootstrap", "version": __version__},
        "command": command,
        "changed": outcome.changed or (command == "check" and would),
        "failed": verdict(findings) in ("failed", "blocked"),
        "comment": line,
        "msg": line,
        "verdict": verdict(findings),
        "reboot_required": reboot_required(findings),
        "reboot_advised": facts.audit.switched_on is not None,
        "reboot_after_apply": command == "check" and reboot_after_apply(findings, facts),
        "time": _now(),
        "boot": facts.boot,
        "versions": {**facts.versions},
        "agent": agent.condition(facts, settings),
        "host": {
            "hostname": facts.hostname,
            "machine": facts.machine,
            "os": {"id": facts.os.id, "version": facts.os.version, "name": facts.os.name},
            "profile": profile.id if profile else "",
            "root": settings.root or "/",
            "environment": facts.environment.value,
            "mode": settings.mode_for(facts),
        },
        "requirements": [_requirement(finding) for finding in findings],
        "causes": [cause for finding in findings for cause in _causes(finding, facts)],
        "chain": [hop._asdict() for hop in _chain(facts, settings)],
        "skipped_by_option": [finding.id for finding in findings if not settings.chosen(finding.id)],
        "done": outcome.account(),
        "diff": "".join(change.diff() for change in outcome.done or planned),
        "unseen": list(facts.unseen),
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


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def of_error(command: str, error: BootstrapError, seconds: float) -> dict[str, Any]:
    """The same document for a run that ended before anything could be judged."""
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
        "skipped_by_option": [],
        "done": [],
        "diff": "",
        "unseen": [],
        "seconds": round(seconds, 2),
    }


def as_text(document: dict[str, Any], verbose: bool) -> str:
    """The report as a person reads it: each text from outside in one line of its own."""
    lines = []
    for item in document["requirements"]:
        lines.append(f"{SIGNS[Status(item['status'])]:8} {item['id']:11} {shown(item['summary'], SENTENCE)}")
        full = item["status"] not in ("ok", "skipped") or verbose
        below = [*item["evidence"]] if full else []
        below += [f"would {line}" for line in item["changes"] if item["status"] == "change"]
        below += item["diff"].removesuffix("\n").split("\n") if full and item["diff"] else []
        below += [f"warning: {line}" for line in item["warnings"]]
        lines += [f"{'':20} {shown(line)}" for line in below]
        remedy = item["remedy"].splitlines() if full else []
        lines += [f"{'':20} {'  ' if number else '->'} {shown(line, SENTENCE)}" for number, line in enumerate(remedy)]
    lines += [f"not seen: {shown(line)}" for line in document["unseen"]]
    host = document["host"]
    where = f" ({shown(host['os']['name'])}, profile {host['profile']}, {host['environment']})" if host else ""
    lines.append(f"{shown(document['comment'].partition(';')[0])}{where}")
    if document["reboot_required"]:
        lines.append("a reboot is required; plan it, nothing was rebooted")
    if document["reboot_after_apply"]:
        lines.append("apply would be complete only after a reboot; plan one")
    return "\n".join(lines)
