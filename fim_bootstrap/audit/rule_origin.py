"""Which rules of the kernel no rule file explains: those that somebody added since, most likely the agent.

`auditctl -l` spells a rule in its own way: numbers for names, fields in another order, a watch for two fields. So
rules are compared by what hardly differs: list, paths, permissions, keys, and which other fields they have. A rule
of the agent that looks like one of a file is not told apart; one of a file never counts as the agent's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Optional

from . import auditctl

Shape = tuple[str, frozenset[str]]
_WATCHING = frozenset(("exit", "filesystem"))  # the lists that file integrity monitoring can use
_FIELD = r"(?s)([a-z0-9_]+)\s*([!<>&=]+)\s*(.*)"
_EVERY_ACCESS = "rwxa"


def unexplained(listing: Sequence[str], texts: Iterable[str]) -> tuple[str, ...]:
    """The rules of the listing that record something and that none of the rule files has."""
    known = {shape for text in texts for line in text.split("\n") if (shape := _shape(line))}
    return tuple(rule for rule in listing if (shape := _shape(rule)) and shape not in known)


def wiped(texts: Iterable[str]) -> bool:
    """Whether loading the rule files takes away what was added since: `-D` is among them."""
    lines = (line for text in texts for line in text.split("\n"))
    return any(name == "D" for line in lines for name, _ in auditctl.options(line))


def _shape(line: str) -> Optional[Shape]:
    """List and features of a rule that records; None for any other line."""
    where, features, watch = "", set(), False
    for name, value in auditctl.options(line):
        if name in "aA":
            words = set(value.split(","))
            if "always" not in words:
                return None
            where = next(iter(words & _WATCHING), "")
        elif name == "w":
            where, watch = where or "exit", True
            features.add(f"path={_plain(value)}")
        else:
            features.update(_features(name, value))
    if watch and not any(feature.startswith("perm=") for feature in features):
        features.add(_permissions(_EVERY_ACCESS))
    return (where, frozenset(features)) if where else None


def _features(name: str, value: str) -> Iterator[str]:
    if name == "p":
        yield _permissions(value)
    elif name == "k":
        yield f"key={value}"
    elif name == "C":
        yield "".join(sorted(re.split(r"(!?=)", value)))
    elif name == "F" and (field := re.match(_FIELD, value)):
        what, how, text = field.groups()
        if what in ("path", "dir"):
            yield f"path={_plain(text)}"
        elif what == "perm":
            yield _permissions(text)
        elif what in ("key", "exe"):
            yield f"{what}={text}"
        elif what != "arch":  # a file may leave it out; names and numbers stand for each other in the rest
            yield f"{what}{how}"


def _permissions(letters: str) -> str:
    return f"perm={''.join(sorted(letters.lower()))}"


def _plain(path: str) -> str:
    return path.rstrip("/") or "/"
