"""Package managers, each a row: how to resolve a name, install, refresh, and what a held lock looks like.

All waiting for locks and all retrying live here. Exit statuses say little: apt-get exits 100 for a lock, an
unknown name and a dead network alike, and yum 3 exits 0 when it passed over a name; so each name is resolved
before the transaction, the text decides in between (in the C locale), and the commands are looked up afterwards.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from .errors import Blocked, BootstrapError, Busy
from .host import RAW_LIMIT, Host, Output, Reader
from .model import Profile

INSTALL_TIMEOUT = 1800.0  # seconds; a slow mirror is no error
RESOLVE_TIMEOUT = 600.0  # the metadata may have to be fetched first
PAUSE = 2.0  # seconds between two tries for a lock
NETWORK_TRIES = 3
NETWORK = (
    r"Temporary failure resolving|Temporary failure in name resolution|Could not resolve host|Couldn't resolve host"
    r"|Could not connect|Failed to connect|Connection timed out|Connection failed|Connection reset|Operation too slow"
    r"|Timeout was reached|Hash Sum mismatch|Timeout exceeded"
)
RPM_LOCKS = ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock")


class Manager(NamedTuple):
    """One package manager's dialect. Names are appended to what ends without them."""

    name: str
    program: str
    resolve: tuple[str, ...]
    candidate: str  # pattern in what resolve says; its first group is a name that can be installed
    refresh: tuple[str, ...]
    install: tuple[str, ...]
    reinstall: tuple[str, ...]
    locks: tuple[str, ...]  # files that a manager at work has locked (fcntl)
    locked: str  # pattern in the output of a run that met a lock; a group `pid` may name the holder
    installed: tuple[str, ...] = ("rpm", "-q")  # exits 0 where a package is there
    remove: tuple[str, ...] = ("rpm", "-e")  # not the manager itself, which would remove all that depends on it
    provides: tuple[str, ...] = ()  # resolves the path of a file; empty: the manager cannot
    good: tuple[int, ...] = (0,)  # statuses after which the second look at the commands decides
    again: tuple[int, ...] = ()  # statuses that ask for the same run once more
    unfinished: str = "(?!)"  # pattern: an interrupted run has to be finished first ...
    finish: tuple[str, ...] = ()  # ... by this
    records: tuple[str, ...] = ()  # where the state of each package stands (globs) ...
    half: str = "(?!)"  # ... and the pattern of one that was begun and not finished; its first group is the name
    torn: str = "(?!)"  # pattern: a package was being unpacked; only installing it anew helps
    metadata: str = ""  # files that a refresh leaves; where there are none, nothing has to be asked before it
    stale: str = "(?!)"  # pattern: the metadata names files that are gone; a refresh helps
    staged: bool = False  # installs into the system of the next boot
    env: Mapping[str, str] = {}


_DPKG = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
_DNF = ("-y", "--setopt=exit_on_lock=True", "--setopt=install_weak_deps=False")
_REPOQUERY = ("-q", "--setopt=exit_on_lock=True", "repoquery", "--qf", "%{name}\n")
_YUM = ("-y", "--setopt=exit_on_lock=True")
_ZYPPER_SEARCH = ("zypper", "--non-interactive", "--quiet", "--xmlout", "search", "--match-exact")
_NAME_LINE = r"(?m)^([\w.+-]+)$"
_LIST_LINE = r"(?m)^([\w.+-]+)\.(?:noarch|\w*86\w*|aarch64|ppc64\w*|s390x)\s+[\w:.~^+-]*\d[\w:.~^+-]*\s+@?\S+"
_XML_NAME = r'<solvable [^>]*name="([^"]+)"'
_RPM_LOCKED = r"can't create transaction lock|Failed to obtain rpm transaction lock"

MANAGERS: Mapping[str, Manager] = {
    manager.name: manager
    for manager in (
        Manager(
            "apt", "apt-get",
            resolve=("apt-cache", "policy"),
            candidate=r"(?m)^(\S+):\n  Installed: .*\n  Candidate: (?!\(none\))",
            refresh=("apt-get", "-q", "update"),
            install=("apt-get", "-q", "-y", "--no-remove", "--no-install-recommends", *_DPKG, "install"),
            reinstall=("apt-get", "-q", "-y", "--no-remove", "--no-install-recommends", *_DPKG, "--reinstall",
                       "install"),
            installed=("dpkg-query", "-W"),
            remove=("dpkg", "--remove"),
            locks=("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock",
                   "/var/cache/apt/archives/lock"),
            locked=r"held by process (?P<pid>\d+)|Could not get lock|Unable to acquire the dpkg frontend lock"
            r"|Unable to lock directory",
            unfinished=r"dpkg was interrupted",
            finish=("dpkg", "--configure", "-a", "--force-confdef", "--force-confold"),
            records=("/var/lib/dpkg/status", "/var/lib/dpkg/updates/[0-9]*"),
            half=r"(?m)^Package: (\S+)\nStatus: \S+ \S+ (?:unpacked|half-configured|half-installed)$",
            torn=r"reinstall it before attempting",
            metadata="/var/lib/apt/lists/*_Packages*",
            stale=r"Unable to fetch some archives|404 +Not Found|File not found - ",
            # needrestart would restart services on its own, or ask
            env={"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "NEEDRESTART_MODE": "l"},
        ),
        Manager(
            "dnf", "dnf",
            resolve=("dnf", *_REPOQUERY),
            candidate=_NAME_LINE,
            provides=("dnf", *_REPOQUERY),
            refresh=("dnf", "--setopt=exit_on_lock=True", "makecache", "--refresh"),  # -q: no word of a dead repository
            install=("dnf", *_DNF, "install"),
            reinstall=("dnf", *_DNF, "reinstall"),
            locks=RPM_LOCKS,
            locked=rf"already locked by (?P<pid>\d+)|{_RPM_LOCKED}",
            stale=r"incorrect checksum|Cannot download|Status code: 404",
        ),
        Manager(
            "dnf5", "dnf5",
            resolve=("dnf5", *_REPOQUERY),
            candidate=_NAME_LINE,
            provides=("dnf5", *_REPOQUERY),
            refresh=("dnf5", "makecache", "--refresh"),
            install=("dnf5", *_DNF, "install"),
            reinstall=("dnf5", *_DNF, "reinstall"),
            locks=RPM_LOCKS,
            locked=_RPM_LOCKED,
            stale=r"Cannot download|Status code: 404|Curl error \(37\)",
        ),
        Manager(
            "microdnf", "microdnf",
            resolve=("microdnf", "repoquery"),
            candidate=r"(?m)^([\w.+-]+)-[^-\s]+-[^-\s]+$",
            refresh=("microdnf", "makecache"),
            install=("microdnf", "-y", "--setopt=install_weak_deps=0", "install"),
            reinstall=("microdnf", "-y", "reinstall"),
            locks=RPM_LOCKS,
            locked=_RPM_LOCKED,
        ),
        Manager(
            "yum", "yum",
            resolve=("yum", "-q", "--setopt=exit_on_lock=True", "list"),
            candidate=_LIST_LINE,
            provides=("yum", "-q", "--setopt=exit_on_lock=True", "provides"),
            refresh=("yum", "-q", "--setopt=exit_on_lock=True", "makecache", "fast"),
            install=("yum", *_YUM, "install"),
            reinstall=("yum", *_YUM, "reinstall"),
            locks=RPM_LOCKS,
            locked=r"another copy is running as pid (?P<pid>\d+)|Another app is currently holding the yum lock"
            rf"|{_RPM_LOCKED}",
        ),
        Manager(
            "tdnf", "tdnf",
            resolve=("tdnf", "-q", "list"),
            candidate=_LIST_LINE,
            refresh=("tdnf", "-q", "makecache"),
            install=("tdnf", "-y", "install"),
            reinstall=("tdnf", "-y", "reinstall"),
            locks=("/var/run/.tdnf-instance-lockfile", *RPM_LOCKS),
            locked=rf"tdnf_instance lock|{_RPM_LOCKED}",
        ),
        Manager(
            "zypper", "zypper",
            resolve=(*_ZYPPER_SEARCH, "--type", "package"),
            candidate=_XML_NAME,
            provides=(*_ZYPPER_SEARCH, "--provides"),
            refresh=("zypper", "--non-interactive", "--quiet", "refresh"),
            install=("zypper", "--non-interactive", "install", "--no-recommends"),
            reinstall=("zypper", "--non-interactive", "install", "--no-recommends", "--force"),
            locks=RPM_LOCKS,
            locked=rf"locked by the application with pid (?P<pid>\d+)|{_RPM_LOCKED}",
            good=(0, 102, 106, 107),  # reboot suggested; a repository was passed over; a %post script failed
            again=(103,),  # zypper itself was updated
            stale=r"Problem retrieving files|not found on medium|Specified path .* is not a directory",
        ),
        Manager(
            "transactional-update", "transactional-update",
            resolve=(*_ZYPPER_SEARCH, "--type", "package"),
            candidate=_XML_NAME,
            refresh=("zypper", "--non-interactive", "--quiet", "refresh"),
            install=("transactional-update", "--non-interactive", "--continue", "pkg", "install"),
            reinstall=("transactional-update", "--non-interactive", "--continue", "pkg", "install", "--force"),
            remove=("transactional-update", "--non-interactive", "--continue", "pkg", "remove"),
            locks=RPM_LOCKS,
            locked=r"locked by the application with pid (?P<pid>\d+)|another instance already running",
            staged=True,
        ),
        Manager(
            "rpm-ostree", "rpm-ostree",
            resolve=("rpm-ostree", "search"),
            candidate=r"(?m)^([\w.+-]+) : ",
            refresh=("rpm-ostree", "refresh-md"),
            install=("rpm-ostree", "install", "--idempotent", "--allow-inactive", "-y"),
            reinstall=("rpm-ostree", "install", "--idempotent", "--allow-inactive", "-y"),
            remove=("rpm-ostree", "uninstall", "-y"),
            locks=(),
            locked=r"Transaction in progress",
            staged=True,
        ),
    )
}  # fmt: skip


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


def available(host: Reader, manager: Manager, names: Sequence[str]) -> set[str]:
    """Those of the names, or of the files' paths, that the manager could install now; nothing is changed."""
    questions = _questions(manager, names)
    return _found(manager, zip(questions, host.query(*questions.values(), timeout=RESOLVE_TIMEOUT)))


def _questions(manager: Manager, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What has to be asked: all names at once (''), and each path alone, since the answer is a name."""
    plain = [name for name in names if not name.startswith("/")]
    paths = {name: (*manager.provides, name) for name in names if name.startswith("/") and manager.provides}
    return {**({"": (*manager.resolve, *plain)} if plain else {}), **paths}


def _found(manager: Manager, answers: Iterable[tuple[str, Output]]) -> set[str]:
    found: set[str] = set()
    for path, output in answers:
        names = re.findall(manager.candidate, output.stdout)
        if not path:
            found.update(names)
        elif names or f": {path}" in output.stdout:  # yum 3 names the file and not the package alone
            found.add(path)
    return found


class Order(NamedTuple):
    """What is wanted of a manager: package names by command, in order of preference, and what goes along."""

    manager: Manager
    profile: Profile
    wanted: Mapping[str, Sequence[str]]
    patience: float  # seconds to wait for a lock
    today: str = ""  # ISO date, to tell whether the release is past its end of life


def install(
    host: Host, order: Order, tell: Callable[[Sequence[str]], None] = lambda _: None
) -> tuple[str, ...]:
    """Install a package for each wanted command in one transaction; the names, which `tell` gets beforehand.

    Every name is resolved before the transaction. A command that is still missing although its package is
    there has its package installed anew. Raises Busy when a lock is held longer than the patience.
    """
    manager, deadline = order.manager, time.monotonic() + order.patience
    along = order.profile.along
    names = sorted({*along, *(name for alternatives in order.wanted.values() for name in alternatives)})
    bare, said = manager.metadata and not host.glob(manager.metadata), ""
    found = set() if bare else _resolve(host, order, names, deadline)
    if not all(found.intersection(alternatives) for alternatives in order.wanted.values()):
        said = _text(_patiently(host, order, manager.refresh, deadline, strict=False))
        found = _resolve(host, order, names, deadline)
    for command, alternatives in order.wanted.items():
        if not found.intersection(alternatives):
            raise _unknown(order, command, alternatives, said)
    chosen = {command: next(n for n in names if n in found) for command, names in order.wanted.items()}
    packages = sorted({*chosen.values(), *found.intersection(along)})
    tell(packages)
    try:
        _patiently(host, order, (*manager.install, *packages), deadline)
    except _Stale:
        _patiently(host, order, manager.refresh, deadline, strict=False)
        _patiently(host, order, (*manager.install, *packages), deadline)
    except _Torn:
        _patiently(host, order, (*manager.reinstall, *packages), deadline)
    broken = sorted({name for command, name in chosen.items() if not host.which(command)})
    if broken and not manager.staged:
        _patiently(host, order, (*manager.reinstall, *broken), deadline)
    return tuple(packages)


def remove(host: Host, manager: Manager, names: Sequence[str], patience: float) -> None:
    """Remove those of the packages that are there, and none that depends on them; the same patience for a lock."""
    order = Order(manager, Profile("", ""), {}, patience)
    answers = host.query(*((*manager.installed, name) for name in names))
    if there := [name for name, answer in zip(names, answers) if not answer.status]:
        _patiently(host, order, (*manager.remove, *there), time.monotonic() + patience)


def _resolve(host: Host, order: Order, names: Sequence[str], deadline: float) -> set[str]:
    questions = _questions(order.manager, names)
    answers = [_patiently(host, order, argv, deadline, strict=False) for argv in questions.values()]
    return _found(order.manager, zip(questions, answers))


class _Stale(BootstrapError):
    """The metadata that the manager has names files that are gone."""


class _Torn(BootstrapError):
    """A run was killed while it unpacked a package."""


def _patiently(host: Host, order: Order, argv: Sequence[str], deadline: float, strict: bool = True) -> Output:
    """Run a manager; wait while another has the lock, and try a network that fails a few times more.

    Not `strict`: any answer will do that is not about a lock or the network.
    """
    manager, failures, finished = order.manager, 0, False
    while True:
        if (pid := _holder(host, manager.locks)) is not None:
            _wait(host, manager, pid, deadline)
            continue
        output = host.run(*argv, ok=range(256), timeout=INSTALL_TIMEOUT, env=manager.env)
        if output.status in manager.good:
            return output
        said = _text(output)
        if locked := re.search(manager.locked, said):
            _wait(host, manager, int(locked.groupdict().get("pid") or 0), deadline)
        elif not finished and (output.status in manager.again or re.search(manager.unfinished, said)):
            finished = True
            if manager.finish:  # what it cannot finish, the second try will tell
                host.run(*manager.finish, ok=range(256), timeout=INSTALL_TIMEOUT, env=manager.env)
        elif failures < NETWORK_TRIES and re.search(NETWORK, said):
            failures += 1
            host.log(f"the network failed, try {failures} of {NETWORK_TRIES}: {output.why()}")
            time.sleep(PAUSE)
        elif strict:
            raise _failure(order, argv, output)
        else:
            return output


def _wait(host: Host, manager: Manager, pid: int, deadline: float) -> None:
    holder = _named(host, pid)
    if time.monotonic() > deadline:
        raise Busy(f"{manager.name} is locked by {holder}", "try again later")
    host.log(f"waiting for the lock of {manager.name}, held by {holder}")
    time.sleep(PAUSE)


def _text(output: Output) -> str:
    return output.stdout + output.stderr


def _failure(order: Order, argv: Sequence[str], output: Output) -> BootstrapError:
    said = _text(output)
    kinds = {order.manager.stale: _Stale, order.manager.torn: _Torn}
    kind = next((kind for pattern, kind in kinds.items() if re.search(pattern, said)), BootstrapError)
    advice = _end_of_life(order, said) or "run that command by hand to see more"
    return kind(f"{' '.join(argv)} failed: {output.why()}", advice)


def _unknown(order: Order, command: str, alternatives: Sequence[str], said: str) -> BootstrapError:
    profile, asked = order.profile, _questions(order.manager, alternatives)
    doubt = profile.confidence.get(command) or profile.confidence.get("all", "")
    advice = [_end_of_life(order, said)] if _end_of_life(order, said) else []
    advice += [f"enable the repository {profile.repository}"] if profile.repository else []
    advice += [f"this name is not certain ({doubt})"] if doubt else []
    advice += [f"look at the answer of: {' '.join(next(iter(asked.values()), order.manager.resolve))}"]
    lines, signs = [line.strip() for line in said.splitlines()], (NETWORK, "(?i)error|failed|cannot")
    trouble = next((line for sign in signs for line in lines if re.search(sign, line)), "")
    return BootstrapError(
        f"no package for the command {command}: the repositories of this host have none of {', '.join(alternatives)}"
        + (f" (refreshing them said: {trouble})" if trouble else ""),
        "; ".join(advice),
    )


def _end_of_life(order: Order, said: str) -> str:
    """What to do about repositories that are gone, where the release is past its end or the text gives it away."""
    profile = order.profile
    over = bool(profile.eol) and profile.eol < order.today
    known = bool(profile.eol_signature) and re.search(profile.eol_signature, said) is not None
    if not (known or (over and re.search(NETWORK, said))):
        return ""
    return f"{profile.title} reached its end of life on {profile.eol}: {profile.eol_advice or 'upgrade it'}"


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
