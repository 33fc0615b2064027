"""The lock that lets only one run of this program change a tree."""

from __future__ import annotations

import fcntl
import os
import time

from ..errors import Busy
from .files import put, unwritten


def claim(handle: int, path: str) -> None:
    """Take the lock for this process; raises Busy where another run holds it."""
    try:
        _lock(handle)
        os.ftruncate(handle, 0)
        put(handle, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        raise Busy(f"another fim-bootstrap (pid {holder}) is at work here", "try again when it is done") from None
    except OSError as error:
        raise unwritten(path, error) from error


def _lock(handle: int) -> None:
    """Take the lock; the guard, which shares it for a moment to see that it is free, is waited out (a second)."""
    for _ in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # not where another run holds it
            fcntl.flock(handle, fcntl.LOCK_UN)
            time.sleep(0.05)
        else:
            return
    raise BlockingIOError
