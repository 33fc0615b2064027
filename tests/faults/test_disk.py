"""A disk that is full, read-only, forbidden or broken: said, nothing half written, and healed by the next run."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Ran, Tree
from tests.faults.injection import inside, points, struck
from tests.faults.test_crash import Stage

pytestmark = pytest.mark.faults

ERRORS = {
    "EIO": "Input/output error",
    "ENOSPC": "No space left on device",
    "EROFS": "Read-only file system",
    "EACCES": "Permission denied",
}


def told(ran: Ran, said: str) -> None:
    """The run failed by the host's fault, and says which; or what failed was not needed, and all was done."""
    assert "mistake in this program" not in ran.out + ran.err, ran
    assert "Traceback" not in ran.err, ran
    if ran.status == 1:
        assert said in ran.out, ran
        assert ran.report["failed"] is True
    else:
        assert (ran.status, ran.report["failed"]) == (0, False), ran


@pytest.mark.parametrize("command", ["apply", "revert"])
def test_every_call_may_fail(command: str, tmp_path: Path) -> None:
    """strace has one call of a real run fail; what was said is compared with what stands there."""
    stage = Stage(tmp_path)
    goal = stage.after if command == "apply" else stage.before
    if command == "apply":
        stage.again()
    stage.save()
    found = points((command, *stage.words), stage.folder)
    failed = 0
    for point in found:
        for error, said in ERRORS.items() if point.number % 4 == 1 else [("EIO", ERRORS["EIO"])]:
            stage.again()
            ran = struck((command, *stage.words), point, f"error={error}")
            told(ran, said)
            failed += ran.status == 1
            if ran.status == 0:
                assert stage.files() == goal, (point, ran)
            stage.sound(tmp_path)
            further = inside(command, *stage.words)
            assert (further.status, stage.files(), stage.left()) == (0, goal, []), (point, further)
    assert failed > len(found) / 2
    print(f"\n-- {command}: {len(found)} points, EIO at each and ENOSPC, EROFS, EACCES at every fourth")


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Something is mounted there."""
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_fills_up_at_every_size(tmp_path: Path) -> None:
    """A real file system with room for 0, 1, 2 ... more pages, until the run succeeds."""
    small = tmp_path / "small"
    small.mkdir()
    full = 0
    for pages in range(64):
        with mounted(small, "-t", "tmpfs", "-o", "size=1m,nr_inodes=400", "none"):
            stage = Stage(small)
            stage.again()
            spare = (os.statvfs(small).f_bavail - pages) * 4096
            (small / "filler").write_bytes(b"x" * spare)
            ran = inside("apply", *stage.words)
            told(ran, ERRORS["ENOSPC"])
            full += ran.status
            stage.sound(tmp_path)
            (small / "filler").unlink()
            assert inside("apply", *stage.words).status == 0
            assert (stage.files(), stage.left()) == (stage.after, [])
        if ran.status == 0:
            break
    assert ran.status == 0
    assert full > 3
    print(f"\n-- a disk that is full after 0 to {full} pages")


@pytest.mark.parametrize("part", ["", "etc", "etc/audit", "var", "var/lib"])
def test_a_part_that_is_mounted_read_only(part: str, tree: Tree) -> None:
    place = tree.folder / part
    place.mkdir(exist_ok=True, parents=True)
    tree.write("/etc/audit/audit.rules", "-e 2\n", 0o640)
    words = ("--root", str(tree.folder), "--format", "json")
    before = tree.read("/etc/audit/audit.rules")
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        ran = inside("apply", *words)
        told(ran, ERRORS["EROFS"])
        assert (ran.status, tree.read("/etc/audit/audit.rules")) == (1, before)
    assert inside("apply", *words).status == 0
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        ran = inside("revert", *words)
        told(ran, ERRORS["EROFS"])
        assert ran.status == 1
    assert inside("revert", *words).status == 0
    assert tree.read("/etc/audit/audit.rules") == before


@pytest.mark.parametrize("attribute", ["i", "a"])
def test_a_file_that_is_immutable_or_append_only(attribute: str, tree: Tree) -> None:
    conf = tree.path("/etc/audit/auditd.conf")
    before = tree.read("/etc/audit/auditd.conf")
    words: Sequence[str] = ("apply", "--root", str(tree.folder), "--format", "json")
    if subprocess.run(["chattr", f"+{attribute}", str(conf)], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no such attributes")
    try:
        ran = inside(*words)
        told(ran, "Operation not permitted")
        assert "lsattr" in ran.report["requirements"][1]["remedy"]
        assert (ran.status, tree.read("/etc/audit/auditd.conf")) == (1, before)
    finally:
        subprocess.run(["chattr", f"-{attribute}", str(conf)], check=True)
    assert inside(*words).status == 0
