"""Why a host is not ready, in words that hosts share: what stands where, who put it there, and what one would do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .answers import parts, texts
from .wording import line, shared

OPEN = ("failed", "blocked", "change", "reboot")
JOINED = "/etc/audit/audit.rules"  # augenrules makes it from rules.d: the same line there is no second cause
PLACE = re.compile(r"(/[^\s:][^:]*):(\d+): (.*)")
_GENERATED = re.compile(r"(/\S+) (looks generated)")
_LOCKS = re.compile(r": .*-e *2")
_SETTING = re.compile(r"(.*?)[:;,] ((?:set|change) .*)")
_REMEDY = re.compile(r"(.*?) \((.*)\)$")
LOCKED = "locked from outside: the rule files are clean"
UNLOCK = "find what runs auditctl -e 2 (a unit, a drop-in, a script), take it out, then reboot"
APPLY, REBOOT, LOOK_AGAIN = "fim-bootstrap apply", "reboot, in batches", "have it looked at, and collect again"


class Cause(NamedTuple):
    """One row of what is to be done."""

    requirement: str
    what: str
    source: str
    do: str

    def text(self) -> str:
        """The cause on one line."""
        return f"{self.requirement}: {self.what}" + (f" ({self.source})" if self.source else "")


def causes(report: Mapping[str, Any], hostname: str, locked: bool) -> tuple[Cause, ...]:
    """What stands in the way of this host; what only waits for another cause is none of its own."""
    items = parts(report, "requirements")
    found = [item for item in items if item.get("status") in OPEN]
    found = found or [item for item in items if item.get("status") == "waiting"]
    rows: dict[Cause, None] = {}
    for item in found:
        rows.update(dict.fromkeys(_of_requirement(item, report, hostname, locked)))
    if not rows and report.get("verdict") not in ("ready", "ready-after-reboot"):
        said = str(report.get("comment") or report.get("msg") or "the report gives no reason").partition("\n")[0]
        what, remedy = match.groups() if (match := _REMEDY.match(said)) else (said, "")
        rows[Cause("run", shared(what, hostname), "", shared(remedy, hostname) or "see the report")] = None
    return tuple(rows)


def _of_requirement(item: Mapping[str, Any], report: Mapping[str, Any], hostname: str, locked: bool) -> Iterator[Cause]:
    name, status = line(item.get("id")) or "?", str(item.get("status"))
    do = _do(item, report, hostname, status)
    if locked and name == "rules":
        suspects = [text.partition(": ")[2] for text in texts(item, "evidence") if text.startswith("may lock it")]
        yield Cause(name, LOCKED, shared(", ".join(suspects), hostname), UNLOCK)
        return
    places = list(_places(item, report, hostname))
    for what, source in places:
        match = _SETTING.match(source)
        origin, setting = match.groups() if match else (source, "change it where it comes from")
        yield Cause(name, what, origin, f"{setting}, then {do}" if source else do)
    if not places:
        yield Cause(name, shared(item.get("summary"), hostname) or status, "", do)


def _do(item: Mapping[str, Any], report: Mapping[str, Any], hostname: str, status: str) -> str:
    remedy = shared(item.get("remedy"), hostname)
    if status == "change":
        if item.get("id") != "rules":
            return APPLY
        if "reboot_after_apply" in report:
            return f"{APPLY}, then {REBOOT}" if report["reboot_after_apply"] is True else APPLY
        frozen = any(map(_LOCKS.search, texts(item, "evidence")))  # an older report does not say
        return f"{APPLY}, then {REBOOT}, where the kernel is frozen" if frozen else APPLY
    if status == "reboot":
        return REBOOT
    if status == "waiting":
        return remedy or LOOK_AGAIN
    return remedy or ("a decision" if status == "blocked" else "see the report")


def _places(item: Mapping[str, Any], report: Mapping[str, Any], hostname: str) -> Iterator[tuple[str, str]]:
    """What stands in which file, and where that comes from as far as the report tells."""
    told = [cause for cause in parts(report, "causes") if cause.get("id") == item.get("id")]
    if told:
        rows = [(line(c.get("file")), line(c.get("text")), line(c.get("source"))) for c in told]
    else:
        generated = {m[1]: m[2] for text in texts(item, "warnings") if (m := _GENERATED.match(line(text)))}
        places = [match for text in texts(item, "evidence") if (match := PLACE.match(line(text)))]
        rows = [(match[1], match[3], generated.get(match[1], "")) for match in places]
    elsewhere = {text for file, text, _ in rows if file != JOINED}
    for file, text, source in rows:
        if not (file == JOINED and text in elsewhere) and (file or text):
            yield " in ".join(part for part in (shared(text, hostname), shared(file, hostname)) if part), source
