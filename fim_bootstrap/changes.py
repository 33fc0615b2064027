"""Everything that is ever done to a host.

A change says what it would do (`describe`, `diff`), writes down what it is about to replace, and does it;
revert.py takes it back. Success of a service is what is seen afterwards, never an exit status.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import agent, auditd_conf, journal, managers, preflight, selinux
from .errors import Blocked, BootstrapError, Busy
from .host import RUN, STATE, Host, boot_id, unit_of
from .model import AgentFacts
from .processes import gather, running, still
from .resources import program

SEMODULE_TIMEOUT = 900.0  # seconds; a policy rebuild took 57 s in an emulated guest with 2 cores
SERVICE_TIMEOUT = 180.0  # what systemd gives a stop and a start unless a unit says otherwise
SETTLE = 30.0  # seconds for a daemon to appear, or to go
CHILDREN = 3.0  # seconds for what it starts
POLICY_RC = "/usr/sbin/policy-rc.d"
POLICY_RC_TEXT = "#!/bin/sh\n# fim-bootstrap: nothing is started in a tree\nexit 101\n"
Record = Callable[..., None]


class EditFile(NamedTuple):
    """Replace a file's text; `inert` says that the daemon which reads it does not act on the difference.

    `unlocks` says that audit rules go which lock the kernel, so that a reboot becomes due where they are in force.
    """

    path: str
    before: str
    after: str
    why: str
    mtime: float = 0.0
    inert: bool = False
    unlocks: bool = False

    def describe(self) -> str:
        """The plan line."""
        return f"edit {self.path}: {self.why}"

    def diff(self) -> str:
        """What would change in the file."""
        return difference(self.before, self.after, self.path)

    def apply(self, host: Host, record: Record) -> None:
        """Keep both contents, then replace the file."""
        record(
            "edit", path=self.path, before=journal.keep(host, self.before), after=journal.keep(host, self.after),
            inert=self.inert, mtime=self.mtime, unlocks=self.unlocks, **moment(host),
        )  # fmt: skip
        host.replace(self.path, self.before, self.after)


def difference(before: str, after: str, path: str) -> str:
    """A unified diff of two texts of a file."""
    import difflib  # as long as any import here: not for a run that finds nothing to change

    from .merge import comparable

    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if not comparable(old, new):
        return f"--- {path}\n+++ {path}\ntoo many differences to show\n"
    lines = difflib.unified_diff(old, new, path, path, n=1)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


class EditAuditdConf(EditFile):
    """Replace auditd.conf, after the real daemon has read the new text where it can be asked."""

    def apply(self, host: Host, record: Record) -> None:
        """Ask auditd first; a text that it refuses is never put in place.

        What it says of the present text, too (the log's folder is missing, in an image), is not the edit's doing.
        """
        answer = preflight.ask(host, self.after) if host.root == "/" else None
        if answer and answer.accepted is False and answer.said != preflight.ask(host).said:
            raise BootstrapError(f"{self.path}: auditd would refuse the new text: {answer.said}; nothing was written")
        super().apply(host, record)


class InstallPackages(NamedTuple):
    """Install what provides the missing commands, in one transaction."""

    order: managers.Order
    boot: str  # the present boot; kept where the packages are there from the next one on

    def describe(self) -> str:
        """The plan line."""
        names = sorted({*self.order.profile.along, *(" or ".join(names) for names in self.order.wanted.values())})
        return f"install {', '.join(names)} (for {', '.join(self.order.wanted)})"

    def diff(self) -> str:
        """No file of ours."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Write down what is chosen, and install it.

        What goes into the system of the next boot is written down afterwards: a later run believes that entry,
        since it cannot look there.
        """
        manager, boot = self.order.manager, self.boot

        def note(names: Sequence[str]) -> None:
            record("install", manager=manager.name, packages=list(names), boot=boot if manager.staged else "")

        with _no_services(host):
            names = managers.install(host, self.order, (lambda _: None) if manager.staged else note)
        if manager.staged:
            note(names)


@contextlib.contextmanager
def _no_services(host: Host) -> Iterator[None]:
    """Keep a tree's packages from starting services on the machine that builds it (policy-rc.d, Debian)."""
    there = host.read(POLICY_RC)
    if host.root == "/" or not host.which("dpkg") or (there and there.text != POLICY_RC_TEXT):
        yield
        return
    host.create(POLICY_RC, POLICY_RC_TEXT.encode(), 0o755)
    try:
        yield
    finally:
        host.remove(POLICY_RC)


def tidy(host: Host, steps: Sequence[Mapping[str, Any]]) -> None:
    """Remove what a run that was killed left behind; with the lock in hand.

    Every file is journalled before it is written, so the journal knows the folders.
    """
    paths = [step["path"] for step in steps if isinstance(step.get("path"), str)]
    folders = {os.path.dirname(path) for path in (*paths, POLICY_RC)}
    host.tidy(sorted({*folders, STATE, f"{STATE}/replaced", RUN}))
    there = host.read(POLICY_RC)
    if there and there.text == POLICY_RC_TEXT:
        host.remove(POLICY_RC)


class DeleteRule(NamedTuple):
    """Take one rule out of the kernel; its source files are edited apart."""

    rule: str = "never,task"

    def describe(self) -> str:
        """The plan line."""
        return f"delete the rule -a {self.rule} from the kernel"

    def diff(self) -> str:
        """No file."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """auditctl -d; the second look at auditctl -l decides."""
        record("rule", rule=self.rule)
        host.run("auditctl", "-d", self.rule, ok=range(256))


class LoadPolicy(NamedTuple):
    """Build the policy module with the host's own tools and load it."""

    source: str
    marker: str
    live: bool
    priorities: bool = True  # semodule has priorities (-X) since SELinux userspace 2.4

    def describe(self) -> str:
        """The plan line."""
        return f"build and load the SELinux module {selinux.MODULE} ({self.marker})"

    def diff(self) -> str:
        """No file of the host is edited."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """checkmodule, semodule_package, semodule; -n where no kernel of this tree is running."""
        # semodule runs in a domain that may map files of the store's type, but not of /var/lib in general
        store = next((found for root in selinux.STORES if (found := host.stat(root))), None)
        with host.scratch(store.context if store else "") as folder:
            source, module, package = (f"{folder}/{selinux.MODULE}.{end}" for end in ("te", "mod", "pp"))
            host.create(source, self.source.encode())
            host.run("checkmodule", "-M", "-m", "-o", module, source)
            host.run("semodule_package", "-o", package, "-m", module)
            priority = ["-X", selinux.PRIORITY] if self.priorities else []
            record("policy", module=selinux.MODULE, marker=self.marker, priority=priority, **moment(host))
            flags = () if self.live else ("-n",)
            semodule(host, *flags, *priority, "-i", package)


def moment(host: Host) -> dict[str, Any]:
    """Now, in a way that no change of the clock spoils."""
    return {"boot": boot_id(host), "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)}


def semodule(host: Host, *words: str) -> None:
    """Run semodule. It gives up after 5 s where another one is at work: a package's, or one that a killed run left."""
    deadline = time.monotonic() + SEMODULE_TIMEOUT
    while True:
        try:
            host.run("semodule", *words, timeout=SEMODULE_TIMEOUT)
            return
        except BootstrapError as error:
            if "transaction lock" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise Busy("another semodule holds the lock of the module store", "try again when it is done") from None
        time.sleep(1)


class ReloadPolicy(NamedTuple):
    """Build the policy that the store already holds, and load it into the kernel if it runs this tree."""

    live: bool

    def describe(self) -> str:
        """The plan line."""
        return "build the stored SELinux policy anew" + (" and load it" if self.live else "")

    def diff(self) -> str:
        """No file."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Rebuild and load. Nothing of it is undone; an agent whose own semodule failed meanwhile is known by it."""
        record("reload", **moment(host))
        semodule(host, *(() if self.live else ("-n",)), "-B")


class RestoreLabels(NamedTuple):
    """Give paths the label that the policy has for them."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        """The plan line."""
        return f"restore the SELinux label of {', '.join(self.paths)}"

    def diff(self) -> str:
        """No content changes."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """restorecon -R; the labels are derived from the policy, so nothing is recorded."""
        host.run("restorecon", "-RF", *self.paths)


class LabelTree(NamedTuple):
    """Give every file of a tree that is not running its SELinux label."""

    file_contexts: str

    def describe(self) -> str:
        """The plan line."""
        return "label the whole tree (setfiles)"

    def diff(self) -> str:
        """No content changes."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """setfiles -F -m: works on a kernel without SELinux; the labels are derived, so nothing is recorded."""
        if host.run(*LABELS_POSSIBLE, ok=(0, 1)).status:
            raise Blocked(NO_LABELS, without_proc(host.root))
        host.run("setfiles", "-F", "-m", self.file_contexts, "/", timeout=SEMODULE_TIMEOUT)


LABELS_POSSIBLE = ("test", "-d", "/proc/self/fd")  # by which libselinux sets a label
NO_LABELS = "no label can be set in a tree without /proc"


def without_proc(root: str) -> str:
    """What to type in order that labels can be set."""
    return f"mkdir -p {root}/proc, mount -t proc proc {root}/proc, then run again"


class CreateFiles(NamedTuple):
    """Put files of our own in place, and enable the units that are among them."""

    texts: Mapping[str, str]
    units: Sequence[str] = ()
    program: str = ""
    start: bool = False  # the units are started, too

    def describe(self) -> str:
        """The plan line."""
        created = [*self.texts, *([self.program] if self.program else [])]
        parts = [f"create {', '.join(created)}"] if created else []
        parts += [f"enable {', '.join(self.units)}"] if self.units else []
        return "; ".join(parts)

    def diff(self) -> str:
        """New files of our own."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Written down first, so that revert removes them."""
        if self.program and not (content := program()):
            raise BootstrapError(f"{self.program} has to be the one-file binary; this is a source run", "make binary")
        for path, text in self.texts.items():
            record("create", path=path, after=journal.digest(text))
            host.create(path, text.encode(), 0o644)
        if self.program:
            record("create", path=self.program, after="")
            host.create(self.program, content, 0o755)
        for unit in self.units:
            record("enable", service=unit, ours=True)
            enable(host, unit, True, now=self.start)


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
    """Have a service started at each boot."""

    name: str

    def describe(self) -> str:
        """The plan line."""
        return f"enable {self.name} at boot"

    def diff(self) -> str:
        """No file of ours."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """systemctl enable works in a tree that is not running, too."""
        record("enable", service=self.name)
        enable(host, self.name, True)


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
        conf = host.read(f"{auditd_conf.FOLDER}/auditd.conf")
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
            raise BootstrapError(f"{self.name} (pid {self.pid}) did not stop")


def restart_running(host: Host, stopped: Collection[str]) -> None:
    """Start what we had stopped; have auditd and the agent, where they run, start anew with the files of before.

    An auditd that runs is left running where it would refuse them. An agent that restarts auditd itself is restarted
    alone; only if nothing came of it auditd is, too.
    """
    answer = preflight.ask(host) if running(host, "auditd") else None
    if answer and answer.accepted is False:
        said = f"auditd refuses {preflight.CONF} as it is now, so it was not restarted: {answer.said}"
        raise BootstrapError(said, f"mend {preflight.CONF}, then run revert again")
    seen = gather(host).believed
    auditd, edr = seen.get("auditd"), seen.get(agent.EDR)
    vendor = AgentFacts(edr=edr, manifests=len(host.glob(agent.MANIFESTS)))
    if auditd and agent.SERVICE in seen and agent.restarts_auditd(host, vendor):
        _again(host, agent.SERVICE, seen[agent.SERVICE].pid)
        if not _until(lambda: running(host, "auditd") not in (0, auditd.pid), SERVICE_TIMEOUT):
            _again(host, "auditd", auditd.pid)
        return
    for name in ("auditd", agent.SERVICE):
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


# ---------------------------------------------------------------------- taking back
