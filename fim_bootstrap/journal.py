"""What was done to this host, written down before it is done, so that it can be undone.

One JSON object a line in /var/lib/fim-bootstrap/journal.jsonl; replaced file contents lie beside it under
their SHA-256. A damaged line is passed over: the record of the other steps still counts.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .host import STATE, File, Host, Reader

JOURNAL = f"{STATE}/journal.jsonl"


def digest(text: str) -> str:
    """The name under which a content is kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def entries(host: Reader) -> list[dict[str, Any]]:
    """The steps that stand, oldest first; those that were undone are left out."""
    file = host.read(JOURNAL)
    steps: dict[str, dict[str, Any]] = {}
    for line in file.text.splitlines() if file else ():
        try:
            entry = json.loads(line)
            if "undone" in entry:
                steps.pop(entry["undone"], None)
            else:
                steps[entry["id"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return list(steps.values())


def record(host: Host, kind: str, **details: Any) -> None:
    """Write down a step that is about to be taken."""
    entry = {"id": f"{time.time_ns():x}", "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "kind": kind, **details}
    host.append(JOURNAL, json.dumps(entry))


def undone(host: Host, entry: Mapping[str, Any]) -> None:
    """Write down that a step was taken back."""
    host.append(JOURNAL, json.dumps({"undone": entry["id"]}))


def keep(host: Host, text: str) -> str:
    """Keep a content that is about to be replaced; its digest."""
    name = digest(text)
    if host.stat(f"{STATE}/replaced/{name}") is None:
        host.create(f"{STATE}/replaced/{name}", text.encode("utf-8", "surrogateescape"))
    return name


def kept(host: Reader, name: str) -> str:
    """A content that was kept; raises KeyError where it is lost or damaged."""
    file = host.read(f"{STATE}/replaced/{name}")
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
