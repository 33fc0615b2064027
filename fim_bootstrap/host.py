"""The machine: everything that is read from it, run on it or written to it goes through here.

`Reader` is all that `check` ever sees; only `Host` can change something. So "check changes nothing"
is a matter of types. This is the only module that imports `sh` or writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from glob import escape, has_magic
from glob import glob as expand
from typing import Any, NamedTuple, Optional, Protocol

from .errors import BootstrapError, Busy
from .progress import Progress
from .redact import shown

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
STATE = "/var/lib/fim-bootstrap"
RUN = "/run/fim-bootstrap"
LOG = "/var/log/fim-bootstrap.log"
UNREAD = "cannot be read"  # how File.problem begins where the system refused it
LOG_LIMIT = 1 << 20  # bytes; the log is renamed to .1 beyond it, so two files are all it ever takes
LOG_LINE = 10_000  # characters of one line of it
# what lies beyond these is not looked at, and said to be too large: no file of this kind ever was half of it
LIMIT = 1 << 20  # bytes of a text; what is made of it takes up to 45 times as much memory
LINE = 50  # bytes for which a text may have one line: each takes 300 bytes and 20 us, however short it is
RAW_LIMIT = 32 << 20  # bytes of a file that is searched: dpkg's status, a stored policy module
HELD_LIMIT = 256 << 20  # bytes of one that is looked through piece by piece: a policy
NOT_FOUND = 127
TIMED_OUT = 124
MINUTES = 300.0  # seconds; a command that may take longer is spoken of while it is at work
KILL_AFTER = 5.0  # seconds between SIGTERM and SIGKILL for a command that ran out of time
TEMPORARY = ".fim-bootstrap."  # auditd's plugin loader and augenrules pass over a name that begins with a dot
SCRATCH = "work."
PATIENCE = 5.0  # seconds for a pipe
CHUNK = 65536  # bytes of a large file that are looked at together
LEFT = 3600.0  # seconds after which an unpacked program whose process is gone counts as left behind


class Output(NamedTuple):
    """What a command said. Status 127: no such program; 124: it ran out of time; 128+N: killed by signal N."""

    argv: tuple[str, ...]
    status: int
    stdout: str = ""
    stderr: str = ""

    def why(self) -> str:
        """The last lines a person would look at, on one line."""
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return " / ".join(map(shown, lines[-4:])) or f"exit status {self.status}"


class File(NamedTuple):
    """A file as it stands; `problem` says why it cannot be read, or must not be replaced."""

    path: str
    text: str = ""  # bytes as UTF-8, anything else kept by surrogateescape
    mtime: float = 0.0
    problem: str = ""


class Stat(NamedTuple):
    """What a path leads to (stat(2)), and its SELinux label where it has one."""

    path: str
    mode: int
    uid: int
    mtime: float
    size: int
    context: str = ""
    read_only: bool = False  # lies on a file system that is mounted read-only
    place: str = ""  # device and inode, as /proc/locks writes them
    free: int = -1  # bytes that are left on its file system, -1 where that is not known
    whole: int = 0  # bytes of that file system


class Reader(Protocol):
    """All that a check needs; nothing here changes the host."""

    root: str

    def real(self, path: str) -> str:
        """Where a path of the tree lies on this machine; absolute links stay inside the tree."""

    def read(self, path: str, limit: int = LIMIT) -> Optional[File]:
        """The file, or None where there is none; one of more bytes than `limit`, or than lines of LINE, has no text."""

    def read_bytes(self, path: str) -> Optional[bytes]:
        """The content, or None where it cannot be had, or is larger than RAW_LIMIT."""

    def tail(self, path: str, size: int) -> bytes:
        """The last `size` bytes of a file that may be large, or nothing where it cannot be read."""

    def holds(self, path: str, mark: bytes) -> bool:
        """Whether the mark stands anywhere in the file, up to HELD_LIMIT."""

    def stat(self, path: str) -> Optional[Stat]:
        """What the path leads to, or None."""

    def link(self, path: str) -> str:
        """Where a symbolic link points, as it is written there, or ''."""

    def glob(self, pattern: str) -> Sequence[str]:
        """The paths that match, sorted."""

    def which(self, command: str) -> str:
        """Where a command is, or ''; the PATH always holds the sbin directories."""

    def ask(self, path: str, question: str) -> Optional[str]:
        """The kernel's answer on a transaction file such as /sys/fs/selinux/access.

        '' where the kernel refuses the question as invalid, None where it could not be asked.
        """

    def query(self, *commands: Sequence[str], timeout: float = 30) -> Sequence[Output]:
        """Run commands that only look, side by side; never raises for what they answer. Seconds for each."""


class Host(Reader, Protocol):
    """A machine that may be changed."""

    def run(self, *argv: str, ok: Collection[int] = (0,), timeout: float = 120, env: Mapping[str, str] = ...) -> Output:
        """Run a command to its end; any status outside `ok` raises. `timeout` is in seconds."""

    def replace(self, path: str, before: str, after: str) -> None:
        """Put `after` in the place of `before`, atomically, if `before` is still what is there."""

    def create(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file of our own, whole or not at all."""

    def append(self, path: str, line: str) -> None:
        """Add a line to a file of our own, and wait until it is on the disk."""

    def remove(self, path: str) -> None:
        """Remove a file of our own; an absent one is fine."""

    def tidy(self, folders: Collection[str]) -> None:
        """Remove what killed runs left in these folders, and their scratch directories; with the lock in hand."""

    def log(self, line: str) -> None:
        """Add a line to the log."""

    def waits(self, what: str, left: float) -> None:
        """Log what the run waits for, and show it with the seconds that are left."""

    def scratch(self, context: str = "") -> contextlib.AbstractContextManager[str]:
        """A private directory (0700) that is gone afterwards; `context` is its SELinux label, if it needs one."""


class LiveHost:
    """The machine we run on, or the tree below `root` as a chroot would see it."""

    def __init__(self, root: str = "/", progress: Optional[Progress] = None) -> None:
        self._progress = progress or Progress()
        self.root = os.path.realpath(root)
        self._way: Optional[tuple[str, ...]] = None

    # ------------------------------------------------------------------ reading

    def real(self, path: str) -> str:
        """Where `path` of the tree lies on this machine; absolute links stay inside the tree."""
        if self.root == "/":
            return path
        done: list[str] = []
        todo = [part for part in path.split("/") if part][::-1]
        for _ in range(256):
            if not todo:
                return os.path.join(self.root, *done)
            part = todo.pop()
            if part == "..":
                del done[-1:]
                continue
            here = os.path.join(self.root, *done, part)
            if not os.path.islink(here):
                done.append(part)
                continue
            target = os.readlink(here)
            if target.startswith("/"):
                done.clear()
            todo += [piece for piece in target.split("/") if piece not in ("", ".")][::-1]
        raise BootstrapError(f"{path}: too many symbolic links")

    def _lexical(self, path: str) -> str:
        """Like `real`, but the last component is not followed."""
        folder, name = os.path.split(path)
        return os.path.join(self.real(folder), name)

    def read(self, path: str, limit: int = LIMIT) -> Optional[File]:
        """The file, or None where there is none; see Reader."""
        try:
            place = self._lexical(path)
            info = os.lstat(place)
            problem = _unfit(info)
            if stat.S_ISLNK(info.st_mode):
                problem = f"a symbolic link to {os.readlink(place)}"
                place = self.real(path)
                info = os.stat(place)
            if not stat.S_ISREG(info.st_mode):
                return File(path, "", info.st_mtime, problem or _unfit(info))
            content = _content(place, limit + 1)
        except ValueError:  # a NUL, or what is no text, in the path
            return None
        except BootstrapError as error:  # links that lead in a circle
            return File(path, problem=str(error))
        except OSError as error:
            return None if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESRCH) else _unread(path, error)
        if len(content) > limit:
            return File(path, "", info.st_mtime, f"larger than {limit >> 20} MB")
        if content.count(b"\n") > limit // LINE:
            return File(path, "", info.st_mtime, f"more than {limit // LINE} lines")
        return File(path, content.decode("utf-8", "surrogateescape"), info.st_mtime, problem)

    def read_bytes(self, path: str) -> Optional[bytes]:
        """The content, or None where it cannot be had; see Reader."""
        try:
            content = _content(self.real(path), RAW_LIMIT + 1)
        except UNREADABLE:
            return None
        return content if len(content) <= RAW_LIMIT else None

    def tail(self, path: str, size: int) -> bytes:
        """The last bytes of a file; see Reader."""
        try:
            return _content(self.real(path), size, last=True)
        except UNREADABLE:
            return b""

    def holds(self, path: str, mark: bytes) -> bool:
        """Whether the mark stands anywhere in the file; not where it cannot be read."""
        seen, left = b"", HELD_LIMIT
        try:
            handle = _open(self.real(path))
            try:
                while left > 0 and (piece := os.read(handle, CHUNK)):
                    if mark in (seen := seen[-len(mark) :] + piece):
                        return True
                    left -= len(piece)
            finally:
                os.close(handle)
        except UNREADABLE:
            pass
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
            return os.readlink(self._lexical(path))
        except UNREADABLE:
            return ""

    def glob(self, pattern: str) -> Sequence[str]:
        """The paths that match, sorted."""
        folder, name = os.path.split(pattern)
        folders = self.glob(folder) if has_magic(folder) else (folder,)
        found: list[str] = []
        for path in folders:
            with contextlib.suppress(*UNREADABLE):
                matches = expand(f"{escape(self.real(path))}/{name}")
                found += [os.path.join(path, os.path.basename(match)) for match in matches]
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
        started = [(tuple(argv), self._look(argv, timeout)) for argv in commands]
        return [_finish(argv, child, timeout) for argv, child in started]

    def _look(self, argv: Sequence[str], timeout: float) -> Optional[_Child]:
        import subprocess  # sh takes 60 ms to import, asyncio among it: a run that only looks does not pay

        inside = self._inside(argv)
        if not inside:
            return None
        try:
            process = subprocess.Popen(
                inside, env=_environment({}), cwd="/", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError:  # not a program of this machine
            return None

        def end() -> tuple[int, bytes, bytes]:
            try:
                out, err = process.communicate(timeout=timeout + 2 * KILL_AFTER)
            except subprocess.TimeoutExpired as late:  # a grandchild in a session of its own holds the pipes
                out, err = late.stdout or b"", late.stderr or b""
            return process.poll() or 0, out, err

        return _Child(process.pid, end)

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
            output = _finish(argv, self._start(argv, env), timeout)
        took = time.monotonic() - begun
        self.log(f"ran {' '.join(argv)}: exit status {output.status} after {took:.1f} s")
        for line in (output.stdout + output.stderr).splitlines():
            self.log(f"    {line}")
        if output.status not in ok:
            what = {NOT_FOUND: "is not installed", TIMED_OUT: f"did not end within {timeout:.0f} s"}
            said = what.get(output.status, f"failed with exit status {output.status}: {output.why()}")
            raise BootstrapError(f"{' '.join(argv)} {said}", f"the whole output is in {LOG}")
        return output

    def _start(self, argv: Sequence[str], env: Mapping[str, str]) -> Optional[_Child]:
        import sh

        inside = self._inside(argv)
        if not inside:
            return None
        manner: dict[str, Any] = {
            "_bg": True, "_bg_exc": False, "_return_cmd": True, "_tty_out": False, "_ok_code": range(-64, 256),
            "_decode_errors": "replace",
            "_new_session": True,  # so that a timeout can end the grandchildren too
        }  # fmt: skip
        try:
            process = sh.Command(inside[0])(*inside[1:], _env=_environment(env), _cwd="/", **manner)
        except (sh.CommandNotFound, OSError):
            return None

        def end() -> tuple[int, bytes, bytes]:
            process.wait()  # its wait(timeout) polls every 100 ms and returns before the output is read to its end
            return process.exit_code, process.stdout, process.stderr

        return _Child(process.pid, end)

    def _inside(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command with its program's path, as it is started in this tree, or nothing where there is none."""
        name, *words = (*self._entry(), *argv)
        places = [name] if "/" in name else [f"{folder}/{name}" for folder in PATH.split(":")]
        program = next((place for place in places if os.access(place, os.X_OK)), "")
        return (program, *words) if program else ()

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

    def replace(self, path: str, before: str, after: str) -> None:
        """Put `after` in the place of `before`: same owner, mode and extended attributes, synced."""
        target = self._lexical(path)
        now = self.read(path)
        if now is None or now.problem:
            raise BootstrapError(f"{path}: {now.problem if now else 'is gone'}; it was left alone")
        if now.text != before:
            raise BootstrapError(f"{path} changed while it was being looked at; nothing was written", "run again")
        try:
            info = os.stat(target)
            attributes = {name: os.getxattr(target, name) for name in os.listxattr(target)}
        except OSError as error:
            raise _unwritten(path, error) from error
        self._write(target, after.encode("utf-8", "surrogateescape"), info, attributes)

    def create(self, path: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file of our own, whole or not at all."""
        self._folder(os.path.dirname(path))
        self._write(self._lexical(path), content, None, {}, mode)

    def _write(
        self, target: str, content: bytes, like: Optional[os.stat_result], attributes: Mapping[str, bytes],
        mode: int = 0o600,
    ) -> None:  # fmt: skip
        folder = os.path.dirname(target)
        try:
            temporary = f"{folder}/{TEMPORARY}{os.urandom(8).hex()}"
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritten(target, error) from error
        try:
            with open(handle, "wb"):  # closes it
                put(handle, content)
                if like:
                    os.fchown(handle, like.st_uid, like.st_gid)
                os.fchmod(handle, stat.S_IMODE(like.st_mode) if like else mode)
                for name, value in attributes.items():
                    os.setxattr(handle, name, value)
                os.fsync(handle)
            os.replace(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise _unwritten(target, error) from error
        _sync(folder)

    def append(self, path: str, line: str) -> None:
        """Add a line to a file of our own, and wait until it is on the disk; whole, or not at all.

        A last line without a newline was never finished: a crash or a full disk cut it off. It is removed.
        """
        self._folder(os.path.dirname(path))
        target = self._lexical(path)
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
                _add(handle, whole, line.encode("utf-8", "surrogateescape") + b"\n")
        except OSError as error:
            raise _unwritten(target, error) from error
        if not before:
            _sync(os.path.dirname(target))

    def remove(self, path: str) -> None:
        """Remove a file of our own; an absent one is fine."""
        target = self._lexical(path)
        try:
            os.unlink(target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BootstrapError(f"{path}: cannot be removed: {error.strerror}", f"rm {path}") from error
        _sync(os.path.dirname(target))

    def tidy(self, folders: Collection[str]) -> None:
        """Remove what killed runs left in these folders, and their scratch directories.

        Only with the lock in hand: without it they may belong to a run that is at work.
        """
        left = [f"{folder}/{TEMPORARY}*" for folder in folders]
        for path in (path for pattern in left for path in self.glob(pattern)):
            target = self._lexical(path)
            with contextlib.suppress(OSError):
                info = os.lstat(target)
                if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid():
                    os.unlink(target)
        for path in self.glob(f"{STATE}/{SCRATCH}*"):
            _remove_tree(self._lexical(path))

    def _folder(self, path: str) -> None:
        target = self.real(path)
        if os.path.isdir(target):
            return
        try:
            os.makedirs(target, mode=0o700 if path.startswith(STATE) else 0o755, exist_ok=True)
        except OSError as error:
            raise _unwritten(path, error) from error
        _sync(os.path.dirname(target))

    def log(self, line: str) -> None:
        """Add a line to the log; a log that cannot be written stops nothing."""
        said = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {shown(line, LOG_LINE)}\n"
        with contextlib.suppress(OSError, BootstrapError):
            target = self._lexical(LOG)
            if os.path.exists(target) and os.stat(target).st_size > LOG_LIMIT:
                os.replace(target, f"{target}.1")
            # O_NONBLOCK: a pipe that lies there with no reader must not hold the run up
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(target, flags, 0o600)
            with open(handle, "wb"):  # closes it
                _add(handle, os.fstat(handle).st_size, said.encode(), sync=False)

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
            raise _unwritten(STATE, error) from error
        try:
            if context:
                with contextlib.suppress(OSError):  # a tree without labels, or a policy that forbids it
                    os.setxattr(folder, "security.selinux", context.encode())
            yield "/" + os.path.relpath(folder, self.root)
        finally:
            _remove_tree(folder)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock that lets only one run change this tree; raises Busy where another holds it."""
        self._folder(STATE)
        path = self._lexical(f"{STATE}/lock")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise _unwritten(path, error) from error
        try:
            self._claim(handle, path)
            yield
        finally:
            os.close(handle)

    def _claim(self, handle: int, path: str) -> None:
        try:
            _lock(handle)
            os.ftruncate(handle, 0)
            put(handle, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise Busy(f"another fim-bootstrap (pid {holder}) is at work here", "try again when it is done") from None
        except OSError as error:
            raise _unwritten(path, error) from error


def _lock(handle: int) -> None:
    """Take the lock; the guard, which shares it for a moment to see that it is free, is waited out (a second)."""
    for _ in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # not where another run holds it
            fcntl.flock(handle, fcntl.LOCK_UN)
            time.sleep(0.05)
        else:
            return
    raise BlockingIOError


def boot_id(host: Reader) -> str:
    """The kernel's id of this boot, or ''."""
    return (host.read_bytes("/proc/sys/kernel/random/boot_id") or b"").decode(errors="replace").strip()


def booted() -> float:
    """When this boot began, by the present clock (seconds since the epoch)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _remove_tree(folder: str) -> None:
    import shutil  # 4 ms: not for a run that changes nothing

    shutil.rmtree(folder, ignore_errors=True)


def unit_of(service: str) -> str:
    """The systemd unit of a service."""
    return service if "." in service else f"{service}.service"


def starts_at_boot(host: Reader, service: str) -> bool:
    """Whether the files of systemd or of the init scripts have a service started at boot."""
    systemd = host.glob(f"/etc/systemd/system/*.wants/{unit_of(service)}")
    return bool(systemd or host.glob(f"/etc/rc3.d/S[0-9]*{service}"))


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
            if private and time.time() - info.st_mtime > LEFT and os.path.exists(f"{path}/distro_profiles/table.json"):
                _remove_tree(path)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a child sees: built anew, but for the proxies."""
    kept = {name: os.environ[name] for name in PROXIES if name in os.environ}
    return {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "TERM": "dumb", **kept, **more}


class _Child(NamedTuple):
    """A child at work; `end` waits for it: exit status (-N: killed by signal N), stdout, stderr."""

    pid: int
    end: Callable[[], tuple[int, bytes, bytes]]


def _finish(argv: tuple[str, ...], child: Optional[_Child], timeout: float) -> Output:
    """What a child said; one that takes too long is ended with its own children."""
    if child is None:
        return Output(argv, NOT_FOUND, "", f"{argv[0]}: not found")
    import threading

    expired = threading.Event()

    def kill(number: int) -> None:
        expired.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    timers = [threading.Timer(timeout, kill, [15]), threading.Timer(timeout + KILL_AFTER, kill, [9])]
    for timer in timers:
        timer.start()
    status, out, err = child.end()
    for timer in timers:
        timer.cancel()
    if expired.is_set():
        return Output(argv, TIMED_OUT, "", f"{argv[0]}: no end within {timeout:.0f} s")
    said = (out.decode(errors="replace"), err.decode(errors="replace"))
    return Output(argv, status if status >= 0 else 128 - status, *said)


# a path from outside may be absent or forbidden, hold a NUL, or lead in a circle
UNREADABLE = (OSError, ValueError, BootstrapError)


def _open(place: str) -> int:
    """A regular file, opened; a pipe or a device could be waited for for ever, or do something when it is opened."""
    if not stat.S_ISREG(os.stat(place).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "not a regular file")


def _content(place: str, size: int, last: bool = False) -> bytes:
    """The first, or the last, bytes of a regular file; those of /proc do not know their size."""
    handle = _open(place)
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


def _add(handle: int, size: int, line: bytes, sync: bool = True) -> None:
    """Put a line at the end of a file of that size, and wait for the disk; the file is as before where that fails."""
    try:
        put(handle, line)
        if sync:
            os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, size)
        raise


def _unfit(info: os.stat_result) -> str:
    if stat.S_ISREG(info.st_mode):
        return ""
    return "a directory where a file should be" if stat.S_ISDIR(info.st_mode) else "not a regular file"


def _unread(path: str, error: OSError) -> File:
    return File(path, problem=f"{UNREAD}: {error.strerror}")


def _unwritten(path: str, error: OSError) -> BootstrapError:
    remedies = {
        errno.ENOSPC: "free some space, then run again",
        errno.EROFS: "the file system is read-only; mount it writable, or use the system's own update tool",
        errno.EACCES: "run as root",
        errno.EPERM: "lsattr shows whether it was made immutable; chattr -ia takes that back",
    }
    message = f"{path}: cannot be written: {error.strerror}; what stood there is unchanged"
    return BootstrapError(message, remedies.get(error.errno or 0, "look at the message of the system above"))


def _sync(folder: str) -> None:
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
