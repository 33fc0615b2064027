"""Package managers, each a row: how to resolve a name, install, refresh, and what a held lock looks like.

All waiting for locks and all retrying live here. apt-get exits 100 for a lock, an unknown name and a
dead network alike, so the text decides, in the C locale.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import BootstrapError, Busy
from .host import Host, Output, Reader

INSTALL_TIMEOUT = 1800.0  # seconds; a slow mirror is no error
PAUSE = 2.0  # seconds between two tries for a lock
NETWORK_TRIES = 3


@dataclass(frozen=True)
class Manager:
    """One package manager's dialect."""

    name: str
    resolve: tuple[str, ...]  # followed by names
    candidate: str  # pattern whose first group is a name that can be installed
    refresh: tuple[str, ...]
    install: tuple[str, ...]  # followed by names
    remove: tuple[str, ...]
    locked: str  # pattern in the output of a run that met a lock; its group `pid` may name the holder
    network: str  # pattern of a passing network failure
    env: Mapping[str, str] = field(default_factory=dict)


APT = Manager(
    name="apt",
    resolve=("apt-cache", "policy"),
    candidate=r"(?m)^(\S+):\n  Installed: .*\n  Candidate: (?!\(none\))",
    refresh=("apt-get", "-q", "update"),
    install=(
        "apt-get", "-q", "-y", "--no-install-recommends",
        "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "install",
    ),
    remove=("apt-get", "-q", "-y", "remove"),
    locked=r"Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock directory"
    r"|held by process (?P<pid>\d+)",
    network=r"Temporary failure resolving|Could not connect|Connection timed out|Connection failed|Hash Sum mismatch",
    # needrestart would restart services on its own, or ask
    env={"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "NEEDRESTART_MODE": "l"},
)  # fmt: skip

MANAGERS: Mapping[str, Manager] = {manager.name: manager for manager in (APT,)}


def available(host: Reader, manager: Manager, names: Sequence[str]) -> set[str]:
    """Those of the names that the manager could install now; nothing is changed."""
    output = host.query((*manager.resolve, *names))[0]
    return set(re.findall(manager.candidate, output.stdout))


def install(
    host: Host, manager: Manager, wanted: Mapping[str, Sequence[str]], patience: float
) -> tuple[str, ...]:
    """Install a package for each wanted command in one transaction; the names that were installed.

    `wanted` maps a command to package names in order of preference. Every name is resolved before the
    transaction. Raises Busy when a lock is still held after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    names = sorted({name for alternatives in wanted.values() for name in alternatives})
    found = available(host, manager, names)
    if not all(found.intersection(alternatives) for alternatives in wanted.values()):
        _patiently(host, manager, manager.refresh, deadline)
        found = available(host, manager, names)
    for command, alternatives in wanted.items():
        if not found.intersection(alternatives):
            raise BootstrapError(
                f"no package for the command {command}: the repositories of this host have none of"
                f" {', '.join(alternatives)}",
                f"enable the repository that has it, then look at the answer of:"
                f" {' '.join((*manager.resolve, *alternatives))}",
            )
    chosen = sorted({next(n for n in alternatives if n in found) for alternatives in wanted.values()})
    _patiently(host, manager, (*manager.install, *chosen), deadline)
    return tuple(chosen)


def remove(host: Host, manager: Manager, names: Sequence[str], patience: float) -> None:
    """Remove packages, with the same patience for a lock."""
    _patiently(host, manager, (*manager.remove, *names), time.monotonic() + patience)


def _patiently(host: Host, manager: Manager, argv: Sequence[str], deadline: float) -> Output:
    failures = 0
    while True:
        output = host.run(*argv, ok=range(256), timeout=INSTALL_TIMEOUT, env=manager.env)
        if output.status == 0:
            return output
        said = output.stdout + output.stderr
        if locked := re.search(manager.locked, said):
            if time.monotonic() > deadline:
                raise Busy(f"{manager.name} is locked by {_holder(host, said, manager)}", "try again later")
        elif re.search(manager.network, said) and failures < NETWORK_TRIES:
            failures += 1
        else:
            raise BootstrapError(f"{' '.join(argv)} failed: {output.why()}", "run that command by hand to see more")
        host.log(f"waiting for {manager.name}: {locked.group() if locked else 'network'}")
        time.sleep(PAUSE)


def _holder(host: Reader, said: str, manager: Manager) -> str:
    pids = [match["pid"] for match in re.finditer(manager.locked, said) if match["pid"]]
    if not pids:
        return "another process"
    line = host.read_bytes(f"/proc/{pids[0]}/cmdline") or b""
    return f"process {pids[0]} ({line.replace(bytes(1), b' ').decode(errors='replace').strip() or 'gone by now'})"


