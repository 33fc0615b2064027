"""An image build is ended with all its processes, as a builder's time limit does; the next run heals the tree."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest

from tests.conftest import PROJECT, Ran
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
