"""Whether `service auditd restart` can work: by it the agent restarts auditd at each of its starts and stops.

Upstream's auditd.service refuses a manual stop (RefuseManualStop=yes); there only service(8) of the initscripts helps,
which runs a legacy action of the audit package instead of systemctl. Where either is missing the agent's plugin is
registered, auditd is never restarted, and nobody says a word. Decided from files alone; nothing is restarted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..host.reader import Reader
from ..model import Service

ACTIONS = ("/usr/libexec/initscripts/legacy-actions", "/usr/lib/initscripts/legacy-actions")
FUNCTIONS = "audit-functions"  # what audit 3.0 to 3.1.2 share between their actions
# what the actions of audit 2.8 to 4 call by name; another word of theirs may be a function or a builtin of the shell
CALLED = frozenset(("auditctl", "pidof", "timeout", "tail", "sleep", "systemctl"))
# patterns are compiled where they are needed: a run that is ready needs few of them
QUOTED = r"(?m)(?:^|\s)#.*$|\b(?:echo|printf)\s+(?:-\w+\s+)*\$?(?:\"[^\"\n]*\"|'[^'\n]*')"
RUN = r"(?m)(?:^|[;&|(!]|\b(?:if|then|do|else|exec))[ \t]*(?:(?:\.|source)[ \t]+)?(/[\w./-]+)"
WORD = r"(?<![\w./$-])[a-z]+(?![\w./=-])"
# by hand, where the packages do not bring it
REMEDY = (
    "`service auditd restart` has to work: install service(8) (initscripts-service) and audit's legacy action, or allow"
    " the stop (systemctl edit auditd: [Unit] RefuseManualStop=no)"
)
DEPTH = 3  # an action calls another, which reads the functions


def problem(host: Reader, unit: Service, systemd: bool) -> str:
    """Why `service auditd restart` cannot work here, or ''; `systemd` says that systemd starts the units."""
    program = host.which("service")
    if not program:
        return "service(8) is missing"
    if not systemd:
        return "" if host.stat("/etc/init.d/auditd") else "there is no /etc/init.d/auditd"
    if unit.masked:
        return "auditd.service is masked"
    if unit.refuses_start:
        return "auditd.service refuses a manual start (RefuseManualStart=yes): a restart would leave auditd stopped"
    action = _action(host, program)
    if action:
        lacking = next(_lacking(host, action, DEPTH), "")
        return f"{action} calls {lacking}, which is missing" if lacking else ""
    if unit.refuses_stop:
        return f"auditd.service refuses a manual stop, and {program} has no legacy action to restart it by"
    return ""


def _action(host: Reader, program: str) -> str:
    """The legacy action that this service(8) runs instead of systemctl, or ''; Debian's and SUSE's have none."""
    script = host.read(program)
    known = [folder for folder in ACTIONS if script and folder in script.text]
    paths = (f"{folder}/auditd/restart" for folder in known)
    return next((path for path in paths if (found := host.stat(path)) and found.mode & 0o111), "")


def _lacking(host: Reader, path: str, depth: int) -> Iterator[str]:
    """What a script reads or runs without asking whether it is there, and is not: paths, and commands by their name."""
    script = host.read(path)
    text = re.sub(QUOTED, "", script.text if script else "")
    for needed in re.findall(RUN, text):
        if host.stat(needed) is None and not re.search(rf"-[efrsx]\s+{re.escape(needed)}\b", text):
            yield needed
        elif depth and (FUNCTIONS in needed or needed.startswith(ACTIONS)):
            yield from _lacking(host, needed, depth - 1)
    for word in re.findall(WORD, text):
        if word in CALLED and not host.which(word):
            yield word
