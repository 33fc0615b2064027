"""Rule files as auditctl reads them: tables of what real auditctl does, and properties of every edit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap.audit import rules_d
from fim_bootstrap.audit.auditctl import Rule, parse, parse_listing, parse_status
from fim_bootstrap.host.reader import File
from tests import lines_golden

NOTE = "note"


def unblocked(text: str, note: str) -> str:
    """audit.rules after the edit."""
    return rules_d.unblocked((File("/etc/audit/audit.rules", text),), note)[0]


def only(line: str) -> Rule:
    """The one rule of a line."""
    (rule,) = parse(line)
    return rule


@pytest.mark.parametrize(
    "line",
    ["-e 2", "-e2", "  -e   2   ", "-f 1 -e 2", "-e 2 # lock", "-e 2 -f 2", "-b 8192 -e2", "-e 1 -e 2", "auditctl -e 2",
     "nonsense -e 2", "- -e 2", "-e 2 --", "-e 2\0x", "--backlog_wait 5 -e 2", "-S open -e 2", "-e2 -D",
     "-w /a\\ b -e 2"],
)  # fmt: skip
def test_locks(line: str) -> None:
    assert only(f"{line}\n").locks
    assert only(line).locks  # auditctl reads a last line without a newline too


@pytest.mark.parametrize(
    "line",
    ["-e 1", "-e\t2", "-e 2\r", "-e 02", "-e=2", "--enable 2", "\t-e 2", "# -e 2", "  # -e 2", "-w /e -k e2", "-w -e2",
     "\ufeff-e 2", "-D -e 2", "-i -e 2", "-ie2", "-t -e 2", "-- -e 2", "-k x -e 2", "-s -e 2", "-w /a\\ -e 2",
     "-f 3 -e 2"],
)  # fmt: skip
def test_does_not_lock(line: str) -> None:
    assert not only(f"{line}\n").locks


@pytest.mark.parametrize(
    "line",
    ["-a never,task", "-a task,never", "-A task,never", "-anever,task", "  -a  never,task  ", "-a never,task --",
             "-a never,task\0 -F uid=7", "-b 5 -a never,task -f 1"],
)  # fmt: skip
def test_never_task(line: str) -> None:
    assert only(f"{line}\n").never_task


@pytest.mark.parametrize(
    "line",
    ["-a never,user", "-a never,exit", "-a exit,never -S open", "-a always,exclude -F msgtype=CWD", "-a always,task",
     "-a never, task", "-a Never,Task", "-a task,never -k foo", "-a task,never -F uid=7", "-a never,filesystem", "-a",
     "-a never,task -i", "-a never,task -t", "-a never,task -S all", "-a never,task -w /x", "-a never,task x",
     "-a never,task -a never,task"],
)  # fmt: skip
def test_not_never_task_and_left_alone(line: str) -> None:
    assert not only(f"{line}\n").never_task
    assert unblocked(f"{line}\n", NOTE) == f"{line}\n"


def test_what_is_told_apart() -> None:
    assert only("-f 2\n").panic
    assert not only("-f 1\n").panic
    assert "takes 0, 1 or 2" in only("-e 3\n").aborts
    assert not only("-w /etc/passwd -p wa -k who\n").aborts
    assert not only("--loginuid-immutable\n").aborts
    assert not only("--backlog_wait_time 60000\n").aborts


def test_a_line_below_one_that_stops_the_loading_sleeps() -> None:
    _, lock = parse("-e 3\n-e 2\n")
    assert (lock.locks, lock.dormant) == (False, True)
    assert (lock.inert, lock.above) == ("auditctl stops above it, at", 1)
    assert parse("-c\n-e 3\n-e 2\n")[2].locks
    assert parse("-i\n-e 3\n-e 2\n")[2].locks
    assert parse("-i x\n-e 3\n-e 2\n")[2].locks  # the line is wrong, and yet -i counts


def test_a_carriage_return_sleeps_and_a_tab_is_dead() -> None:
    assert only("-e 2\r\n").dormant
    assert only("-a never,task\r\n").dormant
    assert only("-e\t2\n").inert
    assert not only("-e\t2\n").dormant


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-e 2\n", "# note: '-e' '2'\n"),
        ("-D\n-e 2", "-D\n# note: '-e' '2'\n"),
        ("-D\r\n-e 2\r\n-b 1\r\n", "-D\r\n# note: '-e' '2'\r\n-b 1\r\n"),
        ("-b 8192 -e2\n-w /x\n", "# note: '-b' '8192' '-e2'\n-b 8192\n-w /x\n"),
        ("-f 1 -e 2", "# note: '-f' '1' '-e' '2'\n-f 1\n"),
        ("-a never,task\n-e 1\n", "# note: '-a' 'never,task'\n-e 1\n"),
        ("-e 2 # lock\n", "# note: '-e' '2' '#' 'lock'\n"),
        ("auditctl -e 2 -i x\n", "# note: 'auditctl' '-e' '2' '-i' 'x'\n-i\n"),
        ("auditctl -b 7 -e 2\n", "# note: 'auditctl' '-b' '7' '-e' '2'\n-b 7\n"),
        (
            "-a never,task -e2 --reset-lost\n",
            "# note: '-a' 'never,task' '-e2' '--reset-lost'\n-a never,task --reset-lost\n",
        ),
        ("-a never,\rtask\n", "# note: '-a' 'never,\\rtask'\n"),
        ("-a never,task -r 5\n", "# note: '-a' 'never,task' '-r' '5'\n-r 5\n"),
        ("-w /a\\ b -e 2\n", "# note: '-w' '/a\\\\' 'b' '-e' '2'\n-w /a\\ b\n"),
        ("-a task,never -F uid=7 -e 2\n", "# note: '-a' 'task,never' '-F' 'uid=7' '-e' '2'\n-a task,never -F uid=7\n"),
        ("-W /a -b 7 -e 2\n", "# note: '-W' '/a' '-b' '7' '-e' '2'\n-b 7\n"),
        ("-w /a -e2 -k\r\n", "# note: '-w' '/a' '-e2' '-k'\r\n-w /a -k \r\n"),
        ("-W /a -e 2 -t\n", "# note: '-W' '/a' '-e' '2' '-t'\n-t\n"),
        ("-a never,tasks -e 2 -b 7\n", "# note: '-a' 'never,tasks' '-e' '2' '-b' '7'\n-b 7\n"),
    ],
)
def test_unblocked(before: str, after: str) -> None:
    assert unblocked(before, NOTE) == after


def test_what_is_left_of_a_line_that_is_too_long_is_a_line() -> None:
    text = f"#{'x' * 6142}-e 2\n-b 5\n"
    assert [rule.locks for rule in parse(text)] == [False, True, False]
    edited = unblocked(text, NOTE)
    assert edited == f"#{'x' * 6142}\n# note: '-e' '2'\n-b 5\n"
    long = f"-e 2 {'x' * 6100}\n"
    assert all(len(line) <= 6143 for line in unblocked(long, NOTE).splitlines(keepends=True))
    assert not any(rule.locks for rule in parse(unblocked(long, NOTE)))
    cut = unblocked(f"{'-e 2':>6142}\r\n-b 5\n", NOTE)  # the newline is a piece of its own
    assert all(len(line) <= 6143 for line in cut.split("\n"))
    halved = f"-i x\n-w /{'é' * 6141}-e2\n"  # the first piece ends in the middle of a character
    assert [rule.locks for rule in parse(halved)] == [False, False, False, True]
    assert unblocked(halved, NOTE) == f"{halved[:-4]}\n# note: '-e2'\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-a always,exclude -F msgtype=ALL", "is no record type"),
        ("-a always,exit -S open -F exit=-EACCESS", "is no error's name"),
        ("-a always,exit -S open -F exit!=ENOSUCH", "is no error's name"),
        ("-a always,exit -S open" + " -F uid!=1" * 64, "at most 63 fields"),
        ("-a never,task#", "'task#' is no list"),
        ("-w /x -p wa\n-w /x  -p wa", "the kernel has this rule already, from"),
        ("-a always,exit -S open -k a\n-a exit,always -S open -k a", "the kernel has this rule already, from"),
        ("-A always,exit -S open\n-a always,exit -S open", "the kernel has this rule already, from"),
    ],
)
def test_what_stops_the_loading_without_a_word(line: str, why: str) -> None:
    rule, below = parse(f"{line}\n-e 2\n")[-2:]
    assert why in rule.aborts
    assert rule.stops
    assert below.dormant
    for above in ("-i", "-c"):
        rule, below = parse(f"{above}\n{line}\n-e 2\n")[-2:]
        assert why in rule.aborts
        assert not rule.stops
        assert below.locks


@pytest.mark.parametrize(
    "text",
    ["-a always,exit -S open -F exit=-EACCES\n", "-a always,exit -F exit=-EWOULDBLOCK\n", "-w /x -k a\n-w /x -k b\n",
     "-a always,exclude -F msgtype=CWD\n", "-a always,exit -S open" + " -F uid!=1" * 63 + " -F key=x -k y\n",
     "-A always,exit -S open\n-A always,exit -S open\n", "-a always,exit -S open\n-A always,exit -S open\n",
     "-w /x\n-W /x\n-w /x\n", "-w /x\n-D\n-w /x\n", "-w /x\n-D -k y\n-w /x\n", "-w /x -e 1\n-e 1\n-e 1\n"],
)  # fmt: skip
def test_what_does_not_stop_the_loading(text: str) -> None:
    assert not any(rule.stops for rule in parse(text))


LINES = st.sampled_from([
    "-e 2", "-e2", "-f 1 -e 2", "-e 2 # x", "-e 1", "-e\t2", "-e 2\r", "-a never,task", "-A task,never", "-f 2", "-D",
    "-a task,never -F uid=7", "-a never,exit", "-w /etc/passwd -p wa -k who", "# -e 2", "", "-i", "-c", "bad", "-e 9",
    "-b 8192 -e2\r", "-a always,exit -F path=/x -k -e2", "\udcff-e 2",
])  # fmt: skip
ENDS = st.sampled_from(["", "\n"])
FILES = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINES | st.text(max_size=12)), ENDS)


@given(FILES)
def test_the_lines_are_the_file(text: str) -> None:
    assert "".join(rule.text for rule in parse(text)) == text


@given(FILES)
def test_an_edit_unblocks_and_a_second_one_does_nothing(text: str) -> None:
    once = unblocked(text, NOTE)
    assert unblocked(once, NOTE) == once
    assert not [rule for rule in parse(once) if rule.locks or rule.never_task or rule.dormant]


@given(FILES)
def test_an_edit_keeps_every_byte_of_the_other_lines(text: str) -> None:
    touched = {rule.text for rule in parse(text) if rule.locks or rule.never_task or rule.dormant}
    kept = [rule.text for rule in parse(text) if rule.text not in touched]
    rest = [line.text for line in parse(unblocked(text, NOTE))]
    position = 0
    for line in kept:
        position = rest.index(line, position) + 1
    if not touched:
        assert unblocked(text, NOTE) == text


@given(st.text())
def test_nothing_that_is_printed_can_break_the_parsers(text: str) -> None:
    parse_listing(text)
    assert all(isinstance(value, int) for value in parse_status(text).values())


@pytest.mark.parametrize(
    ("text", "enabled", "failure", "pid"),
    [
        ("enabled 1\nfailure 1\npid 28465\nrate_limit 0\nloginuid_immutable 0 unlocked\n", 1, 1, 28465),
        ("enabled 2\nflag 2\npid 0\n", 2, 2, 0),
        ("AUDIT_STATUS: enabled=1 flag=2 pid=3105 rate_limit=0 backlog_limit=8192 lost=0 backlog=0\n", 1, 2, 3105),
    ],
)
def test_status_in_every_format(text: str, enabled: int, failure: int, pid: int) -> None:
    status = parse_status(text)
    assert (status["enabled"], status["failure"], status["pid"]) == (enabled, failure, pid)


def test_listing() -> None:
    assert parse_listing("No rules\n") == ()
    assert parse_listing("LIST_RULES: task,never\n") == ("-a never,task",)
    assert parse_listing("-a never,task\n-w /x -p wa\n") == ("-a never,task", "-w /x -p wa")


def test_a_digit_that_is_no_decimal_is_no_number_of_a_system_call() -> None:
    assert not only("-a always,exit -S \N{SUPERSCRIPT TWO}\n").aborts  # a name that is not known here


def test_each_line_is_read_as_it_was() -> None:
    """`make golden` writes them anew."""
    made = lines_golden.files()
    assert {path: path.read_text(encoding="utf-8") for path in lines_golden.FOLDER.iterdir()} == made
