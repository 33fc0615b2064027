"""One reboot for one cause: what the journal tells of the last reboot that was due for locked audit rules.

Only a boot unlocks the kernel. It helps once the lines that lock are out of the rule files; where the kernel is locked
again after it, and the files are clean, something else does that, and another reboot ends alike. The cause is the last
edit that took such a line out, or the note that apply makes where it found clean files and nothing to edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DUE = "reboot"  # kind of the journal entry of a reboot that apply asked for


def spent(steps: Sequence[Mapping[str, Any]], boot: str) -> bool:
    """Whether the last reboot that was due has been made; no where it is not known in which boot that was."""
    due_in = _due_in(steps)
    return bool(boot and due_in) and due_in != boot


def noted(steps: Sequence[Mapping[str, Any]], boot: str) -> bool:
    """Whether the journal has it that a reboot became due last in this boot."""
    return _due_in(steps) == boot


def _due_in(steps: Sequence[Mapping[str, Any]]) -> str:
    """The id of the boot in which a reboot became due last, or ''."""
    return str(next((step.get("boot", "") for step in reversed(steps) if _makes_due(step)), ""))


def _makes_due(step: Mapping[str, Any]) -> bool:
    """Whether a step made a reboot due; an edit of an earlier release does not say whether it took out a lock."""
    unlocks = step.get("unlocks", str(step.get("path", "")).endswith(".rules"))
    return step.get("kind") == DUE or (step.get("kind") == "edit" and bool(unlocks))
