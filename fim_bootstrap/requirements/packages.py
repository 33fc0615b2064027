"""The audit daemon and the SELinux tools are installed.

Vendor, prerequisites 1-3 and "How to install packages". Half of the names on that page are commands, not
packages, so what is required is each command; the profile knows which package has it on this release.
The SELinux tools are required where SELinux is on; elsewhere there is nothing to build a module for.
"""

from __future__ import annotations

from ..changes import InstallPackages
from ..facts import AUDIT_COMMANDS, SELINUX_COMMANDS
from ..model import Facts, Finding, Profile, Settings, Status

ID = "packages"
TITLE = "the audit daemon and the SELinux tools are installed"


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Find the missing commands, and the packages that have them."""
    selinux = facts.selinux.mode in ("permissive", "enforcing")
    needed = AUDIT_COMMANDS + (SELINUX_COMMANDS if selinux else ())
    missing = [c for c in needed if c not in facts.commands and c not in profile.not_applicable]
    if not missing:
        extra = "" if selinux else "; SELinux is off, so its tools are not needed"
        return Finding(ID, TITLE, Status.OK, f"all {len(needed)} commands are there{extra}")
    evidence = tuple(f"{command}: not found" for command in missing)
    hopeless = [command for command in missing if command not in profile.packages]
    if hopeless:
        reasons = "; ".join(f"{c}: {profile.unavailable.get(c, 'no package is known')}" for c in hopeless)
        return Finding(
            ID, TITLE, Status.BLOCKED, f"{profile.title} has no package for {', '.join(hopeless)}", evidence,
            remedy=f"install these commands by hand ({reasons}), then run again",
        )  # fmt: skip
    wanted = {command: profile.packages[command] for command in missing}
    names = sorted({names[0] for names in wanted.values()})
    if not settings.install:
        return Finding(
            ID, TITLE, Status.BLOCKED, f"{', '.join(missing)} missing, and --no-install forbids installing", evidence,
            remedy=f"install {' '.join(names)}, or run without --no-install",
        )  # fmt: skip
    change = InstallPackages(profile.manager, wanted, settings.lock_timeout)
    return Finding(
        ID, TITLE, Status.CHANGE, f"{', '.join(missing)} missing", evidence, (change,),
        remedy=f"fim-bootstrap apply, or install {' '.join(names)} by hand",
    )  # fmt: skip
