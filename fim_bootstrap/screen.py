"""A report as a person reads it: where an event stops, what is wrong (worst first), the verdict, what to type next.

A finding is a sign, an id and one sentence; below it lines with labels: `at` what was seen where, `does` what apply
would do, `note` a risk or a side effect, `try` a way out, `more` a page. Signs are words, which colour only repeats.
Text of the host is shown escaped, and cut; the JSON has it whole. Lines are wrapped on a terminal alone: elsewhere
each sentence is one line, for grep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .layout import PLAIN, Style, wrapped
from .redact import QUOTE, SENTENCE, shown

NAME, SAID = 64, 400  # characters of a system's name, and of a sentence that may quote the host
SHOWN = 6  # lines of evidence of one finding, and of a file's difference, where -v does not ask for all
ORDER = ("failed", "blocked", "change", "reboot", "waiting")
SIGNS = {"failed": "FAILED", "blocked": "BLOCKED", "change": "CHANGE", "reboot": "REBOOT", "waiting": "waiting"}
PAST = {"ok": "seen", "stop": "STOP"}  # of a test event
# the first word of what would be done -> what it comes to, counted
KINDS = (
    (r"install ", "installs packages", ""),
    (r"edit ", "edits {} file", "s"),
    (r"create ", "creates files", ""),
    (r"delete the rule ", "deletes {} rule", "s"),
    (r"build ", "loads {} SELinux module", "s"),
    (r"restore |label ", "sets SELinux labels", ""),
    (r"enable ", "enables {} service", "s"),
    (r"stop ", "stops {} service", "s"),
)


def text(document: Mapping[str, Any], style: Style = PLAIN) -> str:
    """The whole report."""
    return "\n".join(_Screen(document, style).lines())


def brief(document: Mapping[str, Any]) -> str:
    """The verdict in one line, for a journal that keeps one for each run."""
    open_ended = [item["id"] for item in document["requirements"] if item["status"] in ORDER]
    stop = next((hop["hop"] for hop in document["chain"] if hop["state"] == "stop"), "")
    judgement = document["comment"].split("; ")[0]
    parts = [f"{judgement}: {', '.join(open_ended)}" if open_ended and ":" not in judgement else judgement]
    parts += [f"an event stops at {stop}"] if stop and open_ended else []
    parts += ["a reboot is due after apply"] if document["reboot_after_apply"] else []
    parts += document["next"][:1]
    return shown(f"{'; '.join(parts)} (exit {document['exit_status']})", SENTENCE)


def taken_back(undone: int, notes: Sequence[str], problems: Sequence[tuple[str, str]], style: Style = PLAIN) -> str:
    """What `revert` did, what it has to say of that, and what it left, each with the way out."""
    lines = [line for note in notes for line in wrapped("note    ", shown(note, SENTENCE), style)]
    for said, remedy in problems:
        lines += ["", *wrapped("KEPT    ", shown(said, SENTENCE), style, "KEPT")]
        lines += [shown(line, SENTENCE) for line in remedy.splitlines()]
    steps = _count(undone, "step") if undone else "nothing"
    left = f", {_count(len(problems), 'thing')} left as it is" if problems else ""
    lines += ["", *wrapped("", f"TAKEN BACK: {steps}{left}", style)] if lines else [f"TAKEN BACK: {steps}"]
    return "\n".join([*lines, "  exit    1"] if problems else lines).lstrip("\n")


class _Screen:
    """One report on its way to the screen."""

    def __init__(self, document: Mapping[str, Any], style: Style) -> None:
        self.document, self.style = document, style
        self.items: Sequence[Mapping[str, Any]] = document["requirements"]
        self.applied = document["command"] == "apply"

    def lines(self) -> Iterator[str]:
        """All lines, blocks apart from each other."""
        yield from self.wrapped("", self.host())
        yield from self.way()
        for item in self.ranked():
            yield ""
            yield from self.finding(item)
        settled = [*self.warnings(), *self.untried(), *self.right(), *self.skipped(), *self.unseen()]
        yield from ["", *settled] if settled and self.ranked() else settled
        yield from [""] if self.ranked() else []
        yield from self.last()

    def host(self) -> str:
        """Which host, judged as what."""
        host = self.document["host"]
        name = host["hostname"] if host["root"] == "/" else host["root"]
        system = re.sub(r" \([^()]*\)$", "", host["os"]["name"])  # without the release's code name
        parts = (shown(system, NAME), f"profile {host['profile']}", host["environment"],
                 f"SELinux {host['selinux']}", f"{host['mode']} mode")  # fmt: skip
        return f"{shown(name or 'this host')}: {', '.join(parts)}"

    # ------------------------------------------------------------------ the way of an event

    def way(self) -> Iterator[str]:
        """The stations, in one line where none stops an event."""
        hops = self.document["chain"]
        probed = any(item["id"] == "delivery" and item["status"] != "skipped" for item in self.items)
        stop = next((hop for hop in hops if hop["state"] == "stop"), None)
        if not hops:
            return
        if not probed and not self.style.verbose and (stop is None or self.no_agent(stop)):
            yield from self.wrapped("", " > ".join(self.stations(hops)))
            return
        yield ""
        yield from self.wrapped("", "The way of the test event" if probed else
                                "The way of an event, as it looks now (check --probe sends one)")  # fmt: skip
        for hop in hops:
            sign = PAST.get(hop["state"], hop["state"]) if probed else hop["state"].replace("stop", "STOP")
            yield from self.wrapped(f"  {sign:5} {hop['hop']:11} ", shown(hop["evidence"]), sign)
        yield from () if self.ranked() else ("",)

    def no_agent(self, stop: Mapping[str, Any]) -> bool:
        """Whether the way ends where an agent would take the event, and there is none yet."""
        return bool(self.document.get("agent") == "absent" and stop["evidence"].startswith("no agent"))

    def stations(self, hops: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """Each station with its process, or how long ago it was written to."""
        for hop in hops:
            if hop["state"] in ("stop", "down"):
                yield "no agent yet"
                return
            found = re.search(r"^pid (\d+)|(\d+ s) ago", hop["evidence"])
            mark = "?" if hop["state"] == "?" else (found[1] or found[2]) if found else ""
            yield f"{hop['hop']} {mark}".rstrip()

    # ------------------------------------------------------------------ what is wrong

    def ranked(self) -> list[Mapping[str, Any]]:
        """What is not right, worst first; after an apply that stopped, not what it had no chance to do."""
        untried = self.not_tried()
        return sorted((item for item in self.items if item["status"] in ORDER and item not in untried),
                      key=lambda item: ORDER.index(item["status"]))  # fmt: skip

    def not_tried(self) -> list[Mapping[str, Any]]:
        """What a run of apply that was stopped would have done."""
        return [item for item in self.items if self.applied and item["status"] == "change"]

    def finding(self, item: Mapping[str, Any]) -> Iterator[str]:
        """One finding: its sentence, and below it what belongs to it."""
        sign = "NOT PROVEN" if _unproven(item) else SIGNS[item["status"]]
        said = item["summary"].removeprefix("not proven: ")
        yield from self.wrapped(f"{sign:7} {item['id']:11} ", shown(said, SAID), sign)
        yield from self.evidence(item)
        for change in self.planned(item):
            yield from self.labelled("does", change)
        for warning in item["warnings"]:
            yield from self.labelled("note", warning)
        for number, line in enumerate(item["remedy"].splitlines()):
            yield from self.labelled("" if number else "try", line)
        yield from self.labelled("more", item["more"])

    def planned(self, item: Mapping[str, Any]) -> Sequence[str]:
        """What apply would do; of an edit that is shown as what differs, what for."""
        if item["status"] != "change":
            return ()
        shown_above = set(re.findall(r"(?m)^--- (/\S+)$", item["diff"]))
        edits = [(change, re.match(r"edit (/\S+): (.*)", change)) for change in item["changes"]]
        return tuple(dict.fromkeys(edit[2] if edit and edit[1] in shown_above else line for line, edit in edits))

    def evidence(self, item: Mapping[str, Any]) -> Iterator[str]:
        """What was seen, and where; an edit as the lines that differ, or as it is under -v."""
        if item["id"] == "delivery":  # it stands above, as the way of the test event
            return
        edits = _edits(item["diff"])
        edited = {place for place, _ in edits}
        seen = [line for line in item["evidence"] if _place(line) not in edited]
        yield from self.capped([self.labelled("at", line) for line in seen])
        if self.style.verbose:
            from . import unified

            yield from (f"{'':14}{shown(line)}" for line in unified.lines(item["diff"]))
            return
        before: Sequence[str] = ()
        for place, lines in edits:
            yield from self.labelled("at", f"{place} (the same)" if lines == before else place)
            yield from self.capped([self.difference(line) for line in ([] if lines == before else lines)])
            before = lines

    def capped(self, rows: Sequence[Iterator[str]]) -> Iterator[str]:
        """The rows, or the first of them and how many more there are."""
        most = len(rows) if self.style.verbose or len(rows) == SHOWN + 1 else SHOWN
        for row in rows[:most]:
            yield from row
        if len(rows) > most:
            yield from self.labelled("", f"... {len(rows) - most} more; -v shows them")

    def labelled(self, label: str, line: str) -> Iterator[str]:
        """A line below a finding; one that begins with blanks is a command, and is not wrapped."""
        head, limit = f"{'':8}{label:5} ", {"at": QUOTE, "note": SAID}.get(label, SENTENCE)
        return (
            iter((f"{head}{shown(line, limit)}",)) if line.startswith(" ") else self.wrapped(head, shown(line, limit))
        )

    def difference(self, line: str) -> Iterator[str]:
        """A line that goes (- ) or comes (+ ) in a file."""
        return self.wrapped(f"{'':14}{line[:2]}", shown(line[2:]))

    # ------------------------------------------------------------------ what is right, or was left out

    def warnings(self) -> Iterator[str]:
        """What is to be said of what is right."""
        for item in self.items:
            for line in item["warnings"] if item["status"] in ("ok", "skipped") else ():
                yield from self.wrapped(f"warning {item['id']:11} ", shown(line, SAID), "warning")

    def untried(self) -> Iterator[str]:
        """What an apply that stopped did not come to."""
        if names := ", ".join(item["id"] for item in self.not_tried()):
            why = "while something is blocked" if self.document["verdict"] == "blocked" else "after the failure"
            yield from self.wrapped("waiting ", f"{names}: not tried {why}")

    def right(self) -> Iterator[str]:
        """In one line, as far as it could be looked at; under -v each with what is known of it."""
        found = self.known_right()
        doubtful = [item["id"] for item in self.items if item["status"] == "ok" and item not in found]
        if doubtful:
            yield from self.wrapped("?       ", f"{', '.join(doubtful)}: not all of it could be looked at")
        if not self.style.verbose:
            yield from self.wrapped("ok      ", ", ".join(item["id"] for item in found)) if found else ()
            return
        for item in found:
            yield from self.wrapped(f"ok      {item['id']:11} ", shown(item["summary"], SAID))
            seen = () if item["id"] == "delivery" else item["evidence"]
            yield from self.capped([self.labelled("at", line) for line in seen])

    def known_right(self) -> list[Mapping[str, Any]]:
        """What is right, and was looked at in full."""
        return [item for item in self.items if item["status"] == "ok" and item["id"] not in self.document["unknown"]]

    def skipped(self) -> Iterator[str]:
        """What does not apply, or was not asked for, by its reason."""
        reasons: dict[str, list[str]] = {}
        for item in self.items:
            if item["status"] == "skipped":
                summary = item["summary"] if self.style.verbose else item["summary"].split("; ")[0]
                reasons.setdefault(summary, []).append(item["id"])
        for reason, names in reasons.items():
            yield from self.wrapped("skipped ", f"{', '.join(names)}: {shown(reason, SAID)}", "skipped")

    def unseen(self) -> Iterator[str]:
        """What could not be looked at."""
        for line in self.document["unseen"]:
            yield from self.wrapped("unseen  ", shown(line))

    # ------------------------------------------------------------------ the last block

    def last(self) -> Iterator[str]:
        """The verdict with what it rests on, what apply would do, the reboot, what to type, the exit status."""
        document = self.document
        for line in document["done"]:
            yield from self.row("done", line)
        sign, said = self.verdict()
        yield from self.wrapped("", f"{sign}{said} ({document['seconds']:.1f} s)", sign.split(",")[0])
        if document["verdict"] == "not-ready" and (would := _would(self.items, document.get("agent", ""))):
            yield from self.row("apply", would)
        for item in document["expected"]:
            yield from self.row("later", f"{item['id']}: {'; '.join(item['changes'])}")
        if document["reboot_required"]:
            yield from self.row("reboot", "required: plan it; nothing was rebooted")
        elif document["reboot_after_apply"]:
            yield from self.row("reboot", "needed after apply: plan it now")
        for label, line in zip(self.labels(), document["next"]):
            yield f"  {label:7} {shown(line, SENTENCE)}"  # in one line, so that it can be pasted
        if self.applied and document["done"]:
            yield from self.row("log", "/var/log/fim-bootstrap.log")
        if document["exit_status"]:
            yield from self.row("exit", str(document["exit_status"]))

    def labels(self) -> Sequence[str]:
        """What the lines to type are for."""
        if self.applied and self.document["verdict"] == "failed":
            return ("again", "undo")
        if self.document["reboot_required"]:
            return ("then",)
        return ("proof",) if self.document["verdict"] == "ready" else ("next", "then")

    def row(self, label: str, line: str) -> Iterator[str]:
        """A line of the last block."""
        return self.wrapped(f"  {label:7} ", shown(line, SENTENCE))

    def verdict(self) -> tuple[str, str]:
        """The word, and how much it says."""
        document = self.document
        word = document["verdict"]
        right = len(self.known_right())
        if word == "failed":
            return "FAILED", self.failed()
        if word == "blocked":
            mine = sum(item["status"] == "blocked" for item in self.items)
            changed = "nothing was changed; " if self.applied else ""
            return "BLOCKED", f": {changed}{_count(mine, 'thing')} only a person may lift"
        blind = document["unknown"]
        if blind and not any(item["status"] in ORDER and item["id"] not in blind for item in self.items):
            who = "" if not document["next"] else " by this user"
            return "NOT KNOWN", f": {len(blind)} of {len(self.items)} cannot be looked at{who} ({', '.join(blind)})"
        if word == "ready":
            return self.ready(right)
        if [item["id"] for item in self.ranked()] == ["delivery"]:
            return "NOT PROVEN", f": {right} right, and what became of the test event cannot be told"
        return word.replace("-", " ").upper(), f": {self.counts(right)}"

    def failed(self) -> str:
        """What stands, where a change failed; which event was stopped, where none was made."""
        names = ", ".join(item["id"] for item in self.items if item["status"] == "failed")
        if not self.applied:
            return f": {names}"
        made = len(self.document["done"])
        if not made:
            return f" in {names}: nothing was changed"
        stands = f"{made} changes stand" if made > 1 else "1 change stands"
        return f" in {names}: {stands}; a second run goes on from there"

    def ready(self, right: int) -> tuple[str, str]:
        """How far was looked, and what was changed."""
        left_out = [line for line in self.document["incomplete"] if line.startswith("left out by ")]
        if left_out:
            return "READY", f" as far as looked at: {right} right; {'; '.join(left_out)}"
        warnings = sum(len(item["warnings"]) for item in self.items)
        warned = f", {_count(warnings, 'warning')}" if warnings else ""
        proven = any(item["id"] == "delivery" and item["status"] == "ok" for item in self.items)
        warned += ", proven by a test event" if proven else ""
        if self.applied and self.document["done"]:
            return "READY", f"{warned}: {_count(len(self.document['done']), 'change')} made"
        nothing = "nothing to change; " if self.applied else ""
        return "READY", f"{warned}: {nothing}all {right} that were looked at are right"

    def counts(self, right: int) -> str:
        """How many are what."""
        by_status = [item["status"] for item in self.items]
        parts = (("change", "to change"), ("reboot", "waiting for a reboot"), ("waiting", "waiting"))
        found = [f"{by_status.count(status)} {said}" for status, said in parts if status in by_status]
        blind = by_status.count("ok") - right
        found += [f"{blind} not known"] if blind else []
        skipped = [f"{by_status.count('skipped')} left out"] if "skipped" in by_status else []
        return ", ".join((*found, f"{right} right", *skipped))

    def wrapped(self, head: str, line: str, sign: str = "") -> Iterator[str]:
        """A line of text behind its head, in this screen's style."""
        return wrapped(head, line, self.style, sign)


def _edits(diff: str) -> Sequence[tuple[str, Sequence[str]]]:
    """The places of a unified diff, and the lines that differ there."""
    if not diff:
        return ()
    from .unified import edits  # not for a run that finds nothing to change

    return tuple(edits(diff))


def _unproven(item: Mapping[str, Any]) -> bool:
    return bool(item["id"] == "delivery" and item["status"] == "waiting")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _place(line: str) -> str:
    """FILE:LINE at the beginning of a line of evidence, or ''."""
    found = re.match(r"/[^:]+:\d+(?=:)", line)
    return found[0] if found else ""


def _would(items: Sequence[Mapping[str, Any]], agent: str) -> str:
    """What apply would do, in numbers, and what it would restart."""
    planned = [change for item in items if item["status"] == "change" for change in item["changes"]]
    if not planned:
        return ""
    kinds = [(said, plural, sum(bool(re.match(words, change)) for change in planned)) for words, said, plural in KINDS]
    parts = [said.format(number) + (plural if number > 1 else "") for said, plural, number in kinds if number]
    services = [change.split()[1] for change in planned if re.match(r"(re)?start ", change)]
    restarts = f"restarts {', '.join(services)}" if services else "restarts nothing"
    if services == ["auditd"] and agent == "running":
        restarts += ", and the agent where its rules are gone with it"
    return f"{', '.join(parts)}; {restarts}" if parts else restarts
