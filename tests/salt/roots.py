"""Hosts for Salt to work on: roots of Debian 12 with a real apt and repository, entered by chroot.

Salt runs in the root with the root's own Python, so a minion sees its own files, packages and policy store. The
kernel, /dev and the network are this machine's: fim-bootstrap finds a chroot and asks neither systemd nor audit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cache import run
from tests.conftest import DEBIAN_12, PROJECT, Ran
from tests.fetched import SALT, fetched
from tests.live.guest import BINARY
from tests.managers.roots import Root, root

PROGRAM = "/usr/local/sbin/fim-bootstrap"
PROGRAMS = "PYTHONPATH=/opt/salt HOME=/root python3 /opt/salt/bin/"
WHERE = "--local --retcode-passthrough --out=json --file-root=/srv/salt --pillar-root=/srv/pillar"
FORMULA = PROJECT / "packaging/salt"
SHA256 = hashlib.sha256((PROJECT / BINARY).read_bytes()).hexdigest() if (PROJECT / BINARY).exists() else ""


@contextlib.contextmanager
def salt_root(os_release: str = DEBIAN_12, profile: str = "debian-12", salt: str = SALT) -> Iterator[Root]:
    """A root with Salt in /opt/salt, whose repository has what is missing; all that runs in it is killed in the end."""
    with root("bookworm", os_release, profile) as here:
        here.publish()
        folder = here.path / "opt/salt"
        folder.mkdir()
        run("mount", "--bind", str(fetched(salt)), str(folder))
        try:
            yield here
        finally:
            kill_all(here)
            run("umount", "-l", str(folder))


def furnish(folder: Path, pillar: Mapping[str, Any]) -> None:
    """Put the formula with the binary, and a pillar for every host, where Salt looks for them (srv below a folder)."""
    shutil.copytree(FORMULA, folder / "srv/salt", dirs_exist_ok=True)
    (folder / "srv/salt/fim_bootstrap/files").mkdir(exist_ok=True)
    shutil.copy(PROJECT / BINARY, folder / "srv/salt/fim_bootstrap/files/fim-bootstrap")
    write_pillar(folder, pillar)


def write_pillar(folder: Path, pillar: Mapping[str, Any], **minions: Mapping[str, Any]) -> None:
    """The pillar of every host, and what single minions have in its place."""
    (folder / "srv/pillar").mkdir(parents=True, exist_ok=True)
    top = {"base": {"*": ["all"], **{minion: [minion] for minion in minions}}}
    for name, value in {"top": top, "all": {"fim_bootstrap": pillar}, **minions}.items():
        (folder / f"srv/pillar/{name}.sls").write_text(json.dumps(value))


def processes(here: Root) -> dict[int, str]:
    """The processes that run in the root, by their names."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(path / "root") == str(here.path):
                found[int(path.name)] = (path / "comm").read_text().strip()
    return found


def kill_all(here: Root) -> None:
    """Take the power away: every process of the root at once, whatever its session."""
    while alive := processes(here):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def until_runs(here: Root, name: str, seconds: float = 120) -> None:
    """Wait until a program runs in the root."""
    deadline = time.monotonic() + seconds
    while name not in processes(here).values():
        assert time.monotonic() < deadline, f"{name} was never started: {processes(here)}"
        time.sleep(0.01)


def states(ran: Ran) -> dict[str, dict[str, Any]]:
    """What became of each state of a salt-call, by its id."""
    local = json.loads(ran.out)["local"]
    assert isinstance(local, dict), local
    return {state["__id__"]: state for state in local.values()}


def call(here: Root, words: str, environment: str = "") -> Ran:
    """salt-call without a master."""
    return here.run(f"{environment} {PROGRAMS}salt-call {WHERE} {words}", check=False)
