"""The state of a host that is ready for file integrity monitoring through auditd."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Union

from salt.exceptions import CommandExecutionError

BINARY = "/usr/local/sbin/fim-bootstrap"
OPTION_FILE = "/etc/fim-bootstrap/config.toml"
TROUBLE = ("failed", "blocked")

# put here by Salt's loader
__salt__: dict[str, Any]
__states__: dict[str, Any]
__opts__: dict[str, Any]
__env__: str


def __virtual__() -> Union[bool, tuple[bool, str]]:  # noqa: N807 - Salt's name for it
    return "fim_bootstrap.apply" in __salt__ or (False, "fim-bootstrap is a program for Linux")


def installed(name: str, source: Union[str, Sequence[str]], sha256: str) -> dict[str, Any]:
    """The file `name` is the binary that `sha256` names, owned by root and executable.

    `source` is a URL or a list of them; none is asked where the file is there already. With test=True the binary
    goes into the minion's cache alone.
    """
    ret: dict[str, Any] = {"name": name, "result": False, "changes": {}}
    if not sha256:
        return {**ret, "comment": "give the pillar fim_bootstrap:sha256, the checksum of the binary"}
    content: dict[str, Any] = {"replace": False}
    if not __salt__["fim_bootstrap.pinned"](sha256, name):
        try:
            content = {"source": __salt__["fim_bootstrap.staged"](source, sha256, __env__)}
        except CommandExecutionError as error:
            return {**ret, "comment": str(error)}
    done: dict[str, Any] = __states__["file.managed"](
        name, user="root", group="root", mode="0755", makedirs=True, show_changes=False, **content
    )
    return done


def configured(name: str, lines: Sequence[str]) -> dict[str, Any]:
    """The option file `name` holds these lines, the first of which marks it as Salt's; with no other line it is gone.

    A file without that mark is somebody else's: it stays, and is named, where there are no options to write.
    """
    if len(lines) > 1:
        written: dict[str, Any] = __states__["file.managed"](
            name, contents=[*lines], user="root", group="root", mode="0600", makedirs=True
        )
        return written
    now = _lines(name)
    if now[:1] == [*lines]:
        removed: dict[str, Any] = __states__["file.absent"](name)
        return removed
    said = f"{name} was not written by this state: it stays, and what it says counts" if now else "there are no options"
    return {"name": name, "result": True, "changes": {}, "comment": said}


def ready(
    name: str,
    binary: str = BINARY,
    arguments: Sequence[str] = (),
    source: Union[str, Sequence[str]] = (),
    sha256: str = "",
    option_lines: Sequence[str] = (),
) -> dict[str, Any]:
    """The host is ready, or is after the reboot that the comment asks for.

    `arguments` are words for ``fim-bootstrap apply``. Nothing is rebooted: see the runner fim_bootstrap.reboot.
    With test=True the answer is that of the binary and of the options that a real run would find, wherever they are
    now: `source` and `sha256` are those of `installed`, and `option_lines` those of `configured`.
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    test = __opts__["test"]
    words = [*arguments]
    try:
        if test:
            binary = _binary_to_be(binary, source, sha256)
            words = [*_options_to_be(option_lines), *arguments, "--dry-run"]
        if test and not __salt__["fim_bootstrap.installed"](binary):
            return {**ret, "result": None, "comment": f"{binary} is not there yet; what would change is not known"}
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


def reverted(name: str, binary: str = BINARY) -> dict[str, Any]:
    """What `ready` did is taken back, as far as nobody edited it since; without the binary nothing is to be done."""
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}}
    if not __salt__["fim_bootstrap.installed"](binary):
        return {**ret, "comment": f"{binary} is not there"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "what was done would be taken back"}
    try:
        report = __salt__["fim_bootstrap.revert"](binary=binary)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    if report["changed"]:
        ret["changes"] = {"reverted": report["comment"]}
    comment = "\n".join((report["comment"], *(f"-> {remedy}" for remedy in report.get("remedies", ()))))
    return {**ret, "result": not report["failed"], "comment": comment}


def excepted(
    name: str,
    expires: str,
    owner: str = "",
    approver: str = "",
    ticket: str = "",
    binary: str = BINARY,
    source: Union[str, Sequence[str]] = (),
    sha256: str = "",
) -> dict[str, Any]:
    """The folder `name`, which is there, holds the record of the exception as the host is now, in every format.

    `expires` is a date: an exception that is renewed by each run would never end. Where none is needed the folder
    stays as it is, and the comment says so. `source` and `sha256` are those of `installed`, for test=True.
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": "the record is there"}
    test = __opts__["test"]
    signed = {"expires": expires, "owner": owner, "approver": approver, "ticket": ticket}
    words = [f"--{key}={value}" for key, value in signed.items() if value]
    try:
        if test:
            binary = _binary_to_be(binary, source, sha256)
        if test and not __salt__["fim_bootstrap.installed"](binary):
            return {**ret, "result": None, "comment": f"{binary} is not there yet; what is excepted is not known"}
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


def _binary_to_be(binary: str, source: Union[str, Sequence[str]], sha256: str) -> str:
    """The binary that a real run would use: the one in place, or the pinned one in the minion's cache."""
    if not sha256 or __salt__["fim_bootstrap.pinned"](sha256, binary):
        return binary
    return str(__salt__["fim_bootstrap.staged"](source, sha256, __env__))


def _options_to_be(lines: Sequence[str]) -> list[str]:
    """The words by which a dry run goes by the option file as it is to be; it is written into the minion's cache."""
    mark, options = [*lines[:1]], lines[1:]
    if not (options or (mark and _lines(OPTION_FILE)[:1] == mark)):
        return []  # there is none, or it is another's and stays
    path = os.path.join(__opts__["cachedir"], "fim_bootstrap.toml")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in options)
    return ["--config", path]


def _lines(path: str) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _comment(report: Mapping[str, Any]) -> str:
    """The verdict and the next step in one line, for those who work with Salt; below it what failed in full."""
    troubles = [item for item in report.get("requirements", ()) if item["status"] in TROUBLE]
    remedies = [item["remedy"] for item in troubles if item["remedy"]]
    step = remedies[0] if remedies else _run_or_reboot(report)
    said = report["comment"].partition("; -> ")[0]  # behind that stands what to type on the host itself
    lines = [f"{said} -> {step.splitlines()[0]}" if step else report["comment"]]
    for item in troubles:
        lines += item["evidence"]
        if item["remedy"] not in ("", step) or "\n" in item["remedy"]:
            lines.append(f"-> {item['remedy']}")
    return "\n".join(lines)


def _run_or_reboot(report: Mapping[str, Any]) -> str:
    """What to do where nothing stands in the way: have it done for real, or reboot."""
    if report.get("reboot_required"):
        masterless = __opts__["file_client"] == "local"
        return "reboot this host" if masterless else f"salt-run fim_bootstrap.reboot tgt={__opts__['id']}"
    afterwards = ", and plan a reboot after it" if report.get("reboot_after_apply") else ""
    return f"run it without test=True{afterwards}" if __opts__["test"] and report["changed"] else ""


def _planned(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is wrong, and what would be done about it, for each requirement with work to do.

    `expected`, apart from it, is what will follow once the packages are there.
    """
    items = [item for item in report.get("requirements", ()) if item["changes"]]
    planned: dict[str, Any] = {
        item["id"]: {"old": item["summary"], "new": "\n".join(item["changes"])} for item in items
    }
    if expected := {item["id"]: "\n".join(item["changes"]) for item in report.get("expected", ())}:
        planned["expected"] = expected
    return planned
