"""Where the data files lie: in the source tree, where pip put them, or where the one-file binary unpacked them."""

from __future__ import annotations

import os
import sys

BASE = getattr(sys, "_MEIPASS", os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text_of(name: str) -> str:
    """The text of a data file of this package."""
    with open(os.path.join(BASE, "fim_bootstrap", name), encoding="utf-8") as file:
        return file.read()


def from_source() -> bool:
    """Whether this is no one-file binary, which alone can be copied to a host."""
    return not hasattr(sys, "_MEIPASS")


def program(besides: str = "") -> bytes:
    """The one-file binary that is running; nothing in a source run, or where it runs from that very path."""
    if from_source() or os.path.realpath(sys.executable) == os.path.realpath(besides or "/"):
        return b""
    with open(sys.executable, "rb") as file:
        return file.read()


def profile_folder() -> str:
    """The folder of the profiles that are shipped."""
    return _tables("distro_profiles")


def compliance_folder() -> str:
    """The folder of the control ids."""
    return _tables("compliance")


def _tables(name: str) -> str:
    """A folder of tables, which a wheel has inside the package (pyproject.toml): beside it lie other projects."""
    inside = os.path.join(BASE, "fim_bootstrap/data", name)
    return inside if os.path.isdir(inside) else os.path.join(BASE, name)
