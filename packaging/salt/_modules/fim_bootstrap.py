"""Run fim-bootstrap on a minion and hand its report back (schemas/report-1.json).

The state fim_bootstrap.install puts the binary there; what runs it raises CommandExecutionError until then, which
Salt shows as one line. Options go into /etc/fim-bootstrap/config.toml, or as words into `arguments`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Union

from salt.exceptions import CommandExecutionError, SaltException

BINARY = "/usr/local/sbin/fim-bootstrap"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# put here by Salt's loader
__salt__: dict[str, Any]
__grains__: dict[str, Any]
__context__: dict[str, Any]

__func_alias__ = {"apply_": "apply"}


def __virtual__() -> Union[bool, tuple[bool, str]]:  # noqa: N807 - Salt's name for it
    # the binary need not be there: the state that installs it is this module's user
    return sys.platform.startswith("linux") or (False, "fim-bootstrap is a program for Linux")


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
    if report.get("command") == "apply":
        _tell_the_master({key: report.get(key) for key in ("verdict", "reboot_required", "comment")})
    return report


def revert(binary: str = BINARY, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Take back what apply did, where it is still as apply left it. The grain says `unknown` from then on.

    CLI example: salt '*' fim_bootstrap.revert
    """
    report = _report(binary, "revert", arguments)
    _tell_the_master({"verdict": "unknown"})
    return report


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


def pinned(sha256: str, binary: str = BINARY) -> bool:
    """Whether the binary is there and is the file that this checksum (64 hex digits) names.

    CLI example: salt '*' fim_bootstrap.pinned e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    """
    try:
        with open(binary, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == sha256.lower()
    except OSError:
        return False


def staged(source: Union[str, Sequence[str]], sha256: str, saltenv: str = "base") -> str:
    """The path of the binary in the minion's cache, ready to run: from the first source that has the pinned file.

    Salt itself compares only what comes over http(s) or ftp. Raises CommandExecutionError where no source has it.

    CLI example: salt '*' fim_bootstrap.staged salt://fim_bootstrap/files/fim-bootstrap e3b0c442...
    """
    refused = []
    for url in [source] if isinstance(source, str) else source:
        try:
            path = __salt__["cp.cache_file"](url, saltenv=saltenv, source_hash=sha256)
        except SaltException as error:
            refused.append(f"{url}: {error}")
            continue
        if path and pinned(sha256, path):
            os.chmod(path, 0o700)
            return str(path)
        refused.append(f"{url}: {'another file' if path else 'not there'}")
    raise CommandExecutionError(f"no source has the binary whose sha256 is {sha256}: {'; '.join(refused)}")


def _tell_the_master(found: dict[str, Any]) -> None:
    """Refresh the grains where ours does not say what was found: the master learns of it with the pillar."""
    grain = __grains__.get("fim_bootstrap", {})
    if any(grain.get(key) != value for key, value in found.items()):
        __salt__["saltutil.refresh_grains"]()


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
