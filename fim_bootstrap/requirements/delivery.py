"""An audit event really arrives at the agent.

Vendor, prerequisite 6: "If auditd is stopped externally, the FIM module does not receive any events". Only
an event that is caused and seen to arrive shows that the whole way is open; --probe does that. There are three answers:
it arrived, it stopped at a hop that is named, or neither can be told.
"""

from __future__ import annotations

from ..model import Facts, Finding, Profile, Settings, Status

ID = "delivery"
TITLE = "an audit event arrives at the agent"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Judge what the probe saw; without a probe there is nothing to judge."""
    seen = facts.delivery
    if seen is None:
        why = "not asked for; --probe causes one harmless event and waits for it"
        return Finding(ID, TITLE, Status.SKIPPED, why)
    if seen.refused:
        return Finding(ID, TITLE, Status.SKIPPED, seen.refused)
    evidence = tuple(f"{hop.state:4} {hop.hop:11} {hop.evidence}" for hop in seen.chain)
    if seen.arrived:
        return Finding(ID, TITLE, Status.OK, "a test event arrived", evidence)
    if seen.stopped:
        return Finding(
            ID, TITLE, Status.FAILED, f"a test event was caused, and stopped at {seen.stopped}", evidence,
            remedy="look for denials (ausearch -m avc) and at the agent's log",
        )  # fmt: skip
    last = next((hop.hop for hop in reversed(seen.chain) if hop.state == "ok"), "")
    return Finding(
        ID, TITLE, Status.WAITING, f"not proven: a test event reached the {last}, and how far it came cannot be told",
        evidence, remedy="change a watched file, then look for that event in the vendor's console",
    )  # fmt: skip
