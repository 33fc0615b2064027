"""What can go wrong, each with the exit status that scripts may rely on (statuses from 64 are sysexits(3))."""

from __future__ import annotations


class BootstrapError(Exception):
    """A step failed: what happened, and what a person can type next."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
        self.done: tuple[str, ...] = ()  # what the step has done all the same, in words


class Blocked(BootstrapError):
    """Something stands in the way that only a person may lift."""

    exit_code = 4


class Usage(BootstrapError):
    """The command line asks for something that does not exist."""

    exit_code = 64


class Unsupported(BootstrapError):
    """This system cannot run auditd-based FIM, or is not known."""

    exit_code = 69


class Busy(BootstrapError):
    """A lock was not released in time; the same command may work later."""

    exit_code = 75


class NeedsRoot(BootstrapError):
    """The step needs root."""

    exit_code = 77


class BadConfig(BootstrapError):
    """A profile or an option file is invalid; the message begins with file and key."""

    exit_code = 78
