"""Each command that a fresh `apply` runs fails, hangs, prints rubbish, is killed or lies; or all is killed in it.

In roots with the real apt, dpkg and SELinux tools on a local repository. The list of commands is what a run wrote
into its log.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from fim_bootstrap.host.files import TEMPORARY
from tests.conftest import Ran
from tests.live.guest import FIM
from tests.managers.roots import ENVIRONMENT, Root
from tests.managers.test_managers import release_root

pytestmark = pytest.mark.faults

POLICY_TOOLS = ("checkmodule", "semodule_package", "semodule")
PATIENCE = 2.0  # seconds that a command is given in these tests; the product gives it minutes
# from its nth call on, a command does this instead of its work
FAULTS = {
    "fails": "echo no luck >&2; exit 1",
    "hangs": "exec sleep 1000",
    "prints rubbish": "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2; exit 0",
    "is killed": "kill -9 $$",
    "does nothing": "exit 0",
}
WRAPPER = """#!/bin/sh
echo x >> /calls.{name}
[ $(wc -l < /calls.{name}) -lt {number} ] && exec {real} "$@"
: > /struck
{deed}
"""
# the tool itself, with a shorter time for one command
IMPATIENT = """
import sys
from fim_bootstrap import cli
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.managers import lock
name, run = sys.argv.pop(1), LiveHost.run
def hurried(self, *argv, timeout=120.0, **rest):
    return run(self, *argv, timeout=min(timeout, PATIENCE) if argv[0] == name else timeout, **rest)
LiveHost.run, lock.PAUSE = hurried, 0.1
sys.exit(cli.main())
""".replace("PATIENCE", str(PATIENCE))


class Call(NamedTuple):
    """The nth call of a command in a run."""

    name: str
    number: int


def calls(here: Root) -> list[Call]:
    """The commands that the log of a run names, in their order."""
    seen: dict[str, int] = {}
    found = []
    for name in re.findall(r"(?m)^\S+ ran (\S+)", (here.path / "var/log/fim-bootstrap.log").read_text()):
        seen[name] = seen.get(name, 0) + 1
        found.append(Call(name, seen[name]))
    return found


def plant(here: Root, call: Call, deed: str) -> None:
    """Put a program of that name where the tool looks first."""
    real = here.run(f"command -v {call.name}", check=False).out.strip() or f"/usr/bin/{call.name}"
    program = here.path / "usr/local/sbin" / call.name
    program.write_text(WRAPPER.format(name=call.name, number=call.number, real=real, deed=deed))
    program.chmod(0o755)


def lift(here: Root, call: Call) -> None:
    """Take it away again."""
    (here.path / "usr/local/sbin" / call.name).unlink()
    for name in ("struck", f"calls.{call.name}"):
        (here.path / name).unlink(missing_ok=True)


def hurried(here: Root, call: Call, words: str) -> Ran:
    """Run the tool with little patience for one command."""
    (here.path / "opt/fim-bootstrap/impatient.py").write_text(IMPATIENT)
    return here.run(f"{FIM.replace('bootstrap.py', f'impatient.py {call.name}')} {words} --format json", check=False)


def really_ready(here: Root, policy: bool) -> bool:
    """Asked without the tool: dpkg has the packages whole, the line stands there, the module is in the policy."""
    whole = here.run("dpkg --audit").out == ""
    installed = here.run("dpkg -V auditd checkpolicy semodule-utils policycoreutils", check=False)
    line = "\ndispatcher = /sbin/audispd\n"
    conf = here.path / "etc/audit/auditd.conf"
    there = conf.exists() and line in conf.read_text()
    module = "grep -q fim_bootstrap_src -r /etc/selinux/default/policy && ls /var/lib/selinux/default/*/modules/400"
    loaded = not policy or here.run(module, check=False).status == 0
    return whole and installed.status == 0 and "missing" not in installed.out and there and loaded


def honest(here: Root, ran: Ran, policy: bool) -> None:
    """Ready and exit 0 if it is so; otherwise neither, and a reason."""
    report = ran.report
    assert "mistake in this program" not in ran.out, ran
    if ran.status == 0 or report["verdict"] == "ready":
        assert (ran.status, report["verdict"]) == (0, "ready"), ran
        assert really_ready(here, policy), ran
    else:
        assert report["failed"] is True, ran
        assert any(item["status"] == "failed" and item["summary"] for item in report["requirements"]), ran


@contextmanager
def installed() -> Iterator[Root]:
    """A root in which the packages are there and only the policy module is due."""
    with release_root("debian-12") as (here, _):
        assert here.fim("apply --skip policy").status == 0
        yield here


def test_a_faulty_package_manager_is_never_taken_for_a_success() -> None:
    with release_root("debian-12") as (here, _):
        assert here.fim("apply --skip policy").status == 0
        assert really_ready(here, policy=False)
        found = calls(here)
    assert {"apt-cache", "apt-get"} == {call.name for call in found}
    refused = 0
    for call in found:
        for fault, deed in FAULTS.items():
            with release_root("debian-12") as (here, _):
                plant(here, call, deed)
                ran = hurried(here, call, "apply --skip policy")
                assert (here.path / "struck").exists(), (call, fault)
                honest(here, ran, policy=False)
                refused += ran.status != 0
                lift(here, call)
                healed = here.fim("apply --skip policy")
                assert (healed.status, healed.report["verdict"]) == (0, "ready"), (call, fault, healed)
                assert really_ready(here, policy=False)
    assert refused >= 10
    print(f"\n-- {len(found)} calls of apt and auditd x {len(FAULTS)} faults: {refused} refused, the rest not needed")


def test_a_faulty_selinux_tool_is_never_taken_for_a_success() -> None:
    with installed() as here:
        (here.path / "var/log/fim-bootstrap.log").unlink()
        assert here.fim("apply").status == 0
        assert really_ready(here, policy=True)
        found = calls(here)
    assert {call.name for call in found} == set(POLICY_TOOLS)
    for call in found:
        with installed() as here:
            for fault, deed in FAULTS.items():
                plant(here, call, deed)
                ran = hurried(here, call, "apply")
                assert (here.path / "struck").exists(), (call, fault)
                assert ran.status == 1, (call, fault, ran)
                honest(here, ran, policy=True)
                lift(here, call)
            healed = here.fim("apply")
            assert (healed.status, healed.report["verdict"]) == (0, "ready"), (call, healed)
            assert really_ready(here, policy=True)
    print(f"\n-- {len(found)} calls of SELinux tools x {len(FAULTS)} faults: all refused")


def test_augenrules_passes_over_a_temporary_file() -> None:
    """One that a killed run left between the administrator's rules."""
    with installed() as here:
        (here.path / f"etc/audit/rules.d/{TEMPORARY}0123456789abcdef").write_text("-e 2\n")
        (here.path / "etc/audit/rules.d/50-own.rules").write_text("-w /etc/passwd -p wa\n")
        here.run("augenrules")
        rules = (here.path / "etc/audit/audit.rules").read_text()
        assert ("-w /etc/passwd" in rules, "-e 2" in rules) == (True, False)


@pytest.mark.parametrize("command", ["apt-get", *POLICY_TOOLS])
def test_all_is_killed_while_a_command_runs(command: str) -> None:
    """As a power cut would, but for the disk's cache: the tool, the command and whatever that had started."""
    policy = command in POLICY_TOOLS
    moments = {"apt-get": (0.05, 0.2, 0.35, 0.45, 0.6), "semodule": (0.5, 3.0)}.get(command, (0.0,))
    unfinished = 0
    for moment in moments:
        with installed() if policy else release_root_alone() as here:
            number = 1 if policy else 2  # the second is the installation
            plant(here, Call(command, number), f'exec /usr/bin/{command} "$@"')
            if policy and (here.path / f"usr/sbin/{command}").exists():
                plant(here, Call(command, number), f'exec /usr/sbin/{command} "$@"')
            kill_in(here, moment, "apply" if policy else "apply --skip policy")
            lift(here, Call(command, number))
            unfinished += here.run("dpkg --audit").out != "" or not really_ready(here, policy)
            healed = here.fim("apply" if policy else "apply --skip policy")
            assert (healed.status, healed.report["verdict"]) == (0, "ready"), (moment, healed)
            assert really_ready(here, policy)
            state = here.path / "var/lib/fim-bootstrap"
            assert not list(state.glob("work.*"))
            assert here.fim("apply" if policy else "apply --skip policy").report["changed"] is False
            if not policy:
                assert '"install"' in (state / "journal.jsonl").read_text()
    assert unfinished > 0
    print(f"\n-- all was killed at {len(moments)} moments of {command}, {unfinished} halfway; one run healed each")


def test_all_is_killed_while_revert_unloads_the_module() -> None:
    with installed() as here:
        assert here.fim("apply").status == 0
        plant(here, Call("semodule", 1), 'exec /usr/sbin/semodule "$@"')
        kill_in(here, 2.0, "revert")
        lift(here, Call("semodule", 1))
        healed = here.fim("revert")
        assert healed.report["failed"] is False, healed
        assert here.run("grep -q fim_bootstrap_src -r /etc/selinux/default/policy", check=False).status == 1
        assert "dispatcher" not in (here.path / "etc/audit/auditd.conf").read_text()
        assert here.fim("revert").report["changed"] is False


@pytest.mark.parametrize("command", ["apt-get", "semodule"])
def test_the_tool_alone_is_killed_and_its_child_works_on(command: str) -> None:
    """The next run comes at once, and meets the child's lock."""
    policy = command == "semodule"
    words = "apply" if policy else "apply --skip policy"
    with installed() if policy else release_root_alone() as here:
        real = "/usr/sbin/semodule" if policy else "/usr/bin/apt-get"
        plant(here, Call(command, 1 if policy else 2), f'exec {real} "$@"')
        argv = ["chroot", str(here.path), "sh", "-c", f"exec env {FIM} {words}"]
        process = subprocess.Popen(argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        struck_in(here)
        process.kill()
        process.wait()
        healed = here.fim(words)
        assert (healed.status, healed.report["verdict"]) == (0, "ready"), healed
        assert really_ready(here, policy)


@contextmanager
def release_root_alone() -> Iterator[Root]:
    """A root in which everything is due."""
    with release_root("debian-12") as (here, _):
        yield here


def kill_in(here: Root, moment: float, words: str) -> None:
    """Run the tool in a process namespace, and end that some seconds after the command was called."""
    unshare = shutil.which("unshare") or "unshare"
    argv = [unshare, "-pf", "--kill-child", "chroot", str(here.path), "sh", "-c", f"{FIM} {words}"]
    process = subprocess.Popen(argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    struck_in(here)
    time.sleep(moment)
    process.kill()
    process.wait()
    time.sleep(0.1)


def struck_in(here: Root) -> None:
    """Wait until the command was called."""
    deadline = time.monotonic() + 60
    while not (here.path / "struck").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (here.path / "struck").exists(), "the command was never called"
