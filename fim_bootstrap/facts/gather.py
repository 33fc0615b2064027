"""Look at the host. What is looked at is decided by the environment, which files alone decide.

In a chroot `systemctl` answers without looking and `auditctl` answers from the build host's kernel, so
neither is asked unless the running system is this tree's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ..agent import look as agent
from ..agent import vendor
from ..audit import auditctl, auditd_conf, obstacles, rules_d
from ..changes import journal
from ..host.boot import boot_id, booted
from ..host.reader import UNREAD, Output, Reader
from ..managers import lookup, rows
from ..model import AgentFacts, AuditFacts, Environment, Facts, OsRelease, Profile, SELinuxFacts, Settings
from . import audit as audit_facts
from . import own_files, processes, selinux, services, versions
from .audit import AUDIT_RULES, PLUGIN_DIRS
from .commands import AGENT_COMMANDS, AUDIT_COMMANDS, SELINUX_COMMANDS
from .own_files import GUARD_UNITS
from .system import environment

EARLY = "sysinit.target"  # auditd comes before it, almost all other daemons after it


def gather(host: Reader, profile: Profile, settings: Settings, release: OsRelease) -> Facts:
    """Everything the requirements judge, looked at once."""
    where = environment(host, bool(settings.root))
    privileged = os.geteuid() == 0
    manager, image_based = lookup.choose(host, profile)
    half_installed = lookup.half_installed(host, rows.MANAGERS[manager]) if manager else frozenset()
    names = {*AUDIT_COMMANDS, *AGENT_COMMANDS, *SELINUX_COMMANDS, *profile.packages, "setfiles", "systemctl"}
    unfinished = {name for name in names if half_installed.intersection(profile.packages.get(name, ()))}
    commands = {name: path for name in sorted(names - unfinished) if (path := host.which(name))}
    answers = _ask(host, where, commands, privileged)
    if answers.get("is-system-running", Output((), 0)).stdout.strip() in ("initializing", "starting"):
        where = Environment.BOOTING
    status = answers.get("status")
    kernel = auditctl.parse_status(status.stdout) if status and status.status == 0 else None
    seen = processes.gather(host, (kernel or {}).get("pid", 0)) if where.live else processes.Processes()
    units = services.units(answers.get("show"))
    known = services.look(host, units, profile)
    steps = journal.entries(host)
    boot = boot_id(host)
    audit = audit_facts.look(host, commands, profile, known, seen, kernel, answers.get("rules"), steps, boot)
    if loaded := services.loaded(units):
        audit = audit._replace(rules_loaded=booted() + loaded)
    if (kernel or {}).get("enabled"):
        from ..audit import switched_on  # only where auditing is on

        early = float(units.get(EARLY, {}).get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        log = auditd_conf.log_of(audit.conf.text if audit.conf else "")
        on = switched_on.look(host, steps, switched_on.Boot(boot, booted(), early), log)
        audit = audit._replace(switched_on=on)
    started = audit.daemon.started if audit.daemon else 0.0
    if where is Environment.OFFLINE:  # it cannot be seen whether something has locked it
        audit = audit._replace(locked_by=audit_facts.locked_by(host))
    hindered = obstacles.gather(host, where.live, audit.conf, audit.rules, audit.joins, started)
    audit = audit._replace(obstacles=hindered)
    seen_agent = agent.look(host, known[vendor.SERVICE], seen.believed, audit, steps, boot, booted())
    own = own_files.look(host, steps)
    prepared = own.prepared
    connecting = selinux.Agent(vendor.PROGRAM, vendor.SOCKET_FOLDER, seen_agent.edr.context if seen_agent.edr else "")
    state = selinux.gather(
        host, where.live, audit.generation or profile.audit, audit.dispatcher, connecting, _types(seen_agent),
        guard=settings.guard or not prepared.isdisjoint(GUARD_UNITS.values()),
    )  # fmt: skip
    if state.mode in ("permissive", "enforcing") and where.live:
        state = state._replace(denials=audit_facts.denials(host, audit.daemon, state.domain))
    elif state.mode in ("permissive", "enforcing") and where is Environment.OFFLINE:
        contexts = f"/etc/selinux/{state.type}/contexts/files/file_contexts"
        state = state._replace(mislabelled=_unlabelled(host, commands), file_contexts=contexts)
    unseen = _unseen(host, where, privileged, audit, seen_agent, state)
    if seen.hidden:
        unseen["the processes of others (hidepid)"] = ("auditd", "agent")
    return Facts(
        environment=where,
        root=host.root,
        hostname=os.uname().nodename if where.live else "",
        today=time.strftime("%Y-%m-%d"),
        privileged=privileged,
        os=release,
        commands=commands,
        unfinished=frozenset(unfinished),
        half_installed=half_installed,
        manager=manager,
        image_based=image_based,
        staged=tuple(name for step in steps if _staged(step, boot) for name in step.get("packages", ())),
        boot=boot,
        now=time.time(),
        machine=versions.machine(host) if where.live else "",
        versions=versions.gather(host, where.live, answers.get("version")),
        **own._asdict(),
        audit=audit,
        selinux=state,
        agent=seen_agent,
        unseen=tuple(unseen),
        unknown=frozenset(which for requirements in unseen.values() for which in requirements),
        doubted=seen.doubted,
        hidden=seen.hidden,
    )


def _ask(host: Reader, where: Environment, commands: Mapping[str, str], privileged: bool) -> dict[str, Output]:
    """Every question that needs a process, all asked side by side."""
    if not where.live:
        return {}
    questions: dict[str, tuple[str, ...]] = {}
    if "auditctl" in commands and privileged:
        questions["status"] = ("auditctl", "-s")
        questions["rules"] = ("auditctl", "-l")
        questions["version"] = ("auditctl", "-v")
    if host.stat("/run/systemd/system"):
        units = ("auditd.service", f"{vendor.SERVICE}.service", services.LOADER, EARLY)
        questions["show"] = ("systemctl", "show", f"--property={services.UNIT_KEYS}", *units)
        questions["is-system-running"] = ("systemctl", "is-system-running")
    return dict(zip(questions, host.query(*questions.values()))) if questions else {}


def _staged(step: Mapping[str, Any], boot: str) -> bool:
    """Whether a journal entry put packages into the system of the next boot, in this one."""
    return step.get("kind") == "install" and bool(boot) and step.get("boot") == boot


def _unseen(
    host: Reader, where: Environment, privileged: bool, audit: AuditFacts, seen: AgentFacts, state: SELinuxFacts
) -> dict[str, tuple[str, ...]]:
    """What could not be looked at, and the requirements that are judged by it."""
    found: dict[str, tuple[str, ...]] = {}
    if where.live and not privileged:
        found["the kernel's audit state (auditctl needs root)"] = ("rules", "auditd")
    if seen.installed and _hides(host, vendor.CONF, vendor.MANIFESTS, seen.log):
        found["the agent's configuration and log"] = ("agent",)
    # a folder that cannot be entered looks empty
    if _hides(host, auditd_conf.PATH, AUDIT_RULES, f"{rules_d.FOLDER}/-", *(file.path for file in audit.rules)):
        found["audit rules and auditd.conf where only root may read them"] = ("dispatcher", "rules", "auditd")
    if not privileged and state.policy_present and state.in_store is None and not state.effective:
        found["the store of SELinux modules"] = ("policy",)
    return found


def _hides(host: Reader, *paths: str) -> bool:
    """Whether one of the files cannot be read, or whether it is there cannot be known."""
    return any((file := host.read(path, 0)) and file.problem.startswith(UNREAD) for path in paths)


def _types(seen: AgentFacts) -> dict[str, str]:
    """The SELinux types that the plugin and of the file that registers it have in the policies known."""
    plugins = "etc_t" if seen.registration.startswith(PLUGIN_DIRS[2]) else "auditd_etc_t"
    return {vendor.PLUGIN_PROGRAM: "bin_t", **({seen.registration: plugins} if seen.registration else {})}


def _unlabelled(host: Reader, commands: Mapping[str, str]) -> tuple[str, ...]:
    """Files of a tree that auditd would not start with, if they had another label at the first boot."""
    expected = {commands.get("auditd", ""): "auditd_exec_t", auditd_conf.PATH: "auditd_etc_t"}
    expected.update(dict.fromkeys(host.glob("/etc/selinux/*/policy/policy.[0-9]*"), ""))  # any label will do
    found = {path: seen.context for path in expected if path and (seen := host.stat(path))}
    return tuple(path for path, label in found.items() if not label or expected[path] not in label)
