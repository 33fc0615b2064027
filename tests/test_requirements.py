"""Each requirement on facts: one value differs from a ready host, and the finding follows."""

from __future__ import annotations

from typing import Any

import pytest

from fim_bootstrap import chain, engine, report
from fim_bootstrap.changes.files import CreateFiles
from fim_bootstrap.changes.first_boot import prepared
from fim_bootstrap.changes.policy import LabelTree
from fim_bootstrap.changes.services import RestartService, StopService
from fim_bootstrap.facts.commands import AGENT_COMMANDS, AUDIT_COMMANDS, SELINUX_COMMANDS
from fim_bootstrap.facts.own_files import FIRST_BOOT, FIRST_BOOT_NETWORK, GUARD, GUARD_UNITS, PRESET, PROGRAM
from fim_bootstrap.host.reader import File, Stat
from fim_bootstrap.model import (
    AgentFacts,
    Answer,
    AuditFacts,
    Delivery,
    Environment,
    Facts,
    Finding,
    Hop,
    Obstacle,
    OsRelease,
    Process,
    Profile,
    SELinuxFacts,
    Service,
    Settings,
    Status,
)
from fim_bootstrap.requirements import auditd
from tests.conftest import AUDITD_CONF, RULES

PACKAGES = {**dict.fromkeys(AUDIT_COMMANDS, ("auditd",)), **{command: (command,) for command in AGENT_COMMANDS}}
PROFILE = Profile("debian-12", "Debian 12", managers=("apt",), packages=PACKAGES)
CONF = "/etc/audit/auditd.conf"
READY = Facts(
    environment=Environment.BOOTED,
    root="/",
    hostname="web1",
    today="2026-11-23",
    privileged=True,
    os=OsRelease("debian", "12"),
    manager="apt",
    commands={command: f"/usr/sbin/{command}" for command in (*AUDIT_COMMANDS, *AGENT_COMMANDS, *SELINUX_COMMANDS)},
    audit=AuditFacts(
        generation=3,
        conf=File(CONF, f"{AUDITD_CONF}dispatcher = /sbin/audispd\n", 100.0),
        conf_since=100.0,
        rules=(File("/etc/audit/audit.rules", RULES), File("/etc/audit/rules.d/audit.rules", RULES)),
        plugin_dir="/etc/audit/plugins.d",
        plugin_dir_present=True,
        service=Service("auditd", present=True, enabled=True),
        daemon=Process(500, 1, "auditd", 200.0),
        status={"enabled": 1, "failure": 1, "pid": 500, "backlog_limit": 8192, "lost": 0},
        owner="auditd",
        live_rules=(),
    ),
    selinux=SELinuxFacts(
        mode="enforcing", type="default", policy_present=True, marker="m_t", source="s", in_store=True,
        in_policy=True, in_kernel=True, effective=True, module_present=True,
    ),
    agent=AgentFacts(
        installed=True,
        dispatcher_setting="1",
        service=Service("qualys-cloud-agent", present=True, enabled=True),
        main=Process(600, 1, "qualys-cloud-ag", 300.0),
        edr=Process(601, 600, "qualys-edr", 300.0, 0),
        plugin=Process(602, 500, "edr-plugin", 300.0, 0),
        registration="/etc/audit/plugins.d/edr.conf",
        manifests=1,
        log="/var/log/qualys/edr.log",
        log_size=10,
        script_log="/var/log/qualys/edr-script.log",
        setting_line="/etc/qualys/cloud-agent/qualys-cloud-agent.conf:1",
    ),
)  # fmt: skip
AUDISPD = Stat("/sbin/audispd", 0o100750, 0, 0.0, 1)
SYSTEMD = {**READY.commands, "systemctl": "/usr/bin/systemctl"}
GUARDED = frozenset({PROGRAM, *GUARD, *GUARD_UNITS.values()})


def facts(where: str = "", **values: Any) -> Facts:
    """The ready host with some values changed, in itself or in one of its parts."""
    return READY._replace(**{where: getattr(READY, where)._replace(**values)}) if where else READY._replace(**values)


def rules(*texts: str) -> Facts:
    """The ready host with these rule files."""
    return facts("audit", rules=tuple(File(f"/etc/audit/rules.d/{n}.rules", text) for n, text in enumerate(texts)))


def conf(text: str, generation: int = 3, **values: Any) -> Facts:
    """The ready host with this auditd.conf."""
    return facts("audit", conf=File(CONF, text, 100.0), generation=generation, **values)


def find(which: str, host: Facts, **settings: Any) -> Finding:
    """The finding of one requirement."""
    return next(f for f in engine.plan(host, PROFILE, Settings(**settings)) if f.id == which)


def test_the_ready_host_is_ready() -> None:
    findings = engine.plan(READY, PROFILE, Settings())
    assert {f.id: f.status for f in findings if f.status is not Status.OK} == {
        "guard": Status.SKIPPED, "delivery": Status.SKIPPED,
    }  # fmt: skip
    assert report.verdict(findings) == "ready"
    assert not [f.warnings for f in findings if f.warnings]


STATUS = {"enabled": 1, "failure": 1, "pid": 500, "backlog_limit": 8192, "lost": 0}
BARE = facts("selinux", mode="absent")._replace(commands={})  # neither SELinux nor any command
NO_FILE = File("/etc/audit/audit.rules", problem="a directory where a file should be")
LINE = "dispatcher = /sbin/audispd\n"
MALFORMED = f"{AUDITD_CONF}dispatcher=/sbin/audispd\n"
HINDERED = Obstacle("/etc/systemd/system/auditd.service -> /dev/null", "auditd is masked", "systemctl unmask auditd")
FOREIGN = Obstacle(f"{CONF} belongs to uid 7", "auditd refuses such a file", f"chown root {CONF}; chmod o-w {CONF}")
LATER = Obstacle("/etc/default/grub:1: audit=0", "auditing is off at the next boot", "take it out", certain=False)
REFUSED, UNASKED = Answer(False, "it is wrong", 3), Answer(None, "no setpriv")
CASES = [
    # packages
    ("packages", facts(commands={}), {}, Status.BLOCKED, "no package for checkmodule"),
    ("packages", facts("selinux", mode="disabled"), {}, Status.OK, "SELinux is off"),
    ("packages", BARE, {}, Status.CHANGE, "auditd, auditctl, augenrules"),
    ("packages", BARE, {"install": False}, Status.BLOCKED, "--no-install"),
    # dispatcher
    ("dispatcher", facts("audit", generation=0), {}, Status.WAITING, "not installed yet"),
    ("dispatcher", facts("audit", conf=None), {}, Status.BLOCKED, "auditd.conf is missing"),
    ("dispatcher", facts("audit", conf=File(CONF, problem="a directory where a file should be")), {}, Status.BLOCKED,
     "a directory"),
    ("dispatcher", conf(AUDITD_CONF), {}, Status.CHANGE, "not in force"),
    ("dispatcher", conf(AUDITD_CONF), {"dispatcher_line": "auto"}, Status.OK, "by itself"),
    ("dispatcher", conf(MALFORMED), {"dispatcher_line": "auto"}, Status.CHANGE, "force"),
    ("dispatcher", conf(f"{AUDITD_CONF}dispatcher = /sbin/other\n"), {}, Status.BLOCKED, "another product"),
    ("dispatcher", conf("bogus = 1\n"), {}, Status.BLOCKED, "auditd refuses"),
    ("dispatcher", conf(f"{AUDITD_CONF}{LINE}dispatcher: /sbin/audispd\n"), {}, Status.BLOCKED, "auditd refuses"),
    ("dispatcher", conf(f"{AUDITD_CONF}{LINE}dispatchers = x\n"), {}, Status.BLOCKED, "auditd refuses"),
    ("dispatcher", conf(f"{AUDITD_CONF}{LINE}dispatcher /sbin/audispd\n"), {}, Status.BLOCKED, "auditd refuses"),
    ("dispatcher", conf(f"{AUDITD_CONF}{LINE}bogus = 1\n", preflight=Answer(True)), {}, Status.OK, "by itself"),
    ("dispatcher", conf(f"{AUDITD_CONF}dispatcher = /opt/audispd\n", 2), {}, Status.BLOCKED, "/opt/audispd: is"),
    ("dispatcher", conf(AUDITD_CONF, 2), {}, Status.BLOCKED, "/sbin/audispd: is missing"),
    ("dispatcher", conf(AUDITD_CONF, 2, audispd=AUDISPD._replace(mode=0o100770)), {}, Status.BLOCKED, "mode 0770"),
    ("dispatcher", conf(AUDITD_CONF, 2, audispd=AUDISPD._replace(uid=7)), {}, Status.BLOCKED, "uid 7"),
    ("dispatcher", conf(AUDITD_CONF, 2, audispd=AUDISPD), {"dispatcher_line": "auto"}, Status.CHANGE, "not in force"),
    ("dispatcher", facts("audit", plugin_dir_present=False), {}, Status.BLOCKED, "plugin directory"),
    ("dispatcher", READY, {"mode": "direct"}, Status.SKIPPED, "direct mode"),
    # rules
    ("rules", rules("-e 2\n"), {}, Status.CHANGE, "freeze"),
    ("rules", rules("-D\n", "-a task,never\n"), {}, Status.CHANGE, "freeze or silence"),
    ("rules", rules("-a never,exit -S close\n-a never,user\n# -e 2\n"), {}, Status.OK, "nothing freezes"),
    ("rules", facts("audit", status={**STATUS, "enabled": 2}), {}, Status.REBOOT, "next boot"),
    ("rules", facts("audit", status={**STATUS, "enabled": 0}), {}, Status.BLOCKED, "disabled in the kernel"),
    ("rules", facts("audit", live_rules=("-a never,task",)), {}, Status.CHANGE, "silence"),
    ("rules", facts("audit", status=None), {}, Status.BLOCKED, "does not say"),
    ("rules", facts("audit", live_rules=None), {}, Status.BLOCKED, "does not say"),
    ("rules", facts("audit", rules=(NO_FILE,)), {}, Status.BLOCKED, "a dir"),
    # policy
    ("policy", facts("selinux", mode="absent"), {}, Status.SKIPPED, "left that way"),
    ("policy", facts("selinux", policy_present=False), {}, Status.SKIPPED, "no base policy"),
    ("policy", facts(commands={"auditd": "x"}), {}, Status.WAITING, "not installed yet"),
    ("policy", facts("selinux", in_store=False, module_present=False, effective=False), {}, Status.CHANGE,
     "not in the store"),
    ("policy", facts("selinux", in_store=False, module_present=False), {}, Status.OK, "without a module of ours"),
    ("policy", facts("selinux", in_store=False), {}, Status.CHANGE, "is stale"),
    ("policy", facts("selinux", in_kernel=False), {}, Status.CHANGE, "loaded policy differ"),
    ("policy", facts("selinux", module_disabled=True, effective=False), {}, Status.BLOCKED,
     "disabled by an administrator"),
    ("policy", facts("selinux", module_disabled=True, in_kernel=False), {}, Status.OK, "granted by the kernel"),
    ("policy", facts("selinux", foreign=("x",), folder="/f"), {}, Status.BLOCKED, "/f has a label"),
    ("policy", facts("selinux", unconnected=("x",)), {}, Status.BLOCKED, "let the agent connect"),
    ("policy", facts("selinux", in_store=False, load_locked=True), {}, Status.BLOCKED, "secure_mode_policyload"),
    ("policy", facts("selinux", in_store=False, read_only="/etc/selinux"), {}, Status.BLOCKED, "read-only"),
    ("policy", facts("selinux", effective=False, denied=("x",)), {}, Status.BLOCKED, "still denies"),
    ("policy", facts("selinux", effective=None), {}, Status.OK, "could not be asked"),
    ("policy", facts("selinux", mislabelled=("/x",)), {}, Status.CHANGE, "labels"),
    ("policy", facts("selinux", mode="permissive"), {}, Status.OK, "permissive"),
    # auditd
    ("auditd", facts("audit", daemon=None), {}, Status.CHANGE, "not running"),
    ("auditd", facts("audit", conf_since=201.0), {}, Status.CHANGE, "before auditd.conf last changed"),
    ("auditd", facts("audit", pid_file=99.0), {}, Status.CHANGE, "before auditd.conf last changed"),
    ("auditd", facts("audit", status={**STATUS, "pid": 77}, owner=""), {}, Status.CHANGE, "does not send it events"),
    ("auditd", facts("audit", owner="auditbeat"), {}, Status.BLOCKED, "auditbeat holds"),
    ("auditd", facts("audit", service=Service("auditd", present=True)), {}, Status.CHANGE, "not enabled at boot"),
    ("auditd", facts("agent", plugin=None), {}, Status.CHANGE, "given up"),
    ("auditd", facts("agent", dispatcher_setting="0"), {}, Status.BLOCKED, "needs auditd stopped"),
    ("auditd", facts("agent", dispatcher_setting="0"), {"mode": "direct"}, Status.CHANGE, "stopped and disabled"),
    ("auditd", facts("audit", obstacles=(HINDERED,)), {}, Status.BLOCKED, "auditd is masked"),
    ("auditd", facts("audit", obstacles=(FOREIGN,)), {}, Status.BLOCKED, "auditd refuses such a file"),
    ("auditd", facts("audit", obstacles=(HINDERED,), generation=0), {}, Status.BLOCKED, "auditd is masked"),
    ("auditd", facts("audit", obstacles=(LATER,)), {}, Status.OK, "auditd runs"),
    ("auditd", facts("audit", daemon=None, obstacles=(LATER,)), {}, Status.CHANGE, "not running"),
    ("auditd", facts("audit", daemon=None, obstacles=(HINDERED,)), {"mode": "direct"}, Status.CHANGE, "direct"),
    ("auditd", facts("audit", daemon=None, preflight=REFUSED), {}, Status.BLOCKED, "not restarted: it is wrong"),
    ("auditd", facts("audit", preflight=REFUSED), {}, Status.BLOCKED, "not restarted: it is wrong"),
    ("auditd", facts("audit", daemon=None, preflight=Answer(True)), {}, Status.CHANGE, "not running"),
    ("auditd", facts("audit", daemon=None, preflight=UNASKED), {}, Status.CHANGE, "not running"),
    ("auditd", conf("freq = x\n", daemon=None, preflight=UNASKED), {}, Status.BLOCKED, "would not start"),
    # agent
    ("agent", facts(agent=AgentFacts()), {}, Status.SKIPPED, "no agent"),
    ("agent", facts("agent", legacy=True), {}, Status.BLOCKED, "older than 4.1"),
    ("agent", facts("agent", main=None), {}, Status.CHANGE, "not running"),
    ("agent", facts("agent", main=Process(600, 1, "q", 100.0)), {}, Status.OK, "run"),
    ("agent", facts("agent", edr=Process(601, 600, "qualys-edr", 150.0, 0)), {}, Status.CHANGE, "none of the rules"),
    ("agent", facts("agent", edr=None, plugin=None), {}, Status.BLOCKED, "qualys-edr is not running"),
    ("agent", facts("agent", edr=None, plugin=None, manifests=0), {}, Status.OK, "prepared"),
    ("agent", facts("agent", edr=Process(601, 600, "qualys-edr", 300.0, 1000)), {}, Status.BLOCKED, "uid 1000"),
    ("agent", facts("agent", plugin=None), {}, Status.WAITING, "has not started edr-plugin"),
    ("agent", facts("agent", plugin=None, registration=""), {}, Status.BLOCKED, "no plugin file names it"),
    ("agent", facts("audit", daemon=None), {}, Status.WAITING, "not running yet"),
    # guard
    ("guard", facts(), {"guard": True}, Status.SKIPPED, "no systemd"),
    ("guard", facts(commands=SYSTEMD), {"guard": True}, Status.CHANGE, "not installed, or not enabled"),
    ("guard", facts(commands=SYSTEMD, prepared=GUARDED), {"guard": True}, Status.OK, "installed and enabled"),
    ("guard", facts(commands=SYSTEMD, prepared=GUARDED - {PROGRAM}), {"guard": True}, Status.CHANGE, "not installed"),
    # delivery
    ("delivery", facts(delivery=Delivery((Hop("edr.log", "ok"),))), {}, Status.OK, "arrived"),
    ("delivery", facts(delivery=Delivery((Hop("auditd", "stop"),))), {}, Status.FAILED, "stopped at auditd"),
    ("delivery", facts(delivery=Delivery((Hop("auditd", "ok"), Hop("edr.log", "?")))), {}, Status.WAITING, "proven"),
    ("delivery", facts(delivery=Delivery(refused="failure is 2")), {}, Status.SKIPPED, "failure is 2"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "host", "settings", "status", "said"), CASES, ids=[f"{c[0]}: {c[4]}" for c in CASES])
def test_finding(which: str, host: Facts, settings: dict[str, Any], status: Status, said: str) -> None:
    finding = find(which, host, **settings)
    assert finding.status is status, finding
    assert said in finding.summary
    assert (finding.status is Status.CHANGE) == bool(finding.changes)
    assert finding.remedy or status not in (Status.BLOCKED, Status.REBOOT)


@pytest.mark.parametrize(
    ("which", "host", "said"),
    [
        ("rules", rules("-f 2\n"), "failure mode 2"),
        ("rules", rules("-a never,task -F uid=7\n"), "blinds FIM for processes that start with uid=7"),
        ("rules", rules("# Ansible managed\n-D\n"), "is generated by Ansible: change the role or template that"),
        ("rules", rules("-w /x\t-p wa\n-e\t2\n"), "has no effect as written"),
        ("rules", facts("audit", status={**STATUS, "failure": 2}), "panics"),
        ("rules", facts("audit", status={**STATUS, "backlog_limit": 64}), "backlog_limit 64"),
        ("rules", facts("audit", status={**STATUS, "lost": 3}), "3 audit events were lost"),
        ("dispatcher", facts("agent", registration_problem="active = no"), "active = no"),
        ("auditd", facts("audit", obstacles=(LATER,)), "/etc/default/grub:1: audit=0: auditing is off"),
        ("policy", facts("selinux", denials=("avc: denied",)), "denied since auditd started"),
        ("agent", facts("agent", dispatcher_setting="unset"), "UseAuditDispatcher is unset"),
        ("agent", facts("agent", settings_repeated=True), "more than once"),
        ("agent", facts("agent", manifests=0), "no FIM profile"),
        ("agent", facts("agent", service=Service("qualys-cloud-agent", present=True)), "not enabled at boot"),
    ],
)
def test_warning(which: str, host: Facts, said: str) -> None:
    finding = find(which, host)
    assert any(said in warning for warning in finding.warnings), finding
    assert finding.status is Status.OK


def test_an_agent_that_lacks_something_does_not_keep_the_host_from_being_prepared() -> None:
    host = rules("-e 2\n")._replace(agent=READY.agent._replace(edr=Process(601, 600, "qualys-edr", 300.0, 1000)))
    assert report.verdict(engine.plan(host, PROFILE, Settings())) == "blocked"
    held = [f.id for f in engine.plan(host, PROFILE, Settings()) if f.status is Status.BLOCKED]
    assert held == ["agent"]
    assert set(held) <= set(engine.NEVER_BLOCKING)


def test_no_event_is_caused_where_an_audit_failure_would_panic_the_kernel() -> None:
    from fim_bootstrap.host.live import LiveHost
    from fim_bootstrap.probe import probe

    delivery = probe(LiveHost("/nowhere"), facts("audit", status={**STATUS, "failure": 2}), Settings())
    assert delivery
    assert "failure is 2" in delivery.refused
    assert not facts("audit", status={**STATUS, "failure": 2}).audit.may_cause_event
    (restart,) = find("auditd", facts("agent", plugin=None)).changes
    assert getattr(restart, "may_wake", None) is True


def test_what_an_unprivileged_user_cannot_see_is_not_called_ready() -> None:
    unread = File(CONF, problem="cannot be read: Permission denied")
    blind = READY._replace(privileged=False, audit=READY.audit._replace(conf=unread))
    assert report.verdict(engine.plan(blind, PROFILE, Settings())) == "not-ready"


def test_a_restart_that_the_agent_could_not_make_blocks_until_its_plugin_runs() -> None:
    """Whatever the packages may still bring is waited for."""
    seen = facts("audit", restart_problem="service(8) is missing")
    assert any("at its next start" in line for line in find("auditd", seen).warnings)
    seen = seen._replace(agent=AgentFacts())
    assert "could not restart auditd" in find("auditd", seen).summary
    assert find("auditd", seen).status is Status.BLOCKED
    bare = seen._replace(commands={})
    (found,) = (item for item in engine.plan(bare, PROFILE, Settings()) if item.id == "auditd")
    assert (found.status, found.waits_for) == (Status.WAITING, "packages")


@pytest.mark.parametrize(("line", "state"), [("dispatcher = /sbin/audispd\n", chain.UNKNOWN), ("", chain.STOP)])
def test_audit_2_has_the_dispatcher_that_its_configuration_names(line: str, state: str) -> None:
    seen = conf(f"{AUDITD_CONF}{line}", generation=2)._replace(agent=READY.agent._replace(plugin=None))
    (hop,) = (hop for hop in chain.of(seen, Settings()) if hop.hop == chain.DISPATCHER)
    assert hop.state == state


STATUS_2 = {**STATUS, "enabled": 2}


@pytest.mark.parametrize(("where", "values", "hop", "state", "evidence"), [
    ("audit", {"status": None}, "kernel", "?", "its audit state could not be asked"),
    ("audit", {"status": {**STATUS, "enabled": 0}}, "kernel", "stop", "auditing is off (enabled 0)"),
    ("audit", {"live_rules": ("-a never,task",)}, "kernel", "stop", "the rule never,task silences new processes"),
    ("audit", {"status": STATUS_2}, "kernel", "ok", "enabled 2"),
    ("audit", {"daemon": None}, "auditd", "stop", "not running"),
    ("audit", {"daemon": None}, "dispatcher", "down", "auditd is not running"),
    ("audit", {"status": None}, "auditd", "?", "pid 500; whether the kernel sends to it could not be asked"),
    ("audit", {"status": {**STATUS, "pid": 7}}, "auditd", "stop", "pid 500; the kernel does not send to it"),
    ("audit", {}, "auditd", "ok", "pid 500; the kernel sends to it"),
    ("audit", {"plugin_dir_present": False}, "dispatcher", "stop", "/etc/audit/plugins.d is missing"),
    ("audit", {"generation": 2}, "dispatcher", "ok", "plugins in /etc/audit/plugins.d"),
    ("agent", {}, "edr-plugin", "ok", "pid 602"),
    ("agent", {"plugin": None}, "edr-plugin", "stop", "not running; registered in /etc/audit/plugins.d/edr.conf"),
    ("agent", {"plugin": None, "registration": ""}, "edr-plugin", "stop", "not running; not registered"),
    ("agent", {"plugin": None, "registration_problem": "x"}, "edr-plugin", "stop", "not running; x"),
    ("agent", {"plugin": None, "edr": None}, "qualys-edr", "down", "not running"),
    ("agent", {"edr": None}, "qualys-edr", "stop", "not running"),
    ("agent", {"installed": False}, "qualys-edr", "stop", "no agent is installed"),
    ("agent", {"installed": False, "plugin": None}, "edr-plugin", "stop", "no agent is installed"),
    ("agent", {"log_size": -1}, "edr.log", "?", "not there, or not to be seen"),
    ("agent", {"log_written": 300.0}, "edr.log", "ok", "last written 0 s ago"),
    ("agent", {"log_written": 299.0}, "edr.log", "?", "last written 0 s ago"),
    ("agent", {"edr": None, "log_written": 300.0}, "edr.log", "?", "last written 0 s ago"),
])  # fmt: skip
def test_a_station_says_what_it_is_judged_by(
    where: str, values: dict[str, Any], hop: str, state: str, evidence: str
) -> None:
    (found,) = (one for one in chain.of(facts(where, **values), Settings()) if one.hop == hop)
    assert (found.state, found.evidence) == (state, evidence)


def test_no_station_is_told_of_a_tree_and_those_between_only_where_they_are_passed() -> None:
    assert chain.of(READY._replace(environment=Environment.OFFLINE), Settings()) == ()
    assert [hop.hop for hop in chain.of(READY, Settings(mode="direct"))] == ["kernel", "qualys-edr", "edr.log"]
    aged = facts("agent", log_written=300.0)._replace(now=312.4)
    assert chain.of(aged, Settings())[-1].evidence == "last written 12 s ago"
    frozen = facts("audit", status=STATUS_2)._replace(agent=READY.agent._replace(edr=None))
    assert chain.of(frozen, Settings())[0].evidence == "rules are frozen (enabled 2): the agent cannot add its own"


def test_a_user_waits_for_root_to_judge_an_agent_that_does_not_run() -> None:
    found = find("agent", facts("agent", edr=None, plugin=None)._replace(privileged=False))
    assert (found.status, found.remedy) == (Status.WAITING, "run as root, to see what is known of it")


@pytest.mark.parametrize("refuses", [True, False])
def test_auditd_is_restarted_as_its_unit_lets_it(refuses: bool) -> None:
    service = Service("auditd", present=True, enabled=True, refuses_stop=refuses)
    found = find("auditd", facts("audit", service=service, conf_since=300.0))
    (change,) = (change for change in found.changes if isinstance(change, RestartService))
    assert (change.name, change.pid, change.refuses_stop) == ("auditd", 500, refuses)
    assert change.children == ("edr-plugin",)


@pytest.mark.parametrize("refuses", [True, False])
def test_direct_mode_stops_auditd_as_its_unit_lets_it(refuses: bool) -> None:
    service = Service("auditd", present=True, enabled=True, refuses_stop=refuses)
    found = find("auditd", facts("audit", service=service)._replace(agent=READY.agent._replace(dispatcher_setting="0")),
                 mode="direct")  # fmt: skip
    assert found.changes == (StopService("auditd", 500, refuses),)


def test_labels_come_last_and_by_the_trees_own_contexts() -> None:
    tree = facts("selinux", file_contexts="/c")._replace(environment=Environment.OFFLINE)
    able = tree._replace(commands={**tree.commands, "setfiles": "/sbin/setfiles"})
    change = CreateFiles({"/x": ""})
    assert prepared(able, Settings(root="/t", skip=()), [change], False)[-1] == LabelTree("/c")
    assert not [one for one in prepared(tree, Settings(root="/t"), [change], False) if isinstance(one, LabelTree)]


def test_a_first_boot_waits_for_the_network_only_where_packages_are_left_to_it() -> None:
    settings = Settings(root="/t", first_boot=True, skip=("packages",))
    tree = facts(environment=Environment.OFFLINE, prepared=frozenset({PRESET, PROGRAM, *FIRST_BOOT}))
    bare = tree._replace(commands={}, audit=AuditFacts())
    for found, chosen, written in (
        (tree, settings, None),
        (bare, settings, "After=network-online.target time-sync.target"),
        (bare._replace(prepared=bare.prepared | {FIRST_BOOT_NETWORK}), settings, None),
        (tree._replace(prepared=tree.prepared | {FIRST_BOOT_NETWORK}), settings, "# nothing is fetched"),
        (bare, settings._replace(skip=()), None),
        (bare, settings._replace(first_boot=False), None),
        (
            tree._replace(prepared=tree.prepared | {FIRST_BOOT_NETWORK}, edited=frozenset((FIRST_BOOT_NETWORK,))),
            settings,
            None,
        ),
    ):
        finding = auditd.assess(found, PROFILE, chosen)
        texts = [change.texts for change in finding.changes if isinstance(change, CreateFiles)]
        files = {path: text for table in texts for path, text in table.items()}
        assert (FIRST_BOOT_NETWORK in files) == (written is not None), finding
        assert written is None or written in files[FIRST_BOOT_NETWORK]
        assert bool(finding.warnings) is bool(found.edited)
