"""The way of an event, from the kernel to the agent's log, and how far it is open."""

from __future__ import annotations

from collections.abc import Iterable

from .agent import vendor
from .audit import auditd_conf
from .model import Facts, Hop, Settings

OK, STOP, DOWN, UNKNOWN = "ok", "stop", "down", "?"
KERNEL, AUDITD, DISPATCHER, PLUGIN, EDR, LOG = "kernel", "auditd", "dispatcher", vendor.PLUGIN, vendor.EDR, vendor.LOG


def of(facts: Facts, settings: Settings) -> tuple[Hop, ...]:
    """The stations as they look now, without an event; none where this tree is not running."""
    if not facts.environment.live:
        return ()
    between = (_auditd(facts), _dispatcher(facts), _plugin(facts)) if settings.mode_for(facts) == "dispatcher" else ()
    return behind((_kernel(facts), *between, _edr(facts), _log(facts)))


def behind(hops: Iterable[Hop]) -> tuple[Hop, ...]:
    """The hops with one stop, the first; what is broken behind it is down."""
    found: list[Hop] = []
    for hop in hops:
        again = hop.state == STOP and any(earlier.state == STOP for earlier in found)
        found.append(hop._replace(state=DOWN) if again else hop)
    return tuple(found)


def _kernel(facts: Facts) -> Hop:
    status = facts.audit.status
    if status is None:
        return Hop(KERNEL, UNKNOWN, "its audit state could not be asked")
    if status.get("enabled") == 0:
        return Hop(KERNEL, STOP, "auditing is off (enabled 0)")
    if "-a never,task" in (facts.audit.live_rules or ()):
        return Hop(KERNEL, STOP, "the rule never,task silences new processes")
    if status.get("enabled") == 2 and facts.agent.edr is None:
        return Hop(KERNEL, STOP, "rules are frozen (enabled 2): the agent cannot add its own")
    return Hop(KERNEL, OK, f"enabled {status.get('enabled')}")


def _auditd(facts: Facts) -> Hop:
    daemon, status = facts.audit.daemon, facts.audit.status
    if daemon is None:
        return Hop(AUDITD, STOP, "not running")
    if status is None:
        return Hop(AUDITD, UNKNOWN, f"pid {daemon.pid}; whether the kernel sends to it could not be asked")
    if status.get("pid") != daemon.pid:
        return Hop(AUDITD, STOP, f"pid {daemon.pid}; the kernel does not send to it")
    return Hop(AUDITD, OK, f"pid {daemon.pid}; the kernel sends to it")


def _dispatcher(facts: Facts) -> Hop:
    audit = facts.audit
    where = f"plugins in {audit.plugin_dir}"
    if audit.daemon is None:
        return Hop(DISPATCHER, STOP, "auditd is not running")
    if not audit.plugin_dir_present:
        return Hop(DISPATCHER, STOP, f"{audit.plugin_dir} is missing")
    if audit.generation != 2 or facts.agent.plugin:
        return Hop(DISPATCHER, OK, where)
    named = auditd_conf.dispatcher_of(audit.conf.text) if audit.conf else ""
    return Hop(DISPATCHER, UNKNOWN, where) if named else Hop(DISPATCHER, STOP, "auditd.conf names none")


def _plugin(facts: Facts) -> Hop:
    seen = facts.agent
    if seen.plugin:
        return Hop(PLUGIN, OK, f"pid {seen.plugin.pid}")
    if not seen.installed:
        return Hop(PLUGIN, STOP, "no agent is installed")
    why = seen.registration_problem or (f"registered in {seen.registration}" if seen.registration else "not registered")
    return Hop(PLUGIN, STOP, f"not running; {why}")


def _edr(facts: Facts) -> Hop:
    seen = facts.agent
    if not seen.installed:
        return Hop(EDR, STOP, "no agent is installed")
    if seen.edr:
        return Hop(EDR, OK, f"pid {seen.edr.pid}")
    told = f"; {seen.script_log}: {seen.verdict.line}" if seen.verdict else ""
    return Hop(EDR, STOP, f"not running{told}")


def _log(facts: Facts) -> Hop:
    seen = facts.agent
    if seen.log_size < 0:
        return Hop(LOG, UNKNOWN, "not there, or not to be seen")
    age = f"last written {max(0.0, facts.now - seen.log_written):.0f} s ago"
    return Hop(LOG, OK if seen.edr and seen.log_written >= seen.edr.started else UNKNOWN, age)
