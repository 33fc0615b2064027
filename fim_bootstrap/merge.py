"""Take a change out of a text that someone has edited since: line by line, exactly, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from io import StringIO
from typing import Optional


def taken_back(before: str, after: str, now: str) -> Optional[str]:
    """`now` without the change from `before` to `after`; None where the later edits touch the changed lines.

    What stands between or beside the changed lines may have been edited freely. A changed line of which
    there are more or fewer copies than were written is refused: one could not tell which copy is ours.
    """
    old, new, present = _lines(before), _lines(after), _lines(now)
    kept = SequenceMatcher(None, new, present, autojunk=False).get_matching_blocks()
    result, position = [], 0
    for start, end, piece in _hunks(old, new):
        block = next((b for b in kept if b.a <= start and end <= b.a + b.size), None)
        lines = new[start:end]
        if block is None or not lines or _count(present, lines) != _count(new, lines):
            return None
        here = block.b + start - block.a
        result += [*present[position:here], *piece]
        position = here + len(lines)
    result += present[position:]
    if any(not line.endswith("\n") for line in result[:-1]):  # it would run into the line below it
        return None
    return "".join(result)


def standing(before: str, after: str, now: str) -> list[tuple[int, str]]:
    """Those lines of `now`, with their numbers, that the change from `before` to `after` had put there."""
    new = _lines(after)
    ours = {line for start, end, _ in _hunks(_lines(before), new) for line in new[start:end]}
    return [(number, line) for number, line in enumerate(_lines(now), 1) if line in ours]


def _lines(text: str) -> list[str]:
    return list(StringIO(text, newline="\n"))


def _hunks(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, Sequence[str]]]:
    """Where `new` differs from `old`: first line, line after the last, and what stood there."""
    codes = SequenceMatcher(None, new, old, autojunk=False).get_opcodes()
    return [(start, end, old[first:last]) for tag, start, end, first, last in codes if tag != "equal"]


def _count(lines: Sequence[str], part: Sequence[str]) -> int:
    return sum(lines[i : i + len(part)] == part for i in range(len(lines) - len(part) + 1))
