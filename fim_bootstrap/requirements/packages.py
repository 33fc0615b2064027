"""The audit daemon, the SELinux tools and what the agent's start script calls are installed.

Vendor, prerequisites 1-3 and "How to install packages". Half of the names on that page are commands, not
packages, so what is required is each command; the profile knows which package has it on this release.
The SELinux tools are required where SELinux is on; elsewhere there is nothing to build a module for. Where one of
the script's commands is missing, the agent gives up, or never restarts auditd, without a word.
"""

from __future__ import annotations

from ..changes.packages import InstallPackages
from ..facts.commands import AGENT_COMMANDS, AUDIT_COMMANDS, SELINUX_COMMANDS
from ..managers.lookup import Order
from ..managers.rows import MANAGERS
from ..model import Environment, Facts, Finding, Profile, Settings, Status

ID = "packages"
NETWORK = {True: 120.0, False: 20.0}  # seconds to wait for a network that is not there yet; True: while booting
TITLE = "the audit daemon and the SELinux tools are installed"


def needed(facts: Facts, profile: Profile) -> tuple[str, ...]:
    """The commands that this host must have; a profile may name more than the usual ones."""
    selinux = facts.selinux.mode in ("permissive", "enforcing")
    always = (*AUDIT_COMMANDS, *AGENT_COMMANDS)
    tools = dict.fromkeys((*SELINUX_COMMANDS, *(c for c in profile.packages if c not in always)))
    return tuple(c for c in (*always, *(tools if selinux else ())) if c not in profile.not_applicable)


def lacking(facts: Facts, profile: Profile) -> tuple[str, ...]:
    """Those of the needed commands that are not there."""
    return tuple(command for command in needed(facts, profile) if command not in facts.commands)


def assess(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    """Find the missing commands, and the packages that have them; say so where the profile is a guess."""
    finding = _judge(facts, profile, settings)
    guess = (profile.nearest,) if profile.nearest and finding.status is not Status.OK else ()
    others = sorted(facts.half_installed.difference(*profile.packages.values()))
    unfinished = (f"not fully installed: {', '.join(others)} (dpkg --configure -a tells why)",) if others else ()
    return finding._replace(warnings=(*guess, *unfinished))


def left_to_the_first_boot(facts: Facts, profile: Profile, settings: Settings) -> bool:
    """Whether packages are missing in a tree and are left out here, so that the first boot has to fetch them."""
    here = ID not in settings.skip and (not settings.only or ID in settings.only)
    return settings.first_boot and bool(lacking(facts, profile)) and not here


def _judge(facts: Facts, profile: Profile, settings: Settings) -> Finding:
    missing = lacking(facts, profile)
    if not missing:
        selinux = facts.selinux.mode in ("permissive", "enforcing")
        extra = "" if selinux else "; SELinux is off, so its tools are not needed"
        return Finding(ID, TITLE, Status.OK, f"all {len(needed(facts, profile))} commands are there{extra}")
    unfinished = "its package was only half installed"
    evidence = tuple(f"{command}: {unfinished if command in facts.unfinished else 'not found'}" for command in missing)
    hopeless = [command for command in missing if command not in profile.packages]
    if hopeless:
        reasons = "; ".join(f"{c}: {profile.unavailable.get(c, 'no package is known')}" for c in hopeless)
        return _blocked(
            f"{profile.title} has no package for {', '.join(hopeless)}", evidence,
            f"install these commands by hand ({reasons}), then run again",
        )  # fmt: skip
    wanted = {command: profile.packages[command] for command in missing}
    names = " ".join(sorted({names[0] for names in wanted.values()}))
    if facts.staged:
        return Finding(
            ID, TITLE, Status.REBOOT, "installed into the system of the next boot", evidence,
            remedy="reboot, then run fim-bootstrap apply again: the rest can only be done in that system",
        )  # fmt: skip
    if not settings.install:
        return _blocked(
            f"{', '.join(missing)} missing, and --no-install forbids installing", evidence,
            f"install {names}, or run without --no-install",
        )  # fmt: skip
    if not facts.manager and facts.image_based:
        return _blocked(
            f"{', '.join(missing)} missing on an image-based host without rpm-ostree to add packages", evidence,
            f"build them into the image (RUN dnf install -y {names}), and boot that image",
        )  # fmt: skip
    if not facts.manager:
        return _blocked(
            f"{', '.join(missing)} missing, and {' or '.join(profile.managers)} is not here to install them", evidence,
            f"install {names} by hand, or choose a fitting profile with --profile",
        )  # fmt: skip
    booting = facts.environment is Environment.BOOTING
    network = NETWORK[booting] if settings.network_timeout is None else settings.network_timeout
    order = Order(MANAGERS[facts.manager], profile, wanted, settings.lock_timeout, facts.today, network, facts.os)
    return Finding(
        ID, TITLE, Status.CHANGE, f"{', '.join(missing)} missing", evidence, (InstallPackages(order, facts.boot),),
        remedy=f"fim-bootstrap apply, or install {names} by hand",
    )  # fmt: skip


def _blocked(summary: str, evidence: tuple[str, ...], remedy: str) -> Finding:
    return Finding(ID, TITLE, Status.BLOCKED, summary, evidence, remedy=remedy)
