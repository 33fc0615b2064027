"""The reboots in batches: a host never twice, no two of a group together, and who is in none."""

from __future__ import annotations

import configparser
import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_bootstrap import engine
from fim_bootstrap.audit import rules_d
from fim_bootstrap.errors import Usage
from fim_bootstrap.fleet import plan_formats
from fim_bootstrap.fleet.machines import Machine
from fim_bootstrap.fleet.plan import LOCKED, SHARED, UNFIT, Plan, Wanted, plan
from fim_bootstrap.fleet.table import moment
from fim_bootstrap.host.reader import File
from fim_bootstrap.model import Settings
from fim_bootstrap.report import as_json
from tests.fleet_reports import (
    FROZEN,
    NOW,
    STATE,
    frozen,
    of,
    report,
    requirement,
    rows,
)
from tests.test_requirements import PROFILE, STATUS, facts

HOST = st.builds(
    Machine,
    name=st.from_regex(r"[a-d]{1,2}[0-9]{1,2}", fullmatch=True),
    hostname=st.just(""),
    identity=st.uuids().map(str),
    verdict=st.sampled_from(["ready", "ready-after-reboot", "not-ready"]),
    seen=st.just(NOW),
    reboot=st.booleans(),
    locked=st.booleans(),
    later=st.booleans(),
    advised=st.booleans(),
    release=st.sampled_from(["el9", "el8", "u22", ""]),
)


@settings(deadline=None)
@given(
    machines=st.lists(HOST, max_size=60, unique_by=lambda m: m.name),
    batch=st.integers(1, 30),
    percent=st.booleans(),
    canary=st.integers(0, 9),
    group_by=st.sampled_from(["", "^[a-d]", "([a-d])[0-9]", "^a|^b", "[0-9]$"]),
    exclude=st.sampled_from([(), ("a*",), ("b*", "?1")]),
    order=st.randoms(),
)
def test_the_plan(
    machines: list[Machine], batch: int, percent: bool, canary: int, group_by: str, exclude: tuple[str, ...], order: Any
) -> None:
    wanted = Wanted(f"{batch}%" if percent else str(batch), canary, exclude, group_by)
    made = plan(machines, STATE, wanted)
    planned = [host for _, hosts in made.batches for host in hosts]
    apart = dict(made.apart)
    # a host never twice, and each that needs a reboot once: in a batch, or apart with a reason
    assert len(planned) == len(set(planned)) == made.hosts
    assert sorted([*planned, *apart]) == sorted(m.name for m in machines if m.reboot)
    assert {host for host, why in apart.items() if why == LOCKED} == {
        m.name for m in machines if m.reboot and m.locked and not excluded(m.name, exclude)
    }
    assert not [host for host in planned if excluded(host, exclude)]
    # no two of a group together
    for _, hosts in made.batches:
        groups = [
            match[1] if match.re.groups else match[0]
            for host in hosts
            if group_by and (match := re.search(group_by, host))
        ]
        assert len(groups) == len(set(groups))
    # canaries first, no more than asked for; batches no larger than asked for, as few as can be
    first = [hosts for name, hosts in made.batches if name == "canary"]
    assert made.batches[: len(first)] == tuple(("canary", hosts) for hosts in first)
    assert all(len(hosts) <= canary for hosts in first)
    size = max(1, len(planned) * batch // 100) if percent else batch
    rest = made.batches[len(first) :]
    assert all(0 < len(hosts) <= size for _, hosts in rest)
    left = [host for _, hosts in rest for host in hosts]
    if not group_by:
        assert len(rest) == -(-len(left) // size)
        assert sum(map(len, first)) == min(canary, len(planned))
    # the same, whatever the order in which the reports were read
    shuffled = list(machines)
    order.shuffle(shuffled)
    assert plan(shuffled, STATE, wanted) == made


def excluded(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(p.replace("?", ".").replace("*", ".*"), name) for p in patterns)


def machine(name: str, **more: Any) -> Machine:
    return Machine(name, name, f"id of {name} {more}", "ready-after-reboot", NOW, **{"reboot": True, **more})


def test_a_reboot_that_is_only_advised_or_comes_later_is_not_planned(tmp_path: Path) -> None:
    fleet = of(
        tmp_path,
        report("a", reboot_advised=True),
        report("b", "not-ready", reboot_after_apply=True),
        {**report("c"), "reboot_required": "true"},
        {**report("d"), "reboot_required": 1},
    )
    assert plan(fleet.machines, STATE, Wanted()) == Plan((), ())


def test_locked_from_outside_is_listed_apart(tmp_path: Path) -> None:
    """Where the report names no file: of a report without causes nobody knows, its files may have been cleaned."""
    new: dict[str, Any] = {"time": moment(NOW), "causes": []}
    file = requirement("rules", "reboot", "frozen", evidence=["kernel: enabled 2", f"{FROZEN}:3: -e 2"])
    fleet = of(
        tmp_path,
        frozen("outside", **new),
        report("ours", "ready-after-reboot", file, **new),
        frozen("old"),
        frozen(
            "told", time=moment(NOW), causes=[{"id": "rules", "file": FROZEN, "line": 3, "text": "-e 2", "source": ""}]
        ),
        report("image", "ready-after-reboot", requirement("packages", "reboot", "next boot"), **new),
    )
    made = plan(fleet.machines, STATE, Wanted("9"))
    assert made.apart == (("outside", LOCKED),)
    assert made.batches == (("01", ("image", "old", "ours", "told")),)
    assert ("rules: locked from outside: the rule files are clean", 1) in {
        (text, total) for text, (total, _, _) in rows(fleet).items()
    }


def test_what_may_lock_from_outside_is_named(tmp_path: Path) -> None:
    evidence = ["kernel: enabled 2", "may lock it, too: /etc/systemd/system/seal.service:7: auditctl -e 2"]
    waiting = requirement("rules", "reboot", "frozen", evidence=evidence, remedy="plan a reboot")
    fleet = of(tmp_path, report("web1", "ready-after-reboot", waiting, time=moment(NOW), causes=[]))
    assert plan(fleet.machines, STATE, Wanted()).apart == (("web1", LOCKED),)
    [(text, (_, _, do))] = rows(fleet).items()
    assert text.endswith("clean (/etc/systemd/system/seal.service:7: auditctl -e 2)")
    assert do.startswith("find what runs auditctl -e 2")


def test_a_host_that_this_tool_made_right_is_not_locked_from_outside(tmp_path: Path) -> None:
    """From the rule files to the plan: what apply has commented out says why the kernel is frozen until the boot."""
    (text,) = rules_d.unblocked((File(FROZEN, "-D\n-e 2\n"),), f"fim-bootstrap 2026-11-27: {rules_d.WHY}")
    reports = []
    for name, file in (("ours", File(FROZEN, text)), ("outside", File(FROZEN, "-D\n# -e 2\n"))):
        found = facts("audit", status={**STATUS, "enabled": 2}, rules=(file,))._replace(hostname=name)
        outcome = engine.Outcome(engine.plan(found, PROFILE, Settings()), found)
        document = as_json("check", outcome, PROFILE, Settings(), 0.1)
        reports.append({**document, "time": moment(NOW), "causes": document.get("causes", [])})
    fleet = of(tmp_path, *reports)
    assert plan(fleet.machines, STATE, Wanted()) == Plan((("01", ("ours",)),), (("outside", LOCKED),))
    assert f"rules: -e 2 in {FROZEN}" in rows(fleet)


UNSAFE = (
    "localhost",
    "localhost.localdomain",
    "127.0.0.1",
    "all",
    "ALL",
    "ungrouped",
    "fim_reboot_01",
    "-x",
    "",
    "a b",
    "web1 ansible_connection=local",
    "web[1:9]",
    "[all:vars]",
    "*",
    "a,b",
    "x'",
    "#x",
    "a\nb",
    "ünïx",
    "::1",
)


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_ansible_or_salt_takes_for_something_else_is_apart(name: str) -> None:
    made = plan([machine(name), machine("web1")], STATE, Wanted())
    assert made == Plan((("01", ("web1",)),), ((name, UNFIT),))


def test_two_machines_of_one_name_cannot_be_told_apart() -> None:
    made = plan(
        [machine("web1", release="a"), machine("WEB1", release="b", reboot=False), machine("web2")], STATE, Wanted()
    )
    assert made == Plan((("01", ("web2",)),), (("web1", SHARED),))


def test_canaries_are_of_as_many_releases_as_there_are() -> None:
    machines = [machine(f"a{n}", release="el9") for n in range(9)] + [
        machine("z1", release="el7"),
        machine("z2", release="u22"),
    ]
    assert plan(machines, STATE, Wanted("4", 3)).batches[0] == ("canary", ("a0", "z1", "z2"))


def test_groups_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("# cluster\nweb1 pair1\nweb2,pair1\n\nweb3 pair2 # the other\n")
    made = plan([machine(f"web{n}") for n in (1, 2, 3)], STATE, Wanted("3", group_by=str(tmp_path / "groups")))
    assert made.batches == (("01", ("web1", "web3")), ("02", ("web2",)))
    (tmp_path / "groups").write_text("web1\n")
    with pytest.raises(Usage, match="groups:1"):
        plan([], STATE, Wanted(group_by=str(tmp_path / "groups")))


@pytest.mark.parametrize(
    "wanted", [Wanted("0"), Wanted("0%"), Wanted("-1"), Wanted("ten"), Wanted("1.5%"), Wanted("1", group_by="(")]
)
def test_what_cannot_be_planned_is_said(wanted: Wanted) -> None:
    with pytest.raises(Usage):
        plan([], STATE, wanted)


MADE = Plan((("canary", ("web1",)), ("01", ("db1", "web2"))), (("gold", LOCKED), ("=cmd()", UNFIT)))


def test_the_plan_for_ansible() -> None:
    text = plan_formats.rendered(MADE, "auto", "plan.ini")
    inventory = configparser.ConfigParser(allow_no_value=True, delimiters=("=",))
    inventory.read_string(text)
    assert {section: list(inventory[section]) for section in inventory.sections()} == {
        "fim_reboot_canary": ["web1"],
        "fim_reboot_01": ["db1", "web2"],
        "fim_reboot:children": ["fim_reboot_canary", "fim_reboot_01"],
    }
    assert f"# in no batch: gold: {LOCKED}" in text


def test_the_plan_for_salt_for_spreadsheets_and_for_people() -> None:
    assert [
        line for line in plan_formats.rendered(MADE, "auto", "fim.conf").splitlines() if not line.startswith("#")
    ] == [
        "nodegroups:",
        "  fim_reboot_canary: 'L@web1'",
        "  fim_reboot_01: 'L@db1,web2'",
    ]
    assert list(csv.reader(io.StringIO(plan_formats.rendered(MADE, "csv", "x")))) == [
        ["host", "batch", "why_in_none"],
        ["web1", "canary", ""],
        ["db1", "01", ""],
        ["web2", "01", ""],
        ["gold", "", LOCKED],
        ["'=cmd()", "", UNFIT],
    ]
    assert plan_formats.rendered(MADE, "auto", "plan.txt").splitlines()[:3] == [
        "3 hosts to reboot, in 2 batches",
        "canary: 1",
        "  web1",
    ]
