"""The agent as it really starts, stops and gives up, on a host of dictionaries: look, judge, report, wait."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from fim_bootstrap import consequences, engine, options, report, screen, waiting
from fim_bootstrap.agent import script_log, vendor
from fim_bootstrap.audit import rule_origin
from fim_bootstrap.changes import journal
from fim_bootstrap.changes.policy import LoadPolicy, ReloadPolicy, RestoreLabels
from fim_bootstrap.engine import Outcome
from fim_bootstrap.errors import Usage
from fim_bootstrap.facts import services, versions
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.host.reader import STATE, Output
from fim_bootstrap.model import Environment, Facts, Finding, OsRelease, Profile, Settings, Status
from fim_bootstrap.probe import _may_fit, may_hide, probe
from fim_bootstrap.requirements import agent as requirement
from fim_bootstrap.requirements import settled_agent
from fim_bootstrap.resources import text_of
from tests.conftest import AUDITD_CONF, PROGRAMS, PROJECT, RULES, needs_root
from tests.dict_host import BOOT, DictHost

RELEASE = OsRelease("debian", "12")
PROFILE = Profile("debian-12", "Debian 12", managers=("apt",), packages=dict.fromkeys(PROGRAMS, ("some",)))
SCHEMA = json.loads((PROJECT / "schemas/report-1.json").read_text())
AUDITD, MAIN, EDR, PLUGIN, SCRIPT, SEMODULE = 500, 600, 601, 502, 650, 651
LOG, EVENTS, SCRIPT_LOG = "/var/log/qualys/edr.log", "/var/log/qualys/edr-events.log", "/var/log/qualys/edr-script.log"
RULES_FILE = "/etc/audit/rules.d/99-finalize.rules"
PLUGIN_FILE = "/etc/audit/plugins.d/edr-plugin.conf"
PLUGIN_CONF = f"active = yes\ndirection = out\npath = {vendor.PLUGIN_PROGRAM}\ntype = always\n"
WATCH = "-w /srv -p wa -k fim"
UNIT = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nTimeoutStopUSec=1min 30s\nTimeoutStartUSec=5min"


class Seen(NamedTuple):
    """What a look at the host gave."""

    facts: Facts
    findings: tuple[Finding, ...]
    settings: Settings

    def finding(self, which: str = "agent") -> Finding:
        """The finding of one requirement."""
        return next(finding for finding in self.findings if finding.id == which)

    @property
    def status(self) -> Status:
        """What is said of the agent."""
        return self.finding().status

    @property
    def report(self) -> dict[str, Any]:
        """The report of a check, which fits the schema."""
        document = report.as_json("check", self.outcome, PROFILE, self.settings, 0.1)
        jsonschema.validate(document, SCHEMA)
        return document

    @property
    def outcome(self) -> Outcome:
        """What a check ends with."""
        return Outcome(self.findings, self.facts)

    @property
    def check(self) -> int:
        """The exit status of check."""
        return report.exit_code("check", self.outcome)

    @property
    def apply(self) -> int:
        """The exit status of an apply that had nothing to do."""
        return report.exit_code("apply", self.outcome)


PROGRAM_OF = {"qualys-cloud-agent": vendor.PROGRAM, "qualys-edr": f"{vendor.ROOT}/bin/qualys-edr",
              "edr-plugin": vendor.PLUGIN_PROGRAM, vendor.SCRIPT: "/bin/sh", "bash": "/bin/bash"}  # fmt: skip


def run(host: DictHost, pid: int, name: str, **values: Any) -> None:
    """A process of this name that runs the program which it says it is."""
    host.process(pid, name, exe=PROGRAM_OF.get(name, f"/usr/sbin/{name}"), **values)


def look(host: DictHost, **settings: Any) -> Seen:
    """Gather and plan, as check does."""
    asked = Settings(**settings)
    found = gather(host, PROFILE, asked, RELEASE)
    return Seen(found, engine.plan(found, PROFILE, asked), asked)


def converge(host: DictHost, said: list[str] | None = None, **settings: Any) -> Outcome:
    """Apply; what is said while waiting goes into `said`."""
    asked = Settings(**settings)
    lines: list[str] = [] if said is None else said

    def again() -> Facts:
        return gather(host, PROFILE, asked, RELEASE)

    def say(what: str, left: float) -> None:
        lines.append(f"{what}; {left:.0f}")

    return engine.converge(host, again, PROFILE, asked, lambda *_: nullcontext(), say)


def listing(host: DictHost, *rules: str) -> None:
    """What auditctl -l says."""
    host.answers["auditctl -l"] = "\n".join(rules) or "No rules"


def kernel(host: DictHost, enabled: int = 1) -> None:
    """What auditctl -s says."""
    host.answers["auditctl -s"] = (
        f"enabled {enabled}\nfailure 1\npid {AUDITD}\nrate_limit 0\nbacklog_limit 8192\nlost 0\nbacklog 0\n"
    )


def gave_up(host: DictHost, line: str, ago: float = 600.0) -> None:
    """FIM is not there, and the last line of its script's log says why."""
    host.end(EDR)
    host.end(PLUGIN)
    host.nodes.pop(PLUGIN_FILE, None)
    host.write(SCRIPT_LOG, f"2026-11-27 08:11:59 begin\n2026-11-27 08:12:04 {line}\n", mtime=host.now - ago)


@pytest.fixture
def bare(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> DictHost:
    """A booted host that is ready and has no agent."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    host = dict_host
    host.write("/proc/1/comm", "systemd\n")
    for process in ("1", "self"):
        host.write(f"/proc/{process}/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    host.write("/proc/sys/kernel/random/boot_id", "b00t\n")
    host.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    host.folder("/run/systemd/system")
    host.programs(*PROGRAMS, "systemctl", "kill", "service")
    host.write("/usr/bin/apt-get", mode=0o755)
    host.write("/etc/audit/auditd.conf", f"{AUDITD_CONF}dispatcher = /sbin/audispd\n", mtime=BOOT)
    host.write("/etc/audit/audit.rules", RULES, mtime=BOOT)
    host.folder("/etc/audit/plugins.d")
    host.folder("/var/log/audit")
    run(host, AUDITD, "auditd", started=BOOT + 100)
    host.answers |= {
        "systemctl show": f"Id=auditd.service\n{UNIT}\n\nId=qualys-cloud-agent.service\nLoadState=not-found\n",
        "systemctl is-system-running": "running\n",
        "auditctl -v": "auditctl version 3.0.9\n",
    }
    kernel(host)
    listing(host)
    return host


@pytest.fixture
def host(bare: DictHost) -> DictHost:
    """The same with an agent that is well: main before auditd before qualys-edr, and a rule that it added."""
    host = bare
    host.answers["systemctl show"] = str(host.answers["systemctl show"]).replace(
        "qualys-cloud-agent.service\nLoadState=not-found",
        f"qualys-cloud-agent.service\n{UNIT}",
    )
    host.write(vendor.CONF, "ActivationId=a-b-c\nUseAuditDispatcher=1\nLogFileDir=/var/log/qualys/\n")
    host.write(vendor.PROGRAM, mode=0o755)
    host.write(vendor.PLUGIN_PROGRAM, mode=0o750)
    host.write(f"{vendor.ROOT}/fim/manifests/1.json", "{}")
    run(host, MAIN, "qualys-cloud-agent", started=BOOT + 50)
    run(host, EDR, "qualys-edr", parent=MAIN, started=BOOT + 110)
    run(host, PLUGIN, "edr-plugin", parent=AUDITD, started=BOOT + 101)
    host.write(PLUGIN_FILE, PLUGIN_CONF, mtime=BOOT + 99)
    host.write(LOG, "started\n", mtime=BOOT + 111)
    host.write(EVENTS, "", mtime=BOOT + 111)
    host.write(SCRIPT_LOG, "2026-11-27 08:12:04 edr script complete\n", mtime=BOOT + 110)
    listing(host, WATCH)
    return host


# ---------------------------------------------------------------------- the agent is well


def test_a_healthy_agent_started_before_auditd_and_its_fim_after_it(host: DictHost) -> None:
    seen = look(host)
    assert (seen.status, seen.check, seen.report["agent"]) == (Status.OK, 0, "running")
    assert seen.facts.agent.service.patience == 390.0
    assert not [finding.warnings for finding in seen.findings if finding.warnings]
    assert not converge(host).done
    assert not [line for line in host.done if "systemctl" in line]


def test_an_agent_of_another_user_is_well_where_its_fim_runs_as_root(host: DictHost) -> None:
    run(host, MAIN, "qualys-cloud-agent", started=BOOT + 50, uid=1000)
    host.folder(vendor.SOCKET_FOLDER, mode=0o700, uid=1000)
    assert look(host).check == 0
    run(host, EDR, "qualys-edr", parent=MAIN, started=BOOT + 110, uid=1000)
    seen = look(host)
    assert (seen.status, seen.check) == (Status.BLOCKED, 4)
    assert "not the qualys-edr of this system: it belongs to uid 1000" in seen.finding().warnings[0]


def test_rules_that_survive_a_restart_of_auditd_need_no_restart_of_the_agent(host: DictHost) -> None:
    run(host, AUDITD, "auditd", started=BOOT + 200)
    run(host, PLUGIN, "edr-plugin", parent=AUDITD, started=BOOT + 201)
    assert look(host).check == 0
    host.write("/etc/audit/rules.d/50.rules", f"{WATCH}\n", mtime=BOOT)  # what is left is the file's own
    seen = look(host)
    assert (seen.status, seen.check) == (Status.CHANGE, 3)
    assert "none of the rules" in seen.finding().summary
    (change,) = seen.finding().changes
    assert getattr(change, "patience", 0) == 390.0


def test_a_rule_by_hand_before_the_agents_start_does_not_have_it_restarted(host: DictHost) -> None:
    listing(host)  # it may have a profile without a path yet: who started when says that nothing can be gone
    assert look(host).check == 0


def loaded_at(host: DictHost, moment: float) -> None:
    """audit-rules.service, which audit 4.2 has started after auditd, has loaded the rules, the last time then."""
    shown = str(host.answers["systemctl show"]).partition("\n\nId=audit-rules")[0].rstrip("\n")
    stamp = f"ExecMainExitTimestampMonotonic={(moment - BOOT) * 1e6:.0f}"
    host.answers["systemctl show"] = f"{shown}\n\nId=audit-rules.service\n{stamp}\n"
    assert "audit-rules.service" in gather_asks(host)


def gather_asks(host: DictHost) -> str:
    """What systemctl is asked of."""
    look(host)
    return next(line for line in reversed(host.asked) if line.startswith("systemctl show"))


def test_rules_that_a_unit_of_their_own_loaded_after_the_agent_came_are_its_rules_gone(host: DictHost) -> None:
    loaded_at(host, BOOT + 112)
    assert look(host).check == 0  # it was quick enough: the kernel has its rules
    listing(host)
    seen = look(host)
    assert (seen.status, seen.check) == (Status.CHANGE, 3)
    assert "qualys-edr started before audit-rules.service loaded the rules" in seen.finding().summary
    host.answers["systemctl restart"] = starts
    assert (report.verdict(converge(host).findings), len(restarts(host))) == ("ready", 1)
    listing(host)
    loaded_at(host, BOOT + 109)  # before it came: a profile without a path
    assert look(host).check == 0


def test_an_agent_that_adds_its_rules_a_little_later_is_waited_for(host: DictHost) -> None:
    listing(host)
    run(host, EDR, "qualys-edr", parent=MAIN, started=host.now - 5)
    loaded_at(host, host.now - 4)
    assert look(host).report["agent"] == "starting"
    begun = host.now

    def rules(host: DictHost, argv: tuple[str, ...]) -> str:
        return WATCH if host.now > begun + 10 else "No rules"

    host.answers["auditctl -l"] = rules
    assert report.verdict(converge(host).findings) == "ready"
    assert not restarts(host)
    host.answers["auditctl -l"] = "No rules"
    host.sleep(100)
    assert look(host).status is Status.CHANGE
    del host.nodes[f"{vendor.ROOT}/fim/manifests/1.json"]
    assert look(host).check == 0  # without FIM it adds none


def test_an_agent_whose_rules_go_at_each_start_is_restarted_once(host: DictHost) -> None:
    listing(host)
    loaded_at(host, BOOT + 112)

    def starts_and_loads(host: DictHost, argv: tuple[str, ...]) -> int:
        starts(host, argv)
        listing(host)
        loaded_at(host, host.now + 1)
        return 0

    host.answers["systemctl restart"] = starts_and_loads
    outcome = converge(host)
    assert (report.exit_code("apply", outcome), len(restarts(host))) == (1, 1)
    host.sleep(1000)
    seen = look(host)
    assert (seen.status, seen.check, seen.apply) == (Status.BLOCKED, 4, 4)
    assert "a restart ended alike" in seen.finding().summary
    assert (converge(host).done, len(restarts(host))) == ((), 1)
    run(host, AUDITD, "auditd", started=host.now - 2)  # restarted by somebody else
    assert look(host).status is Status.CHANGE
    loaded_at(host, host.now)  # by hand, much later: that is another cause
    assert look(host).status is Status.CHANGE
    run(host, MAIN + 200, "qualys-cloud-agent", started=host.now)  # and so is a restart by hand
    host.end(MAIN + 100)
    run(host, EDR, "qualys-edr", parent=MAIN + 200, started=host.now + 1)
    loaded_at(host, host.now + 2)
    host.sleep(100)
    assert look(host).status is Status.CHANGE


def test_edr_without_fim_is_judged_as_usual(host: DictHost) -> None:
    del host.nodes[f"{vendor.ROOT}/fim/manifests/1.json"]
    seen = look(host)
    assert (seen.status, seen.check, seen.report["agent"]) == (Status.OK, 0, "running")
    host.end(PLUGIN)
    assert look(host).check == 3


def test_no_manifest_and_no_edr_is_ready_with_a_warning(host: DictHost) -> None:
    del host.nodes[f"{vendor.ROOT}/fim/manifests/1.json"], host.nodes[SCRIPT_LOG], host.nodes[PLUGIN_FILE]
    host.end(EDR)
    host.end(PLUGIN)
    listing(host)
    seen = look(host)
    assert (seen.status, seen.check, seen.report["agent"]) == (Status.OK, 0, "prepared")
    assert any("no FIM profile" in warning for warning in seen.finding().warnings)
    host.write(SCRIPT_LOG, "taking the dispatcher plugin off\n", mtime=host.now - 600)
    assert look(host).finding().warnings == seen.finding().warnings


def test_direct_mode_needs_neither_auditd_nor_plugin(host: DictHost) -> None:
    host.write(vendor.CONF, "UseAuditDispatcher=0\n")
    for pid in (AUDITD, PLUGIN):
        host.end(pid)
    host.answers["systemctl show"] = str(host.answers["systemctl show"]).replace("enabled", "disabled", 1)
    seen = look(host)
    assert (seen.status, seen.check) == (Status.OK, 0)
    assert [hop["hop"] for hop in seen.report["chain"]] == ["kernel", "qualys-edr", "edr.log"]


# ---------------------------------------------------------------------- it is starting, or stopped


@pytest.mark.parametrize("name", ["qualys-edr-start-stop.sh", "bash"])
def test_its_script_at_work_is_waited_for(host: DictHost, name: str) -> None:
    gave_up(host, "immutable", ago=1)  # of the start before
    run(host, SCRIPT, name, parent=MAIN, started=host.now - 100, cmdline=f"/bin/sh {vendor.ROOT}/bin/{vendor.SCRIPT}")
    seen = look(host)
    assert (seen.status, seen.check, seen.apply, seen.report["agent"]) == (Status.WAITING, 3, 0, "starting")
    assert look(host, agent_timeout=90.0).status is not Status.WAITING


@pytest.mark.parametrize("name", ["qualys-edr-start-stop.sh", "semodule"])
def test_another_users_process_of_that_name_keeps_nobody_waiting(host: DictHost, name: str) -> None:
    gave_up(host, "restarting auditd", ago=4000)
    run(host, SCRIPT, name, started=host.now, uid=1000)
    assert look(host).report["agent"] == "gave-up"


SIGNS: dict[str, Callable[[DictHost], None]] = {
    "semodule": lambda host: run(host, SCRIPT, "semodule", parent=1, started=host.now - 10),
    "auditd": lambda host: run(host, AUDITD, "auditd", started=host.now - 10),
    "started": lambda host: run(host, MAIN, "qualys-cloud-agent", started=host.now - 10),
    "edr-script.log": lambda host: host.write(SCRIPT_LOG, "copied the plugin file\n", mtime=host.now - 10),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_of_life_counts_until_the_limit(host: DictHost, sign: str) -> None:
    gave_up(host, "restarting auditd")
    run(host, MAIN, "qualys-cloud-agent", started=host.now - 1000)
    assert (look(host).status, look(host).check) == (Status.BLOCKED, 4)
    SIGNS[sign](host)
    seen = look(host)
    assert (seen.status, seen.check, seen.apply) == (Status.WAITING, 3, 0)
    assert sign in seen.finding().summary
    host.sleep(301)
    assert look(host).report["agent"] == "gave-up"


def test_a_script_that_hangs_is_named(host: DictHost) -> None:
    gave_up(host, "loading the module", ago=4000)
    run(host, SCRIPT, "qualys-edr-start-stop.sh", parent=MAIN, started=host.now - 4000)
    seen = look(host)
    assert (seen.status, seen.check) == (Status.BLOCKED, 4)
    assert f"pid {SCRIPT}" in seen.finding().summary


def test_apply_waits_for_a_slow_start_and_says_so(host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    gave_up(host, "loading the module", ago=1)
    run(host, SCRIPT, "qualys-edr-start-stop.sh", parent=MAIN, started=host.now)
    ready_at = host.now + 120

    def sleep(seconds: float) -> None:
        host.now += seconds
        if SCRIPT_PATH in host.nodes and host.now >= ready_at:
            host.end(SCRIPT)
            run(host, AUDITD, "auditd", started=host.now)
            run(host, PLUGIN, "edr-plugin", parent=AUDITD, started=host.now)
            run(host, EDR, "qualys-edr", parent=MAIN, started=host.now + 1)
            host.write(PLUGIN_FILE, PLUGIN_CONF, mtime=host.now - 1)

    monkeypatch.setattr("time.sleep", sleep)
    said: list[str] = []
    outcome = converge(host, said)
    assert report.verdict(outcome.findings) == "ready"
    assert not outcome.done
    assert [line.rpartition("; ")[2] for line in said[:4]] == ["300", "298", "296", "294"]
    assert vendor.SCRIPT in said[0]


SCRIPT_PATH = f"/proc/{SCRIPT}/stat"


def test_nothing_is_waited_for_while_the_system_is_booting(host: DictHost) -> None:
    gave_up(host, "restarting auditd", ago=1)
    host.answers["systemctl is-system-running"] = "starting\n"
    begun = host.now
    outcome = converge(host)
    assert host.now == begun
    assert outcome.facts.environment is Environment.BOOTING
    assert report.exit_code("apply", outcome) == 0


def test_check_waits_where_it_is_asked_to(host: DictHost) -> None:
    gave_up(host, "restarting auditd", ago=1)
    settings = Settings()

    def again() -> Facts:
        if host.now > BOOT + 5100:
            run(host, EDR, "qualys-edr", parent=MAIN, started=host.now)
        return gather(host, PROFILE, settings, RELEASE)

    found = waiting.until_started(again, again(), settings, lambda *_: None)
    assert found.agent.edr
    assert 100 <= host.now - (BOOT + 5000) <= 110


def test_who_may_not_look_is_told_to_be_root(host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    gave_up(host, "no word of why", ago=4000)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    seen = look(host)
    assert (seen.status, seen.check) == (Status.WAITING, 3)
    assert "root" in seen.finding().remedy


def test_an_agent_that_was_left_out_is_not_waited_for(host: DictHost) -> None:
    gave_up(host, "restarting auditd", ago=1)
    begun = host.now
    converge(host, skip=("agent",))
    assert host.now == begun


def test_a_stopped_agent_is_started_once(host: DictHost) -> None:
    for pid in (MAIN, EDR, PLUGIN):
        host.end(pid)
    del host.nodes[PLUGIN_FILE]
    host.answers["systemctl restart"] = starts
    outcome = converge(host)
    assert report.verdict(outcome.findings) == "ready"
    assert restarts(host) == ["systemctl restart qualys-cloud-agent.service"]


def test_the_restart_may_take_as_long_as_its_unit_says(host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in (MAIN, EDR, PLUGIN):
        host.end(pid)
    given: dict[str, float] = {}
    run = host.run

    def timed(*argv: str, timeout: float = 120, ok: Collection[int] = (0,)) -> Output:
        given[" ".join(argv[:2])] = timeout
        return run(*argv, timeout=timeout, ok=ok)

    monkeypatch.setattr(host, "run", timed)
    host.answers["systemctl restart"] = starts
    converge(host)
    assert given["systemctl restart"] == 390.0


def test_a_unit_without_an_end_gets_what_units_mostly_get(host: DictHost) -> None:
    shown = str(host.answers["systemctl show"])
    host.answers["systemctl show"] = shown.replace("TimeoutStartUSec=5min", "TimeoutStartUSec=infinity")
    assert look(host).facts.agent.service.patience == 180.0


def starts(host: DictHost, argv: tuple[str, ...]) -> int:
    """A systemctl that does what a start of the agent does, down to qualys-edr."""
    if "qualys" in argv[-1]:
        run(host, MAIN + 100, "qualys-cloud-agent", started=host.now)
        host.write(PLUGIN_FILE, PLUGIN_CONF, mtime=host.now + 1)
        run(host, AUDITD, "auditd", started=host.now + 2)
        run(host, PLUGIN, "edr-plugin", parent=AUDITD, started=host.now + 3)
        run(host, EDR, "qualys-edr", parent=MAIN + 100, started=host.now + 4)
        host.write(SCRIPT_LOG, "edr script complete\n", mtime=host.now + 4)
        host.end(MAIN)
        listing(host, WATCH)
        host.sleep(5)
    return 0


def restarts(host: DictHost) -> list[str]:
    """The restarts that were made."""
    return [line for line in host.done if line.startswith("systemctl restart")]


# ---------------------------------------------------------------------- it gave up

# several hands' wordings of each end
LINES = {
    200: ("auditctl command not found, exiting", "Unable to start: auditctl is missing", "exit 200",
          "No auditctl command available", "auditctl: not installed"),
    201: ("checkmodule or semodule_package not found", "SELinux tools missing", "restorecon: command not found",
          "script exits with status 201", "required SELinux utilities are not available", "no semodule found"),
    202: ("plugin install failed", "qualys-agent-plugin module could not be installed", "semodule -i: error 1",
          "policy module is not loaded", "giving up (code 202)", "Unable to load the SELinux policy"),
    203: ("restorecon of the sock folder failed", "Failed to restore context with restorecon", "exit code: 203",
          "cannot set security context of the socket folder"),
    204: ("audit dispatcher mode is off while auditd is running", "UseAuditDispatcher=0, auditd must be stopped",
          "dispatcher disabled", "rc=204", "UseAuditDispatcher is set to 0 but auditd runs"),
    205: ("audit is immutable", "Audit rules are locked, reboot needed", "auditctl reports enabled 2",
          "audit configuration is in immutable mode. Exiting with code 205", "auditctl -e 2 is in force"),
    206: ("never,task rule found", "rule -a task,never blocks FIM", "exit status 206"),
}  # fmt: skip
WORDINGS = [(code, line) for code, lines in LINES.items() for line in lines]


@pytest.mark.parametrize(("code", "line"), WORDINGS, ids=[line for _, line in WORDINGS])
def test_the_cause_is_read_in_many_wordings(code: int, line: str) -> None:
    for text in (line, line.upper(), f"2026-11-27 08:12:04 {line}\n2026-11-27 08:12:04 leaving"):
        verdict = script_log.verdict(f"auditctl found\naudit is not immutable\n{text}\n".encode())
        assert verdict, text
        assert verdict.code == code, text


@pytest.mark.parametrize("line", ["edr script complete", "Script completed", "started successfully"])
def test_a_good_end_is_no_cause(line: str) -> None:
    verdict = script_log.verdict(f"checking for never,task\nplugin install failed, once more\n{line}\n".encode())
    assert verdict
    assert verdict.code == 0


@pytest.mark.parametrize(
    "line",
    ["audit is mutable", "audit is not immutable", "auditctl found", "dispatcher mode is on", "restorecon done",
     "qualys-agent-plugin module installed", "enabled 1"],
)  # fmt: skip
def test_a_line_on_the_way_is_no_end(line: str) -> None:
    assert script_log.verdict(f"2026-11-27 08:12:04 {line}\n".encode()) is None


def freeze(host: DictHost) -> None:
    kernel(host, enabled=2)
    host.write(RULES_FILE, "-e 2\n", mtime=BOOT)


def lacks(host: DictHost, *names: str) -> None:
    for name in names:
        del host.nodes[f"/usr/sbin/{name}"]


def selinux(host: DictHost) -> None:
    """SELinux is on and has no policy: the tools are asked for, and no module is."""
    for name, text in {"enforce": "1", "policyvers": "33"}.items():
        host.write(f"/sys/fs/selinux/{name}", text)


def lacks_a_tool(host: DictHost) -> None:
    selinux(host)
    lacks(host, "checkmodule")


def direct(host: DictHost) -> None:
    host.write(vendor.CONF, "UseAuditDispatcher=0\n")


# what is wrong with the host while the agent gives up so, and whose finding that is
WRONG: dict[int, tuple[Callable[[DictHost], None], str]] = {
    200: (lambda host: lacks(host, "auditctl"), "packages"),
    201: (lacks_a_tool, "packages"),
    204: (direct, "auditd"),
    205: (freeze, "rules"),
    206: (lambda host: listing(host, "-a never,task"), "rules"),
}


@pytest.mark.parametrize("code", WRONG)
def test_an_agent_that_gave_up_waits_for_what_it_gave_up_for(host: DictHost, code: int) -> None:
    gave_up(host, LINES[code][0])
    WRONG[code][0](host)
    seen = look(host)
    finding = seen.finding()
    assert (finding.status, finding.waits_for, seen.report["agent"]) == (Status.WAITING, WRONG[code][1], "gave-up")
    assert finding.summary.startswith("the agent gave up at ")
    assert vendor.CAUSES[code][0] in finding.summary
    assert LINES[code][0] in finding.evidence[0]
    assert seen.check == (4 if code == 204 else 3)


@pytest.mark.parametrize("code", WRONG)
def test_a_cause_that_is_over_is_not_told_as_present_and_the_agent_is_restarted_once(host: DictHost, code: int) -> None:
    gave_up(host, LINES[code][0])
    assert "that is over" in look(host).finding().summary
    host.answers["systemctl restart"] = starts
    outcome = converge(host)
    assert (report.verdict(outcome.findings), len(restarts(host))) == ("ready", 1)


@pytest.mark.parametrize("code", WRONG)
def test_an_agent_that_gives_up_again_is_not_restarted_for_ever(host: DictHost, code: int) -> None:
    gave_up(host, LINES[code][0])

    def again(host: DictHost, argv: tuple[str, ...]) -> int:
        run(host, MAIN + 100, "qualys-cloud-agent", started=host.now)
        host.end(MAIN)
        host.sleep(30)
        host.write(SCRIPT_LOG, f"{LINES[code][0]}\n")
        return 0

    host.answers["systemctl restart"] = again
    outcome = converge(host)
    assert (report.exit_code("apply", outcome), len(restarts(host))) == (1, 1)  # something was done
    assert not converge(host).done
    host.sleep(1000)
    seen = look(host)
    assert (seen.check, seen.apply) == (4, 4)
    assert "a restart ended alike" in seen.finding().summary


@pytest.mark.parametrize(("code", "other"), [(201, 206), (206, 201), (205, 200)])
def test_a_cause_that_came_after_our_restart_is_a_new_one(host: DictHost, code: int, other: int) -> None:
    gave_up(host, LINES[code][0])
    host.answers["systemctl restart"] = starts
    assert report.verdict(converge(host).findings) == "ready"
    host.sleep(100)
    host.end(MAIN + 100)  # somebody restarts it, and mends what it met then
    run(host, MAIN, "qualys-cloud-agent", started=host.now)
    host.sleep(10)
    gave_up(host, LINES[other][0], ago=0)
    host.sleep(60)
    assert "that is over" in look(host).finding().summary
    assert (report.verdict(converge(host).findings), len(restarts(host))) == ("ready", 2)


@pytest.mark.parametrize("code", [202, 203])
def test_what_its_own_selinux_step_met_is_told_and_blocks(host: DictHost, code: int) -> None:
    gave_up(host, LINES[code][0])
    seen = look(host)
    assert (seen.status, seen.check) == (Status.BLOCKED, 4)
    assert vendor.CAUSES[code][0] in seen.finding().summary
    host.answers["systemctl show"] = str(host.answers["systemctl show"]).replace("=enabled", "=disabled")
    assert "qualys-cloud-agent is not enabled at boot" in look(host).finding().warnings
    assert vendor.CAUSES[code][1] == seen.finding().follows[0] == "policy"


def test_an_end_of_the_life_before_is_not_the_present_one(host: DictHost) -> None:
    gave_up(host, "audit is immutable", ago=600)
    freeze(host)
    run(host, MAIN, "qualys-cloud-agent", started=host.now - 100)
    assert look(host).report["agent"] == "starting"
    host.sleep(300)
    assert vendor.CAUSES[205][0] in look(host).finding().summary


def test_a_clock_that_was_set_back_keeps_nobody_waiting(host: DictHost) -> None:
    gave_up(host, "loading the module", ago=-3600)
    assert look(host).report["agent"] == "gave-up"


@pytest.mark.parametrize("code", WRONG)
def test_an_agent_that_would_give_up_again_is_not_started(host: DictHost, code: int) -> None:
    for pid in (MAIN, EDR, PLUGIN):
        host.end(pid)
    WRONG[code][0](host)
    finding = look(host).finding()
    assert (finding.status, finding.waits_for, finding.changes) == (Status.WAITING, WRONG[code][1], ())
    assert vendor.CAUSES[code][0] in finding.summary


def test_a_frozen_kernel_waits_for_the_reboot_before_and_after_apply(host: DictHost) -> None:
    gave_up(host, LINES[205][0])
    freeze(host)
    before = look(host)
    assert (before.check, before.report["reboot_after_apply"]) == (3, True)
    assert before.report["causes"] == [
        {"id": "rules", "file": RULES_FILE, "line": 1, "text": "-e 2", "source": ""}
    ]  # fmt: skip
    assert "\n  reboot  needed after apply: plan it now\n" in screen.text(before.report)
    outcome = converge(host)
    assert (report.exit_code("apply", outcome), report.verdict(outcome.findings)) == (0, "ready-after-reboot")
    after = look(host)
    assert [item["waits_for"] for item in after.report["requirements"] if item["id"] == "agent"] == ["rules"]
    assert (after.finding().waits_for, after.report["reboot_after_apply"]) == ("rules", False)
    assert (after.check, after.report["verdict"], after.report["failed"]) == (3, "ready-after-reboot", False)
    assert not restarts(host)


@pytest.mark.parametrize("which", settled_agent.BEFORE)
@pytest.mark.parametrize("status", [Status.CHANGE, Status.REBOOT, Status.BLOCKED, Status.FAILED, Status.WAITING])
def test_the_agent_is_never_a_blocker_of_its_own_while_something_before_it_is_open(
    host: DictHost, which: str, status: Status
) -> None:
    gave_up(host, "no word of why", ago=4000)
    findings = [f._replace(status=status) if f.id == which else f for f in look(host).findings]
    assert next(f for f in findings if f.id == "agent").status is Status.BLOCKED
    named = consequences.named(findings)
    finding = next(f for f in named if f.id == "agent")
    assert (finding.status, finding.waits_for) == (Status.WAITING, which)
    assert which in finding.summary
    assert (report.verdict(named) == "ready-after-reboot") == (status is Status.REBOOT)


def test_blocked_is_4_where_nothing_was_changed_and_1_where_something_was(host: DictHost) -> None:
    gave_up(host, LINES[203][0])
    host.write("/etc/audit/auditd.conf", AUDITD_CONF, mtime=BOOT)  # the dispatcher line is missing
    host.answers["unshare"] = 1
    first = converge(host)
    assert [change.describe() for change in first.done]
    assert report.exit_code("apply", first) == 1
    assert report.exit_code("apply", converge(host)) == 4


# ---------------------------------------------------------------------- the plugin alone is missing


def test_a_restart_that_was_refused_has_its_own_sentence(host: DictHost) -> None:
    host.end(PLUGIN)
    host.write(PLUGIN_FILE, PLUGIN_CONF, mtime=BOOT + 105)  # auditd is of 100, qualys-edr of 110
    seen = look(host)
    assert "auditd was not restarted" in seen.finding().summary
    assert (seen.finding().waits_for, seen.check) == ("auditd", 3)
    assert "given up" not in seen.finding("auditd").summary
    host.write(PLUGIN_FILE, PLUGIN_CONF, mtime=BOOT + 95)
    assert "given up" in look(host).finding("auditd").summary


def test_a_plugin_file_that_no_dispatcher_reads_is_named(host: DictHost) -> None:
    host.end(PLUGIN)
    conf = f"{AUDITD_CONF}plugin_dir = /etc/elsewhere\ndispatcher = /sbin/audispd\n"
    host.write("/etc/audit/auditd.conf", conf, mtime=BOOT)
    host.folder("/etc/elsewhere")
    assert f"{PLUGIN_FILE} is not read by audit 3, which reads /etc/elsewhere" in look(host).finding().summary


# ---------------------------------------------------------------------- no agent yet


def test_a_host_without_agent_says_with_what_one_would_give_up(bare: DictHost) -> None:
    seen = look(bare)
    assert (seen.status, seen.check, seen.report["agent"]) == (Status.SKIPPED, 0, "absent")
    assert not seen.finding().warnings
    freeze(bare)
    assert vendor.CAUSES[205][0] in look(bare).finding().warnings[0]
    kernel(bare)
    listing(bare, "-a never,task")
    assert vendor.CAUSES[206][0] in look(bare).finding().warnings[0]
    lacks_a_tool(bare)
    assert vendor.CAUSES[201][0] in look(bare).finding().warnings[0]
    lacks(bare, "auditctl")
    assert vendor.CAUSES[200][0] in look(bare).finding().warnings[0]


def test_what_does_not_concern_it_or_cannot_be_known_is_not_foretold(
    bare: DictHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks(bare, "checkmodule")
    assert not look(bare).finding().warnings  # there is no SELinux
    selinux(bare)
    monkeypatch.setattr("tests.test_agent.RELEASE", OsRelease("pop", "22.04", ("ubuntu", "debian")))
    assert not look(bare).finding().warnings  # there it leaves SELinux alone
    freeze(bare)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert not look(bare).finding().warnings


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("conf", ["", "HostIdSearchDir=/opt/id\n"])
def test_an_identity_in_an_image_is_warned_of(bare: DictHost, conf: str, installed: bool) -> None:
    host = bare
    if conf or installed:
        host.write(vendor.CONF, conf)
    path = "/opt/id/qualys/hostid" if conf else "/etc/qualys/hostid"
    assert not look(host, root="/image").finding().warnings
    host.write(path, "1234")
    assert path in look(host, root="/image").finding().warnings[0]
    assert not any(path in warning for warning in look(host).finding().warnings)


# ---------------------------------------------------------------------- the module store has one lock


class Policy:
    """A requirement that asks for a semodule of ours until one has run."""

    ID = "policy"
    TITLE = "policy"

    def __init__(self, host: DictHost, *changes: LoadPolicy | ReloadPolicy | RestoreLabels) -> None:
        self.host, self.changes = host, changes

    def assess(self, found: Facts, profile: Profile, settings: Settings) -> Finding:
        """Open until semodule was run."""
        if any(line.startswith("semodule") for line in self.host.done):
            return Finding(self.ID, self.TITLE, Status.OK, "")
        return Finding(self.ID, self.TITLE, Status.CHANGE, "", changes=self.changes)


CHANGES = (LoadPolicy("module m 1.0;", "m_t", live=True), ReloadPolicy(live=True))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("age", [5, 400])
def test_no_semodule_of_ours_begins_while_the_agents_script_is_at_work(
    host: DictHost, monkeypatch: pytest.MonkeyPatch, change: LoadPolicy | ReloadPolicy, age: float
) -> None:
    """On a slow machine the script is soon older than the limit, and its own semodule is young."""
    monkeypatch.setattr(engine, "REQUIREMENTS", (Policy(host, change), requirement))
    at_work: list[bool] = []
    begun = host.now

    def semodule(host: DictHost, argv: Sequence[str]) -> int:
        at_work.append(SCRIPT_PATH in host.nodes)
        return 0

    def checkmodule(host: DictHost, argv: Sequence[str]) -> int:
        return 0

    def sleep(seconds: float) -> None:
        host.now += seconds
        if host.now > begun + 100:
            host.end(SCRIPT)
            host.end(SEMODULE)

    host.answers |= {"semodule": semodule, "checkmodule": checkmodule, "semodule_package": 0}
    run(host, SCRIPT, "qualys-edr-start-stop.sh", parent=MAIN, started=host.now - age)
    run(host, SEMODULE, "semodule", parent=SCRIPT, started=host.now - 5)
    monkeypatch.setattr("time.sleep", sleep)
    outcome = converge(host)
    assert at_work == [False]
    assert report.verdict(outcome.findings) == "ready"


def test_a_script_that_begins_between_two_changes_is_waited_for(
    host: DictHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "REQUIREMENTS", (Policy(host, RestoreLabels(("/x",)), ReloadPolicy(True)), requirement))
    at_work: list[bool] = []

    def begins(host: DictHost, argv: Sequence[str]) -> int:
        run(host, SCRIPT, "qualys-edr-start-stop.sh", parent=MAIN, started=host.now)
        return 0

    def semodule(host: DictHost, argv: Sequence[str]) -> int:
        at_work.append(SCRIPT_PATH in host.nodes)
        return 0

    def sleep(seconds: float) -> None:
        host.now += seconds
        host.end(SCRIPT)

    host.answers |= {"restorecon": begins, "semodule": semodule}
    monkeypatch.setattr("time.sleep", sleep)
    converge(host)
    assert at_work == [False]


@pytest.mark.parametrize("change", CHANGES)
def test_where_both_were_at_it_at_the_same_moment_the_agent_is_restarted_once(
    host: DictHost, monkeypatch: pytest.MonkeyPatch, change: LoadPolicy | ReloadPolicy
) -> None:
    monkeypatch.setattr(engine, "REQUIREMENTS", (Policy(host, change), requirement))
    for pid in (EDR, PLUGIN):
        host.end(pid)
    host.write(SCRIPT_LOG, "begin\n")
    run(host, MAIN, "qualys-cloud-agent", started=host.now - 1)

    def semodule(host: DictHost, argv: Sequence[str]) -> int:
        host.sleep(3)  # its script began after ours, and met our lock
        host.write(SCRIPT_LOG, "begin\nplugin install failed\n", mtime=host.now + 5)
        host.sleep(40)
        return 0

    def again(host: DictHost, argv: tuple[str, ...]) -> int:
        run(host, MAIN + len(restarts(host)), "qualys-cloud-agent", started=host.now)
        host.end(MAIN)
        host.sleep(20)
        host.write(SCRIPT_LOG, "begin\nplugin install failed\n")
        return 0

    host.answers |= {"semodule": semodule, "semodule_package": 0, "systemctl restart": again}
    outcome = converge(host)
    assert len(restarts(host)) == 1
    assert outcome.findings[-1].status is Status.BLOCKED
    assert not converge(host).done


def test_what_shows_only_while_the_agent_is_waited_for_is_mended_in_the_same_run(
    host: DictHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    gave_up(host, "begin", ago=1)
    journal.record(host, "policy", module="m", marker="m_t", priority=[], boot="b00t", uptime=host.now - BOOT - 2)

    def sleep(seconds: float) -> None:
        host.now += seconds
        if not restarts(host):
            host.write(SCRIPT_LOG, LINES[202][0])

    monkeypatch.setattr("time.sleep", sleep)
    host.answers["systemctl restart"] = starts
    assert report.verdict(converge(host).findings) == "ready"
    assert len(restarts(host)) == 1


def test_a_202_from_before_our_semodule_is_not_ours(host: DictHost) -> None:
    gave_up(host, LINES[202][0], ago=600)
    journal.record(host, "policy", module="m", marker="m_t", priority=[], boot="b00t", uptime=host.now - BOOT)
    assert look(host).status is Status.BLOCKED
    host.write(SCRIPT_LOG, LINES[202][0], mtime=host.now + 5)
    host.sleep(10)
    assert "our own semodule" in look(host).finding().summary


# ---------------------------------------------------------------------- the probe


def hops(host: DictHost) -> dict[str, str]:
    """What the probe says of each hop."""
    found = look(host).facts
    delivery = probe(host, found, Settings())
    assert delivery
    assert not delivery.refused
    return {hop.hop: hop.state for hop in delivery.chain}


def delivered(host: DictHost) -> Status:
    """What the requirement makes of it."""
    found = look(host).facts
    seen = found._replace(delivery=probe(host, found, Settings()))
    return next(f for f in engine.plan(seen, PROFILE, Settings(probe=True)) if f.id == "delivery").status


def message(*logs: str) -> Callable[[DictHost, tuple[str, ...]], int]:
    """An auditctl -m that arrives in these logs."""

    def auditctl(host: DictHost, argv: tuple[str, ...]) -> int:
        for log in logs:
            host.write(log, f"type=USER msg=audit(1.0:1): msg='text={argv[2]}'\n")
        return 0

    return auditctl


AUDIT_LOG = "/var/log/audit/audit.log"


@pytest.mark.parametrize("log", [LOG, EVENTS])
def test_the_probe_arrives_in_either_log(host: DictHost, log: str) -> None:
    host.answers["auditctl -m"] = message(AUDIT_LOG, log)
    assert set(hops(host).values()) == {"ok"}
    assert delivered(host) is Status.OK


def test_the_probe_that_is_nowhere_stops_at_auditd(host: DictHost) -> None:
    host.write(AUDIT_LOG, "old\n")
    assert hops(host)["auditd"] == "stop"
    assert delivered(host) is Status.FAILED


def test_bytes_are_no_verdict(host: DictHost) -> None:
    def reads(host: DictHost, argv: tuple[str, ...]) -> int:
        for pid in (EDR, PLUGIN):
            host.write(f"/proc/{pid}/io", "rchar: 999999\n")
        return message(AUDIT_LOG)(host, argv)

    host.answers["auditctl -m"] = message(AUDIT_LOG)
    silent = hops(host)
    host.answers["auditctl -m"] = reads
    assert hops(host) == silent == {
        "kernel": "ok", "auditd": "ok", "dispatcher": "?", "edr-plugin": "?", "qualys-edr": "?", "edr.log": "?",
    }  # fmt: skip
    assert delivered(host) is Status.WAITING


@pytest.mark.parametrize(
    ("rule", "hides"),
    [
        ("-a never,user", True), ("-a never,user -F uid=0", True), ("-a user,never", True),
        ("-a always,exclude -F msgtype=USER", True), ("-a never,exclude -F msgtype=1005", True),
        ("-a never,exclude -F msgtype>=1000 -F msgtype<=1099", True), ("-a always,exclude -F msgtype!=SYSCALL", True),
        ("-a always,exclude -F uid=0", True), ("-a always,exclude -F msgtype>=LOGIN", True),
        ("-a always,exclude -F msgtype=CWD", False), ("-a always,exclude -F msgtype>=1300", False),
        ("-a always,exclude -F msgtype<1005", False), ("-a always,user", False), (WATCH, False),
        ("-a never,exit", False),
    ],
)  # fmt: skip
def test_a_rule_that_hides_only_the_probe_decides_nothing(host: DictHost, rule: str, hides: bool) -> None:
    assert may_hide(rule) is hides
    host.write(AUDIT_LOG, "old\n")
    listing(host, WATCH, rule)
    assert hops(host)["auditd"] == ("?" if hides else "stop")
    assert (delivered(host) is Status.WAITING) is hides


@pytest.mark.parametrize("line", ["write_logs = no", "log_format = NOLOG", "log_file = /srv/log/audit.log"])
def test_where_no_log_can_be_read_nothing_is_decided(host: DictHost, line: str) -> None:
    key = line.partition(" ")[0]
    conf = "\n".join(line if text.startswith(key) else text for text in AUDITD_CONF.splitlines())
    host.write("/etc/audit/auditd.conf", conf, mtime=BOOT)
    host.write(AUDIT_LOG, "old\n")
    assert hops(host)["auditd"] == "?"
    host.answers["auditctl -m"] = message("/srv/log/audit.log")
    assert hops(host)["auditd"] == ("ok" if "log_file" in line else "?")


def test_a_plugin_that_does_not_run_is_where_it_stops(host: DictHost) -> None:
    host.end(PLUGIN)
    host.answers["auditctl -m"] = message(AUDIT_LOG)
    assert (hops(host)["auditd"], hops(host)["edr-plugin"], hops(host)["qualys-edr"]) == ("ok", "stop", "?")


def test_an_access_that_is_denied_meanwhile_is_where_it_stops(host: DictHost) -> None:
    def denies(host: DictHost, argv: tuple[str, ...]) -> int:
        avc = 'type=AVC msg=audit(1.0:2): avc:  denied  { write } for pid=502 comm="edr-plugin"\n'
        host.write(AUDIT_LOG, f"type=USER msg='text={argv[2]}'\n{avc}")
        return 0

    host.answers["auditctl -m"] = denies
    assert hops(host)["edr-plugin"] == "stop"
    host.answers["auditctl -m"] = message(AUDIT_LOG)
    assert hops(host)["edr-plugin"] == "?"


@pytest.mark.parametrize(("states", "hop"), [(("01",), "stop"), (("01", "03"), "?"), ((), "?")])
def test_a_socket_to_which_nobody_is_connected_is_where_it_stops(
    host: DictHost, states: tuple[str, ...], hop: str
) -> None:
    host.answers["auditctl -m"] = message(AUDIT_LOG)
    lines = [f"0000: 00000002 00000000 00010000 0001 {state} 4711 {vendor.SOCKET}" for state in states]
    host.write("/proc/net/unix", "\n".join(("Num RefCount Protocol Flags Type St Inode Path", *lines)))
    assert hops(host)["qualys-edr"] == hop


def test_a_message_that_the_kernel_refuses_stops_there(host: DictHost) -> None:
    host.answers["auditctl -m"] = Output((), 1, "", "Error sending user message request (Operation not permitted)")
    assert hops(host) == {"kernel": "stop"}


# ---------------------------------------------------------------------- rules that no file explains

# what auditctl 3.0.9 prints for the rules of the file beside it
FILE = """\
-w /etc/passwd -p wa -k k1
-w /etc/audit/ -p aw -k k1
-w /etc/shadow -k k1
-w /usr/sbin/auditctl
-a exit,always -F arch=b64 -S chmod -S fchmod,fchmodat -F auid>=1000 -F auid!=4294967295 -k k1
-a always,exit -F arch=b32 -S open,openat -F exit=-EACCES -F auid>=1000 -F auid!=unset -F key=k1
-a always,exit -F path=/usr/bin/sudo -F perm=x -F auid>=1000 -F auid!=-1 -F key=k1
-a always,exit -F dir=/etc/sudoers.d/ -F perm=wa -F key=k1
-a always,exit -F arch=b64 -S execve -C uid!=euid -F euid=root -k k1
-a always,exit -S all -F path=/etc/group -F perm=wa -k k1
-a always,exit -F arch=b64 -S mount -F success=1 -k k1
-a always,exit -F arch=b64 -S clone -F a0&0x10000000 -k k1
-a always,exit -F exe=/usr/bin/su -F arch=b64 -S all -k k1 -k k2
-a always,filesystem -F fstype=tracefs -k k1
-a always,exclude -F msgtype=CWD
-a never,user -F uid=65534
"""
LISTED = """\
-a never,user -F uid=65534
-w /etc/passwd -p wa -k k1
-w /etc/audit -p wa -k k1
-w /etc/shadow -p rwxa -k k1
-w /usr/sbin/auditctl -p rwxa
-a always,exit -F arch=b64 -S chmod,fchmod,fchmodat -F auid>=1000 -F auid!=-1 -F key=k1
-a always,exit -F arch=b32 -S open,openat -F exit=-EACCES -F auid>=1000 -F auid!=-1 -F key=k1
-a always,exit -S all -F path=/usr/bin/sudo -F perm=x -F auid>=1000 -F auid!=-1 -F key=k1
-w /etc/sudoers.d/ -p wa -k k1
-a always,exit -F arch=b64 -S execve -C uid!=euid -F euid=0 -F key=k1
-w /etc/group -p wa -k k1
-a always,exit -F arch=b64 -S mount -F success=1 -F key=k1
-a always,exit -F arch=b64 -S clone -F a0&0x10000000 -F key=k1
-a always,exit -F arch=b64 -S all -F exe=/usr/bin/su -F key=k1 -F key=k2
-a always,exclude -F msgtype=CWD
-a always,filesystem -F fstype=tracefs -F key=k1
"""


def test_what_a_file_holds_is_explained_however_the_kernel_spells_it() -> None:
    assert rule_origin.unexplained(LISTED.splitlines(), [FILE]) == ()
    explained = [line for line in LISTED.splitlines() if "exclude" in line or "never" in line]
    assert list(rule_origin.unexplained(LISTED.splitlines(), [])) == [
        line for line in LISTED.splitlines() if line not in explained
    ]


@pytest.mark.parametrize(
    "rule", ["-w /srv -p wa", "-w /etc/passwd -p wa -k fim", "-w /etc/passwd -p r -k k1",
             "-a always,exit -S all -F dir=/srv/www -F perm=wa -F key=k1"],
)  # fmt: skip
def test_what_no_file_holds_is_somebodys(rule: str) -> None:
    assert rule_origin.unexplained([*LISTED.splitlines(), rule], [FILE]) == (rule,)


@pytest.mark.parametrize("line", ["-w", "-a", "-a always,exit -F", "-F path=/x -k", "-w /x -z -k k -p", "#-w /x", ""])
def test_a_line_that_auditctl_would_refuse_explains_nothing(line: str) -> None:
    assert rule_origin.unexplained([WATCH], [line]) == (WATCH,)


@pytest.mark.parametrize("rule", ["-a never,task", "-a never,exit -F path=/x", "-a always,exclude -F msgtype=CWD"])
def test_a_rule_that_records_nothing_is_nobodys_monitoring(rule: str) -> None:
    assert rule_origin.unexplained([rule], []) == ()


# ---------------------------------------------------------------------- the report


def test_the_report_says_when_where_and_with_what(host: DictHost) -> None:
    host.write(versions.DPKG, "Package: a\nStatus: install ok installed\nVersion: 1\n\n"
               "Package: qualys-cloud-agent\nStatus: install ok installed\nVersion: 6.1.2-2\n\n")  # fmt: skip
    document = look(host, skip=("guard",)).report
    assert (document["time"][-1], document["boot"]) == ("Z", "b00t")
    assert len(document["host"]["machine"]) == 32
    assert "0123456789abcdef" not in json.dumps(document)
    assert {**document["versions"], "tool": "", "kernel": ""} == {
        "agent": "6.1.2-2", "audit": "3.0.9", "tool": "", "kernel": "",
    }  # fmt: skip
    assert document["versions"]["kernel"]
    assert document["skipped_by_option"] == ["guard"]
    assert [hop["hop"] for hop in document["chain"]] == [
        "kernel", "auditd", "dispatcher", "edr-plugin", "qualys-edr", "edr.log",
    ]  # fmt: skip
    assert {hop["state"] for hop in document["chain"]} == {"ok"}


def test_the_chain_has_one_stop_and_what_is_behind_it_is_down(host: DictHost) -> None:
    gave_up(host, LINES[205][0])
    freeze(host)
    chain = look(host).report["chain"]
    assert [hop["state"] for hop in chain] == ["stop", "ok", "ok", "down", "down", "?"]
    assert LINES[205][0] in chain[4]["evidence"]


def test_a_cause_names_who_writes_its_file(host: DictHost) -> None:
    host.write(RULES_FILE, "# Ansible managed\n-D\n-e 2\n", mtime=BOOT)
    document = look(host).report
    assert document["causes"] == [
        {"id": "rules", "file": RULES_FILE, "line": 3, "text": "-e 2",
         "source": "Ansible: change the role or template that writes it"},
    ]  # fmt: skip
    assert document["reboot_after_apply"] is False  # the kernel is not frozen yet


@pytest.mark.parametrize(("manager", "due"), [("rpm-ostree", True), ("transactional-update", True), ("dnf", False)])
def test_packages_that_come_with_the_next_boot_announce_it(host: DictHost, manager: str, due: bool) -> None:
    lacks(host, "auditctl")
    seen = look(host)
    assert seen.finding("packages").status is Status.CHANGE
    assert report.reboot_after_apply(seen.findings, seen.facts._replace(manager=manager)) is due


def test_packages_of_the_next_boot_are_staged_in_this_one(host: DictHost) -> None:
    host.write("/proc/sys/kernel/random/boot_id", "now\n")
    for kind, boot, name in (("install", "now", "audit"), ("install", "earlier", "old"), ("edit", "now", "none")):
        journal.record(host, kind, boot=boot, packages=[name])
    assert look(host).facts.staged == ("audit",)


@pytest.mark.parametrize("folder", ["/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"])
def test_a_unit_is_found_where_systemd_finds_it(dict_host: DictHost, folder: str) -> None:
    profile = Profile("x", "x")
    assert not services.look(dict_host, {}, profile)["auditd"].present
    dict_host.write(f"{folder}/auditd.service")
    assert services.look(dict_host, {}, profile)["auditd"].present


@pytest.mark.parametrize(("text", "wipes"), [("-D\n-w /x -p wa\n", True), ("-w /x -p wa\n", False), ("", False)])
def test_rules_that_begin_anew_take_away_what_was_added(text: str, wipes: bool) -> None:
    assert rule_origin.wiped(["-w /y -p wa\n", text]) is wipes


def test_a_package_that_is_half_there_has_no_version(host: DictHost) -> None:
    host.write(versions.DPKG, "Package: qualys-cloud-agent\nStatus: install ok unpacked\nVersion: 6.1.2-2\n")
    assert look(host).facts.versions["agent"] == ""


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [("1min 30s", 90.0), ("5min", 300.0), ("1h 2min 3.5s", 3723.5), ("500ms", 0.5), ("infinity", 0.0), ("", 0.0)],
)
def test_a_time_span_of_systemctl(shown: str, seconds: float) -> None:
    assert services.span(shown) == seconds


@needs_root
def test_the_end_of_a_log_is_read_and_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 100 + b"end")
    os.mkfifo(tmp_path / "pipe")
    live = LiveHost(str(tmp_path))
    assert live.tail("/log", 4) == b"xend"
    assert live.tail("/log", 1000) == b"x" * 100 + b"end"
    assert live.tail("/pipe", 4) == live.tail("/nothing", 4) == b""


def test_the_guard_waits_and_the_limit_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = [line.partition("=")[::2] for line in text_of("units/fim-bootstrap-guard.service").splitlines()]
    for assignment in (value for key, value in unit if key == "Environment"):
        monkeypatch.setenv(*assignment.split("=", 1))
    words = next(value for key, value in unit if key == "ExecStart").split()[1:]
    assert words == ["check"]  # the program beside it may be of an earlier release
    _, values = options.parse([*words, "--agent-timeout", "7"])
    assert (values["wait"], values["brief"], values["format"]) == (True, True, "text")
    assert options.settings(values).agent_timeout == 7.0
    with pytest.raises(Usage, match="agent-timeout"):
        options.parse(["check", "--agent-timeout", "nan"])


def test_nothing_is_kept_of_the_state_folder_by_a_check(host: DictHost) -> None:
    look(host)
    assert not [path for path in host.nodes if path.startswith(STATE)]
    assert not host.done


def test_a_plugin_file_that_cannot_be_read_is_said(host: DictHost) -> None:
    host.write(PLUGIN_FILE, problem="larger than 1 MB")
    host.write("/etc/audit/plugins.d/other.conf", problem="larger than 1 MB")
    seen = look(host).facts.agent
    assert (seen.registration, seen.registration_problem) == (PLUGIN_FILE, f"{PLUGIN_FILE}: larger than 1 MB")


@pytest.mark.parametrize(("field", "may"), [
    ("uid=0", True), ("msgtype=USER", True), ("msgtype=1005", True), ("msgtype=1006", False),
    ("msgtype=SYSCALL", False),
    ("msgtype!=USER", False), ("msgtype!=1005", False), ("msgtype!=SYSCALL", True), ("msgtype>1004", True),
    ("msgtype>1005", False), ("msgtype<1006", True), ("msgtype<1005", False), ("msgtype>=1005", True),
    ("msgtype>=1006", False), ("msgtype<=1005", True), ("msgtype<=1004", False), ("msgtype>=LOGIN", True),
])  # fmt: skip
def test_which_rule_may_hide_the_mark(field: str, may: bool) -> None:
    assert _may_fit(field) is may
