"""What the last `fim-bootstrap apply` since the boot found, for targeting: -G 'fim_bootstrap:reboot_required:True'."""

from __future__ import annotations

import json
from typing import Any

RESULT = "/run/fim-bootstrap/result.json"


def fim_bootstrap() -> dict[str, Any]:
    """Read from the file that apply writes; nothing is run.

    /run is empty after a boot: until the next apply the verdict is unknown, `ready` is None, and no reboot is
    asked for, since one has just been made.
    """
    try:
        with open(RESULT, encoding="utf-8") as file:
            report = json.load(file)
        return {
            "fim_bootstrap": {
                "verdict": report["verdict"],
                "ready": report["verdict"] == "ready",
                "reboot_required": report["reboot_required"],
                "profile": report["host"]["profile"],
                "version": report["tool"]["version"],
            }
        }
    except (OSError, ValueError, KeyError, TypeError):
        unknown = {"verdict": "unknown", "ready": None, "reboot_required": False, "profile": "", "version": ""}
        return {"fim_bootstrap": unknown}
