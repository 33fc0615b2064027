"""The words of reports: untrusted, and slightly different on each host.

What is kept of them is one printable line without secrets, so that neither a terminal nor a later reader is misled;
HTML and CSV have their own escapes where they are made.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ..redact import redact

LONGEST = 240  # characters
_OWN = re.compile(
    r"(?P<kept>\b(?:exit(?: status| code)?|status|enabled|failure|audit|version) \d[\d.]*)"
    r"|(?P<time>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?|\b\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"|(?P<hex>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b|(?<![0-9a-z])(?=[a-f]*[0-9])[0-9a-f]{12,}(?![0-9a-z]))"
    r"|(?P<number>(?<=pid )\d+|(?<![\w./:@-])\d+(?:\.\d+)?(?= s\b)|(?<![\w./:@-])\d{3,}(?![\w./@-]))"
)
_WORD = re.compile(r"\w[\w.-]*\w")
_STAND_INS = {"time": "TIME", "hex": "ID", "number": "N"}


def line(value: Any, longest: int = LONGEST) -> str:
    """The text on one printable line: all else as an escape, like repr() has it."""
    return _line(value[: 4 * longest], longest) if isinstance(value, str) else ""


@lru_cache(maxsize=4096)  # a fleet says the same thing thousands of times
def _line(text: str, longest: int) -> str:
    text = redact(text)  # before it is cut short: half a password would not be seen as one
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shared(value: Any, hostname: str) -> str:
    """The line without what is one host's own (its name, process ids, times, digests), as many hosts share it."""
    text = line(value)
    if len(hostname) > 2 and hostname in text:
        text = _WORD.sub(lambda word: "HOST" if word[0] == hostname else word[0], text)
    return _without_own(text)


@lru_cache(maxsize=4096)
def _without_own(text: str) -> str:
    return _OWN.sub(_stand_in, text)


def _stand_in(match: re.Match[str]) -> str:
    return _STAND_INS.get(str(match.lastgroup), match[0])
