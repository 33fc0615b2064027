"""A short campaign that always makes the same inputs; `make fuzz` runs a long one with new ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim_bootstrap import audit_rules
from tests.fuzz import agreement, campaign, oracle

SEED = 1
FILES = 400  # for each program of each release
FOLDERS = 60  # for each release and awk
ROUNDS = 40
judges = pytest.mark.skipif(not oracle.available(), reason="needs root and the packages of tests/needs.sh fuzz")
pytestmark = pytest.mark.fuzz


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
    monkeypatch.setattr(audit_rules, "parse", lambda _: ())
    with oracle.judge("bookworm", "auditctl") as judge:
        assert agreement.about_rules(judge, "auditctl -e 2\n") == "the kernel is locked, unseen"
        assert agreement.about_rules(judge, "-a never,task --\n") == "never,task is added, unseen"
