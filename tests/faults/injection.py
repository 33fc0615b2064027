"""Run the tool under strace: list each system call by which it touches a tree, and strike at one of them.

The list is derived from a run. strace counts the calls of each name from the start of the process, so a point is
a name and a number; the same run comes to the same calls again.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fim_bootstrap import cli
from tests.conftest import PROJECT, Ran

CALLS = ("openat", "write", "rename", "unlink", "unlinkat", "mkdir", "rmdir", "fsync", "fchmod", "fchown", "fsetxattr",
         "ftruncate", "flock")  # fmt: skip
LINE = re.compile(r"(\w+)\((.*)\) += (-?\d+)")


class Point(NamedTuple):
    """The nth call of a name in a run, and how strace showed it."""

    call: str
    number: int
    shown: str


def points(words: Sequence[str], folder: Path) -> list[Point]:
    """Run the tool to its end; every call by which it changed something below the folder, or locked it."""
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as trace:
        ran = _strace(("-y", "-o", trace.name, "-e", f"trace={','.join(CALLS)}"), words)
        assert ran.status == 0, ran
        seen = dict.fromkeys(CALLS, 0)
        found = []
        for line in trace.read().splitlines():
            if match := LINE.match(line):
                call, arguments, _ = match.groups()
                seen[call] += 1
                reads = call == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", arguments)
                if str(folder) in arguments and not reads:
                    found.append(Point(call, seen[call], arguments.replace(str(folder), "")))
    return found


def struck(words: Sequence[str], point: Point, how: str) -> Ran:
    """Run the tool, and have that call killed (`signal=KILL`) or failed (`error=EIO`)."""
    inject = f"inject={point.call}:{how}:when={point.number}"
    return _strace(("-o", "/dev/null", "-e", f"trace={point.call}", "-e", inject), words)


def _strace(options: Sequence[str], words: Sequence[str]) -> Ran:
    # without -f only the main thread is traced: every effect of the tool is there, its children have their own tests
    argv = ["strace", "-qq", *options, sys.executable, "-B", str(PROJECT / "bootstrap.py"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    return Ran(done.returncode, done.stdout, done.stderr)


def inside(*words: str) -> Ran:
    """Run the tool in this process, which spares its start."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(words)
    return Ran(status, out.getvalue(), err.getvalue())
