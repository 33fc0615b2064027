"""The log of the agent's own script: how its last start or stop of FIM ended."""

from __future__ import annotations

import re
from typing import Optional

from ..model import Verdict

_LACKS = (
    r"\b(?:missing|not (?:be )?(?:found|installed|available|present)|no such|absent|unavailable|cannot find|lacks?)\b"
    r"|\bno .*\b(?:available|found|installed)\b"
)
_FAILS = r"\b(?:fail\w*|errors?|unable|can ?not|could ?n[o']t|not (?:be )?(?:installed|loaded|listed|present))\b"
# its wording may change: what a line of each cause names, and what it says of that; the more particular cause first
SIGNS = (
    (201, r"\b(?:checkmodule|semodule_package|semodule|restorecon|policycoreutils)\b|selinux .*(?:tool|utilit|command)",
     _LACKS),
    (203, r"\b(?:restorecon|relabel\w*|label|context)\b", _FAILS),
    (202, r"\b(?:semodule|modules?|plugin|policy)\b", _FAILS),
    (200, r"\bauditctl\b", f"{_LACKS}|{_FAILS}"),
    (204, r"dispatcher", r"\b(?:off|disabled|not enabled|non[- ]dispatcher)\b|(?:=|\bto|\bis) ?0\b"),
    (206, r"\bnever,\s*task\b|\btask,\s*never\b", ""),
    (205, r"(?<!not )\b(?:immutable|locked|frozen)\b|\benabled\W+2\b|(?<!\S)-e ?2\b", ""),
)  # fmt: skip
_EXIT = r"\b(?:exit\w*|status|code|rc|error)\W{0,3}(?:(?:with|code|status|is)\W{1,3}){0,2}(20[0-6])\b"
_GOOD = r"\bcompleted?\b|\bsuccess(?:ful|fully)?\b"
_LAST = 20  # lines of the log in which the end of the last start or stop is looked for


def verdict(tail: bytes) -> Optional[Verdict]:
    """How the last run of the script ended, by the end of its log; None where no line says it."""
    lines = [line for line in tail.decode(errors="replace").splitlines() if line.strip()]
    for line in reversed(lines[-_LAST:]):
        low = line.lower()
        if number := re.search(_EXIT, low):
            return Verdict(int(number[1]), line.strip())
        if code := next((code for code, what, how in SIGNS if re.search(what, low) and re.search(how, low)), 0):
            return Verdict(code, line.strip())
        if re.search(_GOOD, low):
            return Verdict(0, line.strip())
    return None
