"""The name that somebody who mistyped one may have meant. It is told, and never acted upon."""

from __future__ import annotations

from collections.abc import Iterable

ALIKE = 0.65  # difflib's ratio: 1 is the same word


def nearest(word: str, known: Iterable[str]) -> str:
    """The one known name that is most like the word; '' where none is near, or two are as near."""
    import difflib  # 4 ms, and only for a mistake

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, word.lower(), name.lower()).ratio()

    ranked = sorted(((likeness(name), name) for name in set(known)), reverse=True)[:2]
    if not ranked or ranked[0][0] < ALIKE or (len(ranked) == 2 and ranked[0][0] == ranked[1][0]):
        return ""
    return ranked[0][1]


def guess(word: str, known: Iterable[str]) -> str:
    """'; did you mean NAME?', or ''."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""
