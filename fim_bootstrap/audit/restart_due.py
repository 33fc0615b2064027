"""Whether auditd has to be (re)started: a fact, so that a run which was killed before its restart heals at the next."""

from __future__ import annotations

from ..agent.state import restart_refused
from ..model import Facts


def why(facts: Facts) -> str:
    """Why auditd has to be (re)started, or ''."""
    audit = facts.audit
    if audit.daemon is None:
        return "auditd is not running"
    if facts.privileged and audit.status and audit.status.get("pid") != audit.daemon.pid:
        return f"auditd runs as pid {audit.daemon.pid}, but the kernel does not send it events"
    # the clock may have been set since: the start is known by the present clock and by the one of then
    if audit.conf_since > min(audit.daemon.started, audit.pid_file):
        return "auditd started before auditd.conf last changed"
    if restart_refused(facts):
        return "auditd is older than the agent's plugin file: the restart that the agent asked for did not happen"
    if plugin_expected(facts) and facts.agent.plugin is None:
        return "the dispatcher has given up on the agent's plugin"
    return ""


def plugin_expected(facts: Facts) -> bool:
    """Whether the dispatcher has to start the agent's plugin."""
    agent = facts.agent
    return bool(agent.edr and agent.registration and not agent.registration_problem)
