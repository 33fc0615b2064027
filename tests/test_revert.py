"""revert: later edits are kept, what cannot be taken back is shown, and whatever was left behind goes."""

from __future__ import annotations

import ast
import functools
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fim_bootstrap.changes import files, journal, packages, policy, revert, rules, services
from fim_bootstrap.changes.files import CreateFiles
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.host.reader import File
from tests.conftest import PROJECT, Tree, needs_root

CONF = "/etc/audit/auditd.conf"
RULES = "/etc/audit/rules.d/99-finalize.rules"
STATE = "/var/lib/fim-bootstrap"
JOURNAL = f"{STATE}/journal.jsonl"

pytestmark = needs_root


def test_later_edits_of_other_lines_are_kept(tree: Tree) -> None:
    before = tree.read(CONF)
    assert tree.fim("apply").status == 0
    tree.write(CONF, tree.read(CONF).replace("num_logs = 5", "num_logs = 9") + "# mine\n", 0o640)
    ran = tree.fim("revert")
    assert (ran.status, tree.read(CONF)) == (0, before.replace("num_logs = 5", "num_logs = 9") + "# mine\n")
    assert "our lines were taken out and the later edits kept" in ran.out
    assert tree.fim("revert", "--format", "json").report["changed"] is False


def test_an_edit_of_our_own_line_is_shown_three_ways_and_left_alone(tree: Tree) -> None:
    tree.write(RULES, "-D\n-e 2\n-a never,task\n")
    assert tree.fim("apply").status == 0
    mine = tree.read(RULES).replace("-D\n", "-D\n-b 64\n").replace(": '-e' '2'", ": '-e' '2', says Bob")
    tree.write(RULES, mine)
    ran = tree.fim("revert")
    assert (ran.status, tree.read(RULES)) == (1, mine)
    assert f"{RULES}: was edited since, beside or in our lines; left alone" in ran.out
    since, _, back = ran.out.partition("what takes back what we wrote:")
    assert "'-e' '2', says Bob" in since
    assert "\n--a never,task" not in back
    assert "\n+-a never,task\n" in back
    number = next(n for n, line in enumerate(mine.splitlines(), 1) if line.endswith(": '-a' 'never,task'"))
    assert f"\n    {number}: {mine.splitlines()[number - 1]}\n" in back
    assert tree.read(CONF).endswith("admin_space_left_action = SUSPEND\ndisk_full_action = SUSPEND\n"
                                    "disk_error_action = SUSPEND\n")  # fmt: skip
    again = tree.fim("revert", "--format", "json")
    assert (again.status, again.report["changed"], tree.read(RULES)) == (1, False, mine)
    typed = ran.out.rstrip().rpartition("or, to lose the later edits: ")[2].splitlines()[0]
    _, source, _, target = typed.split()
    assert target == RULES
    tree.write(RULES, tree.read(source))
    assert tree.fim("revert").status == 0
    assert tree.read(RULES) == "-D\n-e 2\n-a never,task\n"


def test_what_the_last_apply_found_is_not_told_any_more(tree: Tree) -> None:
    assert tree.fim("apply").status == 0
    tree.write("/run/fim-bootstrap/result.json", "{}\n")
    assert tree.fim("revert").status == 0
    assert not tree.path("/run/fim-bootstrap/result.json").exists()
    assert tree.fim("revert").status == 0


def test_our_lines_that_someone_took_out_are_no_problem(tree: Tree) -> None:
    assert tree.fim("apply").status == 0
    tree.write(CONF, tree.read(CONF).replace("dispatcher = /sbin/audispd\n", "freq = 20\n"))
    ran = tree.fim("revert")
    assert ran.status == 0
    assert "nothing of ours stands there any more" in ran.out


def test_a_step_that_cannot_be_taken_back_does_not_stop_the_others(tree: Tree) -> None:
    before = tree.read(CONF)
    assert tree.fim("apply").status == 0
    host = LiveHost(str(tree.folder))
    tree.write("/etc/systemd/system/multi-user.target.wants/demo.service", "")
    journal.record(host, "enable", service="demo")
    ran = tree.fim("revert", "--format", "json")
    assert (ran.status, ran.report["failed"]) == (1, True)
    assert "update-rc.d demo disable" in ran.report["comment"]
    assert tree.read(CONF) == before
    assert [entry["kind"] for entry in journal.entries(host)] == ["enable"]


@pytest.mark.parametrize("kind", ["directory", "rubbish", "lost content"])
def test_what_the_journal_has_lost_is_said(tree: Tree, kind: str) -> None:
    assert tree.fim("apply").status == 0
    now = tree.read(CONF)
    path = tree.path(JOURNAL)
    if kind == "directory":
        path.unlink()
        path.mkdir()
    elif kind == "rubbish":
        path.write_bytes(b"\xff" * 300 + b"\n" + path.read_bytes()[40:])
    else:
        for content in tree.path(f"{STATE}/replaced").iterdir():
            content.unlink()
    said = {"directory": "a directory where a file", "rubbish": "cannot be read", "lost content": "are lost from"}
    ran = tree.fim("revert")
    assert ran.status == 1, ran.out
    assert said[kind] in ran.out
    assert tree.read(CONF) == now
    assert tree.fim("check").status == 0
    if kind == "directory":
        tree.write(RULES, "-e 2\n")
        refused = tree.fim("apply")
        assert (refused.status, tree.read(RULES)) == (4, "-e 2\n")


def test_a_line_that_was_cut_off_hides_no_other(tree: Tree) -> None:
    """A crash or a full disk ends a line in the middle; the next entry is not glued to it."""
    tree.write(RULES, "-e 2\n")
    assert tree.fim("apply", "--only", "dispatcher").status == 0
    with tree.path(JOURNAL).open("a") as file:
        file.write('{"id": "1", "kind": "ed')
    assert tree.fim("apply").status == 0
    lines = [json.loads(line) for line in tree.read(JOURNAL).splitlines()]
    assert [line["path"] for line in lines] == [CONF, RULES]
    assert tree.fim("revert").status == 0
    assert tree.read(RULES) == "-e 2\n"


def test_ids_do_not_depend_on_the_clock(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1)
    host = LiveHost(str(tree.folder))
    for path in ("/a", "/b"):
        journal.record(host, "edit", path=path)
    assert [entry["path"] for entry in journal.entries(host)] == ["/a", "/b"]


def test_the_next_run_removes_what_a_killed_one_left(tree: Tree) -> None:
    tree.write(RULES, "-e 2\n")
    left = [f"{folder}/.fim-bootstrap.abc" for folder in ("/etc/audit/rules.d", f"{STATE}/replaced", "/usr/sbin")]
    assert tree.fim("apply").status == 0
    for path in left:
        tree.write(path, "-e 2\n")
    tree.write(f"{STATE}/work.abc/fim_bootstrap.te", "module\n")
    tree.write(packages.POLICY_RC, packages.POLICY_RC_TEXT, 0o755)
    assert tree.fim("apply").status == 0
    assert not [path for path in (*left, f"{STATE}/work.abc", packages.POLICY_RC) if tree.path(path).exists()]


def test_what_others_left_there_stays(tree: Tree) -> None:
    tree.write(packages.POLICY_RC, "#!/bin/sh\nexit 101\n", 0o755)
    theirs = f"{STATE}/.fim-bootstrap.theirs"
    tree.write(theirs, "")
    os.chown(tree.path(theirs), 12345, 12345)
    tree.link("/usr/sbin/.fim-bootstrap.link", "/etc/passwd")
    assert tree.fim("apply").status == 0
    assert tree.path(packages.POLICY_RC).exists()
    assert tree.path(theirs).exists()
    assert tree.path("/usr/sbin/.fim-bootstrap.link").is_symlink()


def test_a_step_is_undone_in_the_journal_only_after_the_restart(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree.fim("apply").status == 0
    host = LiveHost(str(tree.folder))

    def fail(*_: object) -> None:
        raise BootstrapError("auditd did not come up again")

    monkeypatch.setattr(services, "restart_running", fail)
    _, _, problems = revert.take_back(host, journal.entries(host), lambda _: None, live=True)
    assert [str(problem) for problem in problems] == ["auditd did not come up again"]
    assert len(journal.entries(host)) == 1
    assert tree.fim("revert").status == 0
    assert journal.entries(host) == []


def test_no_service_is_touched_where_the_running_system_is_another(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a chroot /proc shows the processes of the system outside: its auditd once made revert start one inside."""
    assert tree.fim("apply").status == 0
    host = LiveHost(str(tree.folder))
    monkeypatch.setattr(services, "running", lambda *_: os.getpid())
    monkeypatch.setattr(services, "restart", lambda *_: pytest.fail("a service was restarted"))
    undone, _, problems = revert.take_back(host, journal.entries(host), lambda _: None, live=False)
    assert (undone, problems) == (1, [])


def test_a_hard_link_elsewhere_keeps_the_old_text(tree: Tree, tmp_path: Path) -> None:
    other = tmp_path / "other"
    os.link(tree.path(CONF), other)
    before = tree.read(CONF)
    assert tree.fim("apply").status == 0
    assert other.read_text() == before
    assert tree.path(CONF).stat().st_nlink == 1


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, "[]", "7", '{"id": "1", "kind": "edit", "mtime": "x"}', '{"id": [], "kind": "edit"}',
     '{"id": "1", "kind": "install", "packages": 5}', '{"id": 1}', '{"id": "1", "kind": "install", "packages": [[]]}',
     '{"id": "1", "kind": "restart", "uptime": "x"}', '{"id": "1", "kind": "edit", "path": "/a\\u0000b"}',
     '{"id": "1", "kind": "edit", "path": "\\ud800"}', '{"id": "1", "kind": "policy", "priority": [1]}'],
)  # fmt: skip
def test_a_journal_line_of_the_wrong_kind_counts_as_lost(line: str) -> None:
    good = '{"id": "2", "kind": "edit", "path": "/x", "mtime": 1}'
    steps, lost = journal._read(File("journal", f"{line}\n{good}\n"))
    assert ([step["id"] for step in steps], lost) == (["2"], 1)


def test_a_folder_that_was_made_goes_if_it_is_empty(tree: Tree) -> None:
    host = LiveHost(str(tree.folder))
    texts = {"/etc/a/b/c.d/1": "x", "/etc/a/b/c.d/2": "x", "/etc/audit/3": "x", "/etc/kept/4": "x"}
    tree.path("/etc/empty").mkdir()  # somebody else's
    CreateFiles({**texts, "/etc/empty/5": "x"}).apply(host, functools.partial(journal.record, host))
    tree.write("/etc/kept/mine", "")
    undone, _, problems = revert.take_back(host, journal.entries(host), lambda _: None, live=False)
    assert (undone, problems) == (5, [])
    assert not tree.path("/etc/a").exists()
    assert not tree.path("/etc/kept/4").exists()
    assert all(tree.path(path).is_dir() for path in ("/etc/audit", "/etc/empty", "/etc/kept"))


PACKAGE = PROJECT / "fim_bootstrap"


def written_kinds(path: Path) -> set[str]:
    """The kinds of the journal entries that a module writes, as its syntax tree has them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        first = {"record": 0, "journal.record": 1}.get(called, -1)
        for part in ast.walk(node.args[first]) if 0 <= first < len(node.args) else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                found.add(part.value)
            elif isinstance(part, ast.Attribute) and part.attr.isupper():
                found.add(getattr(sys.modules[f"fim_bootstrap.audit.{ast.unparse(part.value)}"], part.attr))
    return found


def test_every_kind_of_step_that_is_written_has_its_undo_or_needs_none_and_no_other_has() -> None:
    written = {kind for path in PACKAGE.rglob("*.py") for kind in written_kinds(path)}
    assert written == {*revert.UNDO, *revert.NO_UNDO, *packages.UNDO_IF_ASKED}
    assert not set(revert.NO_UNDO) & {*revert.UNDO, *packages.UNDO_IF_ASKED}


@pytest.mark.parametrize("room", [files, packages, policy, rules, services], ids=lambda room: room.__name__)
def test_a_kind_of_step_is_written_where_its_undo_is(room: ModuleType) -> None:
    undone = {kind for name in ("UNDO", "NO_UNDO", "UNDO_IF_ASKED") for kind in getattr(room, name, ())}
    assert written_kinds(Path(str(room.__file__))) == undone
