"""What was left out or could not be looked at is no "ready": verdict, exit status, words and the key `incomplete`."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from fim_bootstrap import engine, report, screen
from fim_bootstrap.agent import vendor
from fim_bootstrap.engine import Outcome
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.host.reader import UNREAD, File
from fim_bootstrap.model import AgentFacts, Facts, OsRelease, Settings
from tests.conftest import PROJECT
from tests.dict_host import DictHost
from tests.test_engine import Machine
from tests.test_requirements import PROFILE, STATUS
from tests.test_requirements import READY as HOST

SCHEMA = json.loads((PROJECT / "schemas/report-1.json").read_text())
READY = HOST._replace(versions=dict.fromkeys(("agent", "audit", "kernel", "tool"), ""))
BLIND = READY._replace(privileged=False, unseen=("the kernel",), unknown=frozenset(("rules", "auditd")))
UNREADABLE = f"{UNREAD}: Permission denied"
LOCKED = READY.audit._replace(status={**STATUS, "enabled": 2})


def judged(host: Facts, **options: Any) -> tuple[int, dict[str, Any], str]:
    """Exit status, report and verdict of a check."""
    settings = Settings(**options)
    outcome = Outcome(engine.plan(host, PROFILE, settings), host)
    document = report.as_json("check", outcome, PROFILE, settings, 0.1)
    jsonschema.validate(document, SCHEMA)
    said = next(line for line in screen.text(document).splitlines() if line.endswith(" (0.1 s)"))
    return report.exit_code("check", outcome), document, said.removesuffix(" (0.1 s)")


LOOKED = "READY as far as looked at: {} right; left out by {}"


@pytest.mark.parametrize(("options", "said", "incomplete"), [
    ({}, "READY: all 6 that were looked at are right", []),
    ({"skip": ("rules",)}, LOOKED.format(5, "--skip: rules"), ["left out by --skip: rules"]),
    ({"skip": ("policy", "rules")}, LOOKED.format(4, "--skip: rules, policy"), ["left out by --skip: rules, policy"]),
    ({"only": ("packages", "dispatcher", "rules", "policy", "auditd")}, LOOKED.format(5, "--only: agent"),
     ["left out by --only: agent"]),
    ({"only": ("packages", "rules", "policy", "auditd", "agent"), "skip": ("rules",)},
     LOOKED.format(4, "--only: dispatcher; left out by --skip: rules"),
     ["left out by --only: dispatcher", "left out by --skip: rules"]),
    ({"skip": ("guard", "delivery")}, "READY: all 6 that were looked at are right", []),  # nobody asked for them
    ({"skip": ("guard",), "guard": True}, LOOKED.format(6, "--skip: guard"), ["left out by --skip: guard"]),
    ({"skip": ("delivery",), "probe": True}, LOOKED.format(6, "--skip: delivery"), ["left out by --skip: delivery"]),
])  # fmt: skip
def test_what_an_option_leaves_out_is_named_in_the_verdict(
    options: dict[str, Any], said: str, incomplete: list[str]
) -> None:
    status, document, line = judged(READY, **options)
    assert (status, document["verdict"], line) == (0, "ready", said)
    assert document["comment"].startswith("ready as far as looked at; skipped: ") == bool(incomplete)
    assert document["incomplete"] == incomplete


def test_what_is_left_out_is_no_excuse() -> None:
    status, document, line = judged(READY._replace(audit=LOCKED), skip=("policy",))
    assert (status, document["verdict"], line) == (
        3,
        "ready-after-reboot",
        "READY AFTER REBOOT: 1 waiting for a reboot, 4 right, 3 left out",
    )
    assert document["incomplete"] == ["left out by --skip: policy"]


def test_what_may_not_be_looked_at_is_not_known() -> None:
    status, document, line = judged(BLIND)
    assert (status, document["verdict"], document["failed"]) == (3, "not-ready", False)
    assert line == "NOT KNOWN: 2 of 8 cannot be looked at by this user (rules, auditd)"
    assert document["comment"] == "not known: rules, auditd cannot be looked at by this user; -> fim-bootstrap check"
    assert (document["unknown"], document["next"]) == (["rules", "auditd"], ["fim-bootstrap check"])
    assert document["incomplete"][-1] == "the kernel"


def test_what_waits_for_being_looked_at_is_not_known_either() -> None:
    unread = READY.audit._replace(conf=File("/etc/audit/auditd.conf", problem=UNREADABLE))
    host = BLIND._replace(audit=unread, unknown=frozenset(("dispatcher",)))
    assert judged(host)[2] == "NOT KNOWN: 1 of 8 cannot be looked at by this user (dispatcher)"


def test_root_is_not_told_to_become_root() -> None:
    status, document, line = judged(BLIND._replace(privileged=True, audit=LOCKED))
    assert (status, document["verdict"]) == (3, "not-ready")
    assert line == "NOT KNOWN: 2 of 8 cannot be looked at (rules, auditd)"
    assert document["next"] == []


def test_what_was_not_asked_about_need_not_be_known() -> None:
    assert judged(BLIND, only=("packages",))[:1] == (0,)
    assert judged(BLIND, skip=("rules",))[2].startswith("NOT KNOWN: 1 of 8 ")


def test_what_is_known_to_be_wrong_is_wrong() -> None:
    status, document, line = judged(BLIND._replace(commands={}))
    assert (status, document["verdict"]) == (4, "blocked")
    assert line.startswith("BLOCKED: ")
    status, document, line = judged(BLIND._replace(agent=READY.agent._replace(main=None)))
    assert (status, document["verdict"]) == (3, "not-ready")
    assert line == "NOT READY: 1 to change, 2 not known, 3 right, 2 left out"


# ---------------------------------------------------------------------- what could not be looked at


def seen(host: DictHost) -> Facts:
    """The facts as this user sees them."""
    return gather(host, PROFILE, Settings(), OsRelease("debian", "12"))


@pytest.fixture
def machine(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A ready host with an agent, seen by a user."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = Machine(dict_host)
    found.agent()
    dict_host.write("/proc/1/stat", "1 (systemd) S 0 ")
    return found


def test_the_kernel_is_for_root_to_ask(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(machine.host)
    assert found.unseen == ("the kernel's audit state (auditctl needs root)",)
    assert found.unknown == {"rules", "auditd"}
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert (seen(machine.host).unseen, seen(machine.host).unknown) == ((), frozenset())


@pytest.mark.parametrize("path", [
    "/etc/audit/auditd.conf", "/etc/audit/audit.rules", "/etc/audit/rules.d/-", "/etc/audit/rules.d/audit.rules",
])  # fmt: skip
def test_files_that_cannot_be_read_are_told_also_to_root(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    machine.host.write(path, problem=UNREADABLE)
    found = seen(machine.host)
    assert found.unseen == ("audit rules and auditd.conf where only root may read them",)
    assert found.unknown == {"rules", "auditd", "dispatcher"}


def test_processes_that_are_hidden_leave_two_unknown(machine: Machine) -> None:
    machine.host.remove("/proc/1/stat")
    assert "the processes of others (hidepid)" in seen(machine.host).unseen
    assert {"auditd", "agent"} <= seen(machine.host).unknown


@pytest.mark.parametrize("path", [vendor.CONF, "/var/log/qualys/edr.log"])
def test_an_agent_that_hides_is_not_known(machine: Machine, path: str) -> None:
    machine.host.write(path, problem=UNREADABLE)
    found = seen(machine.host)
    assert "the agent's configuration and log" in found.unseen
    assert "agent" in found.unknown
    machine.host.write(path, "x", problem="a symbolic link to elsewhere")
    assert "agent" not in seen(machine.host).unknown


def test_an_agent_that_is_not_there_hides_nothing(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    Machine(dict_host)
    dict_host.write("/proc/1/stat", "1 (systemd) S 0 ")
    found = seen(dict_host)
    assert found.agent == AgentFacts()
    assert "agent" not in found.unknown
