"""Audit rule files as `auditctl -R` reads them, and what auditctl prints (auditctl(8); fileopt and setopt).

A line is split at spaces alone and then taken apart by getopt, so an option acts as soon as getopt meets it:
`-e 2` anywhere in a line, `-e2`, and even `-e 2 # lock`, which is reported as an error, freeze the kernel.
The first line that is wrong ends the loading, and all below it is never seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO

LOCKED, PANIC = "2", "2"
WITH_ARGUMENT = frozenset("ebfraAdSFCmRwWkpq")
FLAGS = frozenset("hicslDvt")
LONG_WITH_ARGUMENT = frozenset(("backlog_wait_time", "signal"))
LONG_FLAGS = frozenset(("loginuid-immutable", "reset-lost", "reset_backlog_wait_time_actual"))
TASK = frozenset(("never,task", "task,never"))
STATUS_NAMES = {"flag": "failure"}  # as audit before 2.4.3 called it
# what would freeze or silence the rules if only its spelling were read: tabs, a carriage return, 02
ALIKE = re.compile(r"(?:^|\s)(?:-e\s*0*2|--enable[\s=]+2)(?!\S)|(?:^|\s)-[aA]\s*(?:never,\s*task|task,\s*never)(?!\S)")


@dataclass(frozen=True)
class Rule:
    """One line of a rule file, and what it does to the kernel."""

    number: int
    text: str
    locks: bool = False  # sets enabled 2
    never_task: bool = False  # the bare rule that silences every new process
    task_fields: bool = False  # the same with -F: silences some
    panic: bool = False  # sets failure 2
    aborts: str = ""  # why auditctl certainly stops loading here
    inert: str = ""  # why a line that reads like one of the above has no effect as it stands
    dormant: bool = False  # it would have an effect once what is above it, or its carriage return, is mended


@dataclass
class _Options:
    """What getopt makes of one line."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""


def parse(text: str) -> tuple[Rule, ...]:
    """The lines of a file; their texts joined are the file again."""
    rules: list[Rule] = []
    stopped = 0
    tolerant = False
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        rule, goes_on = _rule(number, line)
        tolerant = tolerant or goes_on
        if stopped and (rule.locks or rule.never_task):
            rule = Rule(number, line, inert=f"auditctl stops at line {stopped}, above it", dormant=True)
        rules.append(rule)
        if rule.aborts and not tolerant and not stopped:
            stopped = number
    return tuple(rules)


def unblocked(text: str, note: str) -> str:
    """The text in which nothing freezes or silences the rules; such a line stays as a comment under a note.

    Dormant ones are taken out too: augenrules from 3.1.1 on strips the carriage return that keeps them
    harmless. Other options of the same line stay, on a line of their own.
    """
    lines = []
    for rule in parse(text):
        if not (rule.locks or rule.never_task or rule.dormant):
            lines.append(rule.text)
            continue
        body = rule.text.rstrip("\r\n")
        # augenrules joins files as they are: a comment without a newline would swallow the next file's first line
        end = rule.text[len(body) :] or "\n"
        lines.append(f"# {note}: {body}{end}")
        if rule.locks and (rest := _without(body)):
            lines.append(f"{rest}{end}")
    return "".join(lines)


def parse_listing(text: str) -> tuple[str, ...]:
    """The rules that `auditctl -l` prints; audit before 2.3.6 put LIST_RULES: in front."""
    lines = [line.strip() for line in text.splitlines()]
    old = [f"-a {line[len('LIST_RULES: ') :]}" if line.startswith("LIST_RULES: ") else line for line in lines]
    rules = ["-a never,task" if line in {f"-a {word}" for word in TASK} else line for line in old]
    return tuple(rule for rule in rules if rule and rule != "No rules")


def parse_status(text: str) -> dict[str, int]:
    """The numbers that `auditctl -s` prints, on one line (audit before 2.4) or one a line."""
    words = text.replace("AUDIT_STATUS:", " ").replace("=", " ").split()
    pairs = zip(words, words[1:])
    return {STATUS_NAMES.get(name, name): int(value) for name, value in pairs
            if value.isascii() and value.isdigit() and not name.isdigit()}  # fmt: skip


def _rule(number: int, line: str) -> tuple[Rule, bool]:
    """What one line does, and whether it has auditctl go on after errors (-i, -c)."""
    words = _words(line)
    if not words or words[0].startswith("#"):
        return Rule(number, line), False
    options = _getopt(words)
    locks = panic = False
    error = options.error
    for letter, value in options.pairs:
        if letter == "e":
            locks = locks or value == LOCKED
            error = error or ("" if value in ("0", "1", "2") else f"-e takes 0, 1 or 2, not {value!r}")
        elif letter == "f":
            panic = panic or value == PANIC
        if letter in "ef" and error:
            break
    names = [letter for letter, _ in options.pairs]
    adds = [value for letter, value in options.pairs if letter in "aA"]
    task = bool(adds) and adds[-1] in TASK
    if task and "k" in names and "F" not in names:
        error = error or "a task rule with a key and no field is refused by the kernel"
    elif any(", " in value or value.lower() != value for value in adds):
        error = error or f"{adds[-1]!r} is no list and action"
    looks_alike = bool(ALIKE.search(line)) and not line.strip().startswith("#") and not (locks or (task and not error))
    bare = _rule(number, line.replace("\r", ""))[0] if looks_alike and "\r" in line else None
    rule = Rule(
        number,
        line,
        locks=locks,
        never_task=task and not error and "F" not in names,
        task_fields=task and not error and "F" in names,
        panic=panic,
        aborts=error,
        inert=(error or "not as auditctl spells it") if looks_alike else "",
        dormant=bool(bare and (bare.locks or bare.never_task)),
    )
    return rule, bool({"i", "c"} & set(names)) and not error


def _words(line: str) -> list[str]:
    return [word for word in line.rstrip("\n").split(" ") if word]


def _getopt(words: Sequence[str]) -> _Options:
    """getopt_long(3) over the words, with auditctl's letters; stops at the first error."""
    options, rest = _Options(), iter(words)
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            error = _long(word[2:], rest, options)
        elif word.startswith("-") and len(word) > 1:
            error = _short(word[1:], rest, options)
        else:
            error = f"{word!r} is no option"
        if error:
            options.error = error
            break
    return options


def _long(name: str, rest: Iterator[str], options: _Options) -> str:
    name, equals, value = name.partition("=")
    if name in LONG_WITH_ARGUMENT:
        options.pairs.append((name, value if equals else next(rest, "")))
        return ""
    options.pairs.append((name, ""))
    return "" if name in LONG_FLAGS else f"unknown option --{name!s}"


def _short(letters: str, rest: Iterator[str], options: _Options) -> str:
    for position, letter in enumerate(letters):
        if letter in WITH_ARGUMENT:
            value = letters[position + 1 :] or next(rest, None)
            if value is None:
                return f"-{letter} lacks its value"
            options.pairs.append((letter, value))
            return ""
        if letter not in FLAGS:
            return f"unknown option -{letter!s}"
        options.pairs.append((letter, ""))
    return ""


def _without(body: str) -> str:
    """What else a line does beside freezing or silencing the rules, or ''."""
    options = _getopt(_words(body))
    if options.error or any(letter in "aA" and value in TASK for letter, value in options.pairs):
        return ""
    kept = [pair for pair in options.pairs if pair != ("e", LOCKED)]
    return " ".join(f"-{letter} {value}".strip() if len(letter) == 1 else f"--{letter} {value}".strip()
                    for letter, value in kept)  # fmt: skip
