"""An audit event really arrives at the agent.

Vendor, prerequisite 6: "If auditd is stopped externally, the FIM module does not receive any events". Only
an event that is caused and seen to arrive shows that the whole way is open; --probe does that.
"""

from __future__ import annotations

from ..model import Facts, Finding, Profile, Settings, Status

ID = "delivery"
TITLE = "an audit event arrives at the agent"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge what the probe saw; without a probe there is nothing to judge."""
    if facts.delivery is None:
        why = "not asked for; --probe causes one harmless event and waits for it"
        return Finding(ID, TITLE, Status.SKIPPED, why)
    if facts.delivery.refused:
        return Finding(ID, TITLE, Status.SKIPPED, facts.delivery.refused)
    if facts.delivery.arrived:
        return Finding(ID, TITLE, Status.OK, "a test event arrived", facts.delivery.evidence)
    return Finding(
        ID, TITLE, Status.FAILED, "a test event was caused, but did not arrive at the agent", facts.delivery.evidence,
        remedy="look for denials (ausearch -m avc -c edr-plugin) and at the agent's log",
    )  # fmt: skip
