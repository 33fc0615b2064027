"""Control ids by benchmark and version, as compliance/*.toml has them, for one release."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..model import OsRelease
from ..profiles import read_table
from ..resources import compliance_folder

CONTENT = "/usr/share/xml/scap/ssg/content"  # where distributions put what scap-security-guide builds
CONTROL_FILES = ("cis.toml", "stig.toml", "others.toml")


class Control(NamedTuple):
    """One control; it has no meaning without its benchmark and that benchmark's version."""

    benchmark: str
    version: str
    id: str
    title: str
    level: str
    source: str
    waiver: str = ""  # the id by which InSpec profiles name it, where one was seen

    def __str__(self) -> str:
        """As a person cites it."""
        return f"{self.benchmark} {self.version}, {self.id}" + (f" ({self.level})" if self.level else "")


class Role(NamedTuple):
    """A hardening role, and the variables that keep it from writing `-e 2`; which one counts, its version tells."""

    role: str
    variables: tuple[str, ...]


def controls(release: OsRelease) -> tuple[Control, ...]:
    """What asks for immutable rules on this release; an empty tuple where nothing is known of it."""
    rows = [row for name in CONTROL_FILES for row in _rows(name, release)]
    return tuple(Control(**{key: row[key] for key in Control._fields if key in row}) for row in rows)


def roles(release: OsRelease) -> tuple[Role, ...]:
    """The roles of ansible-lockdown for this release."""
    return tuple(Role(row["role"], tuple(row["variables"])) for row in _rows("lockdown.toml", release))


def content_files(release: OsRelease) -> tuple[str, ...]:
    """Where this release's SCAP content lies if it is installed, likeliest first."""
    names = [name for row in _rows("content.toml", release) for name in row["files"]]
    parts = {"major": release.version.partition(".")[0], "version": release.version.replace(".", "")}
    return tuple(f"{CONTENT}/{name.format(**parts)}" for name in names)


def _rows(name: str, release: OsRelease) -> Iterator[Mapping[str, Any]]:
    table = read_table(os.path.join(compliance_folder(), name))
    return (row for row in table.values() if not row["releases"] or _fits(row["releases"], release))


def _fits(releases: Sequence[str], release: OsRelease) -> bool:
    """Whether one of `ID VERSION`, or of `ID` for all its versions, is this release."""
    mine = f"{release.id} {release.version}"
    return any(mine == one or mine.startswith((f"{one}.", f"{one} ")) for one in releases)
