"""A change is taken out of a text that was edited since exactly, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap.audit import rules_d
from fim_bootstrap.audit.auditd_conf import with_dispatcher
from fim_bootstrap.changes.files import difference
from fim_bootstrap.changes.merge import _blocks, standing, taken_back
from fim_bootstrap.host.reader import File
from tests.conftest import AUDITD_CONF

OURS = "dispatcher = /sbin/audispd\n"
NOTE = "fim-bootstrap 2026-01-01: FIM needs audit rules without this line"
LOCKED = "-D\n-a never,task\n-b 8192\n-e 2\n"


def unblocked(text: str, note: str) -> str:
    """audit.rules after the edit."""
    return rules_d.unblocked((File("/etc/audit/audit.rules", text),), note)[0]


FREE = unblocked(LOCKED, NOTE)


@pytest.mark.parametrize(
    ("before", "after", "now", "back"),
    [
        (AUDITD_CONF, AUDITD_CONF + OURS, AUDITD_CONF + OURS, AUDITD_CONF),
        (AUDITD_CONF, AUDITD_CONF + OURS, f"{AUDITD_CONF}{OURS}# mine\n", f"{AUDITD_CONF}# mine\n"),
        (AUDITD_CONF, AUDITD_CONF + OURS, f"# mine\n{AUDITD_CONF}{OURS}", f"# mine\n{AUDITD_CONF}"),
        (LOCKED, FREE, FREE.replace("-b 8192", "-b 16384"), LOCKED.replace("-b 8192", "-b 16384")),
        (LOCKED, FREE, f"{FREE}-w /etc -p wa\n", f"{LOCKED}-w /etc -p wa\n"),
    ],
)
def test_edits_elsewhere_are_kept(before: str, after: str, now: str, back: str) -> None:
    assert taken_back(before, after, now) == back


@pytest.mark.parametrize(
    ("before", "after", "now"),
    [
        (AUDITD_CONF, AUDITD_CONF + OURS, f"{AUDITD_CONF}dispatcher = /usr/sbin/audispd\n"),
        (AUDITD_CONF, AUDITD_CONF + OURS, AUDITD_CONF),
        (AUDITD_CONF, AUDITD_CONF + OURS, f"{OURS}{AUDITD_CONF}{OURS}"),
        (LOCKED, FREE, FREE.replace(NOTE, "somebody else")),
        (LOCKED[:-1], unblocked(LOCKED[:-1], NOTE), f"{unblocked(LOCKED[:-1], NOTE)}-w /etc -p wa\n"),
    ],
)
def test_edits_of_our_own_lines_are_refused(before: str, after: str, now: str) -> None:
    assert taken_back(before, after, now) is None


def test_which_of_our_lines_still_stand() -> None:
    number = AUDITD_CONF.count("\n") + 2
    assert standing(AUDITD_CONF, AUDITD_CONF + OURS, f"# mine\n{AUDITD_CONF}{OURS}") == [(number, OURS)]
    assert standing(LOCKED, FREE, LOCKED) == []


LINE = st.sampled_from(["-D\n", "-b 8\n", "-e 2\n", "-a never,task\n", "-w /etc -p wa\n", "\n", "# x\n", "-b 1 -e2\n"])
EDIT = st.tuples(st.integers(0, 12), st.sampled_from(["insert", "delete", "replace"]), st.text("ab", max_size=2))


@given(st.lists(LINE, max_size=12), st.lists(EDIT, max_size=4), st.booleans())
def test_what_is_taken_back_is_the_old_text_with_the_later_edits(
    lines: list[str], edits: list[tuple[int, str, str]], conf: bool
) -> None:
    """Line by line: each edit of a line that we did not write is made in both texts; ours are left alone."""
    before = "".join(lines)
    pieces = [[line, line if conf else unblocked(line, NOTE)] for line in lines]
    pieces += [["", OURS]] if conf else []
    after = "".join(new for _, new in pieces)
    assert after == (with_dispatcher(before) if conf else unblocked(before, NOTE))
    for place, what, text in edits:
        at = min(place, len(pieces) - 1)
        if what == "insert":
            pieces.insert(min(place, len(pieces)), [f"{text}!\n", f"{text}!\n"])
        elif at >= 0 and pieces[at][0] == pieces[at][1]:
            pieces[at : at + 1] = [] if what == "delete" else [[f"{text}?\n", f"{text}?\n"]]
    now, expected = "".join(new for _, new in pieces), "".join(old for old, _ in pieces)
    assert taken_back(before, after, now) in (expected, None)


def test_a_comparison_that_would_take_very_long_is_not_begun() -> None:
    """Equal lines, and lines of which every other one is gone: minutes and hours with difflib."""
    equal, odd = "x\n" * 20_000, "".join(f"{n}\n" for n in range(20_000))
    assert taken_back(f"a\n{equal}a\n", f"b\n{equal}b\n", f"b\n{equal}# mine\nb\n") is None
    assert standing(f"a\n{equal}a\n", f"b\n{equal}b\n", f"b\n{equal}# mine\nb\n") == [(1, "b\n"), (20_003, "b\n")]
    thinned = "".join(f"{n}\n" for n in range(0, 20_000, 2))
    assert taken_back(odd, OURS + odd, OURS + thinned) is None
    assert taken_back(equal, equal + OURS, f"# mine\n{equal}{OURS}") == f"# mine\n{equal}"
    assert "too many differences" in difference(odd, thinned, "/x")


def test_what_stands_alike_at_both_ends_is_kept_whole() -> None:
    """The first and the last lines alike, in another order between them."""
    before, after = "a\nb\nc\nd\n", "a\nb\nour\nc\nd\n"
    assert taken_back(before, after, "a\nb\nour\nc\nd\ne\n") == "a\nb\nc\nd\ne\n"
    assert taken_back(before, after, "z\na\nb\nour\nc\nd\n") == "z\na\nb\nc\nd\n"
    assert taken_back("x\ny\nx\n", "x\nour\ny\nx\n", "x\nour\ny\ny\nx\n") == "x\ny\ny\nx\n"
    blocks = _blocks(["b\n", "x\n", "z\n"], ["y\n", "b\n", "z\n"])
    assert blocks
    assert [(b.a, b.b, b.size) for b in blocks] == [(0, 0, 0), (0, 1, 1), (2, 2, 1), (3, 3, 0)]
