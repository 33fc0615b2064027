"""The nouns: what is (Facts), what a distro calls things (Profile), what a requirement thinks (Finding).

Plain frozen data without I/O, so that every judgement can be tested on a value. Named tuples: making as many
dataclasses would take a fifth of the time of a run that has nothing to do. Their annotations are not postponed: a
named tuple would compile each of those texts again.
"""

import enum
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Optional, Protocol

from .audit.rules_d import Joins
from .host.reader import File, Host, Stat


class Status(enum.Enum):
    """What a requirement says of the host."""

    OK = "ok"
    CHANGE = "change"  # apply would do something about it
    REBOOT = "reboot"  # right on disk; the running kernel follows at the next boot
    WAITING = "waiting"  # cannot be known before an earlier change is made
    BLOCKED = "blocked"  # only a person may lift it
    SKIPPED = "skipped"  # does not apply to this host
    FAILED = "failed"  # a change was made, or tried, and the verification still finds it wrong


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
    codename: str = ""
    parent: str = ""
    base: str = ""  # VERSION_ID of the Red Hat Enterprise Linux that RHEL CoreOS is made from


class Process(NamedTuple):
    """A running process; `started` is seconds since the epoch, to 10 ms (proc(5), starttime)."""

    pid: int
    parent: int
    name: str
    started: float
    uid: int = -1  # effective
    context: str = ""
    unproven: bool = False  # which program it runs could not be seen; that takes root


class Doubt(NamedTuple):
    """A process that bears the name of one that matters, and is not believed."""

    pid: int
    name: str
    why: str


class Service(NamedTuple):
    """A systemd unit or an init script."""

    name: str
    present: bool = False
    enabled: bool = False
    refuses_stop: bool = False  # RefuseManualStop=yes, upstream's auditd.service
    refuses_start: bool = False  # RefuseManualStart=yes
    masked: bool = False
    patience: float = 180.0  # seconds that its stop and its start may take together (TimeoutStopUSec, TimeoutStartUSec)


class Answer(NamedTuple):
    """What auditd says of its configuration; `accepted` is None where it could not be asked, and `said` tells why."""

    accepted: Optional[bool] = None
    said: str = ""
    line: int = 0  # of auditd.conf, where auditd names one


class Obstacle(NamedTuple):
    """What keeps auditd from starting, or from being heard, and where it stands."""

    where: str  # FILE:LINE: text
    why: str
    remedy: str
    certain: bool = True  # else it may do so, or does so from the next boot on


PANIC = 2  # auditctl -f
DISABLED, LOCKED = 0, 2  # auditctl -e


class AuditFacts(NamedTuple):
    """The audit userspace on disk, its daemon, and the kernel's audit state (auditctl -s, -l)."""

    generation: int = 0  # 2: audispd exists; 3: auditd dispatches itself; 0: no auditd
    conf: Optional[File] = None
    conf_since: float = 0.0  # when auditd.conf last changed in a way that auditd acts on
    pid_file: float = float("inf")  # when the daemon wrote its pid file, by the clock of that moment
    rules: tuple[File, ...] = ()
    joins: Joins = Joins()
    dialect: frozenset[str] = frozenset()  # see auditd_conf.dialect
    obstacles: tuple[Obstacle, ...] = ()
    preflight: Optional[Answer] = None  # None: not asked
    audispd: Optional[Stat] = None  # the program that the dispatcher line names, or /sbin/audispd
    plugin_dir: str = ""
    plugin_dir_present: bool = False
    plugins: tuple[File, ...] = ()
    service: Service = Service("auditd")
    restart_problem: str = ""  # why `service auditd restart`, the agent's way, cannot work
    daemon: Optional[Process] = None
    dispatcher: Optional[Process] = None  # what starts the plugins: audispd, or the daemon itself since audit 3
    status: Optional[Mapping[str, int]] = None  # None: the kernel could not be asked
    owner: str = ""  # name of the process that owns the audit socket
    live_rules: Optional[tuple[str, ...]] = None
    rules_loaded: float = 0.0  # when a unit of its own last loaded them (epoch); 0 where auditd's start does
    locked_by: tuple[str, ...] = ()  # what beside the rule files may lock the kernel, where it is or cannot be asked
    switched_on: Optional[float] = None  # seconds from the boot until auditing was, where daemons had run before it
    reboot_spent: bool = False  # the reboot that was due for locked rules has been made

    @property
    def enabled(self) -> Optional[int]:
        """auditctl -e as the kernel has it; None where it could not be asked."""
        return (self.status or {}).get("enabled")

    @property
    def conf_text(self) -> str:
        """auditd.conf, or nothing where there is none."""
        return self.conf.text if self.conf else ""

    @property
    def may_cause_event(self) -> bool:
        """Whether a test event does no harm: with failure 2 an audit failure would panic the kernel."""
        return self.status is not None and self.status.get("failure") != PANIC


class SELinuxFacts(NamedTuple):
    """SELinux as the kernel and the module store have it (selinuxfs, /etc/selinux)."""

    mode: str = "absent"  # absent, disabled, permissive, enforcing
    type: str = ""
    policy_present: bool = False
    unread: str = ""  # why /etc/selinux/config cannot be read
    read_only: str = ""  # the read-only directory that would refuse a module
    load_locked: bool = False  # boolean secure_mode_policyload
    marker: str = ""  # the type name that the module rendered for this host declares
    source: str = ""  # that module's source
    in_store: Optional[bool] = None
    module_present: bool = False
    module_disabled: bool = False
    in_policy: Optional[bool] = None
    in_kernel: Optional[bool] = None
    domain: str = ""  # what the dispatcher, and so the plugin, runs in
    folder: str = ""  # where the plugin makes its socket
    denied: tuple[str, ...] = ()  # what the kernel does not allow the plugin, and our module would grant
    foreign: tuple[str, ...] = ()  # the same on a label that the policy wants there, and for which nothing is granted
    unconnected: tuple[str, ...] = ()  # what the kernel denies plugin and agent on the socket itself
    effective: Optional[bool] = None  # the kernel allows the plugin all, whoever granted it
    deaf: str = ""  # the type of /etc/audit, where systemd may not watch it for the guard
    mislabelled: tuple[str, ...] = ()  # paths whose label is not the policy's
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
    answered: int = 0  # the exit status to which that was the answer
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
    half_installed: frozenset[str] = frozenset()  # packages whose installation was begun and not finished
    manager: str = ""  # the package manager of the profile that is here
    image_based: bool = False  # packages live in an image or a snapshot, and change at a boot
    staged: tuple[str, ...] = ()  # packages that this tool put into the system of the next boot
    boot: str = ""  # the kernel's id of this boot
    now: float = 0.0  # when it was looked at (epoch)
    machine: str = ""  # a digest of machine-id(5)
    versions: Mapping[str, str] = {}
    prepared: frozenset[str] = frozenset()  # which of our own files and links are there and stay
    outdated: frozenset[str] = frozenset()  # which stand as an earlier release wrote them
    edited: frozenset[str] = frozenset()  # which somebody has edited since
    audit: AuditFacts = AuditFacts()
    selinux: SELinuxFacts = SELinuxFacts()
    agent: AgentFacts = AgentFacts()
    delivery: Optional[Delivery] = None
    unseen: tuple[str, ...] = ()  # what could not be looked at, and why
    unknown: frozenset[str] = frozenset()  # the requirements that cannot be judged in full without it
    doubted: tuple[Doubt, ...] = ()
    hidden: bool = False  # the processes of others cannot be seen

    def uncertain(self, process: Optional[Process]) -> bool:
        """Whether it cannot be known if this process, or one in its place, runs."""
        return process.unproven if process else self.hidden

    def impostors(self, *names: str) -> tuple[str, ...]:
        """What is to be said of the processes that bear one of these names and are not believed."""
        found = [f"pid {doubt.pid} is not the {doubt.name} of this system: it {doubt.why}"
                 for doubt in self.doubted if doubt.name in names]  # fmt: skip
        more = [f"{len(found) - 3} more processes of such names are none, either"] if len(found) > 3 else []
        return (*found[:3], *more)


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
    extra_packages: tuple[str, ...] = ()
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
    agent_timeout: float = 300.0  # seconds without a sign of life after which an agent that starts counts as failed
    network_timeout: Optional[float] = None  # None: as long as suits, longer while the system boots
    probe: bool = False

    def chosen(self, requirement: str) -> bool:
        """Whether a requirement is looked at: not left out by --only or --skip."""
        return requirement not in self.skip and (not self.only or requirement in self.only)

    def mode_for(self, facts: "Facts") -> str:
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
