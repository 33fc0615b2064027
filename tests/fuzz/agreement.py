"""Whether the project's grammars say of a file what the real parsers do with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from fim_bootstrap.audit import auditctl, auditd_conf, rules_d
from fim_bootstrap.host.reader import File
from tests.fuzz.joining import Joiner
from tests.fuzz.oracle import ACCEPTED, REFUSED, Heard, Judge, locks, silences

NOTE = "fim-bootstrap: note"
MARKED = re.compile("[\x04\x07](?![^ \n\0])")


def encoded(text: str) -> bytes:
    """The file's bytes."""
    return text.encode("utf-8", "surrogateescape")


def about_rules(judge: Judge, text: str) -> str:
    """What auditctl and `audit_rules` disagree about in a file, or ''.

    By design `audit_rules` does not know users, system calls, fields and what is in the kernel: where auditctl names
    the very line as wrong, an option of it that counts as effective may not have been reached. Nor does it know that
    audit before 4.1 drops the last of many one-letter words, and that auditctl reads on behind a word that ends in
    one of the two characters by which it marks what was escaped.
    """
    if MARKED.search(text):
        return ""
    heard, rules = judge.hear(encoded(text)), auditctl.parse(text)
    if heard.end.startswith("exit 9"):
        return f"the shim gave up: {heard.end}"
    if any(map(locks, heard.messages)) and not any(rule.locks or rule.dormant for rule in rules):
        return "the kernel is locked, unseen"
    if any(map(silences, heard.messages)) and not any(rule.never_task or rule.dormant for rule in rules):
        return "never,task is added, unseen"
    for number, rule in enumerate(rules[: _reached(rules, heard)], 1):
        wrong = number not in heard.bad_lines and not _short_words(rule.text)
        if wrong and rule.aborts:
            return f"line {number} is no error: {rule.aborts}"
        if wrong and rule.locks and not any(map(locks, heard.messages)):
            return f"line {number} does not lock"
        if wrong and rule.never_task and not any(map(silences, heard.messages)):
            return f"line {number} does not add never,task"
    return _edited_rules(judge, text, heard)


def _reached(rules: tuple[auditctl.Rule, ...], heard: Heard) -> int:
    """How many lines auditctl has certainly read; 0 where it crashed or left without a word."""
    if heard.end == "exit 0":
        return len(rules)
    if heard.end != "exit 1" or not heard.bad_lines:
        return 0
    last = heard.bad_lines[-1]
    read = [rule.text for number, rule in enumerate(rules[:last], 1) if number not in heard.bad_lines]
    tolerant = any(name in auditctl.TOLERANT for text in read for name, _ in auditctl._rule(0, text)[1].done)
    return len(rules) if tolerant else last


def _short_words(text: str) -> bool:
    words = text.split()
    return len(words) + 1 > len(text.rstrip("\n")) // 3 + 1


def _edited_rules(judge: Judge, text: str, before: Heard) -> str:
    (edited,) = rules_d.unblocked((File("/etc/audit/audit.rules", text),), NOTE)
    if rules_d.unblocked((File("/etc/audit/audit.rules", edited),), NOTE) != (edited,):
        return "a second edit changes more"
    if edited == text:
        return ""
    after = judge.hear(encoded(edited))
    if any(locks(message) or silences(message) for message in after.messages):
        return "the edit left something in force"
    kept = [message for message in _taken(before) if not (locks(message) or silences(message))]
    if _taken(after)[: len(kept)] != kept:
        return "the edit changed other messages"
    rules = auditctl.parse(text)
    touched = {number for number, rule in enumerate(rules, 1) if rule.blocks}
    if _taken(after) != kept and not touched & set(before.bad_lines) and not before.end.startswith("signal"):
        return "the edit added messages"
    return ""


def _taken(heard: Heard) -> list[str]:
    """What the kernel took, but for deletions: those beside what is taken out go with it."""
    return [message for message in heard.messages if not message.startswith(("@refused", "@delete"))]


def about_rules_d(judge: Judge, joiner: Joiner, files: Sequence[File]) -> str:
    """What augenrules with auditctl and `rules_d` disagree about in a folder, or ''.

    By design an option of a line that was refused may count once it has a line of its own, which augenrules moves:
    then it is another -f or -b that sets the same.
    """
    if any(MARKED.search(file.text) for file in files):
        return ""
    real = joiner.join(files)
    lines = [line + b"\n" for line in real.split(b"\n")[1:] if line]
    if b"".join(lines) != b"".join(line.text for line in rules_d._join(files, joiner.joins).lines):
        return "augenrules joins them otherwise"
    before = judge.hear(real)
    if any(locks(said) or silences(said) for said in before.messages) and not rules_d.blocking(files, joiner.joins):
        return "what joined freezes or silences the rules is unseen"
    edited = tuple(file._replace(text=text) for file, text in zip(files, rules_d.unblocked(tuple(files), NOTE)))
    if edited == tuple(files):
        return ""
    if rules_d.unblocked(edited, NOTE) != tuple(file.text for file in edited):
        return "a second edit changes more"
    after = judge.hear(joiner.join(edited))
    if any(locks(said) or silences(said) for said in after.messages):
        return "the edit left something in force"
    kept = Counter(_kind(said) for said in _taken(before) if not (locks(said) or silences(said)))
    return f"the edit took {lost} out" if (lost := list(kept - Counter(map(_kind, _taken(after))))) else ""


def _kind(message: str) -> str:
    """What of the kernel's state a message sets; else the message."""
    return message[: message.rindex(" ")].rpartition(" ")[0] if message.startswith("@set") else message


# what auditd looks up on the host, which no text can tell ...
HOST = (r"could not open dir|name: .* is too short|unable to stat|unable to open|is not a regular file|isn't found"
        r"|[Nn]o such|^$|permissions")  # fmt: skip
# ... and what auditd itself is asked about before a restart, and would be much text for little
LEFT_OUT = r"tls_|Numeric group ID"
BY_DESIGN = re.compile("|".join((HOST, LEFT_OUT)), re.IGNORECASE)


def about_conf(judge: Judge, text: str) -> str:
    """What auditd and `auditd_conf` disagree about in a configuration, or ''."""
    heard = judge.hear(encoded(text))
    faults = auditd_conf.faults(text, 3, auditd_conf.dialect(judge.program, text))
    accepted = heard.end == f"exit {ACCEPTED}"
    if not accepted and heard.end != f"exit {REFUSED}":
        return f"auditd ended by {heard.end}"
    # audit before 4.1 takes a file of which it reads no line, and refuses the same with a line of ours
    # a dispatcher line that ends in a carriage return is mended though audit 3 never looks at its value
    faults = tuple(fault for fault in faults if not (accepted and fault.key == "dispatcher"))
    unread = not any("_parser called" in line for line in heard.log)
    # audit 4.1.4 and later read longer lines
    long = any(len(line) > auditd_conf.LONGEST for line in encoded(text).split(b"\n"))
    if accepted and faults and not unread and not long:
        return f"auditd takes it: {faults[0].problem}"
    if not accepted and not faults and not long and not any(BY_DESIGN.search(line) for line in heard.log[-3:]):
        return f"auditd refuses it: {heard.log[-3:]}"
    return _edited_conf(judge, text, heard) if accepted and not unread and not long else ""


def _edited_conf(judge: Judge, text: str, before: Heard) -> str:
    try:
        edited = auditd_conf.with_dispatcher(text)
    except ValueError:
        return ""
    if auditd_conf.with_dispatcher(edited) != edited:
        return "a second edit changes more"
    after = judge.hear(encoded(edited))
    if after.end != before.end:
        return f"auditd refuses the edited file: {after.log[-3:]}"
    if not any(line.startswith("dispatcher") or "The dispatcher option" in line for line in after.log):
        return "auditd does not see the dispatcher line"
    lost = [line for line in _calls(before) if line not in _calls(after)]
    return f"the edit took a setting out: {lost}" if lost else ""


def _calls(heard: Heard) -> list[str]:
    return [line for line in heard.log if "_parser called with" in line and "dispatch" not in line]
