"""What is to be typed next concerns the same tree, by the same options, and survives the shell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap import arguments, cli
from fim_bootstrap.again import Again, called, typed
from tests.conftest import Tree


def again(line: str, environment: Mapping[str, str], user: int = 1000) -> Again:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.geteuid", lambda: user)
        return typed(shlex.split(line), environment, ("fim-bootstrap",))


@pytest.mark.parametrize(("line", "environment", "same"), [
    ("apply", {}, "sudo fim-bootstrap apply"),
    ("apply --root '/my image' --no-install -v", {}, "sudo fim-bootstrap apply --root '/my image' --no-install -v"),
    ("apply --skip=rules --skip agent", {}, "sudo fim-bootstrap apply --skip=rules --skip agent"),
    ("apply --dry-run", {}, "sudo fim-bootstrap apply --dry-run"),
    # sudo passes no variables on: without the root it would change this machine
    ("apply", {"FIM_BOOTSTRAP_ROOT": "/mnt/x", "FIM_BOOTSTRAP_SKIP": "rules,agent", "FIM_BOOTSTRAP_NO_INSTALL": "yes",
               "FIM_BOOTSTRAP_GUARD": "no", "FIM_BOOTSTRAP_CONFIG": "/c", "FIM_BOOTSTRAP_URL": "u", "HOME": "/root"},
     "sudo fim-bootstrap apply --no-install --root /mnt/x --skip rules --skip agent --config /c"),
    ("apply --root /a", {"FIM_BOOTSTRAP_ROOT": "/b"}, "sudo fim-bootstrap apply --root /a"),
    ("exception --owner 'A B'", {}, "sudo fim-bootstrap exception --owner 'A B'"),
])  # fmt: skip
def test_the_sudo_line_is_what_was_typed(line: str, environment: dict[str, str], same: str) -> None:
    told = again(line, environment)
    assert sorted(shlex.split(told.same(line.split(maxsplit=1)[0]))) == sorted(shlex.split(same))
    before, now = (arguments.read(shlex.split(words)[2:]) for words in (same, told.same(line.split(maxsplit=1)[0])))
    assert dict(before.values) == dict(now.values)


@pytest.mark.parametrize(("line", "command", "user", "said"), [
    ("check --root /x --wait --brief --format json --report=/r", "apply", 0, "fim-bootstrap apply --root /x"),
    ("check --root /x", "apply", 1000, "sudo fim-bootstrap apply --root /x"),
    ("check --root /x", "check", 1000, "fim-bootstrap check --root /x"),
    ("apply --dry-run --reboot never --skip rules", "apply", 0, "fim-bootstrap apply --reboot never --skip rules"),
    ("apply --reboot never --skip rules", "check", 0, "fim-bootstrap check --skip rules"),
    ("apply --skip rules --root /x --lock-timeout 5", "revert", 0, "fim-bootstrap revert --root /x --lock-timeout 5"),
])  # fmt: skip
def test_the_next_command_gets_the_options_that_it_honours(line: str, command: str, user: int, said: str) -> None:
    assert again(line, {}, user).line(command) == said


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), max_size=3))
def test_whatever_is_typed_survives_the_shell(values: list[str]) -> None:
    words = [f"--root={value}" for value in values]
    told = typed(["check", *words], {}, ("fim-bootstrap",))._replace(sudo=False)
    assert shlex.split(told.same("check")) == ["fim-bootstrap", "check", *words]


def test_a_user_who_applies_is_told_the_whole_line(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["/usr/local/sbin/fim-bootstrap"])
    assert cli.main(["apply", "--root", str(tree.folder), "--no-install"]) == 77
    line = f"sudo fim-bootstrap apply --root {tree.folder} --no-install"
    assert capsys.readouterr().err == f"fim-bootstrap: apply needs root\n  -> {line}\n"


@pytest.mark.parametrize(("name", "binary", "said"), [
    ("fim-bootstrap", True, "fim-bootstrap"),
    ("/usr/local/sbin/fim-bootstrap", True, "fim-bootstrap"),
    ("./fim-bootstrap-linux-x86_64", True, "./fim-bootstrap-linux-x86_64"),
    ("/tmp/my files/fim-bootstrap", True, "'/tmp/my files/fim-bootstrap'"),
    ("bootstrap.py", False, "/usr/bin/python3 bootstrap.py"),
    ("/src/fim_bootstrap/__main__.py", False, "/usr/bin/python3 -m fim_bootstrap"),
    ("/usr/local/bin/fim-bootstrap", False, "fim-bootstrap"),
])  # fmt: skip
def test_the_program_is_called_as_it_was(name: str, binary: bool, said: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    if binary:
        monkeypatch.setattr(sys, "_MEIPASS", "/unpacked", raising=False)
    assert Again(called()).line("help") == f"{said} help"
