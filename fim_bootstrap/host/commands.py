"""Commands: what they see, and how one that takes too long is ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple, Optional

from .reader import NOT_FOUND, TIMED_OUT, Output

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
MINUTES = 300.0  # seconds; a command that may take longer is spoken of while it is at work
KILL_AFTER = 5.0  # seconds between SIGTERM and SIGKILL for a command that ran out of time


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a child sees: built anew, but for the proxies."""
    kept = {name: os.environ[name] for name in PROXIES if name in os.environ}
    return {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "TERM": "dumb", **kept, **more}


class Child(NamedTuple):
    """A child at work; `end` waits for it: exit status (-N: killed by signal N), stdout, stderr."""

    pid: int
    end: Callable[[], tuple[int, bytes, bytes]]


def finish(argv: tuple[str, ...], child: Optional[Child], timeout: float) -> Output:
    """What a child said; one that takes too long is ended with its own children."""
    if child is None:
        return Output(argv, NOT_FOUND, "", f"{argv[0]}: not found")
    import threading

    expired = threading.Event()

    def kill(number: int) -> None:
        expired.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    timers = [threading.Timer(timeout, kill, [15]), threading.Timer(timeout + KILL_AFTER, kill, [9])]
    for timer in timers:
        timer.start()
    status, out, err = child.end()
    for timer in timers:
        timer.cancel()
    if expired.is_set():
        return Output(argv, TIMED_OUT, "", f"{argv[0]}: no end within {timeout:.0f} s")
    said = (out.decode(errors="replace"), err.decode(errors="replace"))
    return Output(argv, status if status >= 0 else 128 - status, *said)
