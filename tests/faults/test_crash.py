"""SIGKILL at each call by which the tool touches a tree; then one further run finishes (as root: make test-faults)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fim_bootstrap.changes import journal
from fim_bootstrap.host.live import LiveHost
from tests.conftest import Tree
from tests.faults.injection import inside, points, struck
from tests.test_auditd_conf import verdict

pytestmark = pytest.mark.faults

KILLED = -9
HOSTILE = {
    "/etc/audit/audit.rules": "-D\n-a never,task\n-w /etc/passwd -p wa\n-e 2\n",
    "/etc/audit/rules.d/99-finalize.rules": "-b 8192 -e2",
}


class Stage:
    """A tree with something to do, and what it looks like before and after."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        self.tree = Tree(self.folder)
        (self.folder / "var/log").mkdir(parents=True)
        for name, text in HOSTILE.items():
            self.tree.write(name, text, 0o640)
        self.words = ("--root", str(self.folder), "--format", "json")
        self.saved = folder / "saved"
        self.save()
        self.before = self.files()
        assert inside("apply", *self.words).status == 0
        self.after = self.files()
        assert self.before != self.after

    def save(self) -> None:
        """Keep the tree as it is now, for `again`."""
        shutil.rmtree(self.saved, ignore_errors=True)
        shutil.copytree(self.folder, self.saved, symlinks=True)

    def again(self) -> None:
        """The tree as it was saved."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.saved, self.folder, symlinks=True)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Every file outside the tool's own folders: content and mode."""
        own = {self.folder / "var", self.folder / "run"}
        return {str(path): (path.read_bytes(), path.stat().st_mode) for path in self.folder.rglob("*")
                if path.is_file() and not path.is_symlink() and not own.intersection(path.parents)}  # fmt: skip

    def left(self) -> list[Path]:
        """What only a killed run leaves."""
        return [*self.folder.rglob(".fim-bootstrap.*"), *self.folder.rglob("work.*")]

    def sound(self, scratch: Path) -> None:
        """No file is half written, auditd starts, the journal is whole and knows of every change."""
        for path, found in self.files().items():
            if "/.fim-bootstrap." not in path:
                assert found in (self.before[path], self.after[path]), path
        assert set(self.before) <= set(self.files())
        assert verdict(self.tree.read("/etc/audit/auditd.conf"), scratch)
        host = LiveHost(str(self.folder))
        assert journal.damage(host) == ""
        known = {str(self.folder) + entry["path"] for entry in journal.entries(host)}
        changed = {path for path, found in self.files().items() if path in self.before and found != self.before[path]}
        assert changed <= known


def test_apply_may_be_killed_at_every_point(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.again()
    found = points(("apply", *stage.words), stage.folder)
    left = 0
    for point in found:
        stage.again()
        assert struck(("apply", *stage.words), point, "signal=KILL").status == KILLED, point
        stage.sound(tmp_path)
        left += len(stage.left())
        further = inside("apply", *stage.words)
        assert (further.status, further.report["verdict"]) == (0, "ready"), (point, further)
        assert (stage.files(), stage.left()) == (stage.after, []), point
        assert inside("apply", *stage.words).report["changed"] is False
        assert inside("revert", *stage.words).status == 0
        assert stage.files() == stage.before, point
    assert left > 0
    print(f"\n-- apply killed at {len(found)} points; {left} temporary files were left, and removed by the next run")


def test_revert_may_be_killed_at_every_point(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.save()
    found = points(("revert", *stage.words), stage.folder)
    for point in found:
        stage.again()
        assert struck(("revert", *stage.words), point, "signal=KILL").status == KILLED, point
        stage.sound(tmp_path)
        further = inside("revert", *stage.words)
        assert (further.status, stage.files(), stage.left()) == (0, stage.before, []), (point, further)
        assert inside("revert", *stage.words).report["changed"] is False
        assert inside("apply", *stage.words).status == 0
        assert stage.files() == stage.after, point
    print(f"\n-- revert killed at {len(found)} points")
