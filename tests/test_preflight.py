"""The question to the real auditd: what it refuses and takes, and that asking it starts and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fim_bootstrap.audit import auditd_conf, preflight
from fim_bootstrap.host.reader import TIMED_OUT, Output
from fim_bootstrap.model import Answer
from tests.conftest import AUDITD_CONF, PROJECT
from tests.dict_host import DictHost

SETPRIV = ("-mpf", "setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
CAPSH = ("-mpf", "capsh", "--inh=", "--drop=cap_sys_nice", "--", "-c", 'exec "$0" "$@"')
USER = ("-mpf", "unshare", "-Ur")
WAYS = {"setpriv": SETPRIV, "capsh": CAPSH, "user namespace": USER}
# what stands around the question, in a mount namespace of the test's own
PLACE = """\
set -e
mount --make-rprivate /
mount -t tmpfs none /etc/audit && mount -t tmpfs none /run && mount -t tmpfs none /var/log && mount -t tmpfs none /srv
mkdir /var/log/audit /etc/audit/plugins.d && echo 1 >/run/auditd.pid
printf '#!/bin/sh\\necho >/srv/started\\n' >/srv/plugin && chmod 750 /srv/plugin
printf 'active = yes\\ndirection = out\\npath = /srv/plugin\\ntype = always\\n' >/etc/audit/plugins.d/p.conf
printf %s "$CONF" >/etc/audit/auditd.conf && chmod 640 /etc/audit/auditd.conf
eval "$SETUP"
before=$(find /etc/audit /run /var/log /srv -ls)
"$@"
[ "$before" = "$(find /etc/audit /run /var/log /srv -ls)" ]
"""
ASK = """\
import json, sys
from fim_bootstrap.audit import preflight
from fim_bootstrap.host.live import LiveHost
namespaces, *drop = sys.argv[2:]
preflight._ways = lambda host: (((namespaces,), tuple(drop)),)
print(json.dumps(preflight.ask(LiveHost(), sys.argv[1])))
"""


def available() -> bool:
    """Whether auditd may be asked here."""
    may = os.geteuid() == 0 and shutil.which("auditd", path="/usr/sbin:/sbin")
    return bool(may) and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


real = pytest.mark.skipif(not available(), reason="needs root and auditd")


def ask(text: str, setup: str = "true", way: tuple[str, ...] = SETPRIV, put: str = "", under: str = "") -> Answer:
    """auditd's answer on a file with this text, or on another to take its place; nothing around it may change."""
    if way == USER and subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    words = ("unshare", "-m", "sh", "-c", PLACE, "place", *under.split(), sys.executable, "-c", ASK, put, *way)
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False, cwd=PROJECT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONF": text, "SETUP": setup, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Answer(*json.loads(done.stdout))


@real
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("line", "accepted", "said", "number"),
    [
        ("freq = 20", True, "", 0),
        ("log_group = no-such-group", False, "no-such-group", 20),
        ("action_mail_acct = x", False, "too short", 20),
        ("space_left_action = exec /no/such", False, "Unable to stat /no/such", 20),
        ("log_file = /no/such/audit.log", False, "Could not open dir /no/such", 20),
        ("admin_space_left = 80", False, "space_left(75)", 0),
        ("dispatcher: /sbin/audispd", False, "Missing equal sign", 20),
        ("priority_boost = 0", True, "", 0),
        ("priority_boost = 0\nbogus = 1", False, "bogus", 21),
    ],
)
def test_auditd_says_what_it_takes(way: tuple[str, ...], line: str, accepted: bool, said: str, number: int) -> None:
    text = f"{AUDITD_CONF}{line}\n"
    for answer in (ask(text, way=way), ask(AUDITD_CONF, way=way, put=text)):
        assert (answer.accepted, answer.line) == (accepted, number), answer
        assert said in answer.said


@real
@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("chmod o+w /etc/audit/auditd.conf", "world writable"),
        ("chown 7 /etc/audit/auditd.conf", "isn't owned by root"),
        ("mv /etc/audit/auditd.conf /srv/c; ln -s /srv/c /etc/audit/auditd.conf", "symbolic links"),
        ("rmdir /var/log/audit", "Could not open dir"),
        ("mkdir /var/log/audit/audit.log", "Is a directory|not a regular"),
    ],
)
def test_the_file_itself_is_judged(setup: str, said: str) -> None:
    answer = ask(AUDITD_CONF, setup)
    assert answer.accepted is False
    assert any(words in answer.said for words in said.split("|")), answer


@real
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("boost", [0, 4])
def test_the_highest_priority_does_not_let_it_start(way: tuple[str, ...], boost: int) -> None:
    """nice(2) does not fail where nothing is left to raise: then it would start its plugins."""
    text = AUDITD_CONF.replace("priority_boost = 4", f"priority_boost = {boost}")
    assert ask(text, way=way, under="nice -n -20").accepted is True


@real
def test_what_auditd_may_not_read_is_no_refusal(tmp_path: Path) -> None:
    assert preflight._answer(
        Output((), 6, "", "Error opening config file (Permission denied)\nThe audit daemon is exiting.\n"), ""
    ) == Answer(None, "Error opening config file (Permission denied)")


@pytest.mark.parametrize("status", [0, 4, 99, 126, 127, TIMED_OUT])
def test_any_other_end_is_no_answer(dict_host: DictHost, status: int) -> None:
    dict_host.programs("setpriv")
    dict_host.write(auditd_conf.PATH, AUDITD_CONF)
    dict_host.answers["unshare"] = Output((), status, "", "something")
    assert preflight.ask(dict_host) == Answer(None, "something")
    # one that takes too long is not asked twice
    assert len(dict_host.asked) == (1 if status == TIMED_OUT else 2)


def test_the_user_namespace_is_asked_where_real_root_is_not_answered(dict_host: DictHost) -> None:
    dict_host.programs("capsh")
    dict_host.write(auditd_conf.PATH, AUDITD_CONF)

    def answer(host: DictHost, argv: tuple[str, ...]) -> Output:
        said = "Cannot change priority (Operation not permitted)" if "-Ur" in argv else "capsh: not found"
        return Output(argv, 1, "", said)

    dict_host.answers["unshare -mpf"] = answer
    assert preflight.ask(dict_host) == Answer(True)
    first, second = dict_host.asked
    assert "capsh --inh= --drop=cap_sys_nice" in first
    assert second.endswith(" unshare -Ur auditd -f -s nochange")  # mounts are made before, outside of it


def test_audit_2_creates_no_log(dict_host: DictHost) -> None:
    dict_host.programs("setpriv", "audispd")
    dict_host.folder("/var/log/audit")
    dict_host.write(auditd_conf.PATH, AUDITD_CONF)
    preflight.ask(dict_host)
    assert " /var/log/audit nice " in dict_host.asked[0]
    dict_host.write("/var/log/audit/audit.log")
    preflight.ask(dict_host)
    assert " /var/log/audit nice " not in dict_host.asked[-1]
    dict_host.write(auditd_conf.PATH, f"{AUDITD_CONF}log_file = /etc/audit/audit.log\n")
    assert preflight.ask(dict_host) == Answer(None, "it would create a log file")


def test_a_text_with_a_nul_is_not_handed_over(dict_host: DictHost) -> None:
    dict_host.write(auditd_conf.PATH, AUDITD_CONF)
    assert preflight.ask(dict_host, "a\0").accepted is None
    assert dict_host.asked == []


def test_a_digit_that_is_no_decimal_is_no_number(dict_host: DictHost) -> None:
    dict_host.write(auditd_conf.PATH, f"{AUDITD_CONF}priority_boost = \N{SUPERSCRIPT TWO}\n")
    assert preflight.ask(dict_host).accepted is None  # there is no auditd, and no mistake of ours


TEXT = "log_group = adm\nfreq = 50\nfreq = x y\nnum_logs = 50\n"
READ = "type=DAEMON: log_group_parser called with: adm\nfreq_parser called with: 50\n"


@pytest.mark.parametrize(("said", "lines", "number"), [
    ("Value 1000 is out of range - line 17", [], 17),  # auditd names it
    ("it is wrong", READ, 2),  # the one that it was reading
    ("it is wrong", READ.replace("50", "adm"), 1),
    ("it is wrong", "freq_parser called with: nowhere\n", 0),
    ("it is wrong", [], 0),
    ("Error - reading config", READ, 0),  # the file as a whole
])  # fmt: skip
def test_the_line_that_is_refused(said: str, lines: str, number: int) -> None:
    told = "".join((*lines, said))
    assert preflight._answer(Output((), 6, "", told), TEXT) == Answer(False, said, number)


def test_a_priority_that_may_be_refused_is_judged_as_the_usual_one(dict_host: DictHost) -> None:
    """Where the real auditd may raise it, the copy that has lost the right may not."""
    dict_host.programs("setpriv")
    dict_host.write(auditd_conf.PATH, AUDITD_CONF.replace("priority_boost = 4", "priority_boost = 0"))
    preflight.ask(dict_host)
    assert "priority_boost = 4\n" in dict_host.asked[0]
