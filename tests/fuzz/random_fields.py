"""Rules of random fields, and the same rules in another spelling."""

from __future__ import annotations

import random

from fim_bootstrap.audit import fields

NAMES = (*sorted(fields.KNOWN), "loginuid", "AUID", "uuid")
SIGNS = ("=", "=", "=", "!=", ">=", "<", ">", "<=", "&", "&=")
VALUES = ("0", "1", "01", "0x1", "-1", "unset", "root", "4294967295", "4294967296", "-13", "EACCES", "-EACCES", "wa",
          "rwxa", "r", "aw", "file", "dir", "/etc", "/etc/", "/etc/passwd", "/x", "CWD", "cwd", "1307", "SYSCALL",
          "b64", "b32", "x86_64", "k", "s0", "tracefs", "1x", "08", "0x", "-0", "")  # fmt: skip
LISTS = ("always,exit", "never,exit", "exit,always", "always,task", "never,task", "always,exclude", "never,exclude",
         "never,user", "always,filesystem")  # fmt: skip
CALLS = ("open", "openat", "all", "chmod", "2", "90", "close")
PATHS = ("/etc", "/etc/", "/x", "/etc/passwd")
SPELLINGS = (("auid", "loginuid"), ("=-1", "=unset"), ("=wa", "=aw"), ("-p wa", "-p aw"), ("CWD", "1307"),
             ("=0", "=root"), ("=1", "=01"), ("open,openat", "openat,open"), ("-13", "-EACCES"), ("/etc ", "/etc/ "),
             ("always,exit", "exit,always"))  # fmt: skip


def rule(chance: random.Random) -> str:
    """A watch or another rule, with up to four options."""
    watches = chance.random() < 0.25
    head = f"-w {chance.choice(PATHS)}" if watches else f"-{chance.choice('aaA')} {chance.choice(LISTS)}"
    return " ".join((head, *(_option(chance) for _ in range(chance.randint(0, 4)))))


def respelled(chance: random.Random, text: str) -> str:
    """The rule in another spelling; now and then another rule."""
    if chance.random() < 0.3:
        return rule(chance)
    for one, other in SPELLINGS:
        text = text.replace(one, other) if chance.random() < 0.5 else text
    return text


def _option(chance: random.Random) -> str:
    kind = chance.choices("FSkpCw", weights=(55, 15, 10, 8, 6, 6))[0]
    values = {
        "F": chance.choice(NAMES) + chance.choice(SIGNS) + chance.choice(VALUES),
        "S": ",".join(chance.sample(CALLS, chance.choice((1, 1, 2)))),
        "k": chance.choice(("a", "b", "a,b")),
        "p": chance.choice(("wa", "aw", "r", "rwxa", "x", "WA")),
        "C": chance.choice(NAMES) + chance.choice(SIGNS) + chance.choice(NAMES),
        "w": chance.choice(PATHS),
    }
    return f"-{kind} {values[kind]}"
