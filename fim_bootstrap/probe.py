"""Cause one audit event, and follow it from hop to hop.

The event is a user message with a random token (auditctl -m): it takes the way of every event, through the kernel,
auditd, the dispatcher and the plugin, and changes nothing. Touching a file that is watched would show more, but
raise an alert in the vendor's console. The token in a log of the agent is an arrival. That it is not there proves
nothing, since a closed agent need not log what it gets; what proves a stop is named with its hop. The bytes that a
process has read are told, but never judged by: recv(2) does not count among them (proc(5), io).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple, Optional

from . import chain
from .agent import vendor
from .audit import auditctl, auditd_conf
from .chain import AUDITD, DISPATCHER, EDR, KERNEL, LOG, OK, PLUGIN, STOP, UNKNOWN
from .host.reader import Host
from .model import Delivery, Facts, Hop, Process, Settings

PATIENCE = 10.0  # seconds
USER = 1005  # the type of the message that auditctl -m sends (linux/audit.h)
LISTENING, CONNECTED = "01", "03"  # column St of /proc/net/unix


class _Mark(NamedTuple):
    """Where the token was seen, and what else the audit log says since."""

    agent_log: str = ""
    audit_log: Optional[bool] = None  # None: auditd writes no log that can be read
    denied: str = ""  # an access of the plugin that SELinux denied


def probe(host: Host, facts: Facts, settings: Settings) -> Optional[Delivery]:
    """What became of one event; refused where causing it could do harm or make no sense."""
    if refused := _refusal(facts):
        return Delivery(refused=refused)
    token = f"fim-bootstrap-{secrets.token_hex(8)}"
    before = _taken(host, facts)
    sent = host.run("auditctl", "-m", token, ok=range(256))
    if sent.status:
        return Delivery((Hop(KERNEL, STOP, f"auditctl -m {token}: {sent.why()}"),))
    deadline = time.monotonic() + PATIENCE
    while not (mark := _look(host, facts, token)).agent_log and time.monotonic() < deadline:
        time.sleep(0.2)
    taken = {name: count - before.get(name, 0) for name, count in _taken(host, facts).items()}
    return Delivery(chain.behind(_observed(hop, host, facts, mark, token, taken) for hop in chain.of(facts, settings)))


def _refusal(facts: Facts) -> str:
    if not facts.environment.live or not facts.privileged or facts.audit.status is None:
        return "the kernel's audit state cannot be asked here, so no event is caused"
    if not facts.audit.may_cause_event:
        return "no event is caused while failure is 2: an audit failure would panic the kernel"
    if facts.agent.edr is None:
        return "no agent is running that an event could arrive at"
    return ""


def _look(host: Host, facts: Facts, token: str) -> _Mark:
    mark = token.encode()
    logs = (facts.agent.log, facts.agent.events)
    arrived = next((path for path in logs if mark in host.tail(path, vendor.TAIL)), "")
    path = written_to(facts)
    tails = [host.tail(name, vendor.TAIL) for name in (f"{path}.1", path) if path and host.stat(name)]
    found, since = b"".join(tails).partition(mark)[1:]
    lines = (line for line in since.splitlines() if b"avc:  denied" in line)
    denied = next((line for line in lines if f'comm="{vendor.PLUGIN}"'.encode() in line), b"")
    return _Mark(arrived, bool(found) if tails else None, denied.decode(errors="replace"))


def written_to(facts: Facts) -> str:
    """The file that auditd writes its records to, or '' where it writes none (auditd.conf(5))."""
    return auditd_conf.log_of(facts.audit.conf.text if facts.audit.conf else "")


def _observed(hop: Hop, host: Host, facts: Facts, mark: _Mark, token: str, taken: dict[str, int]) -> Hop:
    """What the event shows of one hop."""
    name = hop.hop
    if name == KERNEL:
        return Hop(name, OK, f"it took the mark {token}")
    if name == LOG:
        said = f"the mark is in {mark.agent_log}" if mark.agent_log else "the mark is not there; agents need not log it"
        return Hop(name, OK if mark.agent_log else UNKNOWN, said)
    if mark.agent_log:
        return Hop(name, OK, "passed")
    if name == AUDITD:
        return _recorded(facts, mark)
    if hop.state == STOP or name == DISPATCHER:
        return hop if hop.state == STOP else hop._replace(state=UNKNOWN)
    if name == PLUGIN and mark.denied:
        return Hop(name, STOP, mark.denied)
    if name == EDR and PLUGIN in taken and _unconnected(host):
        return Hop(name, STOP, f"not connected to the plugin's socket {vendor.SOCKET}")
    count = f"read {taken[name]} bytes" if taken.get(name) else "no byte was counted, and recv(2) is not"
    return Hop(name, UNKNOWN, f"{hop.evidence}; {count}")


def _recorded(facts: Facts, mark: _Mark) -> Hop:
    if mark.audit_log:
        return Hop(AUDITD, OK, f"the mark is in {written_to(facts)}")
    if mark.audit_log is None:
        return Hop(AUDITD, UNKNOWN, "it writes no log that can be read")
    if hiding := next((rule for rule in facts.audit.live_rules or () if may_hide(rule)), ""):
        return Hop(AUDITD, UNKNOWN, f"the rule {hiding} may hide the mark, and no other event")
    return Hop(AUDITD, STOP, f"the mark is not in {written_to(facts)}")


def may_hide(rule: str) -> bool:
    """Whether a rule drops user messages such as the mark: lists user and exclude (auditctl(8))."""
    options = auditctl.options(rule)
    words = {word for name, value in options if name in "aA" for word in value.split(",")}
    if words == {"never", "user"}:
        return True
    return "exclude" in words and all(_may_fit(value) for name, value in options if name == "F")


def _may_fit(field: str) -> bool:
    """Whether a field of an exclude rule may be true of the mark; a type that only has a name is no USER."""
    found = re.match(r"msgtype(!=|>=|<=|=|>|<)(\w+)$", field)
    if not found:
        return True
    how, value = found.groups()
    kind = USER if value == "USER" else int(value) if value.isdecimal() else None
    if kind is None:
        return how != "="
    return {"=": kind == USER, "!=": kind != USER, ">": kind < USER, "<": kind > USER, ">=": kind <= USER,
            "<=": kind >= USER}[how]  # fmt: skip


def _unconnected(host: Host) -> bool:
    """Whether the plugin listens, and nobody is connected to it; not where its socket is another one."""
    table = (host.read_bytes("/proc/net/unix") or b"").decode(errors="replace")
    states = [fields[5] for fields in map(str.split, table.splitlines()) if fields[7:8] == [vendor.SOCKET]]
    return LISTENING in states and CONNECTED not in states


def _taken(host: Host, facts: Facts) -> dict[str, int]:
    """Bytes that the plugin and the agent have read so far (rchar of proc(5), io)."""
    return dict(_read_by(host, process) for process in (facts.agent.plugin, facts.agent.edr) if process)


def _read_by(host: Host, process: Process) -> tuple[str, int]:
    file = host.read(f"/proc/{process.pid}/io")
    counts: Iterator[int] = (int(line.split()[1]) for line in (file.text if file else "").splitlines()
                             if line.startswith("rchar:"))  # fmt: skip
    return process.name, next(counts, 0)
