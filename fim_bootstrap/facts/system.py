"""Which release this is, and in what environment we run: decided by files alone."""

from __future__ import annotations

import contextlib
import re
import sys
import types
from collections.abc import Iterator
from typing import Any, Optional

from ..host.reader import Reader
from ..model import Environment, OsRelease

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
OS_RELEASE_LIMIT = 65536  # characters; the largest that is known has 1,500
RELEASE_FILE_LIMIT = 1024  # characters of an older release file
NO_RELEASES = ("lsb", "oem", "os", "system", "plesk", "iredmail", "board")  # whose names are no distribution's
MOUNTS_LIMIT = 16 << 20  # bytes of a mountinfo: 100,000 mounts of containers


def identify(host: Reader) -> OsRelease:
    """Which release this is, from os-release(5) or the older release files."""
    try:
        info = _os_release(host) or _release_file(host)
    except ValueError as error:  # a quotation mark without its twin
        info = {"name": f"a system whose os-release cannot be read ({error})"}
    if not info and (file := host.read("/etc/system-release")):  # which distro passes over
        found = re.match(r"(?P<name>Amazon Linux)(?: AMI)? release (?P<version_id>[\d.]+)", file.text)
        info = {"id": "amzn", **found.groupdict()} if found else {}
    return OsRelease(
        id=info.get("id", ""),
        version=info.get("version_id", ""),
        like=tuple(info.get("id_like", "").split()),
        name=info.get("pretty_name", "") or info.get("name", ""),
        platform=info.get("platform_id", ""),
        codename=info.get("version_codename", "") or info.get("release_codename", "").lower(),
        parent=info.get("ubuntu_codename", "") or info.get("debian_codename", ""),
        base=info.get("rhel_version", ""),
    )


def _os_release(host: Reader) -> dict[str, str]:
    for path in OS_RELEASE:
        if file := host.read(path):
            if not file.text or len(file.text) > OS_RELEASE_LIMIT:
                raise ValueError(f"{path}: {file.problem or 'empty, or too large'}")
            return dict(_distribution(os_release_file=host.real(path)).os_release_info())
    return {}


def _release_file(host: Reader) -> dict[str, str]:
    """NAME release VERSION (CODENAME), in a file that is named after the distribution."""
    for path in host.glob("/etc/*[-_]release"):
        name, file = path.rpartition("/")[2][: -len("-release")], host.read(path)
        if name in NO_RELEASES or not file or len(file.text) > RELEASE_FILE_LIMIT:
            continue
        info = _distribution(distro_release_file=host.real(path)).distro_release_info()
        if "name" in info:  # the file's own name counts, not that of what a link leads to
            return {**info, "id": info["id"] if info.get("id") == "cloudlinux" else name}
    return {}


def _distribution(**files: str) -> Any:
    """What distro makes of a file of the tree; left to itself it follows links out of the tree."""
    with _left_out("argparse", "logging", "subprocess"):  # for what is not asked here; a tenth of a short run
        import distro

    return distro.LinuxDistribution(include_lsb=False, include_uname=False, include_oslevel=False, **files)


@contextlib.contextmanager
def _left_out(*names: str) -> Iterator[None]:
    """Empty modules in the place of those that an import would load, until it is done."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update((name, types.ModuleType(name)) for name in absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def environment(host: Reader, offline: bool) -> Environment:
    """Where we run. A tree named with --root is never asked through the running kernel."""
    if offline:
        return Environment.OFFLINE
    init, mine = host.read("/proc/1/comm"), _root_mount(host, "self")
    if mine is None or mine != (_root_mount(host, "1") or mine):
        return Environment.CHROOT
    if container_mark(host):
        return Environment.CONTAINER
    booted = host.stat("/run/systemd/system") is not None or (init and init.text.strip() == "init")
    return Environment.BOOTED if booted else Environment.CONTAINER


def container_mark(host: Reader) -> str:
    """What shows that this is a container, or ''."""
    marks = ("/run/systemd/container", "/run/host/container-manager", "/run/.containerenv", "/.dockerenv")
    if mark := next((mark for mark in marks if host.stat(mark)), ""):
        return f"{mark} is there"
    inside = b"container=" in (host.read_bytes("/proc/1/environ") or b"")
    return "the environment of process 1 says container=" if inside else ""


def _root_mount(host: Reader, process: str) -> Optional[tuple[str, str]]:
    """Device and folder that a process has as its root; None in a chroot, whose root is no mount of its own."""
    file = host.read(f"/proc/{process}/mountinfo", MOUNTS_LIMIT)
    lines = (line.split() for line in (file.text if file else "").splitlines())
    roots = [(fields[2], fields[3]) for fields in lines if len(fields) > 4 and fields[4] == "/"]
    return roots[-1] if roots else None
