"""Plan and converge: the loop, nothing else. Verification is planning again and finding nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

from . import consequences, journal, waiting
from .changes import InstallPackages, LoadPolicy, ReloadPolicy, RestartService, RestoreLabels, StopService
from .errors import BootstrapError
from .host import Host
from .model import Change, Environment, Facts, Finding, Profile, Requirement, Settings, Status
from .requirements import REQUIREMENTS, agent, delivery

PASSES = 2  # a later change may make an earlier requirement see new work: an agent that registers its plugin
# what the agent lacks does not stand in the way of preparing the host
AFTERWARDS = (agent.ID, delivery.ID)
# what the agent's own start and stop do too, or a package's scripts: only one of the two may be at it
DISTURBING = (InstallPackages, LoadPolicy, ReloadPolicy, RestoreLabels, RestartService, StopService)


class Outcome(NamedTuple):
    """What was found in the end, what was done on the way, and what stopped it."""

    findings: tuple[Finding, ...]
    facts: Facts
    done: tuple[Change, ...] = ()
    error: Optional[BootstrapError] = None


def plan(facts: Facts, profile: Profile, settings: Settings) -> tuple[Finding, ...]:
    """What each requirement thinks of the facts, causes before consequences."""
    return consequences.named([_assess(requirement, facts, profile, settings) for requirement in REQUIREMENTS])


def _assess(requirement: Requirement, facts: Facts, profile: Profile, settings: Settings) -> Finding:
    if not settings.chosen(requirement.ID):
        return Finding(requirement.ID, requirement.TITLE, Status.SKIPPED, "left out by --only or --skip")
    return requirement.assess(facts, profile, settings)


def converge(
    host: Host,
    look: Callable[[], Facts],
    profile: Profile,
    settings: Settings,
    tell: Callable[[str, Change], Any],
    say: Callable[[str], Any],
) -> Outcome:
    """Bring the host to what the requirements ask; nothing is touched where a blocker is known before.

    `look` gathers the facts anew; `tell` is called with the requirement's id before each change, and `say` with a
    line while the agent is waited for.
    """
    waiting.until_quiet(host, settings.agent_timeout, say)
    facts = look()
    findings = plan(facts, profile, settings)
    if any(_holds_back(finding) for finding in findings):
        return Outcome(findings, facts)
    done: list[Change] = []
    notes: dict[str, tuple[str, ...]] = {}
    for _ in range(PASSES):
        before = len(done)
        for requirement in REQUIREMENTS:
            finding = _assess(requirement, facts, profile, settings)
            if _holds_back(finding):  # one that an earlier change brought to light
                return Outcome(plan(facts, profile, settings), facts, tuple(done))
            if finding.changes:
                notes[finding.id] = finding.warnings
            for change in finding.changes:
                if isinstance(change, DISTURBING):
                    waiting.until_quiet(host, settings.agent_timeout, say)
                tell(finding.id, change)
                try:
                    change.apply(host, lambda kind, **details: journal.record(host, kind, **details))
                except BootstrapError as error:
                    facts = look()
                    return Outcome(_failed(plan(facts, profile, settings), finding.id, error), facts, (*done,), error)
                done.append(change)
            if finding.changes:
                facts = look()
        started = facts
        if facts.environment is not Environment.BOOTING:  # there it may come after this run
            started = waiting.until_started(look, facts, settings, say)
        if len(done) == before and started is facts:
            break
        facts = started
    findings = plan(facts, profile, settings)
    return Outcome(tuple(_judged(finding, notes) for finding in findings), facts, tuple(done))


def _holds_back(finding: Finding) -> bool:
    return finding.status is Status.BLOCKED and finding.id not in AFTERWARDS


def _judged(finding: Finding, notes: dict[str, tuple[str, ...]]) -> Finding:
    """A change that is still due after it was made did not hold."""
    warnings = tuple(dict.fromkeys((*notes.get(finding.id, ()), *finding.warnings)))
    if finding.status is Status.CHANGE:
        remedy = "the log tells what was run; run again with -v, or mend it by hand"
        summary = f"still not right after the change: {finding.summary}"
        return finding._replace(status=Status.FAILED, summary=summary, remedy=remedy, warnings=warnings)
    return finding._replace(warnings=warnings)


def _failed(findings: Sequence[Finding], which: str, error: BootstrapError) -> tuple[Finding, ...]:
    return tuple(
        f._replace(status=Status.FAILED, summary=str(error), remedy=error.remedy) if f.id == which else f
        for f in findings
    )
