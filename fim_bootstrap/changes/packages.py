"""Packages are installed; in a tree none of them starts anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import BootstrapError
from ..host.reader import Host
from ..managers.lookup import Order, inventory
from ..managers.rows import MANAGERS
from .journal import Record

POLICY_RC = "/usr/sbin/policy-rc.d"
POLICY_RC_TEXT = "#!/bin/sh\n# fim-bootstrap: nothing is started in a tree\nexit 101\n"


class InstallPackages(NamedTuple):
    """Install what provides the missing commands, in one transaction."""

    order: Order
    boot: str  # the present boot; kept where the packages are there from the next one on

    def describe(self) -> str:
        """The plan line."""
        names = sorted(
            {*self.order.profile.extra_packages, *(" or ".join(names) for names in self.order.wanted.values())}
        )
        return f"install {', '.join(names)} (for {', '.join(self.order.wanted)})"

    def diff(self) -> str:
        """No file of ours."""
        return ""

    def apply(self, host: Host, record: Record) -> None:
        """Write down what is chosen, and install it.

        What goes into the system of the next boot is written down afterwards: a later run believes that entry,
        since it cannot look there. Where it fails, the error tells what the package database has besides.
        """
        from ..managers.install import install  # not for a run that has nothing to install

        manager, boot = self.order.manager, self.boot

        def note(names: Sequence[str]) -> None:
            record("install", manager=manager.name, packages=list(names), boot=boot if manager.staged else "")

        before = inventory(host, manager)
        try:
            with _no_services(host):
                names = install(host, self.order, (lambda _: None) if manager.staged else note)
        except BootstrapError as error:
            error.done = tuple(sorted(inventory(host, manager) - before))
            raise
        if manager.staged:
            note(names)


@contextlib.contextmanager
def _no_services(host: Host) -> Iterator[None]:
    """Keep a tree's packages from starting services on the machine that builds it (policy-rc.d, Debian)."""
    there = host.read(POLICY_RC)
    if host.root == "/" or not host.which("dpkg") or (there and there.text != POLICY_RC_TEXT):
        yield
        return
    host.create(POLICY_RC, POLICY_RC_TEXT.encode(), 0o755)
    try:
        yield
    finally:
        host.remove(POLICY_RC)


def undo_install(host: Host, entry: Mapping[str, Any], patience: float) -> None:
    """Remove the packages that were installed; `patience` is how long a lock is waited for, in seconds."""
    from ..managers.install import remove  # only for revert --packages

    remove(host, MANAGERS[entry["manager"]], entry["packages"], patience)


UNDO_IF_ASKED = {"install": undo_install}
