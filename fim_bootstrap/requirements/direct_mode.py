"""Where the agent does without the dispatcher, auditd has to be stopped. A part of the requirement `auditd`.

That ends the host's audit log, so it is done only where it was asked for.
"""

from __future__ import annotations

from ..agent.vendor import DISPATCHER_KEY, USE_DISPATCHER
from ..changes.services import StopService
from ..model import Facts, Finding, Settings, Status

ID = "auditd"
TITLE = "auditd runs with its present configuration"


def assess(facts: Facts, settings: Settings) -> Finding:
    """Judge auditd where direct mode was asked for, or is what the agent is set to."""
    audit = facts.audit
    if audit.daemon is None and not audit.service.enabled:
        return Finding(ID, TITLE, Status.OK, "direct mode: auditd is stopped and disabled")
    if settings.mode != "direct":
        return Finding(
            ID, TITLE, Status.BLOCKED, f"the agent is set to {DISPATCHER_KEY}=0, which needs auditd stopped",
            (f"{facts.agent.setting_line}: {DISPATCHER_KEY}=0",),
            remedy=f"A: keep auditd, as is usual; this restarts the agent\n  {USE_DISPATCHER}\n  fim-bootstrap apply\n"
            "B: stop auditd, which ends this host's audit log\n  fim-bootstrap apply --mode direct",
        )  # fmt: skip
    change = StopService("auditd", audit.daemon.pid if audit.daemon else 0, audit.service.refuses_stop)
    return Finding(ID, TITLE, Status.CHANGE, "direct mode: auditd has to be stopped and disabled", changes=(change,))
