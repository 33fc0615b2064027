"""A reboot that is due, told where the system's own tooling looks for it: `apply --reboot mark`.

Debian and Ubuntu: /run/reboot-required, and beside it the names of the packages that ask for it, a line each
(notify-reboot-required of update-notifier-common; unattended-upgrades, needrestart and kured look there). SUSE:
/run/reboot-needed (`zypper needs-rebooting`). Elsewhere there is no such file: RHEL's needs-restarting compares
packages with the time of the boot. /run is empty after the boot, so nobody has to take the mark away.
"""

from __future__ import annotations

from collections.abc import Sequence

from .host.reader import Host

REQUIRED = "/run/reboot-required"
PACKAGES = "/run/reboot-required.pkgs"
NEEDED = "/run/reboot-needed"
NAME = "fim-bootstrap"


def leave(host: Host, managers: Sequence[str]) -> str:
    """Leave the mark that belongs to a system with these package managers; what there is to tell about it."""
    if "apt" in managers:
        _present(host, REQUIRED, "*** System restart required ***")
        _listed(host, PACKAGES)
        return f"{REQUIRED} says that a reboot is due"
    if {"zypper", "transactional-update"} & {*managers}:
        _present(host, NEEDED, NAME)
        return f"{NEEDED} says that a reboot is due"
    return "a reboot is due; this system has no file that says so (fim-bootstrap reboot-required does)"


def _present(host: Host, path: str, text: str) -> None:
    """The file is there; one that another has left is as good."""
    if not host.stat(path):
        host.create(path, f"{text}\n".encode(), 0o644)


def _listed(host: Host, path: str) -> None:
    """Our name stands in the list once, however often apply runs before the reboot."""
    file = host.read(path)
    if file is None:
        host.create(path, f"{NAME}\n".encode(), 0o644)
    elif NAME not in file.text.splitlines():
        host.replace(path, file.text, f"{file.text.rstrip()}\n{NAME}\n".lstrip())
