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
from .requirements import agent, delivery, guard, packages, rules

SCHEMA_VERSION = 1
TROUBLES = (Status.FAILED, Status.BLOCKED, Status.CHANGE, Status.WAITING)
SKIPPED = "skipped: "
SIGNS = {
    Status.OK: "ok", Status.CHANGE: "CHANGE", Status.REBOOT: "REBOOT", Status.WAITING: "waiting",
    Status.BLOCKED: "BLOCKED", Status.SKIPPED: "skipped", Status.FAILED: "FAILED",
}  # fmt: skip


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


def comment(outcome: Outcome, settings: Settings) -> str:
    """The whole report in one line for a person; Salt shows nothing else when nothing changed."""
    parts = _judgement(outcome, settings)
    if outcome.done:
        parts.append(f"{len(outcome.done)} change{'s' * (len(outcome.done) > 1)} made")
    if reboot_required(outcome.findings):
        parts.append("reboot required")
    parts += [f"{f.id}: {f.summary}" for f in outcome.findings if f.status in TROUBLES]
    return one_line("; ".join(parts))


def _judgement(outcome: Outcome, settings: Settings) -> list[str]:
    """The verdict in words; how far was looked, and what to type where that was not far enough."""
    findings, facts = outcome.findings, outcome.facts
    blind = unknown(findings, facts)
    word = verdict(findings, blind)
    if blind and not any(f.status in TROUBLES and f.id not in blind for f in findings):
        who = "" if facts.privileged else f" by this user: {_as_root(settings)}"
        return [f"not known: {', '.join(blind)} cannot be looked at{who}"]
    skipped = [which for names in left_out(findings, settings).values() for which in names]
    if word != "ready" or not skipped:
        return [word.replace("-", " ")]
    return ["ready as far as looked at", f"{SKIPPED}{', '.join(skipped)}"]


def _as_root(settings: Settings) -> str:
    """The same check, as the user may type it who may look."""
    import shlex

    chosen = {"--root": settings.root, "--only": ",".join(settings.only), "--skip": ",".join(settings.skip)}
    words = [word for option, value in chosen.items() if value for word in (option, shlex.quote(value))]
    return " ".join(("sudo fim-bootstrap check", *words))


def as_json(
    command: str, outcome: Outcome, profile: Optional[Profile], settings: Settings, seconds: float
) -> dict[str, Any]:
    """The report document; keys are only ever added."""
    facts, findings = outcome.facts, outcome.findings
    line = comment(outcome, settings)
    judged = verdict(findings, unknown(findings, facts))
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
        "incomplete": [
            *(f"left out by {option}: {', '.join(names)}" for option, names in left_out(findings, settings).items()),
            *facts.unseen,
        ],
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
        "incomplete": [],
        "seconds": round(seconds, 2),
    }


def brief(document: dict[str, Any], status: int) -> str:
    """The verdict in one line, for a journal that keeps one for each run."""
    open_ended = [
        item["id"] for item in document["requirements"] if Status(item["status"]) in (*TROUBLES, Status.REBOOT)
    ]
    stop = next((hop["hop"] for hop in document["chain"] if hop["state"] == chain.STOP), "")
    judgement = document["comment"].split("; ")[0]
    parts = [f"{judgement}: {', '.join(open_ended)}" if open_ended and ":" not in judgement else judgement]
    parts += [f"an event stops at {stop}"] if stop and open_ended else []
    parts += ["a reboot is due after apply"] if document["reboot_after_apply"] else []
    return shown(f"{'; '.join(parts)} (exit {status})", SENTENCE)


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
    parts: list[str] = document["comment"].split("; ")
    judgement = "; ".join(part for part in parts if part is parts[0] or part.startswith(SKIPPED))
    lines.append(f"{shown(judgement, SENTENCE)}{where}")
    if document["reboot_required"]:
        lines.append("a reboot is required; plan it, nothing was rebooted")
    if document["reboot_after_apply"]:
        lines.append("apply would be complete only after a reboot; plan one")
    return "\n".join(lines)
