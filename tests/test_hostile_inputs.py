"""No `check` of a hostile input needs much memory, hangs, or ends in a mistake of this program; none is «ready»."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import PROJECT, Tree
from tests.hostile_inputs import Hostile, inputs

MEMORY = 100  # MB
HANGS = 300  # seconds; ten on an idle machine
SCRIPT = """
import sys
from fim_bootstrap.cli import main
status = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1], file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("hostile", [pytest.param(hostile, id=name) for name, hostile in inputs()])
def test_a_check_stays_small_and_says_what_it_found(tree: Tree, hostile: Hostile) -> None:
    tree.write("/usr/bin/apt-get", "#!/bin/false\n", 0o755)
    hostile.make(tree)
    argv = [sys.executable, "-c", SCRIPT, "check", "--root", str(tree.folder), "--format", "json"]
    done = subprocess.run(argv, capture_output=True, cwd=PROJECT, timeout=HANGS, check=False)
    err = done.stderr.decode()
    assert "mistake in this program" not in err
    assert "Traceback" not in err
    assert int(err.splitlines()[-1]) < MEMORY * 1024
    report = json.loads(done.stdout)
    assert done.returncode in ((4, 69) if hostile.beyond else (3, 4)), report["comment"]
    if hostile.beyond:
        assert report["verdict"] in ("blocked", "unsupported")
