"""What will follow once the packages are there, as far as the files tell today: a preview, and no plan.

Where auditd is not installed yet, what comes after it waits: the packages bring files of their own. Rule files of an
administrator, the labels and the policy's store stand there before, and are judged as they will be. Named apart from
the plan, since a package may bring what changes the answer; but what will block is told before anything is installed.
"""

from __future__ import annotations

from collections.abc import Sequence

from .audit import auditd_conf
from .facts.commands import SELINUX_COMMANDS
from .host.reader import File
from .model import Answer, Facts, Finding, Profile, Settings, Status
from .requirements import dispatcher, packages, policy, rules

FORESEEN = (dispatcher, rules, policy)  # what files alone decide
OLD = (rules, policy)  # audit 2.x brings audispd, and the line that names it


def look(findings: Sequence[Finding], facts: Facts, profile: Profile, settings: Settings) -> tuple[Finding, ...]:
    """What the requirements that wait for packages will find amiss; nothing where no package is due."""
    status = {finding.id: finding.status for finding in findings}
    if status.get(packages.ID) is not Status.CHANGE:
        return ()
    later = _installed(facts, profile)
    foreseen = OLD if later.audit.generation == 2 else FORESEEN
    said = [each.assess(later, profile, settings) for each in foreseen if status.get(each.ID) is Status.WAITING]
    return tuple(finding for finding in said if finding.status in (Status.CHANGE, Status.BLOCKED))


def _installed(facts: Facts, profile: Profile) -> Facts:
    """The facts as the profile lets expect them after the transaction.

    The package's auditd.conf is taken for one that auditd accepts, and that has no dispatcher line, as upstream's of
    audit 3 and 4.
    """
    audit = facts.audit
    commands = {**dict.fromkeys(SELINUX_COMMANDS, ""), **facts.commands}  # without auditctl: no kernel is asked
    if audit.conf is None:
        audit = audit._replace(conf=File(auditd_conf.PATH, ""), preflight=Answer(accepted=True))
    later = audit._replace(generation=audit.generation or profile.audit, plugin_dir_present=True)
    return facts._replace(audit=later, commands=commands)
