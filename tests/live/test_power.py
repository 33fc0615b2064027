"""The power goes off in the middle of apply, and tools of a live system lie (as root: make test-live)."""

from __future__ import annotations

import time

import pytest

from tests.live.guest import Guest, guest
from tests.live.test_scenarios import ready, watched_event_arrives

pytestmark = pytest.mark.live

CONF = "/etc/audit/auditd.conf"
SBIN = "/usr/local/sbin"
# command, what is made wrong first, what the command does then instead of its work, which requirement must notice
LIES = (
    ("auditctl", "true", "exit 0", "rules"),
    ("auditctl", "true", "head -c 10000 /dev/urandom", "rules"),
    ("auditctl", "true", "kill -9 $$", "rules"),
    ("auditctl", "true", "exec sleep 1000", "rules"),
    ("auditctl", "auditctl -a never,task", '[ "$1" = -d ] || exec /usr/sbin/auditctl "$@"', "rules"),
    # asked what it would do it tells the truth: what a label should be is known from nothing else
    (
        "restorecon",
        "chcon -t tmp_t /usr/local/qualys/cloud-agent/bin/edr-plugin",
        '[ "$1" != -nRv ] || exec /usr/sbin/restorecon "$@"',
        "policy",
    ),
    ("semodule", "semodule -X 400 -r fim_bootstrap", "exit 0", "policy"),
    ("systemctl", "systemctl disable auditd", "exit 0", "auditd"),
    ("systemctl", "touch /etc/audit/auditd.conf", '[ "$1" = restart ] || exec /usr/bin/systemctl "$@"', "auditd"),
)


def cut(machine: Guest, when: str, seconds: float) -> None:
    """Run apply, take the power away some seconds after a command succeeds, and boot again from the same disk."""
    machine.run(f"{machine.program} apply > /root/out 2> /root/err < /dev/null &")
    machine.run(f"for i in $(seq 300); do {when} && exit; sleep 0.1; done; cat /root/err; exit 1")
    time.sleep(seconds)
    machine.kill()
    machine.boot()


def test_the_power_goes_off_and_tools_lie() -> None:
    with guest("bookworm") as machine:
        machine.run("echo DISTRIB_ID=Ubuntu > /etc/lsb-release")  # the agent leaves SELinux to ours
        cut(machine, "test -e /var/lib/dpkg/info/auditd.list", 0.5)
        assert "auditd" in machine.run("dpkg --audit").out
        cut(machine, "pidof semodule", 8)
        assert machine.run("semodule -lfull | grep fim_bootstrap", check=False).out == ""
        machine.run("python3 -c 'import json; [json.loads(x) for x in open(\"/var/lib/fim-bootstrap/journal.jsonl\")]'")
        applied = machine.fim("apply")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out + applied.err
        ready(machine)
        watched_event_arrives(machine, "power")
        assert machine.run("find /etc /var /usr -xdev -name '.fim-bootstrap.*' -o -path '*/work.*'").out == ""
        assert machine.fim("apply").report["changed"] is False
        the_clock_jumps(machine)
        for lie in LIES:
            caught(machine, *lie)
        print(f"\n-- {len(LIES)} lies of live tools, none believed")


def the_clock_jumps(machine: Guest) -> None:
    """auditd is restarted once, be the change older than its start by the new clock, or of tomorrow."""
    for jump in (f"sed -i 's/^num_logs.*/num_logs = 7/' {CONF}; sleep 2; date -s '+1 hour'",
                 f"date -s '+1 day'; sed -i 's/^num_logs.*/num_logs = 8/' {CONF}; date -s '-1 day'"):  # fmt: skip
        machine.run(jump)
        seen = machine.fim("check")
        assert "auditd started before auditd.conf last changed" in seen.out, (jump, seen)
        healed = machine.fim("apply")
        assert (healed.status, healed.report["verdict"]) == (0, "ready"), (jump, healed)
        assert machine.fim("apply").report["changed"] is False, jump


def caught(machine: Guest, command: str, wrong: str, deed: str, requirement: str) -> None:
    """With a tool that lies no run says ready; without it one run mends what was wrong."""
    machine.run(wrong, timeout=300)
    machine.run(f"cat > {SBIN}/{command} <<'END'\n#!/bin/sh\n{deed}\nEND\nchmod 755 {SBIN}/{command}")
    lied_to = machine.fim("apply")
    assert lied_to.status in (1, 4), (command, deed, lied_to)
    assert lied_to.status_of(requirement) in ("failed", "blocked"), (command, deed, lied_to)
    machine.run(f"rm {SBIN}/{command}")
    healed = machine.fim("apply")
    assert (healed.status, healed.report["verdict"]) == (0, "ready"), (command, deed, healed)
