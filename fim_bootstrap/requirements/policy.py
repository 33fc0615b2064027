"""SELinux lets the dispatcher hand events to the agent.

Vendor, prerequisite 3: "even if SELinux is enabled, audispd is allowed to receive events". The plugin stays
in the dispatcher's domain (bin_t is executed without a transition) and makes the socket that qualys-edr connects
to; base policies deny it that. The agent grants it with a module of its own while it runs, but not on every system.
Where nobody does, ours does; it is built on the host, since a module file of a newer compiler is refused by an older
one. What counts is the access that the kernel grants, not that semodule exited 0: optional blocks whose types
are missing vanish without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..changes.policy import LoadPolicy, RestoreLabels, loading
from ..facts.commands import SELINUX_COMMANDS
from ..facts.selinux import MODULE, SOCKET_TYPE
from ..model import Change, Facts, Finding, Profile, SELinuxFacts, Settings, Status

ID = "policy"
TITLE = "SELinux lets the dispatcher hand events to the agent"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge the four probes: store, policy file, kernel, access."""
    undone = _unjudged(facts, settings) or _for_a_person(facts.selinux) or _due(facts, profile)
    return undone or _granted(facts)


def _unjudged(facts: Facts, settings: Settings) -> Optional[Finding]:
    """SELinux is not on, or nothing can be built yet."""
    state = facts.selinux
    if settings.mode_for(facts) == "direct":
        return Finding(ID, TITLE, Status.SKIPPED, "direct mode: no plugin hands events over")
    if state.unread and not (facts.environment.live and state.mode in ("absent", "disabled")):
        return _blocked(state.unread, "put a regular file there, which root can read: it names the policy of the boot")
    if state.mode in ("absent", "disabled"):
        return Finding(ID, TITLE, Status.SKIPPED, f"SELinux is {state.mode}; it is left that way")
    if not state.policy_present:
        summary = f"no base policy of type {state.type} is installed; none is added"
        return Finding(ID, TITLE, Status.SKIPPED, summary)
    if any(command not in facts.commands for command in SELINUX_COMMANDS):
        evidence = _denied(facts) + state.denials
        return Finding(ID, TITLE, Status.WAITING, "the SELinux tools are not installed yet", evidence)
    return None


def _due(facts: Facts, profile: Profile) -> Optional[Finding]:
    """A module has to be loaded, or labels have to be restored; or no policy may be loaded now."""
    state = facts.selinux
    changes: list[Change] = [*loading(facts, profile)]
    if changes and state.load_locked:
        return _blocked(
            "the boolean secure_mode_policyload forbids loading a policy until the next boot",
            "turn it off for the next boot (setsebool -P secure_mode_policyload off), reboot, run again",
        )
    if changes and state.read_only:
        remedy = "use the system's own update tool, such as transactional-update run"
        return _blocked(f"{state.read_only} is read-only", remedy)
    if state.mislabelled and facts.environment.live:
        changes.append(RestoreLabels(state.mislabelled))
    if not changes:
        return None
    what = "is stale" if state.module_present else "is not in the store"
    loads = isinstance(changes[0], LoadPolicy)
    why = "SELinux keeps the plugin from its socket: " if state.denied else ""
    summary = f"{why}the module {MODULE} {what}" if loads else "labels or the loaded policy differ"
    return Finding(ID, TITLE, Status.CHANGE, summary, _denied(facts) + state.mislabelled, tuple(changes))


def _granted(facts: Facts) -> Finding:
    """Nothing is left to be done: the kernel has the last word."""
    state = facts.selinux
    warnings = tuple(f"denied since auditd started: {record}" for record in state.denials)
    if state.effective is False:
        return Finding(
            ID, TITLE, Status.BLOCKED, "the module is loaded, but the kernel still denies the plugin its access",
            _denied(facts),
            remedy="another policy module or constraint (MLS) forbids it; look at it with sesearch and ausearch -m avc",
            warnings=warnings,
        )  # fmt: skip
    if not facts.environment.live:
        return Finding(ID, TITLE, Status.OK, f"the module {MODULE} is in the store of this tree")
    by_the_kernel = "granted by the kernel" + ("" if state.module_present else ", without a module of ours")
    proven = by_the_kernel if state.effective else "in the module; the kernel could not be asked for the access"
    return Finding(ID, TITLE, Status.OK, f"{state.mode}: the plugin's access is {proven}", warnings=warnings)


def _for_a_person(state: SELinuxFacts) -> Optional[Finding]:
    """What no module of ours may change."""
    if state.module_disabled and not state.effective:
        remedy = f"semodule -e {MODULE}, or run with --skip policy"
        return _blocked(f"the module {MODULE} was disabled by an administrator", remedy)
    if state.foreign:
        return _blocked(
            f"{state.folder} has a label on which the kernel does not let the plugin work",
            f"give it the usual one: semanage fcontext -a -t {SOCKET_TYPE} '{state.folder}(/.*)?', or -m where that is"
            f" listed already (if a link leads there: the path without links); then restorecon -RFv {state.folder}",
            state.foreign,
        )
    if state.unconnected:
        return _blocked(
            "the kernel does not let the agent connect to the plugin",
            "see whether both run in their usual domains (ps -eZ), and which base module is missing (semodule -lfull)",
            state.unconnected,
        )
    return None


def _denied(facts: Facts) -> tuple[str, ...]:
    state = facts.selinux
    watching = [f"init_t {state.deaf}:dir watch"] if state.deaf else []
    return tuple(f"the kernel denies {access}" for access in (*state.denied, *watching))


def _blocked(summary: str, remedy: str, denied: Sequence[str] = ()) -> Finding:
    evidence = tuple(f"the kernel denies {access}" for access in denied)
    return Finding(ID, TITLE, Status.BLOCKED, summary, evidence, remedy=remedy)
