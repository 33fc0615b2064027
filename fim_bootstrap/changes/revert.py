"""Taking back what `apply` did, as the journal has it; what undoes a step stands beside the step itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..audit import reboots, switched_on
from ..errors import BootstrapError
from ..host.reader import Host
from . import files, journal, packages, policy, rules, services

UNDO: Mapping[str, Callable[[Host, Mapping[str, Any]], str]] = {**files.UNDO, **policy.UNDO, **services.UNDO}
# running states, which follow from the files that are brought back, and what is known of them
NO_UNDO = (*policy.NO_UNDO, *services.NO_UNDO, *rules.NO_UNDO, reboots.DUE, switched_on.EVENT)


def undo(host: Host, entry: Mapping[str, Any]) -> str:
    """Take one journal entry back; what is worth telling about it, or ''. Raises where it could not be taken back."""
    try:
        return UNDO[entry["kind"]](host, entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(entry, error) from error


def _unreadable(entry: Mapping[str, Any], error: Exception) -> BootstrapError:
    said = f"a journal entry of kind {entry.get('kind')!r} cannot be read: {error} is missing or unknown"
    return BootstrapError(said, f"look at {journal.JOURNAL}")


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
        if kind in packages.UNDO_IF_ASKED or path in held:
            continue
        if kind in NO_UNDO:
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
            services.restart_running(host, stopped)
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
    for step in reversed([step for step in steps if step.get("kind") in packages.UNDO_IF_ASKED]):
        try:
            packages.UNDO_IF_ASKED[step["kind"]](host, step, patience)
            journal.undone(host, step)
            removed += 1
        except KeyError as error:
            problems.append(_unreadable(step, error))
        except BootstrapError as error:
            problems.append(error)
    return removed, problems
