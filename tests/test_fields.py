"""The fields of a rule as auditctl takes them: what it refuses, and which rules are one to the kernel."""

from __future__ import annotations

import pytest

from fim_bootstrap.audit import fields
from fim_bootstrap.audit.auditctl import Rule, parse, parse_listing

KEY = "k" * 256
REFUSED = [
    "-a always,exit -S open -F arch=b64", "-w /x -F arch=b64", "-a always,exit -F uuid=0", "-a always,exit -F uid",
    "-a always,exit -F uid=", "-a always,exit -F =0", "-a always,exit -F inode>5", "-a always,exit -F arch>b64",
    "-a always,exit -F perm!=wa", "-a always,exit -F perm=wz", "-a always,exit -F exe<=/x",
    "-a always,exit -F msgtype=CWD", "-a always,exit -F fstype=tracefs", "-a never,task -F path=/x",
    "-a never,task -F sessionid=1", "-a always,exclude -F success=1", "-a never,user -F ppid=1",
    "-a always,exclude -F msgtype=-1", "-a always,exclude -F msgtype=ALL", "-a always,exclude -F MSGTYPE=all",
    "-a always,exit -F success=yes", "-a always,exit -F pid=-1", "-a always,exit -F devmajor=x",
    "-a always,exit -F a0=x", "-a always,exit -F gid=-1", "-a always,exit -F uid=-x", "-a always,exit -F exit=x",
    "-a always,exit -F exit=-EACCESS", "-a always,exit -F exit=ENOTSUP", "-a always,exit -F exit=--5",
    "-a always,exit -F filetype=regular", "-a always,exit -k x", "-a always,exit -F uid=0 -k x",
    "-a always,exit -F uid=0 -F key=x", "-a always,exit -F arch=b64 -k x", "-a always,exit -k x -S open",
    "-a always,exclude -F msgtype=CWD -k x", "-a always,exit -p wa", "-a always,exit -p wa -F path=/x",
    "-a always,exit -S open -C uid>euid", "-a always,exit -S open -C uid=gid", "-a always,exit -S open -C uid=uid",
    "-a always,exit -S open -C uid", "-a always,exit -S open -C pid=ppid", "-a always,exit -C auid!=loginuid",
    f"-w /x -k {KEY}k", f"-w /x -k {KEY[:128]} -k {KEY[:128]}", f"-a always,exit -S open -F key={KEY}k",
    f"-w /{'a' * 4094}", f"-a always,exit -F path=/{'a' * 4096}", "-a always,exit -S 2048",
]  # fmt: skip
TAKEN = [
    "-a always,exit -F arch=b64 -S open", "-a always,exit -F path=/x -F arch=b64", "-a always,exit -F KEY=x -S open",
    "-a always,exit -F Path=/x", "-a always,exit -F loginuid>=1000", "-a always,exit -F auid=nobody-knows",
    "-a always,exit -F auid=-1", "-a always,exit -F exit=-EACCES", "-a always,exit -F exit=eacces",
    "-a always,exit -F exit=-13x", "-a always,exit -F a0&0100", "-a always,exit -F arch=b99",
    "-a always,exit -F filetype=FILE", "-a always,exit -F perm=rr", "-a always,exit -F path=/x -k k",
    "-a always,exit -F exe=/x -k k", "-a always,exit -F perm=wa -k k", "-a always,exit -F uid=0 -p wa -k k",
    "-a always,filesystem -F fstype=tracefs -k k", "-a always,exit -F key=x -S open", "-a always,exit -F key=",
    "-a always,exclude -F msgtype=NO_SUCH", "-a always,exclude -F msgtype=UNKNOWN[1399]",
    "-a always,exclude -F sessionid=1", "-a always,exit -S open -C auid!=obj_uid", "-a always,exit -S open -C gid=egid",
    f"-w /x -k {KEY}", f"-w /x -k {KEY[:128]} -k {KEY[:127]}", "-a always,exit -S 2047", "-w /x -k k -p wa",
]  # fmt: skip
ONE_RULE = [
    ("-w /etc/passwd -p wa -k id", "-w /etc/passwd -k id -p aw"), ("-w /etc/passwd", "-w /etc/passwd -p RWXA"),
    ("-w /etc/x/ -p wa", "-w /etc/x -p wa"), ("-a always,exit -S open,openat", "-a exit,always -S openat -S open"),
    ("-a always,exit -F uid=0", "-a always,exit -S all -F UID=root"),
    ("-a always,exit -S open -F auid!=-1 -k x", "-a always,exit -S open -F loginuid!=unset -F key=x"),
    ("-a always,exit -S open -F auid=4294967295", "-a always,exit -S open -F auid=unset"),
    ("-a always,exit -S open -F exit=-EACCES", "-a always,exit -S open -F exit=-13"),
    ("-a always,exclude -F msgtype=CWD", "-a always,exclude -F msgtype=0x51b"),
    ("-a always,exit -S open -F a0=0x10", "-a always,exit -S open -F a0=020"),
    ("-a always,exit -S open -C uid!=euid", "-a always,exit -S open -C euid!=uid"),
    ("-a always,exit -F path=/x -F perm=wa", "-a always,exit -F path=/x -p aw"),
    ("-a never,task", "-a task,never"), ("-A always,exit -S open", "-a always,exit -S open"),
]  # fmt: skip
TWO_RULES = [
    ("-w /x -p wa -k a", "-w /x -p wa -k b"), ("-w /x -p w", "-w /x -p a"), ("-w /x", "-w /y"),
    ("-a always,exit -S open", "-a never,exit -S open"), ("-a always,exit -S open", "-A always,exit -S open"),
    ("-a always,exit -S open -F uid=0 -F gid=0", "-a always,exit -S open -F gid=0 -F uid=0"),
    ("-a always,exit -S open -F uid=0", "-a always,exit -S open -F uid!=0"),
    ("-a always,exit -S open -k a -k b", "-a always,exit -S open -k b -k a"),
    ("-a always,exclude -F msgtype=CWD", "-a never,exclude -F msgtype=CWD"),
    ("-a always,exit -S open -F auid=1000", "-a always,exit -S open -F uid=1000"),
    ("-w /x -p wa", "-a always,exit -F path=/x -F perm=wa"),  # one, unless /x is a folder
]  # fmt: skip


def rule_of(line: str) -> Rule:
    """The one rule of a line."""
    (rule,) = parse(f"{line}\n")
    return rule


@pytest.mark.parametrize("line", REFUSED, ids=[line[:60] for line in REFUSED])
def test_what_every_release_refuses_ends_the_loading(line: str) -> None:
    rule, lock = parse(f"{line}\n-e 2\n")
    assert rule.aborts
    assert rule.stops
    assert (lock.locks, lock.dormant) == (False, True)


@pytest.mark.parametrize("line", TAKEN, ids=[line[:60] for line in TAKEN])
def test_what_a_release_may_take_is_no_error(line: str) -> None:
    assert not rule_of(line).aborts


@pytest.mark.parametrize(("first", "second"), ONE_RULE)
def test_the_same_rule_in_another_spelling_is_there_already(first: str, second: str) -> None:
    assert "has this rule already" in parse(f"{first}\n{second}\n")[1].aborts


@pytest.mark.parametrize(("first", "second"), TWO_RULES)
def test_another_rule_is_none_of_them(first: str, second: str) -> None:
    assert not parse(f"{first}\n{second}\n")[1].aborts


@pytest.mark.parametrize(
    ("text", "number"),
    [("1300", 1300), ("02424", 1300), ("0x514", 1300), ("0X514z", 1300), ("1300abc", 1300), ("1_300", 1), ("08", 0),
     ("4294968596", 1300), ("-1", 4294967295), ("9" * 40, 4294967295), ("x", None), ("", None), ("\u0663", None)],
)  # fmt: skip
def test_numbers_are_read_as_the_c_library_does(text: str, number: int | None) -> None:
    assert fields.number(text) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [("SYSCALL", 1300), ("path", 1302), ("DAEMON_ROTATE", 1205), ("VIRT_MIGRATE_OUT", 2507), ("USER", 1005),
     ("UNKNOWN[1399]", 1399), ("NO_SUCH", None)],
)  # fmt: skip
def test_records_are_known_by_name(name: str, number: int | None) -> None:
    assert fields.record(name) == number


def test_a_watch_in_an_old_listing_is_a_rule() -> None:
    (listed,) = parse_listing("LIST_RULES: exit,always watch=/etc/passwd perm=rwa key=id\n")
    assert rule_of(listed).adds[0] == ("exit", "always")
