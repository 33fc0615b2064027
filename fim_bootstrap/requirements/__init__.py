"""The requirements, in the order in which they are met: a later one may rest on an earlier one.

In a tree that is not running, auditd comes last of those that write, since it labels what they wrote.
"""

from __future__ import annotations

from ..model import Requirement
from . import agent, auditd, delivery, dispatcher, guard, packages, policy, rules

REQUIREMENTS: tuple[Requirement, ...] = (packages, dispatcher, rules, policy, guard, auditd, agent, delivery)
IDS = tuple(requirement.ID for requirement in REQUIREMENTS)
