"""A host that drifts says so: units that check it now and then, and after each change of auditd.

Vendor, prerequisite 6: "If auditd is stopped externally, the FIM module does not receive any events", and nobody
is told. The guard only looks; on a host that is not ready its service fails, with the report in the journal.
"""

from __future__ import annotations

from ..changes.files import CreateFiles
from ..facts.own_files import GUARD, GUARD_UNITS, PROGRAM, unit_text
from ..model import Environment, Facts, Finding, Profile, Settings, Status

ID = "guard"
TITLE = "a host that drifts says so"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the units where they were asked for, or where an earlier release left its own."""
    ours = (PROGRAM, *GUARD)
    stale = not facts.prepared.isdisjoint(GUARD_UNITS.values()) and not facts.outdated.isdisjoint(ours)
    if not settings.guard and not stale:
        return Finding(ID, TITLE, Status.SKIPPED, "not asked for; --guard has systemd look for drift")
    if "systemctl" not in facts.commands:
        return Finding(ID, TITLE, Status.SKIPPED, "there is no systemd here; run check from cron")
    missing = [path for path in (*ours, *GUARD_UNITS.values()) if path not in facts.prepared]
    warnings = _deaf(facts) + tuple(f"{path} was edited; it is left as it is" for path in GUARD if path in facts.edited)
    if not missing:
        return Finding(ID, TITLE, Status.OK, "the guard is installed and enabled", warnings=warnings)
    change = CreateFiles(
        {path: unit_text(name, facts.prepared) for path, name in GUARD.items() if path in missing}, tuple(GUARD_UNITS),
        PROGRAM if PROGRAM in missing else "", start=facts.environment is not Environment.OFFLINE,
    )  # fmt: skip
    summary = "the guard is that of an earlier release" if stale else "the guard is not installed, or not enabled"
    return Finding(ID, TITLE, Status.CHANGE, summary, changes=(change,), warnings=warnings)


def _deaf(facts: Facts) -> tuple[str, ...]:
    """inotify(7) asks SELinux since Linux 5.4; a path unit that may not watch stays active, and hears nothing."""
    label = facts.selinux.deaf
    return (f"SELinux does not let systemd watch /etc/audit ({label}): only the timer sees edits",) if label else ()
