"""Put fim-bootstrap on a host and run it there, with nothing but the connection and the host's own sh.

No module is sent, so that the host needs no Python. What a script prints is read as if it came over a terminal:
with `become` that is what it may do, and then its two streams are one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

ARGUMENTS = {
    "state": {"choices": ["ready", "checked", "installed", "excepted"], "default": "ready"},
    "binary": {"default": "/usr/local/sbin/fim-bootstrap"},
    "source": {},
    "url": {},
    "sha256": {},
    "options": {"type": "dict"},
    "config": {},
    "arguments": {"type": "list", "elements": "str", "default": []},
}
EXCLUSIVE = [["source", "url"]]
COMMANDS = {"ready": "apply", "checked": "check", "excepted": "exception"}
CACHE = "/var/cache/fim-bootstrap"  # holds what check mode runs; a run that changes the host takes it away
STAGED = f"{CACHE}/fim-bootstrap"
STAGED_OPTIONS = f"{CACHE}/config.toml"
OPTION_FILE = "/etc/fim-bootstrap/config.toml"
OURS = "# Managed by Ansible (fim_bootstrap)"  # by this a later release knows the file, too
MARKER = f"{OURS}: set fim_bootstrap_options; what is edited here is lost\n"
NOT_A_FILE, NOT_FOUND = "none", 127
NEEDS_ROOT = 77
BEGIN = "fim-bootstrap sees:"  # a terminal may have put something before it

LOOK = f"""\
echo '{BEGIN}'
uname -m
for file in "$1" {STAGED}; do
    if [ -f "$file" ]; then sha256sum <"$file" | cut -c 1-64; else echo {NOT_A_FILE}; fi
done
[ ! -e {OPTION_FILE} ] || cat {OPTION_FILE}
"""
# words: the checksum, where the file comes from, and where it is to be installed, or '' for the cache alone
FETCH = f"""\
set -eu
umask 022
new={CACHE}/new placed=
trap 'rm -f "$new" "$placed"' EXIT
sum() {{ sha256sum <"$1" | cut -c 1-64; }}
mkdir -p {CACHE}
if ! [ -f {STAGED} ] || [ "$(sum {STAGED})" != "$1" ]; then
    case $2 in
    http://* | https://*)
        if command -v curl >/dev/null; then
            curl -fsSL --retry 2 --connect-timeout 30 --speed-limit 1000 --speed-time 30 -o "$new" "$2"
        elif command -v wget >/dev/null; then
            wget -O "$new" "$2"
        else
            echo 'neither curl nor wget is here; give source instead of url, and the file is sent to the host' >&2
            exit 1
        fi ;;
    *) cp "${{2#file://}}" "$new" ;;
    esac
    actual=$(sum "$new")
    if [ "$actual" != "$1" ]; then
        echo "wrong checksum: $2 is $actual, not $1" >&2
        exit 1
    fi
    chmod 755 "$new"
    mv -f "$new" {STAGED}
fi
[ -n "$3" ] || exit 0
folder=$(dirname "$3")
mkdir -p "$folder"
placed=$(mktemp "$folder/.fim-bootstrap.XXXXXXXX")
cp {STAGED} "$placed"
chmod 755 "$placed"
mv -f "$placed" "$3"
if command -v restorecon >/dev/null; then restorecon "$3" || true; fi
"""
# words: a file, and its text
WRITE = """\
set -eu
umask 022
mkdir -p "$(dirname "$1")"
new=$(mktemp "$1.XXXXXXXX")
trap 'rm -f "$new"' EXIT
printf %s "$2" >"$new"
mv -f "$new" "$1"
if command -v restorecon >/dev/null; then restorecon "$1" || true; fi
"""
# what is said on the way is not said to a terminal, which might leave it on the line where the report begins; it
# comes after that. And 255, with which the one file ends that cannot unpack itself, would be taken for ssh's own
RUN = """\
exec 3>&1
said=$("$@" 2>&1 >&3 3>&-)
status=$?
[ -z "$said" ] || printf '%s\\n' "$said" >&2
[ $status != 255 ] || status=254
exit $status
"""


class Seen(NamedTuple):
    """What was found on a host: its architecture, two files' checksums (or `none`), and the option file's text."""

    machine: str
    installed: str
    staged: str
    options: str


class ActionModule(ActionBase):  # type: ignore[misc]  # how Ansible finds an action
    """The action fim_bootstrap; its words are documented in the module of that name."""

    def run(self, tmp: None = None, task_vars: Any = None) -> dict[str, Any]:
        """The task's result; what cannot be done is a failed task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        judged = ArgumentSpecValidator(ARGUMENTS, mutually_exclusive=EXCLUSIVE).validate(self._task.args)
        if judged.error_messages:
            raise AnsibleActionFail("; ".join(judged.error_messages))
        given = judged.validated_parameters
        if given["state"] == "installed":
            return {**result, **self._installed(given)}
        return {**result, **self._ran(given)}

    def _installed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The binary and the option file are there; in check mode what differs is put into the cache instead."""
        if not given["sha256"] or not (given["source"] or given["url"]):
            raise AnsibleActionFail("give sha256 (the line of the release's SHA256SUMS), and source or url")
        seen = self._seen(given["binary"])
        binary, installed = self._with_binary(given, seen)
        config, optioned, diff = self._with_options(given["options"], seen.options)
        done, left = [*installed, *optioned], _left(given["options"], seen.options)
        if done and not self._task.check_mode:
            self._must(f"rm -rf {CACHE}")
        return {
            "changed": bool(done),
            "msg": "; ".join([*done, *left]) or f"{binary} and its options are as they should be",
            "binary": binary,
            "config": config,
            "diff": diff,
            "warnings": left,
        }

    def _seen(self, binary: str) -> Seen:
        said = self._must(LOOK, binary).partition(f"{BEGIN}\n")[2]
        return Seen(*said.split("\n", 3))

    def _with_binary(self, given: Mapping[str, Any], seen: Seen) -> tuple[str, list[str]]:
        """The binary that may be run, and what was done for it."""
        binary, wanted = given["binary"], _pinned(given["sha256"], seen.machine)
        if seen.installed == wanted:
            return binary, []
        origin = STAGED if seen.staged == wanted else self._origin(given, wanted, seen.machine)
        self._must(FETCH, wanted, origin, "" if self._task.check_mode else binary)
        if self._task.check_mode:
            return STAGED, [f"would install {binary}"]
        return binary, [f"installed {binary}"]

    def _origin(self, given: Mapping[str, Any], wanted: str, machine: str) -> str:
        """Where the host has the binary from: an address, or the path to which it was sent."""
        name = f"fim-bootstrap-linux-{machine}"
        if given["url"]:
            return f"{given['url']}{name}" if given["url"].endswith("/") else str(given["url"])
        source = self._find_needle("files", given["source"])
        if os.path.isdir(source):
            source = os.path.join(source, name)
        actual = _sha256(source)
        if actual != wanted:
            raise AnsibleActionFail(f"wrong checksum: {source} is {actual}, not {wanted}")
        shell = self._connection._shell  # noqa: SLF001 - Ansible has no other name for it
        return str(self._transfer_file(source, shell.join_path(shell.tmpdir or self._make_tmp_path(), name)))

    def _with_options(self, options: Mapping[str, Any] | None, there: str) -> tuple[str, list[str], list[Any]]:
        """The option file to be named to the tool ('' for its own), what was done, and the difference."""
        wanted = _option_text(options, there)
        if wanted == there:
            return "", [], []
        diff = {"before": there, "after": wanted, "before_header": OPTION_FILE, "after_header": OPTION_FILE}
        if self._task.check_mode:
            self._must(WRITE, STAGED_OPTIONS, wanted)
            return STAGED_OPTIONS, [f"would {'write' if wanted else 'remove'} {OPTION_FILE}"], [diff]
        if wanted:
            self._must(WRITE, OPTION_FILE, wanted)
            return "", [f"wrote {OPTION_FILE}"], [diff]
        self._must(f"rm {OPTION_FILE}")
        return "", [f"removed {OPTION_FILE}"], [diff]

    def _ran(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the tool reported; in check mode of what it would do."""
        state, binary, dry = given["state"], given["binary"], self._task.check_mode
        words = [COMMANDS[state], *(["--dry-run"] if dry and state == "ready" else [])]
        words += ["--config", given["config"]] if given["config"] else []
        status, out, err = self._sh(RUN, binary, *words, *given["arguments"], "--format", "json")
        report = _object(out)
        if not report:
            if dry and status == NOT_FOUND:
                return _unknown(binary, state)
            argv = shlex.join([binary, *words, *given["arguments"]])
            raise AnsibleActionFail(f"{argv}: exit status {status} and no report: {(err or out).strip()}")
        if state == "excepted" and "verdict" not in report:
            return {"changed": False, "record": report, "msg": "needed" if report["needed"] else "not needed"}
        return {**report, **_judged(report, state, dry, status), "rc": status}

    def _must(self, script: str, *words: str) -> str:
        """What a script printed that has to succeed."""
        status, out, err = self._sh(script, *words)
        if status:
            raise AnsibleActionFail((err or out).strip() or f"exit status {status} on the host")
        return out

    def _sh(self, script: str, *words: str) -> tuple[int, str, str]:
        """Run a script with the host's sh; the exit status and the two streams."""
        line = " ".join(shlex.quote(word) for word in ("sh", "-c", script, "sh", *words))
        ended = self._low_level_execute_command(f"{self._compute_environment_string()} {line}".strip())
        return ended["rc"], ended["stdout"].replace("\r\n", "\n"), ended["stderr"].replace("\r\n", "\n")


def _pinned(sha256: str, machine: str) -> str:
    """The checksum for an architecture: the only one that was given, or that of its line in a SHA256SUMS."""
    if re.fullmatch("[0-9a-fA-F]{64}", sha256.strip()):
        return sha256.strip().lower()
    name = f"fim-bootstrap-linux-{machine}"
    lines = [line.split() for line in sha256.splitlines()]
    sums = [words[0].lower() for words in lines if len(words) == 2 and words[1].lstrip("*") == name]
    if not sums or not re.fullmatch("[0-9a-f]{64}", sums[0]):
        raise AnsibleActionFail(f"sha256 has no checksum for {name}: give that file's, or a SHA256SUMS that names it")
    return sums[0]


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _option_text(options: Mapping[str, Any] | None, there: str) -> str:
    """What the option file should say: '' for no file. What others wrote stays where nothing is to be said."""
    if options:
        # a JSON value of one of the options' types (text, number, flag, list) is a TOML value, too
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in sorted(options.items())]
        return "".join([MARKER, *lines])
    return "" if options is not None and there.startswith(OURS) else there


def _left(options: Mapping[str, Any] | None, there: str) -> list[str]:
    """A sentence about an option file that others wrote and that stays in force."""
    says = [line.strip() for line in there.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if options or options is None or not says or there.startswith(OURS):
        return []
    return [f"left {OPTION_FILE}, which was not written by this role, in force: {', '.join(says)}"]


def _object(text: str) -> dict[str, Any]:
    """The first JSON object that begins a line, or nothing."""
    for begin in re.finditer("^{", text, re.MULTILINE):
        try:
            return dict(json.JSONDecoder().raw_decode(text[begin.start() :])[0])
        except ValueError:
            continue
    return {}


def _unknown(binary: str, state: str) -> dict[str, Any]:
    """The result of check mode where there is nothing to ask."""
    said = f"{binary} is not there yet, so what would change is not known; state installed stages it in check mode"
    return {"changed": state == "ready", "msg": said, "verdict": "unknown", "reboot_required": False, "done": [],
            "requirements": []}  # fmt: skip


def _judged(report: Mapping[str, Any], state: str, dry: bool, status: int) -> dict[str, Any]:
    """What Ansible goes by: changed, failed, the line for a person, and the diff."""
    ready = report["verdict"] == "ready"
    following = _next(report, state, dry, status)
    said = report["msg"].partition("; -> ")[0]  # a newer tool ends it with the words to type on the host itself
    return {
        "changed": report["changed"] and state == "ready",
        "failed": report["failed"] or (state == "checked" and not ready),
        "msg": said if not following or following in said else f"{said} -> {following}",
        "diff": {"prepared": _steps(report, dry) + report.get("diff", "")},
    }


def _steps(report: Mapping[str, Any], dry: bool) -> str:
    """A line for each step that was taken, or would be: a difference in files does not show packages and restarts."""
    planned = [change for item in report["requirements"] for change in item["changes"]]
    later = [f"expected after that: {change}" for item in report.get("expected", ()) for change in item["changes"]]
    return "".join(f"{step}\n" for step in ([*planned, *later] if dry else report.get("done", ())))


def _next(report: Mapping[str, Any], state: str, dry: bool, status: int) -> str:
    """What to do now, in Ansible's words where Ansible does it; '' where nothing is to be done."""
    if status == NEEDS_ROOT:
        return "become: true"
    if report["failed"]:
        remedies = [item["remedy"] for item in report["requirements"] if item["status"] in ("failed", "blocked")]
        return next((remedy for remedy in (report.get("remedy"), *remedies, *report.get("next", ())) if remedy), "")
    if report["reboot_required"]:
        return "reboot it, then look again with state: checked"
    if report["verdict"] == "not-ready" and (dry or state == "checked"):
        do = "run it without --check" if dry else "run it with state: ready"
        return f"{do}; a reboot has to follow" if report.get("reboot_after_apply") else do
    return "" if report["verdict"] == "ready" else next(iter(report.get("next", ())), "")
