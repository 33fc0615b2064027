"""A fleet to believe in: reports as `check` and `apply` write them, and how long it takes to read a hundred thousand.

python -m bench.fleet write FOLDER HOSTS [SEED]   one file for each host, a tenth of them in the form of old releases
python -m bench.fleet lines HOSTS [SEED]          the same on stdout, a report a line
python -m bench.fleet [HOSTS ...]                 time and memory for so many hosts (1000 10000 100000)

The goals, on two shared cores: 100,000 reports in 60 s and 300 MB, and ten times the hosts in ten times the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fim_bootstrap.fleet.table import moment
from tests.conftest import PROJECT

CHANGED = 0.08  # of the hosts are looked at anew between two seeds
OLD = 0.1  # of the hosts still have a release that tells less
RELEASES = (  # id, version, name, audit, share
    ("rocky", "9.4", "Rocky Linux 9.4 (Blue Onyx)", "3.1.2", 30), ("rocky", "8.10", "Rocky Linux 8.10", "3.1.2", 18),
    ("ubuntu", "22.04", "Ubuntu 22.04.5 LTS", "3.0.7", 20), ("debian", "12", "Debian GNU/Linux 12", "3.0.9", 12),
    ("rhel", "9.5", "Red Hat Enterprise Linux 9.5 (Plow)", "3.1.5", 8), ("centos", "7", "CentOS Linux 7", "2.8.5", 7),
    ("sles", "15.6", "SUSE Linux Enterprise Server 15 SP6", "3.0.6", 5),
)  # fmt: skip
AGENTS = ("6.1.2.2", "6.4.0.9", "7.0.1.14", "7.4.1.3")
ROLES = ("web", "app", "db", "cache", "mq", "lb", "batch", "ci")
FROZEN = "/etc/audit/rules.d/99-finalize.rules"
KINDS = (  # what became of a host, share
    ("ready", 780), ("frozen", 45), ("rebooting", 55), ("policy", 22), ("packages", 14), ("never", 18), ("direct", 9),
    ("refused", 11), ("gave-up", 12), ("skipped", 14), ("outside", 6), ("starting", 8), ("error", 4), ("old", 2),
)  # fmt: skip
HOPS = ("kernel", "auditd", "dispatcher", "edr-plugin", "qualys-edr", "edr.log")
TITLES = {
    "packages": "every command that is needed is there", "dispatcher": "auditd hands events to the dispatcher",
    "rules": "audit rules are mutable and let events through", "policy": "SELinux lets the dispatcher's plugin work",
    "guard": "drift is seen", "auditd": "auditd is running and restartable", "agent": "the FIM agent works",
    "delivery": "an event arrives",
}  # fmt: skip


def fleet(hosts: int, seed: int = 1, now: float = 0.0) -> Iterator[dict[str, Any]]:
    """The reports, collected at `now`; the same for the same seed, and with another most hosts are as they were."""
    for number in range(hosts):
        yield _report(number, seed, now or time.time())


def _report(number: int, seed: int, now: float) -> dict[str, Any]:
    chance, later = random.Random(number), random.Random(f"{seed} {number}")
    system, version, name, audit, _ = chance.choices(RELEASES, [row[-1] for row in RELEASES])[0]
    role, site = chance.choice(ROLES), chance.choice(("fra", "iad"))
    hostname = f"{role}{number // 8 + 1}-{'abcdefgh'[number % 8]}.{site}.example.org"
    kind, changed = (roll.choices([kind for kind, _ in KINDS], [n for _, n in KINDS])[0] for roll in (chance, later))
    kind = changed if later.random() < CHANGED else kind
    seen = now - chance.uniform(60, 1700) - (chance.randrange(8, 40) * 86400 if kind == "old" else 0)
    if kind == "error":
        return _error(hostname, seen)
    findings, more = _found(chance, kind, hostname, system)
    requirements = [_requirement(identity, *findings.get(identity, _fine(chance, identity))) for identity in TITLES]
    verdict = _verdict({item["status"] for item in requirements})
    open_ones = [item for item in requirements if item["status"] in ("failed", "blocked", "change", "waiting")]
    line = "; ".join([verdict.replace("-", " "), *(f"{item['id']}: {item['summary']}" for item in open_ones)])
    host = {
        "hostname": hostname, "os": {"id": system, "version": version, "name": name}, "profile": f"{system}-{version}",
        "root": "/", "environment": "booted", "mode": "dispatcher",
    }  # fmt: skip
    report = {
        "schema_version": 1, "tool": {"name": "fim-bootstrap", "version": "0.1.0"}, "command": "check",
        "changed": verdict == "not-ready", "failed": verdict in ("failed", "blocked"), "comment": line, "msg": line,
        "verdict": verdict, "reboot_required": any(item["status"] == "reboot" for item in requirements),
        "host": host, "requirements": requirements, "done": [],
        "diff": "".join(item["diff"] for item in requirements), "unseen": [],
        "seconds": round(chance.uniform(0.04, 0.4), 2),
    }  # fmt: skip
    if chance.random() < OLD:
        return report
    versions = {"agent": chance.choices(AGENTS, (10, 20, 50, 20))[0], "audit": audit, "kernel": "5.14.0"}
    return {
        **report, "tool": {"name": "fim-bootstrap", "version": "0.2.0"}, "versions": {**versions, "tool": "0.2.0"},
        "host": {**host, "machine": hashlib.sha256(hostname.encode()).hexdigest()}, "time": moment(seen),
        "boot": hashlib.sha256(f"{hostname} {seed}".encode()).hexdigest()[:32], "agent": "running",
        "skipped_by_option": [], "reboot_after_apply": False, "reboot_advised": False, "incomplete": [], "causes": [],
        "chain": _chain(), **more,
    }  # fmt: skip


def _found(
    chance: random.Random, kind: str, hostname: str, system: str
) -> tuple[dict[str, tuple[Any, ...]], dict[str, Any]]:
    """The requirements that are not right on such a host, and what else its report says."""
    variable = {"rocky": "rhel9cis", "rhel": "rhel9cis", "ubuntu": "ubtu22cis"}.get(system)
    role = f"traces of a hardening role: set {variable}_rule_6_3_3_20: false"
    source = role if variable else "traces of SSG's remediation"
    files = [{"id": "rules", "file": FROZEN, "line": 3, "text": "-e 2", "source": source}]
    lines, thaw = "lines that freeze or silence the audit rules", "waits for rules: the kernel is frozen"
    right = "right on disk; the kernel's rules stay frozen until the next boot"
    direct = "/etc/qualys/cloud-agent/qualys-cloud-agent.conf:7: UseAuditDispatcher=0"
    pid, hour, minute = chance.randrange(600, 30000), chance.randrange(24), chance.randrange(60)
    never = ["/etc/audit/rules.d/audit.rules:9: -a task,never", "kernel: -a never,task"]
    generated = f"{FROZEN} looks generated: change it at its source too, or it comes back"
    starting = [{"hop": hop, "state": "ok" if hop in HOPS[:3] else "?", "evidence": ""} for hop in HOPS]
    kinds: dict[str, tuple[dict[str, tuple[Any, ...]], dict[str, Any]]] = {
        "frozen": (
            {"rules": ("change", lines, [f"{FROZEN}:3: -e 2", "/etc/audit/audit.rules:41: -e 2"], "", [generated]),
             "agent": ("waiting", thaw)},
            {"reboot_after_apply": True, "causes": files, "chain": _chain("kernel"), "agent": "gave-up"},
        ),
        "rebooting": (
            {"rules": ("reboot", right, ["kernel: enabled 2", f"{FROZEN}:3: -e 2"]), "agent": ("waiting", thaw)},
            {"causes": files, "chain": _chain("kernel"), "agent": "gave-up"},
        ),
        "outside": (
            {"rules": ("reboot", right, ["kernel: enabled 2"], "find what runs auditctl -e 2"),
             "agent": ("waiting", thaw)},
            {"chain": _chain("kernel"), "agent": "gave-up"},
        ),
        "never": ({"rules": ("change", lines, never)}, {"chain": _chain("kernel")}),
        "policy": ({"policy": ("change", "the module is not in the policy store")}, {"chain": _chain("edr-plugin")}),
        "packages": (
            {"packages": ("blocked", "policycoreutils-python-utils is in no repository", (),
                          "enable the repository that has it, or install it by hand")},
            {"chain": _chain("dispatcher")},
        ),
        "direct": (
            {"auditd": ("blocked", "the agent is set to work without auditd, and auditd runs", [direct],
                        "a decision: keep auditd, or --mode direct")},
            {"chain": _chain("auditd")},
        ),
        "refused": (
            {"auditd": ("failed", f"service auditd restart was refused; auditd still runs as pid {pid}", (),
                        "install initscripts-service")},
            {"chain": _chain("dispatcher")},
        ),
        "gave-up": (
            {"agent": ("blocked", f"the agent gave up at {hour:02}:{minute:02}:07 on {hostname}: semodule failed", (),
                       "see edr-script.log; restart the agent")},
            {"chain": _chain("qualys-edr"), "agent": "gave-up"},
        ),
        "skipped": (
            {"policy": ("skipped", "left out by --only or --skip")},
            {"skipped_by_option": ["policy"], "incomplete": ["left out by --skip: policy"]},
        ),
        "starting": ({"agent": ("waiting", "qualys-edr is starting")}, {"agent": "starting", "chain": starting}),
    }  # fmt: skip
    return kinds.get(kind, ({}, {}))


def _fine(chance: random.Random, identity: str) -> tuple[Any, ...]:
    if identity in ("guard", "delivery"):
        return ("skipped", f"not asked for; --{'guard' if identity == 'guard' else 'probe'} does it")
    return ("ok", f"right, looked at by pid {chance.randrange(600, 30000)}", [f"/usr/sbin/{identity}: is there"])


def _requirement(
    identity: str, status: str, summary: str, evidence: Any = (), remedy: str = "", warnings: Any = ()
) -> dict[str, Any]:
    changes = ["edit the file that evidence names"] if status == "change" else []
    diff = f"--- {FROZEN}\n+++ {FROZEN}\n@@ -1,3 +1,4 @@\n -D\n--e 2\n+# -e 2\n" if changes else ""
    return {
        "id": identity, "title": TITLES[identity], "status": status, "summary": summary, "evidence": list(evidence),
        "changes": changes, "diff": diff, "remedy": remedy, "warnings": list(warnings),
    }  # fmt: skip


def _verdict(statuses: set[str]) -> str:
    words = {"failed": "failed", "blocked": "blocked", "change": "not-ready", "reboot": "ready-after-reboot",
             "waiting": "not-ready"}  # fmt: skip
    return next((word for status, word in words.items() if status in statuses), "ready")


def _chain(stop: str = "") -> list[dict[str, str]]:
    beyond = HOPS.index(stop) if stop else len(HOPS)
    return [
        {"hop": hop, "state": "ok" if n < beyond else "stop" if n == beyond else "?", "evidence": f"{hop} was asked"}
        for n, hop in enumerate(HOPS)
    ]


def _error(hostname: str, seen: float) -> dict[str, Any]:
    line = "busy: another fim-bootstrap is at work (wait for it, then run again)"
    return {
        "schema_version": 1, "tool": {"name": "fim-bootstrap", "version": "0.2.0"}, "command": "apply",
        "changed": False, "failed": True, "comment": line, "msg": line, "verdict": "failed", "reboot_required": False,
        "host": {}, "requirements": [], "done": [], "diff": "", "unseen": [], "seconds": 0.02,
        "time": moment(seen), "filed_under": hostname,
    }  # fmt: skip


def write(folder: Path, hosts: int, seed: int = 1, now: float = 0.0) -> None:
    """A file for each host, in folders of a thousand, named after it."""
    for number, report in enumerate(fleet(hosts, seed, now)):
        write_one(folder, number, report)


def write_one(folder: Path, number: int, report: dict[str, Any]) -> None:
    """The report's own file."""
    below = folder / f"{number // 1000:03}"
    below.mkdir(parents=True, exist_ok=True)
    name = report["host"].get("hostname") or report["filed_under"]
    (below / f"{name}.json").write_text(json.dumps(report, indent=2))


def lines(hosts: int, seed: int = 1) -> Iterator[str]:
    """A report a line."""
    return (json.dumps(report) + "\n" for report in fleet(hosts, seed))


def measure(hosts: int) -> None:
    """Time and peak memory of the command on files and on lines, with everything written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open(folder / "lines.jsonl", "w", encoding="utf-8") as file:
            for number, report in enumerate(fleet(hosts)):
                file.write(json.dumps(report) + "\n")
                write_one(folder / "files", number, report)
        for what in ("files", "lines.jsonl"):
            argv = [sys.executable, str(PROJECT / "bootstrap.py"), "fleet", str(folder / what), "--batch", "10%"]
            argv += [word for kind in ("html", "csv", "plan") for word in (f"--{kind}", str(folder / f"out.{kind}"))]
            begun = time.perf_counter()
            child = os.posix_spawn(
                argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
            )
            _, status, usage = os.wait4(child, 0)
            took = time.perf_counter() - begun
            assert status == 0, argv
            busy = usage.ru_utime + usage.ru_stime
            print(f"{hosts:7} hosts, {what:11} {took:6.2f} s ({busy:.2f} s of processor), "
                  f"{usage.ru_maxrss / 1024:4.0f} MB, page {os.path.getsize(folder / 'out.html') >> 10} KB",
                  flush=True)  # fmt: skip


def main() -> None:
    """What the words ask for."""
    words = sys.argv[1:]
    if words[:1] == ["write"]:
        write(Path(words[1]), int(words[2]), *map(int, words[3:]))
    elif words[:1] == ["lines"]:
        sys.stdout.writelines(lines(int(words[1]), *map(int, words[2:])))
    else:
        for hosts in map(int, words or ("1000", "10000", "100000")):
            measure(hosts)
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
