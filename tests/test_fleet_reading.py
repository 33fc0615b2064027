"""Reports in every form in which they are collected, what is none, and whose they are."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_bootstrap.fleet import answers, page, reading
from fim_bootstrap.fleet import text as fleet_text
from fim_bootstrap.fleet.picture import picture
from fim_bootstrap.fleet.plan import Wanted, plan
from fim_bootstrap.fleet.since import since
from fim_bootstrap.fleet.table import moment
from tests.conftest import ALONE, PROJECT
from tests.fleet_reports import (
    NOW,
    STATE,
    frozen,
    names,
    of,
    of_error,
    read,
    report,
    requirement,
)

# ---------------------------------------------------------------- how reports arrive

TWO = (report("web1"), frozen("web2"))
STDERR = "[   0.5 s] rules: edit\nwarning: {not json\n"
STATE_RUN = {
    "fim_bootstrap_|-fim-bootstrap-ready_|-fim-bootstrap-ready_|-ready": {
        "result": True,
        "changes": {},
        "comment": "ready after reboot; reboot required",
        "__run_num__": 1,
    },
}
FORMS: dict[str, Callable[[], str]] = {
    "lines": lambda: "".join(json.dumps(item) + "\n" for item in TWO),
    "lines without the last newline": lambda: "\n".join(map(json.dumps, TWO)),
    "one after another": lambda: "".join(map(json.dumps, TWO)),
    "indented, one after another": lambda: "\n".join(json.dumps(item, indent=2) for item in TWO) + "\n",
    "not indented": lambda: "\n".join(json.dumps(item, indent=0) for item in TWO),
    "an array": lambda: json.dumps(TWO, indent=4),
    "an array, a report a line": lambda: "[\n" + ",\n".join(map(json.dumps, TWO)) + "\n]\n",
    "sorted keys": lambda: "".join(json.dumps(item, sort_keys=True) + "\n" for item in TWO),
    "a byte order mark, CRLF": lambda: "\ufeff" + "\r\n".join(map(json.dumps, TWO)) + "\r\n",
    "salt --static, cmd.run": lambda: json.dumps(
        {item["host"]["hostname"]: json.dumps(item) for item in TWO}, indent=4
    ),
    "salt, cmd.run": lambda: "\n".join(
        json.dumps({item["host"]["hostname"]: json.dumps(item)}, indent=4) for item in TWO
    ),
    "salt, cmd.run with stderr": lambda: json.dumps(
        {item["host"]["hostname"]: f"{STDERR}{json.dumps(item, indent=2)}\n[ 1.0 s] done" for item in TWO}
    ),
    "salt, cmd.run_all": lambda: json.dumps(
        {
            item["host"]["hostname"]: {"pid": 7, "retcode": 3, "stdout": json.dumps(item), "stderr": STDERR}
            for item in TWO
        }
    ),
    "salt, our module": lambda: json.dumps({item["host"]["hostname"]: item for item in TWO}, indent=4),
    "salt, full return": lambda: json.dumps(
        {item["host"]["hostname"]: {"ret": item, "retcode": 0, "jid": "2"} for item in TWO}
    ),
    "salt, our state": lambda: json.dumps(
        {"web1": {**STATE_RUN, "x_|-y": {"comment": "ready", "result": True}}, "web2": STATE_RUN}
    ).replace("ready after reboot; reboot required", "ready", 1),
    "salt, cmd.run as a state": lambda: json.dumps(
        {
            item["host"]["hostname"]: {
                "cmd_|-fim-bootstrap-applied_|-x_|-run": {"changes": item, "comment": item["comment"], "result": True}
            }
            for item in TWO
        }
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_a_report_is_read_in_whatever_it_came(form: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "collected"
    path.write_bytes(gzip.compress(FORMS[form]().encode()) if packed else FORMS[form]().encode())
    fleet = read(path)
    assert names(fleet) == ["web1", "web2"], form
    assert [(machine.verdict, machine.reboot) for machine in fleet.machines] == [
        ("ready", False),
        ("ready-after-reboot", True),
    ]
    assert not fleet.problems


@pytest.mark.parametrize("chunk", [23, 256])
@pytest.mark.parametrize("form", FORMS)
def test_where_a_chunk_ends_does_not_matter(form: str, chunk: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "CHUNK", chunk)
    (tmp_path / "collected").write_text(FORMS[form]())
    fleet = read(tmp_path / "collected")
    assert names(fleet) == ["web1", "web2"]
    assert not fleet.problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.dictionaries(st.sampled_from(["host", "verdict", "time"]), JSON, min_size=1)),
    between=st.sampled_from(["", "\n", " \r\n\t"]),
    chunk=st.integers(1, 40),
)
def test_any_value_is_read_as_json_reads_it(values: list[Any], between: str, chunk: int) -> None:
    stream = io.BytesIO(between.join(map(json.dumps, values)).encode())
    problems: list[str] = []
    text = reading._Text(lambda: stream.read(chunk))
    assert [value for _, value in text.answers(problems.append)] == values
    assert not problems


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet='{}[]",:\\ \nua0-', max_size=60).map(str.encode))
def test_any_bytes_come_to_an_end(data: bytes) -> None:
    stream = io.BytesIO(data)
    problems: list[str] = []
    list(reading._Text(lambda: stream.read(5)).answers(problems.append))


def test_files_folders_patterns_and_a_pipe(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / f"site{number % 2}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"web{number}.json").write_text(json.dumps(report(f"web{number}")))
    (tmp_path / "site0/.git").mkdir()
    (tmp_path / "site0/.git/config").write_text("hidden")
    (tmp_path / "site0/loop").symlink_to(tmp_path)
    assert names(read(tmp_path)) == ["web0", "web1", "web2", "web3"]
    assert names(read(tmp_path / "site*/deep/*.json")) == ["web0", "web1", "web2", "web3"]
    assert names(read(tmp_path / "**")) == ["web0", "web1", "web2", "web3"]
    assert names(read(tmp_path / "site0", tmp_path / "site1/deep/web3.json")) == ["web0", "web2", "web3"]
    ran = subprocess.run(
        [sys.executable, str(PROJECT / "bootstrap.py"), "fleet", "-"],
        input=json.dumps(report("piped")),
        capture_output=True,
        text=True,
        check=True,
        env=ALONE,
    )
    assert ran.stdout.startswith("1 host, ")


def test_a_folder_does_not_wait_for_a_pipe_in_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "web1.json").write_text(json.dumps(report("web1")))
    fleet = read(tmp_path)
    assert names(fleet) == ["web1"]
    assert list(fleet.problems.values()) == ["not a regular file"]


def test_ansible_fetched_them(tmp_path: Path) -> None:
    """By the name of the inventory, which is what reaches them."""
    for name, text in (("web1.example.org", report("web1")), ("db1", of_error()), ("10.0.0.7", report("localhost"))):
        path = tmp_path / name / "run/fim-bootstrap/result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(text))
    assert names(read(tmp_path)) == ["10.0.0.7", "db1", "web1.example.org"]


def test_ansible_fetched_them_and_they_are_named_one_by_one(tmp_path: Path) -> None:
    """As a shell does with a pattern; the folders above say nothing, and this host's own file neither."""
    path = tmp_path / "home/run/db1.example.org/run/fim-bootstrap/result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(report("db1")))
    assert names(read(path)) == names(read(tmp_path / "*/*/*/run/*/result.json")) == ["db1.example.org"]
    path = tmp_path / "home/run/web1.json"
    path.write_text(json.dumps(report("web1")))
    assert names(read(path)) == ["web1"]
    assert reading.fetched_from("/run/fim-bootstrap/result.json", "") == ""


def test_a_host_that_says_no_name_has_its_files(tmp_path: Path) -> None:
    (tmp_path / "web1.2026-11-27.json").write_text(json.dumps(report("web1")))
    (tmp_path / "web3.json.gz").write_bytes(gzip.compress(json.dumps(of_error()).encode()))
    (tmp_path / "i-07a").mkdir()
    (tmp_path / "i-07a/stdout").write_text("[  0.1 s] x\n" + json.dumps(of_error(), indent=2))
    assert names(read(tmp_path)) == ["i-07a", "web1", "web3"]


def test_hosts_without_a_name_are_counted_one_by_one(tmp_path: Path) -> None:
    assert len(of(tmp_path, report("web1"), of_error(), of_error()).machines) == 3


def test_who_did_not_answer_is_not_known(tmp_path: Path) -> None:
    said = {
        "web1": json.dumps(report("web1")),
        "web2": "Minion did not return. [Not connected]",
        "web3": False,
        "web4": "/bin/sh: 1: fim-bootstrap: not found",
        "web5": ["No matching sls found"],
        "web6": {"retcode": 127, "stdout": "", "stderr": "sh: not found"},
    }
    (tmp_path / "salt.json").write_text(json.dumps(said))
    fleet = read(tmp_path / "salt.json")
    assert {machine.name: machine.verdict for machine in fleet.machines} == {
        "web1": "ready",
        **dict.fromkeys(["web2", "web3", "web4", "web5", "web6"], "unknown"),
    }
    assert picture(fleet, STATE).states["unknown"] == 5
    assert "run: /bin/sh: 1: fim-bootstrap: not found" in {
        fleet.causes[m.causes[0]].text() for m in fleet.machines if m.causes
    }


def test_no_answer_does_not_displace_a_report(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"web1": report("web1")}))
    (tmp_path / "b.json").write_text(json.dumps({"web1": "Minion did not return. [No response]"}))
    for order in (["a.json", "b.json"], ["b.json", "a.json"]):
        fleet = read(*(tmp_path / name for name in order))
        assert [machine.verdict for machine in fleet.machines] == ["ready"]


# ---------------------------------------------------------------- what is no report

FOREIGN = {
    "empty.json": b"",
    "blank.json": b" \n\n",
    "cut.json": json.dumps(report("lost"), indent=2).encode()[:400],
    "cut.json.gz": gzip.compress(json.dumps(report("lost")).encode())[:-20],
    "flipped.json.gz": gzip.compress(os.urandom(64))[:12] + b"\xff" * 60,
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "README": b"hello\n",
    "package.json": b'{"name": "x", "version": "1.0", "private": true, "scripts": {"build": "make"}}',
    "facts.json": b'{"environment": "booted", "hostname": "web1"}',
    "revert.json": b'{"command": "revert", "changed": false, "failed": false, "comment": "0 steps taken back"}',
    "other.json": b'{"schema_version": 1, "tool": {"name": "another"}, "verdict": "ready", "host": {"hostname": "x"}}',
    "deep.json": b"[" * 100000,
    "deep object.json": b'{"host": ' * 100000,
    "digits.json": b'{"time": ' + b"9" * 6000 + b"}",
    "null.json": b"null\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_broken_or_foreign_is_named_and_skipped(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(report("web1")))
    (tmp_path / name).write_bytes(FOREIGN[name])
    (tmp_path / "z.json").write_text(json.dumps(report("web2")))
    fleet = read(tmp_path)
    assert names(fleet) == ["web1", "web2"]
    assert list(fleet.problems) == [str(tmp_path / name)]
    assert fleet.problems[str(tmp_path / name)]


def test_a_broken_line_costs_that_line_alone(tmp_path: Path) -> None:
    lines = [json.dumps(report(f"web{number}")) for number in range(5)]
    lines[1] = lines[1][:200]
    lines[3] = "panic: out of memory"
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    fleet = read(tmp_path)
    assert names(fleet) == ["web0", "web2", "web4"]
    assert next(iter(fleet.problems.values())).startswith("line ")


def test_a_value_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not kept: what is held is never much more than the limit."""
    monkeypatch.setattr(reading, "LARGEST", 20_000)
    chunks = [b'{"verdict": "', *[b"x" * 4096] * 50, b"\n", json.dumps(report("web1")).encode()]

    def read_on() -> bytes:
        assert len(text._text) < 30_000
        return chunks.pop(0) if chunks else b""

    text = reading._Text(read_on)
    problems: list[str] = []
    assert [value["host"]["hostname"] for _, value in text.answers(problems.append)] == ["web1"]
    assert problems == ["line 1: a value of more than 0 MB"]


MANGLED: Sequence[dict[str, Any]] = (
    {"host": None},
    {"host": []},
    {"host": {"hostname": 7, "os": "x", "machine": []}},
    {"requirements": {"a": 1}},
    {"requirements": [None, 7, {"id": [], "status": {}, "summary": 3, "evidence": "x", "warnings": 7}]},
    {"requirements": [{}]},
    {"time": "yesterday"},
    {"time": 10**40},
    {"time": "9999-99-99"},
    {"versions": "6"},
    {"causes": "x", "chain": {"hop": 1}},
    {"causes": [1, {"id": "rules", "file": {}}], "chain": [{}, "x", {"hop": None}]},
    {"verdict": "splendid"},
    {"reboot_required": "yes"},
    {"skipped_by_option": [[], {}, 7]},
    {"agent": {}, "comment": 7},
    {"tool": None},
    {"schema_version": 2},
)


@pytest.mark.parametrize("more", MANGLED, ids=str)
def test_a_report_with_something_else_in_it_counts(more: dict[str, Any], tmp_path: Path) -> None:
    fleet = of(tmp_path, report("other"), {**report("web1", "not-ready", requirement("rules", "change", "x")), **more})
    assert len(fleet.machines) == 2
    found = picture(fleet, STATE)
    page.rendered(found, plan(fleet.machines, STATE, Wanted()), since(fleet, fleet, STATE))


# ---------------------------------------------------------------- whose reports they are


def test_of_two_reports_the_newer_counts(tmp_path: Path) -> None:
    def at(seconds: float, verdict: str) -> dict[str, Any]:
        return report("web1", verdict, machine="m1", time=moment(NOW + seconds))

    for order in ([at(-60, "ready"), at(-3600, "blocked")], [at(-3600, "blocked"), at(-60, "ready")]):
        fleet = of(tmp_path, *order)
        assert [(machine.verdict, machine.seen) for machine in fleet.machines] == [("ready", NOW - 60)]


def test_a_report_without_a_time_is_of_its_file(tmp_path: Path) -> None:
    for name, verdict, age in (("new", "ready", 60), ("old", "blocked", 3600)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(report("web1", verdict)))
        os.utime(path, (NOW - age, NOW - age))
    assert [(machine.verdict, machine.seen) for machine in read(tmp_path).machines] == [("ready", NOW - 60)]


def test_a_clock_that_runs_ahead_wins_nothing(tmp_path: Path) -> None:
    fleet = of(tmp_path, report("a", machine="m", time="2199-01-01T00:00:00Z"))
    assert fleet.machines[0].seen == NOW


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-18T01:46:40Z",
        "2026-11-18T01:46:40+00:00",
        "2026-11-18T03:46:40+02:00",
        "2026-11-18T01:46:40",
        "2026-11-18 01:46:40",
    ],
)
def test_times_of_iso_8601(text: str, tmp_path: Path) -> None:
    assert of(tmp_path, report("web1", time=text)).machines[0].seen == 1794966400.0


def test_a_machine_is_known_by_its_id_and_before_that_by_its_name(tmp_path: Path) -> None:
    old = report("web1", "blocked")
    new = report("web1", machine="m1", time=moment(NOW))
    os.makedirs(tmp_path / "a")
    (tmp_path / "a/old.json").write_text(json.dumps(old))
    os.utime(tmp_path / "a/old.json", (NOW - 999, NOW - 999))
    (tmp_path / "a/new.json").write_text(json.dumps(new))
    assert [(m.verdict, m.identity) for m in read(tmp_path / "a").machines] == [("ready", "m1")]


def test_same_name_other_machine(tmp_path: Path) -> None:
    fleet = of(tmp_path, report("localhost", machine="m1"), report("localhost", machine="m2"))
    assert len(fleet.machines) == 2


def test_one_id_under_two_names_is_said(tmp_path: Path) -> None:
    """A cloned image with its machine-id: one of the two is not counted, and nobody shall overlook that."""
    fleet = of(tmp_path, report("gold", machine="m1"), report("clone", machine="m1"))
    assert names(fleet) == ["clone"]
    assert fleet.aliases == ["clone, gold"]
    assert any("clone, gold" in line for line in fleet_text.notes(picture(fleet, STATE)))


def test_a_run_that_ended_early_is_the_machine_that_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "web1").mkdir()
    (tmp_path / "web1/result.json").write_text(json.dumps(report("web1", machine="m1", time=moment(NOW - 500))))
    later = tmp_path / "later/web1.json"
    later.parent.mkdir()
    later.write_text(json.dumps(of_error(time=moment(NOW - 5))))
    [machine] = read(tmp_path).machines
    assert (machine.verdict, machine.identity, machine.release) == ("failed", "m1", "debian 12")


REPORT = report("web1", "blocked")
STATE_ID = "cmd_|-fim-bootstrap_|-fim-bootstrap_|-run"
TOLD = (
    "not ready; 2 changes made; rules: lines that lock: -e 2; reboot required; Agent: x; -> fim-bootstrap apply\nmore"
)


@pytest.mark.parametrize(("value", "found"), [
    (REPORT, REPORT),
    (json.dumps(REPORT), REPORT),
    (f"warning: {{x\n{{x\n{json.dumps(REPORT)}\n", REPORT),
    ({"stdout": json.dumps(REPORT)}, REPORT), ({"ret": REPORT}, REPORT), ({"return": {"ret": REPORT}}, REPORT),
    ({"stdout": "", "ret": REPORT}, REPORT),
    ({**REPORT, "tool": {"name": "another"}}, None), ({**REPORT, "tool": "x"}, {**REPORT, "tool": "x"}),
    ({"verdict": "ready"}, None), ({"verdict": 1, "schema_version": 1}, None),
    ({"verdict": "ready", "requirements": []}, {"verdict": "ready", "requirements": []}),
    ([REPORT], None), (None, None), ("no JSON", None), ("{", None),
    ({STATE_ID: {"changes": REPORT, "comment": "blocked"}}, {**REPORT, "comment": "blocked"}),
    ({STATE_ID: {"comment": "all is well"}}, None), ({STATE_ID: "x"}, None),
    ({"cmd_|-other": {"changes": REPORT, "comment": "blocked"}}, None),
    ({STATE_ID: {"changes": {}, "comment": "ready"}},
     {"verdict": "ready", "reboot_required": False, "comment": "ready", "requirements": []}),
    ({STATE_ID: {"comment": TOLD}}, {
        "verdict": "not-ready", "reboot_required": True, "comment": TOLD, "requirements": [
            {"id": "rules", "status": "change", "summary": "lines that lock: -e 2"},
            {"id": "reboot", "status": "reboot", "summary": "a reboot is required"}]}),
    ({STATE_ID: {"comment": "blocked; agent: gone"}}, {
        "verdict": "blocked", "reboot_required": False, "comment": "blocked; agent: gone",
        "requirements": [{"id": "agent", "status": "blocked", "summary": "gone"}]}),
    ({f"1{STATE_ID}": {"comment": "ready"}, f"2{STATE_ID}": {"comment": "failed"}},
     {"verdict": "failed", "reboot_required": False, "comment": "failed", "requirements": []}),
])  # fmt: skip
def test_a_report_is_found_in_an_answer_of_each_form(value: Any, found: Any) -> None:
    assert answers.report_in(value) == found


@pytest.mark.parametrize(("value", "line"), [
    ({"stderr": "", "stdout": " a\nb", "msg": "c"}, "a"), ({"msg": "c", "comment": "d"}, "c"), ({"comment": "d"}, "d"),
    ({}, "no answer"), ([], "no answer"), (["x", "y"], "x"), (None, "no answer"), (False, "no answer"),
    ("", "no answer"), (7, "7"),
])  # fmt: skip
def test_what_stood_in_the_place_of_a_report_is_told_by_its_first_line(value: Any, line: str) -> None:
    assert answers._first_line(value) == line


def test_a_folder_that_cannot_be_read_is_left_out_and_named() -> None:
    skipped: list[tuple[str, str]] = []
    assert list(reading._below("/nowhere", lambda *why: skipped.append(why))) == []
    assert skipped == [("/nowhere", "No such file or directory")]
