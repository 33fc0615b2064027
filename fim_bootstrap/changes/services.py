"""Services are enabled, started, restarted and stopped. Success is what is seen afterwards, never an exit status."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..agent import look as agent
from ..agent import vendor
from ..audit import auditd_conf
from ..errors import BootstrapError
from ..facts.processes import gather, running, still
from ..facts.services import starts_at_boot, unit_of
from ..host.reader import Host
from ..model import AgentFacts
from . import journal
from .journal import Record, moment

SERVICE_TIMEOUT = 180.0  # what systemd gives a stop and a start unless a unit says otherwise
SETTLE = 30.0  # seconds for a daemon to appear, or to go
CHILDREN = 3.0  # seconds for what it starts


class RestartUnit(NamedTuple):
    """Have a unit of ours start anew, if it is active: a path unit watches what it may watch at its start."""

    unit: str

    def describe(self) -> str:
        """The plan line."""
        return f"restart {self.unit}"

    def diff(self) -> str:
        """No file."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """There is nothing to undo."""
        host.run("systemctl", "try-restart", self.unit)


class EnableService(NamedTuple):
    """Have a service started at each boot; `ours` says that it is a unit of our own, `now` has it started at once."""

    name: str
    ours: bool = False
    now: bool = False

    def describe(self) -> str:
        """The plan line."""
        return f"enable {self.name} at boot"

    def diff(self) -> str:
        """No file of ours."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """systemctl enable works in a tree that is not running, too."""
        record("enable", service=self.name, **({"ours": True} if self.ours else {}))
        enable(host, self.name, True, now=self.now)


def enable(host: Host, name: str, wanted: bool, now: bool = False) -> None:
    """Have a service or unit started at boot, or not, by systemd or by the init scripts' own tool; `now`: at once."""
    word = "enable" if wanted else "disable"
    if host.which("systemctl"):
        host.run("systemctl", word, *(["--now"] if now else []), unit_of(name))
    elif host.which("chkconfig"):
        host.run("chkconfig", name, "on" if wanted else "off")
    else:
        host.run("update-rc.d", name, word)


class RestartService(NamedTuple):
    """Start a service, or restart one that runs, and wait until a new process is there.

    Upstream's auditd.service refuses a manual stop (RefuseManualStop=yes), so that the audit log names who
    stopped it: there the daemon is sent SIGTERM and started again once it is gone.
    """

    name: str
    process: str
    pid: int = 0
    refuses_stop: bool = False
    children: tuple[str, ...] = ()
    patience: float = SERVICE_TIMEOUT  # seconds that its stop and its start may take together
    may_wake: bool = False  # an audit event may be caused; not where an audit failure would panic the kernel
    answers: int = 0  # the exit status with which the agent gave up, where this is the answer to it

    def describe(self) -> str:
        """The plan line."""
        return f"{'restart' if self.pid else 'start'} {self.name}"

    def diff(self) -> str:
        """No file."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Success is a new process that is still there, and its children; not an exit status."""
        conf = host.read(auditd_conf.PATH)
        record(
            "restart" if self.pid else "start", service=self.name, conf=journal.digest(conf.text) if conf else "",
            answers=self.answers, **moment(host),
        )  # fmt: skip
        restart(host, self.name, self.pid, self.refuses_stop, self.patience)
        if not _until(lambda: running(host, self.process) not in (0, self.pid)):
            raise BootstrapError(f"{self.name} did not come up", f"systemctl status {self.name}; the log tells more")
        if not self._children_run(host) and self.may_wake:
            # the dispatcher looks after a plugin that ended only when the next event comes
            host.run("auditctl", "-m", "fim-bootstrap: wake the dispatcher", ok=range(256))
            self._children_run(host)

    def _children_run(self, host: Host) -> bool:
        """Whether what the service starts is there, after some patience."""
        return _until(lambda: all(running(host, child) for child in self.children), CHILDREN)


def restart(host: Host, name: str, pid: int, refuses_stop: bool, patience: float = SERVICE_TIMEOUT) -> None:
    """Restart or start a service by the means that this system allows."""
    if host.stat("/run/systemd/system") is None:
        host.run("service", name, "restart", timeout=patience, ok=range(256))
        return
    # a daemon that crashed often is held back by systemd until its counter is cleared
    host.run("systemctl", "reset-failed", f"{name}.service", ok=range(256))
    if pid and refuses_stop:
        _terminate(host, name, pid)
        host.run("systemctl", "start", f"{name}.service", timeout=patience)
    else:
        host.run("systemctl", "restart", f"{name}.service", timeout=patience)


def _terminate(host: Host, name: str, pid: int) -> None:
    """End a daemon, and wait until it has; the pid may be another's by now, which gets no signal."""
    if still(host, name, pid):
        host.run("kill", "-TERM", str(pid), ok=(0, 1))
    _until(lambda: not still(host, name, pid))


class StopService(NamedTuple):
    """Stop and disable a service."""

    name: str
    pid: int
    refuses_stop: bool

    def describe(self) -> str:
        """The plan line."""
        return f"stop and disable {self.name}"

    def diff(self) -> str:
        """No file of ours."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Disable first, so that nothing between here and the stop starts it again."""
        record("stop", service=self.name)
        enable(host, self.name, False)
        if self.pid and self.refuses_stop:
            _terminate(host, self.name, self.pid)
        elif self.pid and host.stat("/run/systemd/system"):
            host.run("systemctl", "stop", f"{self.name}.service", timeout=SERVICE_TIMEOUT)
        elif self.pid:
            host.run("service", self.name, "stop", timeout=SERVICE_TIMEOUT, ok=range(256))
        if self.pid and not _until(lambda: not still(host, self.name, self.pid)):
            raise BootstrapError(f"{self.name} (pid {self.pid}) did not stop", f"systemctl status {self.name}")


def restart_running(host: Host, stopped: Collection[str]) -> None:
    """Start what we had stopped; have auditd and the agent, where they run, start anew with the files of before.

    An auditd that runs is left running where it would refuse them. An agent that restarts auditd itself is restarted
    alone; only if nothing came of it auditd is, too.
    """
    from ..audit import preflight  # only for revert

    answer = preflight.ask(host) if running(host, "auditd") else None
    if answer and answer.accepted is False:
        said = f"auditd refuses {auditd_conf.PATH} as it is now, so it was not restarted: {answer.said}"
        raise BootstrapError(said, f"mend {auditd_conf.PATH}, then run revert again")
    seen = gather(host).believed
    auditd, edr = seen.get("auditd"), seen.get(vendor.EDR)
    known = AgentFacts(edr=edr, manifests=len(host.glob(vendor.MANIFESTS)))
    if auditd and vendor.SERVICE in seen and agent.restarts_auditd(host, known):
        _again(host, vendor.SERVICE, seen[vendor.SERVICE].pid)
        if not _until(lambda: running(host, "auditd") not in (0, auditd.pid), SERVICE_TIMEOUT):
            _again(host, "auditd", auditd.pid)
        return
    for name in ("auditd", vendor.SERVICE):
        pid = running(host, name)
        if pid or name in stopped:
            _again(host, name, pid)


def _again(host: Host, name: str, pid: int) -> None:
    """Restart or start a service, and see it come."""
    restart(host, name, pid, refuses_stop=name == "auditd")
    if not _until(lambda: running(host, name) not in (0, pid)):
        raise BootstrapError(f"{name} did not come up again", f"systemctl status {name}; the log tells more")


def _until(true: Callable[[], bool], patience: float = SETTLE) -> bool:
    deadline = time.monotonic() + patience
    while not (held := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return held


def undo_stop(host: Host, entry: Mapping[str, Any]) -> str:
    """Have the service start at boot again; `take_back` starts it where this system runs."""
    enable(host, entry["service"], True)
    return ""


def undo_enable(host: Host, entry: Mapping[str, Any]) -> str:
    """Leave the service as it was at boot: not started; a unit of our own ends with what it started."""
    if starts_at_boot(host, entry["service"]):
        enable(host, entry["service"], False)
    if entry.get("ours"):  # a check that waits for this run, or that failed, would stay without its unit
        units = {unit_of(entry["service"]), unit_of(entry["service"].partition(".")[0])}
        for word in ("stop", "reset-failed"):
            host.run("systemctl", word, *sorted(units), ok=range(256))
    if starts_at_boot(host, entry["service"]):
        raise BootstrapError(f"{entry['service']} is still enabled at boot", f"systemctl disable {entry['service']}")
    return ""


UNDO = {"stop": undo_stop, "enable": undo_enable}
NO_UNDO = ("restart", "start")  # what runs follows from the files that are brought back
