"""The nouns: what is (Facts), what a distro calls things (Profile), what a requirement thinks (Finding).

Plain frozen data without I/O, so that every judgement can be tested on a value. Named tuples: making as many
dataclasses would take a fifth of the time of a run that has nothing to do.
"""

from __future__ import annotations

import enum
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
    base: str = ""  # VERSION_ID of the Red Hat Enterprise Linux that RHEL CoreOS is made from


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


class AgentFacts(NamedTuple):
    """The FIM agent: files, effective settings that matter here, and processes."""

    installed: bool = False
    legacy: bool = False  # an agent older than 4.1: fimc instead of qualys-edr
    dispatcher_setting: str = "unset"  # UseAuditDispatcher: its last value, or unset
    setting_line: str = ""  # FILE:LINE of that value
    settings_repeated: bool = False
    service: Service = Service("qualys-cloud-agent")
    main: Optional[Process] = None
    edr: Optional[Process] = None
    plugin: Optional[Process] = None
    plugin_file: Optional[Stat] = None
    registration: str = ""  # the plugin file that names edr-plugin
    registration_problem: str = ""
    manifests: int = 0
    log: str = ""
    log_size: int = -1  # bytes; -1: there is no log


class Delivery(NamedTuple):
    """What --probe saw: one audit event with a random token, and where it arrived."""

    arrived: bool
    evidence: tuple[str, ...] = ()
    refused: str = ""


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
    half: frozenset[str] = frozenset()  # packages whose installation was begun and not finished
    manager: str = ""  # the package manager of the profile that is here
    image_based: bool = False  # packages live in an image or a snapshot, and change at a boot
    staged: tuple[str, ...] = ()  # packages that this tool put into the system of the next boot
    boot: str = ""  # the kernel's id of this boot
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
    eol_of: Mapping[str, str] = {}  # ID, VERSION_ID, or both -> its own date
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
    network_timeout: Optional[float] = None  # None: as long as suits, longer while the system boots
    probe: bool = False

    def mode_for(self, facts: Facts) -> str:
        """dispatcher or direct: what was asked for, else what the agent's UseAuditDispatcher says."""
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


class Requirement(Protocol):
    """One thing that must be true of a host; each is a module of `requirements`."""

    ID: str
    TITLE: str

    def assess(self, facts: Facts, profile: Profile, settings: Settings) -> Finding:
        """Judge the facts; pure."""
