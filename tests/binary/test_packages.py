"""The .deb and the .rpm of a release, installed, upgraded and removed by the real managers in roots."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fim_bootstrap import __version__
from tests.binary.conftest import package
from tests.conftest import BINARY, PROJECT, needs_root
from tests.documented import block
from tests.managers.roots import Root
from tests.managers.test_managers import release_root

pytestmark = [pytest.mark.binary, needs_root]

PAGE = "docs/release.md"
NEXT = "9.9.9"
UNITS = "fim-bootstrap-guard.timer fim-bootstrap-guard.path"
STATE = "var/lib/fim-bootstrap"
FILES = {
    "/usr/sbin/fim-bootstrap", "/usr/lib/systemd/system/fim-bootstrap-guard.service",
    "/usr/lib/systemd/system/fim-bootstrap-guard.timer", "/usr/lib/systemd/system/fim-bootstrap-guard.path",
    "/usr/lib/systemd/system-preset/90-fim-bootstrap.preset", "/usr/share/man/man8/fim-bootstrap.8.gz",
    "/usr/share/doc/fim-bootstrap/copyright", "/usr/share/doc/fim-bootstrap/CHANGELOG.md",
}  # fmt: skip


class Manager(NamedTuple):
    """How a system of that family does it, and asks for it."""

    release: str
    kind: str
    word: str
    version: str
    verify: str
    listed: str
    remove: str


MANAGERS = (
    Manager("debian-12", "deb", "apt-get install -y ./", "dpkg-query -W -f '${Version}' fim-bootstrap",
            "dpkg --verify fim-bootstrap", "dpkg -L fim-bootstrap", "apt-get remove -y fim-bootstrap"),
    Manager("el8", "rpm", "dnf install", "rpm -q --qf '%{VERSION}' fim-bootstrap", "rpm -V --nodeps fim-bootstrap",
            "rpm -ql fim-bootstrap", "dnf remove -y fim-bootstrap"),
    Manager("sles-15.4", "rpm", "zypper", "rpm -q --qf '%{VERSION}' fim-bootstrap", "rpm -V --nodeps fim-bootstrap",
            "rpm -ql fim-bootstrap", "zypper -n remove fim-bootstrap"),
)  # fmt: skip


@contextlib.contextmanager
def package_root(manager: Manager, release: Path) -> Iterator[Root]:
    """A root with the package of a release and that of the next in /."""
    with release_root(manager.release) as (here, _):
        subprocess.run([PROJECT / "packaging/packages/build.sh", BINARY, NEXT, here.path], check=True)
        shutil.copy(package(release, manager.kind), here.path)
        if manager.kind == "rpm":  # the root is Debian's: its C library is no RPM
            here.provide("glibc", "2.36")
        yield here


def installed(here: Root) -> set[str]:
    """Which of the package's files are there."""
    return {path for path in FILES if (here.path / path[1:]).exists()}


@pytest.mark.parametrize("manager", MANAGERS, ids=lambda manager: manager.release)
def test_it_is_installed_upgraded_and_removed(manager: Manager, release: Path) -> None:
    with package_root(manager, release) as here:
        line = block(PAGE, manager.word).strip()
        here.run(f"cd / && {line}")
        assert here.run(manager.version).out == __version__
        assert installed(here) == FILES <= {*here.run(manager.listed).out.split()}
        assert here.run(manager.verify).out == ""
        assert here.run("fim-bootstrap --version").out == f"fim-bootstrap {__version__}\n"
        assert here.run("zcat /usr/share/man/man8/fim-bootstrap.8.gz").out.count(".TH") == 1
        assert here.run(f"systemctl is-enabled {UNITS}", check=False).out.split() == ["disabled", "disabled"]
        here.run(f"systemctl preset-all && ! systemctl is-enabled {UNITS}")

        (here.path / STATE).mkdir(exist_ok=True)
        (here.path / STATE / "journal.jsonl").write_text("")
        here.run(f"systemctl enable {UNITS}")
        here.run(f"cd / && {line.replace(__version__, NEXT)}")
        assert here.run(manager.version).out == NEXT
        assert here.run(f"systemctl is-enabled {UNITS}").out.split() == ["enabled", "enabled"]

        here.run(manager.remove)
        assert installed(here) == set()
        assert here.run("find /etc/systemd /usr/lib/systemd -name 'fim-bootstrap*'").out == ""
        assert (here.path / STATE / "journal.jsonl").exists()


def test_a_purge_removes_the_record_and_the_log(release: Path) -> None:
    with package_root(MANAGERS[0], release) as here:
        here.run(f"cd / && {block(PAGE, MANAGERS[0].word)}")
        (here.path / STATE).mkdir()
        (here.path / "var/log/fim-bootstrap.log").write_text("")
        here.run("apt-get purge -y fim-bootstrap")
        assert here.run(f"ls -d /{STATE} /var/log/fim-bootstrap.log", check=False).out == ""


@pytest.mark.parametrize("manager", MANAGERS[:2], ids=lambda manager: manager.release)
def test_a_program_of_install_sh_that_comes_first_is_told(manager: Manager, release: Path) -> None:
    with package_root(manager, release) as here:
        (here.path / "usr/local/sbin/fim-bootstrap").write_text("")
        said = here.run(f"cd / && {block(PAGE, manager.word)}")
        assert (
            "/usr/local/sbin/fim-bootstrap, which is no file of this package, comes first in PATH"
            in said.out + said.err
        )


def test_the_guard_of_the_package_is_enabled_and_no_second_program_is_put_there(release: Path) -> None:
    """A copy in /usr/local/sbin would hide the program of an upgrade."""
    with package_root(MANAGERS[0], release) as here:
        here.run(f"cd / && {block(PAGE, MANAGERS[0].word)}")
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        assert here.run("fim-bootstrap apply --root / --guard --first-boot --format json").report["changed"] is True
        assert here.run(f"systemctl is-enabled {UNITS}").out.split() == ["enabled", "enabled"]
        assert here.run("ls /usr/local/sbin; find /etc/systemd -name 'fim-bootstrap-guard*' -type f").out == ""
        unit = (here.path / "etc/systemd/system/fim-bootstrap-firstboot.service").read_text()
        assert "ExecStart=/usr/sbin/fim-bootstrap apply" in unit
        assert here.run("fim-bootstrap apply --root / --guard --first-boot --format json").report["changed"] is False
        here.run("fim-bootstrap revert --root /")
        assert here.run("find /etc/systemd -name 'fim-bootstrap*'").out == ""
        assert installed(here) == FILES
