"""What beside the rule files may freeze the audit rules: what the system runs, scripts that it calls, and agents."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..host.reader import File, Reader

RUNS = ("/etc/systemd/system/*.service", "/etc/systemd/system/*.d/*.conf", "/etc/init.d/*", "/etc/rc.local",
        "/etc/rc.d/rc.local", "/etc/cron.d/*", "/etc/crontab", "/etc/cron.hourly/*", "/etc/cron.daily/*")  # fmt: skip
AGENTS = ("/etc/auditbeat/*.yml", "/etc/auditbeat/modules.d/*.yml", "/etc/elastic-agent/*.yml")
# patterns are compiled where they are needed: for a kernel that is locked
COMMAND = r"^(?!\s*#).*\bauditctl\s.*-(?:e\s*2|R\b)"
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
    return (*_lines(files.values(), COMMAND), *_lines(agents, IMMUTABLE))


def _files(host: Reader, patterns: Iterable[str]) -> list[File]:
    return [file for pattern in patterns for path in host.glob(pattern) if (file := host.read(path))]


def _lines(files: Iterable[File], sign: str) -> list[str]:
    return [f"{file.path}:{number}: {line.strip()}" for file in files
            for number, line in enumerate(file.text.splitlines(), 1) if re.match(sign, line)]  # fmt: skip
