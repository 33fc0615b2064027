"""auditd.conf as auditd reads it: tables, properties of the edit, and the real daemon as a judge."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap.audit.auditd_conf import (
    EMPTY_QUEUE,
    FOLDER_OF_LOGS,
    HALT,
    dialect,
    dispatcher_of,
    faults,
    lasting_faults,
    parse,
    settings,
    with_dispatcher,
)
from tests.conftest import AUDITD_CONF

LINE = "dispatcher = /sbin/audispd\n"
BAD = [
    "flush\t= NONE", "\t", "\t# note", "flush=NONE", "flush =NONE", "flush =", "flush", "flush = NONE # note",
    "bogus = 1", "flush = NONE\r", "flush = sometimes", "freq = many", "\r", "num_logs = -1", "space_left = 50",
    "freq = ٣", "num_logs = 1000", "freq = 0", "tcp_listen_port = 0", "freq = 4294967296", "space_left = x",
    "transport = udp", "tcp_client_ports = x", "space_left_action = exec true", "disk_full_action = exec",
    "tcp_client_ports = 65535-1", "tcp_client_ports = 65536", "tcp_client_ports = 1-65536", "tcp_client_ports = 1-",
    "action_mail_acct = x", "action_mail_acct = a!b", "action_mail_acct = a@b", "action_mail_acct = a.b@c",
    "log_file = /x", "log_file = audit.log", "log_file = /ab/x", "space_left = 100%", "admin_space_left = 101%",
    "space_left = 0%", "dispatcher: /sbin/audispd", "dispatchers = x", "dispatcher /sbin/audispd",
]  # fmt: skip
GOOD = [
    "", "   ", "# note", "  # flush\t=", "  FLUSH   =   none  ", "freq = 20", "flush = SYNC",
    "dispatcher = /does/not/exist",
    "disp_qos = nonsense", "space_left_action = exec /bin/true", "space_left = 25%50", "x" * 159, "q_depth = 2000",
    "disk_full_action = SUSPEND a b c", "space_left_action = syslog \tx", "freq\0\nfreq = many", "freq = 5\0x",
    "é" * 80, "tcp_client_ports = 1-2-3", "tcp_client_ports = 0", "action_mail_acct = a_b-c@d.e",
    "log_file = /var/x", "space_left = 99%", "space_left = %5",
]  # fmt: skip


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_auditd_refuses_is_named(line: str) -> None:
    (fault,) = faults(f"{AUDITD_CONF}{line}\n", 3)
    assert fault.number == AUDITD_CONF.count("\n") + 1
    assert fault.problem


@pytest.mark.parametrize("line", GOOD)
def test_a_line_that_auditd_takes_is_no_fault(line: str) -> None:
    assert not faults(f"{AUDITD_CONF}{line}\n", 3)


# what stands in the programs of audit 3.0.9 and 4.2
AUDIT_3 = b"report\0dispatcher\0log_file is directly in %s and chgrp\0q_depth\0action_mail_acct\0tcp_client_ports\0"
AUDIT_3 += b"".join(
    line.split(" ")[0].encode() + b"\0" for line in AUDITD_CONF.splitlines())  # fmt: skip
AUDIT_4_2 = AUDIT_3 + (
    b"report_interval\0tls_cert_file\0The HALT option in space_left_action has been deprecated\0"
    b"q_depth must be greater than zero\0"
)


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        ("report_interval = 60", True, False), ("report_interval = 3456001", True, True),
        ("report_interval = 40d", True, False), ("report_interval = 1M", True, False),
        ("report_interval = 57600m", True, False), ("report_interval = 961h", True, True),
        ("report_interval = 1w", True, True), ("report_interval = 1D", True, True),
        ("report_interval = 1d1h", True, True), ("report_interval = d", True, True),
        ("space_left_action = halt", False, True), ("admin_space_left_action = halt", False, False),
        ("tls_cert_file = /x", True, False), ("tls_other = /x", True, True), ("q_depth = 0", False, True),
        ("log_file = /var/log/audit.log", True, True), ("log_file = /var/log/a\nlog_group = root", False, False),
        ("action_mail_acct = a+b@c.d", True, False), ("tcp_client_ports = 1-2-3", False, True),
        ("report = 1", True, True),
    ],
)  # fmt: skip
def test_what_a_release_takes_is_read_from_its_program(line: str, old: bool, new: bool) -> None:
    text = f"{AUDITD_CONF}{line}\n"
    assert bool(faults(text, 3, dialect(AUDIT_3, text))) is old
    assert bool(faults(text, 3, dialect(AUDIT_4_2, text))) is new


def test_a_program_that_is_not_auditd_says_nothing() -> None:
    assert dialect(b"#!/bin/false\n", AUDITD_CONF) == frozenset()
    assert lasting_faults(AUDITD_CONF, 3, dialect(AUDIT_3, AUDITD_CONF)) == ()  # with the line that is to be added
    assert {HALT, EMPTY_QUEUE, FOLDER_OF_LOGS} <= dialect(AUDIT_4_2, AUDITD_CONF)


def test_an_address_is_not_looked_at_below_verify_email_no() -> None:
    assert not faults(f"{AUDITD_CONF}verify_email = no\naction_mail_acct = x\n", 3)
    assert faults(f"{AUDITD_CONF}action_mail_acct = x\nverify_email = no\n", 3)


def test_what_lasts_is_what_is_not_the_dispatcher_line() -> None:
    assert not lasting_faults(f"{AUDITD_CONF}dispatcher=/sbin/audispd\n", 3)
    for line in ("dispatcher: /sbin/audispd", "dispatchers = x", "dispatcher /sbin/audispd", "freq = x"):
        (fault,) = lasting_faults(f"{AUDITD_CONF}{line}\n", 3)
        assert fault.text == f"{line}\n"
    assert not lasting_faults(f"{AUDITD_CONF}dispatcher = /opt/other\n", 3)


def test_generations_differ() -> None:
    assert faults(f"{AUDITD_CONF}q_depth = 2000\n", 2)
    assert not faults(f"{AUDITD_CONF}{LINE}", 2)


def test_a_file_without_settings_is_refused() -> None:
    assert "space_left (0) must be larger" in faults("# nothing\n", 3)[0].problem
    assert not faults("", 3)


def test_the_last_of_two_counts_and_a_last_line_without_newline_is_dropped() -> None:
    assert settings(parse("freq = 1\nFREQ = 2\n"))["freq"].value == "2"
    assert dispatcher_of(f"{AUDITD_CONF}{LINE.strip()}") == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (AUDITD_CONF, AUDITD_CONF + LINE),
        # the last line, which auditd drops, gets no newline: it would take effect
        (f"{AUDITD_CONF}flush = sync", f"{AUDITD_CONF}{LINE}flush = sync"),
        ("flush = sync", f"{LINE}flush = sync"),
        (f"#dispatcher = /sbin/audispd\n{AUDITD_CONF}", LINE + AUDITD_CONF),
        (f" # dispatcher = /sbin/audispd\n{AUDITD_CONF}", LINE + AUDITD_CONF),
        (f"dispatcher=/sbin/audispd\n{AUDITD_CONF}", LINE + AUDITD_CONF),
        (f"dispatcher = /sbin/audispd # on\n{AUDITD_CONF}", LINE + AUDITD_CONF),
        (f"{AUDITD_CONF}dispatcher = /sbin/audispd", AUDITD_CONF + LINE),
        (f"{AUDITD_CONF}dispatcher = /usr/bin/audispd\n", f"{AUDITD_CONF}dispatcher = /usr/bin/audispd\n"),
    ],
)
def test_with_dispatcher(before: str, after: str) -> None:
    assert with_dispatcher(before) == after


def test_a_last_line_that_auditd_drops_and_would_refuse_stays_dropped() -> None:
    assert with_dispatcher(f"{AUDITD_CONF}bogus") == f"{AUDITD_CONF}{LINE}bogus"


def test_the_line_below_one_with_a_nul_is_swallowed() -> None:
    assert dispatcher_of(f"{AUDITD_CONF}# \0\n{LINE}") == ""
    assert with_dispatcher(f"{AUDITD_CONF}# \0\n") == f"{AUDITD_CONF}# \0\n\n{LINE}"
    text = f"dispatcher = \0\nbogus\n{AUDITD_CONF}"
    assert with_dispatcher(text) == f"{text}{LINE}"


def test_a_superscript_is_no_number() -> None:
    assert faults("space_left = ²\n", 3)


def test_another_products_dispatcher_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="is not audispd"):
        with_dispatcher(f"{AUDITD_CONF}dispatcher = /opt/other\n")


LINES = st.sampled_from([
    *BAD, *GOOD, "#dispatcher = /sbin/audispd", "dispatcher=/sbin/audispd", "dispatcher = /sbin/audispd",
    "dispatcher\t= x", "# dispatcher = other",
])  # fmt: skip
ENDS = st.sampled_from(["", "\n"])
FILES = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINES | st.text(max_size=10)), ENDS)


@given(FILES)
def test_the_lines_are_the_file(text: str) -> None:
    assert "".join(line.text for line in parse(text)) == text


@given(FILES)
def test_the_edit_puts_the_line_in_force_once_and_keeps_the_rest(text: str) -> None:
    if (value := dispatcher_of(text)) and not value.endswith("/audispd"):
        return
    once = with_dispatcher(text)
    assert with_dispatcher(once) == once
    assert dispatcher_of(once).endswith("/audispd")
    kept = [line for line in text.split("\n") if "dispatcher" not in line.lower()]
    assert [line for line in once.split("\n") if "dispatcher" not in line.lower()][: len(kept) - 1] == kept[:-1]


def verdict(text: str, folder: Path) -> bool:
    """Whether the real daemon takes a configuration; it gets no further than its priority (user namespace)."""
    (folder / "auditd.conf").write_bytes(text.encode("utf-8", "surrogateescape"))
    script = f"mount -t tmpfs none /run && exec auditd -f -s nochange -c {folder}"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script], capture_output=True, timeout=20, check=False,
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode in (1, 6), done.stderr.decode()
    return done.returncode == 1


def has_daemon() -> bool:
    """Whether auditd is here and may have a user namespace of its own."""
    if not shutil.which("auditd", path="/usr/sbin:/sbin") or not Path("/var/log/audit").is_dir():
        return False
    return subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_daemon(), reason="needs auditd and user namespaces")
@pytest.mark.parametrize("line", [*BAD, *GOOD])
def test_the_real_auditd_agrees(line: str, tmp_path: Path) -> None:
    # a tree that the mapped root of the namespace may read
    text = f"{AUDITD_CONF}{line}\n"
    assert verdict(text, tmp_path) == (not faults(text, 3)), line
