"""A host made of dictionaries: what is run on it and written to it is recorded in order, and nothing else happens.

It answers as the `Host` protocol says. A command's answer is data, or a function that changes the host as the real
program would: a restart that gives the daemon a new pid, a semodule that loads, one that lies, one that hangs.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

from fim_bootstrap.agent.vendor import ROOT
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.host.commands import PATH
from fim_bootstrap.host.reader import LIMIT, NOT_FOUND, File, Output, Stat

BOOT = 1_000_000.0  # when this boot began, seconds since the epoch
HERTZ = os.sysconf("SC_CLK_TCK")
Said = Union[int, str, Output]  # exit status, standard output, or both
Answer = Union[Said, Callable[["DictHost", tuple[str, ...]], Said]]


@dataclass
class Node:
    """A file, or a folder where `content` is None."""

    content: Optional[bytes] = b""
    mode: int = 0o644
    uid: int = 0
    mtime: float = BOOT
    context: str = ""
    problem: str = ""  # what File.problem says of it
    link: str = ""  # where it points, as it is written; `content` is what is read through it


@dataclass
class DictHost:
    """The host; `done` is all that was run on it or changed about it, in order."""

    root: str = "/"
    nodes: dict[str, Node] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)  # by the beginning of a command; the longest one counts
    kernel: dict[tuple[str, str], str] = field(default_factory=dict)  # transaction file and question -> answer
    unwritable: dict[str, str] = field(default_factory=dict)  # path -> why
    done: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # commands that only looked
    told: list[str] = field(default_factory=list)  # both, with how long they may take and how they may end
    logged: list[str] = field(default_factory=list)
    now: float = BOOT + 5000.0

    # ------------------------------------------------------------------ making it

    def write(self, path: str, text: str = "", **values: object) -> None:
        """Put a file there, with those of a Node's values that matter."""
        self.nodes[path] = Node(text.encode("utf-8", "surrogateescape"), **{"mtime": self.now, **values})  # type: ignore[arg-type]

    def folder(self, path: str, **values: object) -> None:
        """Put a folder there."""
        self.nodes[path] = Node(None, **{"mode": 0o755, **values})  # type: ignore[arg-type]

    def programs(self, *names: str) -> None:
        """Commands that are there."""
        for name in names:
            self.write(f"/usr/sbin/{name}", mode=0o755)

    def process(
        self, pid: int, name: str, parent: int = 1, started: float = BOOT + 10, exe: str = "", uid: int = 0,
        real_uid: Optional[int] = None, context: str = "", cmdline: str = "",
    ) -> None:  # fmt: skip
        """A running process, as proc(5) shows it; `started` is in seconds since the epoch."""
        self.end(pid)
        ticks = int((started - BOOT) * HERTZ)
        fields = f"{pid} ({name[:15]}) S {parent} " + "0 " * 17 + f"{ticks} 0 0"
        uids = f"{uid if real_uid is None else real_uid}\t{uid}\t{uid}\t{uid}"
        self.folder(f"/proc/{pid}")
        self.write(f"/proc/{pid}/comm", f"{name[:15]}\n")
        self.write(f"/proc/{pid}/stat", fields)
        self.write(f"/proc/{pid}/status", f"Name:\t{name[:15]}\nPPid:\t{parent}\nUid:\t{uids}\n")
        self.write(f"/proc/{pid}/cmdline", (cmdline or exe or name).replace(" ", "\0") + "\0")
        folder = f"{ROOT}/bin" if name.startswith(("qualys-", "edr-")) else "/usr/sbin"
        program = "/usr/bin/sh" if name.endswith(".sh") or cmdline.startswith("/bin/sh ") else f"{folder}/{name}"
        self.write(f"/proc/{pid}/exe", link=exe or program)
        if context:
            self.write(f"/proc/{pid}/attr/current", f"{context}\0")

    def end(self, pid: int) -> None:
        """A process is gone."""
        for path in [path for path in self.nodes if f"{path}/".startswith(f"/proc/{pid}/")]:
            del self.nodes[path]

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    # ------------------------------------------------------------------ Reader

    def real(self, path: str) -> str:
        """There is no tree but this one."""
        return path

    def read(self, path: str, limit: int = LIMIT) -> Optional[File]:
        """The file, or None where there is none."""
        node = self.nodes.get(path)
        if node is None:
            return None
        if node.content is None:
            return File(path, "", node.mtime, "a directory where a file should be")
        return File(path, node.content.decode("utf-8", "surrogateescape"), node.mtime, node.problem)

    def read_bytes(self, path: str) -> Optional[bytes]:
        """The content, or None where it cannot be had."""
        node = self.nodes.get(path)
        return None if node is None or node.problem else node.content

    def tail(self, path: str, size: int) -> bytes:
        """The last bytes of a file."""
        return (self.read_bytes(path) or b"")[-size:]

    def holds(self, path: str, mark: bytes) -> bool:
        """Whether the mark stands in the file."""
        return mark in (self.read_bytes(path) or b"")

    def link(self, path: str) -> str:
        """Where a symbolic link points, or ''."""
        node = self.nodes.get(path)
        return node.link if node else ""

    def stat(self, path: str) -> Optional[Stat]:
        """What the path leads to, or None."""
        node = self.nodes.get(path)
        if node is None:
            inside = any(name.startswith(f"{path.rstrip('/')}/") for name in self.nodes)
            return Stat(path, 0o40755, 0, BOOT, 0) if inside else None
        kind = 0o40000 if node.content is None else 0o100000
        size = len(node.content or b"")
        place = f"00:01:{list(self.nodes).index(path)}"
        return Stat(path, kind | node.mode, node.uid, node.mtime, size, node.context, place=place)

    def glob(self, pattern: str) -> Sequence[str]:
        """The paths that match, sorted; a * stays within one name."""
        parts = pattern.split("/")
        found = set()
        for path in self.nodes:
            names = path.split("/")[: len(parts)]
            hidden = any(name.startswith(".") and not part.startswith(".") for name, part in zip(names, parts))
            if len(names) == len(parts) and not hidden and all(map(fnmatch.fnmatchcase, names, parts)):
                found.add("/".join(names))
        return sorted(found)

    def which(self, command: str) -> str:
        """Where a command is, or ''."""
        return next((path for d in PATH.split(":") if (path := f"{d}/{command}") in self.nodes), "")

    def ask(self, path: str, question: str) -> Optional[str]:
        """The kernel's answer on a transaction file: as Reader says."""
        return self.kernel.get((path, question))

    def query(self, *commands: Sequence[str], timeout: float = 30) -> Sequence[Output]:
        """Commands that only look."""
        self.asked += [" ".join(argv) for argv in commands]
        self.told += [f"asks ({timeout:g} s): {' '.join(argv)}" for argv in commands]
        return [self._output(tuple(argv)) for argv in commands]

    # ------------------------------------------------------------------ Host

    def run(self, *argv: str, ok: Collection[int] = (0,), timeout: float = 120, env: Mapping[str, str] = {}) -> Output:
        """Record the command, and answer; a status outside `ok` raises."""
        self.done.append(" ".join(argv))
        good = ", ".join(map(str, sorted(ok))) if len(ok) < 256 else "any"
        self.told.append(
            " ".join((f"does ({timeout:g} s, exit {good}):", *(f"{k}={v}" for k, v in env.items()), *argv))
        )
        output = self._output(argv)
        if output.status not in ok:
            raise BootstrapError(f"{' '.join(argv)} failed with exit status {output.status}: {output.why()}")
        return output

    def _output(self, argv: tuple[str, ...]) -> Output:
        line = " ".join(argv)
        fitting = [begin for begin in self.answers if line == begin or line.startswith(f"{begin} ")]
        if not fitting:
            return Output(argv, 0 if self.which(argv[0]) else NOT_FOUND)
        answer = self.answers[max(fitting, key=len)]
        said = answer(self, argv) if callable(answer) else answer
        if isinstance(said, Output):
            return said
        return Output(argv, said) if isinstance(said, int) else Output(argv, 0, said)

    def replace(self, path: str, before: str, after: str) -> None:
        """Put `after` in the place of `before`."""
        self._change("replace", path)
        now = self.read(path)
        if now is None or now.problem or now.text != before:
            raise BootstrapError(f"{path} changed while it was being looked at; nothing was written")
        self.nodes[path].content = after.encode("utf-8", "surrogateescape")
        self.nodes[path].mtime = self.now

    def create(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file of our own."""
        self._change("create", path, f" ({mode:o})")
        self.nodes[path] = Node(content, mode, mtime=self.now)

    def append(self, path: str, line: str) -> None:
        """Add a line."""
        self._change("append", path, f": {line}")
        before = self.read_bytes(path) or b""
        self.nodes[path] = Node(before + line.encode("utf-8", "surrogateescape") + b"\n", 0o600, mtime=self.now)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._change("remove", path)
        self.nodes.pop(path, None)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        if not any(name.startswith(f"{path}/") for name in self.nodes):
            self._change("remove folder", path)
            self.nodes.pop(path, None)

    def _change(self, what: str, path: str, more: str = "") -> None:
        if path in self.unwritable:
            raise BootstrapError(f"{path}: cannot be written: {self.unwritable[path]}")
        self.done.append(f"{what} {path}")
        self.told.append(f"does: {what} {path}{more}")

    def tidy(self, folders: Collection[str]) -> None:
        """Nothing is ever left behind here."""

    def log(self, line: str) -> None:
        """Keep the line."""
        self.logged.append(line)

    def waits(self, what: str, left: float) -> None:
        """Keep the line."""
        self.logged.append(what)

    @contextlib.contextmanager
    def scratch(self, context: str = "") -> Iterator[str]:
        """A folder that is gone afterwards."""
        folder = "/var/lib/fim-bootstrap/work.0"
        self.folder(folder, context=context)
        try:
            yield folder
        finally:
            for path in [path for path in self.nodes if posixpath.commonpath((path, folder)) == folder]:
                del self.nodes[path]
