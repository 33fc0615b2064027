"""What keeps auditd from starting or from being heard is found in the files, with its place."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Optional

import pytest

from fim_bootstrap.audit import auditd_conf, obstacles, units
from fim_bootstrap.audit.rules_d import Joins
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.host.reader import File, Stat
from fim_bootstrap.model import Obstacle
from tests.conftest import AUDITD_CONF, Tree
from tests.dict_host import DictHost

CONF = auditd_conf.PATH
UNIT = "/lib/systemd/system/auditd.service"
DROP_IN = "/etc/systemd/system/auditd.service.d/x.conf"


@pytest.fixture
def host(dict_host: DictHost) -> DictHost:
    """A system that has nothing against auditd."""
    dict_host.write("/proc/cmdline", "root=/dev/vda audit=1 quiet\n")
    dict_host.write("/proc/self/stat")
    dict_host.write("/proc/self/loginuid", "4294967295")
    dict_host.write(CONF, AUDITD_CONF, mode=0o640)
    dict_host.write("/etc/group", "root:x:0:\nadm:x:4:\n")
    dict_host.folder("/var/log/audit")
    dict_host.write(UNIT, "[Unit]\nWants=audit-rules.service\n[Service]\nExecStart=/sbin/auditd\n")
    return dict_host


def found(host: DictHost, live: bool = True, *rules: str) -> tuple[Obstacle, ...]:
    """The obstacles, with these rule files."""
    files = tuple(File(f"/etc/audit/rules.d/{number}.rules", text) for number, text in enumerate(rules))
    return obstacles.gather(host, live, host.read(CONF), files, Joins())


def test_a_good_system_has_none(host: DictHost) -> None:
    assert found(host) == ()
    assert found(host, False, "-D\n-e 1\n") == ()


@pytest.mark.parametrize(
    ("path", "text", "where"),
    [
        ("/proc/cmdline", "audit=0 quiet\n", "/proc/cmdline: audit=0 quiet"),
        ("/proc/cmdline", "quiet audit=off audit=1\n", "/proc/cmdline"),
        ("/etc/systemd/system/auditd.service", "-> /dev/null", "/etc/systemd/system/auditd.service -> /dev/null"),
        ("/etc/systemd/system/auditd.service", "", "/etc/systemd/system/auditd.service is empty"),
        (CONF, f"{AUDITD_CONF}local_events = NO\n", f"{CONF}:20: local_events = NO"),
        (DROP_IN, "[Service]\nExecStartPost=/sbin/auditctl -e 2\n", f"{DROP_IN}:2: ExecStartPost=/sbin/auditctl -e 2"),
        (DROP_IN, "ExecStartPost = -/usr/sbin/auditctl -e2\n", f"{DROP_IN}:1"),
        (DROP_IN, "ExecStartPre=/sbin/auditctl -e 0\n", f"{DROP_IN}:1"),
        (DROP_IN, "ExecStartPost=/sbin/auditctl -R /etc/other.rules\n", "/etc/other.rules:2: -a never,task"),
        ("/usr/lib/systemd/system/audit-rules.service", "ExecStart=/sbin/auditctl -e 2\n", "audit-rules.service:1"),
        ("/proc/cmdline", "quiet audit=OFF\n", "/proc/cmdline: quiet audit=OFF"),
        ("/proc/cmdline", 'audit="0" quiet\n', "/proc/cmdline"),
        (DROP_IN, 'ExecStartPost=/bin/sh -c "auditctl -e 2"\n', f"{DROP_IN}:1"),
        (DROP_IN, "[Service]\nExecStartPost=/sbin/auditctl \\\n  -e 2\n", f"{DROP_IN}:2: ExecStartPost=/sbin/auditctl"),
        (DROP_IN, "ExecStartPost=/sbin/auditctl -a never,task\n", f"{DROP_IN}:1"),
        (DROP_IN, "ExecStartPost=/sbin/auditctl -a always,exclude -F 'msgtype>0'\n", f"{DROP_IN}:1"),
        (DROP_IN, "ExecStartPost=/sbin/auditctl -R /etc/silent.rules\n", "/etc/silent.rules:2: -a never,exit -S all"),
        (DROP_IN, "ExecStartPost=/sbin/auditctl -R /etc/off.rules\n", "/etc/off.rules:1: -e 0"),
        ("/etc/systemd/system/service.d/x.conf", "ExecStartPost=/sbin/auditctl -e 2\n", "/service.d/x.conf:1"),
    ],
)
def test_what_stops_a_running_system(host: DictHost, path: str, text: str, where: str) -> None:
    host.write("/etc/other.rules", "-D\n-a never,task\n")
    host.write("/etc/silent.rules", "-D\n-a never,exit -S all\n")
    host.write("/etc/off.rules", "-e 0\n")
    if text.startswith("->"):
        host.write(path, "", link=text[3:])
    else:
        host.write(path, text, mode=0o640)
    (obstacle,) = found(host)
    assert where in obstacle.where
    assert obstacle.certain
    assert obstacle.remedy


def test_a_kernel_without_audit_is_known_before_auditctl_is_installed(host: DictHost) -> None:
    del host.nodes["/proc/self/loginuid"]
    (obstacle,) = found(host)
    assert "built without audit" in obstacle.why
    assert found(host, live=False) == ()


@pytest.mark.parametrize(("values", "whose"), [({"uid": 7}, "uid 7"), ({"mode": 0o646}, "everybody")])
def test_a_configuration_that_is_not_roots(host: DictHost, values: dict[str, int], whose: str) -> None:
    host.write(CONF, AUDITD_CONF, **values)
    (obstacle,) = found(host)
    assert whose in obstacle.where


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/default/grub", '# audit=0\nGRUB_CMDLINE_LINUX="quiet audit=0"\n'),
        ("/boot/loader/entries/a.conf", "title x\noptions root=x audit=off\n"),
        ("/etc/kernel/cmdline", "\nroot=x audit=0 rw\n"),
        ("/boot/grub2/grubenv", "# GRUB\nkernelopts=root=x audit=0\n"),
        ("/usr/lib/bootc/kargs.d/00.toml", '\nkargs = ["audit=0"]\n'),
        ("/etc/default/grub", "\nGRUB_CMDLINE_LINUX=audit=Off\n"),
        ("/boot/efi/EFI/redhat/grubenv", "# GRUB\nkernelopts=audit=0\n"),
        ("/boot/efi/loader/entries/a.conf", "title x\noptions audit=0\n"),
        ("/efi/loader/entries/a.conf", "title x\noptions audit=0\n"),
        ("/usr/lib/kernel/cmdline", "\nquiet audit=0\n"),
        ("/boot/grub/grub.cfg", "menuentry {\n  linux /vmlinuz root=x audit=0\n"),
        ("/boot/grub2/grub.cfg", 'set x\nset kernelopts="root=x audit=0"\nlinux /vmlinuz $kernelopts\n'),
        ("/boot/grub/grub.conf", "title x\nkernel /vmlinuz audit=0\n"),
        ("/boot/extlinux/extlinux.conf", "label x\nappend audit=0\n"),
        ("/etc/zipl.conf", '[x]\nparameters = "audit=0"\n'),
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_the_next_boots_command_line(host: DictHost, path: str, text: str, live: bool) -> None:
    host.write(path, text)
    (obstacle,) = found(host, live)
    assert obstacle.where.startswith(f"{path}:2: ")
    assert obstacle.certain is not live


def test_one_entry_of_a_menu_may_never_be_booted(host: DictHost) -> None:
    host.write("/boot/loader/entries/a.conf", "title x\noptions root=x\n")
    host.write("/boot/loader/entries/rescue.conf", "title x\noptions root=x audit=0\n")
    (obstacle,) = found(host, live=False)
    assert (obstacle.certain, "one entry" in obstacle.why) == (False, True)


def test_a_script_of_a_unit_is_looked_into_and_warned_about(host: DictHost) -> None:
    host.write(DROP_IN, "[Service]\nExecStartPost=-/bin/bash /opt/seal.sh\n")
    host.write("/opt/seal.sh", "#!/bin/sh\n# auditctl -e 2\ntest -e /x && auditctl -e 2; true\n")
    (obstacle,) = found(host)
    assert f"{DROP_IN}:2: ExecStartPost=-/bin/bash /opt/seal.sh runs /opt/seal.sh:3: test -e" in obstacle.where
    assert not obstacle.certain
    host.write("/opt/seal.sh", "#!/bin/sh\nauditctl -e 2\n".ljust(units.LARGEST, "#"))
    assert found(host)
    for other in ("#!/bin/sh\nauditctl -e 2\n".ljust(units.LARGEST + 1, "#"), "auditctl -e 2\n"):  # no script
        host.write("/opt/seal.sh", other)
        assert found(host) == ()


def test_a_file_of_rules_that_many_commands_load_is_judged_once(host: DictHost) -> None:
    host.write("/etc/other.rules", "-e 2\n" * 9)
    host.write(DROP_IN, "ExecStartPost=/sbin/auditctl -R /etc/other.rules -R /etc/audit/audit.rules\n" * 9)
    (obstacle,) = found(host)
    assert obstacle.where.endswith(" -R /etc/audit/audit.rules loads /etc/other.rules:1: -e 2")


@pytest.mark.parametrize("command", ["auditctl -s", "auditctl -e 1", "augenrules --load", "echo auditctl -e 2x"])
def test_other_commands_do_no_harm(host: DictHost, command: str) -> None:
    host.write(DROP_IN, f"ExecStartPost={command}\n# ExecStart=auditctl -e 2\nX-ExecStart=auditctl -e 2\n")
    assert found(host) == ()


@pytest.mark.parametrize("path", ["/etc/default/grub", "/boot/grub2/grub.cfg", DROP_IN])
def test_what_is_too_large_to_be_looked_at_is_no_ok(host: DictHost, path: str) -> None:
    host.write(path, "", problem="larger than 1 MB")
    (obstacle,) = found(host, live=False)
    assert (obstacle.where, obstacle.certain) == (path, True)


@pytest.mark.parametrize(
    "word",
    ["audit=1", "audit=01", "audit=00", "a=audit=0", "xaudit=0", "my.audit=0", "audit=0x", "audit_backlog_limit=0"],
)
def test_other_words_switch_nothing_off(host: DictHost, word: str) -> None:
    host.write("/proc/cmdline", f"{word}\n")
    assert found(host) == ()


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        (("-D\n-e 0\n",), "/etc/audit/rules.d/0.rules:2: -e 0"), (("-e0\n", "-e 1\n"), ""),
        (("-e 1\n", " -e 0"), "/1.rules:1"),
        (("# -e 0\n",), ""), (("-w /x -p wa -k no-e 0\n",), ""),
        (("-w /x -p wa -k id", "-e 0\n"), ""),  # glued: the key is id-e
        (("-w /x -p wa -k id ", "-e 0\n"), "/0.rules:1 with /etc/audit/rules.d/1.rules:1"),
        (("# mine", "-e 0\n"), ""), (("-e 0\n", "# mine", "-e 1\n"), "/0.rules:1: -e 0"),
        (("-e 1\n-w x\n", "-a always,exit -S all\n"), ""), (("-w x\n-w /y -e 0\n",), ""),
        (("-w x -e 0\n",), ""), (("-we 0\n",), ""), (("-e 0 # off\n",), "/0.rules:1"),
    ],
)  # fmt: skip
def test_rules_that_switch_auditing_off(host: DictHost, rules: tuple[str, ...], where: str) -> None:
    hindered = found(host, True, *rules)
    assert bool(hindered) is bool(where)
    assert not where or where in hindered[0].where


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (("-w /x -p wa\n-w x\n",), "/0.rules:2: -w x"), (("-i\n-w x\n",), ""), (("-c\n", "-w x\n"), "/1.rules:1"),
        (("-i\n-c\n-w x\n",), "/0.rules:3"), (("-w /x", "-w /y\n"), "/0.rules:1 with /etc/audit/rules.d/1.rules:1"),
        (("# mine", "-w x\n"), ""), (("-w /x -p wa\n", "-w /x -p wa\n"), "/1.rules:1"),
        (("-w /x\n", "bogus\n"), "/1.rules:1: bogus"),
        (("-w x\n", "-i\n"), "/0.rules:1"), (("# -i\n-w x\n",), "/0.rules:2"),
        (("-e 2 # lock\n",), ""),
    ],
)  # fmt: skip
def test_a_refused_rule_stops_auditd_where_its_unit_requires_the_rules(
    host: DictHost, rules: tuple[str, ...], named: str
) -> None:
    assert found(host, True, *rules) == ()
    host.write(UNIT, "[Unit]\nRequires=audit-rules.service\n")
    hindered = found(host, True, *rules)
    assert bool(hindered) is bool(named)
    assert not named or named in hindered[0].where


def test_an_auditd_that_was_started_with_a_rule_that_auditctl_refuses_is_only_warned_about(host: DictHost) -> None:
    host.write(UNIT, "[Unit]\nRequires=audit-rules.service\n")
    rules = (File("/etc/audit/rules.d/0.rules", "-w x\n", mtime=100.0),)
    certain = [
        [one.certain for one in obstacles.gather(host, True, None, rules, Joins(), started)]
        for started in (0.0, 99.0, 101.0)
    ]
    assert certain == [[True], [True], [False]]


def test_a_masked_unit_that_auditd_requires(host: DictHost) -> None:
    host.write("/etc/systemd/system/audit-rules.service", "", link="/dev/null")
    assert found(host) == ()
    host.write(UNIT, "[Unit]\nRequires=audit-rules.service\n")
    (obstacle,) = found(host)
    assert "audit-rules.service is masked" in obstacle.why


def test_a_trees_group_and_folder_may_be_made_at_its_first_boot(host: DictHost) -> None:
    host.write(CONF, f"{AUDITD_CONF}log_group = splunk\n", mode=0o640)
    del host.nodes["/var/log/audit"]
    group, folder = sorted(found(host, live=False))
    assert (group.certain, folder.certain) == (False, False)
    assert ":20: log_group = splunk" in group.where
    host.write("/usr/lib/sysusers.d/splunk.conf", "# x\nu splunk - -\n")
    host.write("/usr/lib/tmpfiles.d/audit.conf", "d /var/log/audit 0700 root root -\n")
    assert found(host, live=False) == ()


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ("space_left_action = exec /opt/none\n", "/opt/none is missing"),
        ("disk_error_action = EXEC /opt/mail a b\n", ""),
        ("disk_full_action = exec /opt/users\n", "/opt/users is no program of root"),
        ("disk_full_action = exec /opt\n", "/opt is no program of root"),
        ("log_file = /dev/null\n", "no regular file"), ("log_file = /var/log/audit\n", "no regular file"),
        ("log_file = /opt/mail/audit.log\n", "the folder of the audit log is none"),
        ("log_file = /var/log/audit/other.log\n", ""),
    ],
)  # fmt: skip
def test_what_a_trees_auditd_would_end_on(host: DictHost, lines: str, where: str) -> None:
    host.write("/opt/mail", mode=0o750)
    host.write("/opt/users", mode=0o750, uid=7)
    host.write(CONF, f"{AUDITD_CONF}{lines}", mode=0o640)
    seen = found(host, live=False)
    assert [one.certain for one in seen] == ([True] if where else [])
    assert where in "".join(f"{one.where}: {one.why}" for one in seen)


def test_a_read_only_log_folder(host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = host.stat
    monkeypatch.setattr(host, "stat", lambda path: (there := stat(path)) and there._replace(read_only=True))
    (obstacle,) = found(host)
    assert (obstacle.where, obstacle.certain) == ("/var/log/audit", True)


@pytest.mark.parametrize(
    ("lines", "left", "certain", "named"),
    [
        ("", 49 << 20, None, ""), ("", 1000, False, "/var/log/audit"),
        ("admin_space_left_action = HALT\n", 50 << 20, True, ":20: admin_space_left_action = HALT"),
        ("admin_space_left_action = halt\n", 51 << 20, None, ""),
        ("admin_space_left = 10%\nadmin_space_left_action = single\n", 99 << 20, True, ":21:"),
        ("admin_space_left = 10%\nadmin_space_left_action = single\n", 101 << 20, None, ""),
        ("space_left_action = halt\n", 60 << 20, True, ":20:"), ("disk_full_action = HALT\n", 60 << 20, None, ""),
        ("disk_full_action = HALT\n", 1000, True, ":20: disk_full_action = HALT"),
        ("admin_space_left_action = halt\nwrite_logs = no\n", 1000, None, ""),
        ("admin_space_left_action = halt\nlog_format = NOLOG\n", 1000, None, ""),
    ],
)  # fmt: skip
def test_a_log_without_space(
    host: DictHost, monkeypatch: pytest.MonkeyPatch, lines: str, left: int, certain: Optional[bool], named: str
) -> None:
    host.write(CONF, f"{AUDITD_CONF}{lines}", mode=0o640)
    stat = host.stat
    little = functools.partial(Stat._replace, free=left, whole=1000 << 20)
    monkeypatch.setattr(host, "stat", lambda path: (there := stat(path)) and little(there))
    seen = found(host)
    assert [one.certain for one in seen] == ([] if certain is None else [certain])
    assert named in "".join(one.where for one in seen)
    assert found(host, live=False) == ()


def test_a_tree_in_which_auditd_is_masked_is_blocked(tree: Tree, tmp_path: Path) -> None:
    tree.link("/etc/systemd/system/auditd.service", "/dev/null")
    assert LiveHost(str(tree.folder)).link("/etc/systemd/system/auditd.service") == "/dev/null"
    seen = tree.fim("apply", "--format", "json")
    assert (seen.status, seen.status_of("auditd"), seen.report["changed"]) == (4, "blocked", False)


def test_a_file_of_rules_that_a_unit_loads_and_that_is_not_there_does_no_harm(dict_host: DictHost) -> None:
    dict_host.write("/usr/lib/systemd/system/auditd.service", "[Service]\nExecStart=/sbin/auditd\n")
    dict_host.write(DROP_IN, "ExecStartPost=-/sbin/auditctl -R /etc/none.rules\n")
    assert not [*units.look(dict_host)]
