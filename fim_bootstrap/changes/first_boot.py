"""What a tree that is not running gets, so that all is right at its first boot."""

from __future__ import annotations

from ..facts.own_files import FETCHING, FIRST_BOOT, FIRST_BOOT_NETWORK, GUARD_UNITS, PRESET, PROGRAM, unit_text
from ..model import Change, Facts, Settings
from ..resources import text_of
from .files import CreateFiles
from .policy import LabelTree

UNIT = "fim-bootstrap-firstboot.service"


def prepared(facts: Facts, settings: Settings, enabling: list[Change], late: bool) -> list[Change]:
    """A preset, since image builders run `systemctl preset-all`; the unit for the first boot; and labels.

    `late` says that packages are left to the first boot, which then waits for a network. The labels come last:
    what was installed and created before them has none where the builder's kernel
    has no SELinux.
    """
    changes = [*enabling]
    if PRESET not in facts.prepared and (enabling or settings.first_boot or settings.guard):
        units = ("auditd.service", UNIT, *GUARD_UNITS)
        changes.append(CreateFiles({PRESET: "".join(f"enable {unit}\n" for unit in units)}))
    missing = [path for path in (PROGRAM, *FIRST_BOOT) if path not in facts.prepared]
    if settings.first_boot and missing:
        texts = {path: unit_text(name, facts.prepared) for path, name in FIRST_BOOT.items() if path in missing}
        changes.append(CreateFiles(texts, (UNIT,), PROGRAM if PROGRAM in missing else ""))
    edited = FIRST_BOOT_NETWORK in facts.edited
    if settings.first_boot and not edited and late is not (FIRST_BOOT_NETWORK in facts.prepared):
        text = text_of(FETCHING[FIRST_BOOT_NETWORK]) if late else "# nothing is fetched at the first boot\n"
        changes.append(CreateFiles({FIRST_BOOT_NETWORK: text}))
    if facts.selinux.file_contexts and "setfiles" in facts.commands and (changes or facts.selinux.mislabelled):
        changes.append(LabelTree(facts.selinux.file_contexts))
    return changes
