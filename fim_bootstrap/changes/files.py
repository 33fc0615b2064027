"""Edits of files, and files of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import BootstrapError
from ..host.reader import Host
from ..resources import program
from . import journal
from .journal import Record, moment
from .services import enable


class EditFile(NamedTuple):
    """Replace a file's text; `inert` says that the daemon which reads it does not act on the difference.

    `unlocks` says that audit rules go which lock the kernel, so that a reboot becomes due where they are in force.
    """

    path: str
    before: str
    after: str
    why: str
    mtime: float = 0.0
    inert: bool = False
    unlocks: bool = False

    def describe(self) -> str:
        """The plan line."""
        return f"edit {self.path}: {self.why}"

    def diff(self) -> str:
        """What would change in the file."""
        return difference(self.before, self.after, self.path)

    def apply(self, host: Host, record: Record) -> None:
        """Keep both contents, then replace the file."""
        record(
            "edit", path=self.path, before=journal.keep(host, self.before), after=journal.keep(host, self.after),
            inert=self.inert, mtime=self.mtime, unlocks=self.unlocks, **moment(host),
        )  # fmt: skip
        host.replace(self.path, self.before, self.after)


def difference(before: str, after: str, path: str) -> str:
    """A unified diff of two texts of a file."""
    import difflib  # as long as any import here: not for a run that finds nothing to change

    from .merge import comparable

    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if not comparable(old, new):
        return f"--- {path}\n+++ {path}\ntoo many differences to show\n"
    lines = difflib.unified_diff(old, new, path, path, n=1)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


class EditAuditdConf(EditFile):
    """Replace auditd.conf, after the real daemon has read the new text where it can be asked."""

    def apply(self, host: Host, record: Record) -> None:
        """Ask auditd first; a text that it refuses is never put in place.

        What it says of the present text, too (the log's folder is missing, in an image), is not the edit's doing.
        """
        from ..audit import preflight  # only where something is changed

        answer = preflight.ask(host, self.after) if host.root == "/" else None
        if answer and answer.accepted is False and answer.said != preflight.ask(host).said:
            raise BootstrapError(f"{self.path}: auditd would refuse the new text: {answer.said}; nothing was written")
        super().apply(host, record)


class CreateFiles(NamedTuple):
    """Put files of our own in place, and enable the units that are among them."""

    texts: Mapping[str, str]
    units: Sequence[str] = ()
    program: str = ""
    start: bool = False  # the units are started, too

    def describe(self) -> str:
        """The plan line."""
        created = [*self.texts, *([self.program] if self.program else [])]
        parts = [f"create {', '.join(created)}"] if created else []
        parts += [f"enable {', '.join(self.units)}"] if self.units else []
        return "; ".join(parts)

    def diff(self) -> str:
        """New files of our own."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Written down first, so that revert removes them."""
        if self.program and not (content := program()):
            raise BootstrapError(f"{self.program} has to be the one-file binary; this is a source run", "make binary")
        for path, text in self.texts.items():
            record("create", path=path, after=journal.digest(text))
            host.create(path, text.encode(), 0o644)
        if self.program:
            record("create", path=self.program, after="")
            host.create(self.program, content, 0o755)
        for unit in self.units:
            record("enable", service=unit, ours=True)
            enable(host, unit, True, now=self.start)
