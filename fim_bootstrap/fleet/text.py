"""The picture on a terminal, 80 columns wide where the words allow it, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

from .machines import THROUGH, UNDECIDED
from .picture import NOT_TOLD, WORDS, Hosts, Picture
from .plan import Plan
from .plan_formats import as_text
from .since import Since
from .table import moment

BAR = 40  # columns
PLANNED = 40  # hosts of a plan that is shown whole
SHOWN = 12  # rows of a table on a terminal
CHAIN_WORDS = {UNDECIDED: "cannot be decided", NOT_TOLD: "not told by the report", THROUGH: "through to the end"}
FEW = 5  # hosts named in a row


def age(seconds: float) -> str:
    """A time span as the option writes it: 7d, 36h."""
    return f"{seconds / 86400:g} d" if seconds >= 86400 else f"{seconds / 3600:g} h"


def lines(picture: Picture, plan: Plan, since: Optional[Since]) -> Iterator[str]:
    """The picture, worst things first after the count."""
    yield f"{many(picture.machines, 'host')}, reports {span(picture)}"
    widest = max(picture.states.values(), default=0) or 1
    for state, count in picture.states.items():
        if count:
            yield f"  {WORDS[state]:13}{count:7}  {'#' * max(1, round(BAR * count / widest))}"
    yield from _causes(picture)
    told = {hop: hosts.total for hop, hosts in picture.hops.items() if hosts.total}
    if told.keys() - {NOT_TOLD}:
        yield "\nWhere the way of an event stops"
        yield "  " + " | ".join(f"{CHAIN_WORDS.get(hop, hop)} {count}" for hop, count in told.items())
    for title, table in tables(picture):
        yield from _table(title, table)
    if picture.skipped:
        yield "\nNot looked at"
        for what, hosts in list(picture.skipped.items())[:SHOWN]:
            yield f"  {hosts.total:7}  {what}"
        yield from _more(len(picture.skipped), "rows")
    if since:
        yield from _since(since)
    yield ""
    yield from as_text(plan) if plan.hosts + len(plan.apart) <= PLANNED else list(as_text(plan))[:1]
    yield from notes(picture)


def _causes(picture: Picture) -> Iterator[str]:
    if picture.causes:
        yield "\nTo do, by cause (most hosts first; alone: hosts with no other cause)"
        yield "    hosts   alone"
        for row in picture.causes[:SHOWN]:
            yield f"  {row.hosts.total:7} {row.alone:7}  {row.cause.text()}"
            yield f"{'':17}  -> {row.cause.do}"
            yield f"{'':17}  {_few(row.hosts)}"
        yield from _more(len(picture.causes), "causes")


def _table(title: str, table: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    if table.keys() - {NOT_TOLD}:
        yield f"\n{title}"
        for label, counts in list(table.items())[:SHOWN]:
            states = ", ".join(f"{count} {WORDS[state]}" for state, count in counts.items())
            yield f"  {sum(counts.values()):7}  {label}: {states}"
        yield from _more(len(table), "rows")


def tables(picture: Picture) -> tuple[tuple[str, Mapping[str, Mapping[str, int]]], ...]:
    """The tables of what the machines run."""
    return (
        ("By release", picture.releases), ("By audit generation", picture.audits), ("By agent", picture.agents),
        ("By release of this tool", picture.tools),
    )  # fmt: skip


def span(picture: Picture) -> str:
    """From when to when the reports are."""
    if not picture.last:
        return "without a time"
    first, last = moment(picture.first), moment(picture.last)
    return f"of {first}" if first == last else f"from {first} to {last}"


def notes(picture: Picture) -> Iterator[str]:
    """What else one has to know before one believes the numbers."""
    if picture.partly:
        yield f"of the ready hosts, {picture.partly} were not looked at in full"
    if picture.later:
        yield f"on {many(picture.later, 'more host')} a reboot follows apply; the plan has them when they report it"
    if picture.advised:
        yield f"on {many(picture.advised, 'host')} a reboot is advised; the plan has only those that require it"
    for names in picture.aliases:
        yield f"one machine-id, several host names (renamed, or cloned): {names}; the newest report counts"


def many(count: int, what: str) -> str:
    """How many there are, and of what."""
    return f"{count} {what}{'s' * (count != 1)}"


def document(picture: Picture, plan: Plan, since: Optional[Since]) -> dict[str, Any]:
    """The same for a program; keys are only ever added."""
    return {
        "machines": picture.machines,
        "reports": picture.reports,
        "time": moment(picture.now),
        "first": moment(picture.first),
        "last": moment(picture.last),
        "stale_after": picture.stale_after,
        "states": picture.states,
        "causes": [{**row.cause._asdict(), **_hosts(row.hosts), "alone": row.alone} for row in picture.causes],
        "hops": {hop: _hosts(hosts) for hop, hosts in picture.hops.items()},
        "releases": picture.releases,
        "audit_generations": picture.audits,
        "agents": picture.agents,
        "tools": picture.tools,
        "ready_partly": picture.partly,
        "reboot_after_apply": picture.later,
        "reboot_advised": picture.advised,
        "skipped": {what: _hosts(hosts) for what, hosts in picture.skipped.items()},
        "plan": {
            "batches": [{"name": name, "hosts": list(hosts)} for name, hosts in plan.batches],
            "apart": [{"host": host, "why": why} for host, why in plan.apart],
        },
        "since": since and {
            **{key: _hosts(getattr(since, key)) for key in ("got_ready", "drifted", "new", "gone")},
            "causes": [{**cause._asdict(), "then": then, "now": now} for cause, then, now in since.causes],
        },
        "skipped_files": [{"path": path, "why": why} for path, why in picture.problems.items()],
        "notes": list(notes(picture)),
    }  # fmt: skip


def _hosts(hosts: Hosts) -> dict[str, Any]:
    return {"hosts": hosts.total, "names": list(hosts.names)}


def _since(since: Since) -> Iterator[str]:
    yield "\nSince then"
    for title, hosts in (
        ("got ready", since.got_ready), ("drifted", since.drifted), ("new", since.new), ("gone", since.gone),
    ):  # fmt: skip
        yield f"  {title:10}{hosts.total:7}  {_few(hosts)}".rstrip()
    for cause, then, now in since.causes[:SHOWN]:
        yield f"  {then:7} -> {now:<7} {cause.text()} -> {cause.do}"
    yield from _more(len(since.causes), "causes")


def _few(hosts: Hosts) -> str:
    names = ", ".join(hosts.names[:FEW])
    return names + (f" and {hosts.total - FEW} more" if hosts.total > FEW else "")


def _more(rows: int, what: str) -> Iterator[str]:
    if rows > SHOWN:
        yield f"  ... {rows - SHOWN} more {what}"
