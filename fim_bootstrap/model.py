"""The nouns: what is (Facts), what a distro calls things (Profile), what a requirement thinks (Finding).

Plain frozen data without I/O, so that every judgement can be tested on a value. Named tuples: making as many
dataclasses would take a fifth of the time of a run that has nothing to do.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Optional, Protocol

from .host import File, Host, Stat


class Status(enum.Enum):
    """What a requirement says of the host."""

    OK = "ok"
    CHANGE = "change"  # apply would do something about it
    REBOOT = "reboot"  # right on disk; the running kernel follows at the next boot
    WAITING = "waiting"  # cannot be known before an earlier change is made
    BLOCKED = "blocked"  # only a person may lift it
    SKIPPED = "skipped"  # does not apply to this host
    FAILED = "failed"  # a change was made, or tried, and the second look still finds it wrong


class Environment(enum.Enum):
    """Where we run: decided from files alone, before any tool is asked about the running system."""

    BOOTED = "booted"
    BOOTING = "booting"  # systemd has not finished starting, as in cloud-init
    CONTAINER = "container"
    CHROOT = "chroot"
    OFFLINE = "offline"  # --root: a tree that is not running

    @property
    def live(self) -> bool:
        """Whether the running kernel and services are this tree's own."""
        return self in (Environment.BOOTED, Environment.BOOTING)


class OsRelease(NamedTuple):
    """os-release(5), as the distribution wrote it; `version` is empty on rolling releases.

    `parent` is the codename of the Debian or Ubuntu release that a derivative is made from.
    """

    id: str
    version: str = ""
    like: tuple[str, ...] = ()
    name: str = ""
    platform: str = ""
    variant: str = ""
    codename: str = ""
    parent: str = ""


class Process(NamedTuple):
    """A running process; `started` is seconds since the epoch, to 10 ms (proc(5), starttime)."""

    pid: int
    parent: int
    name: str
    started: float
    uid: int = -1
    context: str = ""


class Service(NamedTuple):
    """A systemd unit or an init script."""

    name: str
    present: bool = False
    active: bool = False
    enabled: bool = False
    refuses_stop: bool = False  # RefuseManualStop=yes, upstream's auditd.service
    patience: float = 180.0  # seconds that its stop and its start may take together (TimeoutStopUSec, TimeoutStartUSec)


PANIC = 2  # auditctl -f


class AuditFacts(NamedTuple):
    """The audit userspace on disk, its daemon, and the kernel's audit state (auditctl -s, -l)."""

    generation: int = 0  # 2: audispd exists; 3: auditd dispatches itself; 0: no auditd
    conf: Optional[File] = None
    conf_since: float = 0.0  # when auditd.conf last changed in a way that auditd acts on
    pid_file: float = float("inf")  # when the daemon wrote its pid file, by the clock of that moment
    rules: tuple[File, ...] = ()
    audispd: Optional[Stat] = None
    plugin_dir: str = ""
    plugin_dir_present: bool = False
    plugins: tuple[File, ...] = ()
    service: Service = Service("auditd")
    daemon: Optional[Process] = None
    status: Optional[Mapping[str, int]] = None  # None: the kernel could not be asked
    owner: str = ""  # name of the process that owns the audit socket
    live_rules: Optional[tuple[str, ...]] = None

    @property
    def may_cause_event(self) -> bool:
        """Whether a test event does no harm: with failure 2 an audit failure would panic the kernel."""
        return self.status is not None and self.status.get("failure") != PANIC


class SELinuxFacts(NamedTuple):
    """SELinux as the kernel and the module store have it (selinuxfs, /etc/selinux)."""

    mode: str = "absent"  # absent, disabled, permissive, enforcing
    type: str = ""
    mls: bool = False
    policy_present: bool = False
    read_only: str = ""  # the read-only directory that would refuse a module
    load_locked: bool = False  # boolean secure_mode_policyload
    marker: str = ""  # the type name that the module rendered for this host declares
    source: str = ""  # that module's source
    in_store: Optional[bool] = None
    module_present: bool = False
    module_disabled: bool = False
    in_policy: Optional[bool] = None
    in_kernel: Optional[bool] = None
    denied: tuple[str, ...] = ()  # accesses that the kernel's policy does not allow the dispatcher
    effective: Optional[bool] = None
    domain_permissive: bool = False
    mislabelled: tuple[str, ...] = ()  # paths whose label is not what the path calls for
    file_contexts: str = ""  # what setfiles(8) labels a tree by
    denials: tuple[str, ...] = ()  # AVC records that name the plugin, since the daemon started


class Verdict(NamedTuple):
    """How the last run of the agent's own script ended: 0 is well, else the exit status with which it gave up."""

    code: int
    line: str
    at: float = 0.0  # seconds since the epoch


class AgentFacts(NamedTuple):
    """The FIM agent: files, effective settings that matter here, processes, and what its own script says."""

    installed: bool = False
    legacy: bool = False  # an agent older than 4.1
    dispatcher_setting: str = "unset"  # whether it uses the dispatcher: the last value, or unset
    setting_line: str = ""  # FILE:LINE of that value
    settings_repeated: bool = False
    service: Service = Service("")
    main: Optional[Process] = None
    edr: Optional[Process] = None
    plugin: Optional[Process] = None
    plugin_file: Optional[Stat] = None
    registration: str = ""  # the plugin file that names the agent's plugin
    registration_problem: str = ""
    registered_at: float = 0.0  # when that file was written (epoch)
    manifests: int = 0
    log: str = ""
    log_size: int = -1  # bytes; -1: there is no log
    log_written: float = 0.0  # epoch
    events: str = ""  # the other log that an event may arrive in
    script: Optional[Process] = None  # the start or the stop of FIM, while it is at work
    script_log: str = ""
    sign: str = ""  # what was last seen to move, as an agent that starts does
    sign_at: float = 0.0  # epoch
    verdict: Optional[Verdict] = None
    restarted_at: float = 0.0  # when this tool last started it in this boot (epoch), or 0
    collided: bool = False  # it gave up while an SELinux module of ours was being loaded
    identity: str = ""  # the file by which the vendor's console knows this host


class Hop(NamedTuple):
    """One station on the way of an event: ok, stop (it goes no further), down (behind a stop), ? (not decidable)."""

    hop: str
    state: str
    evidence: str = ""


class Delivery(NamedTuple):
    """What --probe saw: one audit event with a random token, and how far it came."""

    chain: tuple[Hop, ...] = ()
    refused: str = ""

    @property
    def arrived(self) -> bool:
        """Whether it stands in a log of the agent."""
        return bool(self.chain) and self.chain[-1].state == "ok"

    @property
    def stopped(self) -> str:
        """The station that it did not get to, or ''."""
        return next((hop.hop for hop in self.chain if hop.state == "stop"), "")


class Facts(NamedTuple):
    """Everything that is looked at before anything is judged."""

    environment: Environment
    root: str
    hostname: str
    today: str  # ISO date, for the marker on lines that are commented out
    privileged: bool
    os: OsRelease
    commands: Mapping[str, str] = {}  # command -> path, absent ones left out
    unfinished: frozenset[str] = frozenset()  # commands left out because their package is only half installed
    manager: str = ""  # the package manager of the profile that is here
    image_based: bool = False  # packages live in an image or a snapshot, and change at a boot
    staged: tuple[str, ...] = ()  # packages that this tool put into the system of the next boot
    boot: str = ""  # the kernel's id of this boot
    now: float = 0.0  # when it was looked at (epoch)
    machine: str = ""  # a digest of machine-id(5)
    versions: Mapping[str, str] = {}
    prepared: frozenset[str] = frozenset()  # which of our own files and links are there as shipped
    audit: AuditFacts = AuditFacts()
    selinux: SELinuxFacts = SELinuxFacts()
    agent: AgentFacts = AgentFacts()
    delivery: Optional[Delivery] = None
    unseen: tuple[str, ...] = ()  # what could not be looked at, and why


class Profile(NamedTuple):
    """What one distribution release calls things; see distro_profiles/README.md for each key."""

    id: str
    title: str
    ids: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    platform: str = ""
    codenames: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()
    audit: int = 3
    restart: str = "systemctl"
    semodule_priorities: bool = True
    packages: Mapping[str, tuple[str, ...]] = {}
    along: tuple[str, ...] = ()
    not_applicable: Mapping[str, str] = {}  # command -> why it is not needed
    unavailable: Mapping[str, str] = {}  # command -> why it cannot be had
    repository: str = ""
    lsm: str = ""
    eol: str = ""
    eol_signature: str = ""
    eol_advice: str = ""
    tested: str = "from facts"
    confidence: Mapping[str, str] = {}
    note: str = ""
    nearest: str = ""  # set by the selection: why this profile, although it does not name the release


class Settings(NamedTuple):
    """What the person asked for."""

    root: str = ""  # empty: the running system
    mode: str = "auto"
    profile: str = ""
    profiles: str = ""
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    install: bool = True
    dispatcher_line: str = "always"
    first_boot: bool = False
    guard: bool = False
    lock_timeout: float = 300.0
    agent_timeout: float = 300.0  # seconds without a sign of life after which an agent that starts counts as failed
    probe: bool = False

    def chosen(self, requirement: str) -> bool:
        """Whether a requirement is looked at: not left out by --only or --skip."""
        return requirement not in self.skip and (not self.only or requirement in self.only)

    def mode_for(self, facts: Facts) -> str:
        """dispatcher or direct: what was asked for, else what the agent is set to."""
        if self.mode != "auto":
            return self.mode
        return "direct" if facts.agent.dispatcher_setting == "0" else "dispatcher"


class Change(Protocol):
    """One thing done to the host, which knows how to describe and to undo itself."""

    def describe(self) -> str:
        """One line for the plan."""

    def diff(self) -> str:
        """A unified diff of the file it edits, or nothing."""

    def apply(self, host: Host, record: Callable[..., None]) -> None:
        """Do it; `record` journals what is about to be replaced before it is replaced."""


class Cause(NamedTuple):
    """A line of a file that stands in the way."""

    file: str
    line: int
    text: str


class Finding(NamedTuple):
    """What a requirement thinks of the facts, with evidence and with what would be done."""

    id: str
    title: str
    status: Status
    summary: str
    evidence: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    remedy: str = ""
    warnings: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()  # the requirements that this trouble may come from, the likeliest first
    waits_for: str = ""  # the one of them that it does come from

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The lines that the evidence names, as FILE:LINE: TEXT."""
        found = (re.match(r"(/[^:]+):(\d+): (.*)", line, re.DOTALL) for line in self.evidence)
        return tuple(Cause(match[1], int(match[2]), match[3]) for match in found if match)


class Requirement(Protocol):
    """One thing that must be true of a host; each is a module of `requirements`."""

    ID: str
    TITLE: str

    def assess(self, facts: Facts, profile: Profile, settings: Settings) -> Finding:
        """Judge the facts; pure."""
