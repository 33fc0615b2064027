"""What a run says while it works or waits."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest

from fim_bootstrap import progress
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.progress import Progress
from tests.conftest import PROJECT


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "GRACE", 0.1)
    monkeypatch.setattr(progress, "REWRITTEN", 0.05)
    monkeypatch.setattr(progress, "EVERY", 0.5)


def test_a_long_command_has_a_line_when_it_begins_now_and_then_and_when_it_ends() -> None:
    lines: list[str] = []
    host = LiveHost(progress=Progress(lines.append))
    host.run("sleep", "1.3", timeout=600)
    assert lines[0] == "sleep 1.3: at work"
    assert re.fullmatch(r"sleep 1\.3: at work \(\d s\)", lines[1])
    assert re.fullmatch(r"sleep 1\.3: \d s", lines[-1])
    assert len(lines) >= 3


@pytest.mark.parametrize(("seconds", "timeout"), [("0", 600), ("0.5", 120)])
def test_what_is_over_at_once_or_cannot_take_minutes_is_not_spoken_of(seconds: str, timeout: float) -> None:
    lines: list[str] = []
    LiveHost(progress=Progress(lines.append)).run("sleep", seconds, timeout=timeout)
    assert lines == []


def test_a_wait_tells_what_is_left_of_it_and_is_over_when_work_begins() -> None:
    lines: list[str] = []
    here = Progress(lines.append)
    for left in (10, 9, 8):
        here.wait("waiting for the lock of apt, held by process 7 (apt-get)", left)
    with here.step("apt-get update"):
        pass
    assert lines == ["waiting for the lock of apt, held by process 7 (apt-get); 10 s left",
                     "waiting for the lock of apt, held by process 7 (apt-get): 0 s"]  # fmt: skip


def test_on_a_terminal_one_line_is_rewritten_and_cleared() -> None:
    lines: list[str] = []
    shown: list[str] = []
    here = Progress(lines.append, shown.append)
    here.wait("waiting for the network", 20)
    with here.step("dnf makecache"):
        time.sleep(0.4)
    assert lines == []
    assert shown[:2] == ["waiting for the network; 20 s left (0 s)", ""]
    assert all(line.startswith("dnf makecache: at work (") for line in shown[2:-1])
    assert len(shown) > 4
    assert shown[-1] == ""


SCRIPT = """
from fim_bootstrap import cli
here = cli._progress()
here.wait("waiting for " + "x" * 200, 5)
here.over()
"""


def test_the_line_fits_the_terminal_and_stdout_stays_empty() -> None:
    try:
        outer, inner = pty.openpty()
    except OSError as error:
        pytest.skip(f"needs a terminal: {error}")
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=inner, check=True, cwd=PROJECT,
                          timeout=60)  # fmt: skip
    shown = os.read(outer, 4096).decode()
    os.close(outer)
    os.close(inner)
    assert done.stdout == b""
    assert shown.startswith("\r\x1b[K")
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown
    assert len(shown) == len("\r\x1b[K") * 2 + 59
