"""The options: one table for the command line, the environment (FIM_BOOTSTRAP_*) and the option file."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Optional

from . import __version__
from .agent.vendor import DISPATCHER_KEY
from .errors import BadConfig, BootstrapError, Usage
from .model import Settings
from .profiles import read_table, refuse_foreign
from .requirements import IDS

OPTION_FILE = "/etc/fim-bootstrap/config.toml"
FLAG, TEXT, NUMBER, LIST = "flag", "text", "number", "list"
EVERY = ("check", "apply", "revert", "facts", "profiles", "reboot-required", "cloud-config")  # what concerns a host
COMMANDS = (*EVERY, "exception", "fleet")


# what decides which requirements are looked at, and how
JUDGING = ("check", "apply")


class Option(NamedTuple):
    """One option: its long name, what it takes, which commands honour it, and a word of help."""

    name: str
    kind: str
    help: str
    default: Any = ""
    choices: tuple[str, ...] = ()
    commands: tuple[str, ...] = JUDGING
    metavar: str = ""


LOOKING = (*JUDGING, "facts", "profiles", "reboot-required")
FORMATS = ("markdown", "json", "xccdf-tailoring", "inspec-waiver", "ansible-lockdown", "image-builder")
OPTIONS = (
    Option("root", TEXT, "work on the tree below DIR, which is not running", "", (),
           (*LOOKING, "exception", "revert"), "DIR"),
    Option("mode", TEXT, f"how the agent gets events; auto reads its {DISPATCHER_KEY}", "auto",
           ("auto", "dispatcher", "direct"), (*JUDGING, "cloud-config")),
    Option("profile", TEXT, "use this profile instead of the one that os-release selects", "", (),
           (*LOOKING, "exception", "cloud-config"), "ID"),
    Option("profiles", TEXT, "read profiles from DIR too", "", (), (*LOOKING, "exception"), "DIR"),
    Option("format", TEXT, "what stdout carries", "text", ("text", "json"), (*LOOKING, "revert", "fleet")),
    Option("format", TEXT, "for a person, a register, a scanner or a hardening role", "markdown", FORMATS,
           ("exception",)),
    Option("report", TEXT, "write the JSON report to FILE as well", metavar="FILE"),
    Option("metrics", TEXT, "write metrics to FILE, for node_exporter's textfile collector", "", (),
           (*JUDGING, "cloud-config"), "FILE"),
    Option("only", LIST, "look at this requirement only (may be repeated)", (), IDS,
           (*JUDGING, "reboot-required", "cloud-config"), "ID"),
    Option("skip", LIST, "leave this requirement out (may be repeated)", (), IDS,
           (*JUDGING, "reboot-required", "cloud-config"), "ID"),
    Option("no-install", FLAG, "never call a package manager", False, (), (*JUDGING, "cloud-config")),
    Option("dispatcher-line", TEXT, "auto leaves the line out where audit ignores it", "always", ("always", "auto"),
           (*JUDGING, "cloud-config")),
    Option("lock-timeout", NUMBER, "seconds to wait for a package lock", 300.0, (),
           ("apply", "revert", "cloud-config"), "SECONDS"),
    Option("network-timeout", NUMBER, "seconds to wait for a network that is not there yet (default: 20, and 120"
            " while the system boots)", None, (), ("apply", "cloud-config"), "SECONDS"),
    Option("agent-timeout", NUMBER, "seconds without a sign of life after which an agent that starts has failed", 300.0,
           (), (*JUDGING, "cloud-config"), "SECONDS"),
    Option("wait", FLAG, "wait for an agent that is starting before judging it", False, (), ("check",)),
    Option("verbose", FLAG, "show the evidence of what is right, too", False),
    Option("probe", FLAG, "cause one harmless audit event and see it arrive", False),
    Option("dry-run", FLAG, "say what would be done; exit 0 whatever is found", False, (), ("apply",)),
    Option("reboot", TEXT, "if one is required: when-needed reboots a minute later, mark leaves the file by which the"
           " system's own tooling knows it", "never", ("never", "when-needed", "mark"), ("apply",)),
    Option("detailed-exitcode", FLAG, "exit 2 when something changed, 3 when a reboot is pending", False, (),
           ("apply",)),
    Option("first-boot", FLAG, "with --root: leave a unit in the tree that finishes at the first boot", False, (),
           ("apply",)),
    Option("guard", FLAG, "have systemd look for drift: at boot, every 15 minutes, after each change of auditd", False),
    Option("packages", FLAG, "remove the packages that were installed, too", False, (), ("revert",)),
    Option("url", TEXT, "where an instance fetches the binary from", "", (), ("cloud-config",), "URL"),
    Option("sha256", TEXT, "the binary's checksum (default: that of this binary)", "", (), ("cloud-config",), "HEX"),
    Option("part", TEXT, "a #cloud-config document, or the shell script alone", "config", ("config", "script"),
           ("cloud-config",)),
    Option("resolve", FLAG, "say which profile this host gets and whether its packages can be had", False, (),
           ("profiles",)),
    Option("output", TEXT, "write every format that fits this host into DIR", "", (), ("exception",), "DIR"),
    Option("owner", TEXT, "who answers for the exception", "", (), ("exception",), "NAME"),
    Option("approver", TEXT, "who approves it", "", (), ("exception",), "NAME"),
    Option("ticket", TEXT, "where it is decided", "", (), ("exception",), "ID"),
    Option("expires", TEXT, "when it ends (default: in a year)", "", (), ("exception",), "YYYY-MM-DD"),
    Option("datastream", TEXT, "SCAP content to tailor (default: that of this release, if it is installed)", "", (),
           ("exception",), "FILE"),
    Option("profile-id", LIST, "tailor this profile (default: each that selects the rule; may be repeated)", (), (),
           ("exception",), "ID"),
    Option("control", LIST, "the control's id in an InSpec profile (may be repeated)", (), (), ("exception",), "ID"),
    Option("html", TEXT, "write the page to FILE", "", (), ("fleet",), "FILE"),
    Option("csv", TEXT, "write a line for each host to FILE", "", (), ("fleet",), "FILE"),
    Option("plan", TEXT, "write the reboots in batches to FILE", "", (), ("fleet",), "FILE"),
    Option("plan-format", TEXT, "auto goes by FILE's ending: .csv, .ini (ansible), .conf (salt), else text", "auto",
           ("auto", "text", "csv", "ansible", "salt"), ("fleet",)),
    Option("batch", TEXT, "hosts in a batch: a number, or N%% of those to reboot", "10%", (), ("fleet",), "N"),
    Option("canary", TEXT, "reboot this many hosts first, of as many releases as there are", "0", (), ("fleet",), "N"),
    Option("group-by", TEXT, "never two of a group in a batch: a regular expression on host names, or a file of"
           " HOST GROUP lines", "", (), ("fleet",), "REGEX|FILE"),
    Option("exclude", LIST, "leave hosts out of the plan: a shell pattern (may be repeated)", (), (), ("fleet",),
           "PATTERN"),
    Option("since", TEXT, "compare with an earlier collection", "", (), ("fleet",), "FOLDER"),
    Option("stale", TEXT, "a report older than this says nothing any more: 36h, 7d, never", "7d", (), ("fleet",),
           "AGE"),
    Option("strict", FLAG, "exit 1 where a file had to be left out", False, (), ("fleet",)),
)  # fmt: skip
PREFIX = "FIM_BOOTSTRAP_"
# of two options with one name the first stands in the environment and in the file
VARIABLES = {f"{PREFIX}{option.name.upper().replace('-', '_')}": option for option in reversed(OPTIONS)}
FILE_VARIABLE = f"{PREFIX}CONFIG"
# words of a command that are no options: their name, and what they are
WORDS = {"fleet": ("reports", "REPORT", "a file, a folder or a pattern of reports; - is stdin")}
HELP = {
    "check": "say whether this host is ready, or what would change; changes nothing",
    "apply": "make this host ready; run it as often as you like",
    "revert": "take back what apply did, where it is still as apply left it",
    "facts": "print what is seen of this host, as JSON",
    "profiles": "list the distributions that are known",
    "exception": "print the record that this host's audit rules are not locked, for a scanner or for who signs it",
    "cloud-config": "print user-data that makes a new instance ready; the options go into its option file",
    "fleet": "read the reports of many hosts: who is ready, what breaks the others, and the reboots in batches",
    "reboot-required": "exit 0 if only a reboot makes the rules take effect, 1 if not",
}


class _Parser(argparse.ArgumentParser):
    def __init__(self, **manner: Any) -> None:
        # with a width of its own argparse loads nothing to ask the terminal for one
        super().__init__(**manner, formatter_class=lambda prog: argparse.HelpFormatter(prog, width=78))

    def error(self, message: str) -> NoReturn:
        """argparse's own status 2 would read as «changed»."""
        raise Usage(message, f"{self.prog} --help")


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command and the values of the options it honours: command line, then environment, then option file.

    A word on the command line that the command does not honour is refused. Environment and file are there for all
    commands: there only what no command knows is refused.
    """
    parser = _Parser(prog="fim-bootstrap", description="Make a host ready for auditd-based FIM, or say why it is not.")
    parser.add_argument("--version", action="version", version=f"fim-bootstrap {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    # the parsers of the other commands would take a tenth of a run that has nothing to do
    for command in argv[:1] if argv and argv[0] in COMMANDS else COMMANDS:
        sub = commands.add_parser(command, help=HELP[command], description=HELP[command])
        standard = f" (default {OPTION_FILE})" if command in EVERY else ""
        sub.add_argument("--config", metavar="FILE", help=f"option file{standard}")
        for option in OPTIONS:
            if command in option.commands:
                _add(sub, option)
        if command in WORDS:
            name, metavar, text = WORDS[command]
            sub.add_argument(name, nargs="+", metavar=metavar, help=text)
    given = vars(parser.parse_args(argv))
    command = given["command"]
    _refuse_unknown(os.environ)
    named = given["config"] or os.environ.get(FILE_VARIABLE)
    # the option file of this host is about this host, and only root may read it
    file, table = _option_file(named) if named or command in EVERY else (OPTION_FILE, {})
    values = {variable: _value(variable, option, given, file, table) for variable, option in VARIABLES.items()}
    honoured = {option.name: values[name] for name, option in VARIABLES.items() if command in option.commands}
    alone = [option for option in OPTIONS if command in option.commands and option.name not in honoured]
    honoured.update((option.name, _value("", option, given, file, {})) for option in alone)
    words = {WORDS[command][0]: given[WORDS[command][0]]} if command in WORDS else {}
    return command, {**words, **honoured}


def _value(variable: str, option: Option, given: Mapping[str, Any], file: str, table: Mapping[str, Any]) -> Any:
    name = option.name
    if (value := given.get(name.replace("-", "_"))) is not None:
        return _sound(f"--{name}", value, Usage)
    if variable in os.environ:
        return _from_text(variable, os.environ[variable], option)
    return _checked(f"{file}: {name}", table[name], option) if name in table else option.default


def settings(values: Mapping[str, Any]) -> Settings:
    """The part of the options that the requirements judge by."""
    root = values["root"]
    if values.get("first-boot") and not root:
        raise Usage("--first-boot is for a tree that is not running", "name it: --root DIR")
    if root and not os.path.isdir(root):
        raise Usage(f"--root {root}: no such directory", "name the folder in which the tree lies")
    names = {name: name.replace("-", "_") for name in values}
    fields = {field: values[name] for name, field in names.items() if field in Settings._fields}
    fields.update({field: tuple(value) for field, value in fields.items() if isinstance(value, list)})
    return Settings(**{**fields, "root": os.path.realpath(root) if root else "",
                       "install": not values.get("no-install", False)})  # fmt: skip


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {name[len(PREFIX) :] for name in (*VARIABLES, FILE_VARIABLE)}
    for name in environment:
        if name.startswith(PREFIX) and name[len(PREFIX) :] not in known:
            import difflib  # 4 ms, and only for a mistake

            near = difflib.get_close_matches(name[len(PREFIX) :], known, 1)
            advice = f"did you mean {PREFIX}{near[0]}?" if near else "fim-bootstrap --help"
            raise Usage(f"{name}: no such option", advice)


def _sound(where: str, value: Any, refusal: type[BootstrapError]) -> Any:
    """The value, if every text in it could be a file's name: no NUL, no half of a character (JSON can hold both)."""
    if isinstance(value, float) and math.isnan(value):  # no time is later than that
        raise Usage(f"{where}: must be a number of seconds, not nan")
    for item in (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)):
        try:
            if b"\0" not in os.fsencode(item):
                continue
        except UnicodeEncodeError:
            pass
        raise refusal(f"{where}: {item!r} holds what no name can hold")
    return value


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    flags = [f"--{option.name}", *(["-v"] if option.name == "verbose" else [])]
    if option.kind == FLAG:
        parser.add_argument(*flags, action="store_true", default=None, help=option.help)
        return
    kinds: dict[str, Any] = {NUMBER: float}
    parser.add_argument(
        *flags, help=option.help, metavar=option.metavar or None, choices=option.choices or None,
        type=kinds.get(option.kind, str), action="append" if option.kind == LIST else "store",
    )  # fmt: skip


def _option_file(named: Optional[str]) -> tuple[str, Mapping[str, Any]]:
    path = named or OPTION_FILE
    if not named:
        if not os.path.lexists(path):
            return path, {}
        refuse_foreign(path)
    table = read_table(path, pipe=bool(named))
    known = {option.name for option in OPTIONS}
    for key in table:
        if key not in known:
            raise BadConfig(f"{path}: {key}: no such option", f"known options: {', '.join(sorted(known))}")
    return path, table


def _from_text(where: str, text: str, option: Option) -> Any:
    if option.kind == FLAG:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
        if text.lower() not in words:
            raise BadConfig(f"{where}: must be yes or no, not {text!r}")
        return words[text.lower()]
    if option.kind == NUMBER:
        try:
            return _checked(where, float(text), option)
        except ValueError:
            raise BadConfig(f"{where}: must be a number of seconds, not {text!r}") from None
    return _checked(where, text.replace(",", " ").split() if option.kind == LIST else text, option)


def _checked(where: str, value: Any, option: Option) -> Any:
    types: dict[str, Any] = {FLAG: bool, TEXT: str, NUMBER: (int, float), LIST: list}
    if not isinstance(value, types[option.kind]) or (option.kind == NUMBER and isinstance(value, bool)):
        raise BadConfig(f"{where}: must be a {option.kind}, not {value!r}")
    for item in value if option.kind == LIST else [value]:
        if option.choices and item not in option.choices:
            raise BadConfig(f"{where}: must be one of {', '.join(option.choices)}, not {item!r}")
    return _sound(where, value, BadConfig)
