"""User-data for cloud-init that fetches this program, verifies it and makes the new instance ready.

A script of its own in scripts/per-instance, not an item of runcmd: there a failure in the middle is lost
(runcmd becomes one script without -e), and vendor-data's runcmd is replaced by the user's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from string import Template
from typing import Any

from . import __version__
from .errors import Usage
from .resources import program, text_of

SCRIPT = "/var/lib/cloud/scripts/per-instance/50-fim-bootstrap"
OPTION_FILE = "/etc/fim-bootstrap/config.toml"
BINARY = "fim-bootstrap-linux-"  # and the machine
LIMIT = 1 << 20  # characters of a SHA256SUMS
CLOUD_CONFIG = """\
#cloud-config
# made by fim-bootstrap $version cloud-config
write_files:
  - path: $script
    permissions: '0755'
    content: |
$content${options}\
power_state:
  mode: reboot
  delay: now
  timeout: 60
  message: audit rules take effect at this boot
  condition: [/usr/local/sbin/fim-bootstrap, reboot-required]
"""
OPTIONS = """\
  - path: $path
    permissions: '0600'
    content: |
$content"""


MACHINES = ("x86_64", "aarch64")  # as uname -m names them; so a release names its binaries
CHOICE = """\
case $$(uname -m) in
$cases*) fail 69 "there is no binary for $$(uname -m)" ;;
esac"""


def user_data(url: str, sha256: str, part: str, options: Mapping[str, Any]) -> str:
    """`part` config: a #cloud-config document; script: the shell script alone, for a MIME part of its own.

    `url` is that of the binary, and `sha256` its checksum; or `url` is the folder of a release, and `sha256` the path
    of its SHA256SUMS: then each machine takes its own binary. `options` are written to the instance's option file.
    Raises Usage where something is missing or unfit.
    """
    if not re.fullmatch(r"(https?|file)://[^\s']+", url):
        raise Usage(f"--url {url or '(nothing)'}: must be an http(s):// or file:// URL of the binary", "give --url URL")
    sums = _release(sha256) if os.path.isfile(sha256) else {}
    choice = _by_machine(url.rstrip("/"), sums) if sums else _one(url, sha256)
    script = Template(text_of("cloud-init/apply.sh")).substitute(binary=choice)
    table = "".join(f"{name} = {_toml(value)}\n" for name, value in options.items())
    if part == "script":
        if options:
            raise Usage("--part script carries no options", f"write them to {OPTION_FILE}, or take --part config")
        return script
    more = Template(OPTIONS).substitute(path=OPTION_FILE, content=_indented(table)) if table else ""
    return Template(CLOUD_CONFIG).substitute(
        version=__version__, script=SCRIPT, content=_indented(script), options=more
    )


def _one(url: str, sha256: str) -> str:
    """The shell's words for one binary: that of this checksum, or the one that is running."""
    sha256 = sha256 or (hashlib.sha256(content).hexdigest() if (content := program()) else "")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        why = "must be the 64 hex digits of the binary, or the SHA256SUMS of a release"
        raise Usage(f"--sha256 {sha256 or '(nothing)'}: {why}", "sha256sum FILE")
    return f"url='{url}'\nsha256='{sha256.lower()}'"


def _by_machine(folder: str, sums: Mapping[str, str]) -> str:
    """The shell's words for the binaries of a release."""
    one = "{machine})\n    url='{folder}/{name}{machine}'\n    sha256='{digest}'\n    ;;\n"
    cases = (one.format(machine=m, folder=folder, name=BINARY, digest=digest) for m, digest in sums.items())
    return Template(CHOICE).substitute(cases="".join(cases))


def _release(path: str) -> Mapping[str, str]:
    """The checksums of a release's binaries, by machine, from its SHA256SUMS."""
    try:
        with open(path, encoding="ascii") as file:
            found = dict(re.findall(rf"(?m)^([0-9a-f]{{64}}) [ *]{BINARY}(\w+)$", file.read(LIMIT)))
    except (OSError, ValueError) as error:
        raise Usage(f"--sha256 {path}: cannot be read: {error}", "name the SHA256SUMS of a release") from error
    sums = {machine: digest for digest, machine in found.items() if machine in MACHINES}
    if not sums:
        raise Usage(f"--sha256 {path}: names no {BINARY}{' or '.join(MACHINES)}", "name the SHA256SUMS of a release")
    return sums


def _indented(text: str) -> str:
    return "".join(f"      {line}".rstrip() + "\n" for line in text.splitlines())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'
