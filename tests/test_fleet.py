"""What is said of many hosts together, and the command that says it."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import fleet as bench
from fim_bootstrap import cli, options, written_by
from fim_bootstrap.fleet import causes as fleet_causes
from fim_bootstrap.fleet import page, wording
from fim_bootstrap.fleet import text as fleet_text
from fim_bootstrap.fleet.machines import Fleet
from fim_bootstrap.fleet.picture import STALE, State, picture
from fim_bootstrap.fleet.plan import OLD, Wanted, plan
from fim_bootstrap.fleet.since import since
from fim_bootstrap.fleet.table import cells, lines, moment
from fim_bootstrap.host import live
from fim_bootstrap.model import OsRelease
from tests import fleet_golden
from tests.conftest import ALONE, PROJECT, Ran, Tree, fim
from tests.fleet_reports import (
    FROZEN,
    NOW,
    STATE,
    frozen,
    hostile_fleet,
    of,
    of_error,
    read,
    report,
    requirement,
    rows,
)

# ---------------------------------------------------------------- the picture


def test_causes_are_grouped_by_what_one_would_do(tmp_path: Path) -> None:
    source = "traces of a hardening role: set rhel9cis_rule_6_3_3_20: false"
    told = [{"id": "rules", "file": FROZEN, "line": n, "text": "-e 2", "source": source} for n in (3,)]
    reports = [frozen(f"web{n}", causes=told, time=moment(NOW)) for n in range(3)]
    change = requirement("rules", "change", "lines", evidence=[f"{FROZEN}:7: -e 2", "/etc/audit/audit.rules:99: -e 2"])
    policy = requirement("policy", "change", "not in the store")
    reports += [
        report("a", "not-ready", change),
        report("b", "not-ready", change, policy),
        report("c", "not-ready", policy),
        report("d"),
    ]
    assert rows(of(tmp_path, *reports)) == {
        f"rules: -e 2 in {FROZEN} (traces of a hardening role)": (
            3,
            3,
            "set rhel9cis_rule_6_3_3_20: false, then reboot, in batches",
        ),
        f"rules: -e 2 in {FROZEN}": (2, 1, "fim-bootstrap apply, then reboot, in batches, where the kernel is frozen"),
        "policy: not in the store": (2, 1, "fim-bootstrap apply"),
    }


def test_a_generated_file_is_changed_where_it_comes_from(tmp_path: Path) -> None:
    change = requirement(
        "rules",
        "change",
        "lines",
        evidence=[f"{FROZEN}:7: -a task,never"],
        warnings=[f"{FROZEN} looks generated: change it at its source too, or it comes back"],
    )
    assert rows(of(tmp_path, report("a", "not-ready", change))) == {
        f"rules: -a task,never in {FROZEN} (looks generated)": (
            1,
            1,
            "change it where it comes from, then fim-bootstrap apply",
        )
    }


def test_who_writes_a_file_is_told_apart_from_what_to_do_there(tmp_path: Path) -> None:
    def told(name: str, source: str) -> dict[str, Any]:
        causes = [{"id": "rules", "file": FROZEN, "line": 7, "text": "-e 2", "source": source}]
        change = requirement("rules", "change", "lines")
        return report(name, "not-ready", change, causes=causes, reboot_after_apply=True)

    text = "# Ansible managed\n-e 2\n"
    reports = [told("a", str(written_by.of(FROZEN, text, OsRelease("debian", "12")))), told("b", "a generator")]
    assert rows(of(tmp_path, *reports)) == {
        f"rules: -e 2 in {FROZEN} (Ansible)": (
            1,
            1,
            "change the role or template that writes it, then fim-bootstrap apply, then reboot, in batches",
        ),
        f"rules: -e 2 in {FROZEN} (a generator)": (
            1,
            1,
            "change it where it comes from, then fim-bootstrap apply, then reboot, in batches",
        ),
    }


def test_what_is_one_hosts_own_does_not_split_a_cause(tmp_path: Path) -> None:
    def of_host(name: str, pid: int, clock: str) -> dict[str, Any]:
        said = f"auditd of {name} runs as pid {pid} since {clock}, fim_bootstrap_src_{pid:016x}_t, after 1{pid % 9}.2 s"
        return report(name, "failed", requirement("auditd", "failed", said, remedy=f"ssh {name}"))

    fleet = of(
        tmp_path,
        of_host("web1", 812, "2026-11-27T08:00:01Z"),
        of_host("db-7.example.org", 30211, "2026-11-26 23:59:59"),
    )
    assert [row.hosts.total for row in picture(fleet, STATE).causes] == [2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("exit status 1", "exit status 2"),
        ("enabled 0", "enabled 2"),
        ("audit 2.8.5 is too old", "audit 3.0.9 is too old"),
        ("it gave up with exit 205", "it gave up with exit 206"),
        ("/etc/x.d/10-a.rules", "/etc/x.d/20-a.rules"),
    ],
)
def test_what_makes_a_difference_splits_it(one: str, other: str, tmp_path: Path) -> None:
    reports = [
        report(f"web{n}", "failed", requirement("auditd", "failed", said)) for n, said in enumerate((one, other))
    ]
    assert len(picture(of(tmp_path, *reports), STATE).causes) == 2


def test_what_waits_for_another_cause_is_no_cause(tmp_path: Path) -> None:
    waiting = requirement("agent", "waiting", "waits for rules")
    reports = [
        report("a", "not-ready", requirement("rules", "change", "lines"), waiting),
        report("b", "not-ready", waiting),
    ]
    assert {text: total for text, (total, _, _) in rows(of(tmp_path, *reports)).items()} == {
        "rules: lines": 1,
        "agent: waits for rules": 1,
    }


def test_an_error_says_its_cause_and_its_remedy(tmp_path: Path) -> None:
    assert rows(of(tmp_path, of_error("apt is locked by pid 77 (wait for it)"))) == {
        "run: apt is locked by pid N": (1, 1, "wait for it")
    }


def chain(*states: str) -> list[dict[str, str]]:
    hops = ("kernel", "auditd", "dispatcher", "edr-plugin", "qualys-edr", "edr.log")
    return [{"hop": hop, "state": state, "evidence": ""} for hop, state in zip(hops, states)]


def test_where_hosts_break(tmp_path: Path) -> None:
    states = [("stop", "?", "?"), ("ok", "ok", "down"), ("ok", "?", "stop"), ("ok", "ok", "?"), ("ok",) * 6]
    reports = [report(f"web{n}", chain=chain(*words)) for n, words in enumerate(states)]
    hops = picture(of(tmp_path, *reports, report("old")), STATE).hops
    assert {hop: hosts.total for hop, hosts in hops.items() if hosts.total} == {
        "kernel": 1,
        "dispatcher": 2,
        "?": 1,
        "through": 1,
        "not told": 1,
    }


def test_what_they_run_and_what_was_skipped(tmp_path: Path) -> None:
    more = {"versions": {"audit": "3.1.2", "agent": "6.1.2.2"}, "agent": "running", "skipped_by_option": ["policy"]}
    left_out = requirement("policy", "skipped", "left out by --only or --skip")
    unasked = requirement("guard", "skipped", "not asked for; --guard has systemd look for drift")
    absent = requirement("agent", "skipped", "no agent is installed")
    found = picture(
        of(tmp_path, report("a", "ready", left_out, unasked, **more), report("b", "blocked", absent, left_out)), STATE
    )
    assert found.releases == {"debian 12": {"ready": 1, "blocked": 1}}
    assert found.audits == {"audit 3": {"ready": 1}, "not told": {"blocked": 1}}
    assert found.agents == {"6.1.2.2 running": {"ready": 1}, "not told": {"blocked": 1}}
    assert {what: hosts.total for what, hosts in found.skipped.items()} == {
        "policy: left out by an option": 2,
        "agent: no agent is installed": 1,
    }


def test_ready_as_far_as_it_was_looked_at_is_said(tmp_path: Path) -> None:
    absent = requirement("agent", "skipped", "no agent is installed")
    fleet = of(
        tmp_path,
        report("skipped", skipped_by_option=["rules"], incomplete=["left out by --skip: rules"]),
        report("unseen", unseen=["/etc/shadow.d of unseen: Permission denied"]),
        report("incomplete", incomplete=["not root: auditctl was not asked"]),
        report("fine", "ready", absent),
        report("blocked", "blocked", skipped_by_option=["rules"]),
    )
    found = picture(fleet, STATE)
    assert {what: hosts.total for what, hosts in found.skipped.items()} == {
        "rules: left out by an option": 2,
        "agent: no agent is installed": 1,
        "run: /etc/shadow.d of HOST: Permission denied": 1,
        "run: not root: auditctl was not asked": 1,
    }
    assert found.partly == 3
    assert "3 were not looked at in full" in page_of(fleet)


def test_reboots_that_are_not_due_are_told_and_not_planned(tmp_path: Path) -> None:
    fleet = of(tmp_path, report("a", reboot_advised=True), report("b", "not-ready", reboot_after_apply=True))
    found = picture(fleet, STATE)
    assert (found.later, found.advised) == (1, 1)
    assert len(list(fleet_text.notes(found))) == 2
    table = list(csv.DictReader(io.StringIO("".join(lines(fleet, STATE, {})), newline="")))
    assert [[row[f"reboot_{word}"] for word in ("required", "after_apply", "advised")] for row in table] == [
        ["no", "no", "yes"],
        ["no", "yes", "no"],
    ]


def test_a_stale_report_says_nothing_any_more(tmp_path: Path) -> None:
    fleet = of(
        tmp_path,
        report("a", time=moment(NOW - 8 * 86400)),
        frozen("b", time=moment(NOW - 9 * 86400)),
        report("c", time=moment(NOW - 6 * 86400)),
    )
    found = picture(fleet, STATE)
    assert {word: count for word, count in found.states.items() if count} == {"ready": 1, STALE: 2}
    assert not found.causes
    assert picture(fleet, State(NOW, 0)).states["ready"] == 2
    assert plan(fleet.machines, STATE, Wanted()).apart == (("b", OLD),)


def test_it_adds_up(tmp_path: Path) -> None:
    """Of a fleet to believe in: each host is one thing, and every table has all hosts."""
    bench.write(tmp_path / "fleet", 700, 5, NOW)
    fleet = read(tmp_path / "fleet")
    found = picture(fleet, STATE)
    assert sum(found.states.values()) == len(fleet.machines) == found.machines == 700
    for table in (found.releases, found.audits, found.agents, found.tools):
        assert sum(sum(row.values()) for row in table.values()) == 700
    stale = found.states[STALE]
    assert stale
    assert sum(hosts.total for hosts in found.hops.values()) == 700 - stale
    assert len(found.causes) > 10
    for row in found.causes:
        assert row.alone <= row.hosts.total


def test_the_fleet_of_the_bench_writes_reports_of_the_schema() -> None:
    schema = json.loads((PROJECT / "schemas/report-1.json").read_text())
    for item in bench.fleet(300, 3):
        jsonschema.validate(item, schema)


def test_real_reports_of_this_tool(tree: Tree, tmp_path: Path) -> None:
    """What check says of a tree, before and after what stands in the way is there, and as an error."""
    folder = tmp_path / "collected"
    folder.mkdir()
    for name, text in (("fine", ""), ("frozen", "-e 2\n"), ("silent", "-a task,never\n")):
        assert tree.fim("apply").status == 0
        tree.write("/etc/hostname", f"{name}\n")
        tree.write("/etc/audit/rules.d/50-cis.rules", text, 0o640)
        (folder / f"{name}.json").write_text(tree.fim("check", "--format", "json").out)
    (folder / "lost.json").write_text(fim("check", "--root", "/nowhere", "--format", "json").out)
    ran = fim("fleet", str(folder), "--format", "json")
    assert ran.status == 0, ran.err
    seen = json.loads(ran.out)
    assert seen["machines"] == 4
    assert seen["states"]["not-ready"] == 2
    said = {f"{row['requirement']}: {row['what']}": row["do"] for row in seen["causes"]}
    # a tree has no kernel to thaw
    assert said["rules: -e 2 in /etc/audit/rules.d/50-cis.rules"] == "fim-bootstrap apply"
    assert said["rules: -a task,never in /etc/audit/rules.d/50-cis.rules"] == "fim-bootstrap apply"


# ---------------------------------------------------------------- between two collections


def test_since(tmp_path: Path) -> None:
    bad = requirement("policy", "change", "not in the store")
    lines = requirement("rules", "change", "lines")
    before = of(
        tmp_path / "a",
        report("fixed", "not-ready", bad),
        report("fell"),
        report("same", "not-ready", bad),
        report("gone"),
        report("rebuilt", "not-ready", bad),
        report("quiet"),
    )
    after = read_more(
        tmp_path / "b",
        before,
        report("fixed", machine="m1"),
        report("fell", "not-ready", lines),
        report("same", "not-ready", bad),
        report("new"),
        report("rebuilt", "not-ready", lines),
        report("quiet", time=moment(NOW - 99 * 86400)),
    )
    news = since(before, after, STATE)
    assert [hosts.names for hosts in (news.got_ready, news.drifted, news.new, news.gone)] == [
        ("fixed",),
        ("fell",),
        ("new",),
        ("gone",),
    ]
    assert [(cause.text(), then, now) for cause, then, now in news.causes] == [
        ("policy: not in the store", 3, 1),
        ("rules: lines", 0, 2),
    ]


def read_more(folder: Path, before: Fleet, *reports: Any) -> Fleet:
    of(folder, *reports)
    return read(folder, before=before)


# ---------------------------------------------------------------- untrusted words


def test_words_of_reports_stay_words(tmp_path: Path) -> None:
    folder = hostile_fleet(tmp_path / "fleet")
    words = [
        "--since",
        str(folder),
        "--stale",
        "never",
        "--html",
        str(tmp_path / "p.html"),
        "--csv",
        str(tmp_path / "p.csv"),
        "--plan",
        str(tmp_path / "p.ini"),
    ]
    ran = fim("fleet", str(folder), *words)
    assert ran.status == 0, ran.err
    text = (tmp_path / "p.html").read_text()
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "window.hacked=1&lt;/script&gt;" in text
    for said in (
        text,
        ran.out,
        ran.err,
        (tmp_path / "p.csv").read_bytes().decode(),
        (tmp_path / "p.ini").read_text(),
        fim("fleet", str(folder), "--format", "json").out,
    ):
        assert not [c for c in said if not c.isprintable() and c not in "\n\r"]
        assert "abc-def" not in said  # a secret that an old report let through
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert len({len(row) for row in table}) == 1
    assert "'=1+1" in [row[0] for row in table]
    assert not [cell for row in table for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=30), min_size=1, max_size=5))  # none is read
def test_a_spreadsheet_gets_back_what_was_written_and_no_formula(values: list[str]) -> None:
    [row] = list(csv.reader(io.StringIO(cells(values), newline="")))
    for value, cell in zip(values, row):
        assert cell in (value, f"'{value}")
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))  # noqa: RUF001


# ---------------------------------------------------------------- the page


def page_of(fleet: Fleet, before: Optional[Fleet] = None) -> str:
    news = since(before, fleet, STATE) if before else None
    return page.rendered(picture(fleet, STATE), plan(fleet.machines, STATE, Wanted()), news)


def words_of(text: str) -> str:
    text = re.sub(r"(?s)<(style|script)>.*?</\1>", "", text)
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def test_the_page_says_what_the_data_say_without_scripts(tmp_path: Path) -> None:
    bench.write(tmp_path / "fleet", 300, 5, NOW)
    fleet = read(tmp_path / "fleet")
    found, text = picture(fleet, STATE), page_of(fleet, fleet)
    for state, count in found.states.items():
        assert re.search(rf'<li data-state="{state}"[^>]*><b>{count}</b>', text)
    for row in found.causes:
        assert f'data-is="hosts">{row.hosts.total}</td>' in text
        assert row.cause.what in words_of(text)
    for hop, hosts in found.hops.items():
        assert re.search(rf'data-hop="{re.escape(hop)}"[^>]*>(<b>)?{hosts.total}\b', text)
    assert not re.search(r"(src|href|action)=|url\(|@import|https?:", text)


def test_it_promises_nothing(tmp_path: Path) -> None:
    bench.write(tmp_path / "fleet", 300, 5, NOW)
    fleet = read(tmp_path / "fleet")
    made = plan(fleet.machines, STATE, Wanted())
    texts = [page_of(fleet), "\n".join(fleet_text.lines(picture(fleet, STATE), made, None))]
    for text in texts:
        assert "complian" not in text.lower()
        assert not re.search(r"\d ?%|percent", text)


def test_what_is_written_is_what_was_read() -> None:
    """`make golden` writes it anew."""
    made = fleet_golden.files()
    assert {str(path.relative_to(fleet_golden.FOLDER)) for path in fleet_golden.FOLDER.glob("*/*")} == {*made}
    for name, text in made.items():
        assert text.encode() == (fleet_golden.FOLDER / name).read_bytes(), name


def test_lists_are_capped_and_counted(tmp_path: Path) -> None:
    fleet = of(tmp_path, *(report(f"web{n:04}", "failed", requirement("auditd", "failed", "down")) for n in range(900)))
    text = page_of(fleet)
    assert "the first 500 of 900" in text
    assert "and 875 more: see the CSV" in text
    assert text.count("web0003") == 2
    assert "web0899" not in text


@pytest.mark.parametrize(("hosts", "more"), [(4, ""), (5, ""), (6, " and 1 more")])
def test_some_are_named_and_the_rest_counted(hosts: int, more: str, tmp_path: Path) -> None:
    down = requirement("auditd", "failed", "down")
    fleet = of(tmp_path, *(report(f"web{n}", "failed", down) for n in range(hosts)))
    said = "\n".join(fleet_text.lines(picture(fleet, STATE), plan(fleet.machines, STATE, Wanted()), None))
    names = ", ".join(f"web{n}" for n in range(min(hosts, 5)))
    assert f"  {names}{more}\n" in said


def test_the_page_says_how_old_and_from_where(tmp_path: Path) -> None:
    fleet = of(tmp_path, report("a", time=moment(NOW - 8 * 86400)), report("b", time=moment(NOW)))
    text = page_of(fleet)
    assert "; 1 older than 7 d" in words_of(text)
    assert text.count(f'title="{tmp_path}/all.jsonl"') == 1


def test_the_page_names_the_hosts_at_which_an_event_stops(tmp_path: Path) -> None:
    text = page_of(of(tmp_path, report("web7", chain=chain("stop", "?"))))
    assert re.search(r"<summary>which</summary>.*?web7", text)
    assert "<summary>which</summary>" not in page_of(of(tmp_path, report("web7")))


# ---------------------------------------------------------------- the command


def run_at(now: float, *words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(time, "time", lambda: now)
    return cli.main(["fleet", *words])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "fleet"
    bench.write(folder, 50, 5, NOW)
    files = {kind: tmp_path / f"out.{kind}" for kind in ("html", "csv", "ini")}
    words = [str(folder), "--html", str(files["html"]), "--csv", str(files["csv"]), "--plan", str(files["ini"])]
    assert run_at(NOW, *words, "--format", "json", monkeypatch=monkeypatch) == 0
    out, err = capsys.readouterr()
    seen = json.loads(out)
    assert (seen["machines"], seen["reports"], err) == (50, 50, "")
    assert seen["time"] == moment(NOW)
    with open(files["csv"], encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 50
    counted = {state: sum(row["state"] == state for row in table) for state in seen["states"]}
    assert counted == seen["states"]
    planned = {host: batch["name"] for batch in seen["plan"]["batches"] for host in batch["hosts"]}
    assert {row["host"]: row["batch"] for row in table if row["host"] in planned} == planned
    assert all(f"\n{host}\n" in files["ini"].read_text() for host in planned)
    again = {kind: path.read_bytes() for kind, path in files.items()}
    assert run_at(NOW, *words, monkeypatch=monkeypatch) == 0
    assert {kind: path.read_bytes() for kind, path in files.items()} == again


def test_strict(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(report("web1")))
    assert fim("fleet", str(tmp_path), "--strict").status == 0
    (tmp_path / "b.json").write_text("{")
    ran = fim("fleet", str(tmp_path))
    assert (ran.status, "b.json: " in ran.err) == (0, True)
    assert fim("fleet", str(tmp_path), "--strict").status == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("/nowhere/at/all",), 64),
        ((), 64),
        (("--stale", "soon"), 64),
        (("--canary", "-1"), 64),
        (("--batch", "none"), 64),
        (("--since", "/nowhere"), 64),
        (("--plan", "/nowhere/plan.txt"), 64),
    ],
)
def test_what_is_asked_for_wrongly(words: tuple[str, ...], status: int, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(report("web1")))
    paths = [] if (words and not words[0].startswith("--")) or not words else [str(tmp_path)]
    ran = fim("fleet", *paths, *words)
    assert (ran.status, ran.out) == (status, "")
    assert ran.err.startswith("fim-bootstrap fleet: ")


def test_no_report_at_all(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("hello")
    ran: Ran = fim("fleet", str(tmp_path))
    assert ran.status == 1
    assert "no report in" in ran.err
    assert "README" in ran.err


def test_it_looks_at_no_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On whatever system it runs, as whoever: not the host's facts, its option file, nor a child."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the host was asked")

    for name in ("read", "stat", "which", "query", "run", "glob"):
        assert hasattr(live.LiveHost, name)
        monkeypatch.setattr(live.LiveHost, name, never)
    monkeypatch.setattr(options, "_option_file", never)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "a.json").write_text(json.dumps(report("web1")))
    assert cli.main(["fleet", str(tmp_path), "--html", str(tmp_path / "out.html")]) == 0
    assert capsys.readouterr().out.startswith("1 host, ")


def test_no_other_command_pays_for_it() -> None:
    said = "import sys, fim_bootstrap.cli; print([name for name in sys.modules if 'fleet' in name])"
    ran = subprocess.run(
        [sys.executable, "-c", said], cwd=PROJECT, capture_output=True, text=True, check=True, env=ALONE
    )
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(("seconds", "said"), [(7200.0, "2 h"), (86400.0, "1 d"), (129600.0, "1.5 d")])
def test_an_age_is_told_in_days_or_hours(seconds: float, said: str) -> None:
    assert fleet_text.age(seconds) == said


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    times = {m.name: m.seen for m in of(tmp_path, *(report(name, time=text) for name, text in (
        ("zone", "2026-11-10T12:00:00+02:00"), ("none", "2026-11-10T10:00:00"), ("z", "2026-11-10T10:00:00Z"))
    )).machines}  # fmt: skip
    assert len({*times.values()}) == 1


@pytest.mark.parametrize(("text", "told"), [
    ("it gave up at 2026-11-27 08:12:04 with exit status 205", "it gave up at TIME with exit status 205"),
    ("pid 4711 of 2026-11-27T08:12:04.5Z, 12 s ago", "pid N of TIME, N s ago"),
    ("token 0123456789abcdef of web1", "token ID of HOST"), ("/etc/a:12: enabled 2", "/etc/a:12: enabled 2"),
    ("1234 events, audit 3.0.9", "N events, audit 3.0.9"),
])  # fmt: skip
def test_what_is_one_hosts_own_is_said_in_words_of_all(text: str, told: str) -> None:
    assert wording.shared(text, "web1") == told


@pytest.mark.parametrize(("status", "more", "do"), [
    ("change", {"id": "policy"}, "fim-bootstrap apply"), ("change", {"id": "rules"}, "fim-bootstrap apply"),
    ("reboot", {}, "reboot, in batches"), ("waiting", {}, "have it looked at, and collect again"),
    ("waiting", {"remedy": "wait"}, "wait"), ("blocked", {}, "a decision"),
    ("blocked", {"remedy": "mend it"}, "mend it"),
    ("failed", {}, "see the report"), ("failed", {"remedy": "mend it"}, "mend it"),
])  # fmt: skip
def test_what_to_do_about_a_cause(status: str, more: dict[str, str], do: str) -> None:
    assert fleet_causes._do({"status": status, **more}, {}, "web1", status) == do


def test_what_may_lock_a_kernel_from_outside_is_one_cause_with_all_suspects() -> None:
    evidence = ["kernel: enabled 2", "may lock it: /etc/a:1: auditctl -e 2", "may lock it, too: /etc/b:2: x"]
    item = requirement("rules", "reboot", "frozen", evidence=evidence)
    (cause,) = fleet_causes._of_requirement(item, {}, "web1", True)
    assert (cause.what, cause.source) == (fleet_causes.LOCKED, "/etc/a:1: auditctl -e 2, /etc/b:2: x")


def test_a_report_without_requirements_says_its_message() -> None:
    told = {"verdict": "failed", "msg": "busy: dpkg is locked (try again)\nmore"}
    (cause,) = fleet_causes.causes(told, "web1", False)
    assert (cause.what, cause.do) == ("busy: dpkg is locked", "try again")
    (cause,) = fleet_causes.causes({"verdict": "failed"}, "web1", False)
    assert (cause.what, cause.do) == ("the report gives no reason", "see the report")
    assert fleet_causes.causes({"verdict": "ready"}, "web1", False) == ()
