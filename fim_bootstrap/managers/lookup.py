"""Which manager a host has, and which names it can install.

A question ends in one of three ways: found, not found, or could not be asked; only what was asked is ever said to
have nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Blocked
from ..host.reader import RAW_LIMIT, Output, Reader
from ..model import OsRelease, Profile
from .rows import MANAGERS, Manager

GONE = (" not-installed", " config-files")  # dpkg's states of a package that is not there
RESOLVE_TIMEOUT = 600.0  # the metadata may have to be fetched first


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


def half_installed(host: Reader, manager: Manager) -> frozenset[str]:
    """The packages whose installation was begun and not finished: their programs may be there, and little else."""
    texts = []
    for path in (path for pattern in manager.records for path in host.glob(pattern)):
        text = host.read_bytes(path)
        if text is None and host.stat(path):  # else it went meanwhile
            why = f"{path}: cannot be read, or is larger than {RAW_LIMIT >> 20} MB"
            raise Blocked(f"{why}: which packages are half installed is not known", f"ls -l {path}")
        texts.append(text or b"")
    return frozenset(name.decode() for text in texts for name in re.findall(manager.half_installed.encode(), text))


def inventory(host: Reader, manager: Manager) -> frozenset[str]:
    """Each package that the database has, with its version, and where the manager tells it with its state."""
    (listed,) = host.query(manager.listing)
    return frozenset(line for line in listed.stdout.splitlines() if not line.endswith(GONE))


class Order(NamedTuple):
    """What is wanted of a manager: package names by command, in order of preference, and what comes with them."""

    manager: Manager
    profile: Profile
    wanted: Mapping[str, Sequence[str]]
    patience: float  # seconds to wait for a lock
    today: str = ""  # ISO date, to tell whether the release is past its end of life
    network: float = 0.0  # seconds to wait for a network that is not there yet
    release: OsRelease = OsRelease("")


class Lookup(NamedTuple):
    """What a manager answered: the names that can be had, and all that it said on the way."""

    found: frozenset[str]
    said: tuple[Output, ...] = ()


def available(host: Reader, order: Order) -> tuple[frozenset[str], str]:
    """Those of the wanted names that could be installed now, and why others could not be looked up, or ''.

    Nothing is changed, so no list of packages is fetched either.
    """
    manager, names = order.manager, names_of(order)
    if bare(host, manager):
        return frozenset(), f"there are no package lists here; fetch them first: {shlex.join(manager.refresh)}"
    questions = questions_for(manager, names)
    lookup = heard(manager, questions, host.query(*questions.values(), timeout=RESOLVE_TIMEOUT))
    if enough(order, lookup):
        return lookup.found, ""
    from . import diagnosis  # only where something is lacking

    said = [*lookup.said, *(host.query((*manager.rehearse, *first_names(order))) if manager.rehearse else ())]
    reason = diagnosis.why(host, manager, order.release, names, said) or diagnosis.trouble(host, manager, lookup.said)
    return lookup.found, f"{reason.what}; {reason.remedy}" if reason else unaskable(manager, names)


def names_of(order: Order) -> list[str]:
    """Every name that may be asked for."""
    return sorted({*order.profile.extra_packages, *(name for names in order.wanted.values() for name in names)})


def first_names(order: Order) -> list[str]:
    """What a person would install by hand."""
    return sorted({names[0] for names in order.wanted.values()})


def bare(host: Reader, manager: Manager) -> bool:
    """Whether the manager has no metadata at all, so that nothing can be found before a refresh."""
    return bool(manager.metadata) and not host.glob(manager.metadata)


def unaskable(manager: Manager, names: Sequence[str]) -> str:
    """Why names were not asked for: a file's path, and a manager that knows packages by name alone."""
    paths = [name for name in names if name.startswith("/")]
    return f"{manager.name} cannot look up which package holds {paths[0]}" if paths and not manager.provides else ""


def questions_for(manager: Manager, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What has to be asked: all names at once (''), and each path alone, since the answer is a name."""
    plain = [name for name in names if not name.startswith("/")]
    paths = {name: (*manager.provides, name) for name in names if name.startswith("/") and manager.provides}
    return {**({"": (*manager.resolve, *plain)} if plain else {}), **paths}


def heard(manager: Manager, questions: Iterable[str], answers: Sequence[Output]) -> Lookup:
    """What the answers to these questions say."""
    found: set[str] = set()
    for path, output in zip(questions, answers):
        names = re.findall(manager.candidate, output.stdout)
        if not path:
            found.update(names)
        elif names or f": {path}" in output.stdout:  # yum 3 names the file and not the package alone
            found.add(path)
    return Lookup(frozenset(found), tuple(answers))


def enough(order: Order, lookup: Lookup) -> bool:
    """Whether each wanted command has a package."""
    return all(lookup.found.intersection(alternatives) for alternatives in order.wanted.values())
