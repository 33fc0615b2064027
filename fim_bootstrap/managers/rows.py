"""The package managers, each a row: how to resolve a name, install, refresh, and what its output means.

Exit statuses say little: apt-get exits 100 for a lock, an unknown name and a dead network alike, dnf 0 where it
passed over a repository that refused it, and yum 3 0 when it passed over a name; so the output decides in between
(in the C locale).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


def answered(codes: str) -> str:
    """The pattern of an HTTP status in what apt, librepo, yum 3, tdnf, libzypp and libcurl say of an answer."""
    before = r"Status code: |HTTPS? Error |HTTP response: |returned error: "
    return rf"(?:(?:{before}){codes}\b|\b{codes} when downloading|\s{codes}  (?:[A-Z][a-z]|\[IP))"


NETWORK = (
    r"Temporary failure resolving|Temporary failure in name resolution|(?:Could not|Couldn't) resolve (?:host|proxy|')"
    r"|Could not connect|Couldn't connect|Failed to connect|Connection timed out|(?<!code: )Connection failed"
    r"|Connection reset|Operation too slow|Timeout was reached|Hash Sum mismatch|Timeout exceeded"
    r"|Network is unreachable|No route to host|Connection refused|Undetermined Error|[Cc]url error \((?:18|52|55|92)\)"
    rf"|is temporarily unaccessible|{answered('(?:429|50[0234])')}"
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
    listing: tuple[str, ...] = ("rpm", "-qa", "--qf", r"%{NAME} %{VERSION}-%{RELEASE}\n")  # all that is there
    remove: tuple[str, ...] = ("rpm", "-e")  # not the manager itself, which would remove all that depends on it
    provides: tuple[str, ...] = ()  # resolves the path of a file; empty: the manager cannot
    rehearse: tuple[str, ...] = ()  # an installation that changes nothing, and says why it would fail
    good: tuple[int, ...] = (0,)  # statuses after which it decides whether the commands are there now
    again: tuple[int, ...] = ()  # statuses that ask for the same run once more
    unfinished: str = "(?!)"  # pattern: an interrupted run has to be finished first ...
    finish: tuple[str, ...] = ()  # ... by this
    records: tuple[str, ...] = ()  # where the state of each package stands (globs) ...
    half_installed: str = (
        "(?!)"  # ... and the pattern of one that was begun and not finished; its first group is the name
    )
    needs_reinstall: str = "(?!)"  # pattern: a package was being unpacked; only installing it anew helps
    metadata: str = ""  # files that a refresh leaves; where there are none, nothing has to be asked before it
    stale: str = "(?!)"  # pattern: the metadata names files that are gone; a refresh helps
    absent: str = r"(?i)no match"  # pattern: a status other than 0 only means that there is no such name
    staged: bool = False  # installs into the system of the next boot
    env: Mapping[str, str] = {}


_DPKG = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
_DNF = ("-y", "--setopt=exit_on_lock=True", "--setopt=install_weak_deps=False")
# not -q: no word of a repository that is passed over
_REPOQUERY = ("--setopt=exit_on_lock=True", "repoquery", "--qf", r"%{name}\n")
_YUM = ("-y", "--setopt=exit_on_lock=True")
_ZYPPER_REHEARSAL = ("zypper", "--non-interactive", "install", "--no-recommends", "--dry-run")
_ZYPPER_SEARCH = ("zypper", "--non-interactive", "--quiet", "--xmlout", "search", "--match-exact")
_NAME_LINE = r"(?m)^([\w.+-]+)$"
_LIST_LINE = r"(?m)^([\w.+-]+)\.(?:noarch|\w*86\w*|aarch64|ppc64\w*|s390x)\s+[\w:.~^+-]*\d[\w:.~^+-]*\s+@?\S+"
_XML_NAME = r'<solvable [^>]*name="([^"]+)"'
# the same words with another reason, such as a read-only file system, are about no lock
_RPM_LOCKED = r"can't create transaction lock on \S+ \(Resource temporarily|Failed to obtain rpm transaction lock"

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
            rehearse=("apt-get", "-q", "-s", "install"),
            installed=("dpkg-query", "-W"),
            listing=("dpkg-query", "-W", "-f", r"${Package} ${Version} ${db:Status-Status}\n"),
            remove=("dpkg", "--remove"),
            locks=("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock",
                   "/var/cache/apt/archives/lock"),
            locked=r"Could not get lock(?:.*held by process (?P<pid>\d+))?|Unable to acquire the dpkg frontend lock"
            r"|Unable to lock directory",
            unfinished=r"dpkg was interrupted",
            finish=("dpkg", "--configure", "-a", "--force-confdef", "--force-confold"),
            records=("/var/lib/dpkg/status", "/var/lib/dpkg/updates/[0-9]*"),
            half_installed=r"(?m)^Package: (\S+)\nStatus: \S+ \S+ (?:unpacked|half-configured|half-installed)$",
            needs_reinstall=r"reinstall it before attempting",
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
            rehearse=("dnf", "--setopt=exit_on_lock=True", "--assumeno", "install"),
            refresh=("dnf", "--setopt=exit_on_lock=True", "makecache", "--refresh"),
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
            rehearse=("dnf5", "--setopt=exit_on_lock=True", "--assumeno", "install"),
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
            rehearse=("yum", "--setopt=exit_on_lock=True", "--assumeno", "install"),
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
            rehearse=_ZYPPER_REHEARSAL,
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
            provides=(*_ZYPPER_SEARCH, "--provides"),
            rehearse=_ZYPPER_REHEARSAL,
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
