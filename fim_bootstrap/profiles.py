"""The distro-profile table: load, validate, select."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from .errors import BadConfig, Unsupported
from .model import OsRelease, Profile
from .resources import profile_folder

DROP_INS = "/etc/fim-bootstrap/profiles.d"
KEYS = {field.name for field in fields(Profile)} - {"id"} | {"like"}
NAMES = tuple[str, ...]
MATCHING = ("ids", "versions", "codenames", "platform")  # a release's own, never inherited


def load(folders: Iterable[str]) -> tuple[Profile, ...]:
    """Every profile of the folders; a later folder's table replaces an earlier one of the same name."""
    tables: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for folder in folders:
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for name in (n for n in names if n.endswith(".toml")):
            path = os.path.join(folder, name)
            for key, table in read_toml(path).items():
                tables[key] = (path, _checked(path, key, table))
    return tuple(_build(name, tables) for name in tables)


def standard_folders(extra: str, root: str) -> tuple[str, ...]:
    """The folders in the order in which they count: shipped, the host's drop-ins, --profiles."""
    drop_ins = root.rstrip("/") + DROP_INS
    if os.path.isdir(drop_ins):
        for path in (drop_ins, *(os.path.join(drop_ins, name) for name in os.listdir(drop_ins))):
            info = os.stat(path)
            if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise BadConfig(f"{path}: must belong to root and be writable by nobody else", f"chmod go-w {path}")
    if extra and not os.path.isdir(extra):
        raise BadConfig(f"{extra}: no such folder of profiles")
    return (profile_folder(), drop_ins, *([extra] if extra else []))


def read_toml(path: str) -> dict[str, Any]:
    """A TOML file, with the file's name in front of every complaint."""
    import importlib

    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        with open(path, "rb") as file:
            table: dict[str, Any] = reader.load(file)
            return table
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadConfig(f"{path}: not valid TOML: {error}", "mend that line") from error
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read: {error.strerror}") from error


def select(profiles: Sequence[Profile], os_release: OsRelease, forced: str = "") -> Profile:
    """The profile of a release; raises Unsupported with what was seen and what to try."""
    named = [profile for profile in profiles if profile.ids or profile.platform]
    if forced:
        found = [profile for profile in named if profile.id == forced]
        if not found:
            raise Unsupported(f"there is no profile {forced!r}", f"one of: {', '.join(p.id for p in named)}")
        return found[0]
    same = [profile for profile in named if os_release.id in profile.ids]
    found = (
        [p for p in same if os_release.version and any(_within(os_release.version, v) for v in p.versions)]
        or [p for p in same if not os_release.version and (os_release.codename in p.codenames or not p.versions)]
        or [p for p in named if os_release.platform and p.platform == os_release.platform]
    )
    if len(found) > 1:
        raise BadConfig(f"profiles {', '.join(p.id for p in found)} all match {_seen(os_release)}")
    if not found:
        raise Unsupported(
            f"no profile for this system: {_seen(os_release)}",
            "name the nearest profile with --profile ID (fim-bootstrap profiles lists them), or write one to"
            f" {DROP_INS}/{os_release.id or 'mine'}.toml, beginning with:\n{_snippet(os_release)}",
        )
    return found[0]


def _within(version: str, prefix: str) -> bool:
    return version == prefix or version.startswith(prefix + ".")


def _seen(release: OsRelease) -> str:
    parts = {"ID": release.id, "VERSION_ID": release.version, "ID_LIKE": " ".join(release.like),
             "PLATFORM_ID": release.platform, "NAME": release.name}  # fmt: skip
    return ", ".join(f"{key}={value}" for key, value in parts.items() if value) or "no os-release at all"


def _snippet(release: OsRelease) -> str:
    return (
        f'[{release.id or "mine"}]\nlike = "debian-12"\ntitle = "{release.name}"\n'
        f'ids = ["{release.id}"]\nversions = ["{release.version}"]'
    )


def _checked(path: str, name: str, table: Any) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise BadConfig(f"{path}: {name}: a profile is a table, [{name}]")
    hints = get_type_hints(Profile)
    for key, value in table.items():
        where = f"{path}: [{name}] {key}"
        if key not in KEYS:
            raise BadConfig(f"{where}: no such key", f"known keys: {', '.join(sorted(KEYS))}")
        kind = str if key == "like" else hints[key]
        if kind in (str, int):
            good, wanted = isinstance(value, kind) and not isinstance(value, bool), kind.__name__
        elif kind == NAMES:
            good, wanted = _texts(value), "a list of texts"
        elif kind == Mapping[str, NAMES]:
            good, wanted = isinstance(value, dict) and all(map(_texts, value.values())), "a table of lists of texts"
        else:
            good, wanted = isinstance(value, dict) and _texts(list(value.values())), "a table of texts"
        if not good:
            raise BadConfig(f"{where}: must be {wanted}, not {value!r}")
    if table.get("audit", 3) not in (2, 3):
        raise BadConfig(f"{path}: [{name}] audit: must be 2 or 3")
    return table


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
    packages = {command: tuple(names) for command, names in merged.get("packages", {}).items()}
    return Profile(**{**typed, "id": name, "packages": packages})
