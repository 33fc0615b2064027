"""The distro-profile table: load, validate, select."""

from __future__ import annotations

import functools
import importlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Optional, get_type_hints

from .errors import BadConfig, Unsupported
from .host import LiveHost, Reader, piped
from .managers import MANAGERS
from .model import OsRelease, Profile
from .resources import profile_folder

DROP_INS = "/etc/fim-bootstrap/profiles.d"
KINDS = (".toml", ".json")
KEYS = {*Profile._fields} - {"id", "nearest"} | {"like"}
NAMES = tuple[str, ...]
MATCHING = ("ids", "versions", "codenames", "platform")  # a release's own, never inherited
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "audit": (2, 3),
    "restart": ("systemctl", "signal", "service"),
    "lsm": ("selinux", "apparmor", "none"),
    "tested": ("live", "real manager", "replay", "from facts"),
}
FALLBACK = "rpm-files"  # the table that knows files instead of packages


def load(places: Iterable[str]) -> tuple[Profile, ...]:
    """Every profile of the files and folders; a later table replaces an earlier one of the same name."""
    tables: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for path in (path for place in places for path in _files(place)):
        for key, table in read_table(path).items():
            tables[key] = (path, _checked(path, key, table))
    profiles = tuple(_build(name, tables) for name in tables)
    _no_two_alike(profiles, tables)
    return profiles


def _files(place: str) -> list[str]:
    if not os.path.isdir(place):
        return [place]
    return [os.path.join(place, name) for name in sorted(os.listdir(place)) if name.endswith(KINDS)]


def standard_places(host: Reader, extra: str) -> list[str]:
    """Where profiles are, in the order in which they count: shipped, the host's drop-ins, the folder of --profiles.

    A tree's drop-ins are its own, wherever its links seem to lead.
    """
    drop_ins = [host.real(path) for path in host.glob(f"{DROP_INS}/*") if path.endswith(KINDS)]
    if drop_ins:
        for path in (host.real(DROP_INS), *drop_ins):
            refuse_foreign(path)
    if extra and not os.path.isdir(extra):
        raise BadConfig(f"{extra}: no such folder of profiles")
    return [profile_folder(), *drop_ins, *([extra] if extra else [])]


def refuse_foreign(path: str) -> None:
    """Raise BadConfig for a file or folder that somebody else than root, or than who runs this, may write to."""
    try:
        info = os.stat(path)
    except OSError as error:  # a link that leads nowhere
        raise BadConfig(f"{path}: cannot be read: {error.strerror}", f"ls -l {path}") from error
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadConfig(f"{path}: must belong to root and be writable by nobody else", f"chmod go-w {path}")


def read_table(path: str, pipe: bool = False) -> dict[str, Any]:
    """A TOML or JSON file, by its name, with that name in front of every complaint; or what comes through a pipe."""
    toml = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    kind, reader = ("JSON", "json") if path.endswith(".json") else ("TOML", toml)
    text = _text(path, pipe)
    try:
        table = importlib.import_module(reader).loads(text.encode().decode())
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or brackets without end
        raise BadConfig(f"{path}: not valid {kind}: {error}", "mend that line") from error
    if not isinstance(table, dict):
        raise BadConfig(f"{path}: must be a JSON object, not {table!r}")
    return table


def _text(path: str, pipe: bool) -> str:
    try:
        if pipe and (content := piped(path)) is not None:
            return content.decode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadConfig(f"{path}: cannot be read: {why}") from error
    if (file := LiveHost().read(os.path.realpath(path))) is None:
        raise BadConfig(f"{path}: cannot be read: no such file")
    if file.problem:
        raise BadConfig(f"{path}: {file.problem}")
    return file.text


def select(
    profiles: Sequence[Profile],
    release: OsRelease,
    forced: str = "",
    has: Optional[Callable[[str], object]] = None,
) -> Profile:
    """The profile of a release; raises Unsupported with what was seen and what to try.

    ID and version count first, exactly as written; a release that no table names gets the nearest by
    PLATFORM_ID, then by ID_LIKE, and on an RPM system (`has` finds its programs) the table of files.
    """
    named = [profile for profile in profiles if profile.ids or profile.platform]
    if forced:
        found = [profile for profile in profiles if profile.id == forced and (profile in named or forced == FALLBACK)]
        if not found:
            raise Unsupported(f"there is no profile {forced!r}", f"one of: {', '.join(p.id for p in named)}")
        return found[0]
    if exact := _best(named, release.id, release):
        return exact
    who = release.name or release.id or "this system"
    for profile in named:
        if release.platform and profile.platform == release.platform:
            return _nearest(profile, f"{who} is not in the table; {profile.id} is taken for {release.platform}")
    # the first word that a table knows decides: after "rhel", "fedora" would only be a guess
    word = next((word for word in release.like if any(word in profile.ids for profile in named)), "")
    if like := _best(named, word, release):
        return _nearest(like, f"{who} is not in the table; {like.id} is taken because it is like {word}")
    files = next((profile for profile in profiles if profile.id == FALLBACK), None)
    if files and has and has("rpm") and any(has(name) for name in files.managers):
        return _nearest(files, f"{who} is not in the table; packages are looked up by the files that they hold")
    raise Unsupported(
        f"no profile for this system: {_seen(release)}",
        "name the nearest profile with --profile ID (fim-bootstrap profiles lists them), or write one to"
        f" {DROP_INS}/{release.id or 'mine'}.toml, beginning with:\n{_snippet(release)}",
    )


def _best(profiles: Sequence[Profile], name: str, release: OsRelease) -> Optional[Profile]:
    ranked = [(_rank(profile, release), profile) for profile in profiles if name and name in profile.ids]
    rank, best = max(ranked, key=lambda pair: pair[0], default=(0, None))
    return best if rank else None


def _rank(profile: Profile, release: OsRelease) -> int:
    """How well a profile fits the version: the longest beginning, then the codename, then any version."""
    if release.parent and release.parent in profile.codenames:
        return 100
    fitting = [len(version) for version in profile.versions if _within(release.version, version)]
    if fitting:
        return 2 + max(fitting)
    if release.codename and release.codename in profile.codenames:
        return 2
    return int(not profile.versions and (not profile.codenames or not release.version))


def _nearest(profile: Profile, why: str) -> Profile:
    return profile._replace(nearest=why)


def _no_two_alike(profiles: Sequence[Profile], tables: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
    """Two tables that claim the same release are an error, found when they are read."""
    claims: dict[tuple[str, str], str] = {}
    for profile in profiles:
        releases = (*profile.versions, *profile.codenames) or ("any version",)
        mine = [(f"ID {name}", release) for name in profile.ids for release in releases]
        mine += [("PLATFORM_ID", profile.platform)] if profile.platform else []
        for claim in mine:
            if other := claims.get(claim):
                where = f"{tables[profile.id][0]}: [{profile.id}] versions"
                raise BadConfig(f"{where}: {' '.join(claim)} is claimed by [{other}] too", "take it out of one of them")
            claims[claim] = profile.id


def _within(version: str, prefix: str) -> bool:
    return version == prefix or version.startswith(prefix + ".")


def _seen(release: OsRelease) -> str:
    parts = {"ID": release.id, "VERSION_ID": release.version, "ID_LIKE": " ".join(release.like),
             "PLATFORM_ID": release.platform, "NAME": release.name}  # fmt: skip
    return ", ".join(f"{key}={value}" for key, value in parts.items() if value) or "no os-release at all"


def _snippet(release: OsRelease) -> str:
    relatives = (("suse", "leap-15.4"), ("rhel", "el9"), ("fedora", "fedora"))
    model = next((model for word, model in relatives if word in " ".join((release.id, *release.like))), "debian-12")
    from json import dumps  # whose texts are TOML's, too

    head = release.id if re.fullmatch(r"[\w-]+", release.id, re.ASCII) else "mine"
    return (
        f'[{head}]\nlike = "{model}"\ntitle = {dumps(release.name, ensure_ascii=False)}\n'
        f"ids = {dumps([release.id], ensure_ascii=False)}\nversions = {dumps([release.version], ensure_ascii=False)}"
    )


def _checked(path: str, name: str, table: Any) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise BadConfig(f"{path}: {name}: a profile is a table, [{name}]")
    for key, value in table.items():
        where = f"{path}: [{name}] {key}"
        if key not in KEYS:
            raise BadConfig(f"{where}: no such key", f"known keys: {', '.join(sorted(KEYS))}")
        kind = str if key == "like" else _hints()[key]
        if kind in (str, int, bool):
            good, wanted = type(value) is kind, {str: "a text", int: "a number", bool: "true or false"}[kind]
        elif kind == NAMES:
            good, wanted = _texts(value), "a list of texts"
        elif kind == Mapping[str, NAMES]:
            good, wanted = isinstance(value, dict) and all(map(_texts, value.values())), "a table of lists of texts"
        else:
            good, wanted = isinstance(value, dict) and _texts(list(value.values())), "a table of texts"
        if not good:
            raise BadConfig(f"{where}: must be {wanted}, not {value!r}")
        if key in CHOICES and value not in CHOICES[key]:
            raise BadConfig(f"{where}: must be one of {', '.join(map(str, CHOICES[key]))}, not {value!r}")
        for manager in value if key == "managers" else ():
            if manager not in MANAGERS:
                raise BadConfig(f"{where}: no such manager: {manager}", f"known: {', '.join(MANAGERS)}")
    return table


@functools.lru_cache(maxsize=1)
def _hints() -> dict[str, Any]:
    return get_type_hints(Profile)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _build(name: str, tables: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Profile:
    chain: list[Mapping[str, Any]] = []
    seen: list[str] = []
    at = name
    while at:
        if at in seen:
            raise BadConfig(f"{tables[name][0]}: [{name}] like: goes in a circle: {' -> '.join([*seen, at])}")
        if at not in tables:
            raise BadConfig(f"{tables[seen[-1]][0]}: [{seen[-1]}] like: there is no table [{at}]")
        seen.append(at)
        chain.insert(0, tables[at][1])
        at = tables[at][1].get("like", "")
    merged: dict[str, Any] = {}
    for table in chain:
        for key, value in table.items():
            if key == "like" or (key in MATCHING and table is not chain[-1]):
                continue
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    if "title" not in merged:
        raise BadConfig(f"{tables[name][0]}: [{name}] title: is missing")
    typed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in merged.items()}
    lacking = merged.get("unavailable", {})
    packages = {c: tuple(names) for c, names in merged.get("packages", {}).items() if c not in lacking}
    return Profile(**{**typed, "id": name, "packages": packages})
