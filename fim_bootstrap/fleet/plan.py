"""The reboots in batches: of the hosts that need one, each in one batch, and no two of a group in the same.

Only `reboot_required` counts: that a reboot is advised, or would be needed after apply, reboots nothing. What a name
cannot safely say to Ansible or Salt, and where a reboot alone does not help, is listed apart with the reason.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Usage
from .machines import Machine
from .picture import STALE, State

LOCKED = "locked from outside the rule files: a reboot alone does not help"
OLD = "the report is stale: look again first"
EXCLUDED = "left out by --exclude"
SHARED = "another machine has the same name"
UNFIT = "no host name that can be handed on"
# localhost is the machine that runs the playbook; the other words are groups of Ansible's, or whole fleets
RESERVED = re.compile(r"localhost\d?(\..*)?|127\..*|all|ungrouped|fim_reboot(_\w+)?", re.IGNORECASE)
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")


class Wanted(NamedTuple):
    """What the person asked for: hosts in a batch as a number or N%, how many first, who never, and the groups."""

    batch: str = "10%"
    canary: int = 0
    exclude: tuple[str, ...] = ()  # patterns of the shell
    group_by: str = ""  # a regular expression, or a file of «HOST GROUP» lines


class Plan(NamedTuple):
    """Batches with their names, in the order in which they are to be rebooted, and who is in none."""

    batches: tuple[tuple[str, tuple[str, ...]], ...]
    apart: tuple[tuple[str, str], ...]  # host, why

    @property
    def hosts(self) -> int:
        """How many are rebooted."""
        return sum(len(hosts) for _, hosts in self.batches)


def plan(machines: Iterable[Machine], state: State, wanted: Wanted) -> Plan:
    """The plan; the same machines always give the same. Raises Usage where what is asked for cannot be read."""
    group_of = _groups(wanted.group_by)
    machines = list(machines)
    names = Counter(machine.name.lower() for machine in machines)
    needing = sorted((m for m in machines if m.reboot), key=lambda m: (m.name, m.identity))
    apart: list[tuple[str, str]] = []
    fit: list[Machine] = []
    for machine in needing:
        if why := _why_apart(machine, state, wanted, names):
            apart.append((machine.name, why))
        else:
            fit.append(machine)
    first, rest = _canaries(fit, wanted.canary, group_of)
    batches = [("canary", tuple(sorted(m.name for m in first)))] if first else []
    size = _size(wanted.batch, len(fit))
    spread = _spread([machine.name for machine in rest], size, group_of)
    width = max(2, len(str(len(spread))))
    batches += [(f"{number:0{width}}", hosts) for number, hosts in enumerate(spread, 1)]
    return Plan(tuple(batches), tuple(apart))


def _why_apart(machine: Machine, state: State, wanted: Wanted, names: Mapping[str, int]) -> str:
    names_of = {machine.name, machine.hostname}
    if any(fnmatch.fnmatchcase(name, pattern) for name in names_of for pattern in wanted.exclude):
        return EXCLUDED
    if state.of(machine) == STALE:
        return OLD
    if machine.locked:
        return LOCKED
    if not HOST_NAME.fullmatch(machine.name) or RESERVED.fullmatch(machine.name):
        return UNFIT
    return SHARED if names[machine.name.lower()] > 1 else ""


def _canaries(
    machines: Sequence[Machine], number: int, group_of: Callable[[str], str]
) -> tuple[list[Machine], list[Machine]]:
    """The first few: of as many releases as there are, and no two of a group."""
    turns: Counter[str] = Counter()
    order = []
    for machine in machines:
        order.append((turns[machine.release], machine.release, machine.name, machine))
        turns[machine.release] += 1
    chosen: dict[str, Machine] = {}
    for _, _, name, machine in sorted(order, key=lambda item: item[:3]):
        if len(chosen) < number:
            chosen.setdefault(group_of(name), machine)
    first = set(chosen.values())
    return [*chosen.values()], [machine for machine in machines if machine not in first]


def _spread(names: Sequence[str], size: int, group_of: Callable[[str], str]) -> list[tuple[str, ...]]:
    """As few batches of at most `size` as the groups allow, evenly filled.

    Dealt out like cards, group by group: a group is never larger than the number of batches, so none gets two of it.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(group_of(name), []).append(name)
    batches = max([-(-len(names) // size), *(len(group) for group in groups.values())]) if names else 0
    dealt: list[list[str]] = [[] for _ in range(batches)]
    for number, name in enumerate(name for group in groups.values() for name in group):
        dealt[number % batches].append(name)
    return [tuple(sorted(hosts)) for hosts in dealt]


def _size(batch: str, hosts: int) -> int:
    match = re.fullmatch(r"(\d{1,9})(%?)", batch)
    if not match or not int(match[1]):
        raise Usage(f"--batch {batch}: must be a number of hosts, or N%", "--batch 10%")
    return max(1, hosts * int(match[1]) // 100) if match[2] else int(match[1])


def _groups(group_by: str) -> Callable[[str], str]:
    """The group of a host; one that belongs to none is a group of its own."""
    if os.path.isfile(group_by):
        table = _group_file(group_by)
        return lambda name: f"group {table[name]}" if name in table else f"host {name}"
    try:
        pattern = re.compile(group_by) if group_by else None
    except re.error as error:
        said = f"--group-by {group_by}: neither a file nor a regular expression: {error}"
        raise Usage(said, r"--group-by '^([a-z]+)\d'") from None

    def group(name: str) -> str:
        match = pattern.search(name) if pattern else None
        found = match and ((match[1] if match.re.groups else "") or match[0])
        return f"group {found}" if found else f"host {name}"

    return group


def _group_file(path: str) -> dict[str, str]:
    table = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            words = text.partition("#")[0].replace(",", " ").split()
            if len(words) == 2:
                table[words[0]] = words[1]
            elif words:
                raise Usage(f"--group-by {path}:{number}: must be HOST GROUP", "one host and its group on each line")
    return table
