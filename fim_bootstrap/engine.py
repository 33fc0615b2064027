"""Plan and converge. Verification is planning again and finding nothing to do.

Restarts come last, and at most one of each service: every edit is in place by then, and an agent that is restarted
restarts auditd itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Optional

from . import consequences, expected, waiting
from .agent.look import restarts_auditd
from .agent.vendor import SERVICE
from .audit import auditctl, auditd_conf, reboots
from .changes import files, journal
from .changes.journal import moment
from .changes.packages import InstallPackages
from .changes.policy import LABELS_POSSIBLE, NO_LABELS, LabelTree, LoadPolicy, ReloadPolicy, RestoreLabels, without_proc
from .changes.services import RestartService, StopService
from .errors import Blocked, BootstrapError, Busy
from .facts.commands import AGENT_COMMANDS, AUDIT_COMMANDS
from .host.reader import Host, Reader
from .model import (
    DISABLED,
    Answer,
    Change,
    Environment,
    Facts,
    Finding,
    Obstacle,
    Process,
    Profile,
    Requirement,
    Settings,
    Status,
)
from .requirements import REQUIREMENTS, agent, delivery, packages, rules

PASSES = 2  # a later change may make an earlier requirement see new work: an agent that registers its plugin
# what the agent lacks does not stand in the way of preparing the host
NEVER_BLOCKING = (agent.ID, delivery.ID)
# what the agent's own start and stop do too, or a package's scripts: only one of the two may be at it
DISTURBING = (InstallPackages, LoadPolicy, ReloadPolicy, RestoreLabels, RestartService, StopService)
# audit 4's own action stops, waits a second, starts, and ends with 0 whatever came of it (RHEL 10, Fedora)
LEFT_DOWN = "auditd was down after the agent's start had asked for `service auditd restart`; it was started again"
# steps that are commands, which may have had an effect although they failed
COMMANDS = frozenset(("restart", "start", "stop", "enable", "rule"))


class Failure(NamedTuple):
    """A change that failed, and the requirement that it was made for."""

    requirement: str
    error: BootstrapError
    begun: str = ""  # the change in words, where it had changed something before it failed
    after: int = 0  # how many changes had been made before it

    def account(self) -> list[str]:
        """What was done all the same, in words."""
        did = f"; done so far: {', '.join(self.error.done)}" if self.error.done else ""
        return [f"{self.begun} (begun, not finished{did})"] if self.begun else []


class Outcome(NamedTuple):
    """What was found in the end, what was done on the way, and what failed."""

    findings: tuple[Finding, ...]
    facts: Facts
    done: tuple[Change, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def error(self) -> Optional[BootstrapError]:
        """What failed first: it may be the cause of the rest."""
        return self.failures[0].error if self.failures else None

    @property
    def changed(self) -> bool:
        """Whether the host is not as it was."""
        return bool(self.account())

    def probed(self, facts: Facts, findings: Sequence[Finding]) -> Outcome:
        """The same after a test event: of what is thought since, the finding about its delivery counts."""
        seen = {finding.id: finding for finding in findings if finding.id == delivery.ID}
        return self._replace(findings=tuple(seen.get(f.id, f) for f in self.findings), facts=facts)

    def account(self) -> list[str]:
        """What was done, in words."""
        told = [change.describe() for change in self.done]
        for failure in reversed(self.failures):
            told[failure.after : failure.after] = failure.account()
        return told


def plan(facts: Facts, profile: Profile, settings: Settings) -> tuple[Finding, ...]:
    """What each requirement thinks of the facts, causes before consequences; a blocker that is foreseen counts now."""
    findings = [_assess(requirement, facts, profile, settings) for requirement in REQUIREMENTS]
    ahead = {finding.id: finding for finding in expected.look(findings, facts, profile, settings)}
    blocked = {which: finding for which, finding in ahead.items() if finding.status is Status.BLOCKED}
    return consequences.named([blocked.get(finding.id, finding) for finding in findings])


def _assess(requirement: Requirement, facts: Facts, profile: Profile, settings: Settings) -> Finding:
    if not settings.chosen(requirement.ID):
        return Finding(requirement.ID, requirement.TITLE, Status.SKIPPED, "left out by --only or --skip")
    return requirement.assess(facts, profile, settings)


def asked(host: Reader, facts: Facts, profile: Profile, settings: Settings) -> Facts:
    """The facts, with what only a program can tell; it is asked only where a change that rests on it is planned."""
    planned = [change for finding in plan(facts, profile, settings) for change in finding.changes]
    if not facts.privileged:
        return facts
    weighty = (RestartService, files.EditAuditdConf)
    if facts.environment.live and any(isinstance(change, weighty) for change in planned):
        return facts._replace(audit=facts.audit._replace(preflight=_preflight(host, facts)))
    labels = not facts.environment.live and any(isinstance(change, LabelTree) for change in planned)
    if labels and host.query(LABELS_POSSIBLE)[0].status == 1:
        no_proc = Obstacle(f"{facts.root.rstrip('/')}/proc", NO_LABELS, without_proc(facts.root))
        return facts._replace(audit=facts.audit._replace(obstacles=(*facts.audit.obstacles, no_proc)))
    return facts


def _preflight(host: Reader, facts: Facts) -> Optional[Answer]:
    """auditd's own word on its configuration: the agent's restart restarts auditd, too.

    Where the dispatcher line alone is at fault, auditd is asked about the text in which it is mended.
    """
    from .audit import preflight  # only before a restart

    conf, known = facts.audit.conf, (facts.audit.generation, facts.audit.dialect)
    if conf is None or conf.problem:
        return None
    at_fault = auditd_conf.faults(conf.text, *known) and not auditd_conf.lasting_faults(conf.text, *known)
    return preflight.ask(host, auditd_conf.with_dispatcher(conf.text) if at_fault else "")


def converge(
    host: Host,
    look: Callable[[], Facts],
    profile: Profile,
    settings: Settings,
    tell: Callable[[str, Change], AbstractContextManager[Any]],
    say: waiting.Say,
) -> Outcome:
    """Bring the host to what the requirements ask; nothing is touched where a blocker is known before.

    `look` gathers the facts anew; each change is made inside of what `tell` gives for it and its requirement's id,
    and `say` is called while the agent is waited for. That a reboot is due is noted, so that the next boot knows of it.
    """
    outcome = _Run(host, look, profile, settings, tell, say).outcome()
    due = any((finding.id, finding.status) == (rules.ID, Status.REBOOT) for finding in outcome.findings)
    if due and not reboots.noted(journal.entries(host), outcome.facts.boot):
        journal.record(host, reboots.DUE, cause="kernel: enabled 2", **moment(host))
    return outcome


class _Stopped(Exception):
    """The run ends here."""


class _Run:
    """One convergence: what is known, what was done, and what is due to be restarted at its end."""

    def __init__(
        self, host: Host, look: Callable[[], Facts], profile: Profile, settings: Settings,
        tell: Callable[[str, Change], AbstractContextManager[Any]], say: waiting.Say,
    ) -> None:  # fmt: skip
        self.host, self.look, self.profile, self.settings = host, look, profile, settings
        self.tell, self.say = tell, say
        self.facts = look()
        self.done: list[Change] = []
        self.failures: list[Failure] = []
        self.notes: dict[str, tuple[str, ...]] = {}
        self.due: dict[str, tuple[str, RestartService]] = {}  # service -> requirement and restart
        self.restarted: set[str] = set()
        self.known = {step["id"] for step in journal.entries(host)}

    def outcome(self) -> Outcome:
        """All of it, or as far as it came."""
        try:
            self.whole()
            findings = tuple(self.judged(finding) for finding in self.plan())
        except _Stopped:
            findings = self.plan()
        failed = {failure.requirement: failure.error for failure in self.failures}
        findings = tuple(_failed(finding, failed.get(finding.id)) for finding in findings)
        return Outcome(findings, self.facts, tuple(self.done), tuple(self.failures))

    def whole(self) -> None:
        """All of it; raises where something stops it on the way."""
        self.quiet()
        self.unhindered()
        for _ in range(PASSES):
            before = len(self.done)
            self.edit()
            self.restart()
            if not self.awaited() and len(self.done) == before:
                break

    def unhindered(self) -> None:
        """Nothing that only a person may lift is in the way; raises else."""
        if any(_holds_back(finding) for finding in self.plan()):
            raise _Stopped

    def plan(self) -> tuple[Finding, ...]:
        """What the requirements think of the present facts."""
        return plan(self.facts, self.profile, self.settings)

    def quiet(self) -> None:
        """Wait until the agent's own start or stop is done; what is known before that counts no more."""
        if self.facts.environment.live and waiting.until_quiet(self.host, self.settings.agent_timeout, self.say):
            self.facts = self.look()

    def awaited(self) -> bool:
        """Wait for an agent that is starting, and whether that was needed; at the boot it may come after this run."""
        before = self.facts
        if before.environment is not Environment.BOOTING:
            self.facts = waiting.until_started(self.look, before, self.settings, self.say)
        return self.facts is not before

    def edit(self) -> None:
        """Everything but the restarts, in the order of the requirements."""
        failed = [failure.requirement for failure in self.failures]
        for requirement in REQUIREMENTS:
            finding = _assess(requirement, self.facts, self.profile, self.settings)
            if _holds_back(finding):  # one that an earlier change brought to light
                raise _Stopped
            if finding.id in failed:
                continue
            if finding.changes:
                self.notes[finding.id] = finding.warnings
            self.due.update(_restarts(finding))
            edits = [change for change in finding.changes if not isinstance(change, RestartService)]
            for change in edits:
                self.make(finding.id, change)
            if edits:
                self.facts = self.look()

    def restart(self) -> None:
        """auditd and the agent, where one is due: auditd first, or the agent alone where it restarts auditd."""
        self.quiet()
        self.unhindered()
        due = {**self.due, **{name: found for finding in self.plan() for name, found in _restarts(finding).items()}}
        self.due = {}
        agents = None if SERVICE in self.restarted else due.get(SERVICE) or self._follows(due)
        if "auditd" in due and "auditd" not in self.restarted and not (agents and self._restarted_by_the_agent()):
            self._restart("auditd", *due["auditd"])
            agents = agents and self._again()
        if agents:
            self._restart(SERVICE, *agents)

    def _restarted_by_the_agent(self) -> bool:
        """Whether the agent's start will restart auditd, and is waited for; else nothing would follow that up."""
        waits = self.facts.environment is Environment.BOOTED and not self.facts.audit.restart_problem
        return waits and restarts_auditd(self.host, self.facts.agent)

    def _follows(self, due: Mapping[str, Any]) -> Optional[tuple[str, RestartService]]:
        """The agent's restart that will be due once auditd has been restarted, and with it the rules loaded again."""
        if "auditd" not in due:
            return None
        from .audit import rule_origin  # only before a restart

        audit = self.facts.audit
        listed = audit.live_rules
        if rule_origin.wiped(file.text for file in audit.rules):
            silent = any(rule.never_task for file in audit.rules for rule in auditctl.parse(file.text))
            listed = ("-a never,task",) if silent else ()
        later = audit._replace(daemon=Process(0, 1, "auditd", float("inf")), live_rules=listed)
        finding = _assess(agent, self.facts._replace(audit=later), self.profile, self.settings)
        return _restarts(finding).get(SERVICE)

    def _again(self) -> Optional[tuple[str, RestartService]]:
        """The agent's restart as it is due now."""
        return next((found for finding in self.plan() if (found := _restarts(finding).get(SERVICE))), None)

    def _restart(self, name: str, which: str, change: RestartService) -> None:
        if name == "auditd" and SERVICE in self.restarted and self.facts.audit.daemon is None:
            self.notes[which] = (*self.notes.get(which, ()), LEFT_DOWN)
        self.restarted.add(name)
        self.make(which, change)
        self.facts = self.look()

    def make(self, which: str, change: Change) -> None:
        """Make a change for a requirement; one that fails ends the run, but for packages that the rest does without."""
        recorded: list[dict[str, Any]] = []

        def record(kind: str, **details: Any) -> None:
            journal.record(self.host, kind, **details)
            recorded.append({"kind": kind, **details})

        if isinstance(change, DISTURBING):
            waiting.until_quiet(self.host, self.settings.agent_timeout, self.say)
        if isinstance(change, RestartService) and self.facts.audit.enabled == DISABLED:
            from .audit import switched_on  # only before a restart

            journal.record(self.host, switched_on.EVENT, **moment(self.host))
        try:
            with self.tell(which, change):
                change.apply(self.host, record)
        except BootstrapError as error:
            before = self.facts
            if isinstance(change, RestartService) and change.name == "auditd":
                error = self._rescued(change, error)
            self.facts = self.look()
            moved = (before.commands, before.selinux) != (self.facts.commands, self.facts.selinux)
            effect = error.done or moved or any(_took_effect(self.host, step) for step in recorded)
            self.failures.append(Failure(which, error, change.describe() if effect else "", len(self.done)))
            if not self._does_without(change, error):
                raise _Stopped from None
        else:
            self.done.append(change)

    def _does_without(self, change: Change, error: BootstrapError) -> bool:
        """Whether packages could not be installed, and what they lack is for nothing but to build the policy.

        Without a command that its script calls, an agent that is restarted may not come back.
        """
        if not isinstance(change, InstallPackages) or isinstance(error, (Blocked, Busy)):
            return False
        lacking = packages.lacking(self.facts, self.profile)
        return not any(command in lacking for command in AUDIT_COMMANDS + AGENT_COMMANDS)

    def _rescued(self, change: RestartService, error: BootstrapError) -> BootstrapError:
        """auditd did not come up: put back what this run made of auditd.conf, and start it; what to tell."""
        mine = [step for step in journal.entries(self.host) if step["id"] not in self.known]
        edits = [step for step in mine if (step["kind"], step.get("path")) == ("edit", auditd_conf.PATH)]
        if not edits:
            return error
        put_back = f"{error}; {auditd_conf.PATH} was put back"
        try:
            for step in reversed(edits):
                files.undo_edit(self.host, step)
                journal.undone(self.host, step)
            self.done = [made for made in self.done if getattr(made, "path", "") != auditd_conf.PATH]
            change._replace(pid=0).apply(self.host, lambda kind, **details: journal.record(self.host, kind, **details))
        except BootstrapError as again:
            return BootstrapError(f"{put_back}, and then: {again}", again.remedy)
        return BootstrapError(f"{put_back} as it was, and auditd runs again", error.remedy)

    def judged(self, finding: Finding) -> Finding:
        """A change that is still due after it was made did not hold."""
        warnings = tuple(dict.fromkeys((*self.notes.get(finding.id, ()), *finding.warnings)))
        if finding.status is Status.CHANGE:
            remedy = "the log tells what was run; run again with -v, or mend it by hand"
            summary = f"still not right after the change: {finding.summary}"
            return finding._replace(status=Status.FAILED, summary=summary, remedy=remedy, warnings=warnings)
        return finding._replace(warnings=warnings)


def _restarts(finding: Finding) -> dict[str, tuple[str, RestartService]]:
    """The restarts that a finding asks for, by service."""
    return {change.name: (finding.id, change) for change in finding.changes if isinstance(change, RestartService)}


def _took_effect(host: Reader, step: Mapping[str, Any]) -> bool:
    """Whether a step that was written down, and then failed, has changed the host."""
    if step["kind"] not in ("edit", "create"):
        return step["kind"] in COMMANDS
    file = host.read(step["path"])
    return bool(file) and (not step["after"] or journal.digest(file.text if file else "") == step["after"])


def _holds_back(finding: Finding) -> bool:
    return finding.status is Status.BLOCKED and finding.id not in NEVER_BLOCKING


def _failed(finding: Finding, error: Optional[BootstrapError]) -> Finding:
    """The finding, with the error of a change that was made for it."""
    return finding._replace(status=Status.FAILED, summary=str(error), remedy=error.remedy) if error else finding
