"""The one-file binary reads a fleet: it has the page, and the modules that only this command imports."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from bench import fleet as bench
from tests.conftest import BINARY

pytestmark = pytest.mark.binary


def test_a_fleet(tmp_path: Path) -> None:
    bench.write(tmp_path / "fleet", 60)
    (tmp_path / "more.gz").write_bytes(gzip.compress("".join(bench.lines(70)).encode()))
    outputs = [word for kind in ("html", "csv", "plan") for word in (f"--{kind}", str(tmp_path / f"out.{kind}"))]
    argv = [str(BINARY), "fleet", str(tmp_path / "fleet"), str(tmp_path / "more.gz"), "--format", "json", *outputs]
    ran = subprocess.run(argv, capture_output=True, env={"PATH": "/usr/bin:/bin"}, timeout=60, check=True)
    assert json.loads(ran.stdout)["machines"] == 70
    assert (tmp_path / "out.html").read_text().endswith("</html>\n")
