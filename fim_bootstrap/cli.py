"""The words of the command line: parse, run, print, exit. The only module that prints."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import engine, export, options, profiles, report, waiting
from .changes import journal, leftovers
from .errors import Blocked, BootstrapError, NeedsRoot, Unsupported
from .facts import own_files, system
from .facts.gather import gather
from .host.files import sweep
from .host.live import LiveHost
from .host.reader import LOG, RUN
from .managers import lookup
from .managers.rows import MANAGERS
from .model import Change, Environment, Facts, Profile, Settings, Status
from .progress import Progress
from .redact import SENTENCE, one_line, redacted, shown
from .resources import from_source

# what the vendor says of the other systems it has agents for
FOREIGN = {
    "aix": "AIX has neither auditd nor SELinux; the vendor asks for nothing to be installed there",
    "darwin": "the vendor does not support FIM on macOS",
}

KEPT_ELSEWHERE = f"move {journal.JOURNAL} to another place and keep it: it tells what was done; then run again"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status."""
    begun = time.monotonic()
    words = sys.argv[1:] if argv is None else argv
    command, values = "", {"format": "json" if "json" in " ".join(words) else "text"}
    try:
        command, values = options.parse(words)
        system = next((why for name, why in FOREIGN.items() if sys.platform.startswith(name)), "")
        if system and command != "fleet":  # which is about other hosts
            raise Unsupported(system, "run this on a Linux host")
        return COMMANDS[command](values, begun)
    except BootstrapError as error:
        return _failed(command, values, error, begun)
    except KeyboardInterrupt:
        _tell("fim-bootstrap: interrupted; run it again to finish")
        return 130
    except Exception as error:  # noqa: BLE001 - who reads the JSON must get one, whatever happened
        import traceback

        for line in traceback.format_exc().splitlines():
            LiveHost().log(line)
        mistake = BootstrapError(f"a mistake in this program: {type(error).__name__}: {error}", f"report it with {LOG}")
        return _failed(command, values, mistake, begun)
    finally:
        if unpacked := getattr(sys, "_MEIPASS", ""):
            sweep(os.path.dirname(unpacked))


def _failed(command: str, values: Mapping[str, Any], error: BootstrapError, begun: float) -> int:
    """Say what went wrong on stderr, and on stdout to a program."""
    _tell(f"fim-bootstrap: {error}")
    for number, line in enumerate(error.remedy.splitlines()):
        _tell(f"{'     ' if number else '  -> '}{line}")
    if values.get("format") == "json":
        with contextlib.suppress(BootstrapError):
            _print(_dump(report.of_error(command, error, time.monotonic() - begun)))
    return error.exit_code


@contextlib.contextmanager
def _reported(command: str, values: Mapping[str, Any], begun: float) -> Iterator[_Places]:
    """Where --report and --metrics go; what ends the run before there is a report is reported there, too."""
    places = _Places(export.settle(values["report"]), export.settle(values["metrics"], "--metrics"))
    try:
        yield places
    except BootstrapError as error:
        _delivered(places, report.of_error(command, error, time.monotonic() - begun))
        raise


class _Places(NamedTuple):
    """Where the report goes besides stdout."""

    report: export.Export
    metrics: export.Export


def _delivered(places: _Places, document: dict[str, Any]) -> bool:
    """Whether the report got where it was to go, as JSON and as metrics."""
    told = [_attempted(lambda: export.deliver(places.report, _dump(document)))]
    if places.metrics != export.Export():
        from . import metrics

        told.append(_attempted(lambda: export.deliver(places.metrics, metrics.of(document))))
    return all(told)


def _attempted(action: Callable[[], object]) -> bool:
    """Whether it could be done; one reader of the result who gets nothing costs the others nothing."""
    try:
        action()
    except BootstrapError as error:
        _tell(f"fim-bootstrap: {error}")
        return False
    return True


class _Session:
    """One run: the host, what is asked for, and the profile that fits."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.settings: Settings = options.settings(values)
        self.host = LiveHost(self.settings.root or "/", _progress())
        self.looked = False  # what would be said of the journal counts before the first change alone
        self.release = system.identify(self.host)
        table = profiles.load(profiles.standard_places(self.host, self.settings.profiles))
        self.profile: Profile = profiles.select(table, self.release, self.settings.profile, self.host.which)

    def look(self) -> Facts:
        """The facts as they are now."""
        found = gather(self.host, self.profile, self.settings, self.release)
        if found.environment is Environment.CONTAINER:
            mark = system.container_mark(self.host) or "/run/systemd/system is missing, and process 1 is not init"
            raise Unsupported(
                f"a container, or a system without an init ({mark}): the kernel's audit belongs to the host outside",
                "run it on that host; to prepare an image, name the tree: --root /",
            )
        seen = engine.asked(self.host, found, self.profile, self.settings)
        why = journal.unfit(self.host) if seen.privileged and not self.looked else ""
        self.looked = True
        if why and any(finding.changes for finding in engine.plan(seen, self.profile, self.settings)):
            raise Blocked(f"{why}; what is done here could not be taken back", KEPT_ELSEWHERE)
        return seen

    def look_and_probe(self, waits: bool = False) -> Facts:
        """The facts, of an agent that has started if it is waited for, and what became of a test event if asked for."""
        found = self.look()
        if waits:
            found = waiting.until_started(self.look, found, self.settings, _tell)
        if self.settings.probe:
            from .probe import probe

            found = found._replace(delivery=probe(self.host, found, self.settings))
        return found


def _check(values: Mapping[str, Any], begun: float) -> int:
    with _reported("check", values, begun) as places:
        session = _Session(values)
        found = session.look_and_probe(waits=values.get("wait", False))
        outcome = engine.Outcome(engine.plan(found, session.profile, session.settings), found)
        document = _document("check", outcome, session, begun)
    return _ended(report.exit_code("check", outcome), _delivered(places, document), document, values)


def _apply(values: Mapping[str, Any], begun: float) -> int:
    if values["dry-run"]:
        _check({**values, "probe": False}, begun)
        return 0
    _need_root("apply")
    with _reported("apply", values, begun) as places:
        session = _Session(values)
        own = session.settings.first_boot or (session.settings.guard and session.host.which("systemctl"))
        if own and from_source() and not any(map(session.host.stat, (own_files.PROGRAM, own_files.PACKAGED))):
            raise Blocked(f"{own_files.PROGRAM} has to be the one-file binary; this is a source run", "make binary")
        with session.host.alone():
            outcome = _converged(session, begun)
            document = _document("apply", outcome, session, begun)
            host, text, wanted = session.host, _dump(document), values["reboot"]
            delivered = [_delivered(places, document)]
            if host.root == "/":
                delivered.append(_attempted(lambda: host.create(f"{RUN}/result.json", text.encode(), 0o644)))
            host.log(document["comment"])
            if document["reboot_required"]:
                delivered.append(_attempted(lambda: _reboot(wanted, session)))
    status = report.exit_code("apply", outcome, values["detailed-exitcode"])
    return _ended(status, all(delivered), document, values)


def _reboot(wanted: str, session: _Session) -> None:
    """What --reboot wants of a reboot that is due: to have it, or to tell the system's own tooling."""
    if wanted == "when-needed":
        session.host.run("shutdown", "-r", "+1", "fim-bootstrap: audit rules take effect at this boot")
    elif wanted == "mark":
        from . import reboot_mark

        _tell(f"fim-bootstrap: {reboot_mark.leave(session.host, session.profile.managers)}")


def _converged(session: _Session, begun: float) -> engine.Outcome:
    """What came of the changes; with the lock in hand."""
    host, settings = session.host, session.settings
    leftovers.tidy(host, journal.entries(host))
    if lost := journal.damage(host):
        _tell(f"fim-bootstrap: {lost}; what they recorded cannot be taken back")
    host.log(f"apply {' '.join(sys.argv[1:])}")

    def say(line: str) -> None:
        host.log(line)
        _tell(f"[{time.monotonic() - begun:6.1f} s] {line}")

    def tell(requirement: str, change: Change) -> None:
        say(f"{requirement}: {change.describe()}")

    outcome = engine.converge(host, session.look, session.profile, settings, tell, say)
    if not settings.probe or outcome.error:
        return outcome
    found = session.look_and_probe()
    return outcome.probed(found, engine.plan(found, session.profile, settings))


def _ended(status: int, delivered: bool, document: dict[str, Any], values: Mapping[str, Any]) -> int:
    """Print the result, last of all; the exit status, which a result that got lost makes a failure."""
    text = _dump(document) if values["format"] == "json" else report.as_text(document, values["verbose"])
    printed = _attempted(lambda: _print(text))
    return status if (delivered and printed) or status not in (0, 2, 3) else 1


def _revert(values: Mapping[str, Any], begun: float) -> int:
    from .changes import revert

    _need_root("revert")
    settings = options.settings(values)
    host = LiveHost(settings.root or "/", _progress())
    with host.alone():
        steps = journal.entries(host)
        leftovers.tidy(host, steps)
        live = system.environment(host, bool(settings.root)).live
        if live:
            waiting.until_quiet(host, settings.agent_timeout, _tell)
        undone, notes, problems = revert.take_back(host, steps, _tell, live)
        host.remove(f"{RUN}/result.json")  # it told of the host as apply left it
        if values["packages"]:
            removed, failed = revert.remove_packages(host, steps, settings.lock_timeout)
            undone, problems = undone + removed, [*problems, *failed]
        if lost := journal.damage(host):
            problems.append(BootstrapError(lost, "what they recorded is not taken back; look at the log for it"))
    said = [*notes, *(str(problem) for problem in problems)]
    line = "; ".join((f"{undone} step{'s' * (undone != 1)} taken back", *said))
    remedies = [problem.remedy for problem in problems if problem.remedy]
    document = {
        "command": "revert", "changed": undone > 0, "failed": bool(problems), "comment": line, "msg": line,
        "remedies": remedies,
    }  # fmt: skip
    if values["format"] == "json":
        _print(_dump(document))
    else:
        _say((line, *(part for remedy in remedies for part in remedy.splitlines())))
    return 1 if problems else 0


def _facts(values: Mapping[str, Any], begun: float) -> int:
    session = _Session(values)
    found = gather(session.host, session.profile, session.settings, session.release)
    _print(_dump(_plain(found)))
    return 0


def _profiles(values: Mapping[str, Any], begun: float) -> int:
    settings = options.settings(values)
    host = LiveHost(settings.root or "/")
    table = profiles.load(profiles.standard_places(host, settings.profiles))
    if not values["resolve"]:
        wanted = settings.profile
        listed = [p for p in table if (p.ids or p.platform) and wanted in ("", p.id)]
        if values["format"] == "json":
            _print(_dump(_plain(listed)))
        else:
            _say(f"{p.id:14} {p.title:38} {' '.join(p.managers):14} tested: {p.tested}" for p in listed)
        return 0
    profile = profiles.select(table, system.identify(host), settings.profile, host.which)
    name, _ = lookup.choose(host, profile)
    if not name:
        raise Unsupported(f"none of {', '.join(profile.managers)} is here", "choose another profile with --profile")
    order = lookup.Order(MANAGERS[name], profile, profile.packages, 0.0)
    found, unasked = lookup.available(host, order)
    rows = {c: [n for n in alternatives if n in found] for c, alternatives in profile.packages.items()}
    if values["format"] == "json":
        _print(_dump({"profile": profile.id, "packages": rows, "not_looked_up": unasked}))
    else:
        head = f"profile {profile.id}: {profile.title}" + (f" ({profile.nearest})" if profile.nearest else "")
        lacking = "not looked up" if unasked else "NOT IN THE REPOSITORIES"
        _say((head, *(f"{c:18} {' '.join(n) or lacking}" for c, n in rows.items())))
        if unasked:
            _tell(f"not looked up: {unasked}")
    return 0 if all(rows.values()) else 3


def _reboot_required(values: Mapping[str, Any], begun: float) -> int:
    _need_root("reboot-required")
    session = _Session(values)
    findings = engine.plan(session.look(), session.profile, session.settings)
    needed = any(finding.status is Status.REBOOT for finding in findings)
    _print(_dump({"reboot_required": needed}) if values["format"] == "json" else "yes" if needed else "no")
    return 0 if needed else 1


def _exception(values: Mapping[str, Any], begun: float) -> int:
    from .compliance import command

    _need_root("exception")
    session = _Session(values)
    found = gather(session.host, session.profile, session.settings, session.release)
    outcome = command.run(session.host, found, values)
    places = [(export.settle(path, "--output"), text) for path, text in outcome.files]
    for line in outcome.told:
        _tell(f"fim-bootstrap: {line}")
    for place, text in places:
        export.deliver(place, text.rstrip("\n"))
    _print(outcome.out.rstrip("\n"))
    return 0


def _cloud_config(values: Mapping[str, Any], begun: float) -> int:
    from . import cloud_init

    passed = [option for option in options.OPTIONS if {"apply", "cloud-config"} <= {*option.commands}]
    chosen = {option.name: values[option.name] for option in passed if values[option.name] != option.default}
    _print(cloud_init.user_data(values["url"], values["sha256"], values["part"], chosen).rstrip("\n"))
    return 0


def _fleet(values: Mapping[str, Any], begun: float) -> int:
    from .fleet.command import run

    asked = {option: values[option] for option in ("html", "csv", "plan") if values[option]}
    places = {path: export.settle(path, f"--{option}") for option, path in asked.items()}
    outcome = run(values, time.time())
    for line in outcome.told:
        _tell(f"fim-bootstrap: {line}")
    for path, text in outcome.files:
        export.deliver(places[path], text)
    _print(outcome.out)
    return outcome.status


COMMANDS = {
    "check": _check,
    "apply": _apply,
    "revert": _revert,
    "facts": _facts,
    "profiles": _profiles,
    "reboot-required": _reboot_required,
    "exception": _exception,
    "cloud-config": _cloud_config,
    "fleet": _fleet,
}


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise NeedsRoot(f"{command} needs root", f"sudo fim-bootstrap {command}")
    if not os.path.isdir("/proc/self/fd"):  # in a chroot; sh starts nothing then
        raise Blocked(f"/proc is not mounted here, and {command} needs it", "mount -t proc proc /proc, then run again")


def _document(command: str, outcome: engine.Outcome, session: _Session, begun: float) -> dict[str, Any]:
    return report.as_json(command, outcome, session.profile, session.settings, time.monotonic() - begun)


def _dump(document: Any) -> str:
    return json.dumps(redacted(document), indent=2)


def _plain(value: Any) -> Any:
    """The value as JSON has it: a record is an object, a set is sorted, a word of an enumeration is a text."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.value if isinstance(value, enum.Enum) else value


def _say(lines: Iterable[str]) -> None:
    _print("\n".join(shown(line, SENTENCE) for line in lines))


def _print(text: str) -> None:
    """All of it to stdout; a reader who has seen enough (`| head`) is no failure."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # there is no stdout where it was closed
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        raise BootstrapError(f"the result cannot be printed: {error.strerror}", "--report FILE") from error


def _progress() -> Progress:
    terminal = bool(sys.stderr) and sys.stderr.isatty()  # there is no stderr where it was closed
    return Progress(_tell, _rewrite if terminal else None)


def _rewrite(line: str) -> None:
    """Replace the last line of the terminal, which holds no more than its width."""
    with contextlib.suppress(OSError):
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        print(f"\r\x1b[K{one_line(line)[: width - 1]}", end="", file=sys.stderr, flush=True)


def _tell(line: str) -> None:
    """A line for a person, on stderr; one that cannot be told stops nothing."""
    if sys.stderr:  # print would take stdout where it was closed
        with contextlib.suppress(OSError):
            print(shown(line, SENTENCE), file=sys.stderr, flush=True)
