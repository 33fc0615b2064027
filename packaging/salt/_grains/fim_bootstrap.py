"""What the last `fim-bootstrap apply` since the boot found, for targeting: -G 'fim_bootstrap:reboot_required:True'."""

from __future__ import annotations

import json
import sys
from typing import Any, Union

RESULT = "/run/fim-bootstrap/result.json"
UNKNOWN: dict[str, Any] = {
    "verdict": "unknown", "ready": None, "reboot_required": False, "skipped": [], "comment": "", "profile": "",
    "version": "",
}  # fmt: skip


def __virtual__() -> Union[bool, tuple[bool, str]]:  # noqa: N807 - Salt's name for it
    return sys.platform.startswith("linux") or (False, "fim-bootstrap is a program for Linux")


def fim_bootstrap() -> dict[str, Any]:
    """Read from the file that apply writes; nothing is run.

    /run is empty after a boot, and `revert` takes the file away: until the next apply the verdict is unknown,
    `ready` is None, and no reboot is asked for. `skipped` names the requirements that an option left out: `ready` is
    said of the others alone, and `comment` has both in one line.
    """
    try:
        with open(RESULT, encoding="utf-8") as file:
            report = json.load(file)
        return {
            "fim_bootstrap": {
                "verdict": report["verdict"],
                "ready": report["verdict"] == "ready",
                "reboot_required": report["reboot_required"],
                "skipped": report.get("skipped_by_option", []),
                "comment": report["comment"],
                "profile": report["host"]["profile"],
                "version": report["tool"]["version"],
            }
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {"fim_bootstrap": UNKNOWN}
