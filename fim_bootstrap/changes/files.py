"""Edits of files, and files of our own."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import BootstrapError
from ..host.reader import STATE, Host
from ..resources import program
from . import journal
from .journal import Record, moment
from .services import EnableService


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

    from .merge import comparable, lines_of

    old, new = lines_of(before), lines_of(after)
    if not comparable(old, new):
        return f"--- {path}\n+++ {path}\ntoo many differences to show\n"
    rows = difflib.unified_diff(old, new, path, path, n=1)
    return "".join(row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows)


class EditAuditdConf(EditFile):
    """Replace auditd.conf, after the real daemon has read the new text where it can be asked."""

    def apply(self, host: Host, record: Record) -> None:
        """Ask auditd first; a text that it refuses is never put in place.

        What it says of the present text, too (the log's folder is missing, in an image), is not the edit's doing.
        """
        from ..audit import preflight  # only where something is changed

        answer = preflight.ask(host, self.after) if host.root == "/" else None
        if answer and answer.accepted is False and answer.said != preflight.ask(host).said:
            said = f"{self.path}: auditd would refuse the new text: {answer.said}; nothing was written"
            raise BootstrapError(said, f"mend {self.path}, then run again")
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
            record("create", path=path, after=journal.digest(text), folders=_absent(host, path))
            host.create(path, text.encode(), 0o644)
        if self.program:
            record("create", path=self.program, after="", folders=_absent(host, self.program))
            host.create(self.program, content, 0o755)
        for unit in self.units:
            EnableService(unit, ours=True, now=self.start).apply(host, record)


def _absent(host: Host, path: str) -> list[str]:
    """The folders on the way to a file that are not there yet, the deepest first."""
    found, folder = [], posixpath.dirname(path)
    while folder != "/" and host.stat(folder) is None:
        found.append(folder)
        folder = posixpath.dirname(folder)
    return found


def undo_edit(host: Host, entry: Mapping[str, Any]) -> str:
    """Put the old content back where the file is as it was written; else take out our own lines alone."""
    from . import merge  # difflib: only for revert

    path, file = entry["path"], host.read(entry["path"])
    if file is None or file.problem:
        why = file.problem if file else "is gone"
        raise BootstrapError(f"{path}: {why}; left alone", "put the file back, then run revert again")
    now = journal.digest(file.text)
    if now == entry["before"]:
        return ""
    try:
        before = journal.kept(host, entry["before"])
        if now == entry["after"]:
            host.replace(path, file.text, before)
            return ""
        after = journal.kept(host, entry["after"])
    except KeyError:
        lost = f"its texts of that time are lost from {STATE}/replaced"
        raise BootstrapError(f"{path}: {lost}; left alone", f"look for our lines in {path} by hand") from None
    if not (ours := merge.standing(before, after, file.text)):
        return f"{path}: was edited since; nothing of ours stands there any more"
    text = merge.taken_back(before, after, file.text)
    if text is None:
        remedy = _by_hand(path, ours, difference(after, file.text, path), difference(after, before, path))
        whole = f"or, to lose the later edits: cat {STATE}/replaced/{entry['before']} > {path}"
        raise BootstrapError(f"{path}: was edited since, beside or in our lines; left alone", f"{remedy}\n{whole}")
    host.replace(path, file.text, text)
    return f"{path}: was edited since; our lines were taken out and the later edits kept"


def _by_hand(path: str, ours: Sequence[tuple[int, str]], since: str, back: str) -> str:
    """The three-way difference: what was done since, what would take ours back, and which of our lines stand."""
    lines = "".join(f"    {number}: {line.rstrip()}\n" for number, line in ours)
    return (
        f"what was done to {path} since we wrote it:\n{since}what takes back what we wrote:\n{back}"
        f"of our lines these still stand:\n{lines}mend them in {path}, then run revert again"
    )


def undo_create(host: Host, entry: Mapping[str, Any]) -> str:
    """Remove a file of our own, only where it is still as it was written, and the folders that were made for it."""
    file = host.read(entry["path"])
    if file and entry["after"] and journal.digest(file.text) != entry["after"]:
        raise BootstrapError(f"{entry['path']}: was edited since; left alone", f"rm {entry['path']}")
    host.remove(entry["path"])
    for folder in entry.get("folders", ()):
        host.remove_folder(folder)
    return ""


UNDO = {"edit": undo_edit, "create": undo_create}
