"""The units of auditd: whether they are masked, and what they do to the rules beside starting it.

systemd.unit(5): the first file of a name counts, then the drop-ins of that name and those for all services, each name
once. A command may run auditctl itself, through a shell, or in a script; a script may do so for a reason that does
not hold here, so that is a warning.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from typing import Optional

from ..host.reader import File, Reader, read_together
from ..model import Obstacle
from ..redact import shown
from . import auditctl, silence
from .boot_line import numbered, unread

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
RULES_UNIT = "audit-rules.service"
NAMES = ("auditd.service", RULES_UNIT, "augenrules.service")
OWN_RULES = ("/etc/audit/audit.rules", "/etc/audit/rules.d/")  # the rules requirement judges these, and mends them
EXEC = re.compile(r"\s*Exec\w+\s*=(.*)")
RUN = r"\bauditctl\s+([^;&|]*)"
LOADED = r"(?<!\S)-R\s*(\S+)"
PATH = re.compile(r"(?<![\w./])/[\w./+-]+")
LARGEST = 65536  # bytes of a script
REMEDY = "take it out, then systemctl daemon-reload"


def requires_rules(host: Reader) -> bool:
    """Whether auditd.service does not start where its rules could not be loaded (audit 4.0 to 4.0.2)."""
    wanted = re.compile(rf"(?m)^[ \t]*Requires=.*\b{RULES_UNIT}")
    return any(wanted.search(file.text) for file in _texts(host, NAMES[0]))


def look(host: Reader) -> Iterator[Obstacle]:
    """What the units do to the rules."""
    seen: set[str] = set()  # files of rules, and scripts
    for name in NAMES:
        for file in _texts(host, name):
            yield from unread(file)
            for where, command in _commands(file):
                yield from _done_by(host, where, command, seen)


def masked(host: Reader, names: Sequence[str]) -> Iterator[Obstacle]:
    """To systemd an empty file is as good as a link to /dev/null (systemd.unit(5))."""
    for name in names:
        for path in (f"{folder}/{name}" for folder in FOLDERS[:2]):
            null = host.link(path).endswith("/dev/null")
            if null or ((found := host.stat(path)) and stat.S_ISREG(found.mode) and not found.size):
                where = f"{path} -> /dev/null" if null else f"{path} is empty"
                remedy = f"systemctl unmask {name}" if null else f"rm {path}; systemctl daemon-reload"
                yield Obstacle(where, f"{name} is masked", remedy)


def _texts(host: Reader, name: str) -> Iterator[File]:
    """A unit as systemd reads it."""
    yield from [file for folder in FOLDERS if (file := host.read(f"{folder}/{name}"))][:1]
    seen = set()
    drop_ins = [f"{folder}/{kind}.d/*.conf" for kind in (name, "service") for folder in FOLDERS]
    for file in read_together(host, (path for pattern in drop_ins for path in host.glob(pattern))):
        drop_in = file.path.rpartition("/")[2]
        if drop_in not in seen:
            yield file
        seen.add(drop_in)


def _commands(file: File) -> Iterator[tuple[str, str]]:
    """What the unit executes; a line that ends in a backslash goes on in the next one."""
    held, first = "", 1
    for number, line in enumerate(file.text.split("\n"), 1):
        held += f"{line[:-1]} " if line.endswith("\\") else line
        if line.endswith("\\"):
            continue
        if command := EXEC.match(held):
            yield f"{file.path}:{first}: {shown(held.strip())}", command[1]
        held, first = "", number + 1


def _done_by(host: Reader, where: str, command: str, seen: set[str]) -> Iterator[Obstacle]:
    """What a command does, and the scripts and files of rules that it names."""
    if re.search(RUN, command):
        yield from _run(host, where, command, True, seen)
        return
    for path in [path for path in PATH.findall(command) if path not in seen]:
        seen.add(path)
        found = host.stat(path)
        script = host.read(path) if found and found.size <= LARGEST else None
        if script and script.text.startswith("#!"):
            for place, line in numbered(script):
                yield from _run(host, f"{where} runs {place}", line, False, seen)


def _run(host: Reader, where: str, command: str, certain: bool, seen: set[str]) -> Iterator[Obstacle]:
    """What auditctl is told in a command; the quotes of a shell do not matter."""
    for words in re.findall(RUN, re.sub("[\"']", " ", command)):
        for rule in auditctl.parse(f"{words.strip()}\n"):
            if harm := _harm(rule):
                yield Obstacle(where, f"this unit {harm} each time it starts", REMEDY, certain=certain)
        for path in [path for path in re.findall(LOADED, words) if path not in seen and not path.startswith(OWN_RULES)]:
            seen.add(path)
            if found := _first_harm(host, path):
                said, harm = found
                why = f"this unit loads a rule that {harm}"
                yield Obstacle(f"{where} loads {said}", why, f"mend {path}, or {REMEDY}", certain=certain)


def _first_harm(host: Reader, path: str) -> Optional[tuple[str, str]]:
    file = host.read(path)
    for rule in auditctl.parse(file.text) if file else ():
        if harm := _harm(rule):
            return f"{path}:{rule.number}: {shown(rule.text.strip())}", harm
    return None


def _harm(rule: auditctl.Rule) -> str:
    """What a rule does that FIM cannot live with, or ''."""
    if rule.locks:
        return "freezes the audit rules"
    if rule.enables == "0":
        return "switches auditing off"
    silent = silence.of(rule)
    return "silences FIM" if rule.never_task or (silent and silent.total) else ""
