"""A real master and its minions on loopback, each minion in a root of its own.

What stands in for hardware: `system.reboot` of the minions leaves a mark; the root then loses its processes and
/run, as in a power cycle, gets another boot id, and starts its minion again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from tests.cache import run
from tests.conftest import Ran
from tests.fetched import SALT, fetched
from tests.managers.roots import ENVIRONMENT, Root
from tests.salt.roots import PROGRAMS, SHA256, furnish, kill_all, salt_root
from tests.sshd import free_port

MARK = "run/reboot-asked-for"
REBOOT = f'''"""Stands in for the module of that name."""


def reboot(at_time=None):
    open("/{MARK}", "w").close()
    return ""
'''
QUIET = {"enable_gpu_grains": False, "enable_fqdns_grains": False, "log_level": "warning"}


@dataclass
class Minion:
    """A root with its minion; `at_boot` is what the root's boot does before the minion starts, and whether it does.

    Attributes: `boots` counts the reboots.
    """

    name: str
    root: Root
    config: Mapping[str, Any]
    at_boot: Callable[[], bool] = lambda: True
    boots: int = 0
    process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Start the minion."""
        # a killed minion that init has not reaped yet would count as running
        for file in (self.root.path / "run").glob("*salt-minion.pid"):
            file.unlink()
        folder = self.root.path / "etc/salt"
        folder.mkdir(exist_ok=True)
        (folder / "minion").write_text(json.dumps({**QUIET, **self.config, "id": self.name}))
        argv = ["chroot", str(self.root.path), "sh", "-c", f"exec env {PROGRAMS}salt-minion -c /etc/salt"]
        with (self.root.path / "minion.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT,
                                            start_new_session=True)  # fmt: skip

    def kill(self) -> None:
        """Take the power away."""
        kill_all(self.root)
        if self.process:
            self.process.wait()

    def power_on(self) -> None:
        """A boot: another id, an empty /run, and what the system itself does."""
        self.boots += 1
        (self.root.path / "boot_id").write_text(f"{uuid.uuid4()}\n")
        self.root.run("rm -rf /run/*")
        if self.at_boot():
            self.start()


@dataclass
class Fleet:
    """The master and its minions."""

    folder: Path
    minions: dict[str, Minion] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def salt(self, words: str) -> Ran:
        """The command `salt`."""
        return program("salt", self.folder, words)

    def answers(self, words: str) -> dict[str, Any]:
        """What each minion answered; Salt prints one document after the other."""
        ran, found, decoder = self.salt(f"--out=json {words}"), {}, json.JSONDecoder()
        text = ran.out
        while "{" in text:
            document, end = decoder.raw_decode(text, text.index("{"))
            found.update(document)
            text = text[end:]
        return found

    def runner(self, words: str) -> Ran:
        """The command `salt-run`."""
        return program("salt-run", self.folder, f"--out=json {words}")

    def until_answer(self, *names: str) -> None:
        """Wait until these minions answer."""
        deadline = time.monotonic() + 300
        while not all(self.answers(f"-L {','.join(names)} test.ping").get(name) is True for name in names):
            assert time.monotonic() < deadline, self.logs()

    def logs(self) -> str:
        """The end of what master and minions said."""
        files = [self.folder / "master.log", *(m.root.path / "minion.log" for m in self.minions.values())]
        return "\n".join(file.read_text()[-1500:] for file in files)

    def watch(self) -> None:
        """Reboot the roots that are asked to, until the end."""
        while not self.stopping.wait(0.2):
            for minion in self.minions.values():
                if (minion.root.path / MARK).exists():
                    minion.kill()
                    minion.power_on()


def program(name: str, folder: Path, words: str, timeout: float = 600, salt: str = SALT) -> Ran:
    """One of Salt's programs on the master's machine, whose configuration is below `folder`."""
    argv = [sys.executable, str(fetched(salt) / "bin" / name), "-c", str(folder / "etc"), *shlex.split(words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, env=_environment(salt),
                          stdin=subprocess.DEVNULL)  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def master_config(folder: Path, **more: Any) -> dict[str, Any]:
    """A master's configuration that keeps everything below `folder`."""
    return {
        **QUIET, "interface": "127.0.0.1", "user": "root", "auto_accept": True, "worker_threads": 3, "timeout": 15,
        "gather_job_timeout": 10, "root_dir": str(folder), "pki_dir": str(folder / "pki"),
        "cachedir": str(folder / "cache"), "sock_dir": str(folder / "sock"),
        "file_roots": {"base": [str(folder / "srv/salt")]}, "pillar_roots": {"base": [str(folder / "srv/pillar")]},
        **more,
    }  # fmt: skip


def _environment(salt: str = SALT) -> dict[str, str]:
    return {**ENVIRONMENT, "PYTHONPATH": str(fetched(salt)), "HOME": "/root"}


@contextlib.contextmanager
def fleet(folder: Path, roots: Mapping[str, tuple[str, str]]) -> Iterator[Fleet]:
    """A master, and a minion in each root (its os-release and profile) that has answered."""
    furnish(folder, {"sha256": SHA256})
    (folder / "srv/salt/_modules/system.py").write_text(REBOOT)
    publish, ret = free_port(), free_port()
    (folder / "etc").mkdir()
    (folder / "etc/master").write_text(json.dumps(master_config(folder, publish_port=publish, ret_port=ret)))
    here = Fleet(folder)
    argv = [sys.executable, str(fetched(SALT) / "bin/salt-master"), "-c", str(folder / "etc")]
    with contextlib.ExitStack() as stack, (folder / "master.log").open("ab") as log:
        master = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(),
                                  start_new_session=True)  # fmt: skip
        stack.callback(master.wait)
        stack.callback(os.killpg, master.pid, signal.SIGKILL)
        config = {"master": "127.0.0.1", "master_port": ret, "publish_port": publish, "user": "root",
                  "random_reauth_delay": 2, "recon_default": 500, "recon_max": 1000}  # fmt: skip
        for name, (os_release, profile) in roots.items():
            minion = Minion(name, stack.enter_context(salt_root(os_release, profile)), config)
            (minion.root.path / "boot_id").write_text(f"{uuid.uuid4()}\n")
            kernel = str(minion.root.path / "proc/sys/kernel/random/boot_id")
            run("mount", "--bind", str(minion.root.path / "boot_id"), kernel)
            stack.callback(run, "umount", kernel)
            stack.callback(minion.kill)
            minion.start()
            here.minions[name] = minion
        watching = threading.Thread(target=here.watch)
        watching.start()
        stack.callback(watching.join)
        stack.callback(here.stopping.set)
        here.until_answer(*roots)
        yield here
