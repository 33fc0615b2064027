"""The state of a host that is ready for file integrity monitoring through auditd."""

from __future__ import annotations

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
