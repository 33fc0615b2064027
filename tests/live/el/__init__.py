"""A Debian guest restarts auditd as Enterprise Linux does: by service(8) and a legacy action of audit's."""

from __future__ import annotations

from pathlib import Path

from tests.live.guest import Guest

HERE = Path(__file__).resolve().parent
LEGACY = "/usr/libexec/initscripts/legacy-actions/auditd/restart"
# audit release: what its legacy action calls, as (file here, place in the guest)
SHAPES = {
    "2.8": (("functions", "/etc/init.d/functions"),),
    "3.0": (("audit-functions", "/usr/libexec/audit-functions"),),
    "3.1.5": (("auditctl", "/usr/local/sbin/auditctl"),),
    "4": (("auditctl", "/usr/local/sbin/auditctl"),),
}
REFUSE = "/etc/systemd/system/auditd.service.d/refuse.conf"


def put(machine: Guest, name: str, place: str) -> None:
    """One of the files here, executable, with the label of its place."""
    machine.run(f"mkdir -p {Path(place).parent}; cat > {place} <<'END'\n{(HERE / name).read_text()}END\n"
                f"chmod 755 {place}; restorecon {place}")  # fmt: skip


def refuse_manual_stop(machine: Guest) -> None:
    """As upstream's unit and that of most distributions has it: systemctl may not restart auditd."""
    machine.run(f"mkdir -p {Path(REFUSE).parent}; printf '[Unit]\\nRefuseManualStop=yes\\n' > {REFUSE}")
    machine.run("systemctl daemon-reload; ! systemctl restart auditd")


def dress(machine: Guest, shape: str) -> None:
    """A unit that refuses, EL's service, and the legacy action of that release of audit with what it calls."""
    undress(machine)
    refuse_manual_stop(machine)
    put(machine, "service", "/usr/local/sbin/service")
    put(machine, f"restart-{shape}", LEGACY)
    for name, place in SHAPES[shape]:
        put(machine, name, place)


def undress(machine: Guest) -> None:
    """Debian again."""
    places = [place for files in SHAPES.values() for _, place in files]
    machine.run(f"rm -rf /usr/local/sbin/service {LEGACY} {Path(REFUSE).parent} {' '.join(places)}")
    machine.run("systemctl daemon-reload")
