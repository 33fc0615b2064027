"""audit=0 on the kernel's command line: of this boot, and of the next one as the boot loaders' files have it.

The kernel takes 0 and off, in any case of letters and with quotes around them; a later audit=1 does not undo it
(kernel/audit.c, audit_enable). One entry of a boot menu among others may never be booted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..host.reader import File, Reader, read_together, too_large
from ..model import Obstacle
from ..redact import shown

SWITCHED_OFF = re.compile(r"(?<![\w.-])audit=\"?(?:0|off)(?![\w.-])", re.IGNORECASE)
A_WORD = rf"(?i)(?<![^\s\"]){SWITCHED_OFF.pattern}"
# what the tools write menus from: GRUB, kernel-install, dracut, bootc, zipl, Raspberry Pi
SETTINGS = (
    "/etc/default/grub", "/etc/default/grub.d/*.cfg", "/boot/grub*/grubenv", "/boot/efi/EFI/*/grubenv",
    "/etc/kernel/cmdline", "/usr/lib/kernel/cmdline", "/etc/cmdline.d/*.conf", "/usr/lib/bootc/kargs.d/*.toml",
    "/boot/cmdline.txt", "/boot/firmware/cmdline.txt",
)  # fmt: skip
MENUS = (
    "/boot/loader/entries/*.conf", "/boot/efi/loader/entries/*.conf", "/efi/loader/entries/*.conf",
    "/boot/grub*/grub.cfg", "/boot/efi/EFI/*/grub.cfg", "/boot/grub/grub.conf", "/boot/grub/menu.lst",
    "/boot/extlinux/extlinux.conf", "/boot/syslinux/syslinux.cfg", "/etc/zipl.conf",
)  # fmt: skip
ENTRY = r"(?i)\s*(?:options|linux\w*|kernel|append|parameters)\b[\s=]"
REMEDY = "take it from the boot command line (grubby, update-grub, kernelstub, …), then reboot"
NEXT = "auditing is switched off for the next boot"


def look(host: Reader, live: bool) -> Iterator[Obstacle]:
    """What keeps the kernel from auditing. `live`: this system runs, so that its next boot is not what is asked."""
    if live:
        yield from _of_this_boot(host)
    settings, menus = _files(host, SETTINGS), _files(host, MENUS)
    for file in settings:
        for where, line in numbered(file) if SWITCHED_OFF.search(file.text) else ():
            if SWITCHED_OFF.search(line):
                yield Obstacle(where, NEXT, REMEDY, certain=not live)
    yield from _in_menus(menus, live)
    for file in (*settings, *menus):
        yield from unread(file)


def numbered(file: File) -> Iterator[tuple[str, str]]:
    """The lines of a file that are no comments, each with its place and what is shown of it."""
    for number, line in enumerate(file.text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith(("#", ";")):
            yield f"{file.path}:{number}: {shown(line.strip())}", line


def unread(file: File) -> Iterator[Obstacle]:
    """A file that is too large to be looked at may hold anything."""
    if too_large(file):
        yield Obstacle(file.path, f"it was not looked at: {file.problem}", f"see what {file.path} is")


def _of_this_boot(host: Reader) -> Iterator[Obstacle]:
    booted = host.read("/proc/cmdline")
    if booted and re.search(A_WORD, booted.text):
        where = f"/proc/cmdline: {shown(booted.text.strip())}"
        yield Obstacle(where, "this kernel was booted with auditing switched off", REMEDY)
    # every process has it, where the kernel was built with audit (fs/proc/base.c)
    elif host.stat("/proc/self/stat") and not host.stat("/proc/self/loginuid"):
        where = "/proc/self/loginuid is missing"
        yield Obstacle(where, "this kernel was built without audit", "boot a kernel that has it")


def _in_menus(files: Sequence[File], live: bool) -> Iterator[Obstacle]:
    """In all entries, or in what all of them use, it is certain."""
    if not any(SWITCHED_OFF.search(file.text) for file in files):
        return
    lines = [(where, line) for file in files for where, line in numbered(file)]
    every_entry = all(SWITCHED_OFF.search(line) for _, line in lines if re.match(ENTRY, line))
    for where, line in lines:
        if SWITCHED_OFF.search(line):
            every = every_entry or not re.match(ENTRY, line)
            why = NEXT if every else "auditing is switched off in one entry of the boot menu"
            yield Obstacle(where, why, REMEDY, certain=every and not live)


def _files(host: Reader, patterns: Sequence[str]) -> Sequence[File]:
    return [*read_together(host, (path for pattern in patterns for path in host.glob(pattern)))]
