"""What the tool must never do to a host that works: here, take its auditd away."""

from __future__ import annotations

import pytest

from tests.conftest import Ran
from tests.live.guest import FIM, Guest, guest
from tests.live.test_scenarios import STATE, denials_since, now, running

pytestmark = pytest.mark.live
CONF = "/etc/audit/auditd.conf"
# a line that auditd refuses, and a word of what it says
REFUSED = {
    "log_group = splunk": "unknown (splunk)",
    "action_mail_acct = x": "too short",
    "space_left_action = exec /opt/no-such": "/opt/no-such",
}
# asked by a copy of the file, which auditd may not read where it runs in its own domain
COPIED = "priority_boost = 0\\nlog_group = splunk"
# the output goes through a file: the policy does not let D-Bus hand over the file descriptors
BY_SYSTEMD = f"""
systemd-run --quiet --wait --collect -p StandardOutput=truncate:/run/out -p StandardError=truncate:/run/err \
    -E PYTHONPATH=/opt/fim-bootstrap/deps {FIM.partition(" ")[2].replace("python3", "/usr/bin/python3")} "$@"
status=$?
cat /run/out; cat /run/err >&2; exit $status
"""


def warnings(seen: Ran) -> list[str]:
    """All warnings of a report."""
    return [line for item in seen.report["requirements"] for line in item["warnings"]]


def untouched(machine: Guest) -> str:
    """What may not change: files, and who runs."""
    return machine.run(f"{STATE}; pidof auditd edr-plugin qualys-edr").out


def blocked(machine: Guest, line: str, said: str, *commands: str) -> None:
    """The commands say what auditd says, exit 4, and neither auditd nor anything else is touched."""
    machine.run(f"cp -a {CONF} /root/good.conf; printf '{line}\\n' >> {CONF}")
    before = untouched(machine)
    for command in commands:
        seen = machine.fim(command)
        assert seen.status == 4, seen.out + seen.err
        found = next(item for item in seen.report["requirements"] if item["id"] == "auditd")
        assert any(said in text for text in found["evidence"]), found
        assert any(text.startswith(f"{CONF}:") for text in found["evidence"]), found
    assert untouched(machine) == before
    machine.run(f"test -s /run/auditd.pid && cp -a /root/good.conf {CONF}")


def test_auditd_is_not_restarted_with_what_it_refuses() -> None:
    """In enforcing mode; with user namespaces and without, as a STIG has it; from a shell and from systemd."""
    with guest("bookworm") as machine:
        machine.fim("apply")
        running(machine)
        machine.run(f"printf '%s' '{BY_SYSTEMD}' > /root/by-systemd")
        begun = now(machine)
        hidden = "for p in setpriv capsh; do p=$(command -v $p) && mount --bind /dev/null $p; done; true"
        for around in ("sysctl -q user.max_user_namespaces=0", f"sysctl -q user.max_user_namespaces=1000; {hidden}"):
            machine.run(around)
            shell = machine.program
            for program in (shell, "sh /root/by-systemd"):
                machine.program = program
                for line, said in REFUSED.items():
                    blocked(machine, line, said, "check")
                blocked(machine, "log_group = splunk", "unknown (splunk)", "apply")
                if program == shell:
                    blocked(machine, COPIED, "unknown (splunk)", "check")
            machine.program = shell
        for number, around in ((7, "umount $(command -v setpriv)"), (8, "sysctl -q user.max_user_namespaces=0")):
            machine.run(around)
            machine.run(f"sed -i 's/^num_logs.*/num_logs = {number}/' {CONF}")
            seen = machine.fim("check --skip agent")
            assert seen.status == 3, seen.out
            assert not [line for line in warnings(seen) if "could not be asked" in line]
            pid = machine.run("pidof auditd").out
            machine.fim("apply --skip agent")
            assert machine.run("pidof auditd").out != pid
        assert machine.fim("check --skip agent").report["verdict"] == "ready"
        assert denials_since(machine, begun) == []
        assert "avc:  denied" not in machine.run("ausearch -m avc -c auditd -ts boot --raw 2>/dev/null | cat").out
