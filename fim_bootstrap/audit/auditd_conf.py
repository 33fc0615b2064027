"""auditd.conf as auditd reads it (auditd.conf(5); load_config of audit-userspace, the same code from 2.4 to 4.2).

Only the space separates words, every word counts, and the first line that is wrong stops the daemon with
exit status 6. A last line without a newline, or one that is too long, is passed over with a message.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import NamedTuple, Optional

FOLDER = "/etc/audit"
PATH = f"{FOLDER}/auditd.conf"
LOG = "/var/log/audit/audit.log"  # unless log_file names another
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
    "end_of_event_timeout": (0, LONG_MAX),
}  # fmt: skip
INTERVAL, LONGEST_INTERVAL = "report_interval", 40 * 86400  # seconds
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "M": 30 * 86400}
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
KNOWN = frozenset(WORDS) | frozenset(NUMBERS) | TEXTS | {INTERVAL}
# what only some releases refuse, by a part of the message that stands in their program; the first is audit 4.2's
HALT, FOLDER_OF_LOGS, EMPTY_QUEUE = "HALT option in space_left_action", "log_file is directly in", "greater than zero"
TLS = "tls_[a-z_]+"  # audit 4.2's keywords of that family; auditd is asked about their values
PORT_MAX = 65535
MANY_DASHES, ONE_DASH = r"[0-9](?:[0-9-]*[0-9])?", r"[0-9]+(?:-[0-9]+)?"  # audit 4.2 takes no second dash
SHORTEST = 4  # letters of a folder's name: «/var»
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


def dialect(program: bytes, text: str) -> frozenset[str]:
    """What of the keywords, and of the refusals that not every release has, stands in auditd's program.

    Empty where the program cannot be read: then the generation has to do.
    """
    if b"space_left_action\0" not in program:
        return frozenset()
    words = KNOWN.union(line.key for line in parse(text) if re.fullmatch(TLS, line.key))
    marks = {mark for mark in (HALT, FOLDER_OF_LOGS, EMPTY_QUEUE) if mark.encode() in program}
    return frozenset(marks | {word for word in words if word.encode() + b"\0" in program} | {"space_left_action"})


def faults(text: str, generation: int, known: frozenset[str] = frozenset()) -> tuple[Line, ...]:
    """The lines at which auditd of audit 2 or 3 would stop; a fault of the whole file stands at its last line.

    `known` is the dialect of the auditd that is to read it.
    """
    lines = parse(text)
    found = [weighed for line in lines if (weighed := _weighed(line, generation, known)).fatal]
    found += _bad_addresses(lines, known)
    if found or not text:
        return tuple(sorted(found))
    values = settings(lines)
    for check in (_flushes, _leaves_space, _spares_the_folder):
        if problem := check(values, known):
            where, said = problem
            line = where or lines[-1]
            return (line._replace(problem=said, fatal=True),)
    return ()


def lasting_faults(text: str, generation: int, known: frozenset[str] = frozenset()) -> tuple[Line, ...]:
    """The faults that stay once the dispatcher line is mended."""
    with contextlib.suppress(ValueError):  # another product's
        text = with_dispatcher(text)
    return faults(text, generation, known)


Problem = Optional[tuple[Optional[Line], str]]


def _flushes(values: Mapping[str, Line], known: frozenset[str]) -> Problem:
    freq, flush = values.get("freq"), values.get("flush")
    if flush and flush.value.lower().startswith("incremental") and (not freq or int(freq.value) == 0):
        return freq or flush, f"flush = {flush.value} needs a freq above 0"
    return None


def _leaves_space(values: Mapping[str, Line], known: frozenset[str]) -> Problem:
    left, admin = (_size(values, key) for key in ("space_left", "admin_space_left"))
    if left is not None and admin is not None and left <= admin:
        where = values.get("space_left") or values.get("admin_space_left")
        return where, f"space_left ({left}) must be larger than admin_space_left ({admin})"
    return None


def _spares_the_folder(values: Mapping[str, Line], known: frozenset[str]) -> Problem:
    """auditd gives the log's folder to log_group; from 3.0.3 on it refuses to do so with /var/log."""
    log, group = values.get("log_file"), values.get("log_group")
    if FOLDER_OF_LOGS not in known or not log or not group or group.value in ("root", "0"):
        return None
    said = f"log_file is directly in /var/log, which would be given to the group {group.value}"
    return (log, said) if _folder(log.value) == "/var/log" else None


def _bad_addresses(lines: Sequence[Line], known: frozenset[str]) -> list[Line]:
    """Mail addresses are looked at while they are read, unless verify_email = no stands above them."""
    found, verified = [], True
    for line in lines:
        if line.key == "verify_email" and not line.problem:
            verified = line.value.lower() != "no"
        said = _bad_address(line.value, known) if line.key == "action_mail_acct" and verified else ""
        if said and not line.problem:
            found.append(line._replace(problem=said, fatal=True))
    return found


def _bad_address(value: str, known: frozenset[str]) -> str:
    if len(value) < 2:
        return f"{value} is too short for a mail address"
    if re.search(r"[^A-Za-z0-9@._+-]" if HALT in known else r"[^A-Za-z0-9@._-]", value):
        return f"{value} has a character that auditd takes in no mail address"
    if "@" in value and value.rfind(".") < value.index("@"):
        return f"{value} has no dot behind the @"
    return ""


def _folder(path: str) -> str:
    """dirname(3)."""
    folder, slash, _ = path.rstrip("/").rpartition("/")
    return folder.rstrip("/") or ("/" if slash else ".")


def log_of(text: str) -> str:
    """The file that auditd writes its records to, or '' where it writes none (auditd.conf(5))."""
    said = {key: line.value for key, line in settings(parse(text)).items()}
    if said.get("write_logs", "yes").lower() == "no" or said.get("log_format", "").upper() == "NOLOG":
        return ""
    return said.get("log_file", LOG)


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
    return edited if dispatcher_of(edited) else with_line(edited, wanted)


def with_line(text: str, wanted: str) -> str:
    """The text and one more line, which auditd reads."""
    lines = parse(text)
    if not lines or lines[-1].text.endswith("\n"):
        # a line with a NUL in it would swallow ours
        return f"{text}{'' if not lines or _ended(lines[-1].text) else chr(10)}{wanted}"
    # auditd drops a last line that has no newline: with one it would have an effect, or auditd would stop there
    last = lines[-1].text
    return f"{with_line(text[: len(text) - len(last)], wanted)}{last}"


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


def _weighed(line: Line, generation: int, known: frozenset[str]) -> Line:
    """The line with what is wrong about its key or value, which depends on the release."""
    if line.problem or not line.key:
        return line
    key, value = line.key, line.value.lower()
    if (key not in known) if known else key not in KNOWN or (generation == 2 and key in ONLY_3):
        problem = f"unknown keyword {key}"
    elif key in WORDS:
        problem = _bad_word(line, known)
    elif key in NUMBERS:
        problem = _bad_number(line, known)
    elif key == INTERVAL:
        problem = _bad_interval(line.value)
    elif key in SIZES:
        problem = _bad_size(value)
    elif key == "tcp_client_ports":
        problem = _bad_ports(value, known)
    else:
        short = key == "log_file" and len(_folder(line.value)) < SHORTEST
        problem = f"the folder of {line.value} is too short a name" if short else ""
    return line._replace(problem=problem, fatal=bool(problem))


def _bad_interval(value: str) -> str:
    found = re.fullmatch(r"([0-9]+)([a-zA-Z]?)", value)
    if not found or found[2] not in SECONDS:
        return f"{value} is neither a number of seconds nor one with s, m, h, d or M behind it"
    most = LONGEST_INTERVAL // SECONDS[found[2]]
    return f"{value} is more than 40 days" if int(found[1][:20]) > most else ""


def _bad_word(line: Line, known: frozenset[str]) -> str:
    value = line.value.lower()
    if value not in WORDS[line.key]:
        return f"{line.value} is none of {', '.join(sorted(WORDS[line.key]))}"
    halts = line.key == "space_left_action" and value == "halt" and HALT in known
    return "halt is no longer taken here" if halts else ""


def _bad_number(line: Line, known: frozenset[str]) -> str:
    least, most = NUMBERS[line.key]
    if not (line.value.isascii() and line.value.isdigit()):
        return f"{line.value} is not a number"
    if not least <= int(line.value) <= most:
        return f"{line.value} is not between {least} and {most}"
    empty = line.key == "q_depth" and int(line.value) == 0 and EMPTY_QUEUE in known
    return "it must be greater than zero" if empty else ""


def _bad_size(value: str) -> str:
    if not re.fullmatch(r"%*[0-9][0-9%]*", value):
        return f"{value} is neither a number nor a percentage"
    number = _leading(value.lstrip("%"))
    if "%" in value and number >= 100:
        return f"{value}: a percentage has to be less than 100"
    return f"{value} is too large" if number > LONG_MAX else ""


def _leading(value: str) -> int:
    """The number that a text begins with (strtoul(3))."""
    digits = re.match("[0-9]*", value)
    return int(digits[0]) if digits and digits[0] else 0


def _bad_ports(value: str, known: frozenset[str]) -> str:
    if not re.fullmatch(ONE_DASH if HALT in known else MANY_DASHES, value):
        return f"{value} is neither a port nor two with a dash between them"
    least, most = _leading(value), int(value.rpartition("-")[2])
    if max(least, most) > PORT_MAX:
        return f"{value}: a port is at most {PORT_MAX}"
    return f"{value} is reversed" if least > most else ""


def _size(values: Mapping[str, Line], key: str) -> Optional[int]:
    """Megabytes; None where it is a percentage of the file system, which no text tells."""
    line = values.get(key)
    number = _leading(line.value.lstrip("%")) if line else 0
    return None if line and number and "%" in line.value else number


def _names_dispatcher(text: str) -> bool:
    return text.strip(" \t").lower().partition("=")[0].strip() == "dispatcher"


def _is_commented(text: str) -> bool:
    words = text.strip().lstrip("#").split()
    return text.lstrip().startswith("#") and words[:2] == ["dispatcher", "="] and words[2:3] == ["/sbin/audispd"]
