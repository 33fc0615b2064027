"""Rules that keep records from being written, as the kernel acts on them (kernel/auditfilter.c and auditsc.c).

* exclude: a record that fits is dropped, whatever the action and the order. Without SYSCALL there is no event at all;
  without PATH there is one that names no file.
* exit: the first rule that fits decides; what rule files hold comes before what an agent adds.
* task: a process that fits when it is started is never looked at again.
* filesystem: the files of a file system that fits are not looked at.
* user takes only what programs report themselves, which FIM does not need.
"""

from __future__ import annotations

import operator
import posixpath
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ..model import Facts
from . import auditctl, fields
from .auditctl import Rule
from .fields import MASK, Field
from .rules_d import Judged

NEEDED = {"SYSCALL": 1300, "PATH": 1302}
COMPARE = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
           ">=": operator.ge}  # fmt: skip
# the last two are i386 and arm as audit before 2.3.6 lists them
NARROW_ARCH = frozenset(("b32", "i386", "i486", "i586", "i686", "arm", "armeb", "ppc", "s390",
                         "1073741827", "1073741864"))  # fmt: skip
# least and greatest of what FIM looks at: native calls that succeed, by any process, on any file. The kernel compares
# 32 bits without a sign. An unset auid is the greatest of them; every process has a user.
IDS, ALL = (0, MASK - 1), (0, MASK)
SEEN = {
    **dict.fromkeys((*fields.USERS, *fields.GROUPS), IDS), **dict.fromkeys(fields.ARGUMENTS, ALL), "auid": ALL,
    "sessionid": ALL, "pid": (1, 1 << 22), "ppid": (0, 1 << 22), "pers": (0, 0), "success": (1, 1),
    "exit": (0, (1 << 31) - 1), "devmajor": (0, (1 << 12) - 1), "devminor": (0, (1 << 20) - 1), "inode": (1, MASK),
}  # fmt: skip


class Silence(NamedTuple):
    """What a rule takes from the log; `total` where it leaves FIM no event that names a file."""

    total: bool
    what: str


def of(rule: Rule) -> Optional[Silence]:
    """What this rule keeps silent, or None; not the bare never,task, which has to go anyway."""
    if not rule.adds or rule.never_task:
        return None
    (where, action), *options = rule.adds
    given = [fields.field_of(value) for name, value in options if name == "F"]
    given += [Field("perm", "=", value) for name, value in options if name == "p"]
    given = [field for field in given if field.name != "key"]
    narrow = ["".join(field) for field in given if _narrows(field)]
    narrow += [value for name, value in options if name == "C"]
    if where == "exclude":
        return _excluded(given, narrow) if given else None
    if action != "never" or where == "user":
        return None
    if where == "filesystem":
        return _unseen_files(given)
    if where == "io_uring":
        return Silence(False, "what is done through io_uring")
    calls = [call for name, value in options if name == "S" for call in value.split(",")]
    if calls and "all" not in calls:
        narrow.append(f"the system call{'s' * (len(calls) > 1)} {', '.join(calls)}")
    whose = "processes that start" if where == "task" else "events"
    return Silence(not narrow, f"{whose} with {' and '.join(narrow)}" if narrow else f"all {whose}")


KERNEL = "kernel"  # where a rule stands that no file has
WATCH, SILENT = ("exit", "always"), ("exit", "never")  # list and action
Silencer = tuple[str, str, Silence]  # where a rule stands, its text, and what it takes


def silencers(facts: Facts, lines: Sequence[Judged]) -> list[Silencer]:
    """Rules that take something from the log: of the files; of the kernel, where no file has the same."""
    rules = [(line.place, line.rule) for line in lines]
    known = {of(rule) for _, rule in rules}
    live = [rule for text in facts.audit.live_rules or () for rule in auditctl.parse(text)]
    last = max((number for number, rule in enumerate(live) if rule.adds[:1] == (WATCH,)), default=-1)
    for number, rule in enumerate(live):
        # an agent that runs has added its rules: a later one of the same list does not reach them
        late = facts.agent.edr is not None and -1 < last < number and rule.adds[:1] == (SILENT,)
        if of(rule) not in known and not late:
            rules.append((KERNEL, rule))
    return [(where, rule.text.strip(), found) for where, rule in rules if (found := of(rule))]


def way_out(where: str, text: str) -> str:
    """What a person may type to be rid of a rule."""
    if where != KERNEL:
        return f"take out {where} `{text}` and load the rules anew (augenrules --load)"
    import shlex

    return f"auditctl -d {' '.join(map(shlex.quote, text.split()[1:]))}"


def _excluded(given: Sequence[Field], narrow: Sequence[str]) -> Silence:
    types = [field for field in given if field.name == "msgtype"]
    lost = [name for name, number in NEEDED.items() if all(_takes(number, field) for field in types)]
    if lost and not narrow:
        return Silence(True, f"every {' and '.join(lost)} record")
    said = [*narrow, *map("".join, types)]
    return Silence(False, f"records with {' and '.join(said)}")


def _takes(number: int, field: Field) -> bool:
    """Whether a record type fits; a name that is not known here is none that FIM needs."""
    other = fields.record(field.value)
    if other is None:
        return field.sign == "!="
    return field.sign in COMPARE and bool(COMPARE[field.sign](number, other))


def _unseen_files(given: Sequence[Field]) -> Optional[Silence]:
    """debugfs and tracefs alone are what the list is for."""
    for name, sign, value in given:
        if name == "fstype" and (sign == "!=" or value not in ("debugfs", "tracefs")):
            return Silence(sign == "!=", f"files on file systems with {name}{sign}{value}")
    return None


def _narrows(field: Field) -> bool:
    """Whether a field leaves a part of what FIM looks at."""
    name, sign, value = field
    if name == "arch":
        return (sign == "=") is (value.lower() in NARROW_ARCH)
    if name == "dir":
        return sign != "=" or posixpath.normpath(value).strip("/") != ""
    if name == "perm":
        return not {"w", "a"} <= set(value.lower())
    if name == "msgtype":
        return False
    limit = fields.value_of(field)
    if name not in SEEN or not isinstance(limit, int):
        return True
    return not _fits_all(SEEN[name], sign, limit)


def _fits_all(seen: tuple[int, int], sign: str, limit: int) -> bool:
    """Whether every number from the least to the greatest fits."""
    least, greatest = seen
    if sign == "!=":
        return not least <= limit <= greatest
    if sign == "&=":  # all bits of the limit are set
        return limit == 0
    return sign in COMPARE and all(COMPARE[sign](number, limit) for number in seen)
