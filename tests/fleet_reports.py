"""Reports as hosts write them, for the tests of what is made of many."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Optional

from fim_bootstrap.fleet.machines import Fleet
from fim_bootstrap.fleet.picture import State, picture
from fim_bootstrap.fleet.table import moment

NOW = 1_795_000_000.0
STATE = State(NOW, 7 * 86400.0)
FROZEN = "/etc/audit/rules.d/99-finalize.rules"


def requirement(identity: str, status: str, summary: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "title": identity,
        "status": status,
        "summary": summary,
        "evidence": [],
        "changes": [],
        "diff": "",
        "remedy": "",
        "warnings": [],
        **more,
    }


def report(hostname: str, verdict: str = "ready", *requirements: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A report as the first release writes it; `machine` and the other newer keys come by `more`."""
    machine = {"machine": more.pop("machine")} if "machine" in more else {}
    line = verdict.replace("-", " ")
    return {
        "schema_version": 1,
        "tool": {"name": "fim-bootstrap", "version": "0.1.0"},
        "command": "check",
        "changed": False,
        "failed": verdict in ("failed", "blocked"),
        "comment": line,
        "msg": line,
        "verdict": verdict,
        "reboot_required": any(item["status"] == "reboot" for item in requirements),
        "host": {
            "hostname": hostname,
            "os": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12"},
            "profile": "debian-12",
            "root": "/",
            "environment": "booted",
            "mode": "dispatcher",
            **machine,
        },
        "requirements": list(requirements),
        "done": [],
        "diff": "",
        "unseen": [],
        "seconds": 0.1,
        **more,
    }


def frozen(hostname: str, **more: Any) -> dict[str, Any]:
    return report(
        hostname, "ready-after-reboot", requirement("rules", "reboot", "frozen", evidence=["kernel: enabled 2"]), **more
    )


def of_error(comment: str = "busy: dpkg is locked (try again)", **more: Any) -> dict[str, Any]:
    return {**report("", "failed"), "host": {}, "comment": comment, "msg": comment, **more}


def read(*paths: Any, before: Optional[Fleet] = None) -> Fleet:
    fleet = Fleet(before.causes if before else ())
    fleet.read([str(path) for path in paths], NOW)
    return fleet


def of(folder: Path, *reports: Any) -> Fleet:
    """The fleet of these reports, a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "all.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in reports))
    os.utime(path, (NOW, NOW))
    return read(path)


def names(fleet: Fleet) -> list[str]:
    return [machine.name for machine in fleet.machines]


NASTY = "<script>window.hacked=1</script>\"'&\x1b[2J\x1b]0;x\x07\u202egnp\u2028\ud800\x00 CustomerId=abc-def"


def hostile() -> dict[str, Any]:
    item = requirement(
        NASTY, "failed", NASTY, evidence=[NASTY, f"/etc/{NASTY}:3: {NASTY}"], remedy=NASTY, warnings=[NASTY]
    )
    return report(
        NASTY,
        "failed",
        item,
        requirement("rules", "skipped", NASTY),
        time=moment(NOW),
        machine=NASTY,
        versions=dict.fromkeys(("agent", "audit", "tool"), NASTY),
        chain=[{"hop": NASTY, "state": "stop"}],
        agent=NASTY,
        causes=[{"id": NASTY, "file": NASTY, "text": NASTY, "source": f"{NASTY}: set {NASTY}"}],
        skipped_by_option=[NASTY],
        reboot_required=True,
        tool={"name": "fim-bootstrap", "version": NASTY},
    )


def hostile_fleet(folder: Path) -> Path:
    item = hostile()
    item["host"]["os"] = dict.fromkeys(("id", "version", "name"), NASTY)
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(item))
    (folder / "b.json").write_text(json.dumps({NASTY: report("x"), f"{NASTY}2": NASTY, "=1+1": frozen("=1+1")}))
    (folder / "<img src=x onerror=alert(1)>.json").write_text(NASTY.encode("utf-8", "replace").decode())
    return folder


def rows(fleet: Fleet) -> dict[str, tuple[int, int, str]]:
    return {row.cause.text(): (row.hosts.total, row.alone, row.cause.do) for row in picture(fleet, STATE).causes}
