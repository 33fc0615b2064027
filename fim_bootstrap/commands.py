"""The commands, as their help pages and the manual tell of them: what each does, examples, its exit statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# what concerns a host, and so goes by this host's option file
ABOUT_A_HOST = ("check", "apply", "revert", "facts", "profiles", "reboot-required", "cloud-config")


class Operand(NamedTuple):
    """Arguments of a command that are no options."""

    name: str
    metavar: str
    help: str
    least: int = 0  # how many there must be
    most: int = 1  # and may be; 0: any number


class Command(NamedTuple):
    """One command; `exits` are the statuses that it ends with, and what each says."""

    name: str
    summary: str
    examples: tuple[tuple[str, str], ...] = ()
    about: str = ""
    exits: Mapping[int, str] = {}
    operand: Operand = Operand("", "", "", 0, -1)


WRONG_WORDS, BAD_FILE = {64: "wrong words"}, {78: "a bad option or profile file"}
ROOT, LOCKED = {77: "needs root"}, {75: "busy, try again"}
UNSUPPORTED = {69: "not supported"}
LOOKED_AT = {**WRONG_WORDS, **UNSUPPORTED, **BAD_FILE}

COMMANDS = (
    Command(
        "check", "say whether this host is ready, or what would change; changes nothing",
        (("sudo fim-bootstrap check", "this host"),
         ("sudo fim-bootstrap check --probe", "send an event down the whole way"),
         ("fim-bootstrap check --root /mnt/image", "a tree that is not running")),
        "It only reads. --probe alone causes one harmless audit event.",
        {0: "ready", 1: "the test event was stopped, or the result got lost", 3: "not ready, or not known",
         4: "blocked: a decision is yours", **LOOKED_AT},
    ),
    Command(
        "apply", "make this host ready; run it as often as you like",
        (("sudo fim-bootstrap apply", "this host"),
         ("fim-bootstrap apply --dry-run", "only say what would be done"),
         ("sudo fim-bootstrap apply --probe --guard", "prove it, and watch for drift"),
         ("sudo fim-bootstrap apply --root /mnt/image", "a tree that is not running")),
        "It never asks and never reboots unless told to. Take it back with revert.",
        {0: "done: ready, or as ready as can be now", 1: "a step failed, or did not hold",
         2: "changed (--detailed-exitcode)", 3: "a reboot is due (--detailed-exitcode)",
         4: "blocked, nothing changed", **LOCKED, **ROOT, **LOOKED_AT},
    ),
    Command(
        "revert", "take back what apply did, where it is still as apply left it",
        (("sudo fim-bootstrap revert", "this host"),
         ("sudo fim-bootstrap revert --packages", "remove what was installed, too")),
        "What was edited since stays, and is named. Packages stay unless --packages.",
        {0: "all is taken back, or there was nothing", 1: "something was left; it is named", 4: "blocked", **LOCKED,
         **ROOT, **LOOKED_AT},
    ),
    Command(
        "facts", "print what is seen of this host, as JSON, for a bug report",
        (("sudo fim-bootstrap facts", "this host"),),
        "Secrets are taken out.", {0: "printed", **LOOKED_AT},
    ),
    Command(
        "profiles", "list the distributions that are known",
        (("fim-bootstrap profiles", "all of them"),
         ("sudo fim-bootstrap profiles --resolve", "this host's, and whether its packages can be had")),
        "", {0: "printed; all packages can be had", 3: "one is in no repository (--resolve)", **LOOKED_AT},
    ),
    Command(
        "explain", "tell why a thing is required, what changes, and how to take it back",
        (("fim-bootstrap explain", "the requirements"), ("fim-bootstrap explain rules", "one of them")),
        "It looks at no host.", {0: "printed", **WRONG_WORDS},
        Operand("topic", "ID", "the requirement"),
    ),
    Command(
        "reboot-required", "exit 0 if only a reboot makes the rules take effect, 1 if not",
        (("sudo fim-bootstrap reboot-required", "this host"),),
        "It is a condition for cloud-init's power_state and the like: nothing else than 0 means yes.",
        {0: "yes", 1: "no", 4: "blocked: not known", **ROOT, **LOOKED_AT},
    ),
    Command(
        "exception", "print the record that this host's audit rules are not locked, for a scanner or for who signs it",
        (("sudo fim-bootstrap exception --owner NAME --ticket ID", "a page to sign"),
         ("sudo fim-bootstrap exception --format inspec-waiver", "for a scanner")),
        "", {0: "printed", 1: "a file could not be written", 4: "it cannot be said", **ROOT, **LOOKED_AT},
    ),
    Command(
        "cloud-config", "print user-data that makes a new instance ready; the options go into its option file",
        (("fim-bootstrap cloud-config --url URL > user-data", "cloud-init's user-data"),
         ("fim-bootstrap cloud-config --url URL --part script", "the script alone")),
        "The instance fetches the binary, verifies it and runs apply, and reboots where that is required.",
        {0: "printed", **WRONG_WORDS, **BAD_FILE},
    ),
    Command(
        "fleet", "read the reports of many hosts: who is ready, what breaks the others, and the reboots in batches",
        (("fim-bootstrap fleet reports/ --html fleet.html", "a page"),
         ("fim-bootstrap fleet *.json --plan plan.ini", "the reboots in batches")),
        "It looks at no host.", {0: "printed", 1: "no report was found, or a file was left out (--strict)",
                                 **WRONG_WORDS, **BAD_FILE},
        Operand("reports", "REPORT", "a file, a folder or a pattern of reports; - is stdin", 1, 0),
    ),
    Command(
        "help", "tell how a command is used: its options, examples and exit statuses",
        (("fim-bootstrap help", "the commands"), ("fim-bootstrap help apply", "one of them")),
        "", {0: "printed", **WRONG_WORDS}, Operand("topic", "COMMAND", "the command"),
    ),
    Command("version", "print the version", (("fim-bootstrap version", "or --version"),), "", {0: "printed"}),
)  # fmt: skip
NAMES = tuple(command.name for command in COMMANDS)
BY_NAME = {command.name: command for command in COMMANDS}
