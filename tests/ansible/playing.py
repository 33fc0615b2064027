"""Plays of the real ansible-core, over a real ssh, on a host that has no Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BINARY, DEBIAN_12, PROJECT, Ran, Tree
from tests.fetched import ANSIBLE, fetched
from tests.managers.roots import Root, root
from tests.sshd import sshd

COLLECTION = PROJECT / "packaging/ansible"
# what EL 8 has today (2.16) and had first (2.12), beside the newest
VERSIONS = (ANSIBLE, "ansible-core==2.16.14", "ansible-core==2.12.10")
PROGRAM = "/usr/local/sbin/fim-bootstrap"
TREE = "/srv/tree"
SITE = """
- hosts: all
  gather_facts: false
  roles: [fim_bootstrap]
"""


@contextlib.contextmanager
def pythonless() -> Iterator[Root]:
    """A Debian 12 with a real apt and repository, and without Python."""
    if not BINARY.exists():
        pytest.skip("the binary was not built: make binary")
    with root("bookworm", DEBIAN_12, "debian-12") as here:
        here.publish()
        for path in (*here.path.glob("usr/bin/python*"), *here.path.glob("usr/lib/python*")):
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
        assert here.run("command -v python3 python perl5", check=False).status != 0
        yield here


@dataclass
class Play:
    """A folder on the machine that runs Ansible, and the host web1 in its inventory."""

    folder: Path
    host: Root
    port: int
    tree: Tree  # a folder of the host, right but for the dispatcher line
    version: str = ANSIBLE
    variables: dict[str, Any] = field(default_factory=dict)  # of web1

    def write(self) -> None:
        """The inventory, with the variables as they are now."""
        ssh = {
            "ansible_host": "127.0.0.1", "ansible_port": self.port, "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        }  # fmt: skip
        web1 = {**ssh, **self.variables}
        (self.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": web1}}}))

    def sh(self, line: str, **env: str) -> Ran:
        """A shell line in the folder, where Ansible's programs are at hand."""
        self.write()
        packages = fetched(self.version)
        environment = {
            "PATH": f"{self._programs(packages)}:{os.environ['PATH']}", "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(packages), "ANSIBLE_INVENTORY": "hosts.yml", **env,
        }  # fmt: skip
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment, cwd=self.folder,
                              stdin=subprocess.DEVNULL, timeout=600, check=False)  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def _programs(self, packages: Path) -> Path:
        """A folder with Ansible's programs, run by this Python: the one that fetched them may be gone."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        for program in packages.glob("bin/ansible*"):
            (folder / program.name).write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
            (folder / program.name).chmod(0o755)
        return folder

    def run(self, words: str = "", site: str = SITE, **env: str) -> dict[str, Any]:
        """What became of each task: the last result by the task's name, and `stats`; by the role's old path."""
        (self.folder / "site.yml").write_text(site)
        ran = self.sh(
            f"ansible-playbook site.yml {words}",
            ANSIBLE_STDOUT_CALLBACK="results", ANSIBLE_CALLBACK_PLUGINS=str(Path(__file__).parent / "callback"),
            ANSIBLE_ROLES_PATH=str(COLLECTION / "roles"), **env,
        )  # fmt: skip
        lines = [line.partition("\t") for line in ran.out.splitlines() if re.match("[^\t]+\t{", line)]
        results = {name: json.loads(result) for name, _, result in lines}
        assert "stats" in results, ran.out + ran.err
        return results


@contextlib.contextmanager
def play(folder: Path, version: str = ANSIBLE) -> Iterator[Play]:
    """A play whose role sends the built binary and looks at a tree on the host."""
    with pythonless() as host, sshd(folder, host.path) as port:
        yield Play(folder, host, port, Tree(host.path / TREE[1:]), version, {
            "fim_bootstrap_source": str(BINARY), "fim_bootstrap_sha256": checksum(BINARY),
            "fim_bootstrap_arguments": ["--root", TREE, "--no-install"],
        })  # fmt: skip


def checksum(path: Path) -> str:
    """A file's checksum, as sha256sum has it."""
    return subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout[:64]
