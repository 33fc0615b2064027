"""Who writes a rule file, and will write it again: read off its name and the comments that tools put into it.

A configuration manager says so at the top of a file; a hardening tool marks the lines that it adds, wherever it does.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple, Optional

from .model import OsRelease

TOOLS = r"(?:ansible|puppet|chef|salt(?:stack)?|cfengine|rudder|bcfg2|terraform|cloud-init|open-?scap|oscap|scap)\b"
OVERWRITTEN = r"(?:do not|don't|never) (?:edit|modify|change)|will be (?:over|lost|erased|reverted|destroyed|removed)"
BY = r"(?:managed|maintained|controlled|generated|created|deployed|installed|provisioned|rendered|written|dropped off)"
LOST = r"(?:changes|edits|modifications) (?:\w+ ){0,6}?(?:overwritten|reverted|lost|erased)"
# what generators put at the top: a whole comment line that says so, not one that cites a link or a path
GENERATED = (
    rf"(?ims)^[#\W]*(?:(?:warning|notice|note|header|begin)\W+)?"
    rf"(?:{TOOLS}[- ]managed\b|(?:\w+ ){{0,3}}?{LOST} by {TOOLS}"
    rf"|(?:(?:this|the) )?(?:file |content )?(?:(?:is|was|has been) )?"
    rf"(?:auto(?:matically |-)?|dynamically )?{BY} (?:by|with|via|using|through) (?:the )?"
    rf"(?:{TOOLS}|(?=.*(?:{OVERWRITTEN}))))"
)
# the templates of ansible-lockdown say its name at their top, or a rule's number above each rule
LOCKDOWN = r"(?im)^#.*\bansible-lockdown\b.*|^# [a-z]+\d+-(?:CIS|STIG) rule \d+[ \t]*$"
# ComplianceAsCode, audit_rules_immutable: the comment of its shell remediation, the files of the one for Ansible
REMEDIATION = "# Set the audit.rules configuration immutable per security requirements"
REMEDIATED = ("/immutable.rules", "/90-immutable.rules")
DESELECT = "change its profile for one that is tailored to leave audit_rules_immutable out"
ELSEWHERE = "change it at its source"
KNOWN = {
    "ansible": ("Ansible", "change the role or template that writes it"),
    "puppet": ("Puppet", "change the manifest or Hiera key; in modules called auditd it is auditd::immutable"),
    "chef": ("Chef", "change the cookbook's template or attribute"),
    **dict.fromkeys(("salt", "saltstack"), ("Salt", "change the state or pillar that writes it")),
    **dict.fromkeys(("scap", "oscap", "openscap", "open-scap"), ("a remediation of OpenSCAP", DESELECT)),
}
LOCK = r"-e[ \t]*2"  # in force, or in the comment that became of it


class Writer(NamedTuple):
    """What writes a file, and what to do there so that it does not undo what is changed here."""

    name: str
    remedy: str

    def __str__(self) -> str:
        """As a report names it."""
        return f"{self.name}: {self.remedy}"


@functools.cache  # it is asked for each line of a file
def of(path: str, text: str, release: OsRelease) -> Optional[Writer]:
    """The tool that writes a rule file of this release, the one that adds `-e 2` before the one that has the rest."""
    if mark := re.search(LOCKDOWN, text):
        return _lockdown(mark[0].upper(), text, release)
    if REMEDIATION in text or path.endswith(REMEDIATED):
        return Writer("a remediation of scap-security-guide", DESELECT)
    header = re.match(r"(?:[ \t]*(?:#.*)?\n){0,20}", text)
    said = re.search(GENERATED, header[0]) if header else None
    if header is None or said is None:
        return None
    tool = re.search(TOOLS, header[0][said.start() :], re.IGNORECASE)
    name = tool[0].lower() if tool else "a generator"
    return Writer(*KNOWN.get(name, (name, ELSEWHERE)))


def _lockdown(mark: str, text: str, release: OsRelease) -> Writer:
    """The roles for this release that a mark may be of, and the variable of each that keeps `-e 2` out."""
    from .compliance.controls import roles  # a table, for these files alone

    kinds = [kind for kind in ("CIS", "STIG") if kind in mark] or ["CIS", "STIG"]
    found = [role for role in roles(release) if role.role.endswith(tuple(kinds))]
    name = " or ".join(role.role for role in found) or "an ansible-lockdown role"
    if not re.search(LOCK, text):
        return Writer(name, ELSEWHERE)
    variables = " or ".join(variable for role in found for variable in role.variables)
    return Writer(name, f"set {variables or 'its variable for immutable audit rules'} to false")
