"""Cause one audit event and see whether it arrives at the agent.

The event is a user message with a random token (auditctl -m): it takes the way of every event, through the
kernel, auditd, the dispatcher and the plugin, and changes nothing. Arrival is the token in the agent's log,
or, since a closed agent need not log what it gets, bytes that the plugin and the agent took in meanwhile.
"""

from __future__ import annotations

import secrets
import time
from typing import Optional

from .host import Host
from .model import Delivery, Facts

PATIENCE = 10.0  # seconds
LOG_TAIL = 1 << 20  # bytes of the agent's log in which the token is looked for


def probe(host: Host, facts: Facts) -> Optional[Delivery]:
    """What became of one event; refused where causing it could do harm or make no sense."""
    if refused := _refusal(facts):
        return Delivery(False, refused=refused)
    token = f"fim-bootstrap-{secrets.token_hex(8)}"
    before = _taken(host, facts)
    host.run("auditctl", "-m", token)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if token.encode() in host.tail(facts.agent.log, LOG_TAIL):
            return Delivery(True, (f"{token} is in {facts.agent.log}",))
        time.sleep(0.2)
    after = _taken(host, facts)
    moved = {name: after[name] - before.get(name, 0) for name in after}
    evidence = [f"{name} took in {count} bytes meanwhile" for name, count in moved.items()]
    evidence.append(f"{token} is not in {facts.agent.log}")
    arrived = len(moved) == 2 and all(count >= len(token) for count in moved.values())
    return Delivery(arrived, tuple(evidence))


def _refusal(facts: Facts) -> str:
    if not facts.environment.live or not facts.privileged or facts.audit.status is None:
        return "the kernel's audit state cannot be asked here, so no event is caused"
    if not facts.audit.may_cause_event:
        return "no event is caused while failure is 2: an audit failure would panic the kernel"
    if facts.agent.edr is None:
        return "no agent is running that an event could arrive at"
    return ""


def _taken(host: Host, facts: Facts) -> dict[str, int]:
    """Bytes that the plugin and the agent have read so far (rchar of proc(5), io)."""
    taken = {}
    for process in (facts.agent.plugin, facts.agent.edr):
        file = host.read(f"/proc/{process.pid}/io") if process else None
        counts = [line.split()[1] for line in (file.text if file else "").splitlines() if line.startswith("rchar:")]
        if process and counts:
            taken[process.name] = int(counts[0])
    return taken
