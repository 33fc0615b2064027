"""Lines on a screen: wrapped and in colour on a terminal, as they are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

WIDTHS = (60, 100)  # columns: a terminal is written to in no fewer and no more
BOLD_RED, YELLOW, GREEN, DIM = "1;31", "33", "32", "2"  # SGR parameters (ECMA-48)
COLOURS = {
    "STOP": BOLD_RED, "FAILED": BOLD_RED, "BLOCKED": BOLD_RED,
    "CHANGE": YELLOW, "REBOOT": YELLOW, "warning": YELLOW, "KEPT": YELLOW, "NOT READY": YELLOW, "NOT KNOWN": YELLOW,
    "NOT PROVEN": YELLOW, "READY AFTER REBOOT": YELLOW,
    "READY": GREEN, "skipped": DIM,
}  # fmt: skip


class Style(NamedTuple):
    """How it is shown: in how many columns (0: not wrapped), in colour or not, with all of it or what matters."""

    width: int = 0
    colour: bool = False
    verbose: bool = False


PLAIN = Style()


def on_terminal(columns: int, colour: bool, verbose: bool) -> Style:
    """The style of a terminal that is so wide."""
    narrowest, widest = WIDTHS
    return Style(min(max(columns, narrowest), widest), colour, verbose)


def wrapped(head: str, line: str, style: Style, sign: str = "") -> Iterator[str]:
    """A line of text behind its head; on a terminal in as many lines as it takes, none of which breaks a word.

    `sign` is the word in it that has a colour.
    """
    parts = list(_folded(head, line.split(" "), style.width)) if style.width else [f"{head}{line}".rstrip()]
    if style.colour and sign in COLOURS:
        parts[0] = parts[0].replace(sign, f"\x1b[{COLOURS[sign]}m{sign}\x1b[0m", 1)
    yield from parts


def _folded(head: str, words: Sequence[str], width: int) -> Iterator[str]:
    """The words in lines of a width, below each other, none of them broken: a path is pasted whole."""
    line, empty = head, " " * len(head)
    for word in words:
        if line not in (head, empty) and len(line) + len(word) > width:
            yield line.rstrip()
            line = empty
        line += f"{word} "
    yield line.rstrip()
