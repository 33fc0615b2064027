"""Audit rule files as `auditctl -R` reads them, and what auditctl prints (auditctl(8); fileopt and setopt).

A line is split at spaces alone and then taken apart by getopt, so an option acts as soon as getopt meets it:
`-e 2` anywhere in a line, `-e2`, `auditctl -e 2`, and even `-e 2 # lock`, which is reported as an error, freeze the
kernel. The first line that is wrong ends the loading, and all below it is never seen, unless -i or -c stood above.
Whether a user, a system call or a field is known is not judged here: such an option counts as one that works.
Which text auditctl gets, and what is edited, is rules_d.py's.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import NamedTuple, Optional

from . import fields

LOCKED, PANIC = "2", "2"
LONGEST = 6143  # bytes that auditctl reads at once; what is left of a longer line is a line of its own
WITH_ARGUMENT = frozenset("ebfraAdSFCmRwWkpq")
FLAGS = frozenset("hicslDvt")
LONG = {"loginuid-immutable": False, "backlog_wait_time": True, "reset-lost": False,
        "reset_backlog_wait_time_actual": False, "signal": True}  # with an argument?  # fmt: skip
RULE = frozenset("aAdSFCwWkp")  # make up a rule, which is sent at the end of the line
AT_ONCE = frozenset(("e", "f", "r", "b", "backlog_wait_time"))  # act on the kernel before the line is read to its end
COUNTS = frozenset(("r", "b", "backlog_wait_time"))
LAST = frozenset(("h", "t", "q", "m", "loginuid-immutable", "reset-lost", "reset_backlog_wait_time_actual", "signal"))
TOLERANT = frozenset("ic")
MOST_FIELDS = 63  # linux/audit.h: AUDIT_MAX_FIELDS, less one
NO_KEY = "a key needs a watch, a system call, a path or permissions before it"
ACTIONS = frozenset(("always", "never", "possible"))
LISTS = frozenset(("task", "exit", "user", "exclude", "filesystem", "io_uring", "entry"))
TASK = frozenset(("never,task", "task,never"))
OLD_LIST = "LIST_RULES:"
STATUS_NAMES = {"flag": "failure"}  # as audit before 2.4.3 called it
# what would freeze or silence the rules if only its spelling were read: tabs, a carriage return, 02
ALIKE = re.compile(r"(?:^|\s)(?:-e\s*0*2|--enable[\s=]+2)(?!\S)|(?:^|\s)-[aA]\s*(?:never,\s*task|task,\s*never)(?!\S)")


class Rule(NamedTuple):
    """One line of a rule file, and what it does to the kernel."""

    number: int
    text: str
    enables: str = ""  # what it sets enabled to
    locks: bool = False  # sets enabled 2
    never_task: bool = False  # the bare rule that silences every new process
    panic: bool = False  # sets failure 2
    adds: tuple[tuple[str, str], ...] = ()  # the options of the rule that it adds, list and action first
    aborts: str = ""  # why auditctl certainly refuses the line
    stops: bool = False  # and therefore reads no further
    inert: str = ""  # why a line that reads like one of the above has no effect as it stands
    dormant: bool = False  # it would have an effect once what is above it, or its carriage return, is mended
    above: int = 0  # the number of the line above that is the reason

    @property
    def blocks(self) -> bool:
        """Whether the line has to go for FIM, by the vendor's word."""
        return self.locks or self.never_task or self.dormant


class _Line:
    """How far setopt gets with one line, and what it has understood until then."""

    def __init__(self, count: int) -> None:
        self.count = count  # arguments
        self.done: list[tuple[str, str]] = []
        self.error = ""
        self.ended = False  # an option after which nothing of the line is read; no rule is sent
        self.rule = ("", "")  # list and action of -a, -A or -d
        self.listed = False  # by -a, -A or -d; a watch brings its own list
        self.adds = False
        self.prepends = False
        self.deletes = False
        self.syscalls = False
        self.fields = False
        self.pairs = 0  # of -F and -C
        self.keyed = False  # there is something that may have a key
        self.keys: list[str] = []


@functools.lru_cache(maxsize=64)
def parse(text: str) -> tuple[Rule, ...]:
    """The lines of a file as auditctl reads them; the bytes of their texts joined are the file again."""
    rules: list[Rule] = []
    stopped = 0
    tolerant = False
    there: dict[fields.Meaning, int] = {}
    for number, line in _pieces(text):
        rule, read = _rule(number, line)
        tolerant = tolerant or any(name in TOLERANT for name, _ in read.done)
        if stopped:
            if rule.locks or rule.never_task:
                rule = rule._replace(inert="auditctl stops above it, at", dormant=True, above=stopped)
            rule = rule._replace(enables="", locks=False, never_task=False, panic=False, adds=())
            rules.append(rule)
            continue
        if read.deletes:
            there.clear()
        known = fields.meaning(rule.adds) if rule.adds else ()
        if known in there and not read.prepends:  # the kernel takes the same rule twice with -A
            rule = rule._replace(adds=(), aborts="the kernel has this rule already, from", above=there[known])
        elif known:
            there[known] = number
        if rule.aborts and not tolerant:
            stopped = number
            rule = rule._replace(stops=True)
        rules.append(rule)
    return tuple(rules)


def parse_listing(text: str) -> tuple[str, ...]:
    """The rules that `auditctl -l` prints, as auditctl takes them; audit before 2.3.6 put LIST_RULES: in front."""
    lines = [line.strip() for line in text.splitlines()]
    old = [_of_list(line[len(OLD_LIST) :]) if line.startswith(OLD_LIST) else line for line in lines]
    rules = ["-a never,task" if line in {f"-a {word}" for word in TASK} else line for line in old]
    return tuple(rule for rule in rules if rule and rule != "No rules")


def _of_list(text: str) -> str:
    """`exit,never arch=3221225534 (0xc000003e) syscall=all` as a rule."""
    kind, *words = text.split() or [""]
    named = (re.sub("^watch=", "path=", word) for word in words if word[0] != "(")
    options = (f"-S {word[8:]}" if word.startswith("syscall=") else f"-F {word}" for word in named)
    return " ".join((f"-a {kind}", *options))


def options(line: str) -> list[tuple[str, str]]:
    """The options of a line and their values, in its order, up to the first error; none for a comment."""
    argv = argv_of(line)
    if not argv or argv[0].startswith("#"):
        return []
    read = itertools.takewhile(lambda option: option[1] is not None, _getopt(argv))
    return [(name, value or "") for name, value, _ in read]


def parse_status(text: str) -> dict[str, int]:
    """The numbers that `auditctl -s` prints, on one line (audit before 2.4) or one a line."""
    words = text.replace("AUDIT_STATUS:", " ").replace("=", " ").split()
    pairs = zip(words, words[1:])
    return {STATUS_NAMES.get(name, name): int(value) for name, value in pairs
            if value.isascii() and value.isdigit() and not name.isdigit()}  # fmt: skip


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """What auditctl takes for a line, with the number of the line that it stands in."""
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        data = line.encode("utf-8", "surrogateescape")
        for at in range(0, len(data), LONGEST):
            yield number, data[at : at + LONGEST].decode("utf-8", "surrogateescape")


def _rule(number: int, line: str) -> tuple[Rule, _Line]:
    """What one line does, and what of it auditctl has read."""
    argv = argv_of(line)
    if not argv or argv[0].startswith("#"):
        return Rule(number, line), _Line(0)
    read = _setopt(argv)
    locks = ("e", LOCKED) in read.done
    added = read.adds and not read.error and not read.ended
    task = added and read.rule == ("task", "never")
    looks_alike = bool(ALIKE.search(line)) and not line.strip().startswith("#") and not (locks or task)
    bare = _rule(number, line.replace("\r", ""))[0] if looks_alike and "\r" in line else None
    rule = Rule(
        number,
        line,
        enables=next((value for name, value in reversed(read.done) if name == "e"), ""),
        locks=locks,
        never_task=task and not read.fields,
        panic=("f", PANIC) in read.done,
        adds=(read.rule, *(pair for pair in read.done if pair[0] in RULE - {"a", "A", "d"})) if added else (),
        aborts=read.error,
        inert=(read.error or "not as auditctl spells it") if looks_alike else "",
        dormant=bool(bare and (bare.locks or bare.never_task)),
    )
    return rule, read


def argv_of(line: str) -> list[str]:
    """The arguments of a line; a backslash keeps the space after it in the word, but for the first one."""
    text = line.partition("\n")[0].partition("\0")[0]
    marks = {" ": "\x07\x07", "\\": "\x04\x04"}
    marked = re.sub(r"(?s)\\(.)", lambda pair: marks.get(pair[1], pair[0]), text)
    argv = [word for word in marked.split(" ") if word]
    return argv[:1] + [re.sub(r"(?s)([\x04\x07]).?", lambda mark: " " if mark[1] == "\x07" else "\\", word)
                        for word in argv[1:]]  # fmt: skip


def _setopt(argv: Sequence[str]) -> _Line:
    """Take the options one after another, as auditctl does; stop at the first error."""
    line = _Line(len(argv) + 1)
    options = _getopt(argv)
    for name, value, after in options:
        line.error = _take(line, name, value, after) if value is not None else name
        if not line.error or name in TOLERANT:
            line.done.append((name, value or ""))
        if line.error or line.ended:
            return line
    if not line.rule[0] and line.syscalls:
        line.error = "no list specified"
    elif line.adds and line.rule[0] not in LISTS:
        line.error = f"{line.rule[0]!r} is no list"  # audit 4 lets the kernel refuse it, when the line is read
    elif any(line.keys) and not line.keyed:
        line.error = NO_KEY
    return line


def _getopt(argv: Sequence[str]) -> Iterator[tuple[str, Optional[str], Optional[list[str]]]]:
    """getopt_long(3) with auditctl's letters: option, value, and the arguments after it.

    Arguments that are no options are passed over and reported at the end. An error has no value; where a word holds
    more options, the arguments after it are None.
    """
    position, loose = 0, ""
    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "--":
            loose = loose or "".join(argv[position : position + 1])
            break
        if word.startswith("--"):
            name, value, error = _long(word[2:], argv[position : position + 1])
            position += value is not None and "=" not in word and LONG.get(name, False)
            yield (error, None, []) if error else (name, value, list(argv[position:]))
        elif word.startswith("-") and word != "-":
            for place, letter in enumerate(word[1:], 2):
                rest = word[place:]
                if letter in WITH_ARGUMENT:
                    position += not rest
                    if position > len(argv):
                        yield f"-{letter} lacks its value", None, []
                    yield letter, rest or argv[position - 1], list(argv[position:])
                    break
                if letter not in FLAGS:
                    yield f"unknown option -{letter!s}", None, []
                yield letter, "", None if rest else list(argv[position:])
        else:
            loose = loose or word
    if loose:
        yield f"{loose!r} is no option", None, []


def _long(word: str, following: Sequence[str]) -> tuple[str, str, str]:
    """Full name, value, and what is wrong; a long option may be shortened."""
    given, equals, value = word.partition("=")
    names = [name for name in LONG if name.startswith(given)]
    if given not in LONG and len(names) != 1:
        return "", "", f"unknown option --{given!s}"
    name = given if given in LONG else names[0]
    if LONG[name] and not equals and not following:
        return "", "", f"--{name} lacks its value"
    if equals and not LONG[name]:
        return "", "", f"--{name} takes no value"
    return name, value if equals else "".join(following) if LONG[name] else "", ""


def _take(line: _Line, name: str, value: str, after: Optional[Sequence[str]]) -> str:
    """Do what setopt does with one option; what is certainly wrong with it, or ''."""
    if name in ("e", "f"):
        return "" if value in ("0", "1", "2") else f"-{name} takes 0, 1 or 2, not {value!r}"
    if name in COUNTS:
        fits = value[:1].isascii() and value[:1].isdigit() and not re.match(r"[1-9]\d{20}", value)
        return "" if fits else f"{value!r} is no number"
    if name in ("a", "A", "d"):
        return _list(line, name, value)
    if name in "SFCwWkp":
        return _condition(line, name, value, after or ())
    if name in LAST:
        line.ended = True  # some releases stop, some only drop what comes after it
        return "-m takes one text alone" if name == "m" and line.count > 3 else ""
    if name == "R":
        return "-R is not for a file"
    # -i -c -s -l -D -v: nothing of the line may come after them
    line.ended = True
    line.deletes = name == "D"
    left = [""] if after is None else list(after)
    if name == "D" and line.count == 3:
        return "-D takes nothing but -k"
    if name in "sl" and line.count == 3 and left == ["-i"]:
        return ""
    if name in "Dl" and line.count == 4 and left[:1] == ["-k"]:
        return ""
    return f"-{name} takes no other word in its line" if left or (name in "Dl" and line.count > 2) else ""


def _list(line: _Line, name: str, value: str) -> str:
    words = value.split(",")
    if line.listed:
        return "a rule has one list"
    line.listed = True
    if name in "aA" and line.syscalls and "task" in value:
        return "the task list takes no system calls"
    if len(words) != 2 or not (words[0] in ACTIONS or (words[0] in LISTS and words[1] in ACTIONS)):
        return f"{value!r} is no list and action"
    action, where = words if words[0] in ACTIONS else words[::-1]  # an unknown list behind an action is no error yet
    line.rule, line.adds, line.prepends, line.deletes = (where, action), name in "aA", name == "A", name == "d"
    line.ended = "possible" in words  # passed over, or an error, as the release may be
    return ""


def _condition(line: _Line, name: str, value: str, after: Sequence[str]) -> str:
    """The options that make up a rule."""
    kind = line.rule[0]
    if name in "wW":
        return _watch(line, name, value)
    if name == "S":
        if kind in ("task", "user", "filesystem", "exclude"):
            return f"the {kind} list takes no system calls"
        if value.isascii() and value.isdigit() and int(value[:9]) >= fields.SYSCALLS:
            return f"there is no system call {value}"
        line.syscalls = line.keyed = True
        return ""
    if not kind and not (name == "F" and "arch=" in value and after[:1] == ["-t"]):
        return f"-{name} needs a list or a watch before it"
    if kind == "task" and name == "C":
        return "the task list does not take -C"
    if name == "p" and not line.fields:
        return "-p needs a watch or a field before it"
    if name == "p" and (len(value) > 4 or set(value.lower()) - set("rwxa")):
        return f"{value!r} are no permissions"
    line.fields = True
    line.pairs += name in "FC" and not value.startswith("key=")
    if line.pairs > MOST_FIELDS:
        return f"a rule has at most {MOST_FIELDS} fields"
    return _field(line, name, value)


def _watch(line: _Line, name: str, value: str) -> str:
    kind = line.rule[0]
    if (kind and name == "w") or not value.startswith("/"):
        return f"{value!r} cannot be watched here"
    if len(value) > fields.LONGEST_WATCH:
        return f"the path is longer than {fields.LONGEST_WATCH} bytes"
    line.rule, line.adds, line.syscalls = line.rule if kind else ("exit", "always"), line.adds or name == "w", True
    line.deletes = line.deletes or name == "W"
    line.fields = line.keyed = True
    return ""


def _field(line: _Line, name: str, value: str) -> str:
    """-F, -C, -p or -k: what is certainly wrong with it."""
    field = fields.field_of(value)
    if name == "C":
        return fields.comparison_fault(field)
    if name == "p" or (name == "F" and field.name in fields.KEYED):
        line.keyed = True
    if name == "k" or (name == "F" and field.name == "key" and field.sign):
        line.keys.append(value if name == "k" else field.value)
        if len("\x01".join(line.keys)) > fields.LONGEST_KEY:
            return f"the keys of a rule take at most {fields.LONGEST_KEY} bytes"
        return "" if name == "F" or line.keyed else NO_KEY
    if name == "F" and field.name == "arch" and line.syscalls:
        return "-F arch has to stand before -S and -w"
    return fields.fault(line.rule[0], field) if name == "F" else ""


def rest_of(body: str) -> str:
    """What else a line does beside freezing or silencing the rules, or ''."""
    read = _setopt(argv_of(body))
    named = tuple(word.replace("\r", "") for word in read.rule)  # as augenrules of 3.1.1 and later would leave it
    silences = named == ("task", "never") and not read.fields and not read.ended
    # beside -e, auditctl goes on where there is nothing to delete or no such list; alone, it would end the loading
    fails = bool(named[0]) and (not read.adds or named[0] not in LISTS)
    kept = [(name, value) for name, value in read.done
            if (name, value) != ("e", LOCKED) and not ((silences or fails) and name in RULE)
            and (not read.error or name in AT_ONCE | TOLERANT)]  # fmt: skip
    options = ((f"-{name}" if len(name) == 1 else f"--{name}", value) for name, value in kept)
    return " ".join(f"{option} {_escaped(value)}" if value else option for option, value in options)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
