"""Who holds a package manager's lock, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Optional

from ..errors import Busy
from ..host.reader import Host, Reader
from .rows import Manager

PAUSE = 2.0  # seconds between two tries for a lock, and after the first failure of the network


def holder_of(host: Reader, locks: Sequence[str]) -> Optional[int]:
    """The pid of who has one of the files locked for writing, 0 where it is not known; the first file counts.

    rpm and dpkg lock by fcntl(2), which needs a file open for writing. flock(2), which anyone may take on a file
    that he can read, does not stop them, and does not count.
    """
    places = [found.place for path in locks if (found := host.stat(path))]
    table = host.read_bytes("/proc/locks") if places else b""
    # 1: POSIX ADVISORY WRITE 4711 fe:00:131 0 EOF; a waiting one has -> in front; OFDLCK has pid -1
    rows = [line.split() for line in (table or b"").decode(errors="replace").splitlines()]
    held = [row for row in rows if len(row) > 5 and row[1] in ("POSIX", "OFDLCK") and row[3] == "WRITE"]
    holders = {row[5]: int(row[4]) if row[4].isdecimal() else 0 for row in held}
    return next((holders[place] for place in places if place in holders), None)


def wait(host: Host, manager: Manager, pid: int, deadline: float) -> None:
    """Wait a moment for who holds the lock; raises Busy once the deadline (monotonic seconds) has passed."""
    holder = _process(host, pid)
    left = deadline - time.monotonic()
    if left < 0:
        raise Busy(f"{manager.name} is locked by {holder}", "try again later")
    host.waits(f"{manager.name} is locked by {holder}", left)
    time.sleep(PAUSE)


def _process(host: Reader, pid: int) -> str:
    """A process by pid and name; its command line may hold passwords."""
    if not pid:
        return "another process"
    name = (host.read_bytes(f"/proc/{pid}/comm") or b"").decode(errors="replace").strip()
    return f"process {pid} ({name or 'gone by now'})"
