"""Run a manager to its end: wait for its lock, try again where the network failed, finish what was interrupted."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence

from ..errors import BootstrapError
from ..host.reader import Host, Output, Reader
from . import lock
from .lookup import RESOLVE_TIMEOUT, Order, first_names
from .rows import NETWORK

INSTALL_TIMEOUT = 1800.0  # seconds; a slow mirror is no error
LONGEST_PAUSE = 10.0
# at least, however short the patience: so many tries, or so many seconds of a manager that tries again by itself
NETWORK_TRIES, NETWORK_SECONDS = 3, 20.0


class Stale(BootstrapError):
    """The metadata that the manager has names files that are gone."""


class NeedsReinstall(BootstrapError):
    """A run was killed while it unpacked a package."""


def run(host: Host, order: Order, argv: Sequence[str], deadline: float, strict: bool = True) -> Output:
    """Run a manager; wait while another has the lock, and try a network that fails a few times more.

    Not `strict`: any answer will do that is not about a lock.
    """
    manager, failures, finished, begun = order.manager, 0, False, time.monotonic()
    timeout = INSTALL_TIMEOUT if strict else RESOLVE_TIMEOUT
    while True:
        if (pid := lock.holder_of(host, manager.locks)) is not None:
            lock.wait(host, manager, pid, deadline)
            continue
        output = host.run(*argv, ok=range(256), timeout=timeout, env=manager.env)
        if output.status in manager.good:
            return output
        said = text_of(output)
        if locked := re.search(manager.locked, said):
            lock.wait(host, manager, int(locked.groupdict().get("pid") or 0), deadline)
        elif not finished and (output.status in manager.again or re.search(manager.unfinished, said)):
            finished = True
            if manager.finish:  # what it cannot finish, the second try will tell
                host.run(*manager.finish, ok=range(256), timeout=INSTALL_TIMEOUT, env=manager.env)
        elif not strict:
            return output
        elif re.search(NETWORK, said) and not hopeless(failures, begun, order.network):
            failures += 1
            await_network(host, failures, output, begun + order.network)
        else:
            raise _failure(host, order, argv, output)


def hopeless(failures: int, begun: float, patience: float) -> bool:
    """Whether a network that has failed so often since `begun` (monotonic seconds) is not waited for any longer."""
    waited = time.monotonic() - begun
    return waited >= patience and (failures >= NETWORK_TRIES or waited >= NETWORK_SECONDS)


def await_network(host: Host, failures: int, output: Output, give_up: float) -> None:
    """Wait a little longer after each failure; `give_up` is when the patience ends (monotonic seconds)."""
    host.log(f"the network failed, try {failures}: {output.why()}")
    host.waits("the network is not there yet", give_up - time.monotonic())
    time.sleep(min(lock.PAUSE * failures, LONGEST_PAUSE))


def text_of(output: Output) -> str:
    """All that a manager said."""
    return output.stdout + output.stderr


def _failure(host: Reader, order: Order, argv: Sequence[str], output: Output) -> BootstrapError:
    from . import diagnosis  # only where something failed

    manager, said = order.manager, text_of(output)
    kinds = {manager.stale: Stale, manager.needs_reinstall: NeedsReinstall}
    kind = next((kind for pattern, kind in kinds.items() if re.search(pattern, said)), BootstrapError)
    reason = diagnosis.why(host, manager, order.release, first_names(order), [output])
    reason = reason or diagnosis.Why(f"{output.why()} (exit status {output.status})", shlex.join(argv))
    remedy = diagnosis.with_notes(reason.remedy, end_of_life(order, [output]))
    return kind(f"{shlex.join(argv)} failed: {reason.what}", remedy)


def end_of_life(order: Order, said: Sequence[Output]) -> str:
    """What to do where the release is past its end of life, or ''."""
    from . import diagnosis  # only where something failed

    release = order.release
    who = release.name or (f"{release.id} {release.version}" if release.version else "")
    return diagnosis.end_of_life(order.profile, order.today, who, "\n".join(map(text_of, said)))
