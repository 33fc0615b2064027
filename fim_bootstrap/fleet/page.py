"""The picture as one page of HTML: no network, complete without scripts, readable in black and white.

Everything that came from a report goes through `_e`. The page's own policy (CSP) lets no script run but the one
below it, should an escape ever be forgotten.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Mapping, Sequence
from html import escape as _e
from string import Template
from typing import Optional

from .. import __version__
from ..resources import text_of
from .machines import HOPS
from .picture import NAMED, NOT_TOLD, STALE, WORDS, Hosts, Listed, Picture
from .plan import Plan
from .since import Since
from .table import moment
from .text import CHAIN_WORDS, age, many, notes, tables

ROWS = 40  # causes, batches and labels that are shown; the rest is counted


def rendered(picture: Picture, plan: Plan, since: Optional[Since]) -> str:
    """The page."""
    script = text_of("fleet/page.js").strip()
    digest = binascii.b2a_base64(hashlib.sha256(script.encode()).digest(), newline=False).decode()
    sections = (
        _bar(picture), _causes(picture), _chain(picture), _tables(picture), _since(since), _plan(plan),
        _skipped(picture), _hosts(picture), _left_out(picture),
    )  # fmt: skip
    return Template(text_of("fleet/page.html")).substitute(
        machines=many(picture.machines, "host"),
        reports=many(picture.reports, "report"),
        now=moment(picture.now),
        now_words=_time(picture.now),
        span=_span(picture),
        version=_e(__version__),
        sections="\n".join(section for section in sections if section),
        script=script,
        script_digest=f"sha256-{digest}",
    ).rstrip("\n")  # fmt: skip


def _section(title: str, note: str, *content: str, name: str = "") -> str:
    mark = f' id="{name}"' if name else ""
    return f"<section{mark}><h2>{title} <small>{note}</small></h2>{''.join(content)}</section>"


def _bar(picture: Picture) -> str:
    tiles = "".join(
        f'<li data-state="{state}"{"" if count else " class=none"}><b>{count}</b>'
        f'<span><i class="key s-{state}"></i>{WORDS[state]}</span></li>'
        for state, count in picture.states.items()
    )
    note = "Ready means that events can arrive, as far as the report looked; it says no more than that."
    if picture.partly:
        note += f" Of the ready hosts, {picture.partly} were not looked at in full: see below."
    return (
        f'<section id="verdict">{_segments(picture.states)}<ul class="tiles">{tiles}</ul>'
        f'<p class="soft">{note}</p></section>'
    )


def _segments(states: Mapping[str, int], thin: str = "") -> str:
    """The states side by side, as wide as they are many; a screen reader gets the numbers."""
    words = ", ".join(f"{count} {WORDS[state]}" for state, count in states.items() if count)
    parts = "".join(
        f'<i class="s-{state}" style="flex-grow:{count}" title="{count} {WORDS[state]}"></i>'
        for state, count in states.items()
        if count
    )
    return f'<div class="bar{thin}" role="img" aria-label="{words}">{parts}</div>'


def _causes(picture: Picture) -> str:
    if not picture.causes:
        return ""
    rows = "".join(
        f'<tr><td class="n hosts" data-is="hosts">{row.hosts.total}</td><td class="n" data-is="alone">{row.alone}</td>'
        f'<td><span class="tag">{_e(row.cause.requirement)}</span><code>{_e(row.cause.what)}</code>'
        f'{_source(row.cause.source)}{_names(row.hosts)}</td><td data-is="do">{_e(row.cause.do)}</td></tr>'
        for row in picture.causes[:ROWS]
    )
    head = '<th class="n">hosts</th><th class="n">alone</th><th>what stands in the way</th><th>what to do</th>'
    return _section(
        "To do, by cause", "most hosts first; alone: hosts for which it is the only one",
        f'<table class="causes stack"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>',
        _rest(len(picture.causes), "causes"), name="causes",
    )  # fmt: skip


def _source(source: str) -> str:
    return f' <span class="source">{_e(source)}</span>' if source else ""


def _names(hosts: Hosts) -> str:
    """The hosts that are named, behind one word."""
    word = "which" if hosts.total > 1 else "which one"
    return f"<details><summary>{word}</summary><p>{_names_of(hosts)}</p></details>" if hosts.names else ""


def _names_of(hosts: Hosts) -> str:
    more = f" and {hosts.total - len(hosts.names)} more: see the CSV" if hosts.total > len(hosts.names) else ""
    return ", ".join(f'<span class="host">{_e(name)}</span>' for name in hosts.names) + more


def _chain(picture: Picture) -> str:
    if not any(hosts.total for hop, hosts in picture.hops.items() if hop != NOT_TOLD):
        return ""
    count = {hop: hosts.total for hop, hosts in picture.hops.items()}
    boxes = "".join(
        f'<li data-hop="{hop}"{" class=stops" if count[hop] else ""}><b>{count[hop]}</b>{hop}</li>' for hop in HOPS
    )
    others = " · ".join(f'<span data-hop="{hop}">{count[hop]} {words}</span>' for hop, words in CHAIN_WORDS.items())
    named = "".join(f"<p><b>{hop}</b>: {_names_of(picture.hops[hop])}</p>" for hop in HOPS if count[hop])
    return _section(
        "Where the way of an event stops", "hosts at the first hop that lets nothing on",
        f'<ul class="chain">{boxes}</ul>', f'<p class="soft">{others}</p>',
        f"<details><summary>which</summary>{named}</details>" if named else "", name="chain",
    )  # fmt: skip


def _tables(picture: Picture) -> str:
    blocks = []
    for title, table in tables(picture):
        if not table.keys() - {NOT_TOLD}:
            continue
        rows = "".join(
            f'<tr><td>{_e(label)}</td><td class="n">{sum(row.values())}</td>'
            f'<td class="graph">{_segments(row, " thin")}</td></tr>'
            for label, row in list(table.items())[:ROWS]
        )
        rest = _rest(len(table), "more")
        blocks.append(f'<div><h3>{title}</h3><table class="rows"><tbody>{rows}</tbody></table>{rest}</div>')
    note = "the bars have the colours of the verdicts above"
    return _section("What they run", note, f'<div class="two">{"".join(blocks)}</div>', name="runs") if blocks else ""


def _plan(plan: Plan) -> str:
    if not plan.hosts and not plan.apart:
        return ""
    rows = [(name if name == "canary" else f"batch {name}", _capped(hosts)) for name, hosts in plan.batches]
    boxes = "".join(f"<li><b>{hosts.total}</b>{name}{_names(hosts)}</li>" for name, hosts in rows[:ROWS])
    reasons: dict[str, list[str]] = {}
    for host, why in plan.apart:
        reasons.setdefault(why, []).append(host)
    apart = "".join(
        f'<tr><td class="n">{len(hosts)}</td><td>in no batch: {_e(why)}{_names(_capped(hosts))}</td></tr>'
        for why, hosts in reasons.items()
    )
    batches = f"{len(plan.batches)} batch{'es' * (len(plan.batches) != 1)}"
    note = f"{many(plan.hosts, 'host')} in {batches}; only a required reboot counts"
    return _section(
        "Reboots, in batches", note, f'<ul class="batches">{boxes}</ul>', _rest(len(rows), "batches"),
        f'<table class="rows"><tbody>{apart}</tbody></table>' if apart else "", name="plan",
    )  # fmt: skip


def _since(since: Optional[Since]) -> str:
    if not since:
        return ""
    news = (("got ready", since.got_ready), ("drifted", since.drifted), ("new", since.new), ("gone", since.gone))
    tiles = "".join(
        f'<li data-news="{word}"{"" if hosts.total else " class=none"}><b>{hosts.total}</b><span>{word}</span>'
        f"{_names(hosts)}</li>"
        for word, hosts in news
    )
    rows = "".join(
        f'<tr><td class="n">{then} → {now}</td><td><span class="tag">{_e(cause.requirement)}</span>'
        f'<code>{_e(cause.what)}</code>{_source(cause.source)} <span class="soft">· {_e(cause.do)}</span></td></tr>'
        for cause, then, now in since.causes[:ROWS]
    )
    return _section(
        "Since the earlier collection", "hosts; then the causes that shrank or grew", f'<ul class="tiles">{tiles}</ul>',
        f'<table class="rows"><tbody>{rows}</tbody></table>', _rest(len(since.causes), "causes"), name="since",
    )  # fmt: skip


def _skipped(picture: Picture) -> str:
    rows = "".join(
        f'<tr><td class="n">{hosts.total}</td><td><span class="tag">{_e(what.partition(": ")[0])}</span>'
        f"{_e(what.partition(': ')[2])}{_names(hosts)}</td></tr>"
        for what, hosts in list(picture.skipped.items())[:ROWS]
    )
    note = "what a verdict does not rest on"
    table = f'<table class="rows"><tbody>{rows}</tbody></table>'
    return _section("Not looked at", note, table, _rest(len(picture.skipped), "rows"), name="skipped") if rows else ""


def _hosts(picture: Picture) -> str:
    if not picture.hosts:
        return ""
    options = "".join(f'<option value="{word}">{WORDS[word]}</option>' for word, n in picture.states.items() if n)
    tool = (
        '<p class="tool" id="filter" hidden><input type="search" placeholder="host, cause, release" aria-label="find">'
        f'<select aria-label="verdict"><option value="">every verdict</option>{options}</select><output></output></p>'
    )
    head = "<th>host</th><th>verdict</th><th>stops at</th><th>cause</th><th>release</th><th>report of</th>"
    count = picture.machines - picture.states["ready"]
    most = len(picture.hosts)
    shown = f"the first {most} of {count}; the CSV has all" if count > most else f"all {count}"
    return _section(
        "Hosts, worst first", f"{shown}; {many(picture.states['ready'], 'ready host')} not listed", tool,
        f'<table id="hosts" class="stack"><thead><tr>{head}</tr></thead><tbody>',
        *map(_host, picture.hosts), "</tbody></table>",
    )  # fmt: skip


def _host(listed: Listed) -> str:
    machine, state, causes = listed
    why = "; ".join(f'<span class="tag">{_e(cause.requirement)}</span>{_e(cause.what)}' for cause in causes)
    stop = machine.stop if machine.stop not in CHAIN_WORDS else ""
    return (
        f'<tr data-state="{state}"><td class="host">{_e(machine.name)}</td><td><span class="state">'
        f'<i class="key s-{state}"></i>{WORDS[state]}</span></td><td class="stop" data-is="stops at">{_e(stop)}</td>'
        f'<td>{why}</td><td>{_e(machine.release)}</td><td class="soft when" title="{_e(machine.path)}">'
        f"{_time(machine.seen)}</td></tr>"
    )


def _left_out(picture: Picture) -> str:
    rows = "".join(
        f"<tr><td><code>{_e(path)}</code></td><td>{_e(why)}</td></tr>"
        for path, why in list(picture.problems.items())[:ROWS]
    )
    said = "".join(f"<li>{_e(text)}</li>" for text in notes(picture))
    blocks = [f'<ul class="plain">{said}</ul>'] if said else []
    if rows:
        blocks += [f'<table class="rows"><tbody>{rows}</tbody></table>', _rest(len(picture.problems), "files")]
    note = f"{many(len(picture.problems), 'file')} left out" if rows else ""
    return _section("To know", note, *blocks, name="notes") if blocks else ""


def _capped(hosts: Sequence[str]) -> Hosts:
    return Hosts(len(hosts), tuple(hosts[:NAMED]))


def _rest(rows: int, what: str) -> str:
    return f'<p class="soft">and {rows - ROWS} {what}</p>' if rows > ROWS else ""


def _span(picture: Picture) -> str:
    if not picture.last:
        return "no report has a time"
    stale = picture.states.get(STALE, 0)
    older = f"; {stale} older than {age(picture.stale_after)}" if picture.stale_after else ""
    return f"reports of {_time(picture.first)} to {_time(picture.last)}{older}"


def _time(seen: float) -> str:
    return moment(seen)[:16].replace("T", " ") + " UTC" if seen else "none"
