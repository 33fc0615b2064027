"""What is killed at work is healed by the next run: an image build with all its processes, or the manager alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Ran
from tests.live.guest import FIM
from tests.managers.roots import Root
from tests.managers.test_managers import log, release_root

pytestmark = pytest.mark.managers

POLICY_RC = "usr/sbin/policy-rc.d"
# every process of the build ends with the first one of its namespace, like in a container that is stopped
BUILD = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, str(PROJECT / "bootstrap.py"))


def build(here: Root) -> subprocess.Popen[str]:
    """`apply --root` at work."""
    argv = [*BUILD, "apply", "--root", str(here.path), "--format", "json"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def built(here: Root) -> Ran:
    """`apply --root` done."""
    with build(here) as running:
        out, err = running.communicate(timeout=300)
    return Ran(running.returncode, out, err)


def reached(here: Root, state: str) -> bool:
    """Whether the build has come so far: a file is there, or dpkg says so of auditd."""
    for path in (here.path / "var/lib/dpkg/status", *here.path.glob("var/lib/dpkg/updates/*")):
        with contextlib.suppress(FileNotFoundError):
            if f"Package: auditd\nStatus: install {state}\n" in path.read_text():
                return True
    return (here.path / state).exists()


@pytest.mark.parametrize("state", [POLICY_RC, "reinstreq half-installed", "reinstreq unpacked", "ok unpacked"])
def test_an_image_build_that_is_killed(state: str) -> None:
    with release_root("debian-12") as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        with build(here) as running:
            while not reached(here, state) and running.poll() is None:
                time.sleep(0.001)
            running.kill()
        assert (here.path / POLICY_RC).exists(), log(here)
        healed = built(here)
        assert (healed.status, healed.report["verdict"], healed.report["changed"]) == (0, "ready", True), log(here)
        assert not (here.path / POLICY_RC).exists()
        assert here.run("dpkg --audit").out == ""
        assert built(here).report["changed"] is False


# in the middle of its transaction; and what is left of it: rpm has the database's lock until the script ends
MANAGERS = {"debian-12": ("dpkg", "apt-get"), "el8": ("dnf",), "fedora": ("dnf5",), "sles-15.4": ("rpm", "zypper")}


def kill(here: Root, name: str) -> int:
    """SIGKILL, as the kernel sends it where memory runs out; how many processes of that name the root had."""
    killed = 0
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "comm").read_text() == f"{name}\n" and os.readlink(path / "root") == str(here.path):
                os.kill(int(path.name), signal.SIGKILL)
                killed += 1
    return killed


@pytest.mark.parametrize(("name", "manager"), [(name, one) for name, both in MANAGERS.items() for one in both])
def test_a_manager_that_is_killed_while_it_installs(name: str, manager: str) -> None:
    """Either the same run still ends well, or it says how the manager ended; the next one finds all, or finishes it."""
    with release_root(name) as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        here.script("auditd", "post" if here.rpm else "postinst", "sleep $(cat /late)")
        (here.path / "late").write_text("300\n")
        argv = ["chroot", str(here.path), "sh", "-c", f"{FIM} apply --format json"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            while not here.sleeping() and running.poll() is None:
                time.sleep(0.05)
            (here.path / "late").write_text("0\n")
            assert kill(here, manager) == 1
            kill(here, "sleep")
            out, err = running.communicate(timeout=300)
        first = Ran(running.returncode, out, err)
        assert first.report["changed"] is True, log(here)
        if first.status:
            assert re.search(f"the manager was killed, .*{manager} exit status 137", first.report["comment"])
        healed = here.fim("apply")
        assert (healed.status, healed.report["verdict"]) == (0, "ready"), log(here)
        assert healed.report["changed"] is bool(first.status)
        assert here.run("rpm -qa --qf '%{NAME}\\n' | sort | uniq -d" if here.rpm else "dpkg --audit").out == ""
