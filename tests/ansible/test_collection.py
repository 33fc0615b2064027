"""The collection as Ansible's own programs see it (make test-ansible)."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap import __version__
from tests.ansible.playing import COLLECTION, VERSIONS, Play
from tests.conftest import needs_mounts

pytestmark = [pytest.mark.ansible, needs_mounts]

NAME = "fim_bootstrap.auditd.fim_bootstrap"
ROLE = COLLECTION / "roles/fim_bootstrap"
# those of ansible-test sanity that fetch nothing
SANITY = ("action-plugin-docs", "compile", "empty-init", "line-endings", "no-assert",
          "no-illegal-filenames", "no-smart-quotes", "shebang", "symlinks")  # fmt: skip


@pytest.fixture
def installed(web1: Play) -> Play:
    """A play with the collection as `ansible-galaxy` builds and installs it."""
    built = web1.sh(f"ansible-galaxy collection build {COLLECTION} && ansible-galaxy collection install *.tar.gz")
    assert built.status == 0, built.out + built.err
    return web1


def answered(web1: Play, command: str) -> dict[str, Any]:
    """What a command prints as JSON about the name that it was asked about."""
    ran = web1.sh(command)
    assert ran.status == 0, ran.err
    return dict(json.loads(ran.out)[NAME])


def arguments() -> set[str]:
    """The words that the action takes."""
    source = ast.parse((ROLE / "action_plugins/fim_bootstrap.py").read_text())
    (taken,) = [node.value for node in source.body if isinstance(node, ast.Assign) and
                isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ARGUMENTS"]  # fmt: skip
    return set(ast.literal_eval(taken))


def test_what_is_documented_is_what_there_is(installed: Play) -> None:
    """The version, the module's words, and the role's variables: in ansible-doc, in the defaults and in the README."""
    manifest = json.loads(next(installed.folder.glob(".ansible/collections/**/MANIFEST.json")).read_text())
    assert manifest["collection_info"]["version"] == __version__
    assert set(answered(installed, f"ansible-doc -j {NAME}")["doc"]["options"]) == arguments()
    entries = answered(installed, f"ansible-doc -t role -j {NAME}")["entry_points"]
    documented = {name for entry in entries.values() for name in entry["options"]}
    defaults = set(re.findall(r"^(\w+):", (ROLE / "defaults/main.yml").read_text(), re.MULTILINE))
    table = (ROLE / "README.md").read_text().partition("| variable |")[2].partition("| tag |")[0]
    assert documented == defaults == set(re.findall(r"`(fim_bootstrap_\w+)`", table))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_reads_the_documentation_and_the_playbook(installed: Play, version: str) -> None:
    installed.version = version
    ran = installed.sh(f"ansible-doc {NAME} && ansible-playbook --syntax-check fim_bootstrap.auditd.site")
    assert ran.status == 0, ran.out + ran.err
    page = " ".join(ran.out.split())
    assert "the host needs no Python" in page
    assert "as far as looked at; skipped: rules" in page


def test_ansible_test_finds_nothing(web1: Play, tmp_path: Path) -> None:
    """It passes over a module that is a link, so the links are replaced by what they lead to."""
    copy = tmp_path / "ansible_collections/fim_bootstrap/auditd"
    shutil.copytree(COLLECTION, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert not (copy / "plugins/modules/fim_bootstrap.py").is_symlink()
    words = " ".join(f"--test {test}" for test in SANITY)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    ran = web1.sh(f"cd {copy} && git init -q . && git add -A && ansible-test sanity --local --python {python} {words}")
    assert ran.status == 0, ran.out + ran.err
    assert all(f'Running sanity test "{test}"' in ran.out + ran.err for test in SANITY)
