"""What an earlier release made of a host is understood, mended, and taken back."""

from __future__ import annotations

import os
from typing import Any

import pytest

from fim_bootstrap import resources
from fim_bootstrap.changes.files import CreateFiles
from fim_bootstrap.facts import own_files
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.facts.own_files import GUARD, GUARD_UNITS, PACKAGED, PACKAGED_UNITS, PROGRAM, unit_text
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.model import Facts, OsRelease, Profile, Settings, Status
from fim_bootstrap.requirements import auditd, guard
from tests import released
from tests.conftest import Tree, needs_root

SITE, LAST = "/etc/audit/rules.d/50-site.rules", "/etc/audit/rules.d/99-finalize.rules"
RULE = "-w /etc/passwd -p wa -k id"
PROFILE = Profile("debian-12", "Debian 12")


def everything(tree: Tree) -> dict[str, Any]:
    """Content, mode, owner and attributes of each file but our own state and log."""
    found: dict[str, Any] = {}
    for path in sorted(tree.folder.rglob("*")):
        name, info = str(path.relative_to(tree.folder)), path.lstat()
        if path.is_dir() or name.startswith(("var/lib/fim-bootstrap/", "var/log/fim-bootstrap.log")):
            continue
        content = os.readlink(path) if path.is_symlink() else path.read_bytes()
        attributes = {key: os.getxattr(path, key) for key in os.listxattr(path, follow_symlinks=False)}
        found[name] = (content, info.st_mode, info.st_uid, info.st_gid, attributes)
    return found


@needs_root
@pytest.mark.parametrize(
    "rules",
    [
        {}, {LAST: "-e 2\n"}, {SITE: f"{RULE}\n", LAST: "-e 2"},
        {SITE: RULE, LAST: "-e 2\n"}, {SITE: f"{RULE}\n-e 2", LAST: "-e 2\n"}, {SITE: RULE, LAST: "-b 64\n-e 2\n-e 2"},
    ],
    ids=["none", "alone", "no newline", "glued", "glued twice", "more lines"],
)  # fmt: skip
def test_what_an_earlier_release_did_is_mended_and_taken_back_byte_for_byte(tree: Tree, rules: dict[str, str]) -> None:
    for path, text in rules.items():
        tree.write(path, text, 0o604)
        os.chown(tree.path(path), 12, 34)
    before = everything(tree)
    released.made_ready(tree, rules)
    for command in ("apply", "check", "apply"):
        ran = tree.fim(command)
        assert ran.status == 0, ran.out + ran.err
    if rules.get(SITE) == RULE:  # what runs into it is the first line of the next file
        assert ": -e 2" not in tree.read(LAST).split("\n")[0]
    assert tree.path(released.GUARD).exists()
    ran = tree.fim("revert")
    assert ran.status == 0, ran.out + ran.err
    assert everything(tree) == before


def seen(tree: Tree, **wanted: Any) -> Facts:
    """The facts, on a tree that has systemd."""
    tree.write("/usr/bin/systemctl", "", 0o755)
    settings = Settings(root=str(tree.folder), **wanted)
    return gather(LiveHost(str(tree.folder)), PROFILE, settings, OsRelease("debian", "12"))


@pytest.mark.parametrize("asked", [True, False])
def test_the_guard_of_an_earlier_release_is_replaced(tree: Tree, monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    monkeypatch.setattr(own_files, "program", lambda **_: b"the binary of this one")
    released.made_ready(tree, {})
    for link in GUARD_UNITS.values():
        tree.link(link, f"{released.UNITS}/{link.rpartition('/')[2]}")
    for path, name in GUARD.items():
        if path != released.GUARD:
            tree.write(path, resources.text_of(name))
    found = seen(tree)
    assert found.outdated >= {released.GUARD, PROGRAM}
    finding = guard.assess(found, PROFILE, Settings(guard=asked))
    (change,) = finding.changes
    assert isinstance(change, CreateFiles)
    assert (finding.status, {*change.texts}, change.program) == (Status.CHANGE, {released.GUARD}, PROGRAM)
    assert "earlier release" in finding.summary
    tree.write(released.GUARD, change.texts[released.GUARD])
    monkeypatch.setattr(own_files, "program", lambda **_: b"")  # a source run knows nothing of it
    assert guard.assess(seen(tree), PROFILE, Settings(guard=True)).status is not Status.CHANGE


def test_a_unit_that_somebody_edited_is_left_alone(tree: Tree) -> None:
    released.made_ready(tree, {})
    tree.write(released.GUARD, released.OLD_GUARD + "Nice=19\n")
    found = seen(tree)
    assert (found.edited, released.GUARD in found.outdated) == (frozenset({released.GUARD}), False)
    finding = guard.assess(found, PROFILE, Settings(guard=True))
    assert not any(released.GUARD in getattr(change, "texts", ()) for change in finding.changes)
    assert finding.warnings == (f"{released.GUARD} was edited; it is left as it is",)


def test_a_program_that_was_not_put_there_by_apply_is_nobodys_business(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_files, "program", lambda **_: b"another one")
    tree.write(PROGRAM, "as install.sh put it there", 0o755)
    for path, name in GUARD.items():
        tree.write(path, resources.text_of(name))
    for link in GUARD_UNITS.values():
        tree.link(link, f"{released.UNITS}/{link.rpartition('/')[2]}")
    assert seen(tree).outdated == frozenset()


def packaged(tree: Tree) -> None:
    """What a .deb or an .rpm of the binary leaves on a host."""
    tree.write(PACKAGED, "the binary", 0o755)
    for name in GUARD.values():
        tree.write(f"{PACKAGED_UNITS}/{name.rpartition('/')[2]}", unit_text(name, {PACKAGED}))


def test_the_guard_of_a_package_is_enabled_and_not_written_a_second_time(tree: Tree) -> None:
    packaged(tree)
    (change,) = guard.assess(seen(tree, guard=True), PROFILE, Settings(guard=True)).changes
    assert change == CreateFiles({}, tuple(GUARD_UNITS), "", start=False)
    for link in GUARD_UNITS.values():
        tree.link(link, f"{PACKAGED_UNITS}/{link.rpartition('/')[2]}")
    assert guard.assess(seen(tree, guard=True), PROFILE, Settings(guard=True)).status is Status.OK


def test_a_unit_calls_the_program_where_the_host_has_it(tree: Tree) -> None:
    for put, program in ((lambda _: None, PROGRAM), (packaged, PACKAGED)):
        put(tree)
        settings = Settings(root=str(tree.folder), first_boot=True)
        changes = auditd.assess(seen(tree, first_boot=True), PROFILE, settings).changes
        (created,) = (c for c in changes if isinstance(c, CreateFiles) and any("firstboot" in path for path in c.texts))
        assert created.program == (PROGRAM if program == PROGRAM else "")
        (first, *_) = created.texts.values()
        assert f"ExecStart={program} apply" in first


def test_an_earlier_copy_of_the_program_stays_in_step_with_the_package(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes first in PATH, and is brought up to date; where somebody has removed it, it does not come back."""
    monkeypatch.setattr(own_files, "program", lambda **_: b"the binary of this one")
    released.made_ready(tree, {})
    packaged(tree)
    assert PROGRAM in seen(tree).outdated
    tree.path(PROGRAM).unlink()
    assert PROGRAM not in seen(tree).outdated
