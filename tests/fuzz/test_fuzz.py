"""A short campaign that always makes the same inputs; `make fuzz` runs a long one with new ones."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from fim_bootstrap.audit import auditctl
from tests.conftest import AUDITD_CONF
from tests.fuzz import agreement, campaign, oracle, random_fields
from tests.test_fields import ONE_RULE, REFUSED, TWO_RULES

SEED = 1
FILES = 400  # for each program of each release
FOLDERS = 60  # for each release and awk
ROUNDS = 40
judges = pytest.mark.skipif(not oracle.available(), reason="needs root and the packages of tests/needs.sh fuzz")
pytestmark = pytest.mark.fuzz


# one line of each class that auditd, or some release of it, may refuse
LINES = (
    """
log_file = /x|log_file = x|log_file = /ab/x|log_file = /var/x|log_file = /var/log/a
log_file = /var/log/a;log_group = root
log_group = 0|log_file = /var/log/audit/x|verify_email = maybe|verify_email = no;action_mail_acct = a
action_mail_acct = a;verify_email = no|action_mail_acct = a|action_mail_acct = ab|action_mail_acct = a@b
action_mail_acct = a.b@c|action_mail_acct = a@b.c|action_mail_acct = a!b|action_mail_acct = a+b@c.d
action_mail_acct = @.|action_mail_acct = é.é@c.d|tcp_client_ports = 1-65535|tcp_client_ports = 65535-1
tcp_client_ports = 65536|tcp_client_ports = 1-65536|tcp_client_ports = 1-2-3|tcp_client_ports = 1--2
tcp_client_ports = 1-|tcp_client_ports = -1|tcp_client_ports = 0|tcp_client_ports = 3-2-9
report_interval = 0|report_interval = 3456000|report_interval = 3456001|report_interval = x
report_interval = 40d|report_interval = 41d|report_interval = 1M|report_interval = 2M|report_interval = 1D
report_interval = 960h|report_interval = 57601m|report_interval = 9s|report_interval = 1d1h|report_interval = m
end_of_event_timeout = 0|end_of_event_timeout = 4294967296|space_left_action = halt|admin_space_left_action = halt
disk_full_action = halt|disk_error_action = halt|disk_full_action = email|disk_error_action = rotate
q_depth = 0|q_depth = 99999|q_depth = 100000|overflow_action = exec|max_restarts = 2147483648|plugin_dir = x
transport = tls|transport = krb5|space_left = 25%|space_left = 100%|space_left = 99%|space_left = 101%|space_left = 0%
space_left = 5%;admin_space_left = 50%|admin_space_left = 100%|admin_space_left = 75|space_left = %|space_left = 5%5
space_left = %5|space_left = %100|space_left = 99999999999999999999|num_logs = 1000|freq = 2147483648
name_format = user|name = x y|disp_qos = x|dispatcher: /sbin/audispd|dispatchers = x|dispatcher /sbin/audispd
dispatcher == x|Dispatcher = /sbin/audispd|dispatcher = /sbin/audispd extra
tcp_listen_port = 65536|tcp_max_per_addr = 1025
local_events = maybe|log_format = nolog|log_format = json|tls_crypto_profile = system|tls_other = x|group = x|me = x
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@judges
@pytest.mark.parametrize("suite", oracle.SUITES)
def test_each_class_of_line(suite: str) -> None:
    with oracle.judge(suite, "auditd") as judge:
        texts = [f"{AUDITD_CONF}{line.replace(';', chr(10))}\n" for line in LINES]
        found = [(text.splitlines()[-1], said) for text in texts if (said := agreement.about_conf(judge, text))]
    print(f"\nauditd of {suite}: {len(texts)} lines, {len(found)} disagreements")
    assert not found


@judges
@pytest.mark.parametrize("suite", oracle.SUITES)
def test_each_field_that_is_refused_and_each_rule_that_is_there_already(suite: str) -> None:
    with oracle.judge(suite, "auditctl") as judge:
        taken = [line for line in REFUSED if judge.hear(f"{line}\n".encode()).bad_lines != (1,)]
        there = {pair: _exists(judge, *pair) for pair in (*ONE_RULE, *TWO_RULES[:-1])}
    print(f"\nauditctl of {suite}: {len(REFUSED)} lines that it refuses, {len(there)} pairs")
    assert not taken
    assert [pair for pair, found in there.items() if found] == ONE_RULE


def _exists(judge: oracle.Judge, first: str, second: str) -> bool:
    """Whether the kernel has the second rule already."""
    return any("Rule exists" in line for line in judge.hear(f"{first}\n{second}\n".encode()).log)


@judges
def test_no_rule_of_random_fields_is_called_wrong_falsely() -> None:
    chance, wrong, claims = random.Random(SEED), [], 0
    with contextlib.ExitStack() as stack:
        judges_of_all = [stack.enter_context(oracle.judge(suite, "auditctl")) for suite in oracle.SUITES]
        for _ in range(FILES):
            first = random_fields.rule(chance)
            text = f"-c\n{first}\n{random_fields.respelled(chance, first)}\n"
            bad = [judge.hear(text.encode()).bad_lines for judge in judges_of_all]
            for number, rule in enumerate(auditctl.parse(text), 1):
                claims += bool(rule.aborts)
                wrong += [(text, rule.aborts)] if rule.aborts and not all(number in lines for lines in bad) else []
    print(f"\n{FILES} pairs of rules, {claims} called wrong, {len(wrong)} of them falsely")
    assert claims > FILES / 4
    assert not wrong


def told(tallies: list[campaign.Tally]) -> None:
    """Print the figures; nothing may have been found."""
    print()
    for tally in tallies:
        print(tally)
    assert not [failure for tally in tallies for failure in tally.failures[:3]]


def test_no_parser_fails_or_hangs() -> None:
    told(campaign.in_process(60, SEED, ROUNDS))


@judges
@pytest.mark.parametrize("program", ["auditctl", "auditd"])
def test_the_grammars_agree_with_the_real_parsers(program: str) -> None:
    told(campaign.with_judges(program, 120, SEED, None, FILES))


@judges
def test_rules_d_is_joined_as_the_real_augenrules_joins_it() -> None:
    told(campaign.with_joiners(240, SEED, FOLDERS))


@judges
@pytest.mark.parametrize("suite", oracle.SUITES)
def test_a_judge_has_no_way_to_the_kernel(suite: str) -> None:
    """Its capabilities are those of chroot alone, in a namespace to whose messages the kernel does not listen."""
    with oracle.judge(suite, "auditctl") as judge:
        judge.hear(b"-e 1\n")  # until it answers it is not there yet
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{judge.pid}/status").read_text().splitlines())
        heard = judge.hear(b"-e 2\n-a never,task\n")
    assert status["Name"] == "auditctl"
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {1 << 18}  # CAP_SYS_CHROOT
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert [oracle.locks(heard.messages[0]), oracle.silences(heard.messages[1])] == [True, True]


@judges
def test_a_judge_sees_what_a_wrong_grammar_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: with a grammar that sees nothing it does."""
    monkeypatch.setattr(auditctl, "parse", lambda _: ())
    with oracle.judge("bookworm", "auditctl") as judge:
        assert agreement.about_rules(judge, "auditctl -e 2\n") == "the kernel is locked, unseen"
        assert agreement.about_rules(judge, "-a never,task --\n") == "never,task is added, unseen"
