"""User-data for cloud-init that fetches this program, verifies it and makes the new instance ready.

A script of its own in scripts/per-instance, not an item of runcmd: there a failure in the middle is lost
(runcmd becomes one script without -e), and vendor-data's runcmd is replaced by the user's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from string import Template
from typing import Any

from . import __version__
from .errors import Usage
from .resources import program, text_of

SCRIPT = "/var/lib/cloud/scripts/per-instance/50-fim-bootstrap"
OPTION_FILE = "/etc/fim-bootstrap/config.toml"
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


def user_data(url: str, sha256: str, part: str, options: Mapping[str, Any]) -> str:
    """`part` config: a #cloud-config document; script: the shell script alone, for a MIME part of its own.

    `options` are written to the instance's option file. Raises Usage where something is missing or unfit.
    """
    if not re.fullmatch(r"(https?|file)://[^\s']+", url):
        raise Usage(f"--url {url or '(nothing)'}: must be an http(s):// or file:// URL of the binary", "give --url URL")
    sha256 = sha256 or (hashlib.sha256(content).hexdigest() if (content := program()) else "")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise Usage(f"--sha256 {sha256 or '(nothing)'}: must be the 64 hex digits of the binary", "sha256sum FILE")
    script = Template(text_of("cloud-init/apply.sh")).substitute(url=url, sha256=sha256.lower())
    table = "".join(f"{name} = {_toml(value)}\n" for name, value in options.items())
    if part == "script":
        if options:
            raise Usage("--part script carries no options", f"write them to {OPTION_FILE}, or take --part config")
        return script
    more = Template(OPTIONS).substitute(path=OPTION_FILE, content=_indented(table)) if table else ""
    return Template(CLOUD_CONFIG).substitute(
        version=__version__, script=SCRIPT, content=_indented(script), options=more
    )


def _indented(text: str) -> str:
    return "".join(f"      {line}".rstrip() + "\n" for line in text.splitlines())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'
