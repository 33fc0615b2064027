"""Audit rules that freeze or silence the others go: from the files as comments, from the kernel by auditctl."""

from __future__ import annotations

from typing import NamedTuple

from ..audit import rules_d
from ..audit.rules_d import Joins
from ..host.reader import File, Host
from ..model import Change
from .files import EditFile
from .journal import Record


class DeleteRule(NamedTuple):
    """Take one rule out of the kernel; its source files are edited apart."""

    rule: str = "never,task"

    def describe(self) -> str:
        """The plan line."""
        return f"delete the rule -a {self.rule} from the kernel"

    def diff(self) -> str:
        """No file."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """auditctl -d; the verification by auditctl -l decides."""
        record("rule", rule=self.rule)
        host.run("auditctl", "-d", self.rule, ok=range(256))


@rules_d.remembered
def unblocking(
    rules: tuple[File, ...], joins: Joins, mended: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Change, ...]]:
    """The lines of the files that freeze or silence the rules, and the edits that take them out."""
    blocking = rules_d.blocking(rules, joins)
    locking = {span.path for line in blocking if line.rule.locks for span in line.spans}
    why = "comment out what freezes or silences the rules"
    edits = (
        EditFile(file.path, file.text, after, why, file.mtime, unlocks=file.path in locking)
        for file, after in zip(rules, mended) if after != file.text
    )  # fmt: skip
    asleep = (f" (not in force yet: {line.why})" if line.rule.inert else "" for line in blocking)
    quoted = (f"{line.place}: {line.rule.text.strip()}" for line in blocking)
    return tuple(map("".join, zip(quoted, asleep))), tuple(edits)


NO_UNDO = ("rule",)  # the kernel has the rule again once the files that are brought back are loaded
