"""Take a change out of a text that someone has edited since: line by line, exactly, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import Match, SequenceMatcher
from io import StringIO
from typing import Optional

# comparisons, about; difflib looks at every pair of equal lines, and at all anew for each place where texts differ
WORK = 20_000_000


def taken_back(before: str, after: str, now: str) -> Optional[str]:
    """`now` without the change from `before` to `after`; None where the later edits touch the changed lines.

    What stands between or beside the changed lines may have been edited freely. A changed line of which
    there are more or fewer copies than were written is refused: one could not tell which copy is ours.
    None, too, where comparing them would take too long (WORK).
    """
    old, new, present = lines_of(before), lines_of(after), lines_of(now)
    kept, changed = _blocks(new, present), _blocks(new, old)
    if kept is None or changed is None:
        return None
    result: list[str] = []
    position = 0
    for start, end, piece in _hunks(old, changed):
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
    old, new = lines_of(before), lines_of(after)
    changed = _blocks(new, old)
    ours = {line for start, end, _ in _hunks(old, changed) for line in new[start:end]} if changed else {*new} - {*old}
    return [(number, line) for number, line in enumerate(lines_of(now), 1) if line in ours]


def lines_of(text: str) -> list[str]:
    """The lines with their ends, as a file has them: other characters end none."""
    return list(StringIO(text, newline="\n"))


def _blocks(one: Sequence[str], other: Sequence[str]) -> Optional[list[Match]]:
    """The runs of lines that both have, in order, the last one empty; None where finding them takes too long."""
    shorter = min(len(one), len(other))
    head = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    tail = next((n for n in range(shorter - head) if one[-1 - n] != other[-1 - n]), shorter - head)
    first, second = one[head : len(one) - tail], other[head : len(other) - tail]
    if not comparable(first, second):
        return None
    between = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()[:-1]
    found = [Match(0, 0, head), *(Match(head + b.a, head + b.b, b.size) for b in between),
             Match(len(one) - tail, len(other) - tail, tail), Match(len(one), len(other), 0)]  # fmt: skip
    return _joined(found)


def comparable(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether difflib finds the differences in a few seconds."""
    mine, counts = Counter(one), Counter(other)
    pairs = sum(number * counts[line] for line, number in mine.items())
    differing = sum((mine - counts).values()) + sum((counts - mine).values())
    return (pairs + 5 * (len(one) + len(other))) * (differing + 1) <= WORK


def _joined(blocks: Sequence[Match]) -> list[Match]:
    """Blocks that touch each other in both are one."""
    joined: list[Match] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if last and block.size and (last.a + last.size, last.b + last.size) == (block.a, block.b):
            joined[-1] = Match(last.a, last.b, last.size + block.size)
        else:
            joined.append(block)
    return joined


def _hunks(old: Sequence[str], kept: Sequence[Match]) -> list[tuple[int, int, Sequence[str]]]:
    """What lies between the blocks that both texts have: first line, line after the last, and what stood there."""
    found = []
    at, place = 0, 0
    for block in kept:
        if at < block.a or place < block.b:
            found.append((at, block.a, old[place : block.b]))
        at, place = block.a + block.size, block.b + block.size
    return found


def _count(lines: Sequence[str], part: Sequence[str]) -> int:
    return sum(lines[i : i + len(part)] == part for i in range(len(lines) - len(part) + 1))
