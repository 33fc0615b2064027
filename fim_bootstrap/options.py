"""The values of the options: from the command line, then the environment (FIM_BOOTSTRAP_*), then the option file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from . import arguments
from .commands import ABOUT_A_HOST, BY_NAME
from .errors import BadConfig, BootstrapError, Usage
from .model import Settings
from .option_table import CONFIG, FLAG, LIST, NUMBER, OPTION_FILE, OPTIONS, PREFIX, TEXT, VARIABLES, Option
from .profiles import read_table, refuse_foreign
from .spelling import guess, nearest


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command and the values of the options it honours: command line, then environment, then option file.

    A word on the command line that the command does not honour is refused. Environment and file are there for all
    commands: there only what no command knows is refused.
    """
    command, given, operands, _ = arguments.read(argv)
    operand = BY_NAME[command].operand
    words = {operand.name: list(operands)} if operand.name else {}
    if command not in CONFIG.commands:
        return command, words
    _refuse_unknown(os.environ)
    named = given.get(CONFIG.name) or os.environ.get(CONFIG.variable)
    # the option file of this host is about this host, and only root may read it
    file, table = _option_file(named) if named or command in ABOUT_A_HOST else (OPTION_FILE, {})
    # also of those that this command does not honour, so that a bad value is never passed over
    values = {option: _value(option, given, file, table) for option in OPTIONS}
    return command, {**words, **{option.name: value for option, value in values.items() if command in option.commands}}


def _value(option: Option, given: Mapping[str, Any], file: str, table: Mapping[str, Any]) -> Any:
    """The value of one option; one whose name another row had first stands on the command line alone."""
    name, variable = option.name, option.variable
    if name in given:  # to a row of another command it makes no difference
        return _sound(f"--{name}", given[name], Usage)
    if VARIABLES[variable] is not option:
        return option.default
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
    """A variable that looks like an option, and is none, may have been meant to keep this run from changing a thing."""
    known = {name[len(PREFIX) :] for name in (*VARIABLES, CONFIG.variable)}
    for name in environment:
        if name.startswith(PREFIX) and (word := name[len(PREFIX) :]) not in known:
            near = nearest(word, known)
            meant = f"; did you mean {PREFIX}{near}?" if near else ""
            raise Usage(f"{name}: no such option{meant}", "nothing was changed; unset it, or write it in full")


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
            raise BadConfig(
                f"{path}: {key}: no such option{guess(key, known)}", f"known options: {', '.join(sorted(known))}"
            )
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
