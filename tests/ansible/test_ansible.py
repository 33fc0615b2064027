"""The role, run by the real ansible-core against trees on this machine (make test-ansible)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BINARY, PROJECT, Tree, needs_root
from tests.fetched import fetched

pytestmark = [pytest.mark.ansible, needs_root]

ANSIBLE = "ansible-core==2.19.14"
ROLE = PROJECT / "packaging/ansible"
SITE = """
- hosts: localhost
  connection: local
  gather_facts: false
  roles: [fim_bootstrap]
"""


def sha256(path: Path) -> str:
    """A file's checksum."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Play:
    """A folder with a play; the binary lands in it, and works on a tree."""

    def __init__(self, folder: Path, tree: Tree) -> None:
        self.folder = folder
        self.binary = folder / "fim-bootstrap"
        self.variables: dict[str, Any] = {
            "fim_bootstrap_binary": str(self.binary),
            "fim_bootstrap_url": f"file://{BINARY}",
            "fim_bootstrap_sha256": sha256(BINARY),
            "fim_bootstrap_arguments": ["--root", str(tree.folder), "--no-install"],
        }
        (folder / "site.yml").write_text(SITE)

    def run(self, *words: str, playbook: str = "") -> dict[str, Any]:
        """What became of each task: the last result by the task's name, and `stats`."""
        (self.folder / "variables.json").write_text(json.dumps(self.variables))
        argv = [sys.executable, "-m", "ansible", "playbook", playbook or str(self.folder / "site.yml"),
                "-i", "localhost,", "-e", f"@{self.folder}/variables.json", *words]  # fmt: skip
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(fetched(ANSIBLE)), "ANSIBLE_STDOUT_CALLBACK": "results",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
            "ANSIBLE_ROLES_PATH": str(ROLE / "roles"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=self.folder, check=False)
        results = {}
        for line in done.stdout.splitlines():
            name, _, result = line.partition("\t")
            results[name] = json.loads(result)
        assert "stats" in results, done.stdout + done.stderr
        return results


@pytest.fixture
def play(tmp_path: Path, tree: Tree) -> Play:
    """A play on a tree that is right but for the dispatcher line."""
    if not BINARY.exists():
        pytest.skip("the binary was not built: make binary")
    folder = tmp_path / "play"
    folder.mkdir()
    return Play(folder, tree)


def test_a_host_is_made_ready_and_then_left_alone(play: Play, tree: Tree) -> None:
    first = play.run()
    assert (first["stats"]["changed"], first["stats"]["failures"]) == (2, 0), first
    assert first["The host is ready"]["verdict"] == "ready"
    assert first["The host is ready"]["reboot_required"] is False
    assert "+dispatcher = /sbin/audispd" in first["The host is ready"]["diff"]["prepared"]
    assert "dispatcher = /sbin/audispd" in tree.read("/etc/audit/auditd.conf")
    second = play.run()
    assert (second["stats"]["changed"], second["stats"]["failures"]) == (0, 0), second


def test_check_mode_shows_the_diff_and_changes_nothing(play: Play, tree: Tree) -> None:
    before = play.run("--check")
    assert before["stats"] == {**before["stats"], "changed": 2, "failures": 0}
    assert "not there yet" in before["The host is ready"]["msg"]
    assert not play.binary.exists()
    subprocess.run(["install", "-m", "755", str(BINARY), str(play.binary)], check=True)
    seen = play.run("--check", "--diff")
    assert seen["The host is ready"]["changed"] is True
    assert "+dispatcher = /sbin/audispd" in seen["The host is ready"]["diff"]["prepared"]
    assert "audispd" not in tree.read("/etc/audit/auditd.conf")


def test_a_failure_has_our_words(play: Play, tree: Tree) -> None:
    tree.write("/etc/audit/auditd.conf", "nonsense = 1\n")
    seen = play.run()
    assert seen["stats"]["failures"] == 1
    assert "/etc/audit/auditd.conf:1: 'nonsense = 1'" in json.dumps(seen["The host is ready"])
    assert seen["The host is ready"]["rc"] == 4


@pytest.mark.parametrize("given", ["0" * 64, ""])
def test_a_wrong_binary_is_never_run(play: Play, given: str) -> None:
    play.variables["fim_bootstrap_sha256"] = given
    seen = play.run()
    assert seen["stats"]["failures"] == 1
    assert "The host is ready" not in seen
    assert not play.binary.exists()


REPORT = """{"verdict": "%s", "changed": false, "failed": false, "msg": "%s", "reboot_required": true,
"requirements": [], "diff": ""}"""
STUB = f"""#!/bin/sh
case $1 in
apply) echo '{REPORT % ("ready-after-reboot", "reboot required")}' ;;
check) echo '{REPORT % ("not-ready", "auditd is not running")}'; exit 3 ;;
esac
"""
READY = """
  post_tasks:
    - name: Ready
      fim_bootstrap: {binary: '{{ fim_bootstrap_binary }}', state: checked}
      when: fim_bootstrap_result.reboot_required
"""


def test_a_host_that_needs_a_reboot_says_so_and_one_that_is_not_ready_ends_the_play(play: Play) -> None:
    """With simulated reports: no kernel of this machine may be frozen."""
    play.binary.write_text(STUB)
    play.binary.chmod(0o755)
    play.variables["fim_bootstrap_url"] = f"file://{play.binary}"
    play.variables["fim_bootstrap_sha256"] = sha256(play.binary)
    (play.folder / "site.yml").write_text(SITE.rstrip() + READY)
    seen = play.run()
    assert seen["The host is ready"]["reboot_required"] is True
    assert seen["stats"]["failures"] == 1
    assert seen["Ready"]["msg"] == "auditd is not running"


def test_the_example_is_a_play(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": str(fetched(ANSIBLE)), "HOME": str(tmp_path)}
    argv = [sys.executable, "-m", "ansible", "playbook", "--syntax-check", "-i", "localhost,", str(ROLE / "site.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
