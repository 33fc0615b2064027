"""The guard in a tree that is not running, by the real systemctl."""

from __future__ import annotations

import pytest

from fim_bootstrap.facts.own_files import GUARD, GUARD_UNITS, PRESET, PROGRAM
from tests.managers.test_managers import release_root

pytestmark = pytest.mark.managers


def test_the_guard_of_an_image() -> None:
    """It is enabled, stays so when a builder applies the presets, and goes with revert."""
    with release_root("debian-12") as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        program = here.path / PROGRAM.lstrip("/")
        program.write_text("")  # only the one-file binary can put itself there
        assert here.fim("apply --root /").status == 0
        assert here.fim("apply --root / --guard").report["changed"] is True
        assert here.fim("apply --root / --guard").report["changed"] is False
        here.run("echo 'disable *' > /lib/systemd/system-preset/99-last.preset; systemctl preset-all")
        here.run(f"ls {PRESET} {' '.join(GUARD)} {' '.join(GUARD_UNITS.values())}")
        assert here.fim("apply --root / --guard").report["changed"] is False
        assert here.fim("revert --root /").status == 0
        assert here.run("find /etc/systemd -name 'fim-bootstrap-guard*'").out == ""
        assert program.exists()
