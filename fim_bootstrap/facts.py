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
from typing import Any, Optional

from . import audit_rules, auditd_conf, dialects, journal, managers, selinux
from .host import File, Output, Reader, boot_id, booted, starts_at_boot
from .model import AgentFacts, AuditFacts, Environment, Facts, OsRelease, Process, Profile, Service, Settings
from .resources import text_of

AUDIT_COMMANDS = ("auditd", "auditctl", "augenrules")
# what the agent's own start script calls, besides what is above; it restarts auditd by service(8) on every system
AGENT_COMMANDS = ("which", "service", "pidof", "pkill", "awk", "sed", "grep")
SELINUX_COMMANDS = ("checkmodule", "semodule_package", "semodule", "restorecon", "sestatus", "getenforce")
AUDITD_CONF = "/etc/audit/auditd.conf"
AUDIT_RULES = "/etc/audit/audit.rules"
AUDIT_LOG = "/var/log/audit/audit.log"
PID_FILE = "/run/auditd.pid"
PLUGIN_DIRS = {2: "/etc/audisp/plugins.d", 3: "/etc/audit/plugins.d"}
AGENT = "/usr/local/qualys/cloud-agent"
AGENT_CONF = "/etc/qualys/cloud-agent/qualys-cloud-agent.conf"
AGENT_SERVICE = "qualys-cloud-agent"
PLUGIN = f"{AGENT}/bin/edr-plugin"
# the only keys of the agent's configuration that are ever kept; the others hold ids and secrets
AGENT_KEYS = ("UseAuditDispatcher", "LogFileDir")
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
# unit -> the link that has it started at boot
GUARD_UNITS = {
    "fim-bootstrap-guard.timer": f"{UNITS}/timers.target.wants/fim-bootstrap-guard.timer",
    "fim-bootstrap-guard.path": f"{UNITS}/multi-user.target.wants/fim-bootstrap-guard.path",
}
UNIT_KEYS = "Id,LoadState,ActiveState,UnitFileState,RefuseManualStop"
TICKS = os.sysconf("SC_CLK_TCK")


def identify(host: Reader) -> OsRelease:
    """Which release this is, from os-release(5) or the older release files."""
    with _left_out("logging", "subprocess"):  # for what is not asked here; they are a tenth of a short run
        import distro

    system = distro.LinuxDistribution(include_lsb=False, include_uname=False, root_dir=host.root)
    try:
        info = system.os_release_info() or system.distro_release_info()
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
    if init is None or mine is None or mine != (_root_mount(host, "1") or mine):
        return Environment.CHROOT
    if container_mark(host):
        return Environment.CONTAINER
    booted = host.stat("/run/systemd/system") is not None or init.text.strip() == "init"
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
    file = host.read(f"/proc/{process}/mountinfo")
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
    processes = _processes(host) if where.live else {}
    services = _services(host, where, answers.get("show"), profile)
    steps = journal.entries(host)
    boot = boot_id(host)
    audit = _audit(host, commands, profile, services, processes, answers, steps, boot)
    agent = _agent(host, services, processes, audit)
    state = selinux.gather(
        host, where.live, audit.generation or profile.audit, audit.daemon, agent.edr,
        f"{AGENT}/bin/{AGENT_SERVICE}",
    )  # fmt: skip
    if state.mode in ("permissive", "enforcing") and where.live:
        state = state._replace(mislabelled=_mislabelled(host, agent), denials=_denials(host, audit.daemon))
    elif state.mode in ("permissive", "enforcing") and where is Environment.OFFLINE:
        contexts = f"/etc/selinux/{state.type}/contexts/files/file_contexts"
        state = state._replace(mislabelled=_unlabelled(host, commands), file_contexts=contexts)
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
        prepared=_prepared(host),
        audit=audit,
        selinux=state,
        agent=agent,
        unseen=_unseen(where, privileged),
    )


def _ask(host: Reader, where: Environment, commands: Mapping[str, str], privileged: bool) -> dict[str, Output]:
    """Every question that needs a process, all asked side by side."""
    if not where.live:
        return {}
    questions: dict[str, tuple[str, ...]] = {}
    if "auditctl" in commands and privileged:
        questions["status"] = ("auditctl", "-s")
        questions["rules"] = ("auditctl", "-l")
    if host.stat("/run/systemd/system"):
        units = ("auditd.service", f"{AGENT_SERVICE}.service")
        questions["show"] = ("systemctl", "show", f"--property={UNIT_KEYS}", *units)
        questions["is-system-running"] = ("systemctl", "is-system-running")
    return dict(zip(questions, host.query(*questions.values()))) if questions else {}


def _prepared(host: Reader) -> frozenset[str]:
    """Which of our own files are there: the units as they are shipped now, the rest whatever it holds."""
    there = {path for path in (PRESET, PROGRAM, *GUARD_UNITS.values()) if host.stat(path)}
    shipped = {path for path, name in {**FIRST_BOOT, **FETCHING, **GUARD}.items()
               if (file := host.read(path)) and file.text == text_of(name)}  # fmt: skip
    return frozenset(there | shipped)


def _staged(step: Mapping[str, Any], boot: str) -> bool:
    """Whether a journal entry put packages into the system of the next boot, in this one."""
    return step.get("kind") == "install" and bool(boot) and step.get("boot") == boot


def _unseen(where: Environment, privileged: bool) -> tuple[str, ...]:
    if privileged:
        return ()
    blind = ["the agent's configuration and log", "audit rules and auditd.conf where only root may read them"]
    if where.live:
        blind.insert(0, "the kernel's audit state (auditctl needs root)")
    return tuple(blind)


# ---------------------------------------------------------------------- processes and services


def _processes(host: Reader) -> dict[int, Process]:
    """The processes that matter here, by pid; started in seconds since the epoch."""
    since = booted()
    names = (b"auditd", b"audispd", b"edr-plugin", b"qualys-edr", b"fimc", AGENT_SERVICE[:15].encode())
    found: dict[int, Process] = {}
    for path in host.glob("/proc/[0-9]*"):
        line = host.read_bytes(f"{path}/stat") or b""
        name, _, rest = line.partition(b" (")[2].rpartition(b") ")
        fields = rest.split()
        if name not in names or len(fields) < 20 or fields[0] == b"Z":
            continue
        pid = int(path.rpartition("/")[2])
        started = since + int(fields[19]) / TICKS
        found[pid] = Process(pid, int(fields[1]), name.decode(), started, *_identity(host, path))
    return found


def _identity(host: Reader, path: str) -> tuple[int, str]:
    status = host.read(f"{path}/status")
    uids = [line.split()[2] for line in (status.text if status else "").splitlines() if line.startswith("Uid:")]
    context = host.read(f"{path}/attr/current")
    usable = context is not None and not context.problem and ":" in context.text
    return int(uids[0]) if uids else -1, context.text.strip("\0\n") if context and usable else ""


def _named(processes: Mapping[int, Process], name: str) -> Optional[Process]:
    return next((p for p in processes.values() if p.name == name[:15]), None)


def _child_of_dispatcher(processes: Mapping[int, Process]) -> Optional[Process]:
    """edr-plugin where the dispatcher started it: auditd, or audispd with audit 2.x."""
    found = (p for p in processes.values() if p.name == "edr-plugin" and p.parent in processes)
    return next((p for p in found if processes[p.parent].name in ("auditd", "audispd")), None)


def _services(
    host: Reader, where: Environment, shown: Optional[Output], profile: Profile
) -> dict[str, Service]:
    services = {}
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
              for block in (shown.stdout if shown else "").split("\n\n")]  # fmt: skip
    units = {block.get("Id", ""): block for block in blocks}
    expected = "yes" if profile.restart == "signal" else "no"
    for name in ("auditd", AGENT_SERVICE):
        unit = units.get(f"{name}.service", {})
        present = unit.get("LoadState") == "loaded" if unit else _unit_file(host, name)
        enabled = unit.get("UnitFileState") in ("enabled", "static") if unit else starts_at_boot(host, name)
        services[name] = Service(
            name=name,
            present=present,
            active=unit.get("ActiveState") in ("active", "reloading"),
            enabled=enabled,
            refuses_stop=unit.get("RefuseManualStop", expected if name == "auditd" else "") == "yes",
        )
    return services


def _unit_file(host: Reader, name: str) -> bool:
    folders = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
    return any(host.stat(f"{folder}/{name}.service") for folder in folders) or bool(host.stat(f"/etc/init.d/{name}"))


# ---------------------------------------------------------------------- audit


def _audit(
    host: Reader,
    commands: Mapping[str, str],
    profile: Profile,
    services: Mapping[str, Service],
    processes: Mapping[int, Process],
    answers: Mapping[str, Output],
    steps: Sequence[Mapping[str, Any]],
    boot: str,
) -> AuditFacts:
    audispd = next((found for d in ("/sbin", "/usr/sbin") if (found := host.stat(f"{d}/audispd"))), None)
    generation = 0 if "auditd" not in commands else 2 if audispd else 3
    conf = host.read(AUDITD_CONF)
    rules = [file for path in (AUDIT_RULES, *host.glob("/etc/audit/rules.d/*.rules")) if (file := host.read(path))]
    status = answers.get("status")
    state = audit_rules.parse_status(status.stdout) if status and status.status == 0 else None
    listing = answers.get("rules")
    owner = processes.get((state or {}).get("pid", 0))
    daemon = owner if owner and owner.name == "auditd" else _named(processes, "auditd")
    folder = _plugin_dir(host, generation or profile.audit, conf)
    plugins = [file for path in host.glob(f"{folder}/*") if (file := host.read(path))]
    pid_file = host.stat(PID_FILE)
    return AuditFacts(
        generation=generation,
        conf=conf,
        conf_since=_conf_since(steps, conf, boot) if conf else 0.0,
        pid_file=pid_file.mtime if pid_file else float("inf"),
        rules=tuple(rules),
        audispd=audispd,
        plugin_dir=folder,
        plugin_dir_present=host.stat(folder) is not None,
        plugins=tuple(plugins),
        service=services["auditd"],
        daemon=daemon,
        status=state or None,
        owner=_owner(host, (state or {}).get("pid", 0)),
        # auditctl has something to say even where there are none: «No rules»
        live_rules=audit_rules.parse_listing(said) if (said := _said(listing)) else None,
    )


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
    return booted() + float(last["uptime"])


def _said(output: Optional[Output]) -> str:
    return output.stdout.strip() if output and output.status == 0 else ""


def _owner(host: Reader, pid: int) -> str:
    comm = host.read(f"/proc/{pid}/comm") if pid else None
    return comm.text.strip() if comm else ""


def _plugin_dir(host: Reader, generation: int, conf: Optional[File]) -> str:
    holder = conf if generation == 3 else host.read("/etc/audisp/audispd.conf")
    line = auditd_conf.settings(auditd_conf.parse(holder.text)).get("plugin_dir") if holder else None
    return line.value.rstrip("/") if line else PLUGIN_DIRS[generation]


def registrations(plugins: Sequence[File]) -> list[tuple[File, Mapping[str, str]]]:
    """The plugin files that name edr-plugin, with their settings (auditd-plugins(5))."""
    found: list[tuple[File, Mapping[str, str]]] = []
    for file in plugins:
        name = file.path.rpartition("/")[2]
        if name.startswith(".") or name.count(".") > 1:  # the loader passes over such names
            continue
        pairs = {key: line.value for key, line in auditd_conf.settings(auditd_conf.parse(file.text)).items()}
        if pairs.get("path", "").rpartition("/")[2] == "edr-plugin":
            found.append((file, pairs))
    return found


# ---------------------------------------------------------------------- agent


def _agent(
    host: Reader, services: Mapping[str, Service], processes: Mapping[int, Process], audit: AuditFacts
) -> AgentFacts:
    conf = host.read(AGENT_CONF)
    program = host.stat(f"{AGENT}/bin/{AGENT_SERVICE}")
    if conf is None and program is None and not services[AGENT_SERVICE].present:
        return AgentFacts()
    values: dict[str, list[tuple[int, str]]] = {key: [] for key in AGENT_KEYS}
    for number, line in enumerate((conf.text if conf else "").splitlines(), 1):
        key, equals, value = line.partition("=")
        if equals and key in values:
            values[key].append((number, value.strip()))
    switch = values["UseAuditDispatcher"]
    folder = values["LogFileDir"][-1][1] if values["LogFileDir"] else "/var/log/qualys"
    log = host.stat(f"{folder}/edr.log")
    listed = registrations(audit.plugins)
    edr = _named(processes, "qualys-edr")
    return AgentFacts(
        installed=True,
        legacy=edr is None and (_named(processes, "fimc") is not None or _only_old_log(host, folder)),
        dispatcher_setting=switch[-1][1] if switch else "unset",
        setting_line=f"{AGENT_CONF}:{switch[-1][0]}" if switch else AGENT_CONF,
        settings_repeated=len(switch) > 1,
        service=services[AGENT_SERVICE],
        main=_named(processes, AGENT_SERVICE),
        edr=edr,
        plugin=_child_of_dispatcher(processes),
        plugin_file=host.stat(PLUGIN),
        registration=listed[0][0].path if listed else "",
        registration_problem=_registration_problem(listed) or _left_behind(host, audit, bool(listed)),
        manifests=len(host.glob(f"{AGENT}/fim/manifests/*.json")),
        log=f"{folder}/edr.log",
        log_size=log.size if log else -1,
    )


def _only_old_log(host: Reader, folder: str) -> bool:
    return host.stat(f"{folder}/edr.log") is None and host.stat(f"{folder}/fimc.log") is not None


def _registration_problem(listed: Sequence[tuple[File, Mapping[str, str]]]) -> str:
    for file, pairs in listed:
        if file.problem:
            return f"{file.path}: {file.problem}"
        if pairs.get("active", "no").lower() != "yes":
            return f"{file.path}: active = {pairs.get('active', 'no')}"
    return ""


def _left_behind(host: Reader, audit: AuditFacts, registered: bool) -> str:
    """A plugin file that stayed where audit 2.x looked for it, after an upgrade to audit 3."""
    if registered or audit.generation != 3:
        return ""
    old = [file for path in host.glob(f"{PLUGIN_DIRS[2]}/*") if (file := host.read(path))]
    where = f"is not read by audit 3, which reads {audit.plugin_dir}"
    return next((f"{file.path} {where}" for file, _ in registrations(old)), "")


def _mislabelled(host: Reader, agent: AgentFacts) -> tuple[str, ...]:
    """Paths of the hand-over whose SELinux type is not the one that the policy gives to the path."""
    expected = {f"{AGENT}/sock": "usr_t", PLUGIN: "bin_t"}
    if agent.registration:
        audit2 = agent.registration.startswith(PLUGIN_DIRS[2])
        expected[agent.registration] = "etc_t" if audit2 else "auditd_etc_t"
    labels = {path: found.context for path in expected if (found := host.stat(path))}
    return tuple(path for path, label in labels.items() if label and f":{expected[path]}:" not in f"{label}:")


def _unlabelled(host: Reader, commands: Mapping[str, str]) -> tuple[str, ...]:
    """Files of a tree that auditd would not start with, if they had another label at the first boot."""
    expected = {commands.get("auditd", ""): "auditd_exec_t", AUDITD_CONF: "auditd_etc_t"}
    expected.update(dict.fromkeys(host.glob("/etc/selinux/*/policy/policy.[0-9]*"), ""))  # any label will do
    found = {path: seen.context for path in expected if path and (seen := host.stat(path))}
    return tuple(path for path, label in found.items() if not label or expected[path] not in label)


def _denials(host: Reader, daemon: Optional[Process]) -> tuple[str, ...]:
    """AVC records of the plugin since the daemon started, newest last, at most three."""
    found = []
    for line in (host.read_bytes(AUDIT_LOG) or b"").splitlines():
        if b"avc:  denied" in line and b'comm="edr-plugin"' in line:
            stamp = line.partition(b"audit(")[2].partition(b":")[0]
            if daemon is None or not stamp.replace(b".", b"").isdigit() or float(stamp) > daemon.started:
                found.append(line.decode(errors="replace"))
    return tuple(found[-3:])
