"""Which running processes are the audit daemon, its dispatcher and the agent.

A name proves nothing: anybody may give a process any name, and start a set-uid program under one. So a process of
such a name counts only with what root alone can bring about (proc(5)): real and effective uid 0, since a set-uid
program keeps the real uid of its user; the program's own file, since sudo is root while it asks for the password;
this pid namespace, since a container may have an auditd of its own; and the parent that the real one has. All others
of the name are mentioned; they are never believed and never sent a signal.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, Optional

from ..agent.vendor import EDR, OLD, PLUGIN, ROOT, SCRIPT, SEMODULE, SERVICE
from ..host.boot import booted
from ..host.commands import PATH
from ..host.reader import Reader
from ..model import Doubt, Process

AUDITD, AUDISPD = "auditd", "audispd"
SHELLS = ("sh", "bash", "dash")
# parents before their children
NAMES = (AUDITD, AUDISPD, PLUGIN, SERVICE, EDR, OLD, SCRIPT, SEMODULE)
COMM = 15  # characters of a name that the kernel keeps
TICKS = os.sysconf("SC_CLK_TCK")
INIT = 1
GENERATIONS = 8  # a service manager, sudo and a script or two may stand between the agent and what it starts


class Processes(NamedTuple):
    """The process that counts for each name, and the others of these names."""

    believed: Mapping[str, Process] = {}
    doubted: tuple[Doubt, ...] = ()
    hidden: bool = False  # /proc is mounted with hidepid, so an unprivileged user sees only what is his own

    def dispatcher(self, generation: int) -> Optional[Process]:
        """What starts the plugins: the parent of ours, else audispd with audit 2.x, auditd itself since audit 3."""
        plugin, found = self.believed.get(PLUGIN), (self.believed.get(AUDISPD), self.believed.get(AUDITD))
        parents = [process for process in found if process and plugin and process.pid == plugin.parent]
        return parents[0] if parents else found[0] or (found[1] if generation != 2 else None)


class _Seen(NamedTuple):
    """A process as proc(5) shows it; `exe` is '' where only root may see it."""

    process: Process
    real_uid: int
    exe: str
    contained: bool  # it lives in a pid namespace below this one


def gather(host: Reader, audit_pid: int = 0) -> Processes:
    """Look for the processes; `audit_pid` is the one that the kernel sends its events to, 0 where it is not known."""
    seen: dict[str, list[_Seen]] = {name: [] for name in NAMES}
    for name, process in _bearing_a_name(host):
        seen[name].append(process)
    believed: dict[str, Process] = {}
    doubted: list[Doubt] = []
    for name in NAMES:
        # the one that was there first: a second daemon ends by itself, and an old one is not over before it is gone
        for one in sorted(seen[name], key=lambda one: (one.process.pid != audit_pid, one.process.started)):
            if why := _doubt(host, name, one, believed, audit_pid):
                doubted.append(Doubt(one.process.pid, name, why))
            else:
                believed.setdefault(name, one.process)
    return Processes(believed, tuple(doubted), hidden=os.geteuid() != 0 and host.read_bytes("/proc/1/stat") is None)


def running(host: Reader, name: str) -> int:
    """The pid of the process that counts for a name, or 0."""
    process = gather(host).believed.get(name)
    return process.pid if process else 0


def still(host: Reader, name: str, pid: int) -> bool:
    """Whether a process that was believed is still there, and no other one has got its pid."""
    process = gather(host, pid).believed.get(name)
    return process is not None and process.pid == pid


def _bearing_a_name(host: Reader) -> Iterator[tuple[str, _Seen]]:
    since = booted()
    for path in host.glob("/proc/[0-9]*"):
        line = host.read_bytes(f"{path}/stat") or b""
        comm, _, rest = line.partition(b" (")[2].rpartition(b") ")
        fields = rest.split()
        if len(fields) < 20 or fields[0] in (b"Z", b"X") or not (name := _role(host, comm.decode("latin-1"), path)):
            continue
        status = host.read(f"{path}/status")
        said = dict(line.split(":", 1) for line in (status.text if status else "").splitlines() if ":" in line)
        uids = said.get("Uid", "").split()
        if len(uids) < 2:  # it ended meanwhile
            continue
        exe, started = host.link(f"{path}/exe"), since + int(fields[19]) / TICKS
        process = Process(
            int(path.rpartition("/")[2]), int(fields[1]), name, started, int(uids[1]), _context(host, path),
            unproven=not exe,
        )  # fmt: skip
        yield name, _Seen(process, int(uids[0]), exe, len(said.get("NSpid", "").split()) > 1)


def _role(host: Reader, comm: str, path: str) -> str:
    """Which of the names the process bears, or ''; a script bears its own, or that of its shell."""
    if comm in SHELLS and _script(host, path).rpartition("/")[2] == SCRIPT:
        return SCRIPT
    return next((name for name in NAMES if comm == name[:COMM]), "")


def _context(host: Reader, path: str) -> str:
    context = host.read(f"{path}/attr/current")
    return context.text.strip("\0\n") if context and not context.problem and ":" in context.text else ""


def _doubt(host: Reader, name: str, seen: _Seen, believed: Mapping[str, Process], audit_pid: int) -> str:
    """Why this process is not the one that its name says, or ''."""
    process = seen.process
    if (seen.real_uid, process.uid) not in _owners(host, name):
        set_uid = f", effective uid {process.uid}" if process.uid != seen.real_uid else ""
        return f"belongs to uid {seen.real_uid}{set_uid}"
    if seen.contained:
        return "belongs to a container"
    if seen.exe and not _right_program(host, name, seen):
        return f"runs {seen.exe}"
    if not _rightly_started(host, name, process, believed, audit_pid):
        return f"was started by pid {process.parent}"
    return ""


def _right_program(host: Reader, name: str, seen: _Seen) -> bool:
    """Whether it runs the program of its name; the agent's main process may be a script, which a shell runs."""
    running, programs = _resolved(host, seen.exe.removesuffix(" (deleted)")), _programs(host, name)
    if name != SERVICE or running not in _programs(host, SCRIPT):
        return running in programs
    return _resolved(host, _script(host, f"/proc/{seen.process.pid}")) in programs


def _script(host: Reader, path: str) -> str:
    """What a shell runs: its first argument that is no option. What comes after it are arguments of that."""
    arguments = (host.read_bytes(f"{path}/cmdline") or b"").split(b"\0")[1:]
    return next((os.fsdecode(argument) for argument in arguments if not argument.startswith(b"-")), "")


def _owners(host: Reader, name: str) -> Collection[tuple[int, int]]:
    """Real and effective uids. The agent's main process may have another user: the owner of its folders (User=)."""
    folders = (f"{ROOT}/bin", f"{ROOT}/sock") if name == SERVICE else ()
    return {(0, 0), *((found.uid, found.uid) for folder in folders if (found := host.stat(folder)))}


def _programs(host: Reader, name: str) -> Collection[str]:
    """Where the program may lie; for the kernel the links on the way there (/sbin -> usr/sbin) are resolved."""
    folders = PATH.split(":") if name in (AUDITD, AUDISPD, SCRIPT, SEMODULE) else (f"{ROOT}/bin",)
    programs = SHELLS if name == SCRIPT else (name,)
    return {_resolved(host, f"{folder}/{program}") for folder in folders for program in programs}


def _resolved(host: Reader, path: str) -> str:
    """The path without a symbolic link in it."""
    done, todo = "", path.split("/")[::-1]
    for _ in range(256):
        if not todo:
            break
        part = todo.pop()
        if part == "..":
            done = done.rpartition("/")[0]
        elif part not in ("", "."):
            target = host.link(f"{done}/{part}")
            done = "" if target.startswith("/") else done if target else f"{done}/{part}"
            todo += target.split("/")[::-1]
    return done


def _rightly_started(
    host: Reader, name: str, process: Process, believed: Mapping[str, Process], audit_pid: int
) -> bool:
    if name == AUDITD:  # which detaches itself, or is started by systemd; else the kernel knows it
        return process.parent == INIT or process.pid == audit_pid
    if name in (AUDISPD, PLUGIN):
        starters = (AUDITD,) if name == AUDISPD else (AUDITD, AUDISPD)
        return process.parent in [believed[starter].pid for starter in starters if starter in believed]
    if name in (SERVICE, SCRIPT, SEMODULE):
        return True
    # a script of the main process starts it in the background, and ends
    return process.parent == INIT or (SERVICE in believed and _below(host, process, believed[SERVICE].pid))


def _below(host: Reader, process: Process, ancestor: int) -> bool:
    pid = process.parent
    for _ in range(GENERATIONS):
        if pid == ancestor:
            return True
        fields = (host.read_bytes(f"/proc/{pid}/stat") or b"").rpartition(b") ")[2].split()
        pid = int(fields[1]) if len(fields) > 1 else 0
    return False
