"""A plugin file as the dispatcher's loader reads it (auditd-plugins(5), audisp-pconfig.c of audit 2.3 to 4.2).

It is written as auditd.conf is. One that the loader refuses is passed over, and auditd goes on without that plugin.
A symbolic link is followed. From audit 4.2 on the group may not write to the file, either.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from typing import Optional

from ..host.reader import File, Stat
from ..model import AgentFacts
from . import auditd_conf

VALUES: Mapping[str, tuple[str, ...]] = {
    "active": ("yes", "no"), "direction": ("out",), "path": (), "type": ("always", "builtin"), "args": (),
    "format": ("binary", "string"),
}  # fmt: skip
DECISIVE = ("active", "path", "args")  # whose loss leaves the plugin out, or without its socket
LINK = "a symbolic link"  # how File.problem begins of what can be read all the same


def values(text: str) -> dict[str, str]:
    """What somebody meant to set, however it is written; of a key that stands twice the last value."""
    return {key.lower(): value for key, value in re.findall(r"(?m)^[ \t]*(\w+)[ \t]*=[ \t]*(\S+)", text)}


def problem(file: File, found: Optional[Stat], by_group: bool) -> str:
    """Why the loader passes over the file, or starts no plugin by it; `by_group`: the group may write to it."""
    if file.problem and not (file.problem.startswith(LINK) and file.text):
        return file.problem
    if found and found.uid:
        return f"belongs to uid {found.uid}; the dispatcher takes it from root alone"
    if found and found.mode & (0o002 if by_group else 0o022):
        return f"may be written by {'everybody' if found.mode & 0o002 else 'its group'}, so the dispatcher refuses it"
    for line in auditd_conf.parse(file.text):
        if said := _line(line):
            return f"line {line.number}: {line.text.strip()}: {said}"
    active = values(file.text).get("active", "no")
    return "" if active.lower() == "yes" else f"active = {active}"


def unfit(program: Stat, by_group: bool) -> str:
    """Why the loader does not start this program, or ''."""
    if program.uid:
        return f"belongs to uid {program.uid}, not root"
    mode, wanted = program.mode & 0o7777, 0o750 if by_group else 0o550
    if mode & wanted != wanted or (not by_group and mode & 0o022):
        return f"has mode {mode:04o}; 0750 is accepted"
    return ""


def warnings(agent: AgentFacts, by_group: bool) -> tuple[str, ...]:
    """Why the agent's plugin will not start, as a warning; `by_group`: before audit 4.2 the group may write to it."""
    found = []
    if agent.registration_problem:
        found.append(f"the plugin is registered but will not start: {agent.registration_problem}")
    if agent.plugin_file and (problem := unfit(agent.plugin_file, by_group)):
        found.append(f"{agent.plugin_file.path} {problem}: the dispatcher skips it")
    return tuple(found)


def unfit_audispd(target: Optional[Stat]) -> str:
    """Why auditd of audit 2.x does not start this dispatcher, and so does not start itself, or ''."""
    if target is None:
        return "is missing"
    if target.uid != 0:
        return f"belongs to uid {target.uid}, not root"
    mode = stat.S_IMODE(target.mode)
    return "" if mode in (0o750, 0o755) else f"has mode {mode:04o}; only 0750 and 0755 are accepted"


def _line(line: auditd_conf.Line) -> str:
    """Why a line spoils the file."""
    words = line.text.split()
    if not words or words[0].startswith("#"):
        return ""
    key, value = words[0].lower(), " ".join(words[2:3])
    if line.problem and not line.fatal:  # it is lost
        return line.problem if key in DECISIVE else ""
    if line.fatal and not (key == "args" and words[1:2] == ["="] and len(words) > 2 and "\t" not in line.text):
        return line.problem
    if key not in VALUES:
        return "no such setting, so the dispatcher refuses the file"
    if VALUES[key] and value.lower() not in VALUES[key]:
        return f"not one of {', '.join(VALUES[key])}, so the dispatcher refuses the file"
    return ""
