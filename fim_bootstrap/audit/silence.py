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
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ..model import Facts
from . import auditctl
from .auditctl import Rule, field_of
from .rules_d import Judged

NEEDED = {"SYSCALL": 1300, "PATH": 1302}
RECORDS = {"USER": 1005, "LOGIN": 1006, **NEEDED, "CONFIG_CHANGE": 1305, "CWD": 1307, "EXECVE": 1309, "EOE": 1320,
           "PROCTITLE": 1327, "AVC": 1400}  # fmt: skip
COMPARE = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
           ">=": operator.ge}  # fmt: skip
# the last two are i386 and arm as audit before 2.3.6 lists them
NARROW_ARCH = frozenset(("b32", "i386", "i486", "i586", "i686", "arm", "armeb", "ppc", "s390",
                         "1073741827", "1073741864"))  # fmt: skip
Field = tuple[str, str, str]


class Silence(NamedTuple):
    """What a rule takes from the log; `total` where it leaves FIM no event that names a file."""

    total: bool
    what: str


def of(rule: Rule) -> Optional[Silence]:
    """What this rule keeps silent, or None; not the bare never,task, which has to go anyway."""
    if not rule.adds or rule.never_task:
        return None
    (where, action), *options = rule.adds
    pairs = [field_of(value) for name, value in options if name == "F"]
    fields = [(name.lower(), sign, value) for name, sign, value in pairs if name.lower() != "key"]
    narrow = [f"{name}{sign}{value}" for name, sign, value in fields if _narrows(name, sign, value)]
    narrow += [value for name, value in options if name == "C"]
    if where == "exclude":
        return _excluded(fields, narrow) if fields else None
    if action != "never" or where == "user":
        return None
    if where == "filesystem":
        return _unseen_files(fields)
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


def _excluded(fields: Sequence[Field], narrow: Sequence[str]) -> Silence:
    types = [(sign, value) for name, sign, value in fields if name == "msgtype"]
    lost = [name for name, number in NEEDED.items() if all(_takes(number, sign, value) for sign, value in types)]
    if lost and not narrow:
        return Silence(True, f"every {' and '.join(lost)} record")
    said = [*narrow, *(f"msgtype{sign}{value}" for sign, value in types)]
    return Silence(False, f"records with {' and '.join(said)}")


def _takes(number: int, sign: str, value: str) -> bool:
    """Whether a record type fits; a name that is not known here is none that FIM needs."""
    try:
        other = RECORDS[value.upper()] if value[:1].isalpha() else int(value, 0)
    except (KeyError, ValueError):
        return sign == "!="
    return sign in COMPARE and bool(COMPARE[sign](number, other))


def _unseen_files(fields: Sequence[Field]) -> Optional[Silence]:
    """debugfs and tracefs alone are what the list is for."""
    for name, sign, value in fields:
        if name == "fstype" and (sign == "!=" or value not in ("debugfs", "tracefs")):
            return Silence(sign == "!=", f"files on file systems with {name}{sign}{value}")
    return None


def _narrows(name: str, sign: str, value: str) -> bool:
    """Whether a field leaves a part of what FIM looks at: native calls that succeed in changing any file."""
    if name == "arch":
        return (sign == "=") is (value in NARROW_ARCH)
    if name == "dir":
        return sign != "=" or bool(value.strip("/"))
    if name == "success":
        return (sign, value) not in (("=", "1"), ("!=", "0"))
    if name == "perm":
        return not {"w", "a"} <= set(value.lower())
    if name == "msgtype":
        return False
    return (sign, value) != (">=", "0") and not (name == "pid" and (sign, value) in ((">", "0"), ("!=", "0")))
