"""The picture: the machines counted, by what they are, by what stands in their way and by what they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from typing import NamedTuple

from .causes import Cause
from .machines import BY_OPTION, HOPS, THROUGH, UNDECIDED, UNKNOWN, VERDICTS, Fleet, Machine

STALE = "stale"
WORDS = {
    "ready": "ready", "ready-after-reboot": "after reboot", "not-ready": "not ready", "blocked": "blocked",
    "failed": "failed", "unsupported": "unsupported", UNKNOWN: "not known", STALE: "stale",
}  # fmt: skip
NAMED = 25  # hosts that are named for a cause or a hop; the CSV has all
LISTED = 500  # hosts of the list
_WORST = {state: rank for rank, state in enumerate((*VERDICTS[:-1], STALE, "ready"))}
NOT_TOLD = "not told"


class Hosts(NamedTuple):
    """How many, and the names of some."""

    total: int
    names: tuple[str, ...] = ()


class Row(NamedTuple):
    """One cause: the hosts that have it, and how many of them have no other."""

    cause: Cause
    hosts: Hosts
    alone: int


class Listed(NamedTuple):
    """One host of the list."""

    machine: Machine
    state: str
    causes: tuple[Cause, ...]


class Picture(NamedTuple):
    """All that a page, a text or a program is told; tables go from many hosts to few."""

    now: float
    machines: int
    reports: int
    first: float  # when the oldest and the newest of the reports that count were made; 0: there is none
    last: float
    stale_after: float  # seconds; 0: never
    states: dict[str, int]
    causes: tuple[Row, ...]
    hops: dict[str, Hosts]
    releases: dict[str, dict[str, int]]  # label -> state -> hosts
    audits: dict[str, dict[str, int]]
    agents: dict[str, dict[str, int]]
    tools: dict[str, dict[str, int]]
    skipped: dict[str, Hosts]  # «requirement: why»
    partly: int  # of the ready: those of which not all was looked at
    later: int  # hosts on which a reboot follows apply
    advised: int  # hosts on which a reboot is only advised
    hosts: tuple[Listed, ...]  # those that are not ready, worst first
    problems: dict[str, str]  # files that were left out, and why
    aliases: tuple[str, ...]


class State(NamedTuple):
    """What a machine counts as at a moment."""

    now: float
    stale_after: float

    def of(self, machine: Machine) -> str:
        """The verdict, unless the report is too old to say anything."""
        old = self.stale_after and machine.seen and self.now - machine.seen > self.stale_after
        return STALE if old else machine.verdict


def picture(fleet: Fleet, state: State) -> Picture:
    """The fleet as it is at a moment. What a stale report says is not counted among causes, hops and the skipped."""
    states = Counter(map(state.of, fleet.machines))
    current = [machine for machine in fleet.machines if state.of(machine) != STALE]
    seen = [machine.seen for machine in fleet.machines if machine.seen]
    by_hop = _by_label(current, lambda m: (m.stop or NOT_TOLD,) if m.verdict != UNKNOWN else ())
    open_hosts = (machine for machine in fleet.machines if state.of(machine) != "ready")
    worst = nsmallest(LISTED, open_hosts, key=lambda m: (_WORST[state.of(m)], m.name))
    return Picture(
        now=state.now,
        machines=len(fleet.machines),
        reports=fleet.reports,
        first=min(seen, default=0.0),
        last=max(seen, default=0.0),
        stale_after=state.stale_after,
        states={word: states[word] for word in WORDS if states[word] or word not in ("unsupported", UNKNOWN, STALE)},
        causes=_causes(fleet, current),
        hops={hop: by_hop.get(hop, Hosts(0)) for hop in (*HOPS, UNDECIDED, NOT_TOLD, THROUGH)},
        releases=_table(fleet.machines, state, lambda m: m.release),
        audits=_table(fleet.machines, state, lambda m: m.audit and f"audit {m.audit.partition('.')[0]}"),
        agents=_table(fleet.machines, state, _agent),
        tools=_table(fleet.machines, state, lambda m: m.tool),
        skipped=dict(sorted(_by_label(current, lambda m: m.skipped).items(), key=_by_option_and_many)),
        partly=sum(machine.partly for machine in current if machine.verdict == "ready"),
        later=sum(machine.later for machine in current),
        advised=sum(machine.advised for machine in current),
        hosts=tuple(Listed(m, state.of(m), tuple(fleet.causes[n] for n in m.causes)) for m in worst),
        problems=fleet.problems,
        aliases=tuple(fleet.aliases),
    )


def _causes(fleet: Fleet, machines: Iterable[Machine]) -> tuple[Row, ...]:
    found: dict[int, list[str]] = {}
    count: Counter[int] = Counter()
    alone: Counter[int] = Counter()
    for machine in machines:
        for place in machine.causes:
            count[place] += 1
            names = found.setdefault(place, [])
            if len(names) < NAMED:
                names.append(machine.name)
        if len(machine.causes) == 1:
            alone[machine.causes[0]] += 1
    rows = [Row(fleet.causes[n], Hosts(count[n], tuple(names)), alone[n]) for n, names in found.items()]
    return tuple(sorted(rows, key=lambda row: (-row.hosts.total, row.cause)))


def _agent(machine: Machine) -> str:
    return " ".join(part for part in (machine.agent_version, machine.agent) if part)


def _by_label(machines: Iterable[Machine], words: Callable[[Machine], Sequence[str]]) -> dict[str, Hosts]:
    found: dict[str, tuple[int, list[str]]] = {}
    for machine in machines:
        for word in words(machine):
            count, names = found.get(word, (0, []))
            if len(names) < NAMED:
                names.append(machine.name)
            found[word] = (count + 1, names)
    return {word: Hosts(count, tuple(names)) for word, (count, names) in found.items()}


def _table(machines: Iterable[Machine], state: State, word: Callable[[Machine], str]) -> dict[str, dict[str, int]]:
    """How many of each state there are for each word, most first; what was not told is last."""
    counts = Counter((word(machine) or NOT_TOLD, state.of(machine)) for machine in machines)
    found: dict[str, dict[str, int]] = {}
    for (label, what), count in counts.items():
        found.setdefault(label, {})[what] = count
    many = sorted(found.items(), key=lambda item: (item[0] == NOT_TOLD, -sum(item[1].values()), item[0]))
    return {label: {word: row[word] for word in WORDS if word in row} for label, row in many}


def _by_option_and_many(item: tuple[str, Hosts]) -> tuple[bool, int, str]:
    return not item[0].endswith(BY_OPTION), -item[1].total, item[0]
