"""Many rounds of apply and check in one process; runs in a root or a guest, beside bootstrap.py.

Prints one JSON object: memory (bytes), descriptors and threads after half of the rounds and after all of them,
and how often a file changed after the first round.
"""

import contextlib
import hashlib
import io
import json
import os
import sys
from pathlib import Path

from fim_bootstrap import cli

KEPT = ("/etc/audit", "/etc/selinux", "/var/lib/selinux", "/var/lib/fim-bootstrap")


def used() -> dict[str, int]:
    """What this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"memory": pages * os.sysconf("SC_PAGE_SIZE"), "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": len(os.listdir("/proc/self/task"))}  # fmt: skip


def state(root: str) -> str:
    """A digest of every file that the tool may have to do with; the lock names the process that has it."""
    seen = hashlib.sha256()
    for folder in KEPT:
        for path in sorted(Path(root + folder).rglob("*")):
            if path.is_file() and path.name != "lock":
                info = path.stat()
                seen.update(f"{path} {info.st_mode} {info.st_uid} {info.st_mtime_ns}".encode() + path.read_bytes())
    return seen.hexdigest()


def main() -> None:
    """N rounds with the options that follow."""
    count, words = int(sys.argv[1]), sys.argv[2:]
    root = words[words.index("--root") + 1] if "--root" in words else ""
    early, before, changed, statuses = {}, "", 0, set()
    for number in range(count):
        for command in ("apply", "check"):
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
                status = cli.main([command, *words, "--format", "json"])
            statuses.add((command, status, json.loads(out.getvalue())["verdict"]))
        now = state(root)
        changed += number > 0 and now != before
        before = now
        if number == count // 2:
            early = used()
    logs = sum(path.stat().st_size for path in Path(f"{root}/var/log").glob("fim-bootstrap.log*"))
    print(json.dumps({"rounds": count, "statuses": sorted(statuses), "early": early, "late": used(), "log": logs,
                      "changed": changed}))  # fmt: skip


main()
