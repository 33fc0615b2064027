"""Our own units, preset and program on a host: which are there, outdated, or edited."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..changes import journal
from ..host.reader import Reader
from ..resources import program, text_of

PRESET = "/etc/systemd/system-preset/50-fim-bootstrap.preset"
PROGRAM = "/usr/local/sbin/fim-bootstrap"
PACKAGED = "/usr/sbin/fim-bootstrap"  # by the .deb or the .rpm, with the guard's units
UNITS = "/etc/systemd/system"
PACKAGED_UNITS = "/usr/lib/systemd/system"
# path in the tree -> our own data file
FIRST_BOOT = {
    f"{UNITS}/{name}": f"units/{name}" for name in ("fim-bootstrap-firstboot.service", "fim-bootstrap-ready.target")
}
FIRST_BOOT_NETWORK = f"{UNITS}/fim-bootstrap-firstboot.service.d/50-network.conf"
FETCHING = {FIRST_BOOT_NETWORK: "units/fim-bootstrap-firstboot-network.conf"}
GUARD = {f"{UNITS}/fim-bootstrap-guard.{kind}": f"units/fim-bootstrap-guard.{kind}"
         for kind in ("service", "timer", "path")}  # fmt: skip
GUARD_PATH = "fim-bootstrap-guard.path"
# unit -> the link that has it started at boot
GUARD_UNITS = {
    "fim-bootstrap-guard.timer": f"{UNITS}/timers.target.wants/fim-bootstrap-guard.timer",
    GUARD_PATH: f"{UNITS}/multi-user.target.wants/{GUARD_PATH}",
}


class OwnFiles(NamedTuple):
    """Our own files that are there; Facts has the same names."""

    prepared: frozenset[str]
    outdated: frozenset[str]
    edited: frozenset[str]


def look(host: Reader, steps: Sequence[Mapping[str, Any]]) -> OwnFiles:
    """A unit that stands as an earlier run wrote it, and is shipped otherwise now, is outdated; so is its program."""
    written = {step.get("path"): step.get("after") for step in steps if step.get("kind") == "create"}
    there = {path for path in (PRESET, PROGRAM, *GUARD_UNITS.values()) if host.stat(path)}
    found = {path: file.text for path in (*FIRST_BOOT, *FETCHING, *GUARD) if (file := host.read(path))}
    packaged = _packaged(host)
    shipped = {path: unit_text(name, packaged) for path, name in {**FIRST_BOOT, **FETCHING, **GUARD}.items()}
    other = {path for path, text in found.items() if text != shipped[path]}
    outdated = {path for path in other if journal.digest(found[path]) == written.get(path)}
    if PROGRAM in there and PROGRAM in written:
        content = program(besides=host.real(PROGRAM))
        outdated |= {PROGRAM} if content and content != host.read_bytes(PROGRAM) else set()
    prepared = (there | {*found} | packaged) - outdated
    return OwnFiles(frozenset(prepared), frozenset(outdated), frozenset(other - outdated))


def unit_text(name: str, prepared: Collection[str]) -> str:
    """The text of a unit or drop-in of ours; it calls the program where this host has it."""
    return text_of(name).replace(PROGRAM, PACKAGED) if PACKAGED in prepared else text_of(name)


def _packaged(host: Reader) -> set[str]:
    """What a package brought, or stands in its own place for: a second program would hide that of an upgrade."""
    if not host.stat(PACKAGED):
        return set()
    units = (path for path in GUARD if host.stat(path.replace(UNITS, PACKAGED_UNITS, 1)))
    return {PACKAGED, PROGRAM, *units}
