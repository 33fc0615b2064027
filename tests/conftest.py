"""Trees that look like hosts, and the command line run on them as a user runs it."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import settings

from tests import said
from tests.dict_host import BOOT, DictHost

settings.register_profile("no deadline", deadline=None)  # a machine under load is no defect
settings.load_profile("no deadline")

PROJECT = Path(__file__).resolve().parent.parent
BINARY = PROJECT / f"dist/fim-bootstrap-linux-{platform.machine()}"  # `make binary`
DEBIAN_12 = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\n'
# what Debian's auditd ships, shortened to what auditd insists on
AUDITD_CONF = """\
# This file controls the configuration of the audit daemon
local_events = yes
write_logs = yes
log_file = /var/log/audit/audit.log
log_group = adm
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 8
num_logs = 5
priority_boost = 4
name_format = NONE
max_log_file_action = ROTATE
space_left = 75
space_left_action = SYSLOG
admin_space_left = 50
admin_space_left_action = SUSPEND
disk_full_action = SUSPEND
disk_error_action = SUSPEND
"""
RULES = "## First rule - delete all\n-D\n\n-b 8192\n\n--backlog_wait_time 60000\n\n-f 1\n"
PROGRAMS = ("auditd", "auditctl", "augenrules", "checkmodule", "semodule_package", "semodule", "restorecon",
            "sestatus", "getenforce", "which", "service", "pidof", "pkill", "awk", "sed", "grep")  # fmt: skip


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0,
    reason="needs root and mounts of its own, which a chroot does not give",
)


class Ran(NamedTuple):
    """How a run ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """Stdout as the one JSON object that it must be."""
        return dict(json.loads(self.out))

    def status_of(self, requirement: str) -> str:
        """The status of one requirement in the report."""
        return str(next(item["status"] for item in self.report["requirements"] if item["id"] == requirement))


class Tree:
    """A tree below a folder that looks like a Debian 12 with auditd, and that is not running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("/etc/os-release", DEBIAN_12)
        self.write("/etc/audit/auditd.conf", AUDITD_CONF, 0o640)
        self.write("/etc/audit/audit.rules", RULES, 0o640)
        self.write("/etc/audit/rules.d/audit.rules", RULES, 0o640)
        (folder / "etc/audit/plugins.d").mkdir()
        self.write("/lib/systemd/system/auditd.service", "[Unit]\n")
        self.link("/etc/systemd/system/multi-user.target.wants/auditd.service", "/lib/systemd/system/auditd.service")
        for program in PROGRAMS:
            self.write(f"/usr/sbin/{program}", "#!/bin/false\n", 0o755)

    def path(self, name: str) -> Path:
        """Where a path of the tree lies."""
        return self.folder / name.lstrip("/")

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Put a file there."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        path.chmod(mode)

    def link(self, name: str, target: str) -> None:
        """Put a symbolic link there."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).symlink_to(target)

    def read(self, name: str) -> str:
        """A file of the tree."""
        return self.path(name).read_bytes().decode("utf-8", "surrogateescape")

    def fim(self, *words: str, **env: str) -> Ran:
        """Run the command on this tree."""
        return fim(*words, "--root", str(self.folder), **env)


MUTANT = "MUTANT_UNDER_TEST"
IN_PROCESS = MUTANT in os.environ or bool(said.HEARD)  # mutmut sees, and said.py hears, what is called in this process
# of a program that a test starts; with more of it mutmut would count what it calls in a process that is not its own
ALONE = {"PATH": os.environ["PATH"]}


def fim(*words: str, **env: str) -> Ran:
    """Run the command line in a process of its own, as a user does; but for IN_PROCESS."""
    environment = {**ALONE, **env}
    if IN_PROCESS:
        return _here(words, {**environment, MUTANT: os.environ.get(MUTANT, "")})
    done = subprocess.run(
        [sys.executable, str(PROJECT / "bootstrap.py"), *words],
        capture_output=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def _here(words: tuple[str, ...], environment: dict[str, str]) -> Ran:
    from fim_bootstrap.cli import main

    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, environment, clear=True), redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    return Ran(status, out.getvalue(), err.getvalue())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree that is right but for the dispatcher line."""
    return Tree(tmp_path / "root")


@pytest.fixture(autouse=True)
def _heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Whatever the program says in a test, and has a host do, stands in tests/golden/said.txt."""
    if hasattr(request.function, "hypothesis") or any(map(request.node.get_closest_marker, SLOW)):
        yield
        return
    host = request.getfixturevalue("dict_host") if "dict_host" in request.fixturenames else None
    with said.heard(tmp_path, host) as lines:
        yield
    said.check(lines)


@pytest.fixture
def dict_host(monkeypatch: pytest.MonkeyPatch) -> DictHost:
    """An empty host whose clock is the one that the program sees: waiting takes no time."""
    host = DictHost()
    monkeypatch.setattr("sys.argv", ["fim-bootstrap"])
    monkeypatch.setattr("time.time", lambda: host.now)
    monkeypatch.setattr("time.monotonic", lambda: host.now)
    monkeypatch.setattr("time.clock_gettime", lambda _: host.now - BOOT)
    monkeypatch.setattr("time.sleep", host.sleep)
    return host


SLOW = {
    "live": "boots a guest",
    "managers": "builds roots with real package managers",
    "binary": "builds the one-file binary",
    "images": "builds roots, and needs the one-file binary",
    "ansible": "fetches ansible-core, and needs the one-file binary",
    "faults": "kills and fails the tool at every point",
    "fuzz": "fuzzes, beside the real auditctl and auditd",
    "salt": "runs real Salt in roots",
    "fleet": "looks at the fleet's page in a real Chromium",
    "scap": "scans with the real OpenSCAP, and fetches ansible-core",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option for each kind of test that takes minutes, and mostly root."""
    for name, does in SLOW.items():
        parser.addoption(f"--{name}", action="store_true", help=f"run the tests that need this: {does}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out of a plain run, in the count of skipped tests."""
    for item in items:
        for name, does in SLOW.items():
            if item.get_closest_marker(name) and not config.getoption(f"--{name}"):
                item.add_marker(pytest.mark.skip(reason=f"{does}: make test-{name}"))
