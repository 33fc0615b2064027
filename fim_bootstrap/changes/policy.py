"""SELinux: the policy module of this tool, and labels."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import Blocked, BootstrapError, Busy
from ..facts import selinux
from ..facts.own_files import GUARD_PATH, GUARD_UNITS
from ..host.reader import Host
from ..model import Change, Facts, Profile
from .journal import Record, moment
from .services import RestartUnit

SEMODULE_TIMEOUT = 900.0  # seconds; a policy rebuild took 57 s in an emulated guest with 2 cores
LABELS_POSSIBLE = ("test", "-d", "/proc/self/fd")  # by which libselinux sets a label
NO_LABELS = "no label can be set in a tree without /proc"


class LoadPolicy(NamedTuple):
    """Build the policy module with the host's own tools and load it."""

    source: str
    marker: str
    live: bool
    priorities: bool = True  # semodule has priorities (-X) since SELinux userspace 2.4

    def describe(self) -> str:
        """The plan line."""
        return f"build and load the SELinux module {selinux.MODULE} ({self.marker})"

    def diff(self) -> str:
        """No file of the host is edited."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """checkmodule, semodule_package, semodule; -n where no kernel of this tree is running."""
        # semodule runs in a domain that may map files of the store's type, but not of /var/lib in general
        store = next((found for root in selinux.STORES if (found := host.stat(root))), None)
        with host.scratch(store.context if store else "") as folder:
            source, module, package = (f"{folder}/{selinux.MODULE}.{end}" for end in ("te", "mod", "pp"))
            host.create(source, self.source.encode())
            host.run("checkmodule", "-M", "-m", "-o", module, source)
            host.run("semodule_package", "-o", package, "-m", module)
            priority = ["-X", selinux.PRIORITY] if self.priorities else []
            record("policy", module=selinux.MODULE, marker=self.marker, priority=priority, **moment(host))
            flags = () if self.live else ("-n",)
            semodule(host, *flags, *priority, "-i", package)


def semodule(host: Host, *arguments: str) -> None:
    """Run semodule. It gives up after 5 s where another one is at work: a package's, or one that a killed run left."""
    deadline = time.monotonic() + SEMODULE_TIMEOUT
    while True:
        try:
            host.run("semodule", *arguments, timeout=SEMODULE_TIMEOUT)
            return
        except BootstrapError as error:
            if "transaction lock" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise Busy("another semodule holds the lock of the module store", "try again when it is done") from None
        time.sleep(1)


class ReloadPolicy(NamedTuple):
    """Build the policy that the store already holds, and load it into the kernel if it runs this tree."""

    live: bool

    def describe(self) -> str:
        """The plan line."""
        return "build the stored SELinux policy anew" + (" and load it" if self.live else "")

    def diff(self) -> str:
        """No file."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Rebuild and load. Nothing of it is undone; an agent whose own semodule failed meanwhile is known by it."""
        record("reload", **moment(host))
        semodule(host, *(() if self.live else ("-n",)), "-B")


def loading(facts: Facts, profile: Profile) -> Sequence[Change]:
    """Ours is loaded where the kernel does not grant the access; once it is there it is kept as it should be."""
    state, live = facts.selinux, facts.environment.live
    if state.module_disabled:
        return ()
    if state.in_store is False and (state.module_present or not state.effective or state.deaf == selinux.WATCHED_TYPE):
        load = LoadPolicy(state.source, state.marker, live, profile.semodule_priorities)
        return (load, RestartUnit(GUARD_PATH)) if state.deaf and GUARD_UNITS[GUARD_PATH] in facts.prepared else (load,)
    if state.module_present and False in (state.in_kernel, state.in_policy):
        return (ReloadPolicy(live),)
    return ()


class RestoreLabels(NamedTuple):
    """Give paths the label that the policy has for them."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        """The plan line."""
        return f"restore the SELinux label of {', '.join(self.paths)}"

    def diff(self) -> str:
        """No content changes."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """restorecon -R; the labels are derived from the policy, so nothing is recorded."""
        host.run("restorecon", "-RF", *self.paths)


class LabelTree(NamedTuple):
    """Give every file of a tree that is not running its SELinux label."""

    file_contexts: str

    def describe(self) -> str:
        """The plan line."""
        return "label the whole tree (setfiles)"

    def diff(self) -> str:
        """No content changes."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """setfiles -F -m: works on a kernel without SELinux; the labels are derived, so nothing is recorded."""
        if host.run(*LABELS_POSSIBLE, ok=(0, 1)).status:
            raise Blocked(NO_LABELS, without_proc(host.root))
        lent = _lent(host, host.run("cat", "/proc/self/mountinfo").stdout)
        left_out = [word for place in lent for word in ("-e", place)]
        host.run("setfiles", "-F", "-m", *left_out, self.file_contexts, "/", timeout=SEMODULE_TIMEOUT)


def _lent(host: Host, mountinfo: str) -> list[str]:
    """What takes no label in a tree: read-only mounts, such as those by which an image builder lends its own files.

    setfiles -e leaves out folders alone: of a mounted file it is the folder, if that holds nothing but mounts. So
    what mkosi lends stays as it is, also its source folder, which is not read-only.
    proc_pid_mountinfo(5): the mount's options are the sixth field, those of its file system the last.
    """
    lines = [line.split(" ") for line in mountinfo.splitlines()]
    from glob import escape  # where a tree is labelled alone

    points = {_unescaped(fields[4]): {*fields[5].split(","), *fields[-1].split(",")} for fields in lines}
    read_only = [place for place, options in points.items() if "ro" in options and place != "/"]
    folders = {place: os.path.dirname(place) for place in read_only}
    whole = {folder for folder in {*folders.values()} - {"/"} if {*host.glob(f"{escape(folder)}/*")} <= {*points}}
    return [*dict.fromkeys(folder if folder in whole else place for place, folder in folders.items())]


def _unescaped(place: str) -> str:
    """A path of mountinfo, in which a blank is written as its octal number."""
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), place)


def without_proc(root: str) -> str:
    """What to type in order that labels can be set."""
    place = f"{root.rstrip('/')}/proc"
    return f"mkdir -p {place}, mount -t proc proc {place}, then run again"


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


UNDO = {"policy": undo_policy}
NO_UNDO = ("reload",)  # the policy is built anew whenever a module comes or goes
