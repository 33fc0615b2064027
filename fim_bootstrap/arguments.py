"""The words of a command line, told apart: the command, its options, and what is no option.

Read by this module rather than by argparse: an option is never abbreviated, and who mistypes one is told which
command has it. `--name VALUE` and `--name=VALUE` are the same; a VALUE that begins with - needs the latter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .commands import BY_NAME, NAMES, Command
from .errors import Usage
from .option_table import CONFIG, FLAG, LIST, NUMBER, OPTIONS, Option
from .spelling import guess

SHORT = {"-v": "--verbose"}
ASKS_FOR_HELP = ("-h", "--help")
# why an option that changes something, or goes elsewhere, is none of a command that looks as if it had it
BELONGS = {
    ("check", "dry-run"): "check never changes anything",
    ("cloud-config", "root"): "an instance makes itself ready",
    ("cloud-config", "first-boot"): "an instance makes itself ready at its first boot anyhow",
    ("cloud-config", "reboot"): "cloud-init reboots by its power_state, after all that it has to do",
    ("cloud-config", "detailed-exitcode"): "cloud-init takes an exit status of 2 or 3 for a failure",
    ("cloud-config", "dry-run"): "nothing would be made ready",
    ("cloud-config", "probe"): "in an option file it would have every check cause an event, the guard's, too",
    ("cloud-config", "format"): "what the instance prints goes to cloud-init's log",
    ("cloud-config", "brief"): "what the instance prints goes to cloud-init's log",
}


class Given(NamedTuple):
    """What was typed: the command, the values of its options, its operands, and the words of each option."""

    command: str
    values: Mapping[str, Any]
    operands: tuple[str, ...] = ()
    spelled: tuple[tuple[str, tuple[str, ...]], ...] = ()


def command_of(argv: Sequence[str]) -> str:
    """The command that was typed, or '' where the first word is none."""
    return argv[0] if argv and argv[0] in BY_NAME else ""


def honoured(command: str) -> dict[str, Option]:
    """The options of a command, by their names."""
    own = {option.name: option for option in OPTIONS if command in option.commands}
    return {**own, CONFIG.name: CONFIG} if command in CONFIG.commands else own


def read(argv: Sequence[str]) -> Given:
    """Tell the words apart; raises Usage with the one guess that is worth making."""
    if argv and argv[0] == "--version":
        return Given("version", {})
    command = command_of(argv)
    if any(word in ASKS_FOR_HELP for word in argv):
        return Given("help", {}, (command,) if command else ())
    if not command:
        raise _no_command(argv)
    known = honoured(command)
    values: dict[str, Any] = {}
    operands: list[str] = []
    spelled: list[tuple[str, tuple[str, ...]]] = []
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            operands += words
        elif word == "-" or not word.startswith("-"):
            operands.append(word)
        else:
            option, value, own = _option(command, known, word, words)
            spelled.append((option.name, own))
            values[option.name] = [*values.get(option.name, ()), value] if option.kind == LIST else value
    _count(BY_NAME[command], operands)
    return Given(command, values, tuple(operands), tuple(spelled))


def _no_command(argv: Sequence[str]) -> Usage:
    if not argv:
        return Usage("a command is missing", "fim-bootstrap help")
    if argv[0].startswith("-"):
        return Usage(f"{argv[0]}: the command comes first", "fim-bootstrap help")
    return Usage(f"there is no command {argv[0]}{guess(argv[0], NAMES)}", "fim-bootstrap help")


def _option(
    command: str, known: Mapping[str, Option], word: str, following: Iterable[str]
) -> tuple[Option, Any, tuple[str, ...]]:
    """The option that a word begins, its value, and the words that it is made of."""
    flag, equals, value = SHORT.get(word, word).partition("=")
    name = flag[2:]
    if not flag.startswith("--") or name not in known:
        raise _no_option(command, known, flag, name)
    option = known[name]
    if option.kind == FLAG:
        if equals:
            raise Usage(f"{flag} takes no value", _help(command))
        return option, True, (word,)
    own: tuple[str, ...] = (word,)
    if not equals:
        value = next(iter(following), "--")
        if value.startswith("-") and value != "-":
            raise Usage(f"{flag}: {option.takes} is missing", _help(command))
        own = (word, value)
    return option, _typed(flag, value, option), own


def _typed(flag: str, value: str, option: Option) -> Any:
    """The value, as its kind has it."""
    if option.kind == NUMBER:
        try:
            return float(value)
        except ValueError:
            raise Usage(f"{flag} {value}: must be a number of seconds") from None
    if option.choices and value not in option.choices:
        what = "no such requirement" if option.metavar == "ID" else f"must be one of {', '.join(option.choices)}"
        raise Usage(f"{flag} {value}: {what}{guess(value, option.choices)}", " ".join(option.choices))
    return value


def _no_option(command: str, known: Mapping[str, Option], flag: str, name: str) -> Usage:
    """Why there is no such option here."""
    remedy = _help(command)
    elsewhere = tuple(dict.fromkeys(which for option in OPTIONS if option.name == name for which in option.commands))
    if elsewhere and flag.startswith("--"):
        why = BELONGS.get((command, name), f"{command} has no use for it")
        return Usage(f"{flag} belongs to {', '.join(elsewhere)}; {why}", remedy)
    full = [f"--{option}" for option in known if name and option.startswith(name)]
    if full and flag.startswith("--"):
        return Usage(f"{flag}: options are written in full: {' or '.join(sorted(full))}", remedy)
    return Usage(f"there is no option {flag}{guess(flag, (f'--{option}' for option in known))}", remedy)


def _count(command: Command, operands: Sequence[str]) -> None:
    """Refuse operands that a command does not take, or that are missing."""
    wanted = command.operand
    if len(operands) < wanted.least:
        raise Usage(f"{wanted.metavar} is missing: {wanted.help}", _help(command.name))
    if wanted.most and len(operands) > max(wanted.most, 0):
        raise Usage(f"{operands[max(wanted.most, 0)]}: no such word here", _help(command.name))


def _help(command: str) -> str:
    return f"fim-bootstrap help {command}"
