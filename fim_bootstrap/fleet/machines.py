"""Machines: of all that was reported about each, the newest, and of that only what the picture needs.

A machine is known by `host.machine`, a digest of its machine-id; reports of older releases have none, there the host
name counts. A run that ended before it looked at anything names no host: there the name counts under which the
answer was collected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .. import chain
from .answers import Answer, answers, part, parts, texts
from .causes import PLACE, Cause, causes
from .reading import stem, values
from .wording import LONGEST, line, shared

UNKNOWN = "unknown"
VERDICTS = ("failed", "blocked", "not-ready", "ready-after-reboot", "unsupported", UNKNOWN, "ready")  # worst first
HOPS = (chain.KERNEL, chain.AUDITD, chain.DISPATCHER, chain.PLUGIN, chain.EDR, chain.LOG)
THROUGH, UNDECIDED = "through", "?"
BY_OPTION = "left out by an option"
RUN = "run"  # what concerns no requirement, but the whole run
_LONGEST_NAME = 253  # of a host, in DNS


class Machine(NamedTuple):
    """One machine as its newest report has it; texts are of `wording`, and the same text is one object."""

    name: str  # by which the engine that collected the report knows it, else its host name
    hostname: str
    identity: str  # host.machine
    verdict: str
    seen: float  # when the report was made, in seconds since the epoch; 0: there is none
    reboot: bool = False  # reboot_required
    locked: bool = False  # frozen from outside the rule files: a reboot alone does not help
    later: bool = False  # reboot_after_apply
    advised: bool = False  # reboot_advised
    causes: tuple[int, ...] = ()  # places in Fleet.causes
    release: str = ""
    audit: str = ""  # the version
    agent: str = ""  # absent, prepared, starting, running, gave-up
    agent_version: str = ""
    tool: str = ""
    stop: str = ""  # the first hop at which events stop; through; ?: cannot be decided; empty: not told
    skipped: tuple[str, ...] = ()  # «requirement: why»
    path: str = ""

    @property
    def partly(self) -> bool:
        """Whether the verdict leaves out what an option, or a lack of rights, kept from being looked at."""
        return any(what.endswith(BY_OPTION) or what.startswith(f"{RUN}: ") for what in self.skipped)


class Fleet:
    """The machines of one collection, and what in it could not be read."""

    def __init__(self, causes: Sequence[Cause] = ()) -> None:
        """`causes` of another fleet keep their places, so that both can be compared."""
        self.machines: list[Machine] = []
        self.causes: list[Cause] = list(causes)
        self.reports = 0
        self.problems: dict[str, str] = {}  # file -> why it, or a part of it, was left out
        self.aliases: list[str] = []  # machines that reported under several host names
        self._by_identity: dict[str, Machine] = {}
        self._names: dict[str, set[str]] = {}
        self._places = {cause: number for number, cause in enumerate(causes)}
        self._same: dict[Any, Any] = {}

    def read(self, arguments: Sequence[str], now: float) -> None:
        """Read a collection; `now` is what a clock that runs ahead is cut to."""
        for answer in answers(values(arguments, self.skip), self.skip):
            machine = self._machine(answer, now)
            self.reports += answer.report is not None
            identity = _identity(machine)
            known = self._by_identity.get(identity)
            if known and known.hostname != machine.hostname:
                self._names.setdefault(identity, {known.hostname}).add(machine.hostname)
            if not known or machine.seen >= known.seen:
                self._by_identity[identity] = machine
        self.machines = sorted(_settled(self._by_identity), key=lambda machine: (machine.name, machine.identity))
        self.aliases = sorted(", ".join(sorted(names)) for names in self._names.values())
        self._by_identity, self._names, self._same = {}, {}, {}

    def skip(self, path: str, why: str) -> None:
        """Remember a file that is left out, or a part of one, by its first problem."""
        self.problems.setdefault(line(path, 4 * LONGEST), line(why))

    def _machine(self, answer: Answer, now: float) -> Machine:
        report = answer.report
        path, name = line(answer.path, 4 * LONGEST), line(answer.name, _LONGEST_NAME)
        file = _numbered(line(stem(answer.path), _LONGEST_NAME), answer.number)
        if report is None:
            name = name or file
            place = self._place(Cause(RUN, shared(answer.why, name), "", "have it answer, and collect again"))
            return Machine(name, "", "", UNKNOWN, 0.0, causes=(place,), path=path)
        host = part(report, "host")
        hostname = line(host.get("hostname"), _LONGEST_NAME)
        versions, system = part(report, "versions"), part(host, "os")
        verdict = str(report.get("verdict"))
        locked = _locked(report)
        keep = self._keep
        return Machine(
            name=name or hostname or file,
            hostname=hostname,
            identity=line(host.get("machine")),
            verdict=keep(verdict if verdict in VERDICTS else UNKNOWN),
            seen=min(_time(report.get("time")) or answer.mtime, now),
            reboot=report.get("reboot_required") is True,
            locked=locked,
            later=report.get("reboot_after_apply") is True,
            advised=report.get("reboot_advised") is True,
            causes=keep(tuple(map(self._place, causes(report, hostname, locked)))) if verdict != "ready" else (),
            release=keep(_release(system)),
            audit=keep(line(versions.get("audit"))),
            agent=keep(line(report.get("agent"))),
            agent_version=keep(line(versions.get("agent"))),
            tool=keep(line(part(report, "tool").get("version"))),
            stop=keep(_stop(report)),
            skipped=keep(tuple(_skipped(report, hostname))),
            path=path,
        )

    def _place(self, cause: Cause) -> int:
        place = self._places.setdefault(cause, len(self.causes))
        if place == len(self.causes):
            self.causes.append(cause)
        return place

    def _keep(self, value: Any) -> Any:
        """The one object for equal values."""
        return self._same.setdefault(value, value)


def _identity(machine: Machine) -> str:
    by_name = f"host {machine.hostname}" if machine.hostname else f"name {machine.name}"
    return machine.identity or by_name.lower()


def _numbered(file: str, number: int) -> str:
    """A name for who gave none: the file's, which in a file of many is not enough."""
    return file if number == 1 else f"{file}#{number}"


def _settled(known: Mapping[str, Machine]) -> Iterable[Machine]:
    """The machines, where one that older reports or failed runs know by a name alone is the one that has this name."""
    named: dict[str, list[str]] = {}
    for identity, machine in known.items():
        for name in {machine.hostname.lower(), machine.name.lower()}:
            named.setdefault(name, []).append(identity)
    settled = dict(known)
    for identity, machine in known.items():
        if machine.identity:
            continue
        name = machine.hostname or machine.name
        others = [other for other in named[name.lower()] if known[other].identity or not machine.hostname]
        others = [other for other in others if other != identity and other in settled]
        if len(others) == 1:
            del settled[identity]
            settled[others[0]] = _newer(settled[others[0]], machine)
    return settled.values()


def _newer(one: Machine, other: Machine) -> Machine:
    """The newer of two; what a run that ended early could not tell is as it was."""
    old, new = sorted((one, other), key=lambda machine: machine.seen)
    if new.hostname:
        return new._replace(identity=new.identity or old.identity)
    return old._replace(
        verdict=new.verdict, seen=new.seen, reboot=new.reboot, locked=new.locked, causes=new.causes, path=new.path
    )


def _locked(report: Mapping[str, Any]) -> bool:
    """Whether the kernel is frozen (enabled 2) and no rule file is why.

    Reports of releases that name no causes say the same of a host whose files they themselves had cleaned: no claim.
    """
    if "causes" not in report and "time" not in report:
        return False
    for item in parts(report, "requirements"):
        if item.get("id") == "rules" and item.get("status") == "reboot":
            files = [cause for cause in parts(report, "causes") if cause.get("id") == "rules" and cause.get("file")]
            return not files and not any(map(PLACE.match, texts(item, "evidence")))
    return False


def _time(value: Any) -> float:
    """An ISO 8601 time, UTC unless it says otherwise, in seconds since the epoch; 0 where it is none."""
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _release(system: Mapping[str, Any]) -> str:
    name = " ".join(part for part in (line(system.get("id")), line(system.get("version"))) if part)
    return name or line(system.get("name"))


def _stop(report: Mapping[str, Any]) -> str:
    """The first hop that lets no event on, even if one before it cannot be decided."""
    hops = parts(report, "chain")
    for hop in hops:
        if hop.get("state") in ("stop", "down"):
            return str(hop["hop"]) if hop.get("hop") in HOPS else UNDECIDED
    return "" if not hops else THROUGH if all(hop.get("state") == "ok" for hop in hops) else UNDECIDED


def _skipped(report: Mapping[str, Any], hostname: str) -> Iterable[str]:
    left_out = {line(name) for name in texts(report, "skipped_by_option")}
    yield from (f"{name}: {BY_OPTION}" for name in sorted(left_out))
    for text in dict.fromkeys((*texts(report, "incomplete"), *texts(report, "unseen"))):
        if not text.startswith("left out by"):
            yield f"{RUN}: {shared(text, hostname)}"
    for item in parts(report, "requirements"):
        if item.get("status") == "skipped" and (name := line(item.get("id"))) not in left_out:
            why = shared(item.get("summary"), hostname)
            if not why.startswith("not asked for"):  # what only an option asks for is missed by nobody
                yield f"{name}: {BY_OPTION if why.startswith('left out by') else why}"
