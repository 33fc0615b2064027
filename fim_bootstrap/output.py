"""What is printed: the result on stdout, what a person is told on the way on stderr. The only module that prints."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from .errors import BootstrapError
from .layout import Style, on_terminal
from .progress import Progress
from .redact import SENTENCE, one_line, redacted, shown


def dump(document: Any) -> str:
    """A document as JSON, without secrets."""
    return json.dumps(redacted(document), indent=2)


def plain(value: Any) -> Any:
    """The value as JSON has it: a record is an object, a set is sorted, a word of an enumeration is a text."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.value if isinstance(value, enum.Enum) else value


def say(lines: Iterable[str]) -> None:
    """Lines of a result for a person, each escaped and cut."""
    result("\n".join(shown(line, SENTENCE) for line in lines))


def result(text: str) -> None:
    """All of it to stdout; a reader who has seen enough (`| head`) is no failure."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # there is no stdout where it was closed
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        raise BootstrapError(f"the result cannot be printed: {error.strerror}", "--report FILE") from error


def style(verbose: bool) -> Style:
    """A terminal gets wrapped lines and, unless it or somebody says no, colour."""
    if not (sys.stdout and sys.stdout.isatty()):
        return Style(verbose=verbose)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return on_terminal(_columns(sys.stdout), not plain, verbose)


def progress() -> Progress:
    """Who tells what takes long: on a terminal one line that is rewritten."""
    terminal = bool(sys.stderr) and sys.stderr.isatty()  # there is no stderr where it was closed
    return Progress(tell, _rewrite if terminal else None, lambda: _columns(sys.stderr))


def _columns(stream: TextIO) -> int:
    """How wide the terminal is; 80 where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _rewrite(line: str) -> None:
    """Replace the last line of the terminal, which holds no more than its width."""
    with contextlib.suppress(OSError):
        print(f"\r\x1b[K{one_line(line)[: _columns(sys.stderr) - 1]}", end="", file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """A line for a person, on stderr; one that cannot be told stops nothing."""
    if sys.stderr:  # print would take stdout where it was closed
        with contextlib.suppress(OSError):
            print(shown(line, SENTENCE), file=sys.stderr, flush=True)
