"""Who wrote a rule file, and will write it again: read off the lines that hardening tools put into it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Origin(NamedTuple):
    """A tool, and what to change there so that `-e 2` does not come back."""

    name: str
    remedy: str


MARKS: tuple[tuple[str, Origin], ...] = (
    (r"(?i)ansible-lockdown", Origin("an ansible-lockdown role", "set the role's variable to false")),
    (r"Set the audit\.rules configuration immutable per security requirements",
     Origin("a remediation of scap-security-guide", "remediate with a tailoring that deselects audit_rules_immutable")),
    (r"(?im)^#.*\bansible[ _]managed\b", Origin("Ansible", "change the role or template that writes it")),
    (r"(?im)^#.*\b(?:managed|controlled) by puppet\b", Origin("Puppet", "change the manifest or Hiera key")),
    (r"(?im)^#.*\b(?:generated|managed) by chef\b", Origin("Chef", "change the cookbook's template or attribute")),
    (r"(?im)^#.*\bmanaged by salt\b", Origin("Salt", "change the state or pillar that writes it")),
)  # fmt: skip


def of(text: str) -> tuple[Origin, ...]:
    """The tools that left their mark in a rule file."""
    return tuple(origin for mark, origin in MARKS if re.search(mark, text))
