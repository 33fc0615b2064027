"""What of the agent is no trouble now, and worth a word."""

from __future__ import annotations

from ..model import Facts
from .state import gives_up
from .vendor import CAUSES, DISPATCHER_KEY, EDR, PLUGIN, SERVICE


def would_give_up(facts: Facts) -> tuple[str, ...]:
    """With what an agent that is installed later would give up on this host."""
    code = gives_up(facts) if facts.environment.live else 0
    return (f"an agent that starts here now would give up: {CAUSES[code][0]}",) if code else ()


def baked_in(facts: Facts) -> tuple[str, ...]:
    """The agent's identity in an image: each clone would be the same host in the vendor's console."""
    if facts.environment.live or not facts.agent.identity:
        return ()
    said = f"{facts.agent.identity}: an agent's identity in this tree; every clone would be the same host in the"
    return (f"{said} vendor's console: remove it from the image",)


def of_installed(facts: Facts) -> tuple[str, ...]:
    """Of an agent that is there."""
    agent, found = facts.agent, [*facts.impostors(SERVICE, EDR, PLUGIN)]
    if not agent.service.enabled:
        found.append(f"{SERVICE} is not enabled at boot")
    if agent.dispatcher_setting not in ("0", "1"):
        found.append(f"{agent.setting_line}: {DISPATCHER_KEY} is {agent.dispatcher_setting}; 1 is assumed")
    if agent.settings_repeated:
        found.append(f"{agent.setting_line}: {DISPATCHER_KEY} stands more than once; the last one counts")
    if agent.manifests == 0 and facts.privileged:
        found.append("no FIM profile (manifest) has arrived yet: assign one in the vendor's console")
    if agent.log_size < 0 and facts.privileged and agent.edr:
        found.append(f"{agent.log} is not there yet")
    return tuple(found)
