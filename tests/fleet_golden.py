"""What `fleet` writes of four fleets. `make golden` writes tests/golden/fleet: read it before it is committed.

The page stands there without its style and its script.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import fleet as bench
from fim_bootstrap.fleet.command import run
from fim_bootstrap.fleet.table import moment
from tests.fleet_reports import NOW, frozen, hostile, of_error, report, requirement

FOLDER = Path(__file__).parent / "golden/fleet"
PLANS = {"plan.txt": "text", "plan.csv": "csv", "plan.ini": "ansible", "plan.conf": "salt"}
UNLIKE = (
    frozen("frozen1", machine="m1"), frozen("frozen1", machine="m2"), frozen("frozen2"), of_error(),
    report("early", "blocked", requirement("auditd", "blocked", "auditd would not start", remedy="mend it")),
)  # fmt: skip
MANY = (
    *UNLIKE, frozen("old-name", machine="m3", time=moment(NOW - 60)), frozen("new-name", machine="m3"), hostile(),
    *(report(f"odd{n:02}", "failed", requirement("auditd", "failed", f"of the kind {n}", remedy="look there"))
      for n in range(14)),
    *(report(f"part{n:02}", incomplete=[f"kind {n}"]) for n in range(14)),
    report("advised", reboot_advised=True), report("later", "not-ready", reboot_after_apply=True),
)  # fmt: skip


class Sample(NamedTuple):
    """A fleet, and how it is asked for."""

    hosts: int
    more: Sequence[dict[str, Any]]
    asked: Mapping[str, Any]


PLAIN = {"batch": "10", "canary": "0", "exclude": [], "group-by": ""}
SAMPLES = {
    "small": Sample(24, UNLIKE, {"batch": "50%", "canary": "1", "exclude": [], "group-by": ""}),
    "quiet": Sample(0, (report("a"), report("b", time=moment(NOW))), PLAIN),  # nothing is to be rebooted
    "plain": Sample(0, (frozen("a"), report("b", time=moment(NOW))), PLAIN),  # no host is in no batch
    "large": Sample(120, MANY, {"batch": "7", "canary": "3", "exclude": ["db*"], "group-by": "^([a-z]+)"}),
}


def files() -> dict[str, str]:
    """Each golden file's name, and what stands in it."""
    return {f"{name}/{file}": text for name, sample in SAMPLES.items() for file, text in _written(sample).items()}


def _written(sample: Sample) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        bench.write(folder / "before", sample.hosts + 2, 4, NOW - 86400)
        bench.write(folder / "now", sample.hosts, 5, NOW)
        unlike = folder / "now/unlike.jsonl"
        unlike.parent.mkdir(exist_ok=True)
        unlike.write_text("".join(f"{json.dumps(item)}\n" for item in sample.more))
        os.utime(unlike, (NOW, NOW))  # the time of those that have none
        (folder / "now/none.json").write_text("no report\n")
        asked = {**sample.asked, "stale": "7d", "strict": False, "since": str(folder / "before"),
                 "reports": [str(folder / "now")]}  # fmt: skip
        found = {}
        for form in ("text", "json"):
            outcome = run({**asked, "html": "page.html", "csv": "hosts.csv", "plan": "", "format": form}, NOW)
            found[f"fleet.{form}"] = "\n".join((outcome.out, *outcome.told))
            found.update(outcome.files)
        for name, form in PLANS.items():
            wanted = {**asked, "html": "", "csv": "", "plan": name, "plan-format": form, "format": "text"}
            found.update(run(wanted, NOW).files)
        found["page.html"] = re.sub(r"(?s)<(style|script)>.*?</\1>", "", found["page.html"])
        return {name: text.replace(made, "") + "\n" for name, text in found.items()}


def write() -> None:
    """The files in their place."""
    for name, text in files().items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
