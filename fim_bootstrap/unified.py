"""A unified diff, taken apart into the places that differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence


def lines(diff: str) -> Sequence[str]:
    """The lines of a diff: what else str.splitlines() takes for an end stands within a line of the file."""
    return diff.removesuffix("\n").split("\n") if diff else []


def edits(diff: str) -> Iterator[tuple[str, Sequence[str]]]:
    """The places of a unified diff, each with the lines that go (- ) and that come (+ )."""
    path, number, old, new = "", 0, 0, 0  # the file, its line, and how many lines of each side the hunk still has
    changed: list[str] = []
    for line in lines(diff):
        if line.startswith("\\"):  # no newline at the end
            continue
        if changed and not (old + new and line[:1] in "-+"):
            yield f"{path}:{number - sum(text[0] == '-' for text in changed)}", changed
            changed = []
        if old + new:
            changed += [f"{line[0]} {line[1:]}"] if line[0] in "-+" else []
            number += line[0] != "+"
            old, new = old - (line[0] != "+"), new - (line[0] != "-")
        elif found := re.match(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            number, old, new = int(found[1]), int(found[2] or 1), int(found[3] or 1)
        elif line.startswith("--- "):
            path = line[4:]
    if changed:
        yield f"{path}:{number - sum(text[0] == '-' for text in changed)}", changed
