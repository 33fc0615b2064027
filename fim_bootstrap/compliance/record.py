"""The record: what was relaxed on this host, when, for whom, and until when. Every fact in it is traceable."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from .. import __version__, written_by
from ..audit import auditctl, rules_d
from ..audit.auditctl import Rule
from ..changes import journal
from ..errors import Usage
from ..host.reader import Reader
from ..model import LOCKED, Facts, OsRelease
from ..written_by import Writer
from .controls import Control, Role, controls, roles
from .scap import Content

YEAR = 365 * 86400
LOCKS = "enabled 2: locked until the next boot"
# what FIM has to watch instead: the compensating control, which the signer states and nobody here can see
WATCHED = ("/etc/audit/auditd.conf", "/etc/audit/audit.rules", "/etc/audit/rules.d")
PLUGINS = {2: "/etc/audisp/plugins.d"}  # audit 2 has a dispatcher of its own
OWN_PLUGINS = "/etc/audit/plugins.d"
REASON = "The file integrity monitoring agent adds its audit rules when it starts; -e 2 has the kernel refuse them."


class Relaxed(NamedTuple):
    """A line that locks the audit rules: found now, or taken out of force by this tool at `when` (ISO 8601)."""

    file: str
    line: int
    text: str
    when: str = ""
    inert: str = ""  # why a line that was found has no effect as it stands; a scanner may count it all the same
    written_by: Optional[Writer] = None  # who wrote the file, and will write it again


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
    elsewhere: tuple[str, ...]  # where the kernel is locked: what beside the rule files may do it, as FILE:LINE: TEXT
    controls: tuple[Control, ...]
    roles: tuple[Role, ...]
    content: Optional[Content]
    watch: tuple[str, ...]  # what is to be watched instead, by FIM or by rules
    watches: tuple[str, ...]  # rules of the kernel that show a watch on the audit configuration
    terms: Terms

    @property
    def needed(self) -> bool:
        """Whether there is anything to be excepted here."""
        return bool(self.relaxed) or self.kernel == LOCKS


def made(host: Reader, facts: Facts, content: Optional[Content], terms: Terms) -> Record:
    """The record of this host."""
    enabled, live = (facts.audit.status or {}).get("enabled"), facts.audit.live_rules or ()
    watch = (*WATCHED, PLUGINS.get(facts.audit.generation, OWN_PLUGINS))
    return Record(
        tool=f"fim-bootstrap {__version__}",
        hostname=facts.hostname,
        release=facts.os.name or f"{facts.os.id} {facts.os.version}",
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(facts.now)),
        relaxed=(*_changed(host, facts.os), *_found(facts)),
        kernel={None: "not asked", LOCKED: LOCKS}.get(enabled, f"enabled {enabled}: rules can be changed"),
        elsewhere=facts.audit.locked_by,
        controls=controls(facts.os),
        roles=roles(facts.os),
        content=content,
        watch=watch,
        watches=tuple(rule for rule in live if any(_covers(_watched(rule), path) for path in watch)),
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
    """The lines that apply takes out, of the files as they are."""
    texts = {file.path: file.text for file in facts.audit.rules}
    for line in rules_d.blocking(facts.audit.rules, facts.audit.joins):
        if _locks(line.rule):
            path, number = line.spans[0].path, line.spans[0].number
            writer = written_by.of(path, texts[path], facts.os)
            yield Relaxed(path, number, line.rule.text.strip(), "", line.why, writer)


def _changed(host: Reader, release: OsRelease) -> Iterator[Relaxed]:
    """The lines that this tool took out of force, as the journal has them; one that came again, by its last time."""
    found: dict[tuple[str, str], Relaxed] = {}
    for step in journal.entries(host):
        if step.get("kind") != "edit" or not str(step.get("path", "")).endswith(".rules"):
            continue
        try:
            before, after = (journal.kept(host, step[key]) for key in ("before", "after"))
        except KeyError:  # the texts are lost; that a file was edited proves nothing of its lines
            continue
        path, left = step["path"], {rule.text for rule in auditctl.parse(after) if _locks(rule)}
        for rule in auditctl.parse(before):
            if _locks(rule) and rule.text not in left:
                text, writer = rule.text.strip(), written_by.of(path, before, release)
                found[path, text] = Relaxed(path, rule.number, text, step.get("time", ""), "", writer)
    yield from found.values()


def _locks(rule: Rule) -> bool:
    """Whether a line asks for the lock; one that is dormant may ask for `never,task` instead."""
    return rule.locks or (rule.dormant and "task" not in rule.text)


def unwatched(record: Record) -> tuple[str, ...]:
    """What of that no rule in the kernel watches."""
    seen = [_watched(rule) for rule in record.watches]
    return tuple(path for path in record.watch if not any(_covers(one, path) for one in seen))


def _covers(watched: str, path: str) -> bool:
    """Whether a watch on one path, if there is one, is a watch on another."""
    return bool(watched) and f"{path}/".startswith(f"{watched}/")


def _watched(rule: str) -> str:
    """The path on which a rule of the kernel records each write and change of attributes, whoever makes it; or ''."""
    path = ""
    for name, value in auditctl.options(rule):
        field, how, text = re.split("([!<>&=]+)", f"{value}=")[:3] if name == "F" else (name, "=", value)
        if field in ("w", "dir", "path") and how == "=":
            path = text.rstrip("/")
        elif field in ("p", "perm"):
            if not {"w", "a"} <= {*text}:
                return ""
        elif not (field in ("k", "key", "arch") or (field in "aA" and "always" in text) or value == "all"):
            return ""
    return path


def sources(relaxed: Sequence[Relaxed]) -> tuple[Writer, ...]:
    """Who will write the lines again, each once."""
    return tuple(dict.fromkeys(one.written_by for one in relaxed if one.written_by))
