"""One verdict, as text for a person and as JSON for a program (schemas/report-1.json)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional

from . import __version__, chain, consequences
from .engine import Outcome
from .errors import BootstrapError
from .managers import MANAGERS
from .model import Facts, Finding, Hop, Profile, Settings, Status
from .redact import redact
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
    frozen = (facts.audit.status or {}).get("enabled") == rules.IMMUTABLE
    staged = facts.manager in MANAGERS and MANAGERS[facts.manager].staged
    return (rules.ID in due and frozen) or (packages.ID in due and staged)


def exit_code(command: str, outcome: Outcome, detailed: bool = False) -> int:
    """The documented exit status: an API, see README."""
    if outcome.error:
        return outcome.error.exit_code
    word = verdict(outcome.findings)
    if word in ("failed", "blocked"):
        return 4 if word == "blocked" and not outcome.done else 1
    if command == "check":
        return 0 if word == "ready" else 3
    if not detailed:
        return 0
    return 3 if word != "ready" else 2 if outcome.done else 0


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
    return redact("; ".join(parts))


def as_json(
    command: str, outcome: Outcome, profile: Optional[Profile], settings: Settings, seconds: float
) -> dict[str, Any]:
    """The report document; keys are only ever added."""
    facts, findings = outcome.facts, outcome.findings
    line = comment(outcome)
    would = any(finding.status is Status.CHANGE for finding in findings)
    planned = [change for finding in findings for change in finding.changes]
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "fim-bootstrap", "version": __version__},
        "command": command,
        "changed": bool(outcome.done) or (command == "check" and would),
        "failed": verdict(findings) in ("failed", "blocked"),
        "comment": line,
        "msg": line,
        "verdict": verdict(findings),
        "reboot_required": reboot_required(findings),
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
        "chain": [{**hop._asdict(), "evidence": redact(hop.evidence)} for hop in _chain(facts, settings)],
        "skipped_by_option": [finding.id for finding in findings if not settings.chosen(finding.id)],
        "done": [redact(change.describe()) for change in outcome.done],
        "diff": redact("".join(change.diff() for change in outcome.done or planned)),
        "unseen": list(facts.unseen),
        "seconds": round(seconds, 2),
    }


def _requirement(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "status": finding.status.value,
        "summary": redact(finding.summary),
        "evidence": [redact(line) for line in finding.evidence],
        "changes": [redact(change.describe()) for change in finding.changes],
        "diff": redact("".join(change.diff() for change in finding.changes)),
        "remedy": redact(finding.remedy),
        "waits_for": finding.waits_for,
        "warnings": [redact(line) for line in finding.warnings],
    }


def _causes(finding: Finding, facts: Facts) -> list[dict[str, Any]]:
    """The lines that stand in the way, each with who writes that file, where the file tells it."""
    texts = {file.path: file.text for file in facts.audit.rules}
    return [
        {"id": finding.id, "file": cause.file, "line": cause.line, "text": redact(cause.text),
         "source": rules.generator(texts.get(cause.file, ""))}
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
    line = redact(f"{error}" + (f" ({error.remedy})" if error.remedy else ""))
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
    """The report as a person reads it."""
    lines = []
    for item in document["requirements"]:
        lines.append(f"{SIGNS[Status(item['status'])]:8} {item['id']:11} {item['summary']}")
        shown = item["status"] not in ("ok", "skipped") or verbose
        lines += [f"{'':20} {line}" for line in item["evidence"] if shown]
        lines += [f"{'':20} would {line}" for line in item["changes"] if item["status"] == "change"]
        lines += [f"{'':20} {line}" for line in item["diff"].splitlines() if shown]
        lines += [f"{'':20} warning: {line}" for line in item["warnings"]]
        if shown and item["remedy"]:
            lines.append(f"{'':20} -> {item['remedy']}")
    lines += [f"not seen: {line}" for line in document["unseen"]]
    host = document["host"]
    where = f" ({host['os']['name']}, profile {host['profile']}, {host['environment']})" if host else ""
    lines.append(f"{document['comment'].partition(';')[0]}{where}")
    if document["reboot_required"]:
        lines.append("a reboot is required; plan it, nothing was rebooted")
    if document["reboot_after_apply"]:
        lines.append("apply would be complete only after a reboot; plan one")
    return "\n".join(lines)
