"""The metrics and the alert rules of docs/metrics.md, by Prometheus' own promtool, which is fetched for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BINARY, Tree
from tests.documented import block, blocks
from tests.fetched import unpacked

pytestmark = pytest.mark.binary

PAGE = "docs/metrics.md"
# of one host: ready and looked at, then not ready for an hour, then not looked at
CASES = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'fim_bootstrap_ready{instance="a"}'
        values: '1x30 0x60 1x200'
      - series: 'fim_bootstrap_last_look_timestamp_seconds{instance="a"}'
        values: '0+60x90 5400x200'
    alert_rule_test:
      - {eval_time: 30m, alertname: FimHostNotReady, exp_alerts: []}
      - {eval_time: 45m, alertname: FimHostNotReady, exp_alerts: []}
      - eval_time: 60m
        alertname: FimHostNotReady
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations: {summary: "a is not ready for FIM: run fim-bootstrap check there"}
      - {eval_time: 95m, alertname: FimHostNotReady, exp_alerts: []}
      - {eval_time: 140m, alertname: FimHostNotLookedAt, exp_alerts: []}
      - eval_time: 170m
        alertname: FimHostNotLookedAt
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations: {summary: "a was not looked at for an hour: systemctl status fim-bootstrap-guard.timer"}
"""


@pytest.fixture(scope="module")
def promtool() -> str:
    """The program, of Debian's package."""
    return str(unpacked("prometheus", "bookworm") / "usr/bin/promtool")


def test_the_metrics_are_those_of_the_page_and_promtool_finds_no_fault(
    promtool: str, tree: Tree, tmp_path: Path
) -> None:
    words = [str(BINARY), "apply", "--no-install", "--root", str(tree.folder), "--metrics", str(tmp_path / "fim.prom")]
    subprocess.run(words, check=True, capture_output=True)
    text = (tmp_path / "fim.prom").read_text()
    place = 0
    for part in blocks(PAGE)[1].split("...\n"):
        place = text.index(part, place)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = re.sub("(?m)^# TYPE.*\n", "", text, count=1).replace("_seconds ", "_ms ")
    assert subprocess.run([promtool, "check", "metrics"], input=broken, capture_output=True, text=True,
                          check=False).returncode != 0  # fmt: skip


def test_the_rules_fire_when_they_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(block(PAGE, "FimHostNotReady"))
    (tmp_path / "cases.yml").write_text(CASES)
    for words in (["check", "rules", "rules.yml"], ["test", "rules", "cases.yml"]):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
