"""The state of a host that is ready for file integrity monitoring through auditd."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from salt.exceptions import CommandExecutionError

BINARY = "/usr/local/sbin/fim-bootstrap"
TROUBLE = ("failed", "blocked")

# put here by Salt's loader
__salt__: dict[str, Any]
__opts__: dict[str, Any]


def ready(name: str, binary: str = BINARY, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """The host is ready, or is after the reboot that the comment asks for.

    `arguments` are words for ``fim-bootstrap apply``. Nothing is rebooted: see the runner fim_bootstrap.reboot.
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    test = __opts__["test"]
    if test and not __salt__["fim_bootstrap.installed"](binary):
        return {**ret, "result": None, "comment": f"{binary} is not there yet; what would change is not known"}
    words = [*arguments, "--dry-run"] if test else [*arguments]
    try:
        report = __salt__["fim_bootstrap.apply"](binary=binary, arguments=words)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    ret["comment"] = _comment(report)
    if test:
        ret["changes"] = _planned(report)
    else:
        ret["changes"] = {key: report[key] for key in ("done", "diff") if report.get(key)}
    if report["failed"]:
        ret["result"] = False
    elif test and report["changed"]:
        ret["result"] = None
    return ret


def excepted(
    name: str, expires: str, owner: str = "", approver: str = "", ticket: str = "", binary: str = BINARY
) -> dict[str, Any]:
    """The folder `name`, which is there, holds the record of the exception as the host is now, in every format.

    `expires` is a date: an exception that is renewed by each run would never end. Where none is needed the folder
    stays as it is, and the comment says so.
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": "the record is there"}
    test = __opts__["test"]
    if test and not __salt__["fim_bootstrap.installed"](binary):
        return {**ret, "result": None, "comment": f"{binary} is not there yet; what is excepted is not known"}
    signed = {"expires": expires, "owner": owner, "approver": approver, "ticket": ticket}
    words = [f"--{key}={value}" for key, value in signed.items() if value]
    try:
        record = __salt__["fim_bootstrap.exception"](binary=binary, arguments=words)
        if record.get("failed"):
            return {**ret, "result": False, "comment": record["comment"]}
        if not record["needed"]:
            return {**ret, "comment": "no exception is needed"}
        kept = _kept(f"{name}/exception.json")
        changed = {key: value for key, value in record.items() if key != "made" and kept.get(key) != value}
        if not changed:
            return ret
        if not test:
            __salt__["fim_bootstrap.exception"](binary=binary, arguments=words, output=name)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    changes = {key: {"old": kept.get(key), "new": value} for key, value in changed.items()}
    return {**ret, "result": None if test else True, "changes": changes, "comment": "the record is made anew"}


def _kept(path: str) -> Mapping[str, Any]:
    """The record that is there; one that cannot be read is as none."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _comment(report: Mapping[str, Any]) -> str:
    """The report's line; for what failed the evidence, and what a person can do about it."""
    lines = [report["comment"], *([f"-> {report['remedy']}"] if report.get("remedy") else [])]
    for item in report.get("requirements", ()):
        if item["status"] in TROUBLE:
            lines += [*item["evidence"], *([f"-> {item['remedy']}"] if item["remedy"] else [])]
    return "\n".join(lines)


def _planned(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is wrong, and what would be done about it, for each requirement with work to do."""
    items = [item for item in report.get("requirements", ()) if item["changes"]]
    return {item["id"]: {"old": item["summary"], "new": "\n".join(item["changes"])} for item in items}
