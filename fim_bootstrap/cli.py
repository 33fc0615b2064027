"""The words of the command line: parse, run, print, exit. The only module that prints."""

from __future__ import annotations

import enum
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import changes, dialects, engine, facts, journal, managers, options, profiles, report
from .errors import Blocked, BootstrapError, NeedsRoot, Unsupported
from .host import LOG, RUN, LiveHost, sweep
from .model import Change, Environment, Facts, Profile, Settings, Status
from .progress import Progress
from .redact import redact, redacted
from .resources import from_source

# what the vendor says of the other systems it has agents for
FOREIGN = {
    "aix": "AIX has neither auditd nor SELinux; the vendor asks for nothing to be installed there",
    "darwin": "the vendor does not support FIM on macOS",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status."""
    begun = time.monotonic()
    words = sys.argv[1:] if argv is None else argv
    command, values = "", {"format": "json" if "json" in " ".join(words) else "text"}
    try:
        command, values = options.parse(words)
        if system := next((why for name, why in FOREIGN.items() if sys.platform.startswith(name)), ""):
            raise Unsupported(system, "run this on a Linux host")
        return COMMANDS[command](values, begun)
    except BootstrapError as error:
        return _failed(command, values["format"], error, begun)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        _tell("fim-bootstrap: interrupted; run it again to finish")
        return 130
    except Exception as error:  # noqa: BLE001 - who reads the JSON must get one, whatever happened
        import traceback

        LiveHost(conceal=redact).log(traceback.format_exc())
        mistake = BootstrapError(f"a mistake in this program: {type(error).__name__}: {error}", f"report it with {LOG}")
        return _failed(command, values["format"], mistake, begun)
    finally:
        if unpacked := getattr(sys, "_MEIPASS", ""):
            sweep(os.path.dirname(unpacked))


def _failed(command: str, form: str, error: BootstrapError, begun: float) -> int:
    """Say what went wrong on stderr, and on stdout to a program."""
    _tell(f"fim-bootstrap: {error}")
    if error.remedy:
        _tell(f"  -> {error.remedy}")
    if form == "json":
        _print(_dump(report.of_error(command, error, time.monotonic() - begun)))
    return error.exit_code


class _Session:
    """One run: the host, what is asked for, and the profile that fits."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.settings: Settings = options.settings(values)
        self.host = LiveHost(self.settings.root or "/", redact, _progress())
        self.release = facts.identify(self.host)
        table = profiles.load(profiles.standard_folders(self.settings.profiles, self.settings.root))
        self.profile: Profile = profiles.select(table, self.release, self.settings.profile, self.host.which)

    def look(self) -> Facts:
        """The facts as they are now."""
        found = facts.gather(self.host, self.profile, self.settings, self.release)
        if found.environment is Environment.CONTAINER:
            mark = facts.container_mark(self.host) or "/run/systemd/system is missing, and process 1 is not init"
            raise Unsupported(
                f"a container, or a system without an init ({mark}): the kernel's audit belongs to the host outside",
                "run it on that host; to prepare an image, name the tree: --root /",
            )
        return found

    def look_and_probe(self) -> Facts:
        """The facts, and what became of a test event if one was asked for."""
        found = self.look()
        if self.settings.probe:
            from .probe import probe

            found = found._replace(delivery=probe(self.host, found))
        return found


def _check(values: Mapping[str, Any], begun: float) -> int:
    session = _Session(values)
    found = session.look_and_probe()
    outcome = engine.Outcome(engine.plan(found, session.profile, session.settings), found)
    _report("check", outcome, session, values, begun)
    return report.exit_code("check", outcome)


def _apply(values: Mapping[str, Any], begun: float) -> int:
    if values["dry-run"]:
        _check({**values, "probe": False}, begun)
        return 0
    _need_root("apply")
    session = _Session(values)
    guarded = session.settings.guard and session.host.which("systemctl")
    if (guarded or session.settings.first_boot) and from_source() and not session.host.stat(facts.PROGRAM):
        raise Blocked(f"{facts.PROGRAM} has to be the one-file binary; this is a source run", "make binary")
    with session.host.alone():
        changes.tidy(session.host, journal.entries(session.host))
        session.host.log(f"apply {' '.join(sys.argv[1:])}")

        def tell(requirement: str, change: Change) -> None:
            line = f"{requirement}: {change.describe()}"
            session.host.log(line)
            _tell(f"[{time.monotonic() - begun:6.1f} s] {line}")

        outcome = engine.converge(session.host, session.look, session.profile, session.settings, tell)
        if session.settings.probe and not outcome.error:
            found = session.look_and_probe()
            seen = engine.plan(found, session.profile, session.settings)
            outcome = outcome._replace(findings=(*outcome.findings[:-1], seen[-1]), facts=found)
        document = _report("apply", outcome, session, values, begun)
        if session.host.root == "/":
            session.host.create(f"{RUN}/result.json", _dump(document).encode(), 0o644)
        session.host.log(document["comment"])
        if values["reboot"] == "when-needed" and document["reboot_required"]:
            session.host.run("shutdown", "-r", "+1", "fim-bootstrap: audit rules take effect at this boot")
    return report.exit_code("apply", outcome, values["detailed-exitcode"])


def _revert(values: Mapping[str, Any], begun: float) -> int:
    from . import revert

    _need_root("revert")
    settings = options.settings(values)
    host = LiveHost(settings.root or "/", redact, _progress())
    with host.alone():
        steps = journal.entries(host)
        changes.tidy(host, steps)
        live = facts.environment(host, bool(settings.root)).live
        undone, notes, problems = revert.take_back(host, steps, _tell, live)
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
    _print(_dump(document) if values["format"] == "json" else redact("\n".join((line, *remedies))))
    return 1 if problems else 0


def _facts(values: Mapping[str, Any], begun: float) -> int:
    session = _Session(values)
    found = facts.gather(session.host, session.profile, session.settings, session.release)
    _print(_dump(_plain(found)))
    return 0


def _profiles(values: Mapping[str, Any], begun: float) -> int:
    settings = options.settings(values)
    host = LiveHost(settings.root or "/", redact)
    table = profiles.load(profiles.standard_folders(settings.profiles, settings.root))
    if not values["resolve"]:
        listed = [profile for profile in table if profile.ids or profile.platform]
        if values["format"] == "json":
            _print(_dump(_plain(listed)))
        else:
            _print("\n".join(f"{p.id:14} {p.title:38} {' '.join(p.managers):14} tested: {p.tested}" for p in listed))
        return 0
    profile = profiles.select(table, facts.identify(host), settings.profile, host.which)
    name, _ = managers.choose(host, profile)
    if not name:
        raise Unsupported(f"none of {', '.join(profile.managers)} is here", "choose another profile with --profile")
    order = managers.Order(dialects.MANAGERS[name], profile, profile.packages, 0.0)
    found, unasked = managers.available(host, order)
    rows = {c: [n for n in alternatives if n in found] for c, alternatives in profile.packages.items()}
    if values["format"] == "json":
        _print(_dump({"profile": profile.id, "packages": rows, "not_looked_up": unasked}))
    else:
        _print(f"profile {profile.id}: {profile.title}" + (f" ({profile.nearest})" if profile.nearest else ""))
        lacking = "not looked up" if unasked else "NOT IN THE REPOSITORIES"
        _print("\n".join(f"{c:18} {' '.join(n) or lacking}" for c, n in rows.items()))
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


def _cloud_config(values: Mapping[str, Any], begun: float) -> int:
    from . import cloud_init

    passed = ("mode", "profile", "only", "skip", "no-install", "dispatcher-line", "lock-timeout", "network-timeout")
    defaults = {option.name: option.default for option in options.OPTIONS}
    chosen = {name: values[name] for name in passed if values[name] != defaults[name]}
    _print(cloud_init.user_data(values["url"], values["sha256"], values["part"], chosen).rstrip("\n"))
    return 0


COMMANDS = {
    "check": _check,
    "apply": _apply,
    "revert": _revert,
    "facts": _facts,
    "profiles": _profiles,
    "reboot-required": _reboot_required,
    "cloud-config": _cloud_config,
}


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise NeedsRoot(f"{command} needs root", f"sudo fim-bootstrap {command}")
    if not os.path.isdir("/proc/self/fd"):  # in a chroot; sh starts nothing then
        raise Blocked(f"/proc is not mounted here, and {command} needs it", "mount -t proc proc /proc, then run again")


def _report(
    command: str, outcome: engine.Outcome, session: _Session, values: Mapping[str, Any], begun: float
) -> dict[str, Any]:
    document = report.as_json(command, outcome, session.profile, session.settings, time.monotonic() - begun)
    _print(_dump(document) if values["format"] == "json" else redact(report.as_text(document, values["verbose"])))
    if values["report"]:
        session.host.export(values["report"], _dump(document))
    return document


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
    return value.value if isinstance(value, enum.Enum) else value


def _print(text: str) -> None:
    print(text.encode("utf-8", "replace").decode("utf-8"), flush=True)


def _progress() -> Progress:
    return Progress(_tell, _rewrite if sys.stderr.isatty() else None)


def _rewrite(line: str) -> None:
    """Replace the last line of the terminal, which holds no more than its width."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    print(f"\r\x1b[K{redact(line)[: width - 1]}", end="", file=sys.stderr, flush=True)


def _tell(line: str) -> None:
    print(redact(line), file=sys.stderr, flush=True)
