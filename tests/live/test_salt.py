"""Salt without a master in an enforcing guest whose kernel is really frozen: applied, rebooted, ready."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.fetched import SALT, fetched
from tests.live.guest import BINARY, Guest, guest
from tests.salt.roots import SHA256

pytestmark = pytest.mark.live

# as salt-minion.service would: a unit of systemd; the output goes through a file, D-Bus may not pass descriptors
CALL = """
systemd-run --quiet --wait --collect -p StandardOutput=truncate:/run/salt.out -p StandardError=truncate:/run/salt.err \
    -p Environment=PYTHONPATH=/opt/fim-bootstrap/{salt} /usr/bin/python3 /opt/fim-bootstrap/{salt}/bin/salt-call \
    --local --retcode-passthrough --out=json --file-root=/opt/fim-bootstrap/salt --pillar-root=/srv/pillar {words}
status=$?
cat /run/salt.out; cat /run/salt.err >&2; exit $status
"""


def call(machine: Guest, words: str) -> Any:
    """What salt-call answers."""
    ran = machine.run(CALL.format(salt=fetched(SALT).name, words=words), timeout=900, check=False)
    assert ran.status == 0, ran.out + ran.err
    return json.loads(ran.out)["local"]


def ready(states: dict[str, Any]) -> dict[str, Any]:
    """What became of the state fim_bootstrap.ready."""
    return dict(next(state for state in states.values() if state["__id__"] == "fim-bootstrap-ready"))


def test_a_frozen_kernel_is_told_by_the_grain_and_ready_after_the_reboot() -> None:
    if not (PROJECT / BINARY).exists():
        pytest.skip("the binary was not built: make binary")
    with guest("bookworm", extra=(fetched(SALT), PROJECT / "packaging/salt")) as machine:
        machine.run("apt-get update && apt-get install -y auditd", timeout=300)
        machine.run("echo '-e 2' > /etc/audit/rules.d/99-finalize.rules")
        machine.reboot()
        assert "enabled 2" in machine.run("auditctl -s").out
        furnish(machine)
        assert "states.fim_bootstrap" in call(machine, "saltutil.sync_all")["states"]

        applied = ready(call(machine, "state.apply fim_bootstrap"))
        assert (applied["result"], "reboot required" in applied["comment"]) == (True, True), applied
        assert any("99-finalize.rules" in line for line in applied["changes"]["done"]), applied
        again = ready(call(machine, "state.apply fim_bootstrap"))
        assert (again["result"], again["changes"]) == (True, {}), again
        grain = call(machine, "grains.get fim_bootstrap")
        assert (grain["verdict"], grain["ready"], grain["reboot_required"]) == ("ready-after-reboot", False, True)
        assert call(machine, "fim_bootstrap.reboot_required") == {"reboot_required": True}

        machine.reboot()
        assert "enabled 1" in machine.run("auditctl -s").out
        grain = call(machine, "grains.get fim_bootstrap")
        assert (grain["verdict"], grain["ready"], grain["reboot_required"]) == ("unknown", None, False)
        assert call(machine, "fim_bootstrap.check")["verdict"] == "ready"
        assert ready(call(machine, "state.apply fim_bootstrap"))["changes"] == {}
        assert call(machine, "grains.get fim_bootstrap")["ready"] is True


def furnish(machine: Guest) -> None:
    """The binary where the formula ships it from, and its checksum as pillar."""
    files = "/opt/fim-bootstrap/salt/fim_bootstrap/files"
    pillar = {"top": {"base": {"*": ["all"]}}, "all": {"fim_bootstrap": {"sha256": SHA256}}}
    machine.run(f"mkdir -p {files} /srv/pillar && cp /opt/fim-bootstrap/{BINARY} {files}/fim-bootstrap")
    for name, value in pillar.items():
        machine.run(f"echo '{json.dumps(value)}' > /srv/pillar/{name}.sls")
