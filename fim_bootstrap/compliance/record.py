"""The record: what was relaxed on this host, when, for whom, and until when. Every fact in it is traceable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from .. import __version__, audit_rules, journal
from ..errors import Usage
from ..host import Reader
from ..model import Facts
from . import origins
from .controls import Control, Role, controls, roles
from .scap import Content

YEAR = 365 * 86400
LOCKED = 2
# what FIM has to watch instead: the compensating control, which the signer states and nobody here can see
WATCHED = ("/etc/audit/auditd.conf", "/etc/audit/audit.rules", "/etc/audit/rules.d", "/etc/audit/plugins.d")
REASON = "The file integrity monitoring agent adds its audit rules when it starts; -e 2 has the kernel refuse them."


class Relaxed(NamedTuple):
    """A line that locks the audit rules: found now, or taken out of force by this tool at `when` (ISO 8601)."""

    file: str
    line: int
    text: str
    when: str = ""
    origins: tuple[origins.Origin, ...] = ()


class Terms(NamedTuple):
    """What the person who signs adds."""

    owner: str = ""
    approver: str = ""
    ticket: str = ""
    expires: str = ""  # ISO date


class Record(NamedTuple):
    """All that the formats print."""

    tool: str
    hostname: str
    release: str
    made: str
    relaxed: tuple[Relaxed, ...]
    kernel: str  # what the kernel says of its lock
    controls: tuple[Control, ...]
    roles: tuple[Role, ...]
    content: Optional[Content]
    watches: tuple[str, ...]  # rules of the kernel that show a watch on the audit configuration
    terms: Terms


def made(host: Reader, facts: Facts, content: Optional[Content], terms: Terms) -> Record:
    """The record of this host; its `relaxed` is empty where no exception is needed."""
    status = facts.audit.status or {}
    locked = {LOCKED: "enabled 2: locked until the next boot"}
    enabled = status.get("enabled")
    return Record(
        tool=f"fim-bootstrap {__version__}",
        hostname=facts.hostname,
        release=facts.os.name or f"{facts.os.id} {facts.os.version}",
        made=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        relaxed=(*_changed(host), *_found(facts)),
        kernel="not asked" if enabled is None else locked.get(enabled, f"enabled {enabled}: rules can be changed"),
        controls=controls(facts.os),
        roles=roles(facts.os),
        content=content,
        watches=tuple(rule for rule in facts.audit.live_rules or () if _watches_audit(rule)),
        terms=terms,
    )


def terms(values: Mapping[str, Any]) -> Terms:
    """The options of the signer; `expires` is in a year where nothing else is said. Raises Usage."""
    expires = values["expires"] or time.strftime("%Y-%m-%d", time.localtime(time.time() + YEAR))
    try:
        ends = time.mktime(time.strptime(expires, "%Y-%m-%d"))
    except ValueError:
        raise Usage(f"--expires {expires}: must be a date", "write it as 2027-11-30") from None
    if ends <= time.time():
        raise Usage(f"--expires {expires}: lies in the past", "an exception ends in the future")
    for name in ("owner", "approver", "ticket"):
        if not values[name].isprintable():  # it goes into comments of other languages
            raise Usage(f"--{name}: must be one line of plain text")
    return Terms(values["owner"], values["approver"], values["ticket"], expires)


def _found(facts: Facts) -> Iterator[Relaxed]:
    for file in facts.audit.rules:
        for rule in audit_rules.parse(file.text):
            if rule.locks:
                yield Relaxed(file.path, rule.number, rule.text.strip(), "", origins.of(file.text))


def _changed(host: Reader) -> Iterator[Relaxed]:
    """The lines that this tool took out of force, as the journal has them."""
    for step in journal.entries(host):
        if step.get("kind") != "edit" or not str(step.get("path", "")).endswith(".rules"):
            continue
        try:
            before, after = (journal.kept(host, step[key]) for key in ("before", "after"))
        except KeyError:  # the texts are lost; that a file was edited proves nothing of its lines
            continue
        left = [rule.text for rule in audit_rules.parse(after) if rule.locks]
        for rule in audit_rules.parse(before):
            if rule.locks and rule.text not in left:
                yield Relaxed(step["path"], rule.number, rule.text.strip(), step.get("time", ""), origins.of(before))


def _watches_audit(rule: str) -> bool:
    words = rule.replace("=", " ").split()
    return any(word.rstrip("/") in ("/etc/audit", *WATCHED) for word in words) and words[:1] != ["-d"]


def sources(relaxed: Sequence[Relaxed]) -> tuple[origins.Origin, ...]:
    """Who will write the lines again, each once."""
    return tuple(dict.fromkeys(origin for one in relaxed for origin in one.origins))
