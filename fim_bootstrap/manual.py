"""How it is used: the help pages, docs/options.md and the man page, all from the tables of commands and options."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from . import __version__
from .arguments import honoured
from .commands import BY_NAME, COMMANDS, Command
from .option_table import CONFIG, DOES, FLAG, NUMBER, OPTION_FILE, OPTIONS, PRINTS, VARIABLES, WHERE, Option

WIDTH = 80
COLUMN = 28  # where the second column of a help page begins
GROUPS = (DOES, WHERE, PRINTS)
ABOUT = "fim-bootstrap makes a Linux host ready for auditd-based file integrity monitoring."
TWINS = "Every option has a twin in the environment, {variable}, and one in the option file, {name}."
COUNTS = "The command line counts more than the environment, and that more than the file."


def default_of(option: Option) -> str:
    """The default as it is typed, or '' where an option that is not given changes nothing."""
    if option.kind == NUMBER and option.default is not None:
        return f"{option.default:g}"
    return str(option.default) if option.choices and option.default else option.default or ""


def synopsis(command: Command) -> str:
    """The command with what it takes."""
    operand = command.operand
    words = f"{operand.metavar}..." if operand.most == 0 else f"[{operand.metavar}]"
    options = " [OPTION]..." if honoured(command.name) else ""
    return f"fim-bootstrap {command.name}{options}" + (f" {words}" if operand.name else "")


# ---------------------------------------------------------------------- help


def index() -> str:
    """`help`: the commands, and how to get at the rest."""
    rows = [_row(command.name, command.summary, 20) for command in COMMANDS]
    more = ("fim-bootstrap help COMMAND     its options, examples and exit statuses",
            "fim-bootstrap explain          what is required, and why")  # fmt: skip
    return "\n".join((ABOUT, "", *rows, "", *(f"  {line}" for line in more)))


def page(name: str) -> str:
    """`help NAME`: examples first, then the options of that command alone, then its exit statuses."""
    command = BY_NAME[name]
    parts = [_wrapped(f"fim-bootstrap {name}: {command.summary}")]
    wide = max((len(typed) for typed, _ in command.examples), default=0) + 2
    parts.append("\n".join(_example(typed, said, wide) for typed, said in command.examples))
    parts += [_wrapped(command.about)] if command.about else []
    if command.operand.name:
        parts.append(f"{synopsis(command)}\n{_row(command.operand.metavar, command.operand.help)}")
    options = "\n".join(_sections(honoured(name).values()))
    parts += [options] if options else []
    parts.append("\n".join(_row(f"Exit {status}", said, 10, "") for status, said in sorted(command.exits.items())))
    if options:
        parts.append(_wrapped(f"{TWINS.format(variable='FIM_BOOTSTRAP_NAME', name='name = VALUE')} {COUNTS}"))
    return "\n\n".join(parts)


def _example(typed: str, said: str, wide: int) -> str:
    return f"  {typed:{wide}}{said}" if len(said) + wide + 2 <= WIDTH else f"  {typed}\n      {said}"


def _sections(options: Iterable[Option]) -> Iterator[str]:
    """The options under their headings."""
    listed = tuple(options)
    for group in GROUPS:
        rows = [_row(f"--{option.name} {option.takes}".strip(), _explained(option)) for option in listed
                if option.group == group]  # fmt: skip
        if rows:
            yield "\n".join((group, *rows))


def _explained(option: Option) -> str:
    """What the option does, the values it may have where its name does not show them, and its default."""
    values = f": {' '.join(option.choices)}" if option.choices and option.metavar else ""
    default = f" ({default_of(option)})" if default_of(option) else ""
    return f"{option.help}{values}{default}"


def _row(left: str, right: str, column: int = COLUMN, margin: str = "  ") -> str:
    """Two columns; a long left one has its line for itself."""
    lines = textwrap.wrap(right, WIDTH - column, break_long_words=False, break_on_hyphens=False)
    head = f"{margin}{left}"
    if len(head) + 1 >= column:
        return "\n".join((head, *(f"{'':{column}}{line}" for line in lines)))
    first, *others = lines
    return "\n".join((f"{head:{column}}{first}", *(f"{'':{column}}{line}" for line in others)))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


# ---------------------------------------------------------------------- docs/options.md


def options_page() -> str:
    """docs/options.md: which command honours which option."""
    lines = [
        "# Commands, options and exit statuses", "",
        "Made from the program's tables by `make table`; `fim-bootstrap help COMMAND` says the same of one command.",
        "", "## Commands", "", "| command | does | exit statuses |", "|---|---|---|",
        *(f"| `{c.name}` | {_cell(c.summary)} | {_cell(_statuses(c))} |" for c in COMMANDS),
        "", "## Options", "",
        f"Every option has a twin in the environment ({_twin('lock-timeout')}) and in the option file, `{OPTION_FILE}`"
        " or what `--config` names: TOML, an option by its long name in each line. " + COUNTS + " There, what a command"
        " does not honour is passed over; on the command line it is refused. What is no option is refused everywhere."
        " Options are written in full.",
        "", "| option | does | default | commands |", "|---|---|---|---|",
        *(_option_row(option) for option in (*OPTIONS, CONFIG)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _option_row(option: Option) -> str:
    typed = f"--{option.name} {option.takes}".strip()
    values = f": {' '.join(option.choices)}" if option.choices and option.metavar else ""
    commands = ", ".join(f"`{name}`" for name in option.commands)
    default = f"`{default_of(option)}`" if default_of(option) else ""
    return f"| `{_cell(typed)}` | {_cell(option.help + values)} | {default} | {commands} |"


def _twin(name: str) -> str:
    option = next(option for option in VARIABLES.values() if option.name == name)
    return f"`{option.variable}={default_of(option)}`"


def _statuses(command: Command) -> str:
    return "; ".join(f"{status} {said}" for status, said in sorted(command.exits.items()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


# ---------------------------------------------------------------------- the man page


def man_page() -> str:
    """fim-bootstrap.8, in the man(7) macros."""
    lines = [
        f'.TH FIM-BOOTSTRAP 8 "" "fim-bootstrap {__version__}" "System administration"',
        ".SH NAME", "fim-bootstrap \\- make a host ready for auditd\\-based file integrity monitoring",
        ".SH SYNOPSIS", *(line for c in COMMANDS for line in (f".B {_roff(synopsis(c))}", ".br")),
        ".SH DESCRIPTION", _roff(ABOUT), "Its commands, and what each takes:",
        *(line for command in COMMANDS for line in _man_command(command)),
        ".SH OPTIONS", _roff(TWINS.format(variable=VARIABLES["FIM_BOOTSTRAP_LOCK_TIMEOUT"].variable,
                                          name="lock-timeout")), _roff(COUNTS),
        *(line for option in (*OPTIONS, CONFIG) for line in _man_option(option)),
        ".SH FILES",
        *(line for path, said in FILES for line in (".TP", f".I {_roff(path)}", _roff(said))),
        ".SH SEE ALSO", ".BR auditd (8), \\ auditd.conf (5), \\ auditctl (8), \\ augenrules (8), \\ semodule (8)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


FILES = (
    (OPTION_FILE, "the same options by their long names; root's alone"),
    ("/etc/fim-bootstrap/profiles.d/*.toml", "profiles besides those that are shipped"),
    ("/var/log/fim-bootstrap.log", "what was run, and what it said"),
    ("/var/lib/fim-bootstrap/journal.jsonl", "what was changed, for revert"),
    ("/run/fim-bootstrap/result.json", "the report of the last apply"),
)


def _man_command(command: Command) -> Sequence[str]:
    about = f"{command.summary[0].upper()}{command.summary[1:]}. {command.about}".strip()
    statuses = f"Exit status: {_statuses(command)}."
    return (f".SS {command.name}", _roff(about), ".PP", _roff(statuses))


def _man_option(option: Option) -> Sequence[str]:
    values = f" One of {', '.join(option.choices)}." if option.choices and option.metavar else ""
    default = f" Default: {default_of(option)}." if default_of(option) else ""
    honours = f" Of {', '.join(option.commands)}."
    typed = f"\\-\\-{_roff(option.name)}" + ("" if option.kind == FLAG else f" {_roff(option.takes)}")
    help_ = f"{option.help[0].upper()}{option.help[1:]}."
    return (".TP", f".B {typed}", _roff(f"{help_}{values}{default}{honours}"))


def _roff(text: str) -> str:
    """The text with what roff would take for a request or an escape taken out of its hands."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
