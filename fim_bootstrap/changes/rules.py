"""Audit rules of the kernel."""

from __future__ import annotations

from typing import NamedTuple

from ..host.reader import Host
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
        """auditctl -d; the second look at auditctl -l decides."""
        record("rule", rule=self.rule)
        host.run("auditctl", "-d", self.rule, ok=range(256))
