"""What the first release left on a host, as its runs wrote it: edits, files, journal, and the texts that it kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.conftest import Tree

STATE = "/var/lib/fim-bootstrap"
CONF = "/etc/audit/auditd.conf"
UNITS = "/etc/systemd/system"
NOTE = "# fim-bootstrap 2026-01-02: FIM needs audit rules without this line: "
GUARD = f"{UNITS}/fim-bootstrap-guard.service"
OLD_GUARD = """\
# Fails, with the report in the journal, where this host is no longer ready for FIM. It changes nothing.
[Unit]
Description=Check that this host is ready for file integrity monitoring
After=auditd.service qualys-cloud-agent.service fim-bootstrap-firstboot.service
# several files change at once, and each change is a reason to look
StartLimitIntervalSec=0

[Service]
Type=oneshot
Nice=10
TimeoutStartSec=30min
# what changes a file mostly restarts auditd a moment later
ExecStartPre=/bin/sleep 3
# in the middle of an apply or a revert a host is not ready; systemd drops the events that come during a check
ExecStartPre=/bin/sh -c 'while read p </var/lib/fim-bootstrap/lock && grep -q bootstrap /proc/$$p/cmdline; do sleep 1; done 2>/dev/null'
ExecStart=/usr/local/sbin/fim-bootstrap check
"""  # noqa: E501
PRESET = "".join(f"enable {unit}\n" for unit in (
    "auditd.service", "fim-bootstrap-firstboot.service", "fim-bootstrap-guard.timer", "fim-bootstrap-guard.path",
))  # fmt: skip
MODULE = {
    "module": "fim_bootstrap", "marker": "fim_bootstrap_src_0123456789abcdef_t", "priority": ["-X", "400"],
    "boot": "6f1d0a52-0000-4000-8000-000000000000", "uptime": 81.5,
}  # fmt: skip


def made_ready(tree: Tree, rules: Mapping[str, str]) -> None:
    """Make the tree what the release made of it; `rules` are files in which the lines `-e 2` were taken out."""
    number = 0

    def record(kind: str, **details: Any) -> None:
        nonlocal number
        number += 1
        entry = {"id": f"{number:016x}", "time": "2026-01-02T03:04:05+0000", "kind": kind, **details}
        path = tree.path(f"{STATE}/journal.jsonl")
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        path.chmod(0o600)

    def keep(text: str) -> str:
        name = hashlib.sha256(text.encode()).hexdigest()
        tree.write(f"{STATE}/replaced/{name}", text, 0o600)
        return name

    def edit(path: str, after: str, inert: bool = False) -> None:
        before = tree.read(path)
        record("edit", path=path, before=keep(before), after=keep(after), inert=inert, mtime=1767323045.25)
        tree.path(path).write_bytes(after.encode())  # which keeps owner, mode and attributes

    tree.path(STATE).mkdir(mode=0o700, parents=True)
    tree.write(f"{STATE}/lock", "4711\n", 0o600)
    edit(CONF, f"{tree.read(CONF)}dispatcher = /sbin/audispd\n", inert=True)
    for path in rules:
        edit(path, re.sub(r"(?m)^-e 2\n?$(\n?)", f"{NOTE}-e 2\n", tree.read(path)))
    record("policy", **MODULE)
    texts = {GUARD: OLD_GUARD, f"{UNITS}/fim-bootstrap-ready.target": "[Unit]\n"}
    for path, text in {**texts, f"{UNITS}-preset/50-fim-bootstrap.preset": PRESET}.items():
        record("create", path=path, after=hashlib.sha256(text.encode()).hexdigest())
        tree.write(path, text)
    record("create", path="/usr/local/sbin/fim-bootstrap", after="")
    tree.write("/usr/local/sbin/fim-bootstrap", "the binary of that release", 0o755)
    record("restart", service="auditd", conf="", boot=MODULE["boot"], uptime=82.5)
