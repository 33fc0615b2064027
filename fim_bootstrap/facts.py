"""Look at the host. What is looked at is decided by the environment, which files alone decide.

In a chroot `systemctl` answers without looking and `auditctl` answers from the build host's kernel, so
neither is asked unless the running system is this tree's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import (
    agent,
    audit_rules,
    auditd_conf,
    dialects,
    journal,
    locked_by,
    managers,
    obstacles,
    processes,
    reboots,
    rules_d,
    selinux,
    service_restart,
    switched_on,
    versions,
)
from .host import LIMIT, LINE, UNREAD, File, Output, Reader, boot_id, booted, starts_at_boot
from .model import (
    LOCKED,
    AgentFacts,
    AuditFacts,
    Environment,
    Facts,
    OsRelease,
    Process,
    Profile,
    SELinuxFacts,
    Service,
    Settings,
)
from .resources import program, text_of

AUDIT_COMMANDS = ("auditd", "auditctl", "augenrules")
# what the agent's own start script calls, besides what is above; it restarts auditd by service(8) on every system
AGENT_COMMANDS = ("which", "service", "pidof", "pkill", "awk", "sed", "grep")
SELINUX_COMMANDS = ("checkmodule", "semodule_package", "semodule", "restorecon", "sestatus", "getenforce")
AUDITD_CONF = "/etc/audit/auditd.conf"
AUDISPD_CONF = "/etc/audisp/audispd.conf"  # of audit 2.x
AUDIT_RULES = "/etc/audit/audit.rules"
DISPATCHER = "/sbin/audispd"
PID_FILE = "/run/auditd.pid"
PLUGIN_DIRS = {2: "/etc/audisp/plugins.d", 3: "/etc/audit/plugins.d"}
PRESET = "/etc/systemd/system-preset/50-fim-bootstrap.preset"
PROGRAM = "/usr/local/sbin/fim-bootstrap"
UNITS = "/etc/systemd/system"
# path in the tree -> our own data file
FIRST_BOOT = {
    f"{UNITS}/{name}": f"units/{name}" for name in ("fim-bootstrap-firstboot.service", "fim-bootstrap-ready.target")
}
FIRST_BOOT_NETWORK = f"{UNITS}/fim-bootstrap-firstboot.service.d/50-network.conf"
FETCHING = {FIRST_BOOT_NETWORK: "units/fim-bootstrap-firstboot-network.conf"}
GUARD = {f"{UNITS}/fim-bootstrap-guard.{kind}": f"units/fim-bootstrap-guard.{kind}"
         for kind in ("service", "timer", "path")}  # fmt: skip
GUARD_PATH = "fim-bootstrap-guard.path"
# unit -> the link that has it started at boot
GUARD_UNITS = {
    "fim-bootstrap-guard.timer": f"{UNITS}/timers.target.wants/fim-bootstrap-guard.timer",
    GUARD_PATH: f"{UNITS}/multi-user.target.wants/{GUARD_PATH}",
}
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
OS_RELEASE_LIMIT = 65536  # characters; the largest that is known has 1,500
RELEASE_FILE_LIMIT = 1024  # characters of an older release file
NO_RELEASES = ("lsb", "oem", "os", "system", "plesk", "iredmail", "board")  # whose names are no distribution's
MOUNTS_LIMIT = 16 << 20  # bytes of a mountinfo: 100,000 mounts of containers
AUDIT_LOG_TAIL = 4 << 20  # bytes of the audit log's end in which denials are looked for
UNIT_KEYS = ("Id,LoadState,ActiveState,UnitFileState,RefuseManualStop,RefuseManualStart,"
             "TimeoutStopUSec,TimeoutStartUSec,ActiveEnterTimestampMonotonic")  # fmt: skip
EARLY = "sysinit.target"  # auditd comes before it, almost all other daemons after it
USUAL_LIMIT = 90.0  # seconds; DefaultTimeoutStartSec= and DefaultTimeoutStopSec= of systemd-system.conf(5)
SPANS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def identify(host: Reader) -> OsRelease:
    """Which release this is, from os-release(5) or the older release files."""
    try:
        info = _os_release(host) or _release_file(host)
    except ValueError as error:  # a quotation mark without its twin
        info = {"name": f"a system whose os-release cannot be read ({error})"}
    if not info and (file := host.read("/etc/system-release")):  # which distro passes over
        found = re.match(r"(?P<name>Amazon Linux)(?: AMI)? release (?P<version_id>[\d.]+)", file.text)
        info = {"id": "amzn", **found.groupdict()} if found else {}
    return OsRelease(
        id=info.get("id", ""),
        version=info.get("version_id", ""),
        like=tuple(info.get("id_like", "").split()),
        name=info.get("pretty_name", "") or info.get("name", ""),
        platform=info.get("platform_id", ""),
        variant=info.get("variant_id", ""),
        codename=info.get("version_codename", "") or info.get("release_codename", "").lower(),
        parent=info.get("ubuntu_codename", "") or info.get("debian_codename", ""),
        base=info.get("rhel_version", ""),
    )


def _os_release(host: Reader) -> dict[str, str]:
    for path in OS_RELEASE:
        if file := host.read(path):
            if not file.text or len(file.text) > OS_RELEASE_LIMIT:
                raise ValueError(f"{path}: {file.problem or 'empty, or too large'}")
            return dict(_distribution(os_release_file=host.real(path)).os_release_info())
    return {}


def _release_file(host: Reader) -> dict[str, str]:
    """NAME release VERSION (CODENAME), in a file that is named after the distribution."""
    for path in host.glob("/etc/*[-_]release"):
        name, file = path.rpartition("/")[2][: -len("-release")], host.read(path)
        if name in NO_RELEASES or not file or len(file.text) > RELEASE_FILE_LIMIT:
            continue
        info = _distribution(distro_release_file=host.real(path)).distro_release_info()
        if "name" in info:  # the file's own name counts, not that of what a link leads to
            return {**info, "id": info["id"] if info.get("id") == "cloudlinux" else name}
    return {}


def _distribution(**files: str) -> Any:
    """What distro makes of a file of the tree; left to itself it follows links out of the tree."""
    with _left_out("logging", "subprocess"):  # for what is not asked here; they are a tenth of a short run
        import distro

    return distro.LinuxDistribution(include_lsb=False, include_uname=False, include_oslevel=False, **files)


@contextlib.contextmanager
def _left_out(*names: str) -> Iterator[None]:
    """Empty modules in the place of those that an import would load, until it is done."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update((name, types.ModuleType(name)) for name in absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def environment(host: Reader, offline: bool) -> Environment:
    """Where we run. A tree named with --root is never asked through the running kernel."""
    if offline:
        return Environment.OFFLINE
    init, mine = host.read("/proc/1/comm"), _root_mount(host, "self")
    if mine is None or mine != (_root_mount(host, "1") or mine):
        return Environment.CHROOT
    if container_mark(host):
        return Environment.CONTAINER
    booted = host.stat("/run/systemd/system") is not None or (init and init.text.strip() == "init")
    return Environment.BOOTED if booted else Environment.CONTAINER


def container_mark(host: Reader) -> str:
    """What shows that this is a container, or ''."""
    marks = ("/run/systemd/container", "/run/host/container-manager", "/run/.containerenv", "/.dockerenv")
    if mark := next((mark for mark in marks if host.stat(mark)), ""):
        return f"{mark} is there"
    inside = b"container=" in (host.read_bytes("/proc/1/environ") or b"")
    return "the environment of process 1 says container=" if inside else ""


def _root_mount(host: Reader, process: str) -> Optional[tuple[str, str]]:
    """Device and folder that a process has as its root; None in a chroot, whose root is no mount of its own."""
    file = host.read(f"/proc/{process}/mountinfo", MOUNTS_LIMIT)
    lines = (line.split() for line in (file.text if file else "").splitlines())
    roots = [(fields[2], fields[3]) for fields in lines if len(fields) > 4 and fields[4] == "/"]
    return roots[-1] if roots else None


def gather(host: Reader, profile: Profile, settings: Settings, release: OsRelease) -> Facts:
    """Everything the requirements judge, looked at once."""
    where = environment(host, bool(settings.root))
    privileged = os.geteuid() == 0
    manager, image_based = managers.choose(host, profile)
    half = managers.unfinished(host, dialects.MANAGERS[manager]) if manager else frozenset()
    names = {*AUDIT_COMMANDS, *AGENT_COMMANDS, *SELINUX_COMMANDS, *profile.packages, "setfiles", "systemctl"}
    unfinished = {name for name in names if half.intersection(profile.packages.get(name, ()))}
    commands = {name: path for name in sorted(names - unfinished) if (path := host.which(name))}
    answers = _ask(host, where, commands, privileged)
    if answers.get("is-system-running", Output((), 0)).stdout.strip() in ("initializing", "starting"):
        where = Environment.BOOTING
    status = answers.get("status")
    kernel = audit_rules.parse_status(status.stdout) if status and status.status == 0 else None
    seen = processes.gather(host, (kernel or {}).get("pid", 0)) if where.live else processes.Processes()
    units = _units(answers.get("show"))
    services = _services(host, units, profile)
    steps = journal.entries(host)
    boot = boot_id(host)
    audit = _audit(host, commands, profile, services, seen, kernel, answers.get("rules"), steps, boot)
    if (kernel or {}).get("enabled"):
        early = float(units.get(EARLY, {}).get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        log = auditd_conf.log_of(audit.conf.text if audit.conf else "")
        on = switched_on.look(host, steps, switched_on.Boot(boot, booted(), early), log)
        audit = audit._replace(switched_on=on)
    started = audit.daemon.started if audit.daemon else 0.0
    hindered = obstacles.gather(host, where.live, audit.conf, audit.rules, audit.joins, started)
    audit = audit._replace(obstacles=hindered)
    vendor = agent.look(host, services[agent.SERVICE], seen.believed, audit, steps, boot, booted())
    own = _own_files(host, steps)
    prepared = own.prepared
    connecting = selinux.Agent(agent.PROGRAM, agent.SOCKET_FOLDER, vendor.edr.context if vendor.edr else "")
    state = selinux.gather(
        host, where.live, audit.generation or profile.audit, audit.dispatcher, connecting, _types(vendor),
        guard=settings.guard or not prepared.isdisjoint(GUARD_UNITS.values()),
    )  # fmt: skip
    if state.mode in ("permissive", "enforcing") and where.live:
        state = state._replace(denials=_denials(host, audit.daemon, state.domain))
    elif state.mode in ("permissive", "enforcing") and where is Environment.OFFLINE:
        contexts = f"/etc/selinux/{state.type}/contexts/files/file_contexts"
        state = state._replace(mislabelled=_unlabelled(host, commands), file_contexts=contexts)
    unseen = _unseen(host, where, privileged, audit, vendor, state)
    if seen.hidden:
        unseen["the processes of others (hidepid)"] = ("auditd", "agent")
    return Facts(
        environment=where,
        root=host.root,
        hostname=os.uname().nodename if where.live else "",
        today=time.strftime("%Y-%m-%d"),
        privileged=privileged,
        os=release,
        commands=commands,
        unfinished=frozenset(unfinished),
        half=half,
        manager=manager,
        image_based=image_based,
        staged=tuple(name for step in steps if _staged(step, boot) for name in step.get("packages", ())),
        boot=boot,
        now=time.time(),
        machine=versions.machine(host) if where.live else "",
        versions=versions.gather(host, where.live, answers.get("version")),
        **own._asdict(),
        audit=audit,
        selinux=state,
        agent=vendor,
        unseen=tuple(unseen),
        unknown=frozenset(which for requirements in unseen.values() for which in requirements),
        doubted=seen.doubted,
        hidden=seen.hidden,
    )


def _ask(host: Reader, where: Environment, commands: Mapping[str, str], privileged: bool) -> dict[str, Output]:
    """Every question that needs a process, all asked side by side."""
    if not where.live:
        return {}
    questions: dict[str, tuple[str, ...]] = {}
    if "auditctl" in commands and privileged:
        questions["status"] = ("auditctl", "-s")
        questions["rules"] = ("auditctl", "-l")
        questions["version"] = ("auditctl", "-v")
    if host.stat("/run/systemd/system"):
        units = ("auditd.service", f"{agent.SERVICE}.service", EARLY)
        questions["show"] = ("systemctl", "show", f"--property={UNIT_KEYS}", *units)
        questions["is-system-running"] = ("systemctl", "is-system-running")
    return dict(zip(questions, host.query(*questions.values()))) if questions else {}


class _Own(NamedTuple):
    """Our own files that are there; Facts has the same names."""

    prepared: frozenset[str]
    outdated: frozenset[str]
    edited: frozenset[str]


def _own_files(host: Reader, steps: Sequence[Mapping[str, Any]]) -> _Own:
    """A unit that stands as an earlier run wrote it, and is shipped otherwise now, is outdated; so is its program."""
    written = {step.get("path"): step.get("after") for step in steps if step.get("kind") == "create"}
    there = {path for path in (PRESET, PROGRAM, *GUARD_UNITS.values()) if host.stat(path)}
    found = {path: file.text for path in (*FIRST_BOOT, *FETCHING, *GUARD) if (file := host.read(path))}
    shipped = {path: text_of(name) for path, name in {**FIRST_BOOT, **FETCHING, **GUARD}.items()}
    other = {path for path, text in found.items() if text != shipped[path]}
    outdated = {path for path in other if journal.digest(found[path]) == written.get(path)}
    if PROGRAM in there and PROGRAM in written:
        content = program(besides=host.real(PROGRAM))
        outdated |= {PROGRAM} if content and content != host.read_bytes(PROGRAM) else set()
    prepared = (there | {*found}) - outdated
    return _Own(frozenset(prepared), frozenset(outdated), frozenset(other - outdated))


def _staged(step: Mapping[str, Any], boot: str) -> bool:
    """Whether a journal entry put packages into the system of the next boot, in this one."""
    return step.get("kind") == "install" and bool(boot) and step.get("boot") == boot


def _unseen(
    host: Reader, where: Environment, privileged: bool, audit: AuditFacts, vendor: AgentFacts, state: SELinuxFacts
) -> dict[str, tuple[str, ...]]:
    """What could not be looked at, and the requirements that are judged by it."""
    found: dict[str, tuple[str, ...]] = {}
    if where.live and not privileged:
        found["the kernel's audit state (auditctl needs root)"] = ("rules", "auditd")
    if vendor.installed and _hides(host, agent.CONF, agent.MANIFESTS, vendor.log):
        found["the agent's configuration and log"] = ("agent",)
    # a folder that cannot be entered looks empty
    if _hides(host, AUDITD_CONF, AUDIT_RULES, f"{rules_d.FOLDER}/-", *(file.path for file in audit.rules)):
        found["audit rules and auditd.conf where only root may read them"] = ("dispatcher", "rules", "auditd")
    if not privileged and state.policy_present and state.in_store is None and not state.effective:
        found["the store of SELinux modules"] = ("policy",)
    return found


def _hides(host: Reader, *paths: str) -> bool:
    """Whether one of the files cannot be read, or whether it is there cannot be known."""
    return any((file := host.read(path, 0)) and file.problem.startswith(UNREAD) for path in paths)


# ---------------------------------------------------------------------- services


def _units(shown: Optional[Output]) -> dict[str, dict[str, str]]:
    """What systemctl shows of each unit, by its name."""
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
              for block in (shown.stdout if shown else "").split("\n\n")]  # fmt: skip
    return {block.get("Id", ""): block for block in blocks}


def _services(host: Reader, units: Mapping[str, Mapping[str, str]], profile: Profile) -> dict[str, Service]:
    services = {}
    expected = "yes" if profile.restart == "signal" else "no"
    for name in ("auditd", agent.SERVICE):
        unit = units.get(f"{name}.service", {})
        present = unit.get("LoadState") == "loaded" if unit else _unit_file(host, name)
        enabled = unit.get("UnitFileState") in ("enabled", "static") if unit else starts_at_boot(host, name)
        services[name] = Service(
            name=name,
            present=present,
            active=unit.get("ActiveState") in ("active", "reloading"),
            enabled=enabled,
            refuses_stop=unit.get("RefuseManualStop", expected if name == "auditd" else "") == "yes",
            refuses_start=unit.get("RefuseManualStart") == "yes",
            masked=unit.get("LoadState") == "masked",
            patience=_patience(unit),
        )
    return services


def _patience(unit: Mapping[str, str]) -> float:
    """Seconds that systemd gives a unit's stop and start together; where it sets no end, what one mostly gets."""
    limits = [span(unit.get(key, "")) for key in ("TimeoutStopUSec", "TimeoutStartUSec")]
    return sum(limit or USUAL_LIMIT for limit in limits)


def span(text: str) -> float:
    """Seconds of a time span as systemctl shows it (systemd.time(7)), such as 1min 30s; 0 where it names none."""
    found = re.findall(r"([\d.]+)(h|min|s|ms|us|d)\b", text)
    return sum(float(number) * SPANS[unit] for number, unit in found)


def _unit_file(host: Reader, name: str) -> bool:
    folders = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
    return any(host.stat(f"{folder}/{name}.service") for folder in folders) or bool(host.stat(f"/etc/init.d/{name}"))


# ---------------------------------------------------------------------- audit


def _audit(
    host: Reader,
    commands: Mapping[str, str],
    profile: Profile,
    services: Mapping[str, Service],
    seen: processes.Processes,
    kernel: Optional[Mapping[str, int]],
    listing: Optional[Output],
    steps: Sequence[Mapping[str, Any]],
    boot: str,
) -> AuditFacts:
    audispd = next((found for d in ("/sbin", "/usr/sbin") if (found := host.stat(f"{d}/audispd"))), None)
    generation = 0 if "auditd" not in commands else 2 if audispd else 3
    conf = host.read(AUDITD_CONF)
    rules = _rule_files(host)
    folder = _plugin_dir(host, generation or profile.audit, conf)
    plugins = [file for path in host.glob(f"{folder}/*") if (file := host.read(path))]
    pid_file = host.stat(PID_FILE)
    return AuditFacts(
        generation=generation,
        conf=conf,
        conf_since=_conf_since(steps, conf, boot) if conf else 0.0,
        pid_file=pid_file.mtime if pid_file else float("inf"),
        rules=tuple(rules),
        joins=rules_d.joins_of(host),
        dialect=auditd_conf.dialect(host.read_bytes(commands.get("auditd", "")) or b"", conf.text if conf else ""),
        audispd=host.stat((auditd_conf.dispatcher_of(conf.text) if conf else "") or DISPATCHER),
        plugin_dir=folder,
        plugin_dir_present=host.stat(folder) is not None,
        plugins=tuple(plugins),
        service=services["auditd"],
        restart_problem=service_restart.problem(host, services["auditd"], host.which("systemctl") != ""),
        daemon=seen.believed.get("auditd"),
        dispatcher=seen.dispatcher(generation or profile.audit),
        status=kernel or None,
        owner=_owner(host, (kernel or {}).get("pid", 0), seen),
        # auditctl has something to say even where there are none: «No rules»
        live_rules=audit_rules.parse_listing(said) if (said := _said(listing)) else None,
        locked_by=locked_by.look(host) if (kernel or {}).get("enabled") == LOCKED else (),
        reboot_spent=reboots.spent(steps, boot),
    )


def _rule_files(host: Reader) -> list[File]:
    """audit.rules and rules.d; all of them together may be little larger than one may be alone."""
    files: list[File] = []
    size = 0
    for path in (AUDIT_RULES, *host.glob(f"{rules_d.FOLDER}/*.rules")):
        if size > LIMIT:
            files.append(File(path, problem=f"with the rule files before it, larger than {LIMIT >> 20} MB"))
            break
        if file := host.read(path):
            files.append(file)
            size += max(len(file.text), LINE * (1 + file.text.count("\n")))
    return files


def _conf_since(steps: Sequence[Mapping[str, Any]], conf: File, boot: str) -> float:
    """When auditd.conf last changed; a time in the future is left by a clock that was set back since.

    Then our own last restart counts, if it was made with this text and in this boot: its time is kept as
    seconds since the boot, which no clock changes.
    """
    since = journal.effective_since(steps, conf)
    if since <= time.time():
        return since
    restarts = [step for step in steps if step.get("kind") in ("start", "restart") and step.get("service") == "auditd"]
    last = restarts[-1] if restarts else {}
    if (last.get("boot"), last.get("conf")) != (boot, journal.digest(conf.text)):
        return since
    return booted() + float(last.get("uptime", 0.0))


def _said(output: Optional[Output]) -> str:
    return output.stdout.strip() if output and output.status == 0 else ""


def _owner(host: Reader, pid: int, seen: processes.Processes) -> str:
    """What takes the kernel's events: `auditd` where it is the daemon of this system, else what it says it is."""
    comm = host.read(f"/proc/{pid}/comm") if pid else None
    doubts = [f"a process named {doubt.name} that {doubt.why}" for doubt in seen.doubted if doubt.pid == pid]
    return doubts[0] if doubts else comm.text.strip() if comm else ""


def _plugin_dir(host: Reader, generation: int, conf: Optional[File]) -> str:
    holder = conf if generation == 3 else host.read(AUDISPD_CONF)
    line = auditd_conf.settings(auditd_conf.parse(holder.text)).get("plugin_dir") if holder else None
    return line.value.rstrip("/") if line else PLUGIN_DIRS[generation]


def _types(vendor: AgentFacts) -> dict[str, str]:
    """The SELinux types that the files of the hand-over have in the policies known."""
    plugins = "etc_t" if vendor.registration.startswith(PLUGIN_DIRS[2]) else "auditd_etc_t"
    return {agent.PLUGIN_PROGRAM: "bin_t", **({vendor.registration: plugins} if vendor.registration else {})}


def _unlabelled(host: Reader, commands: Mapping[str, str]) -> tuple[str, ...]:
    """Files of a tree that auditd would not start with, if they had another label at the first boot."""
    expected = {commands.get("auditd", ""): "auditd_exec_t", AUDITD_CONF: "auditd_etc_t"}
    expected.update(dict.fromkeys(host.glob("/etc/selinux/*/policy/policy.[0-9]*"), ""))  # any label will do
    found = {path: seen.context for path in expected if path and (seen := host.stat(path))}
    return tuple(path for path, label in found.items() if not label or expected[path] not in label)


def _denials(host: Reader, daemon: Optional[Process], domain: str) -> tuple[str, ...]:
    """AVC records of the plugin since the daemon started, newest last, at most three; of the log its end is read.

    By its name and its domain: any user can run something of that name in a domain of his own.
    """
    found = []
    source = re.compile(rb" scontext=[^ :]+:[^ :]+:" + re.escape(domain.encode()) + rb"[ :]")
    name = f'comm="{agent.PLUGIN}"'.encode()
    for line in host.tail(auditd_conf.LOG, AUDIT_LOG_TAIL).splitlines():
        if b"avc:  denied" in line and name in line and source.search(line):
            stamp = re.search(rb"audit\((\d{1,12}\.\d{1,9}):", line)
            if daemon is None or not stamp or float(stamp[1]) > daemon.started:
                found.append(line.decode(errors="replace"))
    return tuple(found[-3:])
