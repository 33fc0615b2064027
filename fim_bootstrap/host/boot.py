"""The present boot."""

from __future__ import annotations

import time

from .reader import Reader


def boot_id(host: Reader) -> str:
    """The kernel's id of this boot, or ''."""
    return (host.read_bytes("/proc/sys/kernel/random/boot_id") or b"").decode(errors="replace").strip()


def booted() -> float:
    """When this boot began, by the present clock (seconds since the epoch)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
