"""What beside the rule files may freeze the audit rules: what the system runs, and agents that do it themselves."""

from __future__ import annotations

import re

from .host import Reader

RUNS = ("/etc/systemd/system/*.service", "/etc/systemd/system/*.d/*.conf", "/etc/init.d/*", "/etc/rc.local",
        "/etc/rc.d/rc.local", "/etc/cron.d/*")  # fmt: skip
AGENTS = ("/etc/auditbeat/*.yml", "/etc/auditbeat/modules.d/*.yml", "/etc/elastic-agent/*.yml")
COMMAND = re.compile(r"^(?!\s*#).*\bauditctl\s.*-(?:e\s*2|R\b)")
IMMUTABLE = re.compile(r"^\s*(?:-\s*)?(?:[\w.]*\.)?immutable:\s*[\"']?(?:true|yes|on)\b", re.IGNORECASE)


def look(host: Reader) -> tuple[str, ...]:
    """FILE:LINE: TEXT of each line that freezes the rules or loads others."""
    found = []
    for patterns, sign in ((RUNS, COMMAND), (AGENTS, IMMUTABLE)):
        for path in (path for pattern in patterns for path in host.glob(pattern)):
            lines = file.text.splitlines() if (file := host.read(path)) else []
            found += [f"{path}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if sign.match(line)]
    return tuple(found)
