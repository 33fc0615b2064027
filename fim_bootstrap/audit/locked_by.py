"""What beside the rule files may run `auditctl -e 2`: what the system runs, scripts that it calls, and agents."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

from ..host.reader import File, Reader, read_together
from ..redact import shown

RUNS = ("/etc/systemd/system/*.service", "/etc/systemd/system/*.d/*.conf", "/etc/init.d/*", "/etc/rc.local",
        "/etc/rc.d/rc.local", "/etc/cron.d/*", "/etc/crontab", "/etc/cron.hourly/*", "/etc/cron.daily/*")  # fmt: skip
AGENTS = ("/etc/auditbeat/*.yml", "/etc/auditbeat/modules.d/*.yml", "/etc/elastic-agent/*.yml")
# patterns are compiled where they are needed: for a tree, or a kernel that is locked. What loads the files that the
# rules requirement judges is left out, and what audit's own scripts load: augenrules, and the rules of auditd's stop
COMMAND = r"\s-(?:e\s*2|R(?!\s*(?:/etc/audit/(?:audit(?:-stop)?\.rules|rules\.d/)|\$\{DestinationFile\})))(?![\w-])"
IMMUTABLE = r"(?i)^\s*(?:-\s*)?(?:[\w.]*\.)?immutable:\s*[\"']?(?:true|yes|on)\b"
ACTIVE = r"(?m)^(?!\s*#).*$"
PATH = r"(?<![\w./])/[\w./+-]+"
MOST, LARGEST = 300, 65536  # paths that are looked at, bytes of a script


def look(host: Reader) -> tuple[str, ...]:
    """FILE:LINE: TEXT of each line that freezes the rules or loads others."""
    runs, agents = _files(host, RUNS), _files(host, AGENTS)
    called = dict.fromkeys(
        path for file in runs for line in re.findall(ACTIVE, file.text) for path in re.findall(PATH, line)
    )
    small = (path for path in [*called][:MOST] if (found := host.stat(path)) and found.size <= LARGEST)
    scripts = [file for path in small if (file := host.read(path)) and file.text.startswith("#!")]
    files = {file.path: file for file in (*runs, *scripts)}
    return (*_lines(files.values(), _locks), *_lines(agents, functools.partial(re.match, IMMUTABLE)))


def _files(host: Reader, patterns: Iterable[str]) -> list[File]:
    return [*read_together(host, (path for pattern in patterns for path in host.glob(pattern)))]


def _locks(line: str) -> bool:
    command = "" if line.lstrip().startswith("#") else line.partition("auditctl")[2]
    return bool(re.search(COMMAND, command))


def _lines(files: Iterable[File], is_one: Callable[[str], object]) -> list[str]:
    return [f"{file.path}:{number}: {shown(line.strip())}" for file in files
            for number, line in enumerate(file.text.splitlines(), 1) if is_one(line)]  # fmt: skip
