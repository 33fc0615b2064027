"""A host that an earlier release made ready, in a guest: understood, healed, and taken back byte for byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.live.guest import FIM, guest
from tests.live.test_scenarios import ready

pytestmark = pytest.mark.live

EARLIER = "63a445d"  # the last commit before the agent was known as it is
MODULE = "/var/lib/selinux/default/active/modules/400/fim_bootstrap/cil"
RULES = "/etc/audit/rules.d"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The tree of that commit."""
    archive = tmp_path / "earlier.tar"
    words = ["git", "archive", "-o", str(archive), EARLIER, "bootstrap.py", "fim_bootstrap", "distro_profiles"]
    if subprocess.run(words, cwd=PROJECT, capture_output=True, check=False).returncode:
        pytest.skip(f"this checkout has no commit {EARLIER}")
    folder = tmp_path / "earlier"
    folder.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    return folder


def test_what_an_earlier_release_did_is_healed_and_taken_back(earlier: Path) -> None:
    """Its comment that augenrules glues to another line, its module with grants to the agent, its two restarts."""
    with guest("bookworm", extra=(earlier,)) as machine:
        machine.run("apt-get update && apt-get install -y auditd", timeout=300)
        machine.run(f"printf -- '-w /etc/passwd -p wa -k id' > {RULES}/50-site.rules")
        machine.run(f"echo '-e 2' > {RULES}/99-end.rules; sed -i 's/^dispatcher/#dispatcher/' /etc/audit/auditd.conf")
        machine.run("augenrules; cp -a /etc/audit /root/audit.before")  # which makes audit.rules of them
        mine, machine.program = machine.program, FIM.replace("bootstrap.py", "earlier/bootstrap.py")
        machine.fim("apply")  # with an agent as it really is it ends with 1
        machine.program = mine
        machine.run(f"grep -q '^# fim-bootstrap.*: -e 2' {RULES}/99-end.rules")
        module = machine.run(f"python3 -c 'import bz2; print(bz2.open(\"{MODULE}\").read())'").out
        assert "connectto" in module
        applied = machine.fim("apply")
        assert (applied.status, applied.report["changed"]) == (0, True), applied.out + applied.err
        assert applied.report["reboot_required"] is True  # the glued comment has locked the kernel meanwhile
        machine.reboot()
        ready(machine)
        assert machine.fim("apply").report["done"] == []
        reverted = machine.fim("revert")
        assert reverted.status == 0, reverted.out + reverted.err
        machine.run("diff -r -x edr-plugin.conf -x audit.rules.prev /root/audit.before /etc/audit")
        assert "fim_bootstrap" not in machine.run("semodule -lfull").out
