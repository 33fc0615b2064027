"""One reboot for one cause: what check, reboot-required and apply say of a locked kernel, boot after boot."""

from __future__ import annotations

import contextlib
import json
from typing import Any, NamedTuple

import pytest

from fim_bootstrap import cli, reboot_mark, session
from fim_bootstrap.audit import auditd_conf, reboots
from fim_bootstrap.changes import journal, revert
from fim_bootstrap.facts import system
from fim_bootstrap.model import OsRelease, Status
from tests.conftest import AUDITD_CONF
from tests.dict_host import DictHost
from tests.test_engine import Machine
from tests.test_requirements import STATUS, find
from tests.test_requirements import facts as ready

LOCK = "/etc/audit/rules.d/99-lock.rules"
SILENCE = "/etc/audit/rules.d/10-no-audit.rules"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Said(NamedTuple):
    """What the three commands say of a reboot."""

    check: bool
    asked: int  # exit status of reboot-required
    apply: bool
    rebooted: bool
    status: str
    rules: dict[str, Any]


class Commands:
    """A machine that is booted again and again, and asked by the commands themselves."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.machine, self.host, self.capsys = machine, machine.host, capsys
        self.host.programs("shutdown")
        monkeypatch.setattr(self.host, "alone", contextlib.nullcontext, raising=False)
        for module in (cli, session):
            monkeypatch.setattr(module, "LiveHost", lambda *_: self.host)
        monkeypatch.setattr(system, "identify", lambda _: OsRelease("debian", "12"))

    def boot(self, name: str, locked: bool = True) -> None:
        """The kernel of another boot; whatever locks it has done so."""
        self.host.write(BOOT_ID, f"{name}\n")
        self.machine.enabled = 2 if locked else 1

    def report(self, *words: str) -> dict[str, Any]:
        """The report of a command."""
        cli.main([*words, "--format", "json"])
        return dict(json.loads(self.capsys.readouterr().out))

    def ask(self) -> Said:
        """All three, check first: it writes nothing down."""
        before = self.host.read_bytes(journal.JOURNAL)
        check = self.report("check")
        asked = cli.main(["reboot-required"])
        self.capsys.readouterr()
        assert self.host.read_bytes(journal.JOURNAL) == before
        done = len(self.host.done)
        apply = self.report("apply", "--reboot", "when-needed")
        rebooted = any(line.startswith("shutdown") for line in self.host.done[done:])
        rules = next(item for item in apply["requirements"] if item["id"] == "rules")
        return Said(check["reboot_required"], asked, apply["reboot_required"], rebooted, rules["status"], rules)


@pytest.fixture
def commands(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """A machine in its first boot, locked from outside the rule files."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = Commands(Machine(dict_host), monkeypatch, capsys)
    found.boot("a")
    return found


def due(said: Said) -> bool:
    """Whether all agree that a reboot is due, or all that none is."""
    answers = {said.check, said.asked == 0, said.apply, said.rebooted, said.status == "reboot"}
    assert len(answers) == 1, said
    return said.apply


def test_a_lock_that_no_file_explains_is_worth_one_reboot(commands: Commands) -> None:
    assert due(commands.ask())
    assert due(commands.ask())  # in the same boot it is still due
    commands.host.write("/etc/rc.local", "auditctl -e 2\n")
    commands.boot("b")
    said = commands.ask()
    assert not due(said)
    assert said.status == "blocked"
    assert "may lock it: /etc/rc.local:1: auditctl -e 2" in said.rules["evidence"]
    assert "auditbeat" in said.rules["remedy"]
    commands.boot("c")
    assert not due(commands.ask())  # nor ever after


def test_what_an_edit_made_due_has_been_tried_by_the_next_boot(commands: Commands) -> None:
    commands.host.write(LOCK, "-e 2\n")
    assert commands.report("check")["reboot_after_apply"] is True
    assert commands.report("apply")["reboot_required"] is True
    commands.boot("b")
    assert not due(commands.ask())


def test_a_new_line_is_a_new_cause(commands: Commands) -> None:
    commands.host.write(LOCK, "-e 2\n")
    commands.report("apply")
    commands.boot("b")
    commands.host.write(LOCK, "-w /etc -p wa\n-e 2\n")
    assert commands.report("check")["reboot_after_apply"] is True
    assert commands.report("apply")["reboot_required"] is True
    assert due(commands.ask())
    commands.boot("c")
    assert not due(commands.ask())


def test_an_edit_that_took_out_no_lock_makes_no_reboot_due(commands: Commands) -> None:
    commands.host.write(LOCK, "-e 2\n")
    commands.report("apply")
    commands.boot("b")
    commands.host.write(SILENCE, "-a task,never\n")
    commands.machine.change_conf(AUDITD_CONF)
    assert commands.report("check")["reboot_after_apply"] is False
    said = commands.report("apply")
    assert len(said["done"]) == 2
    assert said["reboot_required"] is False
    assert not due(commands.ask())


def test_a_reboot_that_helped_ends_it(commands: Commands) -> None:
    assert due(commands.ask())
    commands.boot("b", locked=False)
    said = commands.ask()
    assert not due(said)
    assert said.status == "ok"


@pytest.mark.parametrize("path", [LOCK, "/etc/audit/audit.rules"])
def test_a_journal_of_an_earlier_release_allows_one(commands: Commands, path: str) -> None:
    edit = {"id": "1", "kind": "edit", "path": path, "before": "", "after": ""}
    commands.host.append(journal.JOURNAL, json.dumps(edit))
    assert due(commands.ask())
    commands.boot("b")
    assert not due(commands.ask())


@pytest.mark.parametrize("unknown", ["", "a"])
def test_without_the_id_of_a_boot_a_reboot_is_allowed(commands: Commands, unknown: str) -> None:
    commands.boot(unknown)
    assert due(commands.ask())
    commands.boot("" if unknown else "a")
    assert due(commands.ask())


def test_the_note_is_written_once_in_a_boot_and_taken_back(commands: Commands) -> None:
    commands.ask()
    commands.ask()
    (note,) = journal.entries(commands.host)
    assert (note["kind"], note["cause"], note["boot"]) == ("reboot", "kernel: enabled 2", "a")
    assert note["uptime"] == pytest.approx(5000.0, abs=60)
    undone, notes, problems = revert.take_back(commands.host, journal.entries(commands.host), lambda _: None, True)
    assert (undone, notes, problems, journal.entries(commands.host)) == (0, [], [], [])
    commands.boot("b")
    assert due(commands.ask())


def test_an_edit_is_its_own_note(commands: Commands) -> None:
    commands.host.write(LOCK, "-e 2\n")
    commands.report("apply")
    assert [step["kind"] for step in journal.entries(commands.host)] == ["edit"]
    assert [step["boot"] for step in journal.entries(commands.host)] == ["a"]


def test_nothing_is_noted_where_no_reboot_is_due(commands: Commands) -> None:
    commands.boot("a", locked=False)
    commands.report("apply")
    assert commands.host.read(journal.JOURNAL) is None


def test_a_run_that_something_else_stops_notes_the_reboot_that_it_reports(commands: Commands) -> None:
    commands.host.remove(auditd_conf.PATH)
    commands.host.done.clear()
    document = commands.report("apply")
    assert (document["verdict"], document["reboot_required"]) == ("blocked", True)
    assert [step["kind"] for step in journal.entries(commands.host)] == ["reboot"]


def test_the_last_cause_counts() -> None:
    edit = {"kind": "edit", "path": LOCK, "unlocks": True}
    first, second = {**edit, "boot": "a"}, {**edit, "boot": "b"}
    other = {**edit, "boot": "c", "unlocks": False}
    assert reboots.spent([first, second, other], "c")
    assert not reboots.spent([first, second, other], "b")
    assert not reboots.noted([second, first], "b")
    assert not reboots.spent([], "a")
    assert not reboots.spent([{"kind": "restart", "boot": "a"}], "b")
    assert not reboots.spent([{"kind": "edit", "path": auditd_conf.PATH, "boot": "a"}], "b")


def test_a_spent_reboot_leaves_the_rest_to_be_prepared() -> None:
    host = ready("audit", status={**STATUS, "enabled": 2}, reboot_spent=True)
    found = find("rules", host)
    assert (found.status, found.evidence[0]) == (Status.BLOCKED, "kernel: enabled 2")
    assert "--skip rules" in found.remedy
    assert find("rules", host._replace(audit=host.audit._replace(status=STATUS))).status is Status.OK


def test_a_mark_is_left_for_a_cause_once_and_only_where_it_is_asked_for(commands: Commands) -> None:
    """A boot empties /run; where the kernel is locked again after it, another reboot would end alike."""

    def marks(*words: str) -> dict[str, str]:
        before = len(commands.host.done)
        commands.report("apply", *words)
        assert not any(line.startswith("shutdown") for line in commands.host.done[before:])
        paths = [path for path in commands.host.nodes if path.startswith("/run/reboot")]
        return {path: (commands.host.nodes.pop(path).content or b"").decode() for path in paths}

    assert marks() == {}
    left = {reboot_mark.REQUIRED: "*** System restart required ***\n", reboot_mark.PACKAGES: "fim-bootstrap\n"}
    assert marks("--reboot", "mark") == left
    assert marks("--reboot", "mark") == left  # somebody removed them, and it is still due
    commands.boot("b")
    assert marks("--reboot", "mark") == {}
    commands.boot("c", locked=False)
    assert marks("--reboot", "mark") == {}


def test_the_answer_is_the_status_whoever_hears_the_words(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1 for a full stdout a reboot that is due would be taken for none (cloud-init's power_state)."""
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:  # closing it writes again
        monkeypatch.setattr("sys.stdout", full)
        due = cli.main(["reboot-required"])
        commands.boot("a", locked=False)
        not_due = cli.main(["reboot-required"])
        monkeypatch.undo()
    assert (due, not_due) == (0, 1)
