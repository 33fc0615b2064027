"""Ask the package managers, install with them, and wait where waiting helps: for a lock, for a network.

Each name is resolved before the transaction, and the commands are looked up afterwards. A question ends in one of
three ways: found, not found, or could not be asked; only what was asked is ever said to have nothing.
"""

from __future__ import annotations

import re
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from .dialects import MANAGERS, NETWORK, Manager
from .errors import Blocked, BootstrapError, Busy
from .host import RAW_LIMIT, Host, Output, Reader
from .model import OsRelease, Profile

INSTALL_TIMEOUT = 1800.0  # seconds; a slow mirror is no error
RESOLVE_TIMEOUT = 600.0  # the metadata may have to be fetched first
PAUSE = 2.0  # seconds between two tries for a lock, and after the first failure of the network
LONGEST_PAUSE = 10.0
NETWORK_TRIES = 3  # at least, however short the patience


def choose(host: Reader, profile: Profile) -> tuple[str, bool]:
    """The manager that a host has, or '', and whether the host is image-based.

    An image-based host keeps its packages in an image or a snapshot, whatever its profile says.
    """
    names = profile.managers
    if host.stat("/run/ostree-booted"):
        names = ("rpm-ostree",)
    elif host.which("transactional-update") and (usr := host.stat("/usr")) and usr.read_only:
        names = ("transactional-update",)
    return next((name for name in names if host.which(MANAGERS[name].program)), ""), names is not profile.managers


def unfinished(host: Reader, manager: Manager) -> frozenset[str]:
    """The packages whose installation was begun and not finished: their programs may be there, and little else."""
    texts = []
    for path in (path for pattern in manager.records for path in host.glob(pattern)):
        text = host.read_bytes(path)
        if text is None and host.stat(path):  # else it went meanwhile
            why = f"{path}: cannot be read, or is larger than {RAW_LIMIT >> 20} MB"
            raise Blocked(f"{why}: which packages are half installed is not known", f"ls -l {path}")
        texts.append(text or b"")
    return frozenset(name.decode() for text in texts for name in re.findall(manager.half.encode(), text))


class Lookup(NamedTuple):
    """What a manager answered: the names that can be had, and all that it said on the way."""

    found: frozenset[str]
    said: tuple[Output, ...] = ()


def available(host: Reader, order: Order) -> tuple[frozenset[str], str]:
    """Those of the wanted names that could be installed now, and why others could not be looked up, or ''.

    Nothing is changed, so no list of packages is fetched either.
    """
    manager, names = order.manager, _names(order)
    if _bare(host, manager):
        return frozenset(), f"there are no package lists here; fetch them first: {shlex.join(manager.refresh)}"
    questions = _questions(manager, names)
    lookup = _heard(manager, questions, host.query(*questions.values(), timeout=RESOLVE_TIMEOUT))
    if _enough(order, lookup):
        return lookup.found, ""
    from . import package_causes as causes

    said = [*lookup.said, *(host.query((*manager.rehearse, *_first(order))) if manager.rehearse else ())]
    reason = causes.why(host, manager, order.release, names, said) or causes.trouble(host, manager, lookup.said)
    return lookup.found, f"{reason.what}; {reason.remedy}" if reason else _unaskable(manager, names)


def _names(order: Order) -> list[str]:
    return sorted({*order.profile.along, *(name for names in order.wanted.values() for name in names)})


def _first(order: Order) -> list[str]:
    """What a person would install by hand."""
    return sorted({names[0] for names in order.wanted.values()})


def _bare(host: Reader, manager: Manager) -> bool:
    """Whether the manager has no metadata at all, so that nothing can be found before a refresh."""
    return bool(manager.metadata) and not host.glob(manager.metadata)


def _unaskable(manager: Manager, names: Sequence[str]) -> str:
    """Why names were not asked for: a file's path, and a manager that knows packages by name alone."""
    paths = [name for name in names if name.startswith("/")]
    return f"{manager.name} cannot look up which package holds {paths[0]}" if paths and not manager.provides else ""


def _questions(manager: Manager, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What has to be asked: all names at once (''), and each path alone, since the answer is a name."""
    plain = [name for name in names if not name.startswith("/")]
    paths = {name: (*manager.provides, name) for name in names if name.startswith("/") and manager.provides}
    return {**({"": (*manager.resolve, *plain)} if plain else {}), **paths}


def _heard(manager: Manager, questions: Iterable[str], answers: Sequence[Output]) -> Lookup:
    found: set[str] = set()
    for path, output in zip(questions, answers):
        names = re.findall(manager.candidate, output.stdout)
        if not path:
            found.update(names)
        elif names or f": {path}" in output.stdout:  # yum 3 names the file and not the package alone
            found.add(path)
    return Lookup(frozenset(found), tuple(answers))


class Order(NamedTuple):
    """What is wanted of a manager: package names by command, in order of preference, and what goes along."""

    manager: Manager
    profile: Profile
    wanted: Mapping[str, Sequence[str]]
    patience: float  # seconds to wait for a lock
    today: str = ""  # ISO date, to tell whether the release is past its end of life
    network: float = 0.0  # seconds to wait for a network that is not there yet
    release: OsRelease = OsRelease("")


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
    packages = sorted({*chosen.values(), *found.intersection(order.profile.along)})
    tell(packages)
    try:
        _transact(host, order, packages, deadline)
    except BootstrapError as error:
        if isinstance(error, Busy) or manager.staged or not _there(host, manager, chosen):
            raise
        host.log(f"{error}; what was asked for is there all the same")
    broken = sorted({name for command, name in chosen.items() if not host.which(command)})
    if broken and not manager.staged:
        _patiently(host, order, (*manager.reinstall, *broken), deadline)
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
        _patiently(host, order, (*manager.install, *packages), deadline)
    except _Stale:
        _patiently(host, order, manager.refresh, deadline, strict=False)
        _patiently(host, order, (*manager.install, *packages), deadline)
    except _Torn:
        _patiently(host, order, (*manager.reinstall, *packages), deadline)


def _there(host: Reader, manager: Manager, chosen: Mapping[str, str]) -> bool:
    """Whether all commands are there, and none of their packages is half installed."""
    return all(host.which(command) for command in chosen) and not unfinished(host, manager).intersection(
        chosen.values()
    )


def _search(host: Host, order: Order, deadline: float) -> Lookup:
    """Look for all names; where one is lacking, refresh, and wait for a network that is not there yet."""
    manager, names = order.manager, _names(order)
    lookup = Lookup(frozenset()) if _bare(host, manager) else _resolve(host, order, names, deadline)
    give_up, failures = time.monotonic() + order.network, 0
    while not _enough(order, lookup):
        refreshed = _patiently(host, order, manager.refresh, deadline, strict=False)
        if not refreshed.status and _bare(host, manager):
            refreshed = refreshed._replace(stderr=f"{refreshed.stderr}\nthere are no package lists after it")
        found, said = _resolve(host, order, names, deadline)
        lookup = Lookup(found, (refreshed, *said))
        if _enough(order, lookup) or not any(re.search(NETWORK, _text(output)) for output in lookup.said):
            break
        if failures >= NETWORK_TRIES and time.monotonic() >= give_up:
            break
        failures += 1
        _await_network(host, failures, refreshed, give_up)
    return lookup


def _enough(order: Order, lookup: Lookup) -> bool:
    """Whether each wanted command has a package."""
    return all(lookup.found.intersection(alternatives) for alternatives in order.wanted.values())


def _await_network(host: Host, failures: int, output: Output, give_up: float) -> None:
    host.log(f"the network failed, try {failures}: {output.why()}")
    host.waits("the network is not there yet", give_up - time.monotonic())
    time.sleep(min(PAUSE * failures, LONGEST_PAUSE))


def remove(host: Host, manager: Manager, names: Sequence[str], patience: float) -> None:
    """Remove those of the packages that are there, and none that depends on them; the same patience for a lock."""
    order = Order(manager, Profile("", ""), {}, patience)
    answers = host.query(*((*manager.installed, name) for name in names))
    if there := [name for name, answer in zip(names, answers) if not answer.status]:
        _patiently(host, order, (*manager.remove, *there), time.monotonic() + patience)


def _resolve(host: Host, order: Order, names: Sequence[str], deadline: float) -> Lookup:
    questions = _questions(order.manager, names)
    return _heard(order.manager, questions, [_patiently(host, order, argv, deadline, strict=False)
                                             for argv in questions.values()])  # fmt: skip


class _Stale(BootstrapError):
    """The metadata that the manager has names files that are gone."""


class _Torn(BootstrapError):
    """A run was killed while it unpacked a package."""


def _patiently(host: Host, order: Order, argv: Sequence[str], deadline: float, strict: bool = True) -> Output:
    """Run a manager; wait while another has the lock, and try a network that fails a few times more.

    Not `strict`: any answer will do that is not about a lock.
    """
    manager, failures, finished = order.manager, 0, False
    give_up, timeout = time.monotonic() + order.network, INSTALL_TIMEOUT if strict else RESOLVE_TIMEOUT
    while True:
        if (pid := _holder(host, manager.locks)) is not None:
            _wait(host, manager, pid, deadline)
            continue
        output = host.run(*argv, ok=range(256), timeout=timeout, env=manager.env)
        if output.status in manager.good:
            return output
        said = _text(output)
        if locked := re.search(manager.locked, said):
            _wait(host, manager, int(locked.groupdict().get("pid") or 0), deadline)
        elif not finished and (output.status in manager.again or re.search(manager.unfinished, said)):
            finished = True
            if manager.finish:  # what it cannot finish, the second try will tell
                host.run(*manager.finish, ok=range(256), timeout=INSTALL_TIMEOUT, env=manager.env)
        elif not strict:
            return output
        elif re.search(NETWORK, said) and (failures < NETWORK_TRIES or time.monotonic() < give_up):
            failures += 1
            _await_network(host, failures, output, give_up)
        else:
            raise _failure(host, order, argv, output)


def _wait(host: Host, manager: Manager, pid: int, deadline: float) -> None:
    holder = _named(host, pid)
    left = deadline - time.monotonic()
    if left < 0:
        raise Busy(f"{manager.name} is locked by {holder}", "try again later")
    host.waits(f"{manager.name} is locked by {holder}", left)
    time.sleep(PAUSE)


def _text(output: Output) -> str:
    return output.stdout + output.stderr


def _failure(host: Reader, order: Order, argv: Sequence[str], output: Output) -> BootstrapError:
    from . import package_causes as causes

    manager, said = order.manager, _text(output)
    kinds = {manager.stale: _Stale, manager.torn: _Torn}
    kind = next((kind for pattern, kind in kinds.items() if re.search(pattern, said)), BootstrapError)
    reason = causes.why(host, manager, order.release, _first(order), [output])
    reason = reason or causes.Why(f"{output.why()} (exit status {output.status})", shlex.join(argv))
    remedy = causes.with_notes(reason.remedy, _end_of_life(order, [output]))
    return kind(f"{shlex.join(argv)} failed: {reason.what}", remedy)


def _unknown(host: Host, order: Order, command: str, said: Sequence[Output]) -> BootstrapError:
    """Why there is no package for a command: its name could not be asked for, is kept out, or is not there."""
    from . import package_causes as causes

    manager, profile, names = order.manager, order.profile, order.wanted[command]
    listed = ", ".join(names)
    wanted = _first(order)
    doubt = profile.confidence.get(command) or profile.confidence.get("all", "")
    notes = [f"enable the repository {profile.repository}" if profile.repository else "",
             f"this name is not certain ({doubt})" if doubt else ""]  # fmt: skip
    if cannot := _unaskable(manager, names):
        what, remedy, notes = cannot, "fim-bootstrap profiles", ["choose one with --profile"]
    elif reason := causes.why(host, manager, order.release, wanted, said) or causes.trouble(host, manager, said):
        kept = f"{listed} cannot be taken" if reason.answered else f"the repositories could not be asked for {listed}"
        what, remedy = f"{kept}: {reason.what}", reason.remedy
        notes = []
    elif manager.rehearse and (
        reason := causes.why(host, manager, order.release, wanted, [_rehearse(host, order, names)])
    ):
        what, remedy, notes = f"{listed} cannot be taken: {reason.what}", reason.remedy, []
    else:
        what = f"the repositories of this host have none of {listed}"
        remedy = shlex.join(next(iter(_questions(manager, names).values())))
    return BootstrapError(
        f"no package for the command {command}: {what}", causes.with_notes(remedy, _end_of_life(order, said), *notes)
    )


def _rehearse(host: Host, order: Order, names: Sequence[str]) -> Output:
    manager = order.manager
    return _patiently(host, order, (*manager.rehearse, *names), time.monotonic() + order.patience, strict=False)


def _end_of_life(order: Order, said: Sequence[Output]) -> str:
    from .package_causes import end_of_life

    return end_of_life(order.profile, order.today, order.release.name, "\n".join(map(_text, said)))


def _holder(host: Reader, locks: Sequence[str]) -> Optional[int]:
    """The pid of who has one of the files locked for writing, 0 where it is not known; the first file counts.

    rpm and dpkg lock by fcntl(2), which needs a file open for writing. flock(2), which anyone may take on a file
    that he can read, does not stop them, and does not count.
    """
    places = [found.place for path in locks if (found := host.stat(path))]
    table = host.read_bytes("/proc/locks") if places else b""
    # 1: POSIX ADVISORY WRITE 4711 fe:00:131 0 EOF; a waiting one has -> in front; OFDLCK has pid -1
    rows = [line.split() for line in (table or b"").decode(errors="replace").splitlines()]
    held = [row for row in rows if len(row) > 5 and row[1] in ("POSIX", "OFDLCK") and row[3] == "WRITE"]
    holders = {row[5]: int(row[4]) if row[4].isdecimal() else 0 for row in held}
    return next((holders[place] for place in places if place in holders), None)


def _named(host: Reader, pid: int) -> str:
    """A process by pid and name; its command line may hold passwords."""
    if not pid:
        return "another process"
    name = (host.read_bytes(f"/proc/{pid}/comm") or b"").decode(errors="replace").strip()
    return f"process {pid} ({name or 'gone by now'})"
