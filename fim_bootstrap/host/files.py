"""Files, as they are opened, read and written here: whole, or not at all.

A path from outside may lead to anything, so only a regular file is ever opened, and only so much of it is read.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import stat
import time
from collections.abc import Mapping
from typing import Optional

from ..errors import BootstrapError
from .reader import HELD_LIMIT, LIMIT, UNREAD, File

TEMPORARY = ".fim-bootstrap."  # auditd's plugin loader and augenrules pass over a name that begins with a dot
PATIENCE = 5.0  # seconds for a pipe
CHUNK = 65536  # bytes of a large file that are looked at together
ABANDONED_AFTER = 3600.0  # seconds after which an unpacked program whose process is gone counts as left behind
# a path from outside may be absent or forbidden, hold a NUL, or lead in a circle
_SPECIAL = frozenset("*?[")
UNREADABLE = (OSError, ValueError, BootstrapError)


def opened(place: str) -> int:
    """A regular file, opened; a pipe or a device could be waited for for ever, or do something when it is opened."""
    if not stat.S_ISREG(os.stat(place).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "not a regular file")


def content_of(place: str, size: int, last: bool = False) -> bytes:
    """The first, or the last, bytes of a regular file; those of /proc do not know their size."""
    handle = opened(place)
    try:
        if last:
            os.lseek(handle, max(0, os.fstat(handle).st_size - size), os.SEEK_SET)
        pieces = []
        while size > 0 and (piece := os.read(handle, min(size, CHUNK))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(handle)


def holds(place: str, mark: bytes) -> bool:
    """Whether the mark stands anywhere in a regular file, up to HELD_LIMIT; it is looked through piece by piece."""
    seen, rest = b"", HELD_LIMIT
    handle = opened(place)
    try:
        while rest > 0 and (piece := os.read(handle, CHUNK)):
            if mark in (seen := seen[-len(mark) :] + piece):
                return True
            rest -= len(piece)
    finally:
        os.close(handle)
    return False


def is_pattern(path: str) -> bool:
    """Whether a path has characters that glob(7) reads as more than themselves."""
    return not _SPECIAL.isdisjoint(path)


def matching(folder: str, pattern: str) -> list[str]:
    """The names of a folder that match, hidden ones only where the dot is named (glob(7)); raises OSError."""
    if not is_pattern(pattern):
        return [pattern] if os.path.lexists(f"{folder}/{pattern}") else []
    return [name for name in fnmatch.filter(os.listdir(folder), pattern) if name[0] != "." or pattern[0] == "."]


def piped(path: str, limit: int = LIMIT) -> Optional[bytes]:
    """All that comes through a pipe, as `--config <(...)` has it; None where the path is none. Raises OSError.

    It has to come within PATIENCE, and may have up to `limit` bytes.
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return None
    import select

    deadline, pieces = time.monotonic() + PATIENCE, list[bytes]()
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            piece = os.read(handle, CHUNK)
            pieces.append(piece)
            limit -= len(piece)
            if not piece:
                return b"".join(pieces)
            if limit < 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        raise OSError(errno.ETIMEDOUT, f"it was not written to its end within {PATIENCE:.0f} s")
    finally:
        os.close(handle)


def put(handle: int, content: bytes, patience: float = 0.0) -> None:
    """Write all of it: write(2) may take less than it is given, as on a disk that is nearly full.

    `patience` is how long a reader at the other end may take nothing, in seconds.
    """
    rest = memoryview(content)
    while rest:
        try:
            count = os.write(handle, rest)
        except BlockingIOError:
            import select

            poll = select.poll()
            poll.register(handle, select.POLLOUT)
            if not poll.poll(patience * 1000):
                raise
            continue
        if not count:
            raise OSError(errno.EIO, "nothing was written")
        rest = rest[count:]


def write(
    target: str, content: bytes, mode: int, owner: Optional[os.stat_result] = None, attributes: Mapping[str, bytes] = {}
) -> None:
    """Put a file there, whole or not at all, under a name of its own first, and wait until it is on the disk."""
    folder = os.path.dirname(target)
    try:
        temporary = f"{folder}/{TEMPORARY}{os.urandom(8).hex()}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritten(target, error) from error
    try:
        with open(handle, "wb"):  # closes it
            put(handle, content)
            if owner:
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fchmod(handle, stat.S_IMODE(mode))
            for name, value in attributes.items():
                os.setxattr(handle, name, value)
            os.fsync(handle)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise unwritten(target, error) from error
    sync(folder)


def add_line(handle: int, size: int, line: bytes, sync: bool = True) -> None:
    """Put a line at the end of a file of that size, and wait for the disk; the file is as before where that fails."""
    try:
        put(handle, line)
        if sync:
            os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, size)
        raise


def unfit(info: os.stat_result) -> str:
    """Why this is no regular file, or ''."""
    if stat.S_ISREG(info.st_mode):
        return ""
    return "a directory where a file should be" if stat.S_ISDIR(info.st_mode) else "not a regular file"


def unread(path: str, error: OSError) -> File:
    """A file that the system refuses to have read."""
    return File(path, problem=f"{UNREAD}: {error.strerror}")


def unwritten(path: str, error: OSError) -> BootstrapError:
    """What to tell where the system refuses to have a file written."""
    remedies = {
        errno.ENOSPC: "free some space, then run again",
        errno.EROFS: "the file system is read-only; mount it writable, or use the system's own update tool",
        errno.EACCES: "run as root",
        errno.EPERM: "lsattr shows whether it was made immutable; chattr -ia takes that back",
    }
    message = f"{path}: cannot be written: {error.strerror}; what stood there is unchanged"
    return BootstrapError(message, remedies.get(error.errno or 0, "look at the message of the system above"))


def sync(folder: str) -> None:
    """Wait until the names in a folder are on the disk."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        said = f"{folder}: was changed, but the disk did not confirm it: {error.strerror}"
        raise BootstrapError(said, "look at the kernel's messages (dmesg), then run again") from error


def remove_tree(folder: str) -> None:
    """Remove a folder of our own with all that is in it."""
    import shutil  # 4 ms: not for a run that changes nothing

    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: str) -> None:
    """Remove what one-file runs that were killed left in the folder into which they had been unpacked.

    Only our own: of our user, private, marked by a file of ours, named after a process that is gone, and old,
    since a process of another namespace may look gone from here.
    """
    for name in os.listdir(folder):
        path, found = os.path.join(folder, name), re.fullmatch(r"_MEI([0-9a-f]{8})\w{6}", name)
        if not found or os.path.exists(f"/proc/{int(found[1], 16)}"):
            continue
        with contextlib.suppress(OSError):
            info = os.lstat(path)
            private = stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and info.st_mode & 0o77 == 0
            if (
                private
                and time.time() - info.st_mtime > ABANDONED_AFTER
                and os.path.exists(f"{path}/distro_profiles/table.json")
            ):
                remove_tree(path)
