"""--metrics: what node_exporter's textfile collector reads, by the parser of prometheus_client."""

from __future__ import annotations

import calendar
import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fim_bootstrap import __version__, metrics, report
from fim_bootstrap.errors import Unsupported
from tests.conftest import PROJECT, Tree, fim


def parsed(text: str) -> dict[str, Any]:
    """Each metric's value, or its values by the label's."""
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        values = {tuple(sample.labels.values()): sample.value for sample in family.samples}
        found[family.name.replace("fim_bootstrap_", "", 1)] = values.get(
            (), {key[0]: v for key, v in values.items() if key}
        )
    return found


def test_a_host_that_is_not_ready(tree: Tree, tmp_path: Path) -> None:
    tree.write("/etc/audit/rules.d/99-finalize.rules", "-e 2\n")
    before = int(time.time())
    seen = tree.fim("check", "--metrics", str(tmp_path / "fim.prom"), "--format", "json")
    found = parsed((tmp_path / "fim.prom").read_text())
    assert (seen.status, found["ready"], found["reboot_required"]) == (3, 0, 0)
    judged = {item["id"]: float(item["status"] == "ok") for item in seen.report["requirements"]
              if item["status"] != "skipped"}  # fmt: skip
    assert found["requirement_met"] == judged
    assert judged["rules"] == 0
    assert "guard" not in judged
    assert before <= found["last_look_timestamp_seconds"] <= time.time()
    assert found["last_look_timestamp_seconds"] == calendar.timegm(
        time.strptime(seen.report["time"], "%Y-%m-%dT%H:%M:%SZ")
    )
    assert found["look_duration_seconds"] == seen.report["seconds"]
    assert found["info"] == {__version__: 1}


def test_the_page_shows_what_a_ready_host_writes(tree: Tree, tmp_path: Path) -> None:
    page = (PROJECT / "docs/metrics.md").read_text()
    shown = page.partition("ends with\n\n```\n")[2].partition("```")[0]
    assert tree.fim("apply", "--no-install", "--metrics", str(tmp_path / "fim.prom")).status == 0
    pattern = re.escape(shown).replace(re.escape("...\n"), "(?:.*\\n)+")
    assert re.fullmatch(pattern, (tmp_path / "fim.prom").read_text())


def test_apply_writes_what_came_of_it(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "fim.prom"
    applied = tree.fim("apply", "--no-install", "--metrics", str(path))
    assert applied.status == 0, applied.out + applied.err
    assert parsed(path.read_text())["ready"] == 1
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir() if file.name != "root"] == ["fim.prom"]


def test_a_reboot_that_is_due_is_a_metric_of_its_own() -> None:
    due = {"verdict": "ready-after-reboot", "reboot_required": True,
           "requirements": [{"id": "rules", "status": "reboot"}]}  # fmt: skip
    document = {**report.of_error("check", Unsupported("x"), 0.5), **due}
    found = parsed(metrics.of(document))
    assert (found["ready"], found["reboot_required"], found["requirement_met"]) == (0, 1, {"rules": 0})


def test_a_run_that_ends_in_an_error_is_told_too(tree: Tree, tmp_path: Path) -> None:
    """The last look was in vain: not ready, and no requirement is claimed to be met."""
    tree.write("/etc/os-release", "ID=plan9\n")
    ended = tree.fim("check", "--metrics", str(tmp_path / "fim.prom"))
    found = parsed((tmp_path / "fim.prom").read_text())
    assert (ended.status, found["ready"], found.get("requirement_met")) == (69, 0, {})


@pytest.mark.parametrize("command", ["check", "apply"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(tree: Tree, command: str) -> None:
    refused = tree.fim(command, "--metrics", "/nowhere/fim.prom")
    assert (refused.status, "--metrics /nowhere/fim.prom" in refused.err) == (64, True)
    assert not tree.path("/var/lib/fim-bootstrap").exists()


def test_the_option_file_of_the_guard_takes_it(tree: Tree, tmp_path: Path) -> None:
    """As docs/metrics.md says: the guard's own check writes them."""
    (tmp_path / "config.toml").write_text(f'metrics = "{tmp_path}/fim.prom"\n')
    assert fim("check", "--root", str(tree.folder), "--config", str(tmp_path / "config.toml")).status == 3
    assert "fim_bootstrap_ready 0" in (tmp_path / "fim.prom").read_text()
