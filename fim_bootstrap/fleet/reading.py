"""The files that a collection consists of, and the JSON values in them, whoever wrote them side by side.

A value after another is read, never a file as a whole: a fleet's reports may be larger than the memory. Files may
hold one report, one a line, one after another, an array, or what `salt --out=json` prints (a minion's name and what
it answered), and may be packed by gzip.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BufferedReader
from typing import Any, NamedTuple

from ..errors import Usage

CHUNK = 1 << 20  # bytes
LARGEST = 16 << 20  # characters of one value: a report has about six thousand
LONGEST_KEY = 4096  # characters
GZIP = b"\x1f\x8b"
# an object that begins with one of these keys is one answer; any other names those who answered
ANSWER = frozenset((
    "schema_version", "tool", "command", "changed", "failed", "comment", "msg", "verdict", "reboot_required", "host",
    "requirements", "done", "diff", "unseen", "seconds", "time", "boot", "versions", "causes", "chain", "agent",
    "skipped_by_option", "reboot_after_apply", "reboot_advised", "incomplete", "stdout", "stderr", "retcode", "rc",
    "cmd", "pid", "start", "end", "delta", "ret", "return", "jid", "fun", "id",
))  # fmt: skip
ROOTS = ("etc", "home", "opt", "root", "run", "srv", "tmp", "var")
GENERIC = ("result", "report", "stdout", "fim-bootstrap", "check", "apply")
_ENDINGS = re.compile(r"(\.(json|jsonl|ndjson|txt|log|out|gz))+$")
_FETCHED = re.compile(r"([^/]+)/run/fim-bootstrap/result\.json$")
_DECODE = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_FIRST_KEY = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"\s*:')
_NEXT = re.compile(r"\n(?=[{[])")

Skip = Callable[[str, str], None]  # told the path of what is left out, and why


class Found(NamedTuple):
    """A JSON value, the file it stood in, the name of who gave it if that is certain, and when the file was written."""

    value: Any
    path: str
    name: str
    mtime: float


def values(arguments: Sequence[str], skip: Skip) -> Iterator[Found]:
    """Every value in the files, folders and patterns; `skip` is told what cannot be read.

    Raises Usage where an argument names nothing.
    """
    for path, below in _files(arguments, skip):
        try:
            with open(path, "rb") as file:
                mtime = os.fstat(file.fileno()).st_mtime
                text = _Text(_unpacked(file))
                host, empty = fetched_from(path, below), True
                for name, value in text.answers(partial(skip, path)):
                    empty = False
                    yield Found(value, path, name or host, mtime)
                if empty:
                    skip(path, "nothing in it")
        except (OSError, EOFError, zlib.error) as error:  # unreadable, or packed and not whole
            skip(path, getattr(error, "strerror", None) or str(error))


def fetched_from(path: str, below: str) -> str:
    """The host of a file that Ansible's fetch has put to HOST/run/fim-bootstrap/result.json or the like.

    Of a file that was named itself only that very path says so: what stands above it may be anything.
    """
    if not below:
        match = _FETCHED.search(path)
        return match[1] if match else ""
    parts = os.path.relpath(path, below).split(os.sep)
    inside = [number for number, part in enumerate(parts[:-1]) if part in ROOTS and number]
    return parts[inside[0] - 1] if inside else ""


def stem(path: str) -> str:
    """What a file may be named after: HOST.json.gz, or HOST/stdout."""
    folder, name = os.path.split(path)
    name = _ENDINGS.sub("", name)
    return os.path.basename(folder) if name in GENERIC and folder else name


def _files(arguments: Sequence[str], skip: Skip) -> Iterator[tuple[str, str]]:
    """Each file, and the folder that was named and has it in it."""
    from glob import glob

    for argument in arguments:
        if argument == "-":
            yield "/dev/stdin", ""
        elif os.path.isdir(argument):
            yield from ((path, argument) for path in _below(argument, skip))
        elif os.path.lexists(argument):
            yield argument, ""
        elif matching := sorted(glob(argument, recursive=True)):
            known = set(matching)  # ** finds a folder, and what is in it
            yield from _files([path for path in matching if os.path.dirname(path) not in known], skip)
        else:
            raise Usage(f"{argument}: no such file or folder", "name files, folders or patterns of reports")


def _below(folder: str, skip: Skip) -> Iterator[str]:
    """The regular files below a folder, in the order of their names; not hidden ones, nor behind links to folders."""
    try:
        with os.scandir(folder) as entries:
            inside = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        skip(folder, error.strerror or str(error))
        return
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, skip)
        elif entry.is_file():
            yield entry.path
        elif not entry.is_dir():
            kind = "a link that leads nowhere" if entry.is_symlink() else "not a regular file"
            skip(entry.path, kind)


def _unpacked(file: BufferedReader) -> Callable[[], bytes]:
    """What reads the next chunk of the file, unpacked where it is gzip."""
    if file.peek(len(GZIP))[: len(GZIP)] != GZIP:
        return lambda: file.read(CHUNK)
    import gzip

    packed = gzip.GzipFile(fileobj=file)
    return lambda: packed.read(CHUNK)


class _Text:
    """JSON text that arrives in chunks."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text, self._at, self._line, self._ended = "", 0, 1, False

    def answers(self, skip: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
        """Each answer with the name of who gave it, if the text has one; after what is no JSON it goes on."""
        while first := self._peek():
            try:
                if first not in "{[":
                    raise ValueError("no JSON")
                if first == "{" and self._first_key() in ANSWER:
                    yield "", self._value()
                else:
                    yield from self._members()
            except (ValueError, RecursionError) as error:
                why = getattr(error, "msg", None) or str(error)
                skip(f"line {self._here()}: {why}")
                self._go_on()

    def _members(self) -> Iterator[tuple[str, Any]]:
        end = "}" if self._text[self._at] == "{" else "]"
        self._at += 1
        while (first := self._peek()) != end:
            name = ""
            if first == ",":
                self._at += 1
                continue
            if end == "}":
                name = str(self._value())
                if self._peek() != ":":
                    raise ValueError("no colon after a name")
                self._at += 1
                self._peek()
            yield name, self._value()
        self._at += 1

    def _peek(self) -> str:
        """The first character that is not a space; nothing at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _first_key(self) -> str:
        while not (match := _FIRST_KEY.match(self._text, self._at)):
            if len(self._text) - self._at > LONGEST_KEY or not self._more():
                return ""
        return match[1]

    def _value(self) -> Any:
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated") or error.pos > len(self._text) - len("\\ud83d\\ude00")
                if not cut_off or not self._more():
                    raise
                continue
            if end == len(self._text) and isinstance(value, (int, float)) and self._more():
                continue  # a number may go on
            self._at = end
            return value

    def _more(self) -> bool:
        """Whether there was another chunk; what was read is let go."""
        if self._ended:
            return False
        if len(self._text) - self._at > LARGEST:
            raise ValueError(f"a value of more than {LARGEST >> 20} MB")
        chunk = self._read()
        self._ended = not chunk
        self._line = self._here()
        self._text = self._text[self._at :] + self._decoder.decode(chunk, self._ended)
        self._at = 0
        return not self._ended

    def _here(self) -> int:
        return self._line + self._text.count("\n", 0, self._at)

    def _go_on(self) -> None:
        """To the next line that begins a value."""
        while not (match := _NEXT.search(self._text, self._at)):
            self._at = max(self._at, len(self._text) - 1)  # a newline may be the last character
            if not self._more():
                self._at = len(self._text)
                return
        self._at = match.end()
