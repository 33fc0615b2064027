"""Where --report and the like go. It is settled before the run: a refusal after the changes would lose the report.

A regular file is put there whole, in the place of another regular file or of none. What is neither stays what it
is: a pipe, a terminal, /dev/null or an open descriptor (/dev/stdout) is written through, all else is refused. A
link to a file is refused, too: whoever may write to its folder could have put it there (/tmp).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from typing import NamedTuple, Optional

from .errors import BootstrapError, Usage
from .host.files import PATIENCE, put
from .host.live import LiveHost


class Export(NamedTuple):
    """A place for the report: nowhere, a regular file, or a handle that is written through."""

    path: str = ""
    handle: Optional[int] = None


def settle(path: str, option: str = "--report") -> Export:
    """The place that was asked for by an option; raises what speaks against it."""
    if not path:
        return Export()
    if path == "-":
        raise Usage(f"{option} -: is no file", "name a file; --format json prints the report")
    try:
        if (own := _descriptor(path)) is not None:
            return Export(path, _writable(path, os.dup(own), option))
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return _file(path, option)
        if stat.S_ISREG(mode):
            return _file(path, option)
        if stat.S_ISLNK(mode) and (not os.path.exists(path) or os.path.isfile(path)):
            target = os.path.realpath(path)
            raise Usage(f"{option} {path}: is a symbolic link; nothing is written through it", f"{option} {target}")
        mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return Export(path, _writable(path, _opened(path), option))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Usage(f"{option} {path}: cannot be written: {why}", "name a file in a folder that is there") from error
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket"}
    raise Usage(f"{option} {path}: is {kinds.get(stat.S_IFMT(mode), 'no file')}", "name a file")


def deliver(place: Export, text: str) -> None:
    """Write the report there; raises BootstrapError where it did not get there whole."""
    content = f"{text}\n".encode()
    if place.handle is not None:
        try:
            put(place.handle, content, PATIENCE)
        except OSError as error:
            said = f"{place.path}: the report did not get there whole: {error.strerror}"
            raise BootstrapError(said, "look at who reads there") from error
        finally:
            os.close(place.handle)
    elif place.path:
        LiveHost().create(os.path.abspath(place.path), content, 0o644)


def _file(path: str, option: str) -> Export:
    folder = os.path.dirname(os.path.abspath(path))
    if path.endswith("/") or not os.path.isdir(folder):
        raise Usage(f"{option} {path}: {folder} is no folder", "name a file in a folder that is there")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BootstrapError(f"{option} {path}: nothing can be written to {folder}", "name a file elsewhere")
    return Export(path)


def _descriptor(path: str) -> Optional[int]:
    """The open descriptor that a path means, as /dev/stdout and /dev/fd/3 do.

    Opened anew, a file that stdout was sent to would be written from its beginning.
    """
    for _ in range(40):
        folder, name = os.path.split(path)
        if name.isdecimal() and re.fullmatch(rf"/proc/{os.getpid()}/(task/\d+/)?fd", os.path.realpath(folder)):
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(folder, os.readlink(path))
    return None


def _opened(path: str) -> int:
    """A pipe or a device, opened for writing; it waits for nothing but, a little, for a pipe's reader."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _writable(path: str, handle: int, option: str) -> int:
    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        os.close(handle)
        raise Usage(f"{option} {path}: is open for reading alone", "name a file")
    return handle
