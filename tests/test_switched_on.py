"""Auditing that was switched on after other programs had started: when it is said, and what it never makes happen."""

from __future__ import annotations

import json
from typing import Any, Optional

import jsonschema
import pytest

from fim_bootstrap import report
from fim_bootstrap.audit import switched_on
from fim_bootstrap.audit.auditd_conf import LOG
from fim_bootstrap.audit.switched_on import Boot
from fim_bootstrap.changes import journal, revert
from fim_bootstrap.engine import Outcome
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.managers import rows
from fim_bootstrap.model import OsRelease, Settings
from tests.conftest import PROJECT
from tests.dict_host import BOOT, DictHost
from tests.test_engine import CONF, PROFILE, Machine
from tests.test_requirements import facts as ready
from tests.test_requirements import find

SCHEMA = json.loads((PROJECT / "schemas/report-1.json").read_text())
CMDLINE = "/proc/cmdline"


def record(at: float, now: int, before: int, begin: str = "", res: int = 1) -> str:
    """The kernel's record of a change of audit_enabled, as many seconds after the boot."""
    said = f"op=set audit_enabled={now} old={before} auid=4294967295 ses=4294967295 res={res}"
    return f"{begin}type=CONFIG_CHANGE msg=audit({BOOT + at:.3f}:7): {said}\n"


def other(at: float, text: str = "unit=auditd") -> str:
    """Another record."""
    return f"type=SERVICE_START msg=audit({BOOT + at:.3f}:6): pid=1 {text}\n"


ON = record(900, 1, 0)


def look(host: DictHost, steps: Any = (), boot: str = "a", early: float = 0.0, log: str = LOG) -> Optional[float]:
    """What is claimed."""
    return switched_on.look(host, steps, Boot(boot, BOOT, early), log)


@pytest.mark.parametrize(("log", "at"), [
    (ON, 900.0),
    (record(900, 1, 0, "node=web1 "), 900.0),
    (other(-50) + ON, 900.0),
    (record(-80, 1, 1) + ON + record(950, 1, 1), 900.0),  # the first of this boot counts
    (ON + record(950, 0, 1) + record(960, 1, 0), 900.0),
    (record(900, 2, 0), 900.0),
    (record(0, 1, 0), 0.0),
    (record(10, 1, 1), None),
    (record(10, 0, 1) + record(900, 1, 0), None),  # it had been on before
    (record(10, 0, 0) + ON, 900.0),
    (record(10, 0, 0), None),
    (record(10, 1, 0, res=0), None),  # that was refused
    (record(-80, 1, 0), None),  # of another boot
    (other(900, "msg='audit_enabled=1 old=0'"), None),  # what a program says of itself
    (other(900, "x\\ntype=CONFIG_CHANGE audit_enabled=1 old=0"), None),
    ("", None),
])  # fmt: skip
def test_the_audit_log_tells_it(dict_host: DictHost, log: str, at: Optional[float]) -> None:
    dict_host.write(LOG, log)
    assert look(dict_host) == (None if at is None else pytest.approx(at, abs=0.01))


def test_a_log_that_does_not_reach_back_tells_nothing(dict_host: DictHost) -> None:
    dict_host.write(LOG, other(800) + ON)
    dict_host.write(f"{LOG}.1", "")
    assert look(dict_host) is None
    dict_host.write(LOG, other(-800) + ON)
    assert look(dict_host) is not None
    dict_host.remove(f"{LOG}.1")
    dict_host.write(LOG, record(5, 1, 1) + other(901) * (switched_on.TAIL // len(other(901))) + ON)
    assert look(dict_host) is None  # its beginning is too far away
    dict_host.write(LOG, other(-800) + other(901) * (switched_on.TAIL // len(other(901)) - 10) + ON)
    assert look(dict_host) is not None


def test_where_auditd_started_as_at_every_boot_little_is_missed(dict_host: DictHost) -> None:
    dict_host.write(LOG, record(3, 1, 0))
    assert look(dict_host, early=3.5) is None
    assert look(dict_host, early=2.5) == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(("cmdline", "said"), [
    ("quiet audit=1", False), ("audit=1 quiet\n", False), ("audit=0 audit=1", False), ("audit=on", False),
    ("quiet", True), ("noaudit=1", True), ("audit=1 audit=0", True), ("audit_backlog_limit=1", True),
    ("audit=10", True),
])  # fmt: skip
def test_a_kernel_that_was_booted_with_auditing_missed_nothing(dict_host: DictHost, cmdline: str, said: bool) -> None:
    dict_host.write(CMDLINE, cmdline)
    dict_host.write(LOG, ON)
    assert (look(dict_host) is not None) is said
    dict_host.remove(LOG)
    own = [{"kind": "enabled", "boot": "a", "uptime": 70.0}]
    assert (look(dict_host, own) is not None) is said


def test_the_journal_tells_what_this_tool_did_in_this_boot(dict_host: DictHost) -> None:
    own = [{"kind": "enabled", "boot": "a", "uptime": 70.0}, {"kind": "enabled", "boot": "a", "uptime": 99.0}]
    assert look(dict_host, own) == 70.0
    assert look(dict_host, own, boot="b") is None
    assert look(dict_host, [{**own[0], "boot": ""}], boot="") is None
    assert look(dict_host, [{**own[0], "kind": "restart"}]) is None
    dict_host.write(LOG, record(5, 1, 1))  # the kernel's own word counts more
    assert look(dict_host, own) is None


# ---------------------------------------------------------------------- on a machine


@pytest.fixture
def machine(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host on which auditd never ran in this boot."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = Machine(dict_host)
    found.enabled = 0
    dict_host.end(500)
    dict_host.write("/proc/sys/kernel/random/boot_id", "a\n")
    restart = found.restart

    def switch_on(host: DictHost, argv: tuple[str, ...]) -> int:
        status = restart(host, argv)
        found.enabled = 1
        return status

    dict_host.answers.update({"systemctl restart": switch_on, "systemctl start": switch_on})
    return found


def document(outcome: Outcome) -> dict[str, Any]:
    """The report, which fits the schema."""
    found = report.as_json("apply", outcome, PROFILE, Settings(), 0.1)
    jsonschema.validate(found, SCHEMA)
    return found


def test_what_apply_switches_on_is_warned_of_until_the_next_boot(machine: Machine) -> None:
    first = document(machine.apply())
    assert first["reboot_advised"] is True
    assert (first["verdict"], first["reboot_required"], first["reboot_after_apply"]) == ("ready", False, False)
    (said,) = next(item for item in first["requirements"] if item["id"] == "rules")["warnings"]
    assert "switched on 5000 s after the boot" in said
    assert "audit=1" in said
    assert "update-grub" in said
    kinds = [step["kind"] for step in journal.entries(machine.host)]
    assert kinds == ["enabled", "start"]
    again = document(machine.apply())
    assert (again["reboot_advised"], again["changed"]) == (True, False)
    machine.host.write("/proc/sys/kernel/random/boot_id", "b\n")
    assert document(machine.apply())["reboot_advised"] is False


def test_a_restart_where_auditing_is_on_switches_nothing_on(machine: Machine) -> None:
    machine.enabled = 1
    assert document(machine.apply())["reboot_advised"] is False
    assert [step["kind"] for step in journal.entries(machine.host)] == ["start"]


def test_auditing_that_is_off_was_not_switched_on(machine: Machine) -> None:
    machine.apply()
    machine.enabled = 0
    assert document(machine.apply())["reboot_advised"] is False


@pytest.mark.parametrize(("shown", "said"), [("3500000", False), ("2500000", True), ("0", True), ("", True)])
def test_systemd_tells_when_daemons_began(machine: Machine, shown: str, said: bool) -> None:
    machine.enabled = 1
    show = machine.host.answers["systemctl show"]
    assert callable(show)
    unit = f"\n\nId=sysinit.target\nActiveEnterTimestampMonotonic={shown}\n"
    machine.host.answers["systemctl show"] = lambda host, argv: f"{show(host, argv)}{unit}"
    machine.host.write(LOG, record(3, 1, 0))
    assert document(machine.apply())["reboot_advised"] is said
    assert any("sysinit.target" in line for line in machine.host.asked if line.startswith("systemctl show"))


def test_the_log_is_where_auditd_writes_it(machine: Machine) -> None:
    machine.enabled = 1
    machine.host.folder("/srv/audit")
    machine.host.write("/srv/audit/a.log", ON)
    conf = (machine.host.read_bytes(CONF) or b"").decode().replace(LOG, "/srv/audit/a.log")
    machine.change_conf(conf)
    assert document(machine.apply())["reboot_advised"] is True


def test_the_note_goes_with_revert(machine: Machine) -> None:
    machine.apply()
    _, _, problems = revert.take_back(machine.host, journal.entries(machine.host), lambda _: None, False)
    assert (problems, journal.entries(machine.host)) == ([], [])


@pytest.mark.parametrize("manager", rows.MANAGERS)
def test_every_family_has_its_way(manager: str) -> None:
    (said,) = find("rules", ready("audit", switched_on=60.0)._replace(manager=manager)).warnings
    assert f"({switched_on.WAYS[manager]})" in said
    assert "switched on 60 s after the boot" in said


def test_an_unknown_family_is_told_what_to_do() -> None:
    (said,) = find("rules", ready("audit", switched_on=0.0)._replace(manager="")).warnings
    assert "as the boot loader has it" in said


def test_facts_of_a_host_that_cannot_be_asked_claim_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.host.write(LOG, ON)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert gather(machine.host, PROFILE, Settings(), OsRelease("debian", "12")).audit.switched_on is None
