"""Which releases are at work here, where that is known without asking a package manager, and which machine it is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any, Optional

from .. import __version__
from ..agent import vendor
from ..host.boot import boot_id
from ..host.reader import Output, Reader

DPKG = "/var/lib/dpkg/status"
MACHINE_ID = "/etc/machine-id"
PURPOSE = b"fim-bootstrap"


def machine(host: Reader) -> str:
    """A digest of machine-id(5), which must not be told to others as it is; '' where the machine has none yet."""
    plain = (host.read_bytes(MACHINE_ID) or b"").strip()
    return hashlib.sha256(PURPOSE + plain).hexdigest()[:32] if len(plain) == 32 else ""


def this_machine(host: Reader) -> dict[str, Any]:
    """What a report tells of the running machine where a run ended before anything else was known of it."""
    return {
        "boot": boot_id(host),
        "versions": gather(host, True, None),
        "host": {"hostname": os.uname().nodename, "machine": machine(host)},
    }


def gather(host: Reader, live: bool, auditctl: Optional[Output]) -> Mapping[str, str]:
    """The releases of agent, audit, kernel and tool; '' where asking for one would take too long (rpm)."""
    database = host.read_bytes(DPKG) or b""
    said = re.search(r"version (\S+)", auditctl.stdout) if auditctl else None
    return {
        "agent": _packaged(database, vendor.SERVICE),
        "audit": said[1] if said else _packaged(database, "auditd"),
        "kernel": os.uname().release if live else "",
        "tool": __version__,
    }


def _packaged(database: bytes, name: str) -> str:
    """The version of a package in dpkg's database, if it is there as a whole."""
    begin = f"Package: {name}\n".encode()
    at = 0 if database.startswith(begin) else database.find(b"\n" + begin) + 1
    entry = database[at:].partition(b"\n\n")[0] if database.startswith(begin, at) else b""
    found = re.search(rb"^Version: (\S+)$", entry, re.MULTILINE)
    return found[1].decode(errors="replace") if found and b" ok installed\n" in entry else ""
