"""What stands in the way of a run that prepares a tree or installs: each is told, and the next run heals it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache import run
from tests.conftest import PROJECT, Ran
from tests.managers.roots import Root
from tests.managers.test_managers import FAMILIES, release_root

pytestmark = pytest.mark.managers


@contextlib.contextmanager
def tree(selinux: str = "disabled") -> Iterator[Root]:
    """A Debian 12 that an image builder is at work on; without SELinux no policy has to be built."""
    with release_root("debian-12") as (here, _):
        (here.path / "etc/selinux/config").write_text(f"SELINUX={selinux}\nSELINUXTYPE=default\n")
        yield here


def outside(path: Path, words: str) -> Ran:
    """The tool, as it runs on the builder with --root."""
    argv = [sys.executable, str(PROJECT / "bootstrap.py"), *words.split(), "--root", str(path), "--format", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def prepared(seen: Ran) -> None:
    """The run did what there was to do."""
    assert (seen.status, seen.report["verdict"], seen.report["changed"]) == (0, "ready", True), seen.out + seen.err


@contextlib.contextmanager
def without_proc(here: Root) -> Iterator[None]:
    """Nothing is mounted on the tree's /proc."""
    run("umount", "-l", str(here.path / "proc"))
    try:
        yield
    finally:
        (here.path / "proc").mkdir(exist_ok=True)
        run("mount", "-t", "proc", "proc", str(here.path / "proc"))


@pytest.mark.parametrize("name", FAMILIES)
def test_no_network(name: str) -> None:
    """Nobody answers where the repository should be; once somebody does, the next run installs."""
    with release_root(name) as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        places = [here.path / place for place in ("etc/apt/sources.list", "etc/yum.repos.d/fim.repo",
                                                  "etc/zypp/repos.d/fim.repo")]  # fmt: skip
        good = {place: place.read_text() for place in places}
        for place, text in good.items():
            place.write_text(re.sub(r"file:/+repo", "http://127.0.0.1:9/repo", text))
        failed = here.fim("apply")
        assert (failed.status, failed.report["done"]) == (1, []), failed.out
        assert re.search("could not be asked .*127.0.0.1(:| port )9", failed.report["comment"]), failed.out
        for place, text in good.items():
            place.write_text(text)
        prepared(here.fim("apply"))


def test_no_package_is_removed_to_make_room() -> None:
    """apt-get alone would remove what conflicts, since it may not ask."""
    with release_root("debian-12") as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        here.add("Conflicts: auditd")
        failed = here.fim("apply")
        assert (failed.status, failed.report["done"]) == (1, []), failed.out
        assert "remove is disabled" in failed.report["comment"]
        assert "installed" in here.run("dpkg-query -W -f '${Status}' other").out
        here.run("dpkg -r other")
        prepared(here.fim("apply"))


def test_a_tree_without_systemd() -> None:
    """The init scripts' own links have auditd started; what needs systemd is left out."""
    with tree() as here:
        here.run("rm -rf /bin/systemctl /usr/bin/systemctl /lib/systemd /usr/lib/systemd /etc/systemd")
        prepared(outside(here.path, "apply"))
        here.run("update-rc.d auditd disable")
        prepared(outside(here.path, "apply"))
        here.run("ls /etc/rc3.d/S*auditd")
        again = outside(here.path, "apply --guard")
        assert (again.status, again.report["changed"], again.status_of("guard")) == (0, False, "skipped"), again.out


def test_a_tree_without_a_folder_for_proc() -> None:
    with tree("enforcing") as here:
        with without_proc(here):
            (here.path / "proc").rmdir()
            blocked = outside(here.path, "apply --skip policy")
            assert (blocked.status, blocked.report["changed"]) == (1, True), blocked.out  # it showed after the packages
            assert "no label can be set in a tree without /proc" in blocked.report["comment"]
            (here.path / "proc").mkdir()  # that is enough: a /proc of our own is mounted there
            here.run("rm -rf /usr/share/* /usr/lib/python3 /opt /repo /debs")  # to label a file here is to copy it
            prepared(outside(here.path, "apply --skip policy"))
        assert outside(here.path, "apply --skip policy").report["changed"] is False


@pytest.mark.parametrize("words", ["apply", "apply --root /"])
def test_a_chroot_without_proc(words: str) -> None:
    with tree() as here:
        with without_proc(here):
            blocked = here.fim(words)
            assert (blocked.status, blocked.report["verdict"]) == (4, "blocked"), blocked.out
            assert "mount -t proc proc /proc" in blocked.report["comment"]
            assert here.run("command -v auditd", check=False).status != 0
        prepared(here.fim(words))


def test_a_tree_that_is_read_only() -> None:
    with tree() as here:
        run("mount", "--bind", str(here.path), str(here.path))
        run("mount", "-o", "remount,bind,ro", str(here.path))
        try:
            refused = outside(here.path, "apply")
            assert refused.status == 1, refused.out
            assert "Read-only file system" in refused.report["comment"]
        finally:
            run("umount", "-l", str(here.path))
        prepared(outside(here.path, "apply"))
