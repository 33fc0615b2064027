"""What is read of a machine, and how: `Reader` is all that `check` ever sees; only `Host` can change something.

So "check changes nothing" is a matter of types. live.py has the machine that we run on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Optional, Protocol

from ..redact import shown

STATE = "/var/lib/fim-bootstrap"
RUN = "/run/fim-bootstrap"
LOG = "/var/log/fim-bootstrap.log"
UNREAD = "cannot be read"  # how File.problem begins where the system refused it
TOO_MUCH = ("larger than", "more than")  # how it goes on where a limit was met
# what lies beyond these is not looked at, and said to be too large: no file of this kind was ever half as large
LIMIT = 1 << 20  # bytes of a text; what is made of it takes up to 45 times as much memory
LINE = 50  # bytes for which a text may have one line: each takes 300 bytes and 20 us, however short it is
EACH = 512  # bytes for which a set of files may have one: it takes 100 us, however short it is
RAW_LIMIT = 32 << 20  # bytes of a file that is searched: dpkg's status, a stored policy module
HELD_LIMIT = 256 << 20  # bytes of one that is looked through piece by piece: a policy
NOT_FOUND = 127
TIMED_OUT = 124


class Output(NamedTuple):
    """What a command said. Status 127: no such program; 124: it ran out of time; 128+N: killed by signal N."""

    argv: tuple[str, ...]
    status: int
    stdout: str = ""
    stderr: str = ""

    def why(self) -> str:
        """The last lines a person would look at, on one line."""
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return " / ".join(map(shown, lines[-4:])) or f"exit status {self.status}"


class File(NamedTuple):
    """A file as it stands; `problem` says why it cannot be read, or must not be replaced."""

    path: str
    text: str = ""  # bytes as UTF-8, anything else kept by surrogateescape
    mtime: float = 0.0
    problem: str = ""


class Stat(NamedTuple):
    """What a path leads to (stat(2)), and its SELinux label where it has one."""

    path: str
    mode: int
    uid: int
    mtime: float
    size: int
    context: str = ""
    read_only: bool = False  # lies on a file system that is mounted read-only
    place: str = ""  # device and inode, as /proc/locks writes them
    free: int = -1  # bytes that are left on its file system, -1 where that is not known
    whole: int = 0  # bytes of that file system


class Reader(Protocol):
    """All that a check needs; nothing here changes the host."""

    root: str

    def real(self, path: str) -> str:
        """Where a path of the tree lies on this machine; absolute links stay inside the tree."""

    def read(self, path: str, limit: int = LIMIT) -> Optional[File]:
        """The file, or None where there is none; one of more bytes than `limit`, or than lines of LINE, has no text."""

    def read_bytes(self, path: str) -> Optional[bytes]:
        """The content, or None where it cannot be had, or is larger than RAW_LIMIT."""

    def tail(self, path: str, size: int) -> bytes:
        """The last `size` bytes of a file that may be large, or nothing where it cannot be read."""

    def holds(self, path: str, mark: bytes) -> bool:
        """Whether the mark stands anywhere in the file, up to HELD_LIMIT."""

    def stat(self, path: str) -> Optional[Stat]:
        """What the path leads to, or None."""

    def link(self, path: str) -> str:
        """Where a symbolic link points, as it is written there, or ''."""

    def glob(self, pattern: str) -> Sequence[str]:
        """The paths that match, sorted."""

    def which(self, command: str) -> str:
        """Where a command is, or ''; the PATH always holds the sbin directories."""

    def ask(self, path: str, question: str) -> Optional[str]:
        """The kernel's answer on a transaction file such as /sys/fs/selinux/access.

        '' where the kernel refuses the question as invalid, None where it could not be asked.
        """

    def query(self, *commands: Sequence[str], timeout: float = 30) -> Sequence[Output]:
        """Run commands that only look, side by side; never raises for what they answer. Seconds for each."""


class Host(Reader, Protocol):
    """A machine that may be changed."""

    def run(self, *argv: str, ok: Collection[int] = (0,), timeout: float = 120, env: Mapping[str, str] = ...) -> Output:
        """Run a command to its end; any status outside `ok` raises. `timeout` is in seconds."""

    def replace(self, path: str, before: str, after: str) -> None:
        """Put `after` in the place of `before`, atomically, if `before` is still what is there."""

    def create(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file of our own, whole or not at all."""

    def append(self, path: str, line: str) -> None:
        """Add a line to a file of our own, and wait until it is on the disk."""

    def remove(self, path: str) -> None:
        """Remove a file of our own; an absent one is fine."""

    def remove_folder(self, path: str) -> None:
        """Remove a folder of our own, if it is empty."""

    def tidy(self, folders: Collection[str]) -> None:
        """Remove what killed runs left in these folders, and their scratch directories; with the lock in hand."""

    def log(self, line: str) -> None:
        """Add a line to the log."""

    def waits(self, what: str, left: float) -> None:
        """Log what the run waits for, and show it with the seconds that are left."""

    def scratch(self, context: str = "") -> contextlib.AbstractContextManager[str]:
        """A private directory (0700) that is gone afterwards; `context` is its SELinux label, if it needs one."""


def too_large(file: File) -> bool:
    """Whether a limit kept the file from being looked at, so that it may hold anything."""
    return not file.text and any(words in file.problem for words in TOO_MUCH)


def read_together(host: Reader, paths: Iterable[str], limit: int = LIMIT) -> Iterator[File]:
    """Those of the files that are there, as long as all of them are no larger than one may be alone.

    The first one beyond that has no text, and a problem that says so; what comes after it is not looked at.
    """
    size = 0
    for path in paths:
        if size > limit:
            yield File(path, problem=f"with the files before it, larger than {limit >> 20} MB")
            return
        if file := host.read(path):
            yield file
            size += max(EACH, len(file.text), LINE * (1 + file.text.count("\n")))
