"""auditd.conf as auditd reads it (auditd.conf(5); load_config of audit-userspace, the same code from 2.4 to 4.2).

Only the space separates words, every word counts, and the first line that is wrong stops the daemon with
exit status 6. A last line without a newline, or one that is too long, is passed over with a message.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import NamedTuple, Optional

FOLDER = "/etc/audit"
LONGEST = 158  # bytes before the newline; audit 4.1.4 and later read 510
YES_NO = frozenset(("yes", "no"))
SPACE_ACTIONS = frozenset(("ignore", "syslog", "rotate", "email", "exec", "suspend", "single", "halt"))
FULL_ACTIONS = SPACE_ACTIONS - {"email"}
WORDS: Mapping[str, frozenset[str]] = {
    "local_events": YES_NO,
    "write_logs": YES_NO,
    "log_format": frozenset(("raw", "enriched", "nolog")),
    "flush": frozenset(("none", "incremental", "incremental_async", "data", "sync")),
    "name_format": frozenset(("none", "hostname", "fqd", "numeric", "user")),
    "max_log_file_action": frozenset(("ignore", "syslog", "suspend", "rotate", "keep_logs")),
    "space_left_action": SPACE_ACTIONS,
    "admin_space_left_action": SPACE_ACTIONS,
    "disk_full_action": FULL_ACTIONS,
    "disk_error_action": FULL_ACTIONS - {"rotate"},
    "verify_email": YES_NO,
    "use_libwrap": YES_NO,
    "enable_krb5": YES_NO,
    "distribute_network": YES_NO,
    "overflow_action": frozenset(("ignore", "syslog", "suspend", "single", "halt")),
    "transport": frozenset(("tcp", "krb5")),
}
INT_MAX, LONG_MAX = 2**31 - 1, 2**64 - 1
NUMBERS: Mapping[str, tuple[int, int]] = {
    "priority_boost": (0, INT_MAX), "freq": (0, INT_MAX), "num_logs": (0, 999), "max_log_file": (0, LONG_MAX),
    "tcp_listen_port": (1, 65535), "tcp_listen_queue": (1, 65535), "tcp_max_per_addr": (1, 1024),
    "tcp_client_max_idle": (0, INT_MAX), "q_depth": (0, 99999), "max_restarts": (0, INT_MAX),
    "end_of_event_timeout": (0, LONG_MAX), "report_interval": (0, LONG_MAX),
}  # fmt: skip
SIZES = frozenset(("space_left", "admin_space_left"))
# may have a word more, and nobody counts how many
MAY_EXEC = frozenset(("space_left_action", "admin_space_left_action", "disk_full_action", "disk_error_action"))
TEXTS = frozenset((
    "log_file", "log_group", "name", "space_left", "action_mail_acct", "admin_space_left", "tcp_client_ports",
    "krb5_principal", "krb5_key_file", "plugin_dir", "dispatcher", "disp_qos",
))  # fmt: skip
ONLY_3 = frozenset((
    "q_depth", "overflow_action", "max_restarts", "plugin_dir", "end_of_event_timeout", "report_interval", "transport",
))  # fmt: skip
KNOWN = frozenset(WORDS) | frozenset(NUMBERS) | TEXTS
CANONICAL = "dispatcher = {}\n"


class Line(NamedTuple):
    """One line; `problem` says why auditd does not take it, `fatal` that auditd stops there."""

    number: int
    text: str
    key: str = ""
    value: str = ""
    problem: str = ""
    fatal: bool = False
    swallowed: bool = False  # passed over because of what stands above it


@functools.lru_cache(maxsize=4)
def parse(text: str) -> tuple[Line, ...]:
    """The lines of a file; their texts joined are the file again."""
    lines, swallowed = [], False
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        ended = _ended(line)
        if ended and swallowed:
            lines.append(Line(number, line, problem="swallowed by the line above it", swallowed=True))
        else:
            lines.append(_line(number, line))
        swallowed = not ended
    return tuple(lines)


def settings(lines: Sequence[Line]) -> dict[str, Line]:
    """The settings in force: of a key that stands twice the last one counts."""
    return {line.key: line for line in lines if line.key and not line.problem}


def faults(text: str, generation: int) -> tuple[Line, ...]:
    """The lines at which auditd of audit 2 or 3 would stop; a fault of the whole file stands at its last line."""
    lines = parse(text)
    found = [judged for line in lines if (judged := _judged(line, generation)).fatal]
    if found or not text:
        return tuple(found)
    values = settings(lines)
    freq, flush = values.get("freq"), values.get("flush")
    if flush and flush.value.lower().startswith("incremental") and (not freq or int(freq.value) == 0):
        where, said = freq or flush, f"flush = {flush.value} needs a freq above 0"
        return (Line(where.number, where.text, where.key, where.value, said, True),)
    left, admin = (_size(values, key) for key in ("space_left", "admin_space_left"))
    if left is not None and admin is not None and left <= admin:
        where = values.get("space_left") or values.get("admin_space_left") or lines[-1]
        said = f"space_left ({left}) must be larger than admin_space_left ({admin})"
        return (Line(where.number, where.text, where.key, where.value, said, True),)
    return ()


def dispatcher_of(text: str) -> str:
    """The dispatcher in force, or ''."""
    line = settings(parse(text)).get("dispatcher")
    return line.value if line else ""


def with_dispatcher(text: str, target: str = "/sbin/audispd") -> str:
    """The text with `dispatcher = TARGET` in force; every other byte is kept.

    A line that is commented out is uncommented, a malformed one is replaced, else one is added. Raises
    ValueError where the line in force belongs to another product.
    """
    value = dispatcher_of(text)
    if value and value.rpartition("/")[2] != "audispd":
        raise ValueError(f"dispatcher = {value} is not audispd")
    wanted = CANONICAL.format(target)
    lines = parse(text)
    # a line with a NUL keeps the one below it from being read, which may be as well
    free = [line for line in lines if not line.swallowed and "\0" not in line.text]
    malformed = [line for line in free if line.problem and _names_dispatcher(line.text)]
    commented = [line for line in free if _is_commented(line.text)]
    texts = {line.number: line.text for line in lines}
    for line in malformed or ([] if value else commented[-1:]):
        texts[line.number] = wanted
    edited = "".join(texts.values())
    return edited if dispatcher_of(edited) else _with_line(edited, wanted)


def _with_line(text: str, wanted: str) -> str:
    """The text and one more line, which auditd reads."""
    lines = parse(text)
    if not lines or lines[-1].text.endswith("\n"):
        # a line with a NUL in it would swallow ours
        return f"{text}{'' if not lines or _ended(lines[-1].text) else chr(10)}{wanted}"
    # auditd drops a last line that has no newline: with one it would have an effect, or auditd would stop there
    last = lines[-1].text
    return f"{_with_line(text[: len(text) - len(last)], wanted)}{last}"


def _ended(text: str) -> bool:
    """Whether auditd sees the newline; it reads a long line in pieces, and looks for it in front of a NUL."""
    data = text.encode("utf-8", "surrogateescape")
    last = data[(len(data) - 1) // (LONGEST + 1) * (LONGEST + 1) :]
    return last.endswith(b"\n") and b"\0" not in last


def _line(number: int, text: str) -> Line:
    words = text.rstrip("\n").partition("\0")[0].split(" ")
    words = [word for word in words if word]
    if not text.endswith("\n") and words and not words[0].startswith("#"):
        return Line(number, text, problem="the last line has no newline, so auditd drops it")
    if not _ended(text) and text.endswith("\n"):
        return Line(number, text, problem="a NUL, so auditd passes over it and the line below")
    if not words or words[0].startswith("#"):
        return Line(number, text)
    if len(text.encode("utf-8", "surrogateescape")) - 1 > LONGEST:
        return Line(number, text, problem=f"longer than {LONGEST} bytes, so auditd passes over it")
    key, value = words[0].lower(), words[2] if len(words) > 2 else ""
    if problem := _grammar(text, words):
        return Line(number, text, key if key in KNOWN else "", value, problem, True)
    return Line(number, text, key, value)


def _grammar(text: str, words: Sequence[str]) -> str:
    if text.startswith("\ufeff"):
        return "the file begins with a byte order mark"
    free = words[0].lower() in (TEXTS - {"dispatcher"}) | MAY_EXEC  # such a value may hold anything
    if "\t" in (" ".join(words[:3]) if words[0].lower() in MAY_EXEC else "".join(words[:2]) if free else text):
        return "a tab; auditd takes only spaces between words"
    if text.endswith("\r\n") and not (free and len(words) > 2):
        return "a carriage return at the end, which becomes part of the value"
    if len(words) > 1 and words[1] != "=":
        return "no lone equal sign: write `key = value` with spaces around it"
    if len(words) < 3:
        return "not of the form `key = value`"
    takes_more = words[0].lower() in MAY_EXEC
    if takes_more and words[2].lower() == "exec" and not "".join(words[3:4]).startswith("/"):
        return "exec needs the absolute path of a program"
    if len(words) > 3 and not takes_more:
        return f"more than one value ({words[3]!r}); a comment needs a line of its own"
    return ""


def _judged(line: Line, generation: int) -> Line:
    """The line with what is wrong about its key or value, which depends on the release."""
    if line.problem or not line.key:
        return line
    key, value = line.key, line.value.lower()
    problem = ""
    if key not in KNOWN or (generation == 2 and key in ONLY_3):
        problem = f"unknown keyword {key}"
    elif key in WORDS and value not in WORDS[key]:
        problem = f"{line.value} is none of {', '.join(sorted(WORDS[key]))}"
    elif key in NUMBERS and not (value.isascii() and value.isdigit()):
        problem = f"{line.value} is not a number"
    elif key in NUMBERS and not NUMBERS[key][0] <= int(value) <= NUMBERS[key][1]:
        problem = f"{line.value} is not between {NUMBERS[key][0]} and {NUMBERS[key][1]}"
    elif key in SIZES and not re.fullmatch(r"%*[0-9][0-9%]*", value):
        problem = f"{line.value} is neither a number nor a percentage"
    elif key == "tcp_client_ports" and not re.fullmatch(r"[0-9]+(-[0-9]+)?", value):
        problem = f"{line.value} is neither a port nor two with a dash between them"
    return Line(line.number, line.text, key, line.value, problem, bool(problem))


def _size(values: Mapping[str, Line], key: str) -> Optional[int]:
    line = values.get(key)
    if line is None:
        return 0
    return int(line.value) if line.value.isascii() and line.value.isdigit() else None


def _names_dispatcher(text: str) -> bool:
    return text.strip(" \t").lower().partition("=")[0].strip() == "dispatcher"


def _is_commented(text: str) -> bool:
    words = text.strip().lstrip("#").split()
    return text.lstrip().startswith("#") and words[:2] == ["dispatcher", "="] and words[2:3] == ["/sbin/audispd"]
