"""What rules take from the log, as the kernel acts on them; tests/live sees the kernel do it."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from fim_bootstrap.audit import silence
from fim_bootstrap.audit.auditctl import parse, parse_listing
from fim_bootstrap.host.reader import File
from fim_bootstrap.model import Facts, Status
from tests.test_requirements import STATUS, facts, find, rules


def what(line: str) -> Optional[tuple[bool, str]]:
    """What a line silences: all or a part, and what."""
    (rule,) = parse(f"{line}\n")
    return silence.of(rule)


TOTAL = [
    "-a always,exclude -F msgtype>0", "-a exclude,always -F msgtype>0", "-a never,exclude -F msgtype=SYSCALL",
    "-a always,exclude -F msgtype=PATH", "-a always,exclude -F msgtype=1300", "-a always,exclude -F msgtype=0x514",
    "-a always,exclude -F msgtype>=1300 -F msgtype<=1399", "-a always,exclude -F msgtype!=CWD",
    "-A exclude,always -F msgtype=path", "-a always,exclude -F msgtype!=1300", "-a always,exclude -F msgtype<EOE",
    "-a always,exclude -F auid>=0", "-a always,exclude -F msgtype!=SOCKADDR",
    "-a always,exclude -F pid>0 -F msgtype=SYSCALL",
    "-a never,exit", "-a never,exit -S all", "-a exit,never -S all", "-A never,exit -F arch=b64 -S all -k quiet",
    "-a never,exit -F arch=b64", "-a never,exit -F arch!=b32", "-a never,exit -S open -S all", "-a never,exit -F dir=/",
    "-a never,exit -F perm=wa", "-a never,exit -S all -F success=1", "-a never,exit -S all -F success!=0 -F key=x",
    "-a never,exit -F auid>=0", "-a never,task -F uid>=0", "-a never,filesystem -F fstype!=tracefs",
    # numbers as strtoul(3) reads them, and names
    "-a always,exclude -F msgtype=02424", "-a always,exclude -F msgtype=1300x", "-a always,exclude -F msgtype=0X516",
    "-a always,exclude -F msgtype=UNKNOWN[1300]", "-a always,exclude -F msgtype>=DAEMON_START",
    "-a always,exclude -F msgtype<ANOM_PROMISCUOUS", "-a always,exclude -F msgtype<=AVC -F msgtype>USER_CMD",
    "-a never,exit -F success=01", "-a never,exit -F success=0x1", "-a never,exit -F success>0",
    "-a always,exclude -F uid>=root", "-a never,exit -F gid>=00",
    # what every process fits
    "-a always,exclude -F pid>=1", "-a never,exit -F pid!=0", "-a always,exclude -F uid!=-1",
    "-a never,exit -F uid<4294967295", "-a always,exclude -F auid<=unset", "-a never,exit -F exit!=-EACCES",
    "-a never,exit -F a0&=0", "-a never,exit -F pers=0", "-a never,exit -F inode!=0",
    "-a never,exit -F dir=/.", "-a never,exit -F dir=/etc/..", "-a never,exit -F LOGINUID>=0",
]  # fmt: skip
PART = [
    ("-a always,exclude -F msgtype=CWD", "records with msgtype=CWD"),
    ("-a always,exclude -F msgtype>=1400", "records with msgtype>=1400"),
    ("-a always,exclude -F msgtype=SYSCALL -F uid=33", "records with uid=33 and msgtype=SYSCALL"),
    ("-a always,exclude -F uid=0", "records with uid=0"),
    ("-a always,exclude -F msgtype>CWD", "records with msgtype>CWD"),
    ("-a never,exit -S all -F auid=1000", "events with auid=1000"),
    ("-a never,exit -F arch=b32 -S all", "events with arch=b32"),
    ("-a never,exit -F arch!=b64", "events with arch!=b64"),
    ("-a never,exit -F arch=b64 -S open,openat -S creat", "events with the system calls open, openat, creat"),
    ("-a never,exit -S close", "events with the system call close"),
    ("-a never,exit -F dir=/var/lib", "events with dir=/var/lib"),
    ("-a never,exit -F path=/etc/mtab -F perm=wa", "events with path=/etc/mtab"),
    ("-a never,exit -F exe=/usr/bin/x -F perm=r", "events with exe=/usr/bin/x and perm=r"),
    ("-a never,exit -C uid!=euid", "events with uid!=euid"),
    ("-a never,exit -S all -F success=0", "events with success=0"),
    ("-a task,never -F uid=7", "processes that start with uid=7"),
    ("-a never,filesystem -F fstype=0xEF53", "files on file systems with fstype=0xEF53"),
    ("-a never,io_uring -S openat", "what is done through io_uring"),
    ("-a never,exit -F dir=/ -p r", "events with perm=r"),
    ("-a never,exit -F arch=B32 -S all", "events with arch=B32"),
    ("-a never,exit -F uid!=0", "events with uid!=0"),
    ("-a never,exit -F auid!=unset", "events with auid!=unset"),
    ("-a never,exit -F exit>-1", "events with exit>-1"),  # without a sign, none is greater
    ("-a never,exit -S 0-500", "events with the system call 0-500"),  # auditctl reads a 0
    ("-a always,exclude -F msgtype>CONFIG_CHANGE", "records with msgtype>CONFIG_CHANGE"),
    ("-a always,exclude -F msgtype<DAEMON_START", "records with msgtype<DAEMON_START"),
    ("-a always,exclude -F msgtype=1_300", "records with msgtype=1_300"),
]
NOTHING = [
    "-a never,task", "-a never,user", "-a never,user -F uid=0", "-a always,exclude", "-a always,exit -S all",
    "-a always,exit -F path=/x -F perm=wa", "-w /etc/passwd -p wa -k id", "-a never,filesystem -F fstype=tracefs",
    "-a always,task -F uid=0", "-a never,exit -S all -e 3", "# -a never,exit -S all", "-d never,exit -S all",
    # refused by auditctl
    "-a never,exit -F key=x", "-a always,exclude -F msgtype=SYSCALL -k quiet", "-a never,exit -F msgtype=SYSCALL",
    "-a always,exclude -F msgtype>0 -F success=1", "-a never,exit -F inode>=0", "-a never,exit -S all -F arch=b64",
]  # fmt: skip


@pytest.mark.parametrize("line", TOTAL)
def test_what_leaves_fim_nothing(line: str) -> None:
    found = what(line)
    assert found
    assert found[0], found


@pytest.mark.parametrize(("line", "said"), PART)
def test_what_takes_a_part_is_said(line: str, said: str) -> None:
    assert what(line) == (False, said)


@pytest.mark.parametrize(("sign", "limit", "fits"), [
    ("=", 1, False), ("!=", 0, True), ("!=", 1, False), ("!=", 5, False), ("!=", 9, False), ("!=", 10, True),
    (">", 0, True), (">", 1, False), (">=", 1, True), (">=", 2, False), ("<", 10, True), ("<", 9, False),
    ("<=", 9, True), ("<=", 8, False), ("&=", 0, True), ("&=", 1, False), ("&", 1, False),
])  # fmt: skip
def test_what_every_number_from_one_to_nine_fits(sign: str, limit: int, fits: bool) -> None:
    assert silence._fits_all((1, 9), sign, limit) is fits


@pytest.mark.parametrize("line", NOTHING)
def test_what_takes_nothing(line: str) -> None:
    assert what(line) is None


def test_the_listing_of_old_releases_is_read_as_rules() -> None:
    old = """\
LIST_RULES: exit,never arch=3221225534 (0xc000003e) syscall=all
LIST_RULES: exit,never arch=1073741827 (0x40000003) syscall=all
LIST_RULES: exclude,always msgtype=PATH (0x516)
"""
    assert [silence.of(parse(rule)[0]) for rule in parse_listing(old)] == [
        (True, "all events"), (False, "events with arch=1073741827"), (True, "every PATH record")]  # fmt: skip


def live(*listing: str, **values: Any) -> Facts:
    """The ready host with these rules in the kernel."""
    return facts("audit", live_rules=listing, **values)


def test_a_rule_of_the_administrator_blocks_and_is_named_with_the_way_out() -> None:
    found = find("rules", rules("-D\n", "-e 2\n-a always,exclude -F msgtype>0\n"))
    assert (found.status, found.changes) == (Status.BLOCKED, ())
    assert found.evidence == (
        "/etc/audit/rules.d/1.rules:2: -a always,exclude -F msgtype>0: takes every SYSCALL and PATH record",
        "/etc/audit/rules.d/1.rules:1: -e 2",
    )
    assert found.remedy.startswith("take out /etc/audit/rules.d/1.rules:2 `-a always,exclude -F msgtype>0`")
    assert "--skip rules" in found.remedy


def test_a_rule_in_the_kernel_alone_blocks_unless_the_boot_takes_it_away() -> None:
    found = find("rules", live("-a always,exclude -F msgtype>0"))
    assert (found.status, found.evidence[0][:36]) == (Status.BLOCKED, "kernel: -a always,exclude -F msgtype")
    assert found.remedy.startswith("auditctl -d always,exclude -F 'msgtype>0'")
    frozen = live("-a always,exclude -F msgtype>0", status={**STATUS, "enabled": 2})
    assert find("rules", frozen).status is Status.REBOOT


def test_the_first_rule_that_fits_decides_but_among_exclude_rules() -> None:
    watch = "-w /etc/passwd -p wa -k fim"
    assert find("rules", live("-a never,exit -S all", watch)).status is Status.BLOCKED
    assert find("rules", live(watch, "-a never,exit -S all")).status is Status.OK  # an agent's rules come first
    no_agent = live(watch, "-a never,exit -S all")
    assert find("rules", no_agent._replace(agent=no_agent.agent._replace(edr=None))).status is Status.BLOCKED
    assert find("rules", live(watch, "-a never,exclude -F msgtype=PATH")).status is Status.BLOCKED
    assert find("rules", rules(f"{watch}\n-a never,exit -S all\n")).status is Status.BLOCKED  # an agent's come after


def test_what_is_not_loaded_silences_nothing() -> None:
    assert find("rules", rules("-k x\n-a never,exit -S all\n")).status is Status.OK
    assert find("rules", rules("-i\n-k x\n-a never,exit -S all\n")).status is Status.BLOCKED


def test_a_part_is_a_warning_once_for_file_and_kernel() -> None:
    line = "-a always,exclude -F msgtype=CWD"
    host = facts("audit", rules=(File("/etc/audit/audit.rules", f"{line}\n"),), live_rules=(line,))
    found = find("rules", host)
    assert found.status is Status.OK
    assert found.warnings == (f"/etc/audit/audit.rules:1: {line}: blinds FIM for records with msgtype=CWD",)
