"""Install with the package managers, and remove.

Each name is resolved before the transaction, and the commands are looked up afterwards.
"""

from __future__ import annotations

import re
import shlex
import stat
import time
from collections.abc import Callable, Mapping, Sequence

from ..errors import Blocked, BootstrapError, Busy
from ..host.reader import Host, Output, Reader
from ..model import Profile
from . import retry
from .lookup import Lookup, Order, bare, enough, first_names, half_installed, heard, names_of, questions_for, unaskable
from .retry import await_network, hopeless
from .rows import NETWORK, Manager


def install(host: Host, order: Order, tell: Callable[[Sequence[str]], None] = lambda _: None) -> tuple[str, ...]:
    """Install a package for each wanted command in one transaction; the names, which `tell` gets beforehand.

    Every name is resolved before the transaction. A command that is still missing although its package is
    there has its package installed anew. What fails beside what is wanted, such as the script of somebody
    else's package, is logged and no failure. Raises Busy when a lock is held longer than the patience.
    """
    manager, deadline = order.manager, time.monotonic() + order.patience
    _need_null(host)
    found, said = _search(host, order, deadline)
    for command, alternatives in order.wanted.items():
        if not found.intersection(alternatives):
            raise _unknown(host, order, command, said)
    chosen = {command: next(n for n in names if n in found) for command, names in order.wanted.items()}
    packages = sorted({*chosen.values(), *found.intersection(order.profile.extra_packages)})
    tell(packages)
    try:
        _transact(host, order, packages, deadline)
    except BootstrapError as error:
        if isinstance(error, Busy) or manager.staged:
            raise
        if manager.finish and half_installed(host, manager).intersection(packages):  # unpacked before that failed
            host.run(*manager.finish, ok=range(256), timeout=retry.INSTALL_TIMEOUT, env=manager.env)
        if not _there(host, manager, chosen):
            raise
        host.log(f"{error}; what was asked for is there all the same")
    broken = sorted({name for command, name in chosen.items() if not host.which(command)})
    if broken and not manager.staged:
        retry.run(host, order, (*manager.reinstall, *broken), deadline)
    return tuple(packages)


def _need_null(host: Host) -> None:
    """The scripts of packages write to /dev/null; where it is no device they would leave a file there."""
    null, folder = host.stat("/dev/null"), host.root.rstrip("/")
    if (null and not stat.S_ISCHR(null.mode)) or (null is None and host.stat("/dev")):
        what = "is a file and no device" if null else "is missing"
        remove = f"rm {folder}/dev/null; " if null else ""
        remedy = f"mount --bind /dev {folder}/dev" if folder else "mount -t devtmpfs dev /dev"
        raise Blocked(f"/dev/null {what} here, and packages need it", remove + remedy)
    (opened,) = host.query(("head", "-c", "0", "/dev/null"))
    if "Permission denied" in opened.stderr:
        remedy = f"mount --bind /dev {folder}/dev" if folder else "mount -o remount,dev /"
        raise Blocked("/dev/null cannot be opened here: it lies on a file system that is mounted nodev", remedy)


def _transact(host: Host, order: Order, packages: Sequence[str], deadline: float) -> None:
    manager = order.manager
    try:
        retry.run(host, order, (*manager.install, *packages), deadline)
    except retry.Stale:
        retry.run(host, order, manager.refresh, deadline, strict=False)
        retry.run(host, order, (*manager.install, *packages), deadline)
    except retry.NeedsReinstall:
        retry.run(host, order, (*manager.reinstall, *packages), deadline)


def _there(host: Reader, manager: Manager, chosen: Mapping[str, str]) -> bool:
    """Whether all commands are there, and none of their packages is half installed."""
    return all(host.which(command) for command in chosen) and not half_installed(host, manager).intersection(
        chosen.values()
    )


def _search(host: Host, order: Order, deadline: float) -> Lookup:
    """Look for all names; where one is lacking, refresh, and wait for a network that is not there yet."""
    manager, names = order.manager, names_of(order)
    lookup = Lookup(frozenset()) if bare(host, manager) else _resolve(host, order, names, deadline)
    begun, failures = time.monotonic(), 0
    while not enough(order, lookup):
        refreshed = retry.run(host, order, manager.refresh, deadline, strict=False)
        if not refreshed.status and bare(host, manager):
            refreshed = refreshed._replace(stderr=f"{refreshed.stderr}\nthere are no package lists after it")
        found, said = _resolve(host, order, names, deadline)
        lookup = Lookup(found, (refreshed, *said))
        if enough(order, lookup) or not any(re.search(NETWORK, retry.text_of(output)) for output in lookup.said):
            break
        if hopeless(failures, begun, order.network):
            break
        failures += 1
        await_network(host, failures, refreshed, begun + order.network)
    return lookup


def remove(host: Host, manager: Manager, names: Sequence[str], patience: float) -> None:
    """Remove those of the packages that are there, and none that depends on them; the same patience for a lock."""
    order = Order(manager, Profile("", ""), {}, patience)
    answers = host.query(*((*manager.installed, name) for name in names))
    if there := [name for name, answer in zip(names, answers) if not answer.status]:
        retry.run(host, order, (*manager.remove, *there), time.monotonic() + patience)


def _resolve(host: Host, order: Order, names: Sequence[str], deadline: float) -> Lookup:
    questions = questions_for(order.manager, names)
    return heard(order.manager, questions, [retry.run(host, order, argv, deadline, strict=False)
                                             for argv in questions.values()])  # fmt: skip


def _unknown(host: Host, order: Order, command: str, said: Sequence[Output]) -> BootstrapError:
    """Why there is no package for a command: its name could not be asked for, is kept out, or is not there."""
    from . import diagnosis  # only where something failed

    manager, profile, names = order.manager, order.profile, order.wanted[command]
    listed = ", ".join(names)
    wanted = first_names(order)
    doubt = profile.confidence.get(command) or profile.confidence.get("all", "")
    notes = [f"enable the repository {profile.repository}" if profile.repository else "",
             f"this name is not certain ({doubt})" if doubt else ""]  # fmt: skip
    if cannot := unaskable(manager, names):
        what, remedy, notes = cannot, "fim-bootstrap profiles", ["choose one with --profile"]
    elif reason := diagnosis.why(host, manager, order.release, wanted, said) or diagnosis.trouble(host, manager, said):
        kept = f"{listed} cannot be taken" if reason.answered else f"the repositories could not be asked for {listed}"
        what, remedy = f"{kept}: {reason.what}", reason.remedy
        notes = []
    elif manager.rehearse and (
        reason := diagnosis.why(host, manager, order.release, wanted, [_rehearse(host, order, names)])
    ):
        what, remedy, notes = f"{listed} cannot be taken: {reason.what}", reason.remedy, []
    else:
        what = f"the repositories of this host have none of {listed}"
        remedy = shlex.join(next(iter(questions_for(manager, names).values())))
    remedy = diagnosis.with_notes(remedy, retry.end_of_life(order, said), *notes)
    return BootstrapError(f"no package for the command {command}: {what}", remedy)


def _rehearse(host: Host, order: Order, names: Sequence[str]) -> Output:
    manager = order.manager
    return retry.run(host, order, (*manager.rehearse, *names), time.monotonic() + order.patience, strict=False)
