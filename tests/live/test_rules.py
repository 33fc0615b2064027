"""What the kernel does with rules that silence others, and with files that augenrules glues together."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.live.guest import NO_SELINUX, Guest, guest
from tests.test_silence import NOTHING, PART, TOTAL

pytestmark = pytest.mark.live

# a file is changed by a process that was started under each rule: is it named in an event that has its system call?
TRY = r"""
import json, pathlib, re, subprocess, sys, time
run = lambda *words: subprocess.run(words, capture_output=True)
folder, log = pathlib.Path("/root/watched"), pathlib.Path("/var/log/audit/audit.log")
folder.mkdir(exist_ok=True)
seen = {}
for number, rule in enumerate(json.load(sys.stdin)):
    name = folder / f"file{number}"
    run("auditctl", "-D")
    taken = run("auditctl", *rule.split()).returncode == 0
    run("auditctl", "-w", str(folder), "-p", "wa", "-k", "watched")
    before = log.stat().st_size
    run("sh", "-c", f"echo > {name}; chmod 600 {name}")
    time.sleep(0.3)
    run("auditctl", "-D")
    with log.open(errors="replace") as file:
        file.seek(before)
        lines = file.read().splitlines()
    serial = lambda line: re.search(r"audit\(([^)]*)\)", line)[1]
    calls = {serial(line) for line in lines if "type=SYSCALL" in line and 'key="watched"' in line}
    paths = {serial(line) for line in lines if "type=PATH" in line and name.name in line}
    seen[rule] = [taken, bool(calls & paths)]
print(json.dumps(seen))
"""
# what takes a part, and the change that is made here is in that part
HIT = {"-a always,exclude -F uid=0", "-a never,filesystem -F fstype=0xEF53"}


# what takes nothing, and no more than a watch does either
QUIET = [rule for rule in NOTHING if rule.startswith(("-a never,user", "-a always,exclude", "-w"))]


@pytest.fixture
def machine() -> Iterator[Guest]:
    """A Debian 12 with auditd."""
    with guest("bookworm", NO_SELINUX) as made:
        made.run("apt-get update && apt-get install -y auditd", timeout=300)
        yield made


def test_what_silences(machine: Guest) -> None:
    """Rule by rule: what is called total leaves no event that names the file, and what takes a part leaves one."""
    parts = [rule for rule, _ in PART if "io_uring" not in rule]  # which audit 3.0.9 does not know
    rules = [*TOTAL, *parts, *QUIET]
    machine.run(f"cat > /root/try.py <<'EOF'\n{TRY}\nEOF\ncat > /root/rules.json <<'EOF'\n{json.dumps(rules)}\nEOF")
    seen = json.loads(machine.run("python3 /root/try.py < /root/rules.json", timeout=600).out)
    for rule, (taken, heard) in seen.items():
        print(f"{'event' if heard else 'silent':7} {'' if taken else 'refused'} {rule}")
    assert not [rule for rule in TOTAL if seen[rule] != [True, False]]
    assert not [rule for rule in parts if seen[rule] != [True, rule not in HIT]]
    assert not [rule for rule in QUIET if seen[rule] != [True, True]]


def test_a_comment_that_augenrules_glues_to_another_line_locks_nothing(machine: Guest) -> None:
    """Made ready, then booted: the kernel is not frozen; and `revert` brings back what was there."""
    final = "/etc/audit/rules.d/99-finalize.rules"
    machine.run("printf -- '-w /etc/passwd -p wa -k id' > /etc/audit/rules.d/50-site.rules")
    old = "# fim-bootstrap 2026-01-01: FIM needs audit rules without this line: -e 2"
    for line in ("-e 2", old):
        machine.run(f"echo '{line}' > {final}")
        applied = machine.fim("apply --only rules")
        assert (applied.status, applied.report["changed"]) == (0, True), applied.out + applied.err
        if line == old:
            machine.reboot()
        else:
            machine.run("augenrules --load", check=False)
        assert "enabled 1" in machine.run("auditctl -s").out
        assert machine.run(f"cat {final}").out.endswith(": '-e' '2'\n")
        machine.fim("revert")  # restarts auditd, which the last round locks
        assert machine.run(f"cat {final}").out == f"{line}\n"


def test_auditing_that_comes_late_and_a_lock_from_outside_the_files(machine: Guest) -> None:
    """A reboot is advised where auditing came late, and never made for that; a lock that stays is worth one alone."""
    kernel = machine.run("cat /proc/cmdline").out
    if "audit=1" not in kernel:
        machine.run("systemctl disable auditd qualys-cloud-agent")  # whose start would start auditd
        machine.reboot()
        assert "enabled 0" in machine.run("auditctl -s").out
        machine.run("systemctl enable auditd")
        seen = machine.fim("apply")
        assert seen.report["reboot_advised"] is True, seen.out
        assert seen.report["reboot_required"] is False
        assert machine.fim("reboot-required").status == 1
        machine.reboot()
        assert machine.fim("check").report["reboot_advised"] is False
    machine.run(r"""
        printf '[Unit]\nAfter=auditd.service\n[Service]\nType=oneshot\nExecStart=/sbin/auditctl -e 2\n' \
            > /etc/systemd/system/seal.service
        printf '[Install]\nWantedBy=multi-user.target\n' >> /etc/systemd/system/seal.service
        systemctl enable seal
    """)
    machine.reboot()
    assert machine.fim("apply").report["reboot_required"] is True
    machine.reboot()
    for command in ("check", "apply --reboot when-needed"):
        report = machine.fim(command).report
        rules = next(item for item in report["requirements"] if item["id"] == "rules")
        assert (rules["status"], report["reboot_required"]) == ("blocked", False), rules
        assert any("seal.service" in line for line in rules["evidence"])
    assert machine.fim("reboot-required").status == 1
