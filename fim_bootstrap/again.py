"""The command line that comes next, with what was typed in it: pasted, it concerns the same tree and options."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import arguments
from .commands import BY_NAME
from .option_table import CONFIG, FLAG, LIST, VARIABLES, Option
from .resources import from_source

PROGRAM = "fim-bootstrap"
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
NEED_ROOT = tuple(name for name, command in BY_NAME.items() if 77 in command.exits)
# what says how one run is made and told, not what it is about
OF_ONE_RUN = ("dry-run", "wait", "brief", "format", "report")


class Again(NamedTuple):
    """What was typed: how the program was called, each option as its words, and whether it takes sudo to be root."""

    program: tuple[str, ...] = (PROGRAM,)
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    operands: tuple[str, ...] = ()
    sudo: bool = False

    def line(self, command: str, root: bool = False) -> str:
        """The same with another command, as far as that honours it; `root`: only root sees enough."""
        known = [name for name in arguments.honoured(command) if name not in OF_ONE_RUN]
        return self._line(command, root, [words for name, words in self.options if name in known])

    def same(self, command: str) -> str:
        """The very same, as root."""
        return self._line(command, True, [*(words for _, words in self.options), self.operands])

    def _line(self, command: str, root: bool, options: Sequence[Sequence[str]]) -> str:
        import shlex  # not for a run that finds nothing to type

        sudo = ("sudo",) if self.sudo and (root or command in NEED_ROOT) else ()
        words = (*sudo, *self.program, command, *(word for part in options for word in part))
        return " ".join(map(shlex.quote, words))


def typed(argv: Sequence[str], environment: Mapping[str, str], program: tuple[str, ...]) -> Again:
    """What was typed; sudo passes no variables on, so those that are options are written as such."""
    given = arguments.read(argv)
    known = arguments.honoured(given.command)
    variables = [(option, environment[name]) for name, option in {**VARIABLES, CONFIG.variable: CONFIG}.items()
                 if name in environment and option.name in known and option.name not in given.values]  # fmt: skip
    options = (*given.spelled, *(pair for option, text in variables for pair in _arguments(option, text)))
    return Again(program, options, given.operands, os.geteuid() != 0)


def _arguments(option: Option, text: str) -> Sequence[tuple[str, tuple[str, ...]]]:
    """A variable's value as the arguments of its option."""
    flag = f"--{option.name}"
    if option.kind == FLAG:
        return [(option.name, (flag,))] if text.lower() in ("1", "true", "yes") else []
    values = text.replace(",", " ").split() if option.kind == LIST else [text]
    return [(option.name, (f"{flag}={value}",) if value.startswith("-") else (flag, value)) for value in values]


def called() -> tuple[str, ...]:
    """How this program is called, in words: by its name where the shell finds it, else as it was."""
    name = sys.argv[0] if sys.argv else ""
    if os.path.basename(name) == "__main__.py":
        return (sys.executable, "-m", str(__package__))
    if from_source() and name.endswith(".py"):
        return (sys.executable, name)
    folder = os.path.dirname(name)
    return (name if folder and folder not in FOLDERS else os.path.basename(name) or PROGRAM,)
