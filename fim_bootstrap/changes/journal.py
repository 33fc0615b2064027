"""What was done to this host, written down before it is done, so that it can be undone.

One JSON object a line in /var/lib/fim-bootstrap/journal.jsonl; file contents, before and after, lie beside it
under their SHA-256. A damaged line is passed over: the record of the other steps still counts. A last line
without a newline was never finished, so its step was never begun.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ..host.boot import boot_id
from ..host.reader import RAW_LIMIT, STATE, File, Host, Reader

JOURNAL = f"{STATE}/journal.jsonl"
LIMIT = 4 << 20  # bytes of the journal: 15,000 steps
TYPES: Mapping[str, Any] = {"mtime": (int, float), "uptime": (int, float), **dict.fromkeys(
    ("id", "kind", "path", "before", "after", "boot", "conf", "service", "module", "manager"), str)}  # fmt: skip
LISTS = ("packages", "priority", "folders")  # of texts


Record = Callable[..., None]  # what a change is given to write its entry with


def digest(text: str) -> str:
    """The name under which a content is kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def entries(host: Reader) -> list[dict[str, Any]]:
    """The steps that stand, oldest first; those that were undone are left out."""
    return _read(host.read(JOURNAL, LIMIT))[0]


def unfit(host: Reader) -> str:
    """Why nothing can be written down there that `revert` would find, or ''."""
    file = host.read(JOURNAL, LIMIT)
    return f"{JOURNAL}: {file.problem}" if file and file.problem else ""


def damage(host: Reader) -> str:
    """What of the journal cannot be read, or ''."""
    if why := unfit(host):
        return why
    lost = _read(host.read(JOURNAL, LIMIT))[1]
    return f"{JOURNAL}: {lost} line{'s' * (lost != 1)} cannot be read" if lost else ""


def _read(file: Optional[File]) -> tuple[list[dict[str, Any]], int]:
    """The steps that stand, and the number of lines that make no sense."""
    steps: dict[str, dict[str, Any]] = {}
    lost = 0
    for line in (file.text if file else "").split("\n")[:-1]:
        try:
            entry = json.loads(line)
            if "undone" in entry:
                steps.pop(entry["undone"], None)
            elif _well_made(entry):
                steps[entry["id"]] = entry
            else:
                lost += 1
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            lost += 1
    return list(steps.values()), lost


def _well_made(entry: Mapping[str, Any]) -> bool:
    """Whether what a step holds is of its kind; a path can be one (no NUL, no half of a character)."""
    lists = [entry.get(key, []) for key in LISTS]
    if not all(key not in entry or isinstance(entry[key], kind) for key, kind in TYPES.items()):
        return False
    if not all(isinstance(items, list) and all(isinstance(item, str) for item in items) for items in lists):
        return False
    return b"\0" not in os.fsencode(entry.get("path", ""))


def record(host: Host, kind: str, **details: Any) -> None:
    """Write down a step that is about to be taken."""
    # not the time: clocks jump, and on some machines they stand still for milliseconds
    entry = {"id": os.urandom(8).hex(), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "kind": kind, **details}
    host.append(JOURNAL, json.dumps(entry))


def moment(host: Host) -> dict[str, Any]:
    """Now, in a way that no change of the clock spoils."""
    return {"boot": boot_id(host), "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)}


def undone(host: Host, entry: Mapping[str, Any]) -> None:
    """Write down that a step was taken back."""
    host.append(JOURNAL, json.dumps({"undone": entry["id"]}))


def keep(host: Host, text: str) -> str:
    """Keep a content that is about to be replaced, or put in place; its digest."""
    name = digest(text)
    try:
        kept(host, name)
    except KeyError:
        host.create(f"{STATE}/replaced/{name}", text.encode("utf-8", "surrogateescape"))
    return name


def kept(host: Reader, name: str) -> str:
    """A content that was kept; raises KeyError where it is lost or damaged."""
    file = host.read(f"{STATE}/replaced/{name}", RAW_LIMIT)  # an earlier release had no limit
    if file is None or file.problem or digest(file.text) != name:
        raise KeyError(name)
    return file.text


def effective_since(steps: Sequence[Mapping[str, Any]], file: File) -> float:
    """When the file last changed in a way that its reader acts on (seconds since the epoch).

    A line that audit >= 3 ignores is written without a restart; so the change that counts is the earlier one.
    """
    since, name = file.mtime, digest(file.text)
    for step in reversed(steps):
        if step.get("kind") == "edit" and step.get("path") == file.path and step.get("after") == name:
            if not step.get("inert"):
                break
            since, name = float(step.get("mtime", since)), step.get("before", "")
    return since
