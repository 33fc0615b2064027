"""Build the guests' disks: Debian with SELinux enforcing, the stand-in agent, and a local package repository.

auditd and the policy compilers are not installed; the guest has no network and gets them from /repo. A disk
is kept under a digest of what it is made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.cache import CACHE, kept, output, run, source

HERE = Path(__file__).resolve().parent
SUITES = ("bookworm", "bullseye", "trixie", "sid")
# the last four have what the agent's own script calls: which, service, pidof, pkill
PACKAGES = ("linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "python3", "kmod",
            "debianutils", "init-system-helpers", "sysvinit-utils", "procps")  # fmt: skip
# sid's own policy does not install (semodule: Failed on likewise), so sid gets the one of trixie
POLICY_FROM = {"sid": "trixie"}
SERVED = ("auditd", "checkpolicy", "semodule-utils", "policycoreutils", "selinux-utils", "sudo")
STAND_IN = HERE / "agent"
AGENT = "usr/local/qualys/cloud-agent"
CONFIGURATION = "etc/qualys/cloud-agent"
WATCHED = "etc/fim-watched"  # what the stand-in's FIM rules watch
SERVER_UNIT = """\
[Unit]
Description=Command channel of the live tests
After=systemd-udev-settle.service dev-virtio\\x2dports-fim.device
Wants=dev-virtio\\x2dports-fim.device

[Service]
ExecStart=/usr/bin/python3 /usr/local/sbin/fim-live-server
SELinuxContext=-unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023
Restart=always
KillMode=process

[Install]
WantedBy=multi-user.target
"""
FSTAB = "/dev/vda / ext4 defaults 0 1\n"
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "serial-getty@ttyS0.service", "dpkg-db-backup.timer",
          "systemd-networkd-wait-online.service", "e2scrub_all.timer", "fstrim.timer")  # fmt: skip


def image(suite: str) -> Path:
    """The folder with disk.raw, vmlinuz and initrd.img of a suite; built where it is not there yet."""
    inputs = (HERE / "images.py", HERE / "server.py", *sorted(STAND_IN.iterdir()))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs))
    return kept(f"{suite}-{digest.hexdigest()[:12]}", partial(_build, suite), earlier=f"{suite}-*")


@contextlib.contextmanager
def prepared(suite: str, prepare: Callable[[Path], None], extra: tuple[str, ...] = ()) -> Iterator[Path]:
    """Like image, with extra packages and a tree that `prepare` has changed and labelled; not kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"golden-{suite}.") as work:
        result = Path(work) / "result"
        _build(suite, result, prepare, extra)
        yield result


def label(root: Path) -> None:
    """Give every file of a tree its SELinux label."""
    contexts = root / "etc/selinux/default/contexts/files/file_contexts"
    run("setfiles", "-F", "-m", "-r", str(root), str(contexts), str(root))


def _build(suite: str, result: Path, prepare: Callable[[Path], None] = label, extra: tuple[str, ...] = ()) -> None:
    root, policy = result.parent / "root", POLICY_FROM.get(suite, suite)
    result.mkdir()
    run(
        "mmdebstrap", "--variant=important", "--mode=root",
        f"--include={','.join((*PACKAGES, *extra))},selinux-policy-default/{policy}",
        "--aptopt=Acquire::Check-Valid-Until false", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--skip=cleanup/apt/lists", suite, str(root),
        *dict.fromkeys((source(suite), source(policy))),
    )  # fmt: skip
    _repository(root)
    _agent(root)
    for name in MASKED:
        _put(root / "etc/systemd/system" / name, None)
    _put(root / "etc/systemd/system/fim-live.service", SERVER_UNIT)
    _put(root / "usr/local/sbin/fim-live-server", (HERE / "server.py").read_text(), 0o755)
    _put(root / "etc/fstab", FSTAB)
    _put(root / "etc/hostname", f"{suite}\n")
    for unit in ("fim-live", "qualys-cloud-agent"):
        run("systemctl", f"--root={root}", "enable", f"{unit}.service")
    config = root / "etc/selinux/config"
    _put(config, "SELINUX=enforcing\nSELINUXTYPE=default\n")
    prepare(root)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(max((root / "boot").glob(f"{name}-*")), result / name)
    disk = result / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(4 << 30)
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", "-d", str(root), str(disk))
    shutil.rmtree(root)


def _repository(root: Path) -> None:
    archives = root / "var/cache/apt/archives"
    run("chroot", str(root), "apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "--reinstall",
         "-o", "Acquire::Check-Valid-Until=false", "install", *SERVED)  # fmt: skip
    (root / "repo").mkdir()
    for package in archives.glob("*.deb"):
        package.rename(root / "repo" / package.name)
    (root / "repo/Packages").write_text(output("apt-ftparchive", "packages", ".", cwd=root / "repo"))
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    _put(root / "etc/apt/sources.list", "deb [trusted=yes] file:/repo ./\n")
    shutil.rmtree(root / "var/lib/apt/lists")
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)


def _agent(root: Path) -> None:
    """Install the stand-in as the vendor's package would; a FIM manifest is assigned to it."""
    folder = root / AGENT
    for name in ("bin", "policy", "sock", "fim/manifests"):
        (folder / name).mkdir(parents=True)
    for name in ("bin", "sock"):
        (folder / name).chmod(0o700)
    main, *others = [folder / "bin" / name for name in ("qualys-cloud-agent", "qualys-edr", "edr-plugin")]
    run("gcc", "-O2", "-static", "-Wall", "-Wextra", "-o", str(main), str(STAND_IN / "agent.c"))
    for program in others:
        shutil.copy(main, program)
    for program in (main, *others):
        program.chmod(0o750)
    for name, place, mode in (
        ("qualys-edr-start-stop.sh", f"{AGENT}/bin", 0o700),
        ("qualys-agent-plugin.te", f"{AGENT}/policy", 0o600),
        ("qualys-agent-plugin.fc", f"{AGENT}/policy", 0o600),
        ("edr-plugin.conf", CONFIGURATION, 0o640),
        ("qualys-cloud-agent.conf", CONFIGURATION, 0o600),
        ("qualys-cloud-agent.service", "etc/systemd/system", 0o644),
    ):
        _put(root / place / name, (STAND_IN / name).read_text(), mode)
    _put(folder / "fim/manifests/22e653bf.json", "{}\n", 0o600)
    (root / WATCHED).mkdir()


def _put(path: Path, text: str | None, mode: int = 0o644) -> None:
    """Write a file, or mask a unit where there is no text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.symlink_to("/dev/null")
    else:
        path.write_text(text)
        path.chmod(mode)


if __name__ == "__main__":
    for word in sys.argv[1:] or SUITES:
        print(word, image(word))
