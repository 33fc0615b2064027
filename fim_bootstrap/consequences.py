"""Cause before consequence: trouble that comes from another finding waits for that one, and names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model import Finding, Status

SETTLED = (Status.OK, Status.SKIPPED)
HELD_BACK = (Status.BLOCKED, Status.WAITING)


def named(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, each that follows from an open one as `waiting`, with the one that it waits for."""
    by_id = {finding.id: finding for finding in findings}
    return tuple(_waiting(finding, by_id) for finding in findings)


def _waiting(finding: Finding, others: Mapping[str, Finding]) -> Finding:
    if finding.status not in HELD_BACK:
        return finding
    causes = (others[name] for name in finding.follows if name in others)
    cause = next((other for other in causes if other.status not in SETTLED), None)
    if cause is None:
        return finding
    summary = f"{finding.summary}; it waits for {cause.id}"
    return finding._replace(status=Status.WAITING, summary=summary, remedy="", waits_for=cause.id)


def only_a_reboot_is_missing(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Whether what it waits for comes by itself with the reboot that another finding asks for."""
    return any(other.id == finding.waits_for and other.status is Status.REBOOT for other in findings)
