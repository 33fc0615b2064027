"""When auditing was switched on in this boot: what ran before that is not audited until it is started anew.

A kernel booted without audit=1 has auditing off until a program switches it on, mostly auditd; a process that is
started before that gets no audit context, and never has one (kernel/auditsc.c, audit_alloc). At a boot auditd comes
before all other daemons (Before=sysinit.target), so that little is missed. Later it may be a host's whole work: that
is a reason to reboot when it suits, and none to require it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..host.reader import Reader

EVENT = "enabled"  # kind of the journal entry of a start of auditd that switches auditing on
TAIL = 1 << 20  # bytes of the audit log's end in which the kernel's own record is looked for
BOOTED_ON = ("1", "on")
OFF = b"0"
# patterns are compiled where they are needed: where auditing may have been switched on late
STAMP = rb"(?m)^(?:node=\S+ )?type=\w+ msg=audit\((\d{1,12}\.\d{1,9}):"
RECORD = (rb"(?m)^(?:node=\S+ )?type=CONFIG_CHANGE msg=audit\((\d{1,12}\.\d{1,9}):\d+\):"
                    rb"[^\n]*? audit_enabled=(\d) old=(\d)(?![^\n]* res=0)")  # fmt: skip
GRUB = "GRUB_CMDLINE_LINUX in /etc/default/grub"
GRUBBY = "grubby --update-kernel=ALL --args=audit=1"
# by package manager, which goes with the boot loader's tools
WAYS = {
    "apt": f"{GRUB}, then update-grub",
    "dnf": GRUBBY, "dnf5": GRUBBY, "microdnf": GRUBBY, "yum": GRUBBY,
    "tdnf": "the boot loader's configuration below /boot",
    "zypper": f"{GRUB}, then grub2-mkconfig -o /boot/grub2/grub.cfg",
    "transactional-update": f"{GRUB}, then transactional-update grub.cfg",
    "rpm-ostree": "rpm-ostree kargs --append=audit=1",
}  # fmt: skip


class Boot(NamedTuple):
    """The present boot: its id, when it began (epoch), and seconds from there to sysinit.target, 0 if not known."""

    id: str
    since: float
    early: float = 0.0


def look(host: Reader, steps: Sequence[Mapping[str, Any]], boot: Boot, log: str) -> Optional[float]:
    """Seconds from the beginning of this boot until auditing was switched on; None where it was on before the daemons.

    Nothing is claimed where neither the audit log nor the journal tells it. Of a kernel that has auditing on.
    """
    booted = host.read("/proc/cmdline")
    asked = re.findall(r"(?<!\S)audit=(\S*)", booted.text if booted else "")
    if asked and asked[-1].lower() in BOOTED_ON:
        return None
    first = _first_record(host, boot.since, log)
    if first:
        at, before = first
        return at if before == OFF and at >= boot.early else None
    own = (step for step in steps if step.get("kind") == EVENT and boot.id and step.get("boot") == boot.id)
    return next((float(step.get("uptime", 0.0)) for step in own), None)


def way(manager: str) -> str:
    """How audit=1 gets onto the boot command line here, in words."""
    return WAYS.get(manager, "as the boot loader has it")


def _first_record(host: Reader, since: float, log: str) -> Optional[tuple[float, bytes]]:
    """When audit_enabled was first set in this boot (seconds), and what it was before; None if the log is too short."""
    tail, found = host.tail(log, TAIL), host.stat(log)
    oldest = re.search(STAMP, tail)
    whole = found is not None and found.size <= TAIL and host.stat(f"{log}.1") is None
    if not oldest or not (whole or float(oldest[1]) < since):
        return None
    changes = ((float(at) - since, old) for at, new, old in re.findall(RECORD, tail) if (new, old) != (OFF, OFF))
    return next((change for change in changes if change[0] >= 0), None)
