"""The requirements, in the order in which they are met: a later one may rest on an earlier one."""

from __future__ import annotations

from ..model import Requirement
from . import agent, auditd, delivery, dispatcher, packages, policy, rules

REQUIREMENTS: tuple[Requirement, ...] = (packages, dispatcher, rules, policy, auditd, agent, delivery)
IDS = tuple(requirement.ID for requirement in REQUIREMENTS)
