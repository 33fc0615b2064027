"""Commands: how one is started, what it sees, and how one that takes too long is ended.

There are two ways to start one, since `sh`, by which all that may change something is run, takes 60 ms to import
(asyncio): what only looks is run without it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

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


def found(argv: Sequence[str]) -> tuple[str, ...]:
    """The command with its program's path, or nothing where there is none."""
    name, *arguments = argv
    places = [name] if "/" in name else [f"{folder}/{name}" for folder in PATH.split(":")]
    program = next((place for place in places if os.access(place, os.X_OK)), "")
    return (program, *arguments) if program else ()


def look(argv: Sequence[str], timeout: float) -> Optional[Child]:
    """Start what only looks; None where it is no program of this machine. `timeout` is in seconds."""
    import subprocess

    if not argv:
        return None
    try:
        process = subprocess.Popen(
            argv, env=environment({}), cwd="/", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError:
        return None

    def end() -> tuple[int, bytes, bytes]:
        try:
            out, err = process.communicate(timeout=timeout + 2 * KILL_AFTER)
        except subprocess.TimeoutExpired as late:  # a grandchild in a session of its own holds the pipes
            out, err = late.stdout or b"", late.stderr or b""
        return process.poll() or 0, out, err

    return Child(process.pid, end)


def start(argv: Sequence[str], env: Mapping[str, str]) -> Optional[Child]:
    """Start what may change something; None where it is no program of this machine."""
    import sh

    if not argv:
        return None
    manner: dict[str, Any] = {
        "_bg": True, "_bg_exc": False, "_return_cmd": True, "_tty_out": False, "_ok_code": range(-64, 256),
        "_decode_errors": "replace",
        "_new_session": True,  # so that a timeout can end the grandchildren too
    }  # fmt: skip
    try:
        process = sh.Command(argv[0])(*argv[1:], _env=environment(env), _cwd="/", **manner)
    except (sh.CommandNotFound, OSError):
        return None

    def end() -> tuple[int, bytes, bytes]:
        process.wait()  # its wait(timeout) polls every 100 ms and returns before the output is read to its end
        return process.exit_code, process.stdout, process.stderr

    return Child(process.pid, end)


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
