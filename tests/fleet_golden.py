"""What `fleet` writes of one fleet. `make golden` writes tests/golden/fleet: read it before it is committed.

The page stands there without its style and its script.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from bench import fleet as bench
from fim_bootstrap.fleet.command import run
from tests.fleet_reports import NOW, frozen, of_error, report, requirement

FOLDER = Path(__file__).parent / "golden/fleet"
HOSTS = 24
PLANS = {"plan.txt": "text", "plan.csv": "csv", "plan.ini": "ansible", "plan.conf": "salt"}
UNLIKE = (
    frozen("frozen1", machine="m1"), frozen("frozen1", machine="m2"), frozen("frozen2"), of_error(),
    report("early", "blocked", requirement("auditd", "blocked", "auditd would not start", remedy="mend it")),
)  # fmt: skip


def files() -> dict[str, str]:
    """Each golden file's name, and what stands in it."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        bench.write(folder / "before", HOSTS, 4, NOW - 86400)
        bench.write(folder / "now", HOSTS, 5, NOW)
        unlike = folder / "now/unlike.jsonl"
        unlike.write_text("".join(f"{json.dumps(item)}\n" for item in UNLIKE))
        os.utime(unlike, (NOW, NOW))  # the time of those that have none
        (folder / "now/none.json").write_text("no report\n")
        asked = {"stale": "7d", "batch": "50%", "canary": "1", "exclude": [], "group-by": "", "strict": False,
                 "since": str(folder / "before"), "reports": [str(folder / "now")]}  # fmt: skip
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
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
