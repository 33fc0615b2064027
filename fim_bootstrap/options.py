"""The options: one table for the command line, the environment (FIM_BOOTSTRAP_*) and the option file."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Optional

from . import __version__
from .errors import BadConfig, Usage
from .model import Settings
from .profiles import read_table, refuse_foreign
from .requirements import IDS

OPTION_FILE = "/etc/fim-bootstrap/config.toml"
FLAG, TEXT, NUMBER, LIST = "flag", "text", "number", "list"
EVERY = ("check", "apply", "revert", "facts", "profiles", "reboot-required", "cloud-config")


class Option(NamedTuple):
    """One option: its long name, what it takes, which commands have it, and a word of help."""

    name: str
    kind: str
    help: str
    default: Any = ""
    choices: tuple[str, ...] = ()
    commands: tuple[str, ...] = EVERY
    metavar: str = ""


OPTIONS = (
    Option("root", TEXT, "work on the tree below DIR, which is not running", metavar="DIR"),
    Option("mode", TEXT, "how the agent gets events; auto reads its UseAuditDispatcher", "auto",
           ("auto", "dispatcher", "direct")),
    Option("profile", TEXT, "use this profile instead of the one that os-release selects", metavar="ID"),
    Option("profiles", TEXT, "read profiles from DIR too", metavar="DIR"),
    Option("format", TEXT, "what stdout carries", "text", ("text", "json")),
    Option("report", TEXT, "write the JSON report to FILE as well", metavar="FILE"),
    Option("only", LIST, "look at this requirement only (may be repeated)", (), IDS, metavar="ID"),
    Option("skip", LIST, "leave this requirement out (may be repeated)", (), IDS, metavar="ID"),
    Option("no-install", FLAG, "never call a package manager", False),
    Option("dispatcher-line", TEXT, "auto leaves the line out where audit ignores it", "always", ("always", "auto")),
    Option("lock-timeout", NUMBER, "seconds to wait for a package lock", 300.0, metavar="SECONDS"),
    Option("network-timeout", NUMBER, "seconds to wait for a network that is not there yet (default: 20, and 120"
           " while the system boots)", None, (), ("apply", "cloud-config"), "SECONDS"),
    Option("verbose", FLAG, "show the evidence of what is right, too", False),
    Option("probe", FLAG, "cause one harmless audit event and see it arrive", False, (), ("check", "apply")),
    Option("dry-run", FLAG, "say what would be done; exit 0 whatever is found", False, (), ("apply",)),
    Option("reboot", TEXT, "when-needed reboots a minute later if a reboot is required", "never",
           ("never", "when-needed"), ("apply",)),
    Option("detailed-exitcode", FLAG, "exit 2 when something changed, 3 when a reboot is pending", False, (),
           ("apply",)),
    Option("first-boot", FLAG, "with --root: leave a unit in the tree that finishes at the first boot", False, (),
           ("apply",)),
    Option("guard", FLAG, "have systemd look for drift: at boot, every 15 minutes, after each change of auditd", False,
           (), ("check", "apply")),
    Option("packages", FLAG, "remove the packages that were installed, too", False, (), ("revert",)),
    Option("url", TEXT, "where an instance fetches the binary from", "", (), ("cloud-config",), "URL"),
    Option("sha256", TEXT, "the binary's checksum (default: that of this binary)", "", (), ("cloud-config",), "HEX"),
    Option("part", TEXT, "a #cloud-config document, or the shell script alone", "config", ("config", "script"),
           ("cloud-config",)),
    Option("resolve", FLAG, "say which profile this host gets and whether its packages can be had", False, (),
           ("profiles",)),
)  # fmt: skip
HELP = {
    "check": "say whether this host is ready, or what would change; changes nothing",
    "apply": "make this host ready; run it as often as you like",
    "revert": "take back what apply did, where it is still as apply left it",
    "facts": "print what is seen of this host, as JSON",
    "profiles": "list the distributions that are known",
    "cloud-config": "print user-data that makes a new instance ready; the options go into its option file",
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
    """The command and the value of every option: command line, then environment, then option file."""
    parser = _Parser(prog="fim-bootstrap", description="Make a host ready for auditd-based FIM, or say why it is not.")
    parser.add_argument("--version", action="version", version=f"fim-bootstrap {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    # the parsers of the other commands would take a tenth of a run that has nothing to do
    for command in argv[:1] if argv and argv[0] in EVERY else EVERY:
        sub = commands.add_parser(command, help=HELP[command], description=HELP[command])
        sub.add_argument("--config", metavar="FILE", help=f"option file (default {OPTION_FILE})")
        for option in OPTIONS:
            if command in option.commands:
                _add(sub, option)
    given = vars(parser.parse_args(argv))
    command = given["command"]
    file, table = _option_file(given["config"] or os.environ.get("FIM_BOOTSTRAP_CONFIG"))
    values = {}
    for option in (o for o in OPTIONS if command in o.commands):
        name, variable = option.name, f"FIM_BOOTSTRAP_{option.name.upper().replace('-', '_')}"
        if (value := given[name.replace("-", "_")]) is not None:
            values[name] = value
        elif variable in os.environ:
            values[name] = _from_text(variable, os.environ[variable], option)
        elif name in table:
            values[name] = _checked(f"{file}: {name}", table[name], option)
        else:
            values[name] = option.default
    return command, values


def settings(values: Mapping[str, Any]) -> Settings:
    """The part of the options that the requirements judge by."""
    root = values["root"]
    if values.get("first-boot") and not root:
        raise Usage("--first-boot is for a tree that is not running", "name it: --root DIR")
    if math.isnan(values["lock-timeout"]):  # no time is later than that
        raise Usage("--lock-timeout nan: must be a number of seconds")
    if root and not os.path.isdir(root):
        raise Usage(f"--root {root}: no such directory", "name the folder in which the tree lies")
    return Settings(
        root=os.path.realpath(root) if root else "",
        mode=values["mode"],
        profile=values["profile"],
        profiles=values["profiles"],
        only=tuple(values["only"]),
        skip=tuple(values["skip"]),
        install=not values["no-install"],
        dispatcher_line=values["dispatcher-line"],
        lock_timeout=values["lock-timeout"],
        network_timeout=values.get("network-timeout"),
        probe=values.get("probe", False),
        first_boot=values.get("first-boot", False),
        guard=values.get("guard", False),
    )


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
        if not os.path.exists(path):
            return path, {}
        refuse_foreign(path)
    table = read_table(path)
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
    return value
