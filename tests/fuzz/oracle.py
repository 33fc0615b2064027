"""The real auditctl and auditd of four Debian releases as judges, which never reach this machine's kernel.

Three things stand between them and it, each enough by itself: the shim answers in the kernel's place; a seccomp
filter refuses netlink sockets; and the user namespace has no audit capability (the kernel also refuses audit
messages from any but the first one).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cache import kept, run, source

HERE = Path(__file__).resolve().parent
SUITES = ("bullseye", "bookworm", "trixie", "sid")  # audit 3.0, 3.0.9, 4.0.2, 4.2.1
TOOLS = ("mmdebstrap", "unshare", "setpriv", "gcc")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ACCEPTED, REFUSED = 42, 6  # the shim's word for «went on to the kernel»; auditd(8)
LOCKED = 2
AUDIT_STATUS_ENABLED = 1
TASK, NEVER = 1, 0  # linux/audit.h: AUDIT_FILTER_TASK, AUDIT_NEVER
PREPENDED = 16
PATIENCE = 20.0  # seconds
END = re.compile(rb"(?:^|\n)@(?:exit|signal) \d+\n\Z")
USERS = "root:x:0:0:root:/root:/bin/sh\nadm:x:3:4::/:/bin/false\n"
GROUPS = "root:x:0:\nadm:x:4:\n"
# files appear below private file systems: one root serves several programs at once
ENTER = """\
mount -t tmpfs none "$0/in" && mount -t tmpfs none "$0/run" && mount -t tmpfs none "$0/var/log" &&
mkdir "$0/var/log/audit" && cp "$SHIM" "$0/in/shim.so" &&
exec setpriv --bounding-set=-all,+sys_chroot --inh-caps=-all --no-new-privs \
    env -i FIM_INPUT=$FIM_INPUT LD_PRELOAD=/in/shim.so /usr/sbin/chroot "$0" "$@"
"""


@dataclass(frozen=True)
class Heard:
    """What a program said to the kernel and to its log, and how it ended."""

    messages: tuple[str, ...]
    log: tuple[str, ...]
    end: str

    @property
    def bad_lines(self) -> tuple[int, ...]:
        """The lines of the rule file that auditctl named as wrong."""
        found = (re.match(r"There was an error in line (\d+) of", line) for line in self.log)
        return tuple(int(match[1]) for match in found if match)


def locks(message: str) -> bool:
    """Whether the message sets enabled to 2."""
    words = message.split()
    return words[0] == "@set" and bool(int(words[1]) & AUDIT_STATUS_ENABLED) and int(words[2]) == LOCKED


def silences(message: str) -> bool:
    """Whether the message adds the rule never,task without a field, or deletes what was added."""
    words = message.split()
    return words[0] in ("@add", "@delete") and int(words[1]) & ~PREPENDED == TASK and words[2:4] == [str(NEVER), "0"]


class Judge:
    """A program of one release, as a fork server: a file in, what it would tell the kernel out."""

    def __init__(self, suite: str, program: str) -> None:
        words = {"auditctl": ("-R", "/in/audit.rules"), "auditd": ("-f", "-s", "nochange", "-c", "/in")}[program]
        name = "audit.rules" if program == "auditctl" else "auditd.conf"
        self.program = (root(suite) / f"sbin/{program}").read_bytes()
        argv = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child",
                "sh", "-c", ENTER, str(root(suite)), f"/sbin/{program}", *words)  # fmt: skip
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"PATH": PATH, "FIM_INPUT": f"/in/{name}", "SHIM": str(shim())},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process that asks the shim's questions: the last of the chain."""
        pid = self._process.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        return pid

    def hear(self, content: bytes) -> Heard:
        """What becomes of a file with this content."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(struct.pack("I", len(content)) + content)
        self._process.stdin.flush()
        said = b""
        while not END.search(said):
            if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
                raise TimeoutError(f"no verdict in {PATIENCE} seconds on {content!r}")
            some = os.read(self._process.stdout.fileno(), 1 << 16)
            if not some:
                raise RuntimeError(f"the judge is gone: {self._process.wait()}")
            said += some
        lines = said.decode("utf-8", "surrogateescape").splitlines()
        messages = tuple(line for line in lines[:-1] if line.startswith("@"))
        return Heard(messages, tuple(line for line in lines[:-1] if not line.startswith("@")), lines[-1][1:])

    def close(self) -> None:
        """End the program."""
        self._process.stdin and self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def judge(suite: str, program: str) -> Iterator[Judge]:
    """A judge that is gone afterwards."""
    found = Judge(suite, program)
    try:
        yield found
    finally:
        found.close()


def available() -> bool:
    """Whether judges can be had here."""
    return os.geteuid() == 0 and all(shutil.which(tool, path=PATH) for tool in TOOLS)


def shim() -> Path:
    """The compiled shim."""
    text = HERE / "shim.c"
    compiler = ("gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror")
    name = f"oracle-shim-{hashlib.sha256(text.read_bytes()).hexdigest()[:12]}.so"
    return kept(name, lambda made: run(*compiler, "-o", str(made), str(text)))


def root(suite: str) -> Path:
    """The release's auditd and its libraries, unpacked and not configured."""
    return kept(f"oracle-{suite}", lambda made: _unpack(suite, made))


def _unpack(suite: str, made: Path) -> None:
    run("mmdebstrap", "--variant=extract", "--mode=root", "--include=auditd",
        "--aptopt=Acquire::Check-Valid-Until false", suite, str(made), source(suite))  # fmt: skip
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (made / name).exists():
            (made / name).symlink_to(f"usr/{name}")
    for name in ("in", "run", "var/log"):
        (made / name).mkdir(parents=True, exist_ok=True)
    (made / "etc/passwd").write_text(USERS)
    (made / "etc/group").write_text(GROUPS)
