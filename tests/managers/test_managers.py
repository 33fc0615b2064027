"""`apply` with real package managers in roots that stand in for other releases (as root: make test-managers)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.managers.roots import PROFILES, Root, root

pytestmark = pytest.mark.managers


class Release(NamedTuple):
    """A release to dress a root as, and its manager."""

    suite: str
    os_release: str
    profile: str
    manager: str
    holder: str  # how the manager installs, to hold its lock


APT, DNF = "apt-get -y install", "dnf -y install"
RELEASES = {
    "debian-12": Release("bookworm", 'ID=debian\nVERSION_ID="12"\n', "debian-12", "apt-get", APT),
    "ubuntu-22.04": Release("bookworm", 'ID=ubuntu\nVERSION_ID="22.04"\n', "ubuntu-22.04", "apt-get", APT),
    "el8": Release("bookworm", 'ID="rocky"\nVERSION_ID="8.10"\nPLATFORM_ID="platform:el8"\n', "el8", "dnf", DNF),
    "fedora": Release("sid", "ID=fedora\nVERSION_ID=43\n", "fedora", "dnf5", "dnf5 -y install"),
    "sles-15.4": Release("bookworm", 'ID="sles"\nVERSION_ID="15.6"\n', "sles-15.4", "zypper", "zypper -n install"),
    "tumbleweed": Release("bookworm", 'ID="opensuse-tumbleweed"\nVERSION_ID="20260101"\n', "tumbleweed", "zypper",
                          "zypper -n install"),
    "el7": Release("bookworm", 'ID="centos"\nVERSION_ID="7"\n', "el7", "yum", ""),
    "rpm-files": Release("bookworm", "ID=altlinux\nVERSION_ID=10.1\n", "rpm-files", "dnf", DNF),
}  # fmt: skip
FAMILIES = ("debian-12", "el8", "fedora", "sles-15.4")
# zypper has rpm install each package, and rpm has the lock
HOLDERS = {"apt-get": "apt-get", "dnf": "dnf", "dnf5": "dnf5", "zypper": "(zypper|rpm)"}
MARKER = "grep -l fim_bootstrap_src -r /etc/selinux/default/policy"


@contextlib.contextmanager
def release_root(name: str, without: str = "") -> Iterator[tuple[Root, Release]]:
    """A root that stands in for one of the releases, its repository built."""
    release = RELEASES[name]
    with root(release.suite, release.os_release, release.profile) as here:
        if release.manager == "yum":
            for other in ("dnf", "zypper"):
                (here.path / "usr/bin" / other).unlink()
            shutil.copy(Path(__file__).parent / "yum3.py", here.path / "usr/bin/yum")
            (here.path / "usr/bin/yum").chmod(0o755)
        here.publish(without)
        yield here, release


def log(here: Root) -> str:
    """What the tool has written down."""
    return (here.path / "var/log/fim-bootstrap.log").read_text()


@pytest.mark.parametrize("name", RELEASES)
def test_fresh_and_again(name: str) -> None:
    """From nothing to a module in the store; the second run does not even start the manager."""
    with release_root(name) as (here, release):
        first = here.fim("apply")
        assert (first.status, first.report["verdict"]) == (0, "ready"), first.out + first.err
        assert first.report["host"]["profile"] == release.profile
        assert ("not in the table" in first.out + first.err + log(here)) == (name == "rpm-files")
        here.run(MARKER)
        for command in PROFILES[release.profile].packages:
            here.run(f"command -v {command}")
        program = here.path / "usr/bin" / release.manager
        program.unlink()
        program.write_text("#!/bin/sh\ntouch /started\nexit 1\n")
        program.chmod(0o755)
        again = here.fim("apply")
        assert (again.status, again.report["changed"]) == (0, False), again.out
        assert not (here.path / "started").exists()


def test_the_vendor_s_name_for_release_8_is_installed_too() -> None:
    with release_root("el8") as (here, _):
        assert here.fim("apply").status == 0
        here.run("rpm -q python3-policycoreutils policycoreutils-python-utils")


@pytest.mark.parametrize("name", [*FAMILIES, "el7", "rpm-files"])
def test_a_name_that_is_missing_is_named_and_nothing_is_installed(name: str) -> None:
    """yum 3 would pass over the name and report success."""
    with release_root(name, without="checkpolicy") as (here, _):
        failed = here.fim("apply")
        assert failed.status == 1, failed.out
        assert "no package for the command checkmodule" in failed.out
        assert here.run("command -v auditd", check=False).status != 0
        assert failed.report["done"] == []


@pytest.mark.parametrize("name", [*FAMILIES, "el7"])
def test_a_repository_that_is_gone(name: str) -> None:
    with release_root(name) as (here, _):
        shutil.rmtree(here.path / "repo")
        failed = here.fim("apply")
        assert failed.status == 1, failed.out
        assert "no package for the command" in failed.out
        if name == "el7":
            assert "centos 7 reached its end of life on 2024-06-30: point baseurl at" in failed.out


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lock_is_waited_for(name: str) -> None:
    with release_root(name) as (here, release), here.holding(release.holder, 6):
        applied = here.fim("apply")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out
        assert re.search(rf"locked by process \d+ \({HOLDERS[release.manager]}", log(here))
        assert re.search(r"\] wait  packages: .* is locked by process .*, \d+ s at most", applied.err)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lock_of_the_database_s_own_tool_is_waited_for(name: str) -> None:
    """dpkg or rpm by hand: the managers' own locks are free."""
    with release_root(name) as (here, _):
        tool, package = ("rpm", "slow-1.rpm") if here.rpm else ("dpkg", "slow_1_all.deb")
        with here.holding(f"{tool} -i /repo/{package} #", 6):
            applied = here.fim("apply")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out
        assert re.search(rf"locked by process \d+ \({tool}", log(here))


def test_zypper_s_lock_is_told_by_its_words() -> None:
    """PackageKit holds it while it asks: rpm's own lock is free."""
    with release_root("sles-15.4") as (here, _):
        here.run(f"mkdir -p /run; echo {os.getpid()} > /run/zypp.pid")
        busy = here.fim("apply --lock-timeout 1")
        assert (busy.status, f"process {os.getpid()} (" in busy.out) == (75, True), busy.out


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lock_that_stays_ends_with_75(name: str) -> None:
    with release_root(name) as (here, release), here.holding(release.holder, 120):
        begun = time.monotonic()
        busy = here.fim("apply --lock-timeout 3")
        assert busy.status == 75, busy.out
        assert re.search(rf"locked by process \d+ \({HOLDERS[release.manager]}", busy.report["comment"])
        assert 3 < time.monotonic() - begun < 60
        assert here.run("command -v checkmodule", check=False).status != 0


def test_a_semodule_at_work_is_waited_for() -> None:
    """A killed run leaves one; it holds its lock longer than the 5 s for which another semodule waits."""
    with release_root("debian-12") as (here, _):
        begun = time.monotonic()
        with (here.path / "var/lib/selinux/default/semanage.trans.LOCK").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            threading.Timer(25, fcntl.flock, [lock, fcntl.LOCK_UN]).start()
            applied = here.fim("apply")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out + applied.err
        assert time.monotonic() - begun > 25


def test_yum_s_lock_is_told_by_its_words() -> None:
    with release_root("el7") as (here, _):
        here.run(f"echo {os.getpid()} > /var/run/yum.pid")
        busy = here.fim("apply --lock-timeout 1")
        assert (busy.status, f"process {os.getpid()} (" in busy.out) == (75, True), busy.out


@pytest.mark.parametrize("name", [*FAMILIES, "el7"])
def test_a_package_whose_files_are_gone_is_installed_anew(name: str) -> None:
    with release_root(name) as (here, _):
        assert here.fim("apply").status == 0
        here.run("rm $(command -v auditd) $(command -v checkmodule)")
        healed = here.fim("apply")
        assert (healed.status, healed.report["verdict"]) == (0, "ready"), healed.out + healed.err


def test_an_interrupted_dpkg_is_finished() -> None:
    """dpkg was killed while it configured a package: apt-get refuses everything until that is finished."""
    with release_root("debian-12") as (here, release):
        with here.holding(release.holder, 120):
            here.run("kill -9 $(pidof dpkg)")
        (here.path / "slow").write_text("0\n")
        (here.path / "var/lib/dpkg/updates/0001").write_text("")
        assert "dpkg was interrupted" in here.run("apt-get -y install auditd", check=False).err
        healed = here.fim("apply")
        assert (healed.status, healed.report["verdict"]) == (0, "ready"), healed.out + healed.err
        assert here.run("dpkg --audit").out == ""


@pytest.mark.parametrize("name", ["el8", "sles-15.4", "fedora"])
def test_metadata_that_names_files_that_are_gone(name: str) -> None:
    """The repository has moved on since the manager last looked."""
    with release_root(name) as (here, release):
        here.run({"dnf": "dnf makecache", "dnf5": "dnf5 makecache", "zypper": "zypper -n refresh"}[release.manager])
        here.publish(version="2")
        applied = here.fim("apply")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out + applied.err


@pytest.mark.parametrize("name", FAMILIES)
def test_metadata_that_cannot_be_read(name: str) -> None:
    with release_root(name) as (here, _):
        for path in here.path.glob("repo/Packages*"):
            path.write_text("rubbish\n")
        for path in here.path.glob("repo/repodata/repomd.xml"):
            path.write_text("rubbish\n")
        failed = here.fim("apply")
        assert failed.status == 1, failed.out
        assert "no package for the command" in failed.out
        assert failed.report["done"] == []


def test_without_root_nothing_is_tried() -> None:
    with release_root("el8") as (here, _):
        refused = here.run("exec setpriv --reuid 65534 --clear-groups python3 /opt/fim-bootstrap/bootstrap.py apply",
                           check=False)  # fmt: skip
        assert refused.status == 77
        assert "apply needs root" in refused.err


@pytest.mark.parametrize("name", ["debian-12", "el8", "sles-15.4"])
def test_resolve_asks_the_repositories(name: str) -> None:
    with release_root(name) as (here, _):
        here.run("apt-get update" if name == "debian-12" else "true")
        answer = here.fim("profiles --resolve")
        assert answer.status == 0, answer.out
        assert all(answer.report["packages"].values())


def test_an_image_based_host_without_its_tool_is_told_what_to_do() -> None:
    with release_root("fedora") as (here, _):
        (here.path / "run/ostree-booted").write_text("")
        blocked = here.fim("apply")
        assert blocked.status == 4
        assert "build them into the image (RUN dnf install -y audit" in blocked.out


def test_an_image_based_host_gets_its_packages_at_the_next_boot() -> None:
    """A replay: rpm-ostree answers as on Fedora CoreOS, and the packages are not there before a reboot."""
    with release_root("fedora") as (here, _):
        (here.path / "run/ostree-booted").write_text("")
        fake = here.path / "usr/bin/rpm-ostree"
        fake.write_text('#!/bin/sh\necho "$@" >> /asked\n[ "$1" = search ] && shift && '
                        'for p; do echo "$p : a package"; done\nexit 0\n')  # fmt: skip
        fake.chmod(0o755)
        staged = here.fim("apply")
        assert staged.status == 0, staged.out
        assert staged.report["reboot_required"] is True
        assert staged.status_of("packages") == "reboot"
        asked = (here.path / "asked").read_text()
        assert "install --idempotent --allow-inactive -y audit" in asked
        again = here.fim("apply")
        assert (again.status, again.report["changed"]) == (0, False)
        assert (here.path / "asked").read_text() == asked


def test_what_is_said_to_be_tested_with_a_real_manager_is() -> None:
    real = {name for name, profile in PROFILES.items() if profile.tested == "real manager"}
    live = {name for name, profile in PROFILES.items() if profile.tested == "live"}
    replay = {name for name, profile in PROFILES.items() if profile.tested == "replay"}
    assert real | replay | (live & set(RELEASES)) == set(RELEASES) - {"rpm-files"}
    assert replay == {name for name, release in RELEASES.items() if release.manager == "yum"}


SYSV = """
import sys
sys.path[:0] = ["/opt/fim-bootstrap", "/opt/fim-bootstrap/deps"]
from fim_bootstrap.changes import services
from fim_bootstrap.host.live import LiveHost
host = LiveHost()
first = services.running(host, "auditd")
services.EnableService("auditd").apply(host, lambda *a, **k: None)
assert host.glob("/etc/rc3.d/S*auditd")
services.RestartService("auditd", "auditd", first).apply(host, lambda *a, **k: None)
second = services.running(host, "auditd")
assert second not in (0, first), (first, second)
services.StopService("auditd", second, False).apply(host, lambda *a, **k: None)
assert services.running(host, "auditd") == 0
"""
INIT_SCRIPT = """#!/bin/sh
### BEGIN INIT INFO
# Provides: auditd
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
case $1 in
start) start-stop-daemon --start --background --exec /usr/sbin/auditd -- 300 ;;
stop) start-stop-daemon --stop --exec /usr/sbin/auditd --retry 5 ;;
restart) $0 stop; $0 start ;;
esac
"""


def test_without_systemd_the_init_scripts_are_used() -> None:
    """The real service(8) and update-rc.d(8), in a root that has no systemctl; the daemon only sleeps."""
    with root("bookworm", 'ID=debian\nVERSION_ID="12"\n', "debian-12") as here:
        here.run("rm /usr/bin/systemctl /bin/systemctl -f; cp /usr/bin/sleep /usr/sbin/auditd")
        script = here.path / "etc/init.d/auditd"
        script.write_text(INIT_SCRIPT)
        script.chmod(0o755)
        (here.path / "sysv.py").write_text(SYSV)
        try:
            here.run("update-rc.d auditd defaults; update-rc.d auditd disable; service auditd start; sleep 0.5")
            here.run("python3 /sysv.py && ls /etc/rc3.d/K*auditd")
        finally:
            here.run("service auditd stop", check=False)


@pytest.mark.parametrize("name", FAMILIES)
def test_revert_removes_the_packages_and_nothing_that_needs_them(name: str) -> None:
    with release_root(name) as (here, _):
        assert here.fim("apply").status == 0
        here.add(f"{'Requires' if here.rpm else 'Depends'}: {here.profile.packages['auditd'][0]}")
        refused = here.fim("revert --packages")
        assert refused.status == 1, refused.out
        here.run("command -v auditctl")
        here.run("rpm -e other" if here.rpm else "dpkg --remove other")
        reverted = here.fim("revert --packages")
        assert (reverted.status, reverted.report["changed"]) == (0, True), reverted.out
        assert here.run("command -v auditctl", check=False).status != 0
        assert here.fim("revert --packages").report["changed"] is False
        assert here.fim("apply").report["verdict"] == "ready"
