"""rules.d as augenrules joins it: what acts only there, and edits that act nowhere."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from fim_bootstrap.audit import rules_d
from fim_bootstrap.audit.auditctl import parse
from fim_bootstrap.audit.rules_d import Joins
from fim_bootstrap.changes import journal
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.host.reader import File
from tests.conftest import Tree, needs_root
from tests.dict_host import DictHost

NOTE = "fim-bootstrap 2026-01-01: FIM needs audit rules without this line"
OLD = f"# {NOTE}: -e 2\n"
NEW = f"# {NOTE}: '-e' '2'\n"
WATCH = "-w /etc/passwd -p wa -k id"
GNU = Joins()
SITE, FINAL = "/etc/audit/rules.d/50-site.rules", "/etc/audit/rules.d/99-finalize.rules"


def folder(*texts: str) -> tuple[File, ...]:
    """rules.d with a file for each text, in this order."""
    return tuple(File(f"/etc/audit/rules.d/{number}.rules", text) for number, text in enumerate(texts))


def joined(files: tuple[File, ...], joins: Joins = GNU) -> str:
    """What augenrules makes of them."""
    return b"".join(line.text for line in rules_d._join(files, joins).lines).decode("utf-8", "surrogateescape")


def locked(files: tuple[File, ...], joins: Joins = GNU) -> bool:
    """Whether the kernel would be frozen, or silent, after the boot."""
    return any(rule.locks or rule.never_task for rule in parse(joined(files, joins)))


def edited(*texts: str) -> tuple[str, ...]:
    """The texts after the edit, which is final and unblocks under every release."""
    files = folder(*texts)
    after = rules_d.unblocked(files, NOTE)
    again = tuple(file._replace(text=text) for file, text in zip(files, after))
    assert rules_d.unblocked(again, NOTE) == after
    assert not any(locked(again, Joins(blanks, returns)) for blanks in (True, False) for returns in (True, False))
    assert bool(rules_d.blocking(files, Joins())) == (after != texts)
    return after


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (("-w /a", "-w /b\n"), "-w /a-w /b\n"),
        (("-e 1\n-w /a\n", "-f 1\n-b 5\n-D\n-f 2\n"), "-D\n-b 5\n-f 2\n-w /a\n-e 1\n"),
        (("-e 2\n", "-e 1\n"), "-e 1\n"),
        (("\n  # x\n-a b", "\n\n#y\n-D -k x"), "-a b\n-D -k x\n"),
        (("-D \n", " -e 2\n-e 1\n"), "-D \n-e 1\n"),
    ],
)
def test_what_augenrules_makes_of_the_files(texts: tuple[str, ...], text: str) -> None:
    assert joined(folder(*texts)) == text


def test_releases_differ_in_blanks_carriage_returns_and_names() -> None:
    files = folder(" -e 2\n-D \n  # x\n-e 1\r\n")
    assert joined(files, Joins(blanks=False)) == " -e 2\n-D \n  # x\n-e 1\r\n"
    assert joined(files, Joins(returns=True)) == "-D \n-e 1\n"
    odd = (File("/etc/audit/rules.d/a b.rules", "-w /x\n"),)
    assert (joined(odd), joined(odd, Joins(names=True))) == ("", "-w /x\n")


def test_the_files_are_sorted_as_ls_sorts_them(tmp_path: Path) -> None:
    draw = random.Random(1)
    names = {"".join(draw.choices("a1~.-0Z9_é", k=draw.randint(1, 6))).lstrip(".") for _ in range(400)} - {""}
    for name in names:
        (tmp_path / f"{name}.rules").touch()
    real = subprocess.run(["ls", "-1v"], cwd=tmp_path, capture_output=True, check=True).stdout.decode().split("\n")
    assert sorted((f"{name}.rules" for name in names), key=rules_d._order) == real[:-1]


@pytest.mark.parametrize(
    ("texts", "after"),
    [
        # what stands in the last file acts glued to the line before it; that line is as it was
        ((WATCH, OLD), (WATCH, NEW)),
        ((f"{WATCH} ", "-e 2\n"), (f"{WATCH} ", f"\n{NEW}")),
        ((f"{WATCH} ", "-f 1 -e 2\n-b 7\n"), (f"{WATCH} ", f"\n# {NOTE}: '-f' '1' '-e' '2'\n-f 1\n-b 7\n")),
        # or would act with one newline more: nothing is loaded that was not
        ((WATCH, "-e 2\n"), (WATCH, NEW)),
        ((WATCH, "-e 2\n-b 5"), (WATCH, f"{NEW}-b 5")),
        (("-a never,task", "-w /x\n"), (f"# {NOTE}: '-a' 'never,task'\n", "-w /x\n")),
        (("# the end", "-f 1 -e 2\n"), ("# the end", f"# {NOTE}: '-f' '1' '-e' '2'\n")),
        # the line acts as a whole alone
        (("-a never,ta", "sk\n-b 5"), (f"# {NOTE}: '-a' 'never,ta'\n", f"# {NOTE}: 'sk'\n-b 5")),
        (("-a always,exit -S open ", "-F uid=0 -e 2\n"),
         (f"# {NOTE}: '-a' 'always,exit' '-S' 'open'\n-a always,exit -S open -F uid=0\n",
          f"# {NOTE}: '-F' 'uid=0' '-e' '2'\n")),
        # the first file's last line acts, whatever is glued to it
        (("-e 2", "\n-D\n"), (NEW, "\n-D\n")),
        (("-e 2 ", "-w /x\n"), (NEW, "-w /x\n")),
        # the last -e counts, wherever it stands; beside -b or -f it only sleeps
        (("-e 2\n", "-e 1\n"), ("-e 2\n", "-e 1\n")),
        (("-e 2\n-e 2\n", "-e 2\n"), (NEW + NEW, NEW)),
        (("-e 1\n", "-e 2\n"), ("-e 1\n", NEW)),
        (("-f 1 -e 2\n", "-f 1\n"), (f"# {NOTE}: '-f' '1' '-e' '2'\n-f 1\n", "-f 1\n")),
        # an old mawk leaves a line that begins with blanks where it is
        (("-e 2\n", "  -e 1\n"), (NEW, "  -e 1\n")),
        (("  -e 2\n", "-e 1\n"), (NEW, "-e 1\n")),
        # -i in an earlier file, and one that comes too late
        (("-i\n-e 3\n", "-a never,task\n"), ("-i\n-e 3\n", f"# {NOTE}: '-a' 'never,task'\n")),
        (("-k x\n", "-i\n-e 2\n"), ("-k x\n", f"-i\n{NEW}")),
    ],
)  # fmt: skip
def test_unblocked(texts: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert edited(*texts) == after


BEFORE = ("-k x", "-D", "-e", "-e ", "-b ", "-b 5", "-w /x -p wa -k", "-a always,exit -F", "-m ", "-i", "x\\", "-e 1",
          "-a always,exit -S open -F uid=0 -e", "--", "-a never,", "-d ", "-A ", "-f ", "-r")  # fmt: skip


def test_what_stands_in_one_file_counts_for_the_next() -> None:
    def stops(*texts: str) -> list[str]:
        return [line.place[-9:] for line in rules_d.judged(folder(*texts), GNU) if line.rule.stops]

    assert stops("-w /x\n", "-w /x\n-k y\n") == ["1.rules:1"]
    assert stops("-w /x\n", "-i\n", "-w /x\n-k y\n") == []
    assert stops("-k y\n", "-c\n") == ["0.rules:1"]


@pytest.mark.parametrize("line", ["-e 2", "-e2 # x", "-f 2 -e 2", "-a never,task -e2", "-e 2\0x", "it's -e 2"])
def test_no_comment_of_ours_acts_behind_another_line_even_where_that_is_too_long(line: str) -> None:
    (comment,) = edited(f"{line}\n")
    comment = comment.splitlines(keepends=True)[0]
    for before in (*BEFORE, *("x" * (6143 - size) for size in range(len(comment)))):
        found = parse(before + comment)
        assert not any(rule.blocks or rule.panic for rule in found), before
    assert not re.search(r" -", comment)


def test_what_only_another_release_would_do_is_said() -> None:
    (line,) = rules_d.blocking(folder("-e 2\n", "  -e 1\n"), Joins())
    assert line.why == "not in force with this host's augenrules"
    (line,) = rules_d.blocking(folder("-e 2\n", "  -e 1\n"), Joins(blanks=False))
    assert not line.why
    (line,) = rules_d.overruled(folder("-e 2\n", "-e 1\n"), Joins())
    assert line.why == "augenrules keeps only the last of its kind, from /etc/audit/rules.d/1.rules:1"


def test_lines_are_named_where_they_stand() -> None:
    found = rules_d.judged(folder("-D\n", "# x\n\n-k x", "y\n-e 2\n"), Joins())
    assert [line.place.replace("/etc/audit/rules.d/", "") for line in found] == [
        "0.rules:1", "1.rules:3 with 2.rules:1", "2.rules:2"]  # fmt: skip
    assert found[2].why == "auditctl stops above it, at /etc/audit/rules.d/1.rules:3 with /etc/audit/rules.d/2.rules:1"
    two = (File("/etc/audit/audit.rules", "-e 2\n"), *folder("-D\n"))
    assert [line.place for line in rules_d.blocking(two, Joins())] == ["/etc/audit/audit.rules:1"]


def test_an_audit_rules_that_augenrules_makes_counts_only_for_what_has_to_go() -> None:
    header = "## This file is automatically generated from /etc/audit/rules.d\n"
    stale = File("/etc/audit/audit.rules", f"{header}-a never,exit -S all\n-k x\n-e 2\n")
    assert [line.place for line in rules_d.judged((stale, *folder("-D\n")), GNU)] == ["/etc/audit/rules.d/0.rules:1"]
    assert rules_d.unblocked((stale, *folder("-D\n")), NOTE) == (stale.text.replace("-e 2\n", NEW), "-D\n")
    own = stale._replace(text="-k x\n")
    assert [line.rule.stops for line in rules_d.judged((own, *folder("-D\n")), GNU)] == [True, False]
    assert len(rules_d.judged((stale,), GNU)) == 4


def test_how_this_host_joins(dict_host: DictHost) -> None:
    assert rules_d.joins_of(dict_host) == Joins()
    dict_host.write("/sbin/augenrules", 'for rules in x | sort -zV\n        sub(/\\r$/, "");\n')
    dict_host.write("/etc/alternatives/awk", link="/usr/bin/mawk")
    assert rules_d.joins_of(dict_host) == Joins(blanks=False, returns=True, names=True)


@needs_root
def test_a_comment_of_an_earlier_release_is_mended_and_all_of_it_taken_back(tree: Tree) -> None:
    tree.write(SITE, WATCH)
    tree.write(FINAL, OLD)
    host = LiveHost(str(tree.folder))
    kept = {"before": journal.keep(host, "-e 2\n"), "after": journal.keep(host, OLD)}
    journal.record(host, "edit", path=FINAL, **kept, inert=False, mtime=1.0)
    assert f"{SITE}:1 with {FINAL}:1: {WATCH}{OLD}".strip() in tree.fim("check").out
    assert tree.fim("apply").status == 0
    assert (tree.read(SITE), tree.read(FINAL)) == (WATCH, NEW)
    assert tree.fim("revert").status == 0
    assert (tree.read(SITE), tree.read(FINAL)) == (WATCH, "-e 2\n")
