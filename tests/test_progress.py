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
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.progress import Progress
from tests.conftest import PROJECT

# a chroot may have /dev without the file system of the terminals (devpts)
needs_terminal = pytest.mark.skipif(not os.path.exists("/dev/pts/ptmx"), reason="needs a pseudo-terminal")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "GRACE", 0.1)
    monkeypatch.setattr(progress, "REWRITTEN", 0.05)
    monkeypatch.setattr(progress, "EVERY", 0.5)


def unstamped(lines: list[str]) -> list[str]:
    """The lines without the seconds since the run began."""
    assert all(re.match(r"\[ *\d+\.\d s\] ", line) for line in lines)
    return [line.partition("] ")[2] for line in lines]


def test_a_step_has_a_line_when_it_begins_now_and_then_and_when_it_ends() -> None:
    lines: list[str] = []
    with Progress(lines.append).step("agent", "restart it"):
        time.sleep(1.3)
    first, *between, last = unstamped(lines)
    assert first == "start agent: restart it"
    assert between
    assert all(re.fullmatch(r"wait  agent: restart it, \d s so far", line) for line in between)
    assert re.fullmatch(r"done  agent: 1\.\d s", last)


def test_a_step_that_fails_says_why() -> None:
    lines: list[str] = []

    def fail() -> None:
        with Progress(lines.append).step("agent", "restart it"):
            raise BootstrapError("it did not come up")

    with pytest.raises(BootstrapError):
        fail()
    assert unstamped(lines) == ["start agent: restart it", "FAIL  agent: it did not come up"]


def test_a_long_command_outside_of_a_step_is_told_of_while_it_works() -> None:
    lines: list[str] = []
    host = LiveHost(progress=Progress(lines.append))
    host.run("sleep", "1.3", timeout=600)
    assert lines
    assert all(re.fullmatch(r"wait  sleep 1\.3 works, \d of 600 s so far", line) for line in unstamped(lines))


@pytest.mark.parametrize(("seconds", "timeout"), [("0", 600), ("0.5", 120)])
def test_what_is_over_at_once_or_cannot_take_minutes_is_not_spoken_of(seconds: str, timeout: float) -> None:
    lines: list[str] = []
    LiveHost(progress=Progress(lines.append)).run("sleep", seconds, timeout=timeout)
    assert lines == []


def test_a_wait_is_told_of_once_and_then_in_the_rhythm_of_all() -> None:
    lines: list[str] = []
    here = Progress(lines.append)
    with here.step("packages", "install audit"):
        new = [here.wait(f"apt is locked by process {pid} (apt-get)", 300) for pid in (7, 8, 8)]
        time.sleep(0.7)
        with here.command("apt-get install audit", 1800):
            time.sleep(0.7)
    assert new == [True, False, False]
    told = unstamped(lines)
    assert told[1] == "wait  packages: apt is locked by process 7 (apt-get), 300 s at most"
    assert "wait  packages: apt is locked by process 8 (apt-get), 1 of 300 s so far" in told
    assert re.fullmatch(r"wait  packages: apt-get install audit works, \d of 1800 s so far", told[-2])
    assert told[-1].startswith("done  packages: ")


def test_a_run_that_is_over_is_silent() -> None:
    lines: list[str] = []
    here = Progress(lines.append)
    here.wait("the network is not there yet", 20)
    here.over()
    time.sleep(0.7)
    assert len(lines) == 1
    assert here.wait("the network is not there yet", 20)
    here.over()


def test_on_a_terminal_one_line_is_rewritten_and_the_step_stays() -> None:
    lines: list[str] = []
    shown: list[str] = []
    here = Progress(lines.append, shown.append, lambda: 60)
    with here.step("policy", "build and load the SELinux module fim_bootstrap (m_t)"):
        time.sleep(0.3)
        with here.command("semodule -i fim_bootstrap.pp", 900):
            time.sleep(0.3)
    seen = list(dict.fromkeys(line for line in shown if line))
    assert re.fullmatch(r"  \.\.\.\.    policy      build and load the SELinux m \.\.\.  \d s", seen[0])
    assert re.fullmatch(r"  \.\.\.\.    policy      semodule -i fim_boots \.\.\.  \d of 900 s", seen[-1])
    assert shown[-1] == ""
    assert len(lines) == 1
    assert re.fullmatch(r"  done    policy      build and load the SELinux \.\.\.  \d\.\d s", lines[0])


SCRIPT = """
import time
from fim_bootstrap import output, progress
from fim_bootstrap.screen import text
from tests.screens import SCREENS
progress.GRACE, progress.REWRITTEN = 0.0, 0.05
here = output.progress()
with here.step("agent", "restart " + "x" * 200):
    time.sleep(0.3)
    here.wait("the agent is starting", 300)
    time.sleep(0.3)
print(text(SCREENS["broken"].document(), output.style(False)))
"""


def on_terminal(columns: int, **environment: str) -> str:
    """What a terminal of a width gets of a run."""
    outer, inner = pty.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONPATH": str(PROJECT), **environment}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=inner, stderr=inner, cwd=PROJECT, env=kept):
        os.close(inner)
        said = b""
        while True:
            try:
                part = os.read(outer, 4096)
            except OSError:  # the other end is closed
                break
            said += part
    os.close(outer)
    return said.decode().replace("\r\n", "\n")


@needs_terminal
def test_on_a_real_terminal_the_line_is_rewritten_fits_and_goes() -> None:
    said = on_terminal(70)
    progress_, _, rest = said.partition("\n")
    frames = progress_.split("\r\x1b[K")
    assert frames[0] == ""
    assert {len(frame) for frame in frames[1:-1]} <= {0, 69}
    assert any(frame.startswith("  ....    agent       restart xxx") for frame in frames)
    assert any(re.search(r"^  wait    agent       the agent is starting +\d of 300 s$", frame) for frame in frames)
    assert re.fullmatch(r"  done    agent       restart x+ \.\.\.  0\.\d s", frames[-1])
    assert "\r" not in rest


@needs_terminal
@pytest.mark.parametrize(("environment", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True),
                                                     ({"TERM": "dumb"}, False)])  # fmt: skip
def test_colour_is_for_a_terminal_that_has_it_and_nobody_said_no(environment: dict[str, str], colour: bool) -> None:
    result = on_terminal(80, **environment).partition("\n")[2]
    assert ("\x1b[1;31mSTOP\x1b[0m" in result) == colour
    assert ("\x1b[" in result) == colour


@needs_terminal
@pytest.mark.parametrize(("columns", "width"), [(40, 60), (72, 72), (200, 100)])
def test_the_result_is_as_wide_as_the_terminal_within_reason(columns: int, width: int) -> None:
    result = on_terminal(columns, NO_COLOR="1").partition("\n")[2]
    lengths = sorted(len(line) for line in result.splitlines() if " at    " not in line)
    assert width - 12 < lengths[-1] <= width
