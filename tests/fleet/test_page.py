"""The page in a real Chromium: what it shows are the data's numbers, wide and narrow, with scripts and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import fleet as bench
from tests.conftest import fim
from tests.fleet.browser import Browser, browser
from tests.fleet_reports import hostile_fleet

pytestmark = pytest.mark.fleet
WIDTHS = (1280, 400)
NUMBERS = """({
  states: Object.fromEntries([...document.querySelectorAll("#verdict [data-state]")].map(
    e => [e.dataset.state, +e.querySelector("b").innerText])),
  bar: [...document.querySelectorAll("#verdict .bar i")].map(e => +getComputedStyle(e).flexGrow),
  causes: [...document.querySelectorAll("#causes tbody tr")].map(
    e => [+e.cells[0].innerText, +e.cells[1].innerText, e.querySelector("code").textContent, e.cells[3].innerText]),
  hops: Object.fromEntries([...document.querySelectorAll("#chain [data-hop]")].map(
    e => [e.dataset.hop, parseInt(e.innerText.match(/[0-9]+/))])),
  batches: [...document.querySelectorAll("#plan .batches b")].map(e => +e.innerText),
  news: Object.fromEntries([...document.querySelectorAll("#since [data-news]")].map(
    e => [e.dataset.news.replace(" ", "_"), +e.querySelector("b").innerText])),
  hosts: document.querySelectorAll("#hosts tbody tr").length,
  runs: [...document.querySelectorAll("#runs .two > div")].map(
    e => [...e.querySelectorAll("tr")].map(r => +r.cells[1].innerText).reduce((a, b) => a + b)),
})"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of a fleet to believe in, and its data."""
    folder = tmp_path_factory.mktemp("fleet")
    bench.write(folder / "before", 600, 1)
    bench.write(folder / "now", 612, 2)
    (folder / "now/broken.json").write_text("{")
    words = ["--since", str(folder / "before"), "--canary", "5", "--format", "json"]
    ran = fim("fleet", str(folder / "now"), "--html", str(folder / "page.html"), *words)
    assert ran.status == 0, ran.err
    return folder / "page.html", json.loads(ran.out)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_numbers_are_the_datas(
    made: tuple[Path, dict[str, Any]], chromium: Browser, width: int, scripts: bool, tmp_path: Path
) -> None:
    page, data = made
    chromium.open(page, width, scripts=scripts)
    seen = chromium.ask(NUMBERS)
    assert seen["states"] == data["states"]
    assert sum(seen["bar"]) == data["machines"] == 612
    assert seen["causes"] == [[row["hosts"], row["alone"], row["what"], row["do"]] for row in data["causes"]]
    assert seen["hops"] == {hop: hosts["hosts"] for hop, hosts in data["hops"].items()}
    assert seen["batches"] == [len(batch["hosts"]) for batch in data["plan"]["batches"]]
    assert seen["news"] == {word: data["since"][word]["hosts"] for word in ("got_ready", "drifted", "new", "gone")}
    assert seen["hosts"] == data["machines"] - data["states"]["ready"]
    assert seen["runs"] == [612] * 4
    assert chromium.ask("document.getElementById('filter').hidden") is not scripts
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    assert chromium.ask("performance.getEntriesByType('resource').length") == 0
    assert chromium.screenshot(tmp_path / "page.png", width).startswith(b"\x89PNG")
    assert chromium.console() == []


def test_the_filter(made: tuple[Path, dict[str, Any]], chromium: Browser) -> None:
    page, data = made
    chromium.open(page, 1280)
    shown = "[...document.querySelectorAll('#hosts tbody tr')].filter(e => e.offsetHeight).length"
    chromium.type("#filter select", "blocked")
    assert chromium.ask(shown) == data["states"]["blocked"]
    chromium.type("#filter input", "policycoreutils")
    assert 0 < chromium.ask(shown) < data["states"]["blocked"]
    assert chromium.ask("document.querySelector('#filter output').innerText").startswith(f"{chromium.ask(shown)} of ")


def test_dark_and_on_paper(made: tuple[Path, dict[str, Any]], chromium: Browser) -> None:
    """Both with enough contrast; on paper without colour, and without what cannot be clicked there."""
    page, _ = made
    colours = "['backgroundColor', 'color'].map(c => getComputedStyle(document.body)[c].match(/\\d+/g).map(Number))"

    def lightness() -> tuple[int, int]:
        paper, ink = chromium.ask(colours)
        return sum(paper), sum(ink)

    chromium.open(page, 1280)
    paper, ink = lightness()
    assert paper - ink > 500
    chromium.open(page, 1280, prefers_color_scheme="dark")
    paper, ink = lightness()
    assert ink - paper > 500
    chromium.open(page, 1280, media="print", prefers_color_scheme="dark")
    paper, ink = lightness()
    assert (paper, ink) == (3 * 255, 0)
    greys = chromium.ask("""[...document.querySelectorAll("#verdict .bar i")].map(
        e => getComputedStyle(e).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number))""")
    assert all(max(colour) == min(colour) for colour in greys)
    assert chromium.ask("document.getElementById('filter').offsetHeight") == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_words_of_reports_do_nothing(chromium: Browser, width: int, tmp_path: Path) -> None:
    folder = hostile_fleet(tmp_path / "fleet")
    long = json.loads((folder / "b.json").read_text())
    long["x" * 253] = json.loads((folder / "a.json").read_text())
    (folder / "c.json").write_text(json.dumps(long))
    page = tmp_path / "page.html"
    assert fim("fleet", str(folder), "--since", str(folder), "--stale", "never", "--html", str(page)).status == 0
    chromium.open(page, width)
    assert chromium.ask("window.hacked") is None
    assert chromium.ask("document.scripts.length") == 1
    assert chromium.ask("document.images.length") == 0
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    assert chromium.console() == []


def test_the_pages_own_policy_stops_any_other_script(chromium: Browser, tmp_path: Path) -> None:
    """Should an escape ever be forgotten."""
    page = tmp_path / "page.html"
    assert fim("fleet", str(hostile_fleet(tmp_path / "fleet")), "--html", str(page)).status == 0
    page.write_text(page.read_text().replace("<footer>", "<footer><script>window.hacked=1</script><img src=x>"))
    chromium.open(page, 1280)
    assert chromium.ask("window.hacked") is None
    assert len(chromium.console()) == 2
