"""What is seen of the agent: files, effective settings that matter here, processes, and its own log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ..audit import auditd_conf, plugin_file
from ..host.reader import File, Reader, Stat
from ..model import AgentFacts, AuditFacts, Process, Service, Verdict
from .vendor import (
    CONF,
    DISPATCHER_KEY,
    EDR,
    EVENTS,
    IDENTITY,
    IDENTITY_KEY,
    KEYS,
    LOG,
    LOG_FOLDER,
    LOG_KEY,
    MANIFESTS,
    OLD,
    PLUGIN,
    PLUGIN_FILES,
    PLUGIN_PROGRAM,
    PROGRAM,
    ROOT,
    SCRIPT,
    SCRIPT_LOG,
    SEMODULE,
    SERVICE,
    TAIL,
)


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
    said = _verdict(host, script_log) if script_log else None
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


def _verdict(host: Reader, log: Stat) -> Optional[Verdict]:
    """How the last start or stop of FIM ended, by the log of the script."""
    from .script_log import verdict  # only where FIM was ever started

    said = verdict(host.tail(log.path, TAIL))
    return said._replace(at=log.mtime) if said else None


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
    seen = [(thing.started if isinstance(thing, Process) else thing.mtime, sign) for thing, sign in signs if thing]
    at, sign = max(seen, default=(0.0, ""))
    return sign, at


def _old_log(host: Reader, folder: str) -> bool:
    return host.stat(f"{folder}/{OLD}.log") is not None


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
    found = [(file.path, plugin_file.problem(file, host.stat(file.path), by_group) or _no_program(host, file))
             for file in registrations(audit.plugins)]  # fmt: skip
    path, why = min(found, key=lambda one: bool(one[1]), default=("", ""))
    return (path, f"{path}: {why}" if why else "") if path else ("", _unread(host, audit))


def _no_program(host: Reader, file: File) -> str:
    path = plugin_file.values(file.text).get("path", "")
    return "" if host.stat(path) else f"path = {path} is not there"


def _unread(host: Reader, audit: AuditFacts) -> str:
    """A plugin file in a folder that the dispatcher does not read: of audit 2.x, or of a plugin_dir that was moved."""
    there = (file for path in PLUGIN_FILES.values() if audit.generation and (file := host.read(path)))
    where = f"is not read by audit {audit.generation}, which reads {audit.plugin_dir}"
    return next((f"{file.path} {where}" for file in registrations(there)), "")


def _moment(step: Mapping[str, Any], boot: str, since: float) -> float:
    """When a step was taken in this boot (epoch), or 0: kept as seconds since the boot, which no clock changes."""
    return since + float(step.get("uptime", 0.0)) if boot and step.get("boot") == boot else 0.0


def _last(steps: Sequence[Mapping[str, Any]], kinds: Sequence[str], service: str = "") -> Mapping[str, Any]:
    """The last step of these kinds, or an empty one."""
    fitting = (step for step in reversed(steps) if step.get("kind") in kinds and step.get("service", "") == service)
    return next(fitting, {})
