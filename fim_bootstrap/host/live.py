"""The machine we run on, or a tree of it. This room alone imports `sh`, starts processes, or writes."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Optional

from ..errors import BootstrapError
from ..progress import Progress
from ..redact import shown
from . import tree
from .commands import MINUTES, PATH, finish, found, look, start
from .files import (
    TEMPORARY,
    UNREADABLE,
    add_line,
    content_of,
    holds,
    is_pattern,
    matching,
    remove_tree,
    sync,
    unfit,
    unread,
    unwritten,
    write,
)
from .reader import LIMIT, LINE, LOG, NOT_FOUND, RAW_LIMIT, STATE, TIMED_OUT, File, Output, Stat

LOG_LIMIT = 1 << 20  # bytes; the log is renamed to .1 beyond it, so two files are all it ever takes
LOG_LINE = 10_000  # characters of one line of it
SCRATCH = "work."


class LiveHost:
    """The machine we run on, or the tree below `root` as a chroot would see it."""

    def __init__(self, root: str = "/", progress: Optional[Progress] = None) -> None:
        self._progress = progress or Progress()
        self.root = os.path.realpath(root)
        self._way: Optional[tuple[str, ...]] = None

    # ------------------------------------------------------------------ reading

    def real(self, path: str) -> str:
        """Where `path` of the tree lies on this machine; see Reader."""
        return tree.real(self.root, path)

    def read(self, path: str, limit: int = LIMIT) -> Optional[File]:
        """The file, or None where there is none; see Reader."""
        try:
            place = tree.unfollowed(self.root, path)
            info = os.lstat(place)
            problem = unfit(info)
            if stat.S_ISLNK(info.st_mode):
                problem = f"a symbolic link to {os.readlink(place)}"
                place = self.real(path)
                info = os.stat(place)
            if not stat.S_ISREG(info.st_mode):
                return File(path, "", info.st_mtime, problem or unfit(info))
            content = content_of(place, limit + 1)
        except ValueError:  # a NUL, or what is no text, in the path
            return None
        except BootstrapError as error:  # links that lead in a circle
            return File(path, problem=str(error))
        except OSError as error:
            return None if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESRCH) else unread(path, error)
        if len(content) > limit:
            return File(path, "", info.st_mtime, f"larger than {limit >> 20} MB")
        if content.count(b"\n") > limit // LINE:
            return File(path, "", info.st_mtime, f"more than {limit // LINE} lines")
        return File(path, content.decode("utf-8", "surrogateescape"), info.st_mtime, problem)

    def read_bytes(self, path: str) -> Optional[bytes]:
        """The content, or None where it cannot be had; see Reader."""
        try:
            content = content_of(self.real(path), RAW_LIMIT + 1)
        except UNREADABLE:
            return None
        return content if len(content) <= RAW_LIMIT else None

    def tail(self, path: str, size: int) -> bytes:
        """The last bytes of a file; see Reader."""
        try:
            return content_of(self.real(path), size, last=True)
        except UNREADABLE:
            return b""

    def holds(self, path: str, mark: bytes) -> bool:
        """Whether the mark stands anywhere in the file; not where it cannot be read."""
        try:
            return holds(self.real(path), mark)
        except UNREADABLE:
            return False

    def stat(self, path: str) -> Optional[Stat]:
        """What the path leads to, or None."""
        try:
            real = self.real(path)
            info = os.stat(real)
            system = os.statvfs(real)
        except UNREADABLE:
            return None
        context = b""
        with contextlib.suppress(OSError):
            context = os.getxattr(real, "security.selinux")
        label = context.rstrip(b"\0").decode(errors="replace")
        place = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
        return Stat(
            path, info.st_mode, info.st_uid, info.st_mtime, info.st_size, label, bool(system.f_flag & os.ST_RDONLY),
            place, system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize,
        )  # fmt: skip

    def link(self, path: str) -> str:
        """Where a symbolic link points, as it is written there, or ''."""
        try:
            return os.readlink(tree.unfollowed(self.root, path))
        except UNREADABLE:
            return ""

    def glob(self, pattern: str) -> Sequence[str]:
        """The paths that match, sorted."""
        folder, name = os.path.split(pattern)
        folders = self.glob(folder) if is_pattern(folder) else (folder,)
        found: list[str] = []
        for path in folders:
            with contextlib.suppress(*UNREADABLE):
                found += [os.path.join(path, match) for match in matching(self.real(path), name)]
        return sorted(found)

    def which(self, command: str) -> str:
        """Where a command is, or ''."""
        for folder in PATH.split(":"):
            found = self.stat(f"{folder}/{command}")
            if found and stat.S_ISREG(found.mode) and found.mode & 0o111:
                return found.path
        return ""

    def ask(self, path: str, question: str) -> Optional[str]:
        """The kernel's answer on a transaction file; see Reader."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            asked = question.encode()
            if os.write(file, asked) < len(asked):  # one question is one write(2)
                return None
            return os.read(file, 4096).rstrip(b"\0").decode()
        except OSError as error:
            return "" if error.errno == errno.EINVAL else None
        finally:
            os.close(file)

    def query(self, *commands: Sequence[str], timeout: float = 30) -> Sequence[Output]:
        """Run commands that only look, side by side."""
        started = [(tuple(argv), look(self._inside(argv), timeout)) for argv in commands]
        return [finish(argv, child, timeout) for argv, child in started]

    def _inside(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with its program's path, as it is started in this tree, or nothing where there is none."""
        return found((*self._entry(), *argv))

    def _entry(self) -> tuple[str, ...]:
        """What a command is started through in a tree: a chroot, with a /proc and processes of its own if it may."""
        if self.root == "/" or self._way is not None:
            return self._way or ()
        self._way = ("chroot", self.root)
        if os.path.isdir(proc := self.real("/proc")):
            alone = ("unshare", "-mpf", f"--mount-proc={proc}", *self._way)
            self._way = alone  # the question below is asked this way
            if self.query(("true",), timeout=20)[0].status:
                self._way = ("chroot", self.root)
        return self._way

    # ------------------------------------------------------------------ changing

    def run(
        self,
        *argv: str,
        ok: Collection[int] = (0,),
        timeout: float = 120,
        env: Mapping[str, str] = {},
    ) -> Output:
        """Run a command to its end; any status outside `ok` raises."""
        begun = time.monotonic()
        with self._progress.command(" ".join(argv), timeout) if timeout >= MINUTES else contextlib.nullcontext():
            output = finish(argv, start(self._inside(argv), env), timeout)
        took = time.monotonic() - begun
        self.log(f"ran {' '.join(argv)}: exit status {output.status} after {took:.1f} s")
        for line in (output.stdout + output.stderr).splitlines():
            self.log(f"    {line}")
        if output.status not in ok:
            what = {NOT_FOUND: "is not installed", TIMED_OUT: f"did not end within {timeout:.0f} s"}
            said = what.get(output.status, f"failed with exit status {output.status}: {output.why()}")
            raise BootstrapError(f"{' '.join(argv)} {said}", f"the whole output is in {LOG}")
        return output

    def replace(self, path: str, before: str, after: str) -> None:
        """Put `after` in the place of `before`: same owner, mode and extended attributes, synced."""
        target = tree.unfollowed(self.root, path)
        now = self.read(path)
        if now is None or now.problem:
            why = now.problem if now else "is gone"
            raise BootstrapError(f"{path}: {why}; it was left alone", "put a regular file there, then run again")
        if now.text != before:
            raise BootstrapError(f"{path} changed while it was being looked at; nothing was written", "run again")
        try:
            info = os.stat(target)
            attributes = {name: os.getxattr(target, name) for name in os.listxattr(target)}
        except OSError as error:
            raise unwritten(path, error) from error
        write(target, after.encode("utf-8", "surrogateescape"), info.st_mode, info, attributes)

    def create(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file of our own, whole or not at all."""
        self._folder(os.path.dirname(path))
        write(tree.unfollowed(self.root, path), content, mode)

    def append(self, path: str, line: str) -> None:
        """Add a line to a file of our own, and wait until it is on the disk; whole, or not at all.

        A last line without a newline was never finished: a crash or a full disk cut it off. It is removed.
        """
        self._folder(os.path.dirname(path))
        target = tree.unfollowed(self.root, path)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            handle = os.open(target, flags, 0o600)
            with open(handle, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file")
                before = file.read()
                whole = before.rfind(b"\n") + 1
                if whole < len(before):
                    os.ftruncate(handle, whole)
                add_line(handle, whole, line.encode("utf-8", "surrogateescape") + b"\n")
        except OSError as error:
            raise unwritten(target, error) from error
        if not before:
            sync(os.path.dirname(target))

    def remove(self, path: str) -> None:
        """Remove a file of our own; an absent one is fine."""
        target = tree.unfollowed(self.root, path)
        try:
            os.unlink(target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BootstrapError(f"{path}: cannot be removed: {error.strerror}", f"rm {path}") from error
        sync(os.path.dirname(target))

    def remove_folder(self, path: str) -> None:
        """Remove a folder of our own; what holds something, or is gone, stays as it is."""
        target = tree.unfollowed(self.root, path)
        with contextlib.suppress(OSError):
            os.rmdir(target)
            sync(os.path.dirname(target))

    def tidy(self, folders: Collection[str]) -> None:
        """Remove what killed runs left in these folders, and their scratch directories.

        Only with the lock in hand: without it they may belong to a run that is at work.
        """
        left = [f"{folder}/{TEMPORARY}*" for folder in folders]
        for path in (path for pattern in left for path in self.glob(pattern)):
            target = tree.unfollowed(self.root, path)
            with contextlib.suppress(OSError):
                info = os.lstat(target)
                if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid():
                    os.unlink(target)
        for path in self.glob(f"{STATE}/{SCRATCH}*"):
            remove_tree(tree.unfollowed(self.root, path))

    def _folder(self, path: str) -> None:
        target = self.real(path)
        if os.path.isdir(target):
            return
        try:
            os.makedirs(target, mode=0o700 if path.startswith(STATE) else 0o755, exist_ok=True)
        except OSError as error:
            raise unwritten(path, error) from error
        sync(os.path.dirname(target))

    def log(self, line: str) -> None:
        """Add a line to the log; a log that cannot be written stops nothing."""
        said = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {shown(line, LOG_LINE)}\n"
        with contextlib.suppress(OSError, BootstrapError):
            target = tree.unfollowed(self.root, LOG)
            if os.path.exists(target) and os.stat(target).st_size > LOG_LIMIT:
                os.replace(target, f"{target}.1")
            # O_NONBLOCK: a pipe that lies there with no reader must not hold the run up
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(target, flags, 0o600)
            with open(handle, "wb"):  # closes it
                add_line(handle, os.fstat(handle).st_size, said.encode(), sync=False)

    def waits(self, what: str, left: float) -> None:
        """Log what the run waits for, and show it."""
        if self._progress.wait(what, left):
            self.log(what)

    @contextlib.contextmanager
    def scratch(self, context: str = "") -> Iterator[str]:
        """A private directory (0700) inside the tree that is gone afterwards; its files inherit the label."""
        self._folder(STATE)
        folder = f"{self.real(STATE)}/{SCRATCH}{os.urandom(8).hex()}"
        try:
            os.mkdir(folder, 0o700)
        except OSError as error:
            raise unwritten(STATE, error) from error
        try:
            if context:
                with contextlib.suppress(OSError):  # a tree without labels, or a policy that forbids it
                    os.setxattr(folder, "security.selinux", context.encode())
            yield "/" + os.path.relpath(folder, self.root)
        finally:
            remove_tree(folder)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock that lets only one run change this tree; raises Busy where another holds it."""
        from . import lock  # not for a run that only looks

        self._folder(STATE)
        path = tree.unfollowed(self.root, f"{STATE}/lock")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise unwritten(path, error) from error
        try:
            lock.claim(handle, path)
            yield
        finally:
            os.close(handle)
