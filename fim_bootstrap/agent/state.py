"""How far the agent is, and whether what it gave up for is over: judged from the facts alone."""

from __future__ import annotations

import time
from typing import Optional

from ..facts.services import LOADER
from ..model import Facts, Settings, Verdict
from .vendor import CAUSES, EDR, TOOLS

ABSENT, PREPARED, STARTING, RUNNING, GAVE_UP = "absent", "prepared", "starting", "running", "gave-up"
IMMUTABLE = 2
SETTLES = 60.0  # seconds in which a new qualys-edr adds its rules
STOPS = 60.0  # seconds that a restart mostly needs until the new main process is there


def condition(facts: Facts, settings: Settings) -> str:
    """How far the agent is."""
    agent = facts.agent
    if not agent.installed:
        return ABSENT
    if not facts.environment.live:
        return PREPARED
    if at_work(facts, settings):
        return STARTING
    if agent.edr:
        return STARTING if _settles(facts) else RUNNING
    if agent.main is None:
        return PREPARED
    if not agent.manifests:  # then it has nothing to start FIM for
        return PREPARED
    if told(facts, settings):
        return GAVE_UP
    return STARTING if agent.sign and _young(agent.sign_at, facts, settings) else GAVE_UP


def told(facts: Facts, settings: Settings) -> Optional[Verdict]:
    """Why the agent gave up, where its script tells it; not of the life before, while the present one is young.

    After that its script would have told another end, so times that a clock was set between do not matter.
    """
    main, verdict = facts.agent.main, facts.agent.verdict
    if not main or not verdict or not verdict.code:
        return None
    return None if verdict.at < main.started and _young(main.started, facts, settings) else verdict


def at_work(facts: Facts, settings: Settings) -> bool:
    """Whether the agent's script starts or stops FIM now; one that is older than the limit hangs."""
    return facts.agent.script is not None and _young(facts.agent.script.started, facts, settings)


def last_sign(facts: Facts) -> str:
    """What was last seen to move, and how long ago."""
    return f"{facts.agent.sign} {facts.now - facts.agent.sign_at:.0f} s ago"


def _young(moment: float, facts: Facts, settings: Settings) -> bool:
    return -1 < facts.now - moment < settings.agent_timeout  # a clock that was set back leaves times to come


def restart_refused(facts: Facts) -> bool:
    """Whether auditd is older than the plugin file: the restart that the agent asked for did not happen."""
    agent, daemon = facts.agent, facts.audit.daemon
    registered = bool(agent.registration) and not agent.registration_problem
    # a second, since the start of a process is known to 10 ms alone
    return bool(agent.edr and daemon and registered and not agent.plugin and agent.registered_at > daemon.started + 1)


def is_over(code: int, facts: Facts) -> bool:
    """Whether what the agent gave up for can be seen to be no more."""
    kernel, live = facts.audit.status, facts.audit.live_rules
    return {
        200: "auditctl" in facts.commands,
        201: all(command in facts.commands for command in TOOLS),
        204: facts.audit.daemon is None or facts.agent.dispatcher_setting != "0",
        205: kernel is not None and kernel.get("enabled") != IMMUTABLE,
        206: live is not None and "-a never,task" not in live,
    }.get(code, False)


def told_after_ours(facts: Facts, settings: Settings) -> bool:
    """Whether this tool restarted it for that cause, and it gave up for the same again: so would the next one."""
    agent, verdict = facts.agent, facts.agent.verdict
    limit = agent.service.patience + settings.agent_timeout
    again = verdict is not None and agent.restarted_at > 0 and agent.answered == verdict.code
    return bool(again and verdict and 0 <= verdict.at - agent.restarted_at < limit)


def gives_up(facts: Facts) -> int:
    """With which of the causes an agent that started now, on this host as it is, would give up; 0: with none.

    Its script looks at them in this order. 202 and 203 cannot be known before it tries.
    """
    ubuntu = "ubuntu" in (facts.os.id, *facts.os.like)  # there it leaves SELinux alone
    builds = facts.selinux.mode in ("permissive", "enforcing") and not ubuntu
    applies = {205: facts.audit.status is not None, 201: builds, 206: facts.audit.live_rules is not None}
    order = (code for code in (200, 204, 205, 201, 206) if applies.get(code, True))
    return next((code for code in order if not is_over(code, facts)), 0)


def why_restart(facts: Facts, settings: Settings) -> str:
    """Why the agent has to be (re)started, or ''. One that works, or that would give up again, is left alone."""
    agent = facts.agent
    if agent.main is None:
        return "the agent is not running"
    if condition(facts, settings) == GAVE_UP and (verdict := told(facts, settings)):
        if agent.collided:
            return f"{in_words(verdict)}: it met our own semodule"
        if is_over(verdict.code, facts) and not told_after_ours(facts, settings):
            return f"{in_words(verdict)}; that is over"
    dispatching = settings.mode_for(facts) == "dispatcher"
    return rules_gone(facts) if dispatching and not gone_again(facts) else ""


def rules_gone(facts: Facts) -> str:
    """Why the rules that the agent had added are gone, or ''; not while the kernel has rules that no file explains."""
    edr, audit = facts.agent.edr, facts.audit
    if not (edr and audit.daemon and audit.live_rules is not None):
        return ""
    loaded = audit.rules_loaded if facts.agent.manifests else 0.0  # without FIM it adds none, in whichever order
    if edr.started >= max(audit.daemon.started, loaded):
        return ""
    from ..audit import rule_origin  # only where the agent is older than the rules

    if rule_origin.unexplained(audit.live_rules, (file.text for file in audit.rules)):
        return ""
    since = "auditd" if edr.started < audit.daemon.started else f"{LOADER} loaded the rules"
    return f"{EDR} started before {since}, and the kernel has none of the rules that it had added"


def _settles(facts: Facts) -> bool:
    """Whether a new qualys-edr may yet add its rules, of which the kernel has none."""
    edr, daemon = facts.agent.edr, facts.audit.daemon
    young = edr and daemon and daemon.started <= edr.started and -1 < facts.now - edr.started < SETTLES
    return bool(young and rules_gone(facts))


def gone_again(facts: Facts) -> bool:
    """Whether that is how a start ended that this tool had made: the rules were loaded after auditd and the agent."""
    main, edr, audit = facts.agent.main, facts.agent.edr, facts.audit
    if not (main and edr and audit.daemon):
        return False
    ours = facts.agent.restarted_at - 1 < main.started < facts.agent.restarted_at + STOPS
    return ours and audit.daemon.started <= edr.started < audit.rules_loaded < edr.started + SETTLES


def in_words(verdict: Verdict) -> str:
    """The agent's own verdict, in our words."""
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(verdict.at))
    return f"the agent gave up at {at}: {CAUSES[verdict.code][0]}"
