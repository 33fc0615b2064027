"""Run fim-bootstrap on a minion and hand its report back (schemas/report-1.json).

The state fim_bootstrap.install puts the binary there; until then every function raises CommandExecutionError.
Options go into /etc/fim-bootstrap/config.toml, or as words into `arguments`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

BINARY = "/usr/local/sbin/fim-bootstrap"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# put here by Salt's loader
__salt__: dict[str, Any]
__grains__: dict[str, Any]
__context__: dict[str, Any]

__func_alias__ = {"apply_": "apply"}


def check(binary: str = BINARY, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Say whether the host is ready, or what would change; changes nothing.

    CLI example: salt '*' fim_bootstrap.check
    """
    return _report(binary, "check", arguments)


def apply_(binary: str = BINARY, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Make the host ready. The grain is refreshed where it does not say what was found.

    CLI example: salt '*' fim_bootstrap.apply arguments='["--skip", "delivery"]'
    """
    report = _report(binary, "apply", arguments)
    grain = __grains__.get("fim_bootstrap", {})
    told = all(grain.get(key) == report.get(key) for key in ("verdict", "reboot_required"))
    if report.get("command") == "apply" and not told:
        __salt__["saltutil.refresh_grains"]()  # with the pillar: that is how the master learns of it
    return report


def revert(binary: str = BINARY, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Take back what apply did, where it is still as apply left it.

    CLI example: salt '*' fim_bootstrap.revert
    """
    return _report(binary, "revert", arguments)


def reboot_required(binary: str = BINARY) -> dict[str, Any]:
    """Whether only a reboot makes the rules take effect: a dict, since orchestrate takes a bare False for a failure.

    CLI example: salt '*' fim_bootstrap.reboot_required
    """
    return _report(binary, "reboot-required", ())


def exception(binary: str = BINARY, arguments: Sequence[str] = (), output: str = "") -> dict[str, Any]:
    """The record of the exception for audit rules that stay mutable; `output` is a folder that gets every format.

    CLI example: salt '*' fim_bootstrap.exception arguments='["--ticket", "CHG-4711"]'
    """
    if output:
        argv = [binary, "exception", *arguments, "--output", output]
        done = __salt__["cmd.run_all"](argv, python_shell=False, ignore_retcode=True)
        if done["retcode"]:
            raise CommandExecutionError(f"{' '.join(argv)}: exit status {done['retcode']}: {done['stderr']}")
    return _report(binary, "exception", arguments)


def boot_id() -> dict[str, str]:
    """The kernel's name for this boot; another one means that the host was rebooted.

    CLI example: salt '*' fim_bootstrap.boot_id
    """
    with open(BOOT_ID, encoding="ascii") as file:
        return {"boot_id": file.read().strip()}


def installed(binary: str = BINARY) -> bool:
    """Whether the binary is there.

    CLI example: salt '*' fim_bootstrap.installed
    """
    return os.access(binary, os.X_OK)


def _report(binary: str, command: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The JSON object on stdout; what the host lacks is in it, whatever the exit status."""
    if not installed(binary):
        raise CommandExecutionError(f"{binary} is not installed; the state fim_bootstrap.install does that")
    argv = [binary, command, *arguments, "--format", "json"]
    done = __salt__["cmd.run_all"](argv, python_shell=False, ignore_retcode=True)
    try:
        report = json.loads(done["stdout"])
    except ValueError:
        report = None
    if not isinstance(report, dict):
        said = done["stderr"] or done["stdout"] or "nothing was printed"
        raise CommandExecutionError(f"{' '.join(argv)}: exit status {done['retcode']} and no report: {said}")
    if report.get("failed"):
        __context__["retcode"] = done["retcode"]  # the exit status of salt-call and salt
    return report
