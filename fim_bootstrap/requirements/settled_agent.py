"""How an agent is judged that has settled, a part of the requirement `agent`: it runs, is prepared, or gave up."""

from __future__ import annotations

from ..agent import warnings as warn
from ..agent.state import GAVE_UP, condition, in_words, is_over, restart_refused, rules_gone, told
from ..agent.vendor import CAUSES, EDR, PLUGIN, REMEDIES, SCRIPT
from ..facts.services import LOADER
from ..model import Facts, Finding, Process, Settings, Status

ID = "agent"
TITLE = "the agent runs and its plugin is registered"
# what keeps an agent from running, in the order in which it is met
BEFORE = ("packages", "rules", "policy", "dispatcher", "auditd")


def assess(facts: Facts, settings: Settings) -> Finding:
    """The agent runs, is prepared, or gave up."""
    agent, warnings = facts.agent, warn.of_installed(facts)
    if agent.edr is None and not facts.privileged:
        return finding(Status.WAITING, f"{EDR} is not running", remedy="run as root, to see what is known of it")
    if condition(facts, settings) == GAVE_UP:
        return _gave_up(facts, settings, warnings)
    if agent.edr is None:
        cause = told(facts, settings)
        warnings += (in_words(cause),) if cause and not is_over(cause.code, facts) else ()
        return finding(Status.OK, f"prepared: the agent runs, and starts {EDR} when it needs it", warnings=warnings)
    return _running(facts, agent.edr, settings.mode_for(facts) == "dispatcher", warnings)


def _running(facts: Facts, edr: Process, dispatching: bool, warnings: tuple[str, ...]) -> Finding:
    agent = facts.agent
    if edr.uid != 0:
        return finding(
            Status.BLOCKED, f"{EDR} runs as uid {edr.uid}, not as root",
            remedy="run the agent as root, or with sudo as its manual says",
        )  # fmt: skip
    if not dispatching:
        return finding(Status.OK, f"{EDR} runs as pid {edr.pid}", warnings=warnings)
    if gone := rules_gone(facts):
        return finding(
            Status.BLOCKED, f"{gone}; a restart ended alike", warnings=warnings,
            remedy=f"restart the agent when the machine is idle: its start and {LOADER} have no order; ask the vendor",
        )  # fmt: skip
    if agent.plugin:
        both = f"{EDR} (pid {edr.pid}) and {PLUGIN} (pid {agent.plugin.pid}) run"
        return finding(Status.OK, both, warnings=warnings)
    if restart_refused(facts):
        return finding(
            Status.BLOCKED, f"all is well but for {PLUGIN}: auditd was not restarted when the agent asked for it",
            (f"{agent.registration} is newer than auditd (pid {facts.audit.daemon.pid if facts.audit.daemon else 0})",),
            remedy="see what `service auditd restart` says; where it works, restart the agent",
            warnings=warnings, follows=("auditd", *BEFORE),
        )  # fmt: skip
    if agent.registration and not agent.registration_problem:
        summary = f"the dispatcher has not started {PLUGIN}"
        return finding(Status.WAITING, summary, warnings=warnings, follows=("auditd", *BEFORE))
    return finding(
        Status.BLOCKED, f"{PLUGIN} is not running: {agent.registration_problem or 'no plugin file names it'}",
        remedy=f"mend {agent.registration}" if agent.registration else "is FIM activated for this agent? See its log",
        warnings=warnings, follows=("dispatcher", *BEFORE),
    )  # fmt: skip


def _gave_up(facts: Facts, settings: Settings, warnings: tuple[str, ...]) -> Finding:
    agent, verdict = facts.agent, told(facts, settings)
    if verdict is None:
        hangs = f"; {SCRIPT} (pid {agent.script.pid}) hangs" if agent.script else ""
        return finding(
            Status.BLOCKED, f"{EDR} is not running, and nothing moves for {settings.agent_timeout:.0f} s{hangs}",
            quoted(facts), remedy=f"see {agent.script_log}, and the agent's log beside it",
            warnings=warnings, follows=BEFORE,
        )  # fmt: skip
    over = is_over(verdict.code, facts)
    remedy = REMEDIES.get(verdict.code, "mend that") if not over else f"see {agent.script_log}"
    return finding(
        Status.BLOCKED, f"{in_words(verdict)}" + ("; that looks mended, and yet a restart ended alike" if over else ""),
        quoted(facts), remedy=f"{remedy}; then restart the agent",
        warnings=warnings, follows=(CAUSES[verdict.code][1], *BEFORE),
    )  # fmt: skip


def quoted(facts: Facts) -> tuple[str, ...]:
    """What the agent's script said last."""
    verdict = facts.agent.verdict
    return (f"{facts.agent.script_log}: {verdict.line}",) if verdict else ()


def finding(
    status: Status, summary: str, evidence: tuple[str, ...] = (), *, remedy: str = "",
    warnings: tuple[str, ...] = (), follows: tuple[str, ...] = (),
) -> Finding:  # fmt: skip
    """What this requirement thinks."""
    return Finding(ID, TITLE, status, summary, evidence, remedy=remedy, warnings=warnings, follows=follows)
