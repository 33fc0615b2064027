"""A real master with six minions: three of Debian 12, and three whose packages come with the next boot's system.

Those are image-based hosts: the binary asks rpm-ostree, which is a stand-in, and reports that a reboot is required.
Their boots install with the real dnf what was asked for, or fail to.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DEBIAN_12, fim
from tests.salt.fleet import Fleet, Minion, fleet
from tests.salt.roots import until_runs

pytestmark = pytest.mark.salt

EL_8 = 'ID="rocky"\nVERSION_ID="8.10"\nPLATFORM_ID="platform:el8"\n'
WEB = ("web1", "web2", "web3")
EDGE = ("edge1", "edge2", "edge3")
RPM_OSTREE = """#!/bin/sh
case $1 in
search) shift; for name; do echo "$name : a package"; done ;;
install) for word; do case $word in install|-*) ;; *) echo "$word" ;; esac; done > /staged ;;
esac
"""
PATIENCE = 300  # seconds for a boot and an apply on a machine that has other work
ORCHESTRATE = "state.orchestrate orch.fim_bootstrap"


@pytest.fixture(scope="module")
def fleet_of_six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The master and its minions, all modules synced."""
    debian, rocky = (DEBIAN_12, "debian-12"), (EL_8, "el8")
    roots = {**dict.fromkeys(WEB, debian), **dict.fromkeys(EDGE, rocky)}
    with fleet(tmp_path_factory.mktemp("master"), roots) as here:
        for name in EDGE:
            path = here.minions[name].root.path
            (path / "usr/bin/rpm-ostree").write_text(RPM_OSTREE)
            (path / "usr/bin/rpm-ostree").chmod(0o755)
            (path / "run/ostree-booted").touch()
            here.minions[name].at_boot = deployed(here.minions[name])
        assert len(here.answers("'*' saltutil.sync_all")) == 6
        here.runner("saltutil.sync_runners")
        yield here


def deployed(minion: Minion, packages: bool = True, minion_starts: bool = True) -> Any:
    """The boot of an image-based host, into the system with the staged packages, or into one without."""

    def boot() -> bool:
        (minion.root.path / "run/ostree-booted").touch()
        if packages:
            minion.root.run("dnf -y install $(cat /staged)")
        return minion_starts

    return boot


def fleet_pillar(**more: Any) -> str:
    """What the orchestration is told, as words for salt-run."""
    return f"pillar='{json.dumps({'fim_fleet': {'batch': 3, 'timeout': PATIENCE, **more}})}'"


def result(minion: Minion) -> dict[str, Any]:
    """What the last apply on a host left, and {} where none has run."""
    path = minion.root.path / "run/fim-bootstrap/result.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def boots(here: Fleet) -> list[int]:
    """How often each of the image-based hosts was rebooted."""
    return [here.minions[name].boots for name in EDGE]


def eventually(here: Fleet, target: str, names: tuple[str, ...]) -> None:
    """The master finds these minions by their grains; it learns of a changed grain a moment later."""
    deadline = time.monotonic() + 300
    while set(found := here.answers(f"-C '{target}' test.ping")) != set(names):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_a_minion_that_is_killed_half_way_is_healed_by_the_next_run(fleet_of_six: Fleet) -> None:
    minion = fleet_of_six.minions["web1"]
    fleet_of_six.salt("--async web1 state.apply fim_bootstrap")
    until_runs(minion.root, "dpkg")
    minion.kill()
    minion.start()
    fleet_of_six.until_answer("web1")
    healed = fleet_of_six.salt("web1 state.apply fim_bootstrap")
    assert healed.status == 0, healed.out + healed.err
    assert result(minion)["verdict"] == "ready"
    assert minion.root.run("dpkg --audit").out == ""


def test_in_batches_the_others_go_on_and_with_failhard_nobody_does(fleet_of_six: Fleet) -> None:
    """web1 is ready already; what is broken on web2 only a person may lift."""
    ran = {name: fleet_of_six.minions[name] for name in WEB}
    conf = ran["web2"].root.path / "etc/audit/auditd.conf"
    conf.parent.mkdir(exist_ok=True)
    ran["web2"].root.run("apt-get update && apt-get -y install auditd")
    good = conf.read_text()
    conf.write_text(f"{good}nonsense = 1\n")
    batch = fleet_of_six.salt("-L web1,web2,web3 -b 1 state.apply fim_bootstrap")
    assert batch.status != 0
    assert "nonsense = 1" in batch.out
    eventually(fleet_of_six, "G@fim_bootstrap:ready:True", ("web1", "web3"))
    eventually(fleet_of_six, "G@fim_bootstrap:verdict:blocked", ("web2",))

    for minion in ran.values():
        (minion.root.path / "etc/audit/auditd.conf").write_text(f"{good}nonsense = 1\n")
        (minion.root.path / "run/fim-bootstrap/result.json").unlink()
    stopped = fleet_of_six.salt("-L web1,web2,web3 -b 1 --failhard state.apply fim_bootstrap")
    assert stopped.status != 0
    assert sum(bool(result(minion)) for minion in ran.values()) == 1


def test_nothing_is_rebooted_before_every_host_is_prepared(fleet_of_six: Fleet) -> None:
    """web1 to web3 are still broken; the image-based hosts already know that they need a reboot."""
    failed = fleet_of_six.runner(f"{ORCHESTRATE} {fleet_pillar()}")
    assert failed.status != 0
    assert [result(fleet_of_six.minions[name])["reboot_required"] for name in EDGE] == [True] * 3
    assert boots(fleet_of_six) == [0, 0, 0]
    eventually(fleet_of_six, "G@fim_bootstrap:reboot_required:True", EDGE)
    assert json.loads(fleet_of_six.runner("fim_bootstrap.pending").out) == [*EDGE]


def test_the_reports_that_the_master_collects_are_a_fleet_s(fleet_of_six: Fleet, tmp_path: Path) -> None:
    """web1 to web3 are blocked for now; the image-based hosts wait for their reboot."""
    for name in fleet_of_six.minions:
        (fleet_of_six.minions[name].root.path / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    collected = tmp_path / "salt.json"
    collected.write_text(fleet_of_six.salt("'*' --out=json --static fim_bootstrap.check").out)
    picture = fim("fleet", str(collected), "--format", "json").report
    assert (picture["machines"], picture["skipped_files"]) == (6, []), picture
    assert {state: number for state, number in picture["states"].items() if number} == {"blocked": 3, "not-ready": 3}
    broken = next(cause for cause in picture["causes"] if {*cause["names"]} >= {*WEB})
    assert "nonsense" in broken["what"], broken
    assert sorted(name for batch in picture["plan"]["batches"] for name in batch["hosts"]) == [*EDGE]


def test_one_at_a_time_is_rebooted_until_one_does_not_come_back_ready(fleet_of_six: Fleet) -> None:
    """edge1 comes back ready; edge2 comes back into a system without its packages; edge3 is left alone.

    web1 to web3 may fail this time.
    """
    edge2 = fleet_of_six.minions["edge2"]
    edge2.at_boot = deployed(edge2, packages=False)
    dry = fleet_of_six.runner(f"{ORCHESTRATE} test=True {fleet_pillar(tgt='edge*')}")
    assert (dry.status, boots(fleet_of_six)) == (0, [0, 0, 0]), dry.out
    applied = fleet_of_six.salt("edge1 state.apply fim_bootstrap --out=json")
    assert '-> salt-run fim_bootstrap.reboot tgt=edge1"' in applied.out
    stopped = fleet_of_six.runner(f"{ORCHESTRATE} {fleet_pillar(allow_fail=3)}")
    assert stopped.status != 0, stopped.out
    (states,) = json.loads(stopped.out)["data"].values()
    outcome = next(s["changes"]["return"] for s in states.values() if s["name"] == "fim_bootstrap.reboot")
    assert (outcome["ready"], list(outcome["not_ready"]), outcome["not_rebooted"]) == (["edge1"], ["edge2"], ["edge3"])
    assert outcome["not_ready"]["edge2"].startswith("not ready; reboot required")
    assert boots(fleet_of_six) == [1, 1, 0]
    assert result(fleet_of_six.minions["edge1"])["verdict"] == "ready"
    assert json.loads(fleet_of_six.runner("fim_bootstrap.pending").out) == ["edge2", "edge3"]


def test_one_that_does_not_come_back_is_told_and_two_at_once_come_back(fleet_of_six: Fleet) -> None:
    """The minion of edge3 does not start after its boot; later it and edge2 boot into the right system."""
    edge2, edge3 = (fleet_of_six.minions[name] for name in ("edge2", "edge3"))
    edge3.at_boot = deployed(edge3, packages=False, minion_starts=False)
    stopped = fleet_of_six.runner("fim_bootstrap.reboot tgt=edge3 timeout=20")
    assert stopped.status == 1
    assert json.loads(stopped.out)["not_ready"] == {"edge3": "did not come back"}
    edge3.start()
    fleet_of_six.until_answer("edge3")
    assert json.loads(fleet_of_six.runner("fim_bootstrap.pending").out) == ["edge2"], "nothing has looked at edge3 yet"
    assert fleet_of_six.answers("edge3 fim_bootstrap.apply")["edge3"]["reboot_required"] is True
    eventually(fleet_of_six, "G@fim_bootstrap:reboot_required:True", ("edge2", "edge3"))

    edge2.at_boot, edge3.at_boot = deployed(edge2), deployed(edge3)
    both = fleet_of_six.runner(f"fim_bootstrap.reboot batch=100% timeout={PATIENCE}")
    assert (both.status, set(json.loads(both.out)["ready"])) == (0, {"edge2", "edge3"}), both.out
    assert boots(fleet_of_six) == [1, 2, 2]
    nothing = fleet_of_six.runner("fim_bootstrap.reboot")
    assert (nothing.status, json.loads(nothing.out)["ready"], boots(fleet_of_six)) == (0, [], [1, 2, 2])


def test_a_grain_that_has_become_wrong_reboots_nothing(fleet_of_six: Fleet) -> None:
    """Asked again just before, the host itself says that it needs none."""
    edge1 = fleet_of_six.minions["edge1"]
    path = edge1.root.path / "run/fim-bootstrap/result.json"
    path.write_text(json.dumps({**result(edge1), "reboot_required": True}))
    fleet_of_six.salt("edge1 saltutil.refresh_grains")
    eventually(fleet_of_six, "G@fim_bootstrap:reboot_required:True", ("edge1",))
    ran = fleet_of_six.runner("fim_bootstrap.reboot")
    assert (ran.status, json.loads(ran.out)["not_needed"], boots(fleet_of_six)) == (0, ["edge1"], [1, 2, 2])
