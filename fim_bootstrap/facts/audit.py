"""The audit userspace on disk, its daemon, and the kernel's audit state."""

from __future__ import annotations

import itertools
import re
import stat
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..agent import vendor
from ..audit import auditctl, auditd_conf, reboots, rules_d, service_restart
from ..changes import journal
from ..host.boot import booted
from ..host.reader import File, Output, Reader, read_together
from ..model import LOCKED, AuditFacts, Process, Profile, Service
from . import processes

AUDISPD_CONF = "/etc/audisp/audispd.conf"  # of audit 2.x
AUDIT_RULES = "/etc/audit/audit.rules"
DISPATCHER = "/sbin/audispd"
PID_FILE = "/run/auditd.pid"
PLUGIN_DIRS = {2: "/etc/audisp/plugins.d", 3: "/etc/audit/plugins.d"}
AUDIT_LOG_TAIL = 4 << 20  # bytes of the audit log's end in which denials are looked for


def look(
    host: Reader,
    commands: Mapping[str, str],
    profile: Profile,
    services: Mapping[str, Service],
    seen: processes.Processes,
    kernel: Optional[Mapping[str, int]],
    listing: Optional[Output],
    steps: Sequence[Mapping[str, Any]],
    boot: str,
) -> AuditFacts:
    """What the files, the kernel and the processes tell; `kernel` and `listing` are auditctl's answers."""
    audispd = next((found for d in ("/sbin", "/usr/sbin") if (found := host.stat(f"{d}/audispd"))), None)
    generation = 0 if "auditd" not in commands else 2 if audispd else 3
    conf = host.read(auditd_conf.PATH)
    rules = tuple(read_together(host, (AUDIT_RULES, *host.glob(f"{rules_d.FOLDER}/*.rules"))))
    folder = _plugin_dir(host, generation or profile.audit, conf)
    plugins = tuple(read_together(host, host.glob(f"{folder}/*")))
    there = host.stat(folder)
    pid_file = host.stat(PID_FILE)
    return AuditFacts(
        generation=generation,
        conf=conf,
        conf_since=_conf_since(steps, conf, boot) if conf else 0.0,
        pid_file=pid_file.mtime if pid_file else float("inf"),
        rules=rules,
        joins=rules_d.joins_of(host),
        dialect=auditd_conf.dialect(host.read_bytes(commands.get("auditd", "")) or b"", conf.text if conf else ""),
        audispd=host.stat((auditd_conf.dispatcher_of(conf.text) if conf else "") or DISPATCHER),
        plugin_dir=folder,
        plugin_dir_present=there is not None and stat.S_ISDIR(there.mode),
        plugins=plugins,
        service=services["auditd"],
        restart_problem=service_restart.problem(host, services["auditd"], host.which("systemctl") != ""),
        daemon=seen.believed.get("auditd"),
        dispatcher=seen.dispatcher(generation or profile.audit),
        status=kernel or None,
        owner=_owner(host, (kernel or {}).get("pid", 0), seen),
        # auditctl has something to say even where there are none: «No rules»
        live_rules=auditctl.parse_listing(said) if (said := _stdout_of(listing)) else None,
        locked_by=locked_by(host) if (kernel or {}).get("enabled") == LOCKED else (),
        reboot_spent=reboots.spent(steps, boot),
    )


def locked_by(host: Reader) -> tuple[str, ...]:
    """What beside the rule files may lock the kernel."""
    from ..audit.locked_by import look as suspects  # only for a tree, or a kernel that is locked

    return suspects(host)


def _conf_since(steps: Sequence[Mapping[str, Any]], conf: File, boot: str) -> float:
    """When auditd.conf last changed; a time in the future is left by a clock that was set back since.

    Then the first of our own restarts counts, of auditd or of the agent that restarts it, that was made with this text
    and in this boot: its time is kept as seconds since the boot, which no clock changes.
    """
    since = journal.effective_since(steps, conf)
    if since <= time.time():
        return since
    known = boot, journal.digest(conf.text)
    restarts = (step for step in reversed(steps) if step.get("kind") in ("start", "restart"))
    mine = [*itertools.takewhile(lambda step: (step.get("boot"), step.get("conf")) == known, restarts)]
    return booted() + float(mine[-1].get("uptime", 0.0)) if mine else since


def _stdout_of(output: Optional[Output]) -> str:
    return output.stdout.strip() if output and output.status == 0 else ""


def _owner(host: Reader, pid: int, seen: processes.Processes) -> str:
    """What takes the kernel's events: `auditd` where it is the daemon of this system, else what it says it is."""
    comm = host.read(f"/proc/{pid}/comm") if pid else None
    doubts = [f"a process named {doubt.name} that {doubt.why}" for doubt in seen.doubted if doubt.pid == pid]
    return doubts[0] if doubts else comm.text.strip() if comm else ""


def _plugin_dir(host: Reader, generation: int, conf: Optional[File]) -> str:
    """The folder that the dispatcher reads; the usual one by its usual name, whatever links lead there."""
    usual, holder = PLUGIN_DIRS[generation], conf if generation == 3 else host.read(AUDISPD_CONF)
    line = auditd_conf.settings(auditd_conf.parse(holder.text)).get("plugin_dir") if holder else None
    if line is None:
        return usual
    named, found = host.stat(line.value), host.stat(usual)
    return usual if named and found and named.place == found.place else line.value.rstrip("/")


def denials(host: Reader, daemon: Optional[Process], domain: str) -> tuple[str, ...]:
    """AVC records of the plugin since the daemon started, newest last, at most three; of the log its end is read.

    By its name and its domain: any user can run something of that name in a domain of his own.
    """
    found = []
    source = re.compile(rb" scontext=[^ :]+:[^ :]+:" + re.escape(domain.encode()) + rb"[ :]")
    name = f'comm="{vendor.PLUGIN}"'.encode()
    for line in host.tail(auditd_conf.LOG, AUDIT_LOG_TAIL).splitlines():
        if b"avc:  denied" in line and name in line and source.search(line):
            stamp = re.search(rb"audit\((\d{1,12}\.\d{1,9}):", line)
            if daemon is None or not stamp or float(stamp[1]) > daemon.started:
                found.append(line.decode(errors="replace"))
    return tuple(found[-3:])
