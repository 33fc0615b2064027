"""The options: one row each, for the command line, the environment, the option file, the help and the manual."""

from __future__ import annotations

from typing import Any, NamedTuple

from .agent.vendor import DISPATCHER_KEY
from .commands import ABOUT_A_HOST
from .requirements import IDS

OPTION_FILE = "/etc/fim-bootstrap/config.toml"
PREFIX = "FIM_BOOTSTRAP_"
FLAG, TEXT, NUMBER, LIST = "flag", "text", "number", "list"
# under which heading of a help page it stands
DOES, WHERE, PRINTS = "What it does", "Where", "What it prints"


class Option(NamedTuple):
    """One option: its long name, what it takes, a word of help, its default, and which commands honour it."""

    name: str
    kind: str
    help: str
    default: Any = ""
    choices: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    metavar: str = ""
    group: str = DOES

    @property
    def takes(self) -> str:
        """What stands for its value in a text: a name, or the values themselves; '' of a flag."""
        return "" if self.kind == FLAG else self.metavar or "|".join(self.choices)

    @property
    def variable(self) -> str:
        """Its twin in the environment."""
        return f"{PREFIX}{self.name.upper().replace('-', '_')}"


JUDGING = ("check", "apply")
LOOKING = (*JUDGING, "facts", "profiles", "reboot-required")
CHOOSING = (*JUDGING, "reboot-required", "cloud-config")
# cloud-config writes what it is given into the option file of the instance
PASSED_ON = (*JUDGING, "cloud-config")
APPLYING = ("apply", "cloud-config")
FORMATS = ("markdown", "json", "xccdf-tailoring", "inspec-waiver", "ansible-lockdown", "image-builder")
CONFIG = Option(
    "config", TEXT, f"read options from FILE, as TOML; without it {OPTION_FILE}, if it is there", "", (),
    (*ABOUT_A_HOST, "exception", "fleet"), "FILE", WHERE,
)  # fmt: skip
OPTIONS = (
    Option("dry-run", FLAG, "change nothing: say what would be done, and exit 0 whatever is found", False, (),
           ("apply",)),
    Option("probe", FLAG, "cause one harmless audit event, and see it arrive", False, (), JUDGING),
    Option("wait", FLAG, "wait for an agent that is starting before judging it", False, (), ("check",)),
    Option("guard", FLAG, "have systemd look for drift: at boot, every 15 minutes, after each change of auditd", False,
           (), PASSED_ON),
    Option("only", LIST, "look at this requirement alone; may be repeated", (), IDS, CHOOSING, "ID"),
    Option("skip", LIST, "leave this requirement out; may be repeated", (), IDS, CHOOSING, "ID"),
    Option("no-install", FLAG, "never call a package manager", False, (), PASSED_ON),
    Option("reboot", TEXT, "if one is required: when-needed has it a minute later, mark leaves the file by which the"
           " system's own tooling knows it", "never", ("never", "when-needed", "mark"), ("apply",), "WHEN"),
    Option("mode", TEXT, f"how the agent gets events: auto reads its {DISPATCHER_KEY}, direct is without auditd",
           "auto", ("auto", "dispatcher", "direct"), PASSED_ON, "MODE"),
    Option("dispatcher-line", TEXT, "auto leaves the line out where audit ignores it", "always", ("always", "auto"),
           PASSED_ON, "WHEN"),
    Option("lock-timeout", NUMBER, "how long to wait for a package lock", 300.0, (),
           ("apply", "revert", "cloud-config"), "SECONDS"),
    Option("network-timeout", NUMBER, "how long to wait for a network that is not there yet; 20, and 120 while the"
           " system boots", None, (), APPLYING, "SECONDS"),
    Option("agent-timeout", NUMBER, "without a sign of life for so long an agent that starts has failed", 300.0, (),
           PASSED_ON, "SECONDS"),
    Option("packages", FLAG, "remove the packages that were installed, too", False, (), ("revert",)),
    Option("resolve", FLAG, "say which profile this host gets, and whether its packages can be had", False, (),
           ("profiles",)),
    Option("url", TEXT, "where an instance fetches the binary from", "", (), ("cloud-config",), "URL"),
    Option("sha256", TEXT, "the binary's checksum, or the SHA256SUMS of the release at URL; without it that of"
           " this binary", "", (), ("cloud-config",), "HEX|FILE"),
    Option("part", TEXT, "a #cloud-config document, or the shell script alone", "config", ("config", "script"),
           ("cloud-config",), "PART"),
    Option("owner", TEXT, "who answers for the exception", "", (), ("exception",), "NAME"),
    Option("approver", TEXT, "who approves it", "", (), ("exception",), "NAME"),
    Option("ticket", TEXT, "where it is decided", "", (), ("exception",), "ID"),
    Option("expires", TEXT, "when it ends; without it in a year", "", (), ("exception",), "YYYY-MM-DD"),
    Option("datastream", TEXT, "SCAP content to tailor; without it that of this release, if it is installed", "", (),
           ("exception",), "FILE"),
    Option("profile-id", LIST, "tailor this profile, not each that selects the rule; may be repeated", (), (),
           ("exception",), "ID"),
    Option("control", LIST, "the control's id in an InSpec profile; may be repeated", (), (), ("exception",), "ID"),
    Option("batch", TEXT, "hosts in a batch: a number, or N% of those to reboot", "10%", (), ("fleet",), "N"),
    Option("canary", TEXT, "reboot this many hosts first, of as many releases as there are", "0", (), ("fleet",), "N"),
    Option("group-by", TEXT, "never two of a group in a batch: a regular expression on host names, or a file of"
           " HOST GROUP lines", "", (), ("fleet",), "REGEX|FILE"),
    Option("exclude", LIST, "leave hosts out of the plan: a shell pattern; may be repeated", (), (), ("fleet",),
           "PATTERN"),
    Option("since", TEXT, "compare with an earlier collection", "", (), ("fleet",), "FOLDER"),
    Option("stale", TEXT, "a report older than this says nothing any more: 36h, 7d, never", "7d", (), ("fleet",),
           "AGE"),
    Option("strict", FLAG, "exit 1 where a file had to be left out", False, (), ("fleet",)),
    Option("root", TEXT, "the tree below DIR, which is not running", "", (), (*LOOKING, "exception", "revert"), "DIR",
           WHERE),
    Option("first-boot", FLAG, "with --root: leave a unit in the tree that finishes at the first boot", False, (),
           ("apply",), "", WHERE),
    Option("profile", TEXT, "this profile, not the one that os-release selects", "", (),
           (*LOOKING, "exception", "cloud-config"), "ID", WHERE),
    Option("profiles", TEXT, "read profiles from DIR, too", "", (), (*LOOKING, "exception", "cloud-config"), "DIR",
           WHERE),
    Option("format", TEXT, "what stdout carries", "text", ("text", "json"), (*LOOKING, "revert", "fleet"), "FORMAT",
           PRINTS),
    Option("format", TEXT, "for a person, a register, a scanner or a hardening role", "markdown", FORMATS,
           ("exception",), "FORMAT", PRINTS),
    Option("report", TEXT, "write the JSON report to FILE as well", "", (), PASSED_ON, "FILE", PRINTS),
    Option("metrics", TEXT, "write metrics to FILE, for node_exporter's textfile collector", "", (), PASSED_ON, "FILE",
           PRINTS),
    Option("output", TEXT, "write every format that fits this host into DIR", "", (), ("exception",), "DIR", PRINTS),
    Option("html", TEXT, "write the page to FILE", "", (), ("fleet",), "FILE", PRINTS),
    Option("csv", TEXT, "write a line for each host to FILE", "", (), ("fleet",), "FILE", PRINTS),
    Option("plan", TEXT, "write the reboots in batches to FILE", "", (), ("fleet",), "FILE", PRINTS),
    Option("plan-format", TEXT, "auto goes by FILE's ending: .csv, .ini (ansible), .conf (salt), else text", "auto",
           ("auto", "text", "csv", "ansible", "salt"), ("fleet",), "FORMAT", PRINTS),
    Option("detailed-exitcode", FLAG, "exit 2 when something changed, 3 when a reboot is due", False, (), ("apply",),
           "", PRINTS),
    Option("brief", FLAG, "the verdict in one line, as for a journal; --report has the rest", False, (), ("check",),
           "", PRINTS),
    Option("verbose", FLAG, "also -v: the evidence of what is right, and unified diffs", False, (), PASSED_ON, "",
           PRINTS),
)  # fmt: skip
# of two options with one name the first stands in the environment and in the file
VARIABLES = {option.variable: option for option in reversed(OPTIONS)}
