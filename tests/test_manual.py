"""Help pages, docs/options.md and the man page are made from the tables, and say of each command what it takes."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path

import pytest

from fim_bootstrap import cli, explanations, manual
from fim_bootstrap.arguments import honoured
from fim_bootstrap.commands import COMMANDS, NAMES
from fim_bootstrap.option_table import CONFIG, OPTIONS
from fim_bootstrap.requirements import IDS
from tests.conftest import PROJECT

PAGES = runpy.run_path(str(PROJECT / "packaging/manual_pages.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_the_tables_is_not_stale(name: str) -> None:
    """`make table` writes it."""
    assert (PROJECT / name).read_text() == PAGES[name]()


@pytest.mark.parametrize("command", NAMES)
def test_a_help_page_has_the_options_of_its_command_alone(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", command]) == 0
    page = capsys.readouterr().out
    shown = sorted(line.split()[0] for line in page.splitlines() if line.startswith("  --"))
    assert shown == sorted(f"--{name}" for name in honoured(command))
    assert max(map(len, page.splitlines())) <= manual.WIDTH
    for words in ([command, "--help"], [command, "--only", "x", "-h"]):
        assert cli.main(words) == 0
        assert capsys.readouterr().out == page


def test_examples_come_before_options_and_exit_statuses_last() -> None:
    page = manual.page("apply")
    places = [
        page.index(part) for part in ("sudo fim-bootstrap apply --probe", "  --dry-run  ", "--root DIR", "Exit 0")
    ]
    assert places == sorted(places)


def test_help_alone_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["help"], ["--help"], ["-h"]):
        assert cli.main(words) == 0
        rows = capsys.readouterr().out.splitlines()
        assert {line.split()[0] for line in rows if line.startswith("  ")} >= set(NAMES)


def test_an_example_is_one_that_the_command_takes() -> None:
    from fim_bootstrap.arguments import read

    for command in COMMANDS:
        for typed, _ in command.examples:
            words = typed.split(" > ")[0].removeprefix("sudo ").split()
            assert (words[0], read(words[1:]).command) == ("fim-bootstrap", command.name)


def test_every_command_of_the_table_can_be_run_and_no_other() -> None:
    assert set(cli.COMMANDS) == set(NAMES)


def test_the_man_page_names_every_option_and_is_sound(tmp_path: Path) -> None:
    page = tmp_path / "fim-bootstrap.8"
    page.write_text(manual.man_page())
    for option in (*OPTIONS, CONFIG):
        assert f"\\-\\-{option.name}".replace("-", "\\-").replace("\\\\-", "\\-") in page.read_text()
    try:
        ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs groff")
    assert (ran.returncode, ran.stderr) == (0, b"")


HEADINGS = ["Why", "What is looked at", "What apply does", "What it cannot do", "Whom to ask first", "By hand",
            "Take back", "Leave out"]  # fmt: skip


@pytest.mark.parametrize("name", IDS)
def test_each_requirement_has_a_whole_page_that_fits_a_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{name}: {explanations.TITLES[name]}"
    assert [line for line in lines[1:] if line and not line.startswith(" ")] == HEADINGS
    assert max(map(len, lines)) <= manual.WIDTH


def test_explain_alone_lists_the_requirements_and_a_wrong_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in rows[1 : len(IDS) + 1]] == list(IDS)
    assert cli.main(["explain", "rule"]) == 64
    assert "fim-bootstrap explain: there is no requirement rule; did you mean rules?" in capsys.readouterr().err


def test_no_text_ends_a_cell_or_is_a_tag() -> None:
    assert manual._cell("a|b <c>") == "a\\|b &lt;c>"
    long = "x" * 100
    assert manual._row("--a", f"{long} y").splitlines()[-1].strip() == "y"
    assert long in manual._row("--a", f"{long} y")


@pytest.mark.parametrize(("text", "roff"), [
    ("a-b", "a\\-b"), ("it's", "it\\(aqs"), ("a\\b", "a\\eb"), (".TH", "\\&.TH"), ("plain.", "plain."),
    ("'x", "\\(aqx"),
])  # fmt: skip
def test_no_text_is_a_request_or_an_escape_of_roff(text: str, roff: str) -> None:
    assert manual._roff(text) == roff
