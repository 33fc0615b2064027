"""What a person sees of a report: golden screens, and what holds of every one of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap import report, screen, unified
from fim_bootstrap.errors import Busy
from fim_bootstrap.host.reader import File
from fim_bootstrap.layout import COLOURS, PLAIN, Style, on_terminal
from fim_bootstrap.requirements import IDS
from tests.conftest import PROJECT, Tree
from tests.screens import FOLDER, HOST, SCREENS, TTY, Screen, files

SCHEMA = json.loads((PROJECT / "schemas/report-1.json").read_text())


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_screens_are_those_that_were_read() -> None:
    """`make golden` writes them anew."""
    made = files()
    assert {path: path.read_text() for path in FOLDER.iterdir()} == made


@pytest.mark.parametrize("name", SCREENS)
def test_the_report_behind_a_screen_fits_the_schema_and_has_what_is_to_be_typed(name: str) -> None:
    document = SCREENS[name].document()
    jsonschema.validate(document, SCHEMA)
    told = screen.text(document)
    assert all(line in told for line in document["next"])
    assert (f"  exit    {document['exit_status']}" in told) == bool(document["exit_status"])


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_ends_with_the_verdict_and_begins_with_the_host(name: str) -> None:
    lines = screen.text(SCREENS[name].document()).splitlines()
    verdicts = [number for number, line in enumerate(lines) if re.search(r" \(0\.9 s\)$", line)]
    assert len(verdicts) == 1
    assert all(line.startswith("  ") for line in lines[verdicts[0] + 1 :])
    assert re.match(r"\S+.*: .*, profile el9, ", lines[0])


@pytest.mark.parametrize("name", SCREENS)
def test_what_is_wrong_stands_worst_first(name: str) -> None:
    told = screen.text(SCREENS[name].document())
    signs = re.findall(rf"(?m)^(FAILED|BLOCKED|CHANGE|REBOOT|waiting) +(?:{'|'.join(IDS)}) +", told)
    ranks = ["FAILED", "BLOCKED", "CHANGE", "REBOOT", "waiting"]
    assert signs == sorted(signs, key=ranks.index)


@pytest.mark.parametrize("name", SCREENS)
def test_a_terminal_of_80_columns_gets_the_same_words_in_lines_that_fit(name: str) -> None:
    document = SCREENS[name].document()
    plain, wrapped = (screen.text(document, style) for style in (PLAIN, TTY._replace(colour=False)))
    assert plain.split() == wrapped.split()
    for line in wrapped.splitlines():
        one_word = len(line.split()) == 1 or len(line.strip().split(" ", 1)[0]) > 40
        pasted = re.match(r"  (next|then|again|undo|proof) ", line)
        assert len(line) <= 80 or one_word or pasted, line


@pytest.mark.parametrize("name", SCREENS)
def test_colour_only_repeats_the_sign_and_goes_nowhere_else(name: str) -> None:
    document = SCREENS[name].document()
    coloured, plain = screen.text(document, TTY), screen.text(document, TTY._replace(colour=False))
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    words = re.findall(r"\x1b\[[\d;]+m(.*?)\x1b\[0m", coloured)
    assert set(words) <= set(COLOURS)
    assert coloured.count("\x1b") == 2 * len(words)


@given(st.text(st.characters(codec="utf-8"), max_size=600))
def test_no_terminal_obeys_what_a_host_says(text: str) -> None:
    document = SCREENS["broken"].document()
    document["host"]["hostname"] = document["host"]["os"]["name"] = text
    document["unseen"] = [text]
    document["chain"][0]["evidence"] = text
    for item in document["requirements"]:
        item.update(summary=text, evidence=[text], warnings=[text], remedy=text, changes=[text], diff=text)
    for style in (PLAIN, Style(60, False, True)):
        told = screen.text(document, style)
        assert all(character == "\n" or character.isprintable() for character in told)
        assert max(map(len, told.splitlines())) < 2200


def test_of_many_lines_the_first_are_shown_and_v_shows_all() -> None:
    document = SCREENS["broken"].document()
    document["requirements"][2]["evidence"] = [f"/etc/x:{number}: text" for number in range(20)]
    assert screen.text(document).count("/etc/x:") == screen.SHOWN
    assert "              ... 14 more; -v shows them\n" in screen.text(document)
    assert screen.text(document, Style(verbose=True)).count("/etc/x:") == 20


DIFF = """\
--- /etc/a
+++ /etc/a
@@ -3,4 +3,3 @@
 kept
--- gone
-gone too
+come
 kept
--- /etc/b
+++ /etc/b
@@ -1 +1,2 @@
 kept
+++ come
\\ No newline at end of file
@@ -8,3 +9,3 @@
 kept
-x
+y
 kept
"""


def test_the_lines_that_differ_are_shown_with_their_place() -> None:
    assert list(unified.edits(DIFF)) == [
        ("/etc/a:4", ["- -- gone", "- gone too", "+ come"]),
        ("/etc/b:2", ["+ ++ come"]),
        ("/etc/b:9", ["- x", "+ y"]),
    ]


@pytest.mark.parametrize("end", ["\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("option", ["", "-v"])
def test_what_python_takes_for_the_end_of_a_line_is_none_in_a_file(tree: Tree, end: str, option: str) -> None:
    tree.write("/etc/audit/rules.d/x.rules", f"# kept{end}{end}\n-e 2 # one{end}{end}{end}two\n# kept{end}\n")
    seen = tree.fim("check", *option.split())
    assert seen.status == 3, seen.err
    sign = end.encode("unicode_escape").decode()
    assert f"-e 2 # one{sign}{sign}{sign}two" in seen.out


@pytest.mark.parametrize(("name", "said"), [
    ("ready", "ready (exit 0)"),
    ("broken", """not ready: rules, policy, agent; an event stops at kernel; a reboot is due after apply; \
fim-bootstrap apply (exit 3)"""),
    ("blocked", "blocked: auditd; fim-bootstrap explain auditd (exit 4)"),
    ("not-known", """not known: rules, auditd cannot be looked at by this user; \
sudo fim-bootstrap check --root '/srv/my tree' --skip agent (exit 3)"""),
])  # fmt: skip
def test_the_guard_has_one_line(name: str, said: str) -> None:
    assert screen.brief(SCREENS[name].document()) == said


def test_the_guards_page_shows_the_line_of_a_host_that_drifted() -> None:
    page = (PROJECT / "packaging/systemd/README.md").read_text()
    (path,) = re.findall(r"echo '-a never,task' > (\S+)", page)
    drifted = HOST.audit._replace(rules=(File(path, "-a never,task\n"),))
    assert f"\n{screen.brief(Screen(HOST._replace(audit=drifted)).document())}\n" in page


def test_a_run_that_ended_early_reports_with_the_same_keys() -> None:
    early, whole = report.of_error("check", Busy("dpkg is locked", "try again"), 0.5), SCREENS["ready"].document()
    assert {*early} == {*whole} - {"agent", "boot", "versions"}
    kinds = {key: type(value) for key, value in whole.items()}
    assert {key: type(value) for key, value in early.items()} == {key: kinds[key] for key in early}
    assert (early["comment"], early["failed"], early["exit_status"]) == ("dpkg is locked (try again)", True, 75)


def test_what_revert_left_is_told_with_the_way_out() -> None:
    told = screen.taken_back(2, ["a note"], [("/x: was edited since; left alone", "rm /x")])
    assert told == (
        "note    a note\n\nKEPT    /x: was edited since; left alone\nrm /x\n\n"
        "TAKEN BACK: 2 steps, 1 thing left as it is\n  exit    1"
    )
    assert screen.taken_back(0, [], []) == "TAKEN BACK: nothing"
    style = Style(60, True, False)
    painted = screen.taken_back(1, [], [("/x: " + "was edited since, " * 5, "rm /x")], style)
    assert "\x1b" in painted
    assert max(len(re.sub("\x1b\\[[0-9;]*m", "", line)) for line in painted.splitlines()) <= 60


def test_stations_are_told_until_the_first_that_is_not_passed() -> None:
    def told(*states: str) -> list[str]:
        hops = [{"hop": f"h{n}", "state": state, "evidence": f"pid {n}; x"} for n, state in enumerate(states)]
        return [*screen._Screen(SCREENS["ready"].document(), PLAIN).stations(hops)]

    assert told("ok", "?", "ok") == ["h0 0", "h1 ?", "h2 2"]
    assert told("ok", "stop", "ok") == ["h0 0", "no agent yet"]
    assert told("down", "ok") == ["no agent yet"]
    (aged,) = screen._Screen(SCREENS["ready"].document(), PLAIN).stations(
        [{"hop": "edr.log", "state": "ok", "evidence": "last written 12 s ago"}]
    )
    assert aged == "edr.log 12 s"


@pytest.mark.parametrize(("changes", "agent", "said"), [
    ([], "running", ""),
    (["restart auditd"], "running", "restarts auditd, and the agent where its rules are gone with it"),
    (["restart auditd"], "absent", "restarts auditd"),
    (["start auditd", "restart qualys-cloud-agent"], "running", "restarts auditd, qualys-cloud-agent"),
    (["edit /a: x", "edit /b: y"], "running", "edits 2 files; restarts nothing"),
])  # fmt: skip
def test_what_apply_would_do_in_numbers(changes: list[str], agent: str, said: str) -> None:
    assert screen._would([{"status": "change", "changes": changes}, {"status": "ok", "changes": ["x"]}], agent) == said


@pytest.mark.parametrize(("columns", "width"), [(20, 60), (60, 60), (80, 80), (100, 100), (300, 100)])
def test_a_terminal_gets_lines_that_can_be_read(columns: int, width: int) -> None:
    assert on_terminal(columns, True, False) == Style(width, True, False)
