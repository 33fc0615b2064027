"""SELinux lets the dispatcher hand events to the agent.

Vendor, prerequisite 3: "even if SELinux is enabled, audispd is allowed to receive events". The plugin stays
in the dispatcher's domain (bin_t is executed without a transition) and base policies deny it the agent's
socket. A module of two grants closes that; it is built on the host, since a module file of a newer
compiler is refused by an older one. What counts is the access that the kernel grants, not that
semodule exited 0: optional blocks whose types are missing vanish without a word.
"""

from __future__ import annotations

from ..changes import LoadPolicy, ReloadPolicy, RestoreLabels
from ..facts import SELINUX_COMMANDS
from ..model import Change, Facts, Finding, Profile, Settings, Status
from ..selinux import MODULE

ID = "policy"
TITLE = "SELinux lets the dispatcher hand events to the agent"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the four probes: store, policy file, kernel, access."""
    state = facts.selinux
    if settings.mode_for(facts) == "direct":
        return Finding(ID, TITLE, Status.SKIPPED, "direct mode: no plugin hands events over")
    if state.mode in ("absent", "disabled"):
        return Finding(ID, TITLE, Status.SKIPPED, f"SELinux is {state.mode}; it is left that way")
    if not state.policy_present:
        summary = f"no base policy of type {state.type} is installed; none is added"
        return Finding(ID, TITLE, Status.SKIPPED, summary)
    if any(command not in facts.commands for command in SELINUX_COMMANDS):
        summary = "the SELinux tools are not installed yet"
        return Finding(ID, TITLE, Status.WAITING, summary, _denied(facts) + state.denials)
    if state.module_disabled:
        return _blocked(
            f"the module {MODULE} was disabled by an administrator",
            f"semodule -e {MODULE}, or run with --skip policy",
        )
    changes: list[Change] = []
    if state.mislabelled and facts.environment.live:
        changes.append(RestoreLabels(state.mislabelled))
    if state.in_store is False:
        changes.append(LoadPolicy(state.source, state.marker, facts.environment.live, profile.semodule_priorities))
    elif False in (state.in_kernel, state.in_policy):
        changes.append(ReloadPolicy(facts.environment.live))
    if any(isinstance(change, (LoadPolicy, ReloadPolicy)) for change in changes):
        if state.load_locked:
            return _blocked(
                "the boolean secure_mode_policyload forbids loading a policy until the next boot",
                "turn it off for the next boot (setsebool -P secure_mode_policyload off), reboot, run again",
            )
        if state.read_only:
            return _blocked(
                f"{state.read_only} is read-only", "use the system's own update tool, such as transactional-update run"
            )
    if changes:
        what = "is stale" if state.module_present else "is not in the store"
        summary = f"the module {MODULE} {what}" if state.in_store is False else "labels or the loaded policy differ"
        return Finding(ID, TITLE, Status.CHANGE, summary, _denied(facts) + state.mislabelled, tuple(changes))
    warnings = tuple(f"denied since auditd started: {record}" for record in state.denials)
    if state.effective is False:
        return Finding(
            ID, TITLE, Status.BLOCKED, "the module is loaded, but the kernel still denies the hand-over",
            _denied(facts),
            remedy="another policy module or constraint (MLS) forbids it; look at it with sesearch and ausearch -m avc",
            warnings=warnings,
        )  # fmt: skip
    if not facts.environment.live:
        return Finding(ID, TITLE, Status.OK, f"the module {MODULE} is in the store of this tree")
    proven = "granted by the kernel" if state.effective else "loaded; the kernel could not be asked for the access"
    return Finding(ID, TITLE, Status.OK, f"{state.mode}: the hand-over is {proven}", warnings=warnings)


def _denied(facts: Facts) -> tuple[str, ...]:
    return tuple(f"the kernel denies {access}" for access in facts.selinux.denied)


def _blocked(summary: str, remedy: str) -> Finding:
    return Finding(ID, TITLE, Status.BLOCKED, summary, remedy=remedy)
