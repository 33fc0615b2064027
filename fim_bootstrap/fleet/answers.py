"""What an engine hands back for a host, and the report in it.

A report itself; a command's output as text (Salt's cmd.run, with what went to stderr around it) or beside its status
(cmd.run_all, Ansible's --tree); Salt's module fim_bootstrap; Salt's states, which keep only a comment where nothing
changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from .reading import Found, Skip

NOT_ONE = "no report of check or apply"
LONGEST = 300  # characters of a line that is kept
MOST = 100_000  # answers of one file that are kept until it is known whether the file is a foreign one
_DECODE = json.JSONDecoder().raw_decode
_SILENT = re.compile(r"Minion did not return")
_VERDICTS = re.compile(r"(ready after reboot|ready|not ready|blocked|failed)(?:;|$)")
_OPEN = {"not ready": "change", "blocked": "blocked", "failed": "failed"}


class Answer(NamedTuple):
    """What one host answered: its report, or why there is none."""

    report: Optional[dict[str, Any]]
    why: str
    path: str
    name: str
    mtime: float
    number: int = 1  # among the answers of the file


def answers(found: Iterable[Found], skip: Skip) -> Iterator[Answer]:
    """The answers in the values; `skip` is told of a file that holds something else.

    An answer without a report counts only beside others, or in Salt's own words: else the file is foreign.
    """
    path, ours, number = "", False, 0
    silent: list[Answer] = []

    def left_over() -> Iterator[Answer]:
        if ours or any(_SILENT.match(answer.why) for answer in silent):
            yield from silent
        else:
            for answer in silent:
                skip(answer.path, NOT_ONE)

    for value, source, name, mtime in found:
        if source != path:
            yield from left_over()
            path, ours, number, silent = source, False, 0, []
        if not name and not isinstance(value, dict):
            skip(source, NOT_ONE)
            continue
        number += 1
        report = report_in(value)
        answer = Answer(report, "" if report else _first_line(value), source, name, mtime, number)
        if report:
            ours = True
            yield answer
        elif ours:
            yield answer
        elif len(silent) < MOST:
            silent.append(answer)
    yield from left_over()


def report_in(value: Any) -> Optional[dict[str, Any]]:
    """The report that an answer holds."""
    if isinstance(value, str):
        return _in_text(value)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("verdict"), str) and ("schema_version" in value or "requirements" in value):
        tool = value.get("tool")
        ours = not isinstance(tool, dict) or tool.get("name") == "fim-bootstrap"
        return value if ours else None
    for key in ("stdout", "ret", "return"):
        if key in value and (report := report_in(value[key])):
            return report
    states = [state for key, state in value.items() if "_|-" in key and "fim" in key and isinstance(state, dict)]
    return next((report for state in reversed(states) if (report := _of_state(state))), None)


def part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object at a key; nothing where something else stands there."""
    value = report.get(key)
    return value if isinstance(value, dict) else {}


def parts(report: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects in the list at a key."""
    value = report.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(report: Mapping[str, Any], key: str) -> list[str]:
    """The texts in the list at a key."""
    value = report.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _in_text(text: str) -> Optional[dict[str, Any]]:
    for line in re.finditer(r"(?m)^\{", text):
        try:
            value, _ = _DECODE(text, line.start())
        except (ValueError, RecursionError):
            continue
        if report := report_in(value):
            return report
    return None


def _of_state(state: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The report as far as a state's result tells it: its comment begins with ours, and has what is open in it."""
    changes, comment = state.get("changes"), state.get("comment")
    if isinstance(changes, dict) and "schema_version" in changes:
        return {**changes, "comment": comment}
    said = _VERDICTS.match(comment) if isinstance(comment, str) else None
    if not said or not isinstance(comment, str):
        return None
    parts = comment.partition("\n")[0].split("; ")[1:]
    named = [part.partition(": ") for part in parts if re.match(r"[a-z]+: ", part)]
    status = _OPEN.get(said[1], "change")
    requirements = [{"id": key, "status": status, "summary": text} for key, _, text in named]
    if reboot := "reboot required" in parts:
        requirements.append({"id": "reboot", "status": "reboot", "summary": "a reboot is required"})
    return {
        "verdict": said[1].replace(" ", "-"), "reboot_required": reboot, "comment": comment,
        "requirements": requirements,
    }  # fmt: skip


def _first_line(value: Any) -> str:
    """What stood in the place of a report, on one line."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("stderr", "stdout", "msg", "comment") if value.get(key)), "")
    if isinstance(value, list):
        value = value[0] if value else ""
    lines = str(value).strip().splitlines() if value not in (None, False, "") else []
    return lines[0][:LONGEST] if lines else "no answer"
