"""A guest under software emulation: boot, run commands as root, reboot, power off."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from tests.cache import CACHE, kept, run
from tests.conftest import PROJECT, Ran
from tests.live.images import image

BOOT = 300.0  # seconds
KERNEL = "root=/dev/vda rw console=ttyS0 quiet systemd.unit=multi-user.target systemd.show_status=no"
ENFORCING = "security=selinux selinux=1 enforcing=1"
PERMISSIVE = "security=selinux selinux=1 enforcing=0"
NO_SELINUX = "security=apparmor selinux=0"
# qemu 7.2 emulates cmpxchg16b wrongly with several processors
MACHINE = ("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,cx16=off", "-smp", "2", "-m", "2048",
           "-nographic", "-no-reboot", "-nic", "none")  # fmt: skip
SHIPPED = ("bootstrap.py", "fim_bootstrap", "distro_profiles")
BINARY = "dist/fim-bootstrap-linux-x86_64"  # in the project, and in the guest below /opt/fim-bootstrap
FIM = "PYTHONPATH=/opt/fim-bootstrap/deps python3 /opt/fim-bootstrap/bootstrap.py"

# an emulated machine that is shared takes its time for a policy, and so does the agent that builds one
PATIENCE = "export FIM_BOOTSTRAP_AGENT_TIMEOUT=1200"
# what `fim` runs: the source, or the binary where FIM_LIVE_BINARY is set
PROGRAM = f"/opt/fim-bootstrap/{BINARY}" if os.environ.get("FIM_LIVE_BINARY") else FIM


@dataclass
class Guest:
    """A running guest; its disk is an overlay, so that what happens in it is forgotten or kept as a layer."""

    folder: Path
    base: Path
    overlay: Path
    options: str
    program: str
    process: Optional[subprocess.Popen[bytes]] = None
    channel: Optional[socket.socket] = None
    pending: bytes = b""
    count: int = 0

    def boot(self) -> None:
        """Start the machine and wait until it answers."""
        path = self.folder / "port"
        path.unlink(missing_ok=True)
        with (self.folder / "console.log").open("ab") as console:
            self.process = subprocess.Popen(
                ["qemu-system-x86_64", *MACHINE,
                 "-kernel", str(self.base / "vmlinuz"), "-initrd", str(self.base / "initrd.img"),
                 "-append", f"{KERNEL} {self.options}",
                 "-drive", f"file={self.overlay},if=virtio,format=qcow2",
                 "-drive", f"file={self.folder / 'source.tar'},if=virtio,format=raw,readonly=on",
                 "-device", "virtio-serial", "-chardev", f"socket,id=port,path={path},server=on,wait=off",
                 "-device", "virtserialport,chardev=port,name=fim"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + BOOT
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.channel = socket.socket(socket.AF_UNIX)
        self.channel.connect(str(path))
        self.pending = b""
        try:
            while "hello" not in self._answer(deadline):
                pass
        except TimeoutError:
            raise TimeoutError(f"the guest did not come up:\n{self.console()}") from None

    def run(self, command: str, timeout: float = 120.0, check: bool = True) -> Ran:
        """Run a shell command as root in the guest, and tell its time."""
        assert self.channel
        self.count += 1
        request = {"id": self.count, "command": command, "timeout": timeout}
        self.channel.sendall(json.dumps(request).encode() + b"\n")
        begun = time.monotonic()
        while (answer := self._answer(begun + timeout + 60)).get("id") != self.count:
            pass
        ran = Ran(answer["status"], answer["out"], answer["err"])
        words = " ".join(command.replace(f"{PATIENCE}; {self.program}", "fim-bootstrap").split())
        print(f"{time.monotonic() - begun:7.1f} s, exit {ran.status}: {words[:100]}", flush=True)
        if check and ran.status:
            raise AssertionError(f"in the guest: {command}: exit status {ran.status}\n{ran.out}{ran.err}")
        return ran

    def fim(self, words: str, timeout: float = 1800.0) -> Ran:
        """Run the tool; its JSON report is `.report` of the result."""
        return self.run(f"{PATIENCE}; {self.program} {words} --format json", timeout, check=False)

    def reboot(self) -> None:
        """Reboot the guest's own system, with the same disk and kernel options."""
        with contextlib.suppress(TimeoutError, OSError):
            self.run("systemctl --no-block reboot", check=False)
        self.rebooted(180)

    def rebooted(self, timeout: float) -> None:
        """Wait, in seconds, for a reboot that the guest's system asks for by itself, and boot it."""
        assert self.process
        self.process.wait(timeout)  # -no-reboot ends the machine where the system asks for a reboot
        self.boot()

    def shutdown(self) -> None:
        """Power the guest's system off; the overlay is then a layer for other guests."""
        with contextlib.suppress(TimeoutError, OSError):
            self.run("systemctl --no-block poweroff", check=False)
        assert self.process
        self.process.wait(timeout=180)

    def kill(self) -> None:
        """Take the power away."""
        if self.channel:
            self.channel.close()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def console(self) -> str:
        """The end of what the console showed."""
        return (self.folder / "console.log").read_bytes()[-3000:].decode(errors="replace")

    def _answer(self, deadline: float) -> dict[str, Any]:
        assert self.channel
        while b"\n" not in self.pending:
            self.channel.settimeout(max(0.1, deadline - time.monotonic()))
            received = self.channel.recv(65536)
            if not received:
                raise TimeoutError(f"the guest is gone:\n{self.console()}")
            self.pending += received
        line, _, self.pending = self.pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def guest(
    suite: str,
    options: str = ENFORCING,
    layer: Optional[Path] = None,
    base: Optional[Path] = None,
    extra: tuple[Path, ...] = (),
) -> Iterator[Guest]:
    """Boot a guest on a suite's image or another (`base`), or on a layer that another guest left; it is gone then.

    The folders in `extra` lie in /opt/fim-bootstrap, beside the project.
    """
    base = base or image(suite)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"guest-{suite}.") as work:
        folder = Path(work)
        backing, kind = (layer, "qcow2") if layer else (base / "disk.raw", "raw")
        overlay = folder / "disk.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", kind, str(overlay)], check=True
        )
        _source(folder / "source.tar", extra)
        machine = Guest(folder, base, overlay, options, PROGRAM)
        try:
            machine.boot()
            yield machine
        finally:
            machine.kill()


def libraries() -> Path:
    """The folder with the libraries that the tool runs with, fetched once."""
    pip = ("python3", "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--only-binary=:all:")
    oldest = ("--platform=any", "--python-version=3.9")
    needs = [line.split(";")[0] for line in (PROJECT / "requirements.txt").read_text().splitlines()]
    folder = kept(f"deps-{'-'.join(needs)}", lambda made: run(*pip, *oldest, "--target", f"{made}/deps", *needs))
    return folder / "deps"


def _source(archive: Path, extra: tuple[Path, ...]) -> None:
    """The project, its libraries and the binary if it was built, as a tar."""
    names = [*SHIPPED, *([BINARY] if (PROJECT / BINARY).exists() else [])]
    subprocess.run(["tar", "-cf", str(archive), "-C", str(PROJECT), "--exclude=__pycache__", *names], check=True)
    for folder in (libraries(), *extra):
        subprocess.run(["tar", "-rf", str(archive), "-C", str(folder.parent), folder.name], check=True)
    size = archive.stat().st_size
    with archive.open("ab") as file:
        file.truncate((size + 511) // 512 * 512)
