"""Time a cold `apply` in a fresh guest against the bare commands that do the same, one guest after the other.

As root: .venv/bin/python -m bench.cold [SUITE [ROUNDS]]. Also prints how long apply's own commands took, and what
bench/check.py says in a guest that was made ready.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time

from fim_bootstrap.facts.selinux import render
from tests.conftest import PROJECT
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


def bare(suite: str) -> float:
    """Seconds that the bare commands take in a fresh guest."""
    source, _ = render("auditd_t", override=False)
    with guest(suite) as machine:
        machine.run(f"cat > /tmp/fim_bootstrap.te <<'EOF'\n{source}EOF")
        begun = time.monotonic()
        machine.run(BARE, timeout=900)
        return time.monotonic() - begun


def apply(suite: str) -> tuple[float, float]:
    """Seconds that apply takes in a fresh guest, and those of them that it spends in its commands."""
    with guest(suite) as machine:
        # as on any host where it was installed; in the guest it arrives without compiled files
        machine.run("python3 -m compileall -q /opt/fim-bootstrap")
        begun = time.monotonic()
        applied = machine.fim("apply")
        took = time.monotonic() - begun
        assert applied.status == 0, applied.out + applied.err
        log = machine.run("cat /var/log/fim-bootstrap.log").out
    return took, sum(map(float, re.findall(r"exit status \d+ after ([0-9.]+) s", log)))


def ready(suite: str) -> str:
    """What `check` costs on a host that is right, beside the bare script."""
    with guest(suite, extra=(PROJECT / "bench",)) as machine:
        assert machine.fim("apply").status == 0
        words = "python3 -m compileall -q /opt/fim-bootstrap; python3 /opt/fim-bootstrap/bench/check.py 9"
        return machine.run(f"export PYTHONPATH=/opt/fim-bootstrap/deps; {words}", timeout=300).out


def main() -> None:
    """Both in turns; the medians and their ratio."""
    suite = sys.argv[1] if len(sys.argv) > 1 else "bookworm"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    pairs = [(bare(suite), *apply(suite)) for _ in range(rounds)]
    for other, ours, commands in pairs:
        print(f"bare commands {other:.1f} s, apply {ours:.1f} s, of which its commands {commands:.1f} s")
    other, ours = (statistics.median(times) for times in list(zip(*pairs))[:2])
    print(f"medians {other:.1f} and {ours:.1f} s, ratio {ours / other:.2f}; load {os.getloadavg()[0]:.1f}")
    print(f"in the ready guest:\n{ready(suite)}")


if __name__ == "__main__":
    main()
