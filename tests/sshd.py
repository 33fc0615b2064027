"""A real sshd on loopback, whose sessions are in a root (ChrootDirectory)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/sshd.pid
ChrootDirectory {root}
Subsystem sftp internal-sftp
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
"""


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sshd(folder: Path, root: Path) -> Iterator[int]:
    """The port of an sshd that answers, with its own keys: `key` in the folder opens it."""
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(SSHD.format(port=port, folder=folder, root=root))
    os.makedirs("/run/sshd", exist_ok=True)
    argv = ["/usr/sbin/sshd", "-D", "-E", str(folder / "sshd.log"), "-f", str(folder / "sshd_config")]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            _until_it_answers(port)
            yield port
        finally:
            process.kill()


def _until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, "sshd never answered"
        time.sleep(0.05)
