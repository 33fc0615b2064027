"""Time a cold `apply` in a fresh guest against the bare commands that do the same, one guest after the other.

As root: .venv/bin/python -m bench.cold [SUITE]. Also prints the time that apply spent outside its commands.
"""

from __future__ import annotations

import re
import sys
import time

from fim_bootstrap.selinux import AGENT_TYPES, render
from tests.live.guest import guest

BARE = r"""
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get -q update
apt-get -q -y --no-install-recommends install auditd checkpolicy semodule-utils
grep -q '^dispatcher' /etc/audit/auditd.conf || echo 'dispatcher = /sbin/audispd' >> /etc/audit/auditd.conf
cd /tmp
checkmodule -M -m -o fim_bootstrap.mod fim_bootstrap.te
semodule_package -o fim_bootstrap.pp -m fim_bootstrap.mod
semodule -X 400 -i fim_bootstrap.pp
systemctl restart auditd
systemctl restart qualys-cloud-agent
for i in $(seq 100); do pgrep -x edr-plugin >/dev/null && break; sleep 0.1; done
"""


def main() -> None:
    """Both, and their ratio."""
    suite = sys.argv[1] if len(sys.argv) > 1 else "bookworm"
    source, _ = render("auditd_t", AGENT_TYPES)
    with guest(suite) as machine:
        machine.run(f"cat > /tmp/fim_bootstrap.te <<'EOF'\n{source}EOF")
        begun = time.monotonic()
        machine.run(BARE, timeout=900)
        bare = time.monotonic() - begun
    with guest(suite) as machine:
        # as on any host where it was installed; in the guest it arrives without compiled files
        machine.run("python3 -m compileall -q /opt/fim-bootstrap")
        begun = time.monotonic()
        applied = machine.fim("apply")
        ours = time.monotonic() - begun
        log = machine.run("cat /var/log/fim-bootstrap.log").out
    commands = sum(map(float, re.findall(r"exit status \d+ after ([0-9.]+) s", log)))
    print(f"bare commands {bare:.1f} s, apply {ours:.1f} s (exit {applied.status}), ratio {ours / bare:.2f}")
    print(f"apply's own commands {commands:.1f} s, everything else {ours - commands:.1f} s")


if __name__ == "__main__":
    main()
