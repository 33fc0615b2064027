"""What beside the rule files may freeze the kernel's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim_bootstrap.audit import locked_by
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.model import OsRelease, Profile, Settings, Status
from tests.conftest import Tree
from tests.dict_host import DictHost
from tests.test_requirements import STATUS, facts, find


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/etc/systemd/system/auditd.service.d/lock.conf", "ExecStartPost=/sbin/auditctl -e 2"),
        ("/etc/systemd/system/seal.service", "ExecStart=/usr/sbin/auditctl -R /opt/seal.rules"),
        ("/etc/rc.local", "auditctl -e2"),
        ("/etc/init.d/seal", "  /sbin/auditctl -b 5 -e 2"),
        ("/etc/auditbeat/auditbeat.yml", "  immutable: true"),
        ("/etc/elastic-agent/elastic-agent.yml", '  - audit.immutable: "true"'),
    ],
)
def test_lines_that_lock_are_named(dict_host: DictHost, path: str, line: str) -> None:
    dict_host.write(path, f"# {line}\n{line}\n")
    assert locked_by.look(dict_host) == (f"{path}:2: {line.strip()}",)


@pytest.mark.parametrize("line", [
    "auditctl -s", "auditctl -e 1", "immutable: false", "echo -e 2", "auditctl -R /etc/audit/audit.rules",
    "auditctl  -R/etc/audit/rules.d/x", "auditctl -e 20", "echo -e 2; auditctl -s",
])  # fmt: skip
def test_lines_that_do_not(dict_host: DictHost, line: str) -> None:
    dict_host.write("/etc/rc.local", f"{line}\n")
    dict_host.write("/etc/auditbeat/auditbeat.yml", f"{line}\n")
    assert locked_by.look(dict_host) == ()


def test_a_kernel_that_is_locked_with_clean_files_says_what_else_may_do_it() -> None:
    line = "/etc/rc.local:2: auditctl -e 2"
    found = find("rules", facts("audit", status={**STATUS, "enabled": 2}, locked_by=(line,)))
    assert found.status is Status.REBOOT
    assert found.evidence == ("kernel: enabled 2", f"may lock it, too: {line}")
    assert "auditbeat or elastic-agent" in found.remedy


@pytest.mark.parametrize(("enabled", "named"), [(2, True), (1, False)])
def test_it_is_looked_for_where_the_kernel_is_locked(
    dict_host: DictHost, monkeypatch: pytest.MonkeyPatch, enabled: int, named: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for path in ("/proc/1/mountinfo", "/proc/self/mountinfo"):
        dict_host.write(path, "25 1 254:0 / / rw - ext4 /dev/vda rw\n")
    dict_host.write("/proc/1/comm", "systemd\n")
    dict_host.folder("/run/systemd/system")
    dict_host.programs("auditd", "auditctl")
    dict_host.write("/etc/rc.local", "auditctl -e 2\n")
    dict_host.answers = {"auditctl -s": f"enabled {enabled}\npid 0\n", "auditctl -l": "No rules\n"}
    seen = gather(dict_host, Profile("debian-12", ""), Settings(), OsRelease("debian"))
    assert bool(seen.audit.locked_by) is named


@pytest.mark.parametrize(("unit", "line"), [
    ("/etc/systemd/system/seal.service", "ExecStart=-/opt/seal.sh --now"),
    ("/etc/systemd/system/seal.service", "ExecStart=/opt/seal.sh"),
    ("/etc/systemd/system/seal.service", "ExecStart=/bin/bash -e '/opt/seal.sh'"),
    ("/etc/cron.d/seal", "@reboot root /opt/seal.sh"), ("/etc/rc.local", "/opt/seal.sh &"),
])  # fmt: skip
def test_a_script_that_is_called_is_looked_into(dict_host: DictHost, unit: str, line: str) -> None:
    dict_host.write("/opt/seal.sh", "#!/bin/sh\nauditctl -e 2\n")
    dict_host.write(unit, f"# {line}\n")
    assert locked_by.look(dict_host) == ()
    dict_host.write(unit, f"{line}\n{line}\n")
    assert locked_by.look(dict_host) == ("/opt/seal.sh:2: auditctl -e 2",)
    dict_host.write("/opt/seal.sh", "auditctl -e 2\n")  # no script
    assert locked_by.look(dict_host) == ()


@pytest.mark.parametrize(("size", "named"), [(locked_by.LARGEST, True), (locked_by.LARGEST + 1, False)])
def test_what_is_too_large_for_a_script_is_none(dict_host: DictHost, size: int, named: bool) -> None:
    dict_host.write("/etc/rc.local", "/opt/seal\n")
    dict_host.write("/opt/seal", "#!/bin/sh\nauditctl -e 2\n".ljust(size, "#"))
    assert bool(locked_by.look(dict_host)) is named


def test_a_unit_of_a_tree_that_locks_is_warned_about(tree: Tree) -> None:
    """Nothing runs there, so whether it will is not known."""
    tree.write("/etc/systemd/system/seal.service", "[Service]\nExecStart=/sbin/auditctl -e 2\n")
    ran = tree.fim("check", "--format", "json")
    (warning,) = next(item["warnings"] for item in ran.report["requirements"] if item["id"] == "rules")
    assert "/etc/systemd/system/seal.service:2: ExecStart=/sbin/auditctl -e 2" in warning


def test_a_line_that_names_auditctl_often_is_gone_through_once(dict_host: DictHost) -> None:
    """What looks at it again for each time takes hours here."""
    dict_host.write("/etc/rc.local", f"#!/bin/sh\n{'auditctl ' * 1_000_000}\n")
    assert locked_by.look(dict_host) == ()


@pytest.mark.parametrize("path", ["/etc/init.d/auditd", "/sbin/augenrules"])
def test_what_audit_itself_ships_is_no_suspect(dict_host: DictHost, path: str) -> None:
    script = Path(path)
    if not script.exists():
        pytest.skip("auditd is not installed here")
    dict_host.write("/etc/init.d/auditd", f"#!/bin/sh\n{path}\n")
    dict_host.write(path, script.read_text())
    assert locked_by.look(dict_host) == ()
    dict_host.write(path, f"{script.read_text()}\nauditctl -R /root/other.rules\n")
    assert len(locked_by.look(dict_host)) == 1
