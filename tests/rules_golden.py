"""What auditctl makes of lines, and what they silence. `make golden` writes tests/golden/rules.txt.

What the real auditctl and kernel do with such lines `make test-fuzz` and the guests see.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fim_bootstrap.audit import silence
from fim_bootstrap.audit.auditctl import Rule, parse
from fim_bootstrap.audit.fields import meaning
from tests.test_silence import NOTHING, PART, TOTAL

NOTHING_SAID = "    nothing that concerns FIM\n"
FILE = Path(__file__).parent / "golden/rules.txt"
LINES = (
    "-D", "-D -k x", "-D -k", "-D x", "-D -k x y", "-D -e 1", "-Da", "-l", "-l -k x", "-l x", "-l -e 1", "-s", "-s -i",
    "-s -i x", "-s x", "-m text", "-m a b", "-m", "-R f", "-i", "-c", "-i x", "-c -e 2", "-v", "-v x", "-b 8192",
    "-b x", "-b 1x", "-b 123456789012345678901", "-b 023456789012345678901", "-r -5", "-e 0", "-e 1", "-e 2", "-e2",
    "-e 3", "-e", "-e 2 -e 1", "-f 0", "-f 2", "-f x", "-t", "-z", "--x", "-", "--", "-- x", "x", "#-e 2", " # x",
    "-e 2 # x", "-a always,exit -a always,exit", "-d never,task", "-a always,possible", "-a possible,exit -S all",
    "-a exit,always -S open", "-a x,y", "-a task,always -S open", "-a task,always", "-a always,exit,x", "-a always",
    "-a never,task", "-a task,never", "-A never,task", "-a never,task -F uid=0", "-a never,task -e 2",
    "-a never,task x", "-w /x -p wa -k", "-w /x -p wa -k y", "-w /x -p y", "-w x", "-w /x/ -p rwxa", "-w /x -S open",
    "-W /x", "-w /x -w /y", "-w /..", "-w /x -F uid=0", "-w /x -k a -k b", "-p wa", "-k x", "-S open", "-F uid=0",
    "-C uid!=euid", "-a always,exit -S open -S",
    "-a always,exit -S open,close -F auid>=1000 -F auid!=unset -F auid!=4294967295 -k x",
    "-a always,exit -F arch=b64 -S open", "-a always,exit -S open -F arch=b64", "-a always,exit -F arch=b16 -S open",
    "-a always,exit -S nosuch", "-a always,exit -S 5", "-a always,exit -S 99999", "-a always,exit -F nosuch=1",
    "-a always,exit -F uid", "-a always,exit -F uid=", "-a always,exit -F uid=nobody-here", "-a always,exit -F gid=0",
    "-a always,exit -F sessionid=unset", "-a always,exit -F sessionid=4294967295", "-a always,exit -F exit=-EACCES",
    "-a always,exit -F exit=-13", "-a always,exit -F exit=EACCES", "-a always,exit -F success=1",
    "-a always,exit -F a0=5", "-a always,exit -F a0=0x5", "-a always,exit -F perm=aw", "-a always,exit -F perm=z",
    "-a always,exit -F path=/x", "-a always,exit -F path=x", "-a always,exit -F dir=/x/ -F perm=wa",
    "-a always,exit -F key=a -k b", "-a always,exit -F filetype=file", "-a always,exit -F filetype=x",
    "-a always,exit -F devmajor=1 -F inode=2", "-a always,exit -C uid!=euid -C euid!=uid", "-a always,exit -C uid!=x",
    "-a always,exit -F subj_type=x_t", "-a always,exclude -F msgtype=CWD", "-a always,exclude -F msgtype=nosuch",
    "-a always,exclude -S open", "-a always,user -F uid=0", "-a always,filesystem -F fstype=debugfs",
    "--backlog_wait_time 5", "--backlog_wait_time", "--back 5", "--loginuid-immutable", "--loginuid-immutable=1",
    "--signal stop", "--reset-lost", "--interpret", "-w /a\\ b", "-e 2\r", "-e\t2", "\t-e 2", " -e 2", "-k x -w /y",
    "-w /x -F path=/y", "-a always,exit -F exe=/x",
)  # fmt: skip


def text() -> str:
    """What stands in the file."""
    lines = dict.fromkeys((*LINES, *TOTAL, *(line for line, _ in PART), *NOTHING))
    read = ((line, rule) for line in lines for rule in parse(f"{line}\n"))
    return "".join(f"{line!r}\n{''.join(_of(rule)) or NOTHING_SAID}" for line, rule in read)


def _of(rule: Rule) -> Iterator[str]:
    plain = Rule(rule.number, rule.text)
    for name in sorted({*rule._fields} - {"text", "number"}):
        if getattr(rule, name) != getattr(plain, name):
            yield f"    {name}: {getattr(rule, name)!r}\n"
    if rule.adds:
        told = [sorted(part) if isinstance(part, frozenset) else part for part in meaning(rule.adds)]
        yield f"    meaning: {told!r}\n"
    if silent := silence.of(rule):
        yield f"    silences {'all' if silent[0] else 'a part'}: {silent[1]}\n"


if __name__ == "__main__":
    FILE.write_text(text())
