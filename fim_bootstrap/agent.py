"""The agent's room: all that is the vendor's stands here, its paths, names, keys, processes, log lines and exit causes.

Nothing else in this package knows them, so a second vendor would be a second room. What is said here is read off
the agent 6.1.2: newer ones may differ, so what is observed always counts more than a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from . import auditd_conf, plugin_file
from .host import File, Reader
from .model import AgentFacts, AuditFacts, Process, Service, Verdict

# the page of prerequisites, which the docstrings cite as "Vendor, prerequisite 5", and what it says of scanners
PAGE = "https://docs.qualys.com/en/fim/latest/configuration/issues_for_fim_on_linux.htm"
PAGE_ON_EXCEPTIONS = "for CIS Level 2 Profiles, exceptions can be made"
ROOT = "/usr/local/qualys/cloud-agent"
SERVICE = "qualys-cloud-agent"
PROGRAM = f"{ROOT}/bin/{SERVICE}"
EDR = "qualys-edr"
PLUGIN = "edr-plugin"
PLUGIN_PROGRAM = f"{ROOT}/bin/{PLUGIN}"
SOCKET_FOLDER = f"{ROOT}/sock"
SOCKET = f"{SOCKET_FOLDER}/audit_disp.sock"
MANIFESTS = f"{ROOT}/fim/manifests/*.json"
MODULE = "qualys-agent-plugin"  # its SELinux module
# by audit generation: the script copies it there, wherever plugin_dir points
PLUGIN_FILES = {2: "/etc/audisp/plugins.d/edr-plugin.conf", 3: "/etc/audit/plugins.d/edr-plugin.conf"}
OLD = "fimc"  # what agents before 4.1 had in the place of qualys-edr
SCRIPT = "qualys-edr-start-stop.sh"  # run by the main process, for the start and for the stop of FIM
TOOLS = ("checkmodule", "semodule_package", "semodule", "restorecon")  # it builds its SELinux module with them
SEMODULE = "semodule"

CONF = "/etc/qualys/cloud-agent/qualys-cloud-agent.conf"
DISPATCHER_KEY = "UseAuditDispatcher"
LOG_KEY = "LogFileDir"
IDENTITY_KEY = "HostIdSearchDir"
KEYS = (DISPATCHER_KEY, LOG_KEY, IDENTITY_KEY)  # the only ones that are ever kept; the others hold ids and secrets
USE_DISPATCHER = f"qualys-cloud-agent.sh {DISPATCHER_KEY}=1"  # the vendor's way to set it; it restarts the agent
LOG_FOLDER = "/var/log/qualys"
LOG, EVENTS, SCRIPT_LOG = "edr.log", "edr-events.log", "edr-script.log"
IDENTITY = "qualys/hostid"  # below HostIdSearchDir, /etc unless set

# with which exit status its script gives up, what that means, and which of our requirements it belongs to
CAUSES = {
    200: ("auditctl was not found", "packages"),
    201: ("a tool to build an SELinux module was not found", "packages"),
    202: (f"its SELinux module {MODULE} could not be loaded", "policy"),
    203: ("the label of its socket folder could not be restored", "policy"),
    204: (f"auditd runs, and {DISPATCHER_KEY} is 0", "auditd"),
    205: ("the kernel's audit rules are frozen (enabled 2)", "rules"),
    206: ("the rule never,task silences every new process", "rules"),
}
REMEDIES = {
    200: "which auditctl has to find it: install which and audit",
    201: "which has to find checkmodule, semodule_package, semodule and restorecon: install them, and which",
    202: "see what semodule says of it; no other module may declare its type, and no other semodule be at work",
    203: f"run restorecon -R {SOCKET_FOLDER}, and see what it says",
}
_LACKS = (
    r"\b(?:missing|not (?:be )?(?:found|installed|available|present)|no such|absent|unavailable|cannot find|lacks?)\b"
    r"|\bno .*\b(?:available|found|installed)\b"
)
_FAILS = r"\b(?:fail\w*|errors?|unable|can ?not|could ?n[o']t|not (?:be )?(?:installed|loaded|listed|present))\b"
# its wording may change: what a line of each cause names, and what it says of that; the more particular cause first
SIGNS = (
    (201, r"\b(?:checkmodule|semodule_package|semodule|restorecon|policycoreutils)\b|selinux .*(?:tool|utilit|command)",
     _LACKS),
    (203, r"\b(?:restorecon|relabel\w*|label|context)\b", _FAILS),
    (202, r"\b(?:semodule|modules?|plugin|policy)\b", _FAILS),
    (200, r"\bauditctl\b", f"{_LACKS}|{_FAILS}"),
    (204, r"dispatcher", r"\b(?:off|disabled|not enabled|non[- ]dispatcher)\b|(?:=|\bto|\bis) ?0\b"),
    (206, r"\bnever,\s*task\b|\btask,\s*never\b", ""),
    (205, r"(?<!not )\b(?:immutable|locked|frozen)\b|\benabled\W+2\b|(?<!\S)-e ?2\b", ""),
)  # fmt: skip
_EXIT = r"\b(?:exit\w*|status|code|rc|error)\W{0,3}(?:(?:with|code|status|is)\W{1,3}){0,2}(20[0-6])\b"
_GOOD = r"\bcompleted?\b|\bsuccess(?:ful|fully)?\b"
_LAST = 20  # lines of the log in which the end of the last start or stop is looked for
TAIL = 65536  # bytes of a log's end that are ever read


def restarts_auditd(host: Reader, seen: AgentFacts) -> bool:
    """Whether a start of the agent restarts auditd: its script does, where there is FIM to start."""
    starts_fim = bool(seen.edr or seen.manifests)
    return starts_fim and any(host.holds(path, b"auditd restart") for path in host.glob(f"{ROOT}/bin/*.sh"))


def look(
    host: Reader, service: Service, running: Mapping[str, Process], audit: AuditFacts,
    steps: Sequence[Mapping[str, Any]], boot: str, since: float,
) -> AgentFacts:  # fmt: skip
    """What is seen of the agent; `running` by name, `steps` of the journal, `since` this boot's beginning (epoch)."""
    conf = host.read(CONF)
    values = _values(conf.text if conf else "")
    identity = next((path for path in _identities(values) if host.stat(path)), "")
    if conf is None and host.stat(PROGRAM) is None and not service.present:
        return AgentFacts(identity=identity)
    switch = values[DISPATCHER_KEY]
    folder = _folder(values[LOG_KEY], LOG_FOLDER)
    log, script_log = host.stat(f"{folder}/{LOG}"), host.stat(f"{folder}/{SCRIPT_LOG}")
    registered, problem = _registration(host, audit)
    copied = host.stat(registered) if registered else None
    edr, main, script = (running.get(name) for name in (EDR, SERVICE, SCRIPT))
    said = verdict(host.tail(script_log.path, TAIL)) if script_log else None
    said = said._replace(at=script_log.mtime) if said and script_log else None
    restart = _last(steps, ("start", "restart"), SERVICE)
    restarted_at = _moment(restart, boot, since)
    loaded_at = _moment(_last(steps, ("policy", "reload")), boot, since)
    sign, sign_at = _newest(
        (script, f"{SCRIPT} began"), (running.get(SEMODULE), "semodule began"),
        (main, "it was started"), (audit.daemon, "auditd was started"),
        (script_log, f"{folder}/{SCRIPT_LOG} was written to"),
    )  # fmt: skip
    return AgentFacts(
        installed=True,
        legacy=edr is None and (OLD in running or (log is None and _old_log(host, folder))),
        dispatcher_setting=switch[-1][1] if switch else "unset",
        setting_line=f"{CONF}:{switch[-1][0]}" if switch else CONF,
        settings_repeated=len(switch) > 1,
        service=service,
        main=main,
        edr=edr,
        plugin=running.get(PLUGIN),
        plugin_file=host.stat(PLUGIN_PROGRAM),
        registration=registered,
        registration_problem=problem,
        registered_at=copied.mtime if copied else 0.0,
        manifests=len(host.glob(MANIFESTS)),
        log=f"{folder}/{LOG}",
        log_size=log.size if log else -1,
        log_written=log.mtime if log else 0.0,
        events=f"{folder}/{EVENTS}",
        script=script,
        sign=sign,
        sign_at=sign_at,
        verdict=said,
        script_log=f"{folder}/{SCRIPT_LOG}",
        restarted_at=restarted_at,
        answered=int(restart.get("answers", 0)),
        # once: a restart of ours is the answer to it
        collided=said is not None and said.code == 202 and restarted_at < loaded_at <= said.at,
        identity=identity,
    )


def _values(text: str) -> dict[str, list[tuple[int, str]]]:
    """Line number and value of each key that is kept, in the order of the file."""
    values: dict[str, list[tuple[int, str]]] = {key: [] for key in KEYS}
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = line.partition("=")
        if equals and key in values:
            values[key].append((number, value.strip()))
    return values


def _folder(given: Sequence[tuple[int, str]], usual: str) -> str:
    """The last value of a key that names a folder, or the usual one."""
    value = given[-1][1] if given else ""
    return value.rstrip("/") if value.startswith("/") else usual


def _identities(values: Mapping[str, Sequence[tuple[int, str]]]) -> list[str]:
    return [f"{folder}/{IDENTITY}" for folder in (_folder(values[IDENTITY_KEY], "/etc"), "/etc")]


def _newest(*signs: tuple[Any, str]) -> tuple[str, float]:
    """What was last seen to move, and when (epoch)."""
    seen = [(thing.started if isinstance(thing, Process) else thing.mtime, words) for thing, words in signs if thing]
    at, words = max(seen, default=(0.0, ""))
    return words, at


def _old_log(host: Reader, folder: str) -> bool:
    return host.stat(f"{folder}/{OLD}.log") is not None


# ---------------------------------------------------------------------- the plugin file


def registrations(plugins: Iterable[File]) -> list[File]:
    """The plugin files that name the agent's plugin, of those whose names the loader does not pass over.

    One that cannot be read counts where the agent puts its own.
    """
    names = ((file.path.rpartition("/")[2], file) for file in plugins)
    read = (file for name, file in names if not name.startswith(".") and name.count(".") < 2)
    return [file for file in read if (file.problem and not file.text and file.path in PLUGIN_FILES.values())
            or plugin_file.values(file.text).get("path", "").rpartition("/")[2] == PLUGIN]  # fmt: skip


def _registration(host: Reader, audit: AuditFacts) -> tuple[str, str]:
    """The plugin file that names the agent's plugin, and why nothing is started by it; a good one comes first."""
    by_group = auditd_conf.HALT not in audit.dialect  # before audit 4.2
    found = [(file.path, plugin_file.problem(file, host.stat(file.path), by_group))
             for file in registrations(audit.plugins)]  # fmt: skip
    path, why = min(found, key=lambda one: bool(one[1]), default=("", ""))
    return (path, f"{path}: {why}" if why else "") if path else ("", _unread(host, audit))


def _unread(host: Reader, audit: AuditFacts) -> str:
    """A plugin file in a folder that the dispatcher does not read: of audit 2.x, or of a plugin_dir that was moved."""
    there = (file for path in PLUGIN_FILES.values() if audit.generation and (file := host.read(path)))
    where = f"is not read by audit {audit.generation}, which reads {audit.plugin_dir}"
    return next((f"{file.path} {where}" for file in registrations(there)), "")


# ---------------------------------------------------------------------- the script's log


def verdict(tail: bytes) -> Optional[Verdict]:
    """How the last run of the script ended, by the end of its log; None where no line says it."""
    lines = [line for line in tail.decode(errors="replace").splitlines() if line.strip()]
    for line in reversed(lines[-_LAST:]):
        low = line.lower()
        if number := re.search(_EXIT, low):
            return Verdict(int(number[1]), line.strip())
        if code := next((code for code, what, how in SIGNS if re.search(what, low) and re.search(how, low)), 0):
            return Verdict(code, line.strip())
        if re.search(_GOOD, low):
            return Verdict(0, line.strip())
    return None


def _moment(step: Mapping[str, Any], boot: str, since: float) -> float:
    """When a step was taken in this boot (epoch), or 0: kept as seconds since the boot, which no clock changes."""
    return since + float(step.get("uptime", 0.0)) if boot and step.get("boot") == boot else 0.0


def _last(steps: Sequence[Mapping[str, Any]], kinds: Sequence[str], service: str = "") -> Mapping[str, Any]:
    """The last step of these kinds, or an empty one."""
    fitting = (step for step in reversed(steps) if step.get("kind") in kinds and step.get("service", "") == service)
    return next(fitting, {})
