"""Many rounds: memory, descriptors and log stay flat, files stay as they are; and two instances never both write.

A short version runs with `make test-faults`, the long one with `make soak` (FIM_SOAK=1).
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap import cli
from fim_bootstrap.changes import journal
from fim_bootstrap.host.live import LOG_LIMIT, LiveHost
from tests.conftest import PROJECT, Tree
from tests.faults.test_crash import HOSTILE
from tests.live.guest import FIM, guest
from tests.live.test_scenarios import running
from tests.managers.test_managers import release_root

pytestmark = pytest.mark.faults

LONG = bool(os.environ.get("FIM_SOAK"))
ROUNDS = Path(__file__).with_name("rounds.py")
GROWTH = 512 << 10  # bytes that memory may grow by in the second half of the rounds


def flat(text: str, count: int) -> dict[str, Any]:
    """What rounds.py printed, if nothing grew and nothing changed."""
    seen: dict[str, Any] = json.loads(text)
    assert (seen["rounds"], seen["changed"]) == (count, 0), seen
    assert seen["statuses"] == [["apply", 0, "ready"], ["check", 0, "ready"]], seen
    early, late = seen["early"], seen["late"]
    assert (late["descriptors"], late["threads"]) == (early["descriptors"], early["threads"]), seen
    assert late["memory"] - early["memory"] < GROWTH, seen
    assert seen["log"] < 2 * LOG_LIMIT + 4096, seen
    grown = (late["memory"] - early["memory"]) >> 10
    print(f"\n-- {count} rounds of apply and check: {late['memory'] >> 10} KB (+{grown}),"
          f" {late['descriptors']} descriptors (+0), log {seen['log'] >> 10} KB")  # fmt: skip
    return seen


def test_rounds_in_a_tree(tree: Tree) -> None:
    count = 1000 if LONG else 200
    (tree.folder / "var/log").mkdir(parents=True)
    (tree.folder / "var/log/fim-bootstrap.log").write_text("x" * (LOG_LIMIT - 1000))
    argv = [sys.executable, str(ROUNDS), str(count), "--root", str(tree.folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr
    flat(done.stdout, count)
    assert (tree.folder / "var/log/fim-bootstrap.log.1").exists()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"-- peak memory of all children: {peak >> 10} MB")


@pytest.mark.skipif(not LONG, reason="minutes: make soak")
def test_rounds_in_a_root_with_real_tools() -> None:
    with release_root("debian-12") as (here, _):
        shutil.copy(ROUNDS, here.path / "opt/fim-bootstrap/rounds.py")
        assert here.fim("apply").status == 0
        done = subprocess.run(
            ["chroot", str(here.path), "sh", "-c", f"{FIM.replace('bootstrap.py', 'rounds.py')} 1000"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        flat(done.stdout, 1000)


@pytest.mark.skipif(not LONG, reason="minutes: make soak")
def test_rounds_in_a_guest() -> None:
    with guest("bookworm") as machine:
        assert machine.fim("apply").status == 0
        running(machine)
        before = machine.run("pidof auditd qualys-edr").out
        machine.run(f"cat > /opt/fim-bootstrap/rounds.py <<'END'\n{ROUNDS.read_text()}END")
        flat(machine.run(f"{FIM.replace('bootstrap.py', 'rounds.py')} 50", timeout=1500).out, 50)
        assert machine.run("pidof auditd qualys-edr").out == before


def test_two_instances_never_both_write(tmp_path: Path) -> None:
    """Two processes begin at once, 200 times; the journal shows who wrote."""
    model = Tree(tmp_path / "model")
    for name, text in HOSTILE.items():
        model.write(name, text, 0o640)
    folder, met = tmp_path / "tree", 0
    for number in range(200):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(model.folder, folder, symlinks=True)
        statuses = sorted(at_once(["apply", "--root", str(folder)], tmp_path / "out"))
        assert statuses in ([0, 0], [0, 75]), (number, statuses)
        met += statuses == [0, 75]
        edits = [entry["path"] for entry in journal.entries(LiveHost(str(folder)))]
        assert sorted(edits) == sorted({*HOSTILE, "/etc/audit/auditd.conf"}), number
    assert met > 20
    print(f"\n-- 200 races of two instances: one wrote each time, {met} times the other was told to come back")


def at_once(words: list[str], out: Path) -> list[int]:
    """The exit statuses of two runs that begin at the same moment."""
    reading, writing = os.pipe()
    children = []
    for _ in range(2):
        if (child := os.fork()) == 0:
            os.close(writing)
            os.read(reading, 1)
            os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
            os.dup2(1, 2)
            os._exit(cli.main(words))
        children.append(child)
    os.close(reading)
    os.close(writing)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
