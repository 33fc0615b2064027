"""The distro-profile table: load, validate, select."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional, Union, get_type_hints

from .errors import BadConfig, Unsupported
from .host.files import piped
from .host.live import LiveHost
from .host.reader import Reader
from .managers.rows import MANAGERS
from .model import OsRelease, Profile
from .resources import profile_folder
from .spelling import guess

MOST_DOTS = 100  # in a line of TOML: the time that a dotted key takes grows with the square of its length
DROP_INS = "/etc/fim-bootstrap/profiles.d"
KINDS = (".toml", ".json")
KEYS = {*Profile._fields} - {"id", "nearest"} | {"like"}
RENAMED = {"along": "extra_packages"}  # keys of an earlier release, which a host's own tables may still have
NAMES = tuple[str, ...]
# a release's own, never inherited: what it is known by, and what was found out about it alone
OWN = ("ids", "versions", "codenames", "platform", "tested", "confidence", "eol", "eol_of")
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "audit": (2, 3),
    "restart": ("systemctl", "signal", "service"),
    "lsm": ("selinux", "apparmor", "none"),
    "tested": ("live", "real manager", "replay", "from facts"),
}
FALLBACK = "rpm-files"  # the table that knows files instead of packages
UNNAMED = "linux"  # os-release(5): what ID is where there is none
# systems whose packages are no RPMs, even where somebody has installed an RPM manager
OTHER_FORMATS = frozenset(("debian", "ubuntu", "arch", "alpine", "gentoo", "slackware"))


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
    if kind == "TOML" and any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise BadConfig(f"{path}: a line with more than {MOST_DOTS} dots", "mend that line")
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
    has: Callable[[str], object] = lambda _: None,
) -> Profile:
    """The profile of a release, with its own end of life; Unsupported, with what to try, where there is none.

    ID and version count first, exactly as written. A release that no table names gets the nearest: by its ID in
    other letters, PLATFORM_ID, the codename of its parent, as an image-based relative, by ID_LIKE, and on an RPM
    system (`has` finds its programs) the table of files.
    """
    named = [profile for profile in profiles if profile.ids or profile.platform]
    if forced:
        found = [profile for profile in profiles if profile.id == forced and (profile in named or forced == FALLBACK)]
        if not found:
            raise Unsupported(
                f"there is no profile {forced!r}{guess(forced, (p.id for p in named))}",
                f"one of: {', '.join(p.id for p in named)}",
            )
        return found[0]
    if exact := _best(named, release.id or UNNAMED, release):
        return exact._replace(eol=_end_of_life(exact, release))
    who = release.name or release.id or "this system"
    for profile, why in _relatives(named, release, has):
        if profile:
            return _nearest(profile, f"{who} is not in the table; {profile.id} is taken {why}")
    files = next((profile for profile in profiles if profile.id == FALLBACK), None)
    rpm = has("rpm") and not OTHER_FORMATS.intersection((release.id, *release.like))
    if files and rpm and any(has(name) for name in files.managers):
        return _nearest(files, f"{who} is not in the table; packages are looked up by the files that they hold")
    raise Unsupported(
        f"no profile for this system: {_seen(release)}",
        "name the nearest profile with --profile ID (fim-bootstrap profiles lists them), or write one to"
        f" {DROP_INS}/{_word(release.id or 'mine')}.toml:\n{_snippet(profiles, release)}",
    )


def _relatives(
    named: Sequence[Profile], release: OsRelease, has: Callable[[str], object]
) -> Iterator[tuple[Optional[Profile], str]]:
    """What may be taken for a release that no table names, the surest first, and why."""
    folded = next((name for p in named for name in p.ids if name.lower() == release.id.lower()), "")
    yield _best(named, folded, release), f"because its ID is {folded} in other letters"
    platform = (p for p in named if p.platform and fnmatch.fnmatchcase(release.platform, p.platform))
    yield next(platform, None), f"for {release.platform}"
    parents = [name for name in (release.parent, release.codename) if name]
    if release.parent or {"debian", "ubuntu"}.intersection(release.like):
        found = next((p for name in parents for p in named if name in p.codenames), None)
        yield found, f"because it is made from {found.title if found else ''}"
    words = " ".join((release.id, *release.like))
    if "suse" in words and ("micro" in words or has("transactional-update")):
        yield _image_based(named, "transactional-update", release), "because it is an image-based SUSE"
    # the first word that a table knows decides: after "rhel", "fedora" would only be a guess
    word = next((word for word in release.like if any(word in p.ids for p in named)), "")
    # what was made before there was a PLATFORM_ID has none, and a derivative of a codename counts releases of its own
    like = [p for p in named if not p.codenames and (p.platform or not release.platform)]
    yield _best(like, word, release._replace(version=release.base or release.version)), f"because it is like {word}"
    if has("rpm-ostree"):
        yield _image_based(named, "dnf5", release), "because packages come by rpm-ostree here"


def _image_based(named: Sequence[Profile], manager: str, release: OsRelease) -> Optional[Profile]:
    """The profile of a manager whose version fits, or the one that has none."""
    found = [profile for profile in named if profile.managers[:1] == (manager,)]
    fitting = [p for p in found if not p.versions or any(_within(release.version, v) for v in p.versions)]
    return max(fitting, key=lambda profile: len(profile.versions), default=None)


def _end_of_life(profile: Profile, release: OsRelease) -> str:
    """The date of the release at hand: by ID and version, ID, or version, each up to a dot; else the profile's."""
    version = release.version.split(".")
    versions = [".".join(version[:length]) for length in range(len(version), 0, -1)]
    stream = "stream " if "stream" in release.name.lower() else ""
    keys = [*(f"{stream}{release.id} {v}" for v in versions), f"{stream}{release.id}", *versions]
    return next((profile.eol_of[key] for key in keys if key in profile.eol_of), profile.eol)


def _best(profiles: Sequence[Profile], name: str, release: OsRelease) -> Optional[Profile]:
    ranked = [(_rank(profile, release), profile) for profile in profiles if name and name in profile.ids]
    rank, best = max(ranked, key=lambda pair: pair[0], default=(0, None))
    return best if rank else None


def _rank(profile: Profile, release: OsRelease) -> int:
    """How well a profile fits the version: the longest beginning, then the codename, then any version."""
    fitting = [len(version) for version in profile.versions if _within(release.version, version)]
    if fitting:
        return 2 + max(fitting)
    if release.codename and release.codename in profile.codenames:
        return 2
    return int(not profile.versions and (not profile.codenames or not release.version))


def _nearest(profile: Profile, why: str) -> Profile:
    """The profile, without the dates of what it was made for."""
    return profile._replace(nearest=why, eol="", eol_signature="", eol_advice="")


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


def _snippet(profiles: Sequence[Profile], release: OsRelease) -> str:
    """A table for this release that loads beside the shipped ones, and that selects it."""
    taken, name = {profile.id for profile in profiles}, release.id or UNNAMED
    key = _word(f"{name}-{release.version}")
    while key in taken:
        key += "-mine"
    values = {"like": _model(profiles, release), "title": release.name or name, "ids": [name]}
    values.update({"versions": [release.version]} if release.version else {})
    return f"[{key}]\n" + "\n".join(f"{name} = {_toml(value)}" for name, value in values.items())


def _word(text: str) -> str:
    """The text as a key of TOML and a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "mine"


def _toml(value: Union[str, Sequence[str]]) -> str:
    """A text or a list of texts, as TOML has it."""
    if not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    plain = re.sub(r'(["\\])', r"\\\1", value)
    return '"' + re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", lambda odd: f"\\u{ord(odd[0]):04x}", plain) + '"'


def _model(profiles: Sequence[Profile], release: OsRelease) -> str:
    """The table to inherit from: the nearest release of the same ID, or a relative."""

    def nearness(profile: Profile) -> tuple[int, float]:
        there = profile.versions[-1] if profile.versions else ""
        alike = next((i for i, pair in enumerate(zip(there, release.version)) if len(set(pair)) > 1), len(there))
        return -alike, abs(_number(there) - _number(release.version))

    if same := [profile for profile in profiles if release.id in profile.ids]:
        return min(same, key=nearness).id
    relatives = (("suse", "leap-15.4"), ("rhel", "el9"), ("fedora", "fedora"), ("ubuntu", "ubuntu-24.04"))
    return next((model for word, model in relatives if word in " ".join((release.id, *release.like))), "debian-12")


def _number(version: str) -> float:
    found = re.match(r"\d+(?:\.\d+)?", version)
    return float(found[0]) if found else 0.0


def _checked(path: str, name: str, table: Any) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise BadConfig(f"{path}: {name}: a profile is a table, [{name}]")
    renamed: Mapping[str, Any] = {RENAMED.get(key, str(key)): value for key, value in table.items()}
    for key, value in renamed.items():
        where = f"{path}: [{name}] {key}"
        if key not in KEYS:
            raise BadConfig(f"{where}: no such key", f"known keys: {', '.join(sorted(KEYS))}")
        if wanted := _unlike(value, str if key == "like" else _hints()[key]):
            raise BadConfig(f"{where}: must be {wanted}, not {value!r}")
        if key in CHOICES and value not in CHOICES[key]:
            raise BadConfig(f"{where}: must be one of {', '.join(map(str, CHOICES[key]))}, not {value!r}")
        for manager in value if key == "managers" else ():
            if manager not in MANAGERS:
                raise BadConfig(f"{where}: no such manager: {manager}", f"known: {', '.join(MANAGERS)}")
    return renamed


def _unlike(value: Any, kind: Any) -> str:
    """What a value has to be, where it is not of that kind; else ''."""
    if kind in (str, int, bool):
        good, wanted = type(value) is kind, {str: "a text", int: "a number", bool: "true or false"}[kind]
    elif kind == NAMES:
        good, wanted = _texts(value), "a list of texts"
    elif kind == Mapping[str, NAMES]:
        good, wanted = isinstance(value, dict) and all(map(_texts, value.values())), "a table of lists of texts"
    else:
        good, wanted = isinstance(value, dict) and _texts(list(value.values())), "a table of texts"
    return "" if good else wanted


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
            if key == "like" or (key in OWN and table is not chain[-1]):
                continue
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    if "title" not in merged:
        raise BadConfig(f"{tables[name][0]}: [{name}] title: is missing")
    typed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in merged.items()}
    lacking = merged.get("unavailable", {})
    packages = {c: tuple(names) for c, names in merged.get("packages", {}).items() if c not in lacking}
    return Profile(**{**typed, "id": name, "packages": packages})
