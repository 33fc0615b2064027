"""Taking back what `apply` did, step by step, as the journal has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..audit import reboots, switched_on
from ..errors import BootstrapError
from ..facts import selinux
from ..facts.services import starts_at_boot, unit_of
from ..host.reader import STATE, Host
from ..managers import install, rows
from . import journal, merge
from .files import difference
from .policy import semodule
from .services import enable, restart_running


def undo_edit(host: Host, entry: Mapping[str, Any]) -> str:
    """Put the old content back where the file is as it was written; else take out our own lines alone."""
    path, file = entry["path"], host.read(entry["path"])
    if file is None or file.problem:
        raise BootstrapError(f"{path}: {file.problem if file else 'is gone'}; left alone")
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


def undo_policy(host: Host, entry: Mapping[str, Any]) -> str:
    """Unload the module, if it is still there."""
    if _stored(host):
        flags = () if host.stat(f"{selinux.FS}/enforce") and host.root == "/" else ("-n",)
        priority = entry.get("priority", ["-X", selinux.PRIORITY])
        semodule(host, *flags, *priority, "-r", entry["module"])
    if _stored(host):
        raise BootstrapError(f"the SELinux module {entry['module']} is still in the store", "semodule -lfull")
    return ""


def _stored(host: Host) -> bool:
    kinds = {folder.rpartition("/")[2] for root in selinux.STORES for folder in host.glob(f"{root}/*")}
    return any(selinux.stored(host, kind) for kind in kinds)


def undo_stop(host: Host, entry: Mapping[str, Any]) -> str:
    """Have the service start at boot again; `take_back` starts it where this system runs."""
    enable(host, entry["service"], True)
    return ""


def undo_enable(host: Host, entry: Mapping[str, Any]) -> str:
    """Leave the service as it was at boot: not started; a unit of our own ends with what it started."""
    if starts_at_boot(host, entry["service"]):
        enable(host, entry["service"], False)
    if entry.get("ours"):  # a check that waits for this run, or that failed, would stay without its unit
        units = {unit_of(entry["service"]), unit_of(entry["service"].partition(".")[0])}
        for word in ("stop", "reset-failed"):
            host.run("systemctl", word, *sorted(units), ok=range(256))
    if starts_at_boot(host, entry["service"]):
        raise BootstrapError(f"{entry['service']} is still enabled at boot", f"systemctl disable {entry['service']}")
    return ""


def undo(host: Host, entry: Mapping[str, Any]) -> str:
    """Take one journal entry back; what is worth telling about it, or ''. Raises where it could not be taken back."""
    try:
        return UNDO[entry["kind"]](host, entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(entry, error) from error


def _unreadable(entry: Mapping[str, Any], error: Exception) -> BootstrapError:
    said = f"a journal entry of kind {entry.get('kind')!r} cannot be read: {error} is missing or unknown"
    return BootstrapError(said, f"look at {journal.JOURNAL}")


UNDO: Mapping[str, Callable[[Host, Mapping[str, Any]], str]] = {
    "edit": undo_edit,
    "create": undo_create,
    "policy": undo_policy,
    "stop": undo_stop,
    "enable": undo_enable,
}
# running states, which follow from the files that are brought back, and what is known of them
PASSING = ("rule", "restart", "start", "reload", reboots.DUE, switched_on.EVENT)


def take_back(
    host: Host, steps: Sequence[Mapping[str, Any]], tell: Callable[[str], Any], live: bool
) -> tuple[int, list[str], list[BootstrapError]]:
    """Take back all steps but installed packages, newest first: how many, what to tell, and what could not be.

    `live` says that the running system is this tree's own: in a chroot the processes are those of the system
    outside, and are left alone.

    One that cannot be taken back does not stop the others, but the earlier steps of the same file. The step
    that was taken back last is written down as undone only after the restart: a run that is killed before
    that restarts again.
    """
    notes: list[str] = []
    problems: list[BootstrapError] = []
    held: set[str] = set()
    last: list[Mapping[str, Any]] = []
    stopped: set[str] = set()
    undone = 0
    for step in reversed(steps):
        kind, path = step.get("kind"), str(step.get("path", ""))
        if kind == "install" or path in held:
            continue
        if kind in PASSING:
            journal.undone(host, step)
            continue
        tell(f"revert: {kind} {path or step.get('module') or step.get('service') or ''}")
        try:
            note = undo(host, step)
        except BootstrapError as error:
            problems.append(error)
            held.update([path] if path else ())
            continue
        notes += [note] if note else []
        stopped.update([step["service"]] if kind == "stop" else ())
        for earlier in last:
            journal.undone(host, earlier)
        last, undone = [step], undone + 1
    try:
        if undone and live:
            restart_running(host, stopped)
        for step in last:
            journal.undone(host, step)
    except BootstrapError as error:
        problems.append(error)
    return undone, notes, problems


def remove_packages(
    host: Host, steps: Sequence[Mapping[str, Any]], patience: float
) -> tuple[int, list[BootstrapError]]:
    """Remove the packages that were installed: how many steps are taken back, and what could not be.

    `patience` is how long a lock of the manager is waited for, in seconds.
    """
    removed, problems = 0, []
    for step in reversed([step for step in steps if step.get("kind") == "install"]):
        try:
            install.remove(host, rows.MANAGERS[step["manager"]], step["packages"], patience)
            journal.undone(host, step)
            removed += 1
        except KeyError as error:
            problems.append(_unreadable(step, error))
        except BootstrapError as error:
            problems.append(error)
    return removed, problems
