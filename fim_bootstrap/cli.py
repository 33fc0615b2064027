"""The commands: parse the command line, run one, deliver its result, exit."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import __version__, arguments, engine, export, option_table, options, output, profiles, report, screen, waiting
from .again import Again, called, typed
from .changes import journal, leftovers
from .commands import BY_NAME, NAMES
from .errors import Blocked, BootstrapError, NeedsRoot, Unsupported, Usage
from .facts import own_files, system, versions
from .facts.gather import gather
from .host.files import sweep
from .host.live import LiveHost
from .host.reader import LOG, RUN
from .managers import lookup
from .managers.rows import MANAGERS
from .model import Status
from .progress import Progress
from .requirements import IDS
from .resources import from_source
from .session import Session
from .spelling import guess

# what the vendor says of the other systems it has agents for
FOREIGN = {
    "aix": "AIX has neither auditd nor SELinux; the vendor asks for nothing to be installed there",
    "darwin": "the vendor does not support FIM on macOS",
}


class Call(NamedTuple):
    """A command that was called: the values of its options, how it is typed again, and when it began (monotonic)."""

    values: Mapping[str, Any]
    again: Again
    begun: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status."""
    begun = time.monotonic()
    words = sys.argv[1:] if argv is None else argv
    command, values = arguments.command_of(words), {"format": "json" if "json" in " ".join(words) else "text"}
    try:
        command, values = options.parse(words)
        system = next((why for name, why in FOREIGN.items() if sys.platform.startswith(name)), "")
        if system and Unsupported.exit_code in BY_NAME[command].exits:
            raise Unsupported(system, "run this on a Linux host")
        return COMMANDS[command](Call(values, typed(words, os.environ, called()), begun))
    except BootstrapError as error:
        return _failed(command, values, error, begun)
    except KeyboardInterrupt:
        output.tell("fim-bootstrap: interrupted; run it again to finish")
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
    name = f"fim-bootstrap {command}".rstrip() if isinstance(error, Usage) else "fim-bootstrap"
    output.tell(f"{name}: {error}")
    remedy = error.remedy or (f"fim-bootstrap help {command}" if isinstance(error, Usage) else "")
    for number, line in enumerate(remedy.splitlines()):
        output.tell(f"{'     ' if number else '  -> '}{line}")
    if values.get("format") == "json":
        with contextlib.suppress(BootstrapError):
            output.result(output.dump(_of_error(command, error, values, begun)))
    return error.exit_code


def _of_error(command: str, error: BootstrapError, values: Mapping[str, Any], begun: float) -> dict[str, Any]:
    """The report of a run that ended early; of a tree that is not running it does not tell the builder's name."""
    known = {} if values.get("root") else versions.this_machine(LiveHost())
    return report.of_error(command, error, time.monotonic() - begun, known)


@contextlib.contextmanager
def _reported(command: str, call: Call) -> Iterator[_Places]:
    """Where --report and --metrics go; what ends the run before there is a report is reported there, too."""
    places = _Places(export.settle(call.values["report"]), export.settle(call.values["metrics"], "--metrics"))
    try:
        yield places
    except BootstrapError as error:
        _delivered(places, _of_error(command, error, call.values, call.begun))
        raise


class _Places(NamedTuple):
    """Where the report goes besides stdout."""

    report: export.Export
    metrics: export.Export


def _delivered(places: _Places, document: dict[str, Any]) -> bool:
    """Whether the report got where it was to go, as JSON and as metrics."""
    told = []
    if places.report != export.Export():
        told.append(_attempted(lambda: export.deliver(places.report, output.dump(document))))
    if places.metrics != export.Export():
        from . import metrics

        told.append(_attempted(lambda: export.deliver(places.metrics, metrics.of(document))))
    return all(told)


def _attempted(action: Callable[[], object]) -> bool:
    """Whether it could be done; one reader of the result who gets nothing costs the others nothing."""
    try:
        action()
    except BootstrapError as error:
        output.tell(f"fim-bootstrap: {error}")
        return False
    return True


def _session(call: Call) -> Session:
    quiet = call.values.get("brief", False)  # one line for each run, and that is the verdict
    return Session(options.settings(call.values), Progress() if quiet else output.progress())


def _check(call: Call, status: Optional[int] = None) -> int:
    """`status` is what it ends with, whatever is found."""
    with _reported("check", call) as places:
        session = _session(call)
        outcome = session.check(waits=call.values.get("wait", False))
        status = report.exit_code("check", outcome) if status is None else status
        document = _document("check", outcome, session, call, status)
    return _ended(status, _delivered(places, document), document, call.values)


def _apply(call: Call) -> int:
    values = call.values
    if values["dry-run"]:
        return _check(call._replace(values={**values, "probe": False}), 0)
    _need_root("apply", call.again)
    with _reported("apply", call) as places:
        session = _session(call)
        own = session.settings.first_boot or (session.settings.guard and session.host.which("systemctl"))
        if own and from_source() and not any(map(session.host.stat, (own_files.PROGRAM, own_files.PACKAGED))):
            raise Blocked(f"{own_files.PROGRAM} has to be the one-file binary; this is a source run", "make binary")
        with session.host.alone():
            leftovers.tidy(session.host, journal.entries(session.host))
            if lost := journal.damage(session.host):
                output.tell(f"fim-bootstrap: {lost}; what they recorded cannot be taken back")
            session.host.log(f"apply {' '.join(sys.argv[1:])}")
            outcome = session.converge()
            status = report.exit_code("apply", outcome, values["detailed-exitcode"])
            document = _document("apply", outcome, session, call, status)
            host, wanted = session.host, values["reboot"]
            delivered = [_delivered(places, document)]
            if host.root == "/":
                text = output.dump(document)
                delivered.append(_attempted(lambda: host.create(f"{RUN}/result.json", text.encode(), 0o644)))
            host.log(document["comment"])
            if document["reboot_required"]:
                delivered.append(_attempted(lambda: _reboot(wanted, session)))
    return _ended(status, all(delivered), document, values)


def _reboot(wanted: str, session: Session) -> None:
    """What --reboot wants of a reboot that is due: to have it, or to tell the system's own tooling."""
    if wanted == "when-needed":
        session.host.run("shutdown", "-r", "+1", "fim-bootstrap: audit rules take effect at this boot")
    elif wanted == "mark":
        from . import reboot_mark

        output.tell(f"fim-bootstrap: {reboot_mark.leave(session.host, session.profile.managers)}")


def _ended(status: int, delivered: bool, document: dict[str, Any], values: Mapping[str, Any]) -> int:
    """Print the result, last of all; the exit status, which a result that got lost makes a failure."""
    if values["format"] == "json":
        text = output.dump(document)
    elif values.get("brief"):
        text = screen.brief(document)
    else:
        text = screen.text(document, output.style(values["verbose"]))
    printed = _attempted(lambda: output.result(text))
    return status if (delivered and printed) or status not in (0, 2, 3) else 1


def _revert(call: Call) -> int:
    from .changes import revert

    _need_root("revert", call.again)
    values = call.values
    settings, progress = options.settings(values), output.progress()
    host = LiveHost(settings.root or "/", progress)
    with host.alone():
        steps = journal.entries(host)
        leftovers.tidy(host, steps)
        live = system.environment(host, bool(settings.root)).live
        if live:
            waiting.until_quiet(host, settings.agent_timeout, host.waits)
            progress.over()
        undone, notes, problems = revert.take_back(host, steps, output.tell, live)
        host.remove(f"{RUN}/result.json")  # it told of the host as apply left it
        if values["packages"]:
            removed, failed = revert.remove_packages(host, steps, settings.lock_timeout)
            undone, problems = undone + removed, [*problems, *failed]
        if lost := journal.damage(host):
            problems.append(BootstrapError(lost, "what they recorded is not taken back; look at the log for it"))
    said = [*notes, *(str(problem) for problem in problems)]
    line = "; ".join((f"{undone} step{'s' * (undone != 1)} taken back", *said))
    document = {
        "command": "revert", "changed": undone > 0, "failed": bool(problems), "comment": line, "msg": line,
        "remedies": [problem.remedy for problem in problems if problem.remedy], "exit_status": 1 if problems else 0,
    }  # fmt: skip
    told = [(str(problem), problem.remedy) for problem in problems]
    output.result(
        output.dump(document)
        if values["format"] == "json"
        else screen.taken_back(undone, notes, told, output.style(False))
    )
    return 1 if problems else 0


def _facts(call: Call) -> int:
    session = _session(call)
    found = gather(session.host, session.profile, session.settings, session.release)
    output.result(output.dump(output.plain(found)))
    return 0


def _profiles(call: Call) -> int:
    values = call.values
    settings = options.settings(values)
    host = LiveHost(settings.root or "/")
    table = profiles.load(profiles.standard_places(host, settings.profiles))
    if not values["resolve"]:
        wanted = settings.profile
        listed = [p for p in table if (p.ids or p.platform) and wanted in ("", p.id)]
        if values["format"] == "json":
            output.result(output.dump(output.plain(listed)))
        else:
            output.say(f"{p.id:14} {p.title:38} {' '.join(p.managers):14} tested: {p.tested}" for p in listed)
        return 0
    profile = profiles.select(table, system.identify(host), settings.profile, host.which)
    name, _ = lookup.choose(host, profile)
    if not name:
        raise Unsupported(f"none of {', '.join(profile.managers)} is here", "choose another profile with --profile")
    order = lookup.Order(MANAGERS[name], profile, profile.packages, 0.0)
    found, unasked = lookup.available(host, order)
    rows = {c: [n for n in alternatives if n in found] for c, alternatives in profile.packages.items()}
    if values["format"] == "json":
        output.result(output.dump({"profile": profile.id, "packages": rows, "not_looked_up": unasked}))
    else:
        head = f"profile {profile.id}: {profile.title}" + (f" ({profile.nearest})" if profile.nearest else "")
        lacking = "not looked up" if unasked else "NOT IN THE REPOSITORIES"
        output.say((head, *(f"{c:18} {' '.join(n) or lacking}" for c, n in rows.items())))
        if unasked:
            output.tell(f"not looked up: {unasked}")
    return 0 if all(rows.values()) else 3


def _reboot_required(call: Call) -> int:
    _need_root("reboot-required", call.again)
    session = _session(call)
    findings = engine.plan(session.look(), session.profile, session.settings)
    needed = any(finding.status is Status.REBOOT for finding in findings)
    text = output.dump({"reboot_required": needed}) if call.values["format"] == "json" else "yes" if needed else "no"
    _attempted(lambda: output.result(text))  # the status is the answer, whoever hears the words
    return 0 if needed else 1


def _exception(call: Call) -> int:
    from .compliance import command

    _need_root("exception", call.again)
    session = _session(call)
    found = gather(session.host, session.profile, session.settings, session.release)
    outcome = command.run(session.host, found, call.values)
    places = [(export.settle(path, "--output"), text) for path, text in outcome.files]
    for line in outcome.told:
        output.tell(f"fim-bootstrap: {line}")
    for place, text in places:
        export.deliver(place, text.rstrip("\n"))
    output.result(outcome.out.rstrip("\n"))
    return 0


def _cloud_config(call: Call) -> int:
    from . import cloud_init

    values = call.values
    passed = [option for option in option_table.OPTIONS if {"apply", "cloud-config"} <= {*option.commands}]
    chosen = {option.name: values[option.name] for option in passed if values[option.name] != option.default}
    output.result(cloud_init.user_data(values["url"], values["sha256"], values["part"], chosen).rstrip("\n"))
    return 0


def _fleet(call: Call) -> int:
    from .fleet.command import run

    values = call.values
    asked = {option: values[option] for option in ("html", "csv", "plan") if values[option]}
    places = {path: export.settle(path, f"--{option}") for option, path in asked.items()}
    outcome = run(values, time.time())
    for line in outcome.told:
        output.tell(f"fim-bootstrap: {line}")
    for path, text in outcome.files:
        export.deliver(places[path], text)
    output.result(outcome.out)
    return outcome.status


def _topic(call: Call, known: Sequence[str], what: str) -> str:
    """What a page is asked for, or '' for all of them; raises Usage where there is none of that name."""
    topic = next(iter(call.values["topic"]), "")
    if topic and topic not in known:
        raise Usage(f"there is no {what} {topic}{guess(topic, known)}", " ".join(known))
    return topic


def _help(call: Call) -> int:
    from . import manual

    topic = _topic(call, NAMES, "command")
    output.result(manual.page(topic) if topic else manual.index())
    return 0


def _explain(call: Call) -> int:
    from . import explanations

    topic = _topic(call, IDS, "requirement")
    output.result(explanations.page(topic) if topic else explanations.index())
    return 0


def _version(call: Call) -> int:
    output.result(f"fim-bootstrap {__version__}")
    return 0


COMMANDS: Mapping[str, Callable[[Call], int]] = {
    "check": _check,
    "apply": _apply,
    "revert": _revert,
    "facts": _facts,
    "profiles": _profiles,
    "reboot-required": _reboot_required,
    "exception": _exception,
    "cloud-config": _cloud_config,
    "fleet": _fleet,
    "explain": _explain,
    "help": _help,
    "version": _version,
}


def _need_root(command: str, again: Again) -> None:
    if os.geteuid() != 0:
        raise NeedsRoot(f"{command} needs root", again.same(command))
    if not os.path.isdir("/proc/self/fd"):  # in a chroot; sh starts nothing then
        raise Blocked(f"/proc is not mounted here, and {command} needs it", "mount -t proc proc /proc, then run again")


def _document(command: str, outcome: engine.Outcome, session: Session, call: Call, status: int) -> dict[str, Any]:
    seconds = time.monotonic() - call.begun
    return report.as_json(command, outcome, session.profile, session.settings, seconds, call.again, status)
