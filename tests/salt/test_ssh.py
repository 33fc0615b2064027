"""salt-ssh to a host without a minion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.salt.fleet import master_config, program
from tests.salt.roots import PROGRAM, SHA256, furnish, salt_root
from tests.sshd import sshd

pytestmark = pytest.mark.salt


def test_salt_ssh(tmp_path: Path) -> None:
    """The same states, modules and grain; the second run changes nothing."""
    furnish(tmp_path, {"sha256": SHA256})
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/master").write_text(json.dumps(master_config(tmp_path)))
    with salt_root() as here, sshd(tmp_path, here.path) as port:
        host = {"host": "127.0.0.1", "port": port, "user": "root", "priv": str(tmp_path / "key"),
                "thin_dir": "/var/tmp/salt-thin"}  # fmt: skip
        (tmp_path / "etc/roster").write_text(json.dumps({"db1": host}))
        shutil.copy("/usr/bin/scp", here.path / "usr/bin")  # salt-ssh looks for it; it comes with any sshd
        answers = []
        for words in ("state.apply fim_bootstrap test=True", "state.apply fim_bootstrap", "state.apply fim_bootstrap",
                      "fim_bootstrap.check", "grains.get fim_bootstrap"):  # fmt: skip
            ran = program("salt-ssh", tmp_path, f"-i --out=json --log-file={tmp_path}/ssh.log db1 {words}")
            assert ran.status == 0, ran.out + ran.err
            answers.append(json.loads(ran.out)["db1"])
        planned, first, second = [
            {s["__id__"]: s for s in answer.values()}["fim-bootstrap-ready"] for answer in answers[:3]
        ]
        assert planned["result"] is None
        assert (first["result"], len(first["changes"]["done"])) == (True, 3)
        assert {state["result"] for state in answers[2].values()} == {True}
        assert not [state for state in answers[2].values() if state["changes"]]
        assert second["comment"] == "ready"
        assert answers[3]["verdict"] == "ready"
        assert answers[4]["ready"] is True
        assert (here.path / PROGRAM[1:]).exists()
        assert "installed" in here.run("dpkg-query -W -f '${Status}' auditd").out
