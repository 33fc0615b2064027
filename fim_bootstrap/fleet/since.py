"""Between two collections: who got ready, who drifted, who came and went, and which cause shrank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from .causes import Cause
from .machines import UNKNOWN, Fleet, Machine
from .picture import NAMED, STALE, Hosts, State


class Since(NamedTuple):
    """What became of the fleet; causes are those whose number of hosts changed, what shrank most first."""

    got_ready: Hosts
    drifted: Hosts
    new: Hosts
    gone: Hosts
    causes: tuple[tuple[Cause, int, int], ...]  # hosts then, hosts now


def since(before: Fleet, after: Fleet, state: State) -> Since:
    """Compare by machine; `after` has the causes of `before` in the same places. What is stale now is no news."""
    known: dict[str, Machine] = {}
    for machine in before.machines:
        known.update(dict.fromkeys(_names(machine), machine))
    ready, drifted, new = [], [], []
    met: set[str] = set()
    now: Counter[int] = Counter()
    for machine in after.machines:
        word = state.of(machine)
        if word != STALE:
            now.update(machine.causes)
        old = next((known[name] for name in _names(machine) if name in known), None)
        if not old:
            new.append(machine.name)
            continue
        met.update(_names(old))
        if word == "ready" and old.verdict != "ready":
            ready.append(machine.name)
        elif old.verdict == "ready" and word not in ("ready", STALE, UNKNOWN):
            drifted.append(machine.name)
    gone = [machine.name for machine in before.machines if met.isdisjoint(_names(machine))]
    then = Counter(place for machine in before.machines for place in machine.causes)
    places = sorted({*then, *now}, key=lambda n: (now[n] - then[n], -then[n], after.causes[n]))
    changed = tuple((after.causes[n], then[n], now[n]) for n in places if then[n] != now[n])
    return Since(_hosts(ready), _hosts(drifted), _hosts(new), _hosts(gone), changed)


def _names(machine: Machine) -> list[str]:
    """By what a machine may be known again, the surest first; older reports have no identity."""
    names = (machine.identity and f"id {machine.identity}", machine.hostname.lower(), machine.name.lower())
    return [name for name in names if name]


def _hosts(names: Iterable[str]) -> Hosts:
    found = sorted(names)
    return Hosts(len(found), tuple(found[:NAMED]))
