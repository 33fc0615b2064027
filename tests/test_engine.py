"""Convergence on a machine of dictionaries: what is restarted, how often, and what is told where a step fails."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fim_bootstrap import cli, engine, report, session
from fim_bootstrap.agent import vendor
from fim_bootstrap.audit import auditd_conf
from fim_bootstrap.audit.service_restart import ACTIONS
from fim_bootstrap.changes import journal
from fim_bootstrap.engine import Failure, Outcome
from fim_bootstrap.errors import Blocked, BootstrapError, Busy
from fim_bootstrap.facts import audit, commands, system
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.host.reader import Output
from fim_bootstrap.model import Environment, Facts, Finding, OsRelease, Profile, Settings, Status
from fim_bootstrap.requirements import REQUIREMENTS
from tests.conftest import AUDITD_CONF, PROGRAMS, RULES
from tests.dict_host import BOOT, DictHost
from tests.test_requirements import READY

PACKAGES = {**dict.fromkeys(commands.AUDIT_COMMANDS, ("auditd",)), "pkill": ("procps",),
            "checkmodule": ("checkpolicy",)}  # fmt: skip
PROFILE = Profile("debian-12", "Debian 12", managers=("apt",), packages=PACKAGES)
LINE = "dispatcher = /sbin/audispd\n"
CONF = auditd_conf.PATH
MOUNTS = "25 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
SCRIPT = f"{vendor.ROOT}/bin/start.sh"
FIM = "auditd.service", "qualys-cloud-agent.service"


class Machine:
    """A host with auditd and an agent that are started, restarted and asked as the real ones are."""

    def __init__(self, host: DictHost) -> None:
        self.host = host
        self.pid = 1000
        self.enabled = 1
        self.silenced = False  # by never,task
        self.watched = False  # the agent has added its rules
        self.refuses_stop = "no"
        self.refuses = ""  # what auditd says of its configuration
        self.starts: Callable[[str], bool] = lambda _: True  # whether auditd comes up with this configuration
        for name in PROGRAMS:
            host.programs(name)
        host.programs("systemctl", "service", "setpriv", "unshare", "kill", "dpkg", "apt-get")
        host.folder("/run/systemd/system")
        host.folder("/etc/audit/plugins.d")
        host.folder("/var/log/audit")
        host.write("/proc/1/comm", "systemd\n")
        for process in ("1", "self"):
            host.write(f"/proc/{process}/mountinfo", MOUNTS)
        host.write(CONF, AUDITD_CONF + LINE, mtime=BOOT)
        host.write("/etc/audit/rules.d/audit.rules", RULES)
        host.process(500, "auditd", started=BOOT + 10)
        host.answers.update({
            "systemctl show": self.show, "systemctl is-system-running": "running\n", "systemctl restart": self.restart,
            "systemctl start": self.restart, "service": self.restart, "kill": self.kill, "unshare": self.preflight,
            "auditctl -s": self.status, "auditctl -l": self.rules, "auditctl -d": self.delete,
        })  # fmt: skip

    def agent(self, restarts_auditd: bool = False) -> None:
        """An agent whose parts run, in the order in which they started."""
        host = self.host
        host.write(vendor.CONF, "UseAuditDispatcher=1\n")
        host.write(f"{vendor.ROOT}/fim/manifests/1.json")
        host.write("/var/log/qualys/edr.log", "x")
        host.write(SCRIPT, "service auditd restart\n" if restarts_auditd else "echo\n")
        host.write(vendor.PLUGIN_PROGRAM, mode=0o750)
        host.write("/etc/audit/plugins.d/edr.conf", f"active = yes\npath = {vendor.PLUGIN_PROGRAM}\n")
        host.process(600, "qualys-cloud-agent", started=BOOT + 20)
        host.process(601, "qualys-edr", parent=600, started=BOOT + 21)
        host.process(602, "edr-plugin", parent=500, started=BOOT + 22)
        self.watched = True

    def selinux(self) -> None:
        """SELinux is enforcing."""
        self.host.write("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=default\n")
        self.host.write("/sys/fs/selinux/enforce", "1")
        self.host.write("/sys/fs/selinux/policyvers", "33")

    def running(self, name: str) -> int:
        """The pid of a process, or 0."""
        found = [path for path in self.host.nodes if path.endswith("/comm") and
                 (self.host.read_bytes(path) or b"").decode().strip() == name[:15]]  # fmt: skip
        return int(found[0].split("/")[2]) if found else 0

    def start(self, name: str, parent: int = 1) -> int:
        """Start a process anew."""
        if old := self.running(name):
            self.host.end(old)
        self.pid += 1
        self.host.now += 1
        self.host.process(self.pid, name, parent=parent, started=self.host.now)
        return self.pid

    def restart(self, host: DictHost, argv: tuple[str, ...]) -> int:
        """Systemctl restart, or service."""
        if any(word.startswith("qualys-cloud-agent") for word in argv):
            main = self.start("qualys-cloud-agent")
            if host.holds(SCRIPT, b"auditd restart"):
                self._auditd()
                self._auditd()
            self.start("qualys-edr", main)
            self.watched = True
            return 0
        return self._auditd()

    def _auditd(self) -> int:
        self.watched = False  # the rule files begin with -D
        texts = [self.host.read_bytes(path) or b"" for path in self.host.glob("/etc/audit/rules.d/*.rules")]
        self.silenced = any(text.startswith(b"-a task,never") for text in texts)
        for name in ("auditd", "edr-plugin"):
            self.host.end(self.running(name)) if self.running(name) else None
        file = self.host.read(CONF)
        if not file or not self.starts(file.text):
            return 1
        daemon = self.start("auditd")
        if self.host.stat("/etc/audit/plugins.d/edr.conf"):
            self.start("edr-plugin", daemon)
        return 0

    def kill(self, host: DictHost, argv: tuple[str, ...]) -> int:
        """Kill -TERM PID."""
        host.end(int(argv[-1]))
        return 0

    def status(self, host: DictHost, argv: tuple[str, ...]) -> str:
        """Auditctl -s."""
        return f"enabled {self.enabled}\nfailure 1\npid {self.running('auditd')}\nbacklog_limit 8192\nlost 0\n"

    def rules(self, host: DictHost, argv: tuple[str, ...]) -> str:
        """Auditctl -l."""
        found = ["-a never,task"] * self.silenced + ["-w /srv/watched -p wa -k fim"] * self.watched
        return "".join(f"{rule}\n" for rule in found or ["No rules"])

    def delete(self, host: DictHost, argv: tuple[str, ...]) -> int:
        """Auditctl -d never,task."""
        self.silenced = False
        return 0

    def show(self, host: DictHost, argv: tuple[str, ...]) -> str:
        """Systemctl show."""
        unit = "Id={}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nRefuseManualStop={}\n"
        units = FIM if host.stat(vendor.CONF) else FIM[:1]
        return "\n".join(unit.format(name, self.refuses_stop) for name in units)

    def preflight(self, host: DictHost, argv: tuple[str, ...]) -> Output:
        """Auditd in namespaces of its own."""
        said = self.refuses or "Cannot change priority (Operation not permitted)"
        return Output(argv, 6 if self.refuses else 1, "", f"{said}\nThe audit daemon is exiting.\n")

    def apply(self, **settings: Any) -> Outcome:
        """Converge."""
        chosen = Settings(**settings)

        def look() -> Facts:
            found = gather(self.host, PROFILE, chosen, OsRelease("debian", "12"))
            return engine.asked(self.host, found, PROFILE, chosen)

        return engine.converge(self.host, look, PROFILE, chosen, lambda *_: contextlib.nullcontext(), lambda *_: None)

    def restarts(self) -> list[str]:
        """What was restarted or started, in order."""
        words = ("systemctl restart", "systemctl start", "service")
        return [line.split()[-1].partition(".")[0] for line in self.host.done if line.startswith(words)]

    def change_conf(self, text: str = AUDITD_CONF + LINE) -> None:
        """An administrator edits auditd.conf."""
        self.host.write(CONF, text)


@pytest.fixture
def machine(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A ready host without an agent."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return Machine(dict_host)


def test_a_ready_host_is_left_alone_and_auditd_is_not_asked(machine: Machine) -> None:
    machine.agent()
    outcome = machine.apply()
    assert report.verdict(outcome.findings) == "ready", outcome.findings
    assert (outcome.done, machine.host.done) == ((), [])
    assert not [line for line in machine.host.asked if line.startswith("unshare")]


@pytest.mark.parametrize(
    ("cause", "agent", "takes_along", "expected"),
    [
        ("conf", False, False, ["auditd"]),
        ("conf", True, False, ["auditd", "qualys-cloud-agent"]),
        ("conf", True, True, ["qualys-cloud-agent"]),
        ("never,task", False, False, []),
        ("never,task", True, False, []),
        ("never,task, conf", True, False, ["auditd", "qualys-cloud-agent"]),
        ("never,task, conf", True, True, ["qualys-cloud-agent"]),
        ("down", True, True, ["qualys-cloud-agent"]),
        ("down", True, False, ["auditd", "qualys-cloud-agent"]),
        ("down, never,task", False, False, ["auditd"]),
        ("agent down", True, True, ["qualys-cloud-agent"]),
        ("agent down, conf", True, True, ["qualys-cloud-agent"]),
        ("agent down, conf", True, False, ["auditd", "qualys-cloud-agent"]),
        ("plugin", True, False, ["auditd", "qualys-cloud-agent"]),
        ("plugin", True, True, ["qualys-cloud-agent"]),
    ],
)
def test_each_service_is_restarted_once_at_most_and_last(
    machine: Machine, cause: str, agent: bool, takes_along: bool, expected: list[str]
) -> None:
    if agent:
        machine.agent(takes_along)
    if "never,task" in cause:
        machine.silenced = True
        machine.host.write("/etc/audit/rules.d/no.rules", "-a task,never\n")
    if "conf" in cause:
        machine.change_conf()
    if cause.startswith("down"):
        machine.host.end(500)
        machine.host.end(602)
    if "agent down" in cause:
        for pid in (600, 601, 602):
            machine.host.end(pid)
    if cause == "plugin":
        machine.host.end(602)
    outcome = machine.apply()
    assert machine.restarts() == expected, outcome
    assert report.verdict(outcome.findings) == "ready", outcome.findings
    changing = [line for line in machine.host.done if not line.startswith("append")]
    edits = [number for number, line in enumerate(changing) if line.startswith(("replace", "auditctl -d"))]
    first = min((n for n, line in enumerate(changing) if "systemctl restart" in line), default=len(changing))
    assert max(edits, default=-1) < first


@pytest.mark.parametrize("legacy", [True, False])
def test_an_agent_whose_restart_of_auditd_systemd_refuses_does_not_stand_in_for_ours(
    machine: Machine, legacy: bool
) -> None:
    """`service auditd restart` needs the legacy action of the audit package, where the unit refuses a stop."""
    machine.agent(restarts_auditd=True)
    machine.change_conf()
    machine.refuses_stop = "yes"
    machine.host.write("/usr/sbin/service", f'[ -x "{ACTIONS[0]}/$1/$2" ] && exec "{ACTIONS[0]}/$1/$2"\n', mode=0o755)
    if legacy:
        machine.host.write(f"{ACTIONS[0]}/auditd/restart", "#!/bin/sh\n/sbin/auditctl --signal stop\n", mode=0o755)
        machine.host.write("/sbin/auditctl", mode=0o755)
    machine.apply()
    assert machine.restarts() == (["qualys-cloud-agent"] if legacy else ["auditd", "qualys-cloud-agent"])


def test_an_agent_without_fim_restarts_no_auditd(machine: Machine) -> None:
    machine.agent(restarts_auditd=True)
    machine.change_conf()
    machine.host.end(601)
    del machine.host.nodes[f"{vendor.ROOT}/fim/manifests/1.json"]
    machine.apply()
    assert machine.restarts()[0] == "auditd"


def test_an_agent_is_waited_for_until_its_fim_part_is_there(machine: Machine) -> None:
    machine.agent(restarts_auditd=True)
    for pid in (600, 601, 602):
        machine.host.end(pid)
    begun, late = machine.host.now, []

    def restart(host: DictHost, argv: tuple[str, ...]) -> int:
        machine.start("qualys-cloud-agent")
        late.append(host.now + 100)
        return 0

    sleep = machine.host.sleep

    def pass_by(seconds: float) -> None:
        sleep(seconds)
        if late and machine.host.now > late[0] and not machine.running("qualys-edr"):
            machine.restart(machine.host, ("systemctl", "restart", "auditd.service"))
            machine.start("qualys-edr", machine.running("qualys-cloud-agent"))

    machine.host.answers["systemctl restart"] = restart
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", pass_by)
        outcome = machine.apply()
    assert machine.host.now - begun > 100
    assert report.verdict(outcome.findings) == "ready"


def test_what_a_restart_does_not_heal_is_not_restarted_again(machine: Machine) -> None:
    machine.agent()
    machine.host.end(602)
    del machine.host.nodes[SCRIPT]

    def restart(host: DictHost, argv: tuple[str, ...]) -> int:
        machine.restart(host, argv)
        machine.start("auditd")  # the plugin hangs below another one, and the agent is older again
        return 0

    machine.host.answers["systemctl restart"] = restart
    outcome = machine.apply()
    assert machine.restarts() == ["auditd", "qualys-cloud-agent"]
    assert report.exit_code("apply", outcome) == 1


def test_an_auditd_that_the_agents_start_left_down_is_started_and_told(machine: Machine) -> None:
    """Audit 4's own action for `service auditd restart` ends with 0, whether auditd came up or not."""
    machine.agent(restarts_auditd=True)
    machine.host.end(600)
    machine.host.end(601)

    def restart(host: DictHost, argv: tuple[str, ...]) -> int:
        machine.restart(host, argv)
        if any(word.startswith("qualys-cloud-agent") for word in argv):
            for name in ("auditd", "edr-plugin"):
                host.end(machine.running(name))
        return 0

    machine.host.answers["systemctl restart"] = restart
    outcome = machine.apply()
    assert machine.restarts() == ["qualys-cloud-agent", "auditd"]
    found = next(finding for finding in outcome.findings if finding.id == "auditd")
    assert (found.status, found.warnings) == (Status.OK, (engine.LEFT_DOWN,))


def test_an_agent_that_came_up_with_auditd_is_left_alone(machine: Machine) -> None:
    machine.agent()
    machine.change_conf()
    for pid in (600, 601, 602):
        machine.host.end(pid)

    def restart(host: DictHost, argv: tuple[str, ...]) -> int:
        machine.restart(host, argv)
        machine.start("qualys-edr", machine.start("qualys-cloud-agent"))
        return 0

    machine.host.answers["systemctl restart"] = restart
    assert report.verdict(machine.apply().findings) == "ready"
    assert machine.restarts() == ["auditd"]


@pytest.mark.parametrize("why", ["frozen", "silent"])
def test_an_agent_that_would_give_up_is_not_restarted(machine: Machine, why: str) -> None:
    machine.agent(restarts_auditd=True)
    for pid in (600, 601, 602):
        machine.host.end(pid)
    machine.change_conf()
    machine.enabled = 2 if why == "frozen" else 1
    if why == "silent":
        machine.silenced = True
        machine.host.write("/etc/audit/rules.d/no.rules", "-a task,never\n")
    outcome = machine.apply(skip=("rules",))
    assert machine.restarts() == ["auditd"]
    found = next(finding for finding in outcome.findings if finding.id == "agent")
    assert (found.status, found.changes) == (Status.WAITING, ())
    assert "give up" in found.summary


def test_auditd_is_not_restarted_with_what_it_refuses(machine: Machine) -> None:
    machine.agent()
    machine.change_conf(f"{AUDITD_CONF}{LINE}log_group = splunk\n")
    machine.host.write("/etc/audit/rules.d/lock.rules", "-e 2\n")
    machine.refuses = "Group ID is non-numeric and unknown (splunk) - line 21"
    outcome = machine.apply()
    assert (machine.host.done, outcome.changed) == ([], False)
    assert report.exit_code("apply", outcome) == 4
    found = next(finding for finding in outcome.findings if finding.id == "auditd")
    assert f"{CONF}:21: log_group = splunk" in found.evidence
    assert any("unknown (splunk)" in line for line in found.evidence)


def test_a_stopped_auditd_and_an_agent_that_is_due_are_asked_about_too(machine: Machine) -> None:
    machine.agent(restarts_auditd=True)
    machine.host.end(600)
    machine.refuses = "Unable to stat /opt/x (No such file or directory) - line 7"
    assert report.exit_code("apply", machine.apply()) == 4
    machine.host.end(500)
    assert report.exit_code("apply", machine.apply()) == 4
    assert machine.restarts() == []


def test_where_auditd_cannot_be_asked_the_restart_is_made_with_a_warning(machine: Machine) -> None:
    machine.change_conf()
    machine.host.answers["unshare"] = Output((), 1, "", "unshare: unshare failed: Operation not permitted")
    outcome = machine.apply()
    assert machine.restarts() == ["auditd"]
    assert any("could not be asked" in line for finding in outcome.findings for line in finding.warnings)
    machine.change_conf(f"{AUDITD_CONF}{LINE}action_mail_acct = x\n")
    assert report.exit_code("apply", machine.apply()) == 4
    assert machine.restarts() == ["auditd"]


def test_what_auditd_refuses_is_known_before_its_file_is_edited_though_no_restart_is_due(machine: Machine) -> None:
    """It would say the same of the new text (the log's folder is gone); an image alone is edited all the same."""
    machine.host.write(CONF, AUDITD_CONF, mtime=BOOT)
    machine.refuses = "Could not open dir /var/log/audit (No such file or directory)"
    del machine.host.nodes["/var/log/audit"]
    outcome = machine.apply()
    assert (report.exit_code("apply", outcome), outcome.changed, machine.host.done) == (4, False, [])
    (found,) = (item for item in outcome.findings if item.status is Status.BLOCKED)
    assert (found.id, machine.refuses in found.summary) == ("auditd", True)
    machine.refuses = ""
    assert report.exit_code("apply", machine.apply()) == 0
    assert machine.host.holds(CONF, LINE.encode())


def test_a_dispatcher_line_that_auditd_refuses_is_mended_although_auditd_is_down(machine: Machine) -> None:
    machine.change_conf(f"{AUDITD_CONF}dispatcher=/sbin/audispd\n")
    machine.host.end(500)
    asked: list[str] = []

    def answer(host: DictHost, argv: tuple[str, ...]) -> Output:
        asked.append(argv[8])
        return machine.preflight(host, argv)

    machine.host.answers["unshare"] = answer
    outcome = machine.apply()
    assert report.verdict(outcome.findings) == "ready"
    assert asked[0] == AUDITD_CONF + LINE
    assert asked[-1] == ""  # the file itself


def test_auditd_that_does_not_come_up_gets_its_file_back(machine: Machine) -> None:
    for name in ("/sbin/audispd", audit.PLUGIN_DIRS[2] + "/x"):
        machine.host.write(name, mode=0o755)  # audit 2: the line has an effect
    machine.change_conf(AUDITD_CONF)
    machine.starts = lambda text: LINE not in text
    outcome = machine.apply()
    file = machine.host.read(CONF)
    assert file
    assert file.text == AUDITD_CONF
    assert machine.running("auditd") > 1000
    assert report.exit_code("apply", outcome) == 1
    document = report.as_json("apply", outcome, PROFILE, Settings(), 0.1)
    assert "was put back as it was, and auditd runs again" in document["comment"]
    assert not [step for step in journal.entries(machine.host) if step["kind"] == "edit"]
    assert document["done"] == ["restart auditd (begun, not finished)"]


def test_auditd_that_comes_up_with_neither_is_told(machine: Machine) -> None:
    machine.host.write("/sbin/audispd", mode=0o755)
    machine.host.folder(audit.PLUGIN_DIRS[2])
    machine.change_conf(AUDITD_CONF)
    machine.starts = lambda _: False
    outcome = machine.apply()
    assert outcome.error
    assert "was put back, and then" in str(outcome.error)


def test_a_file_that_this_run_did_not_change_is_not_put_back(machine: Machine) -> None:
    machine.change_conf(AUDITD_CONF)
    machine.apply()  # an earlier run did
    assert [step["kind"] for step in journal.entries(machine.host)] == ["edit", "restart"]
    machine.host.sleep(5)
    machine.change_conf(f"{AUDITD_CONF}{LINE}freq = 7\n")
    machine.starts = lambda _: False
    outcome = machine.apply()
    assert outcome.error
    assert "put back" not in str(outcome.error)
    assert machine.host.holds(CONF, b"freq = 7")
    assert report.exit_code("apply", outcome) == 1


def test_a_restart_that_gives_no_new_process_is_a_failure(machine: Machine) -> None:
    machine.change_conf()
    machine.host.answers["systemctl restart"] = 0
    outcome = machine.apply()
    assert "did not come up" in str(outcome.error)


def test_the_second_look_fails_what_did_not_hold(machine: Machine) -> None:
    machine.host.write("/etc/audit/rules.d/no.rules", "-a task,never\n")
    machine.silenced = True
    machine.host.answers["auditctl -d"] = 0  # it lies
    outcome = machine.apply()
    found = next(finding for finding in outcome.findings if finding.id == "rules")
    assert (found.status, report.exit_code("apply", outcome)) == (Status.FAILED, 1)
    assert "still not right" in found.summary


def test_a_blocker_that_shows_after_a_change_is_a_failure_and_no_block(machine: Machine) -> None:
    machine.host.write("/etc/audit/rules.d/no.rules", "-e 2\n")

    def status(host: DictHost, argv: tuple[str, ...]) -> str:
        enabled = 0 if any(line.startswith("replace") for line in host.done) else 1
        return f"enabled {enabled}\nfailure 1\npid 500\nbacklog_limit 8192\nlost 0\n"

    machine.host.answers["auditctl -s"] = status
    outcome = machine.apply()
    assert report.verdict(outcome.findings) == "blocked"
    assert report.exit_code("apply", outcome) == 1
    assert report.exit_code("apply", outcome._replace(done=())) == 4


def test_a_run_that_was_stopped_before_its_first_change_has_changed_nothing(machine: Machine) -> None:
    machine.change_conf(AUDITD_CONF)
    machine.host.unwritable[CONF] = "Read-only file system"
    outcome = machine.apply()
    document = report.as_json("apply", outcome, PROFILE, Settings(), 0.1)
    assert (document["changed"], document["done"]) == (False, [])
    assert report.exit_code("apply", outcome) == 1


def test_a_step_that_failed_half_way_has_changed_the_host(machine: Machine) -> None:
    machine.change_conf()

    def restart(host: DictHost, argv: tuple[str, ...]) -> int:
        host.end(500)
        return 1

    machine.host.answers["systemctl restart"] = restart
    document = report.as_json("apply", machine.apply(), PROFILE, Settings(), 0.1)
    assert (document["changed"], document["done"]) == (True, ["restart auditd (begun, not finished)"])


@pytest.mark.parametrize(
    ("error", "done", "status"), [(Blocked("x"), False, 4), (Blocked("x"), True, 1), (Busy("x"), True, 75)]
)
def test_exit_status_of_an_error(machine: Machine, error: BootstrapError, done: bool, status: int) -> None:
    machine.change_conf()
    outcome = machine.apply()
    assert outcome.done
    failed = outcome._replace(failures=(Failure("auditd", error),), done=outcome.done if done else ())
    assert report.exit_code("apply", failed) == status


@pytest.mark.parametrize(("changed", "enabled", "detailed", "status"), [
    (True, 1, True, 2), (False, 1, True, 0), (True, 2, True, 3), (True, 1, False, 0), (True, 2, False, 0),
])  # fmt: skip
def test_detailed_exit_code(machine: Machine, changed: bool, enabled: int, detailed: bool, status: int) -> None:
    machine.enabled = enabled
    if changed:
        machine.change_conf()
    assert report.exit_code("apply", machine.apply(), detailed) == status


def test_every_step_is_written_down_before_it_is_made(machine: Machine) -> None:
    machine.agent()
    machine.change_conf(AUDITD_CONF)
    machine.host.write("/etc/audit/rules.d/no.rules", "-e 2\n")
    machine.apply()
    steps = [json.loads(line)["kind"] for line in (machine.host.read_bytes(journal.JOURNAL) or b"").splitlines()]
    assert steps == ["edit", "edit", "restart", "restart"]
    for number, line in enumerate(machine.host.done):
        if line.startswith(("replace", "systemctl restart")):
            assert f"append {journal.JOURNAL}" in machine.host.done[:number]


@pytest.mark.parametrize(("words", "enabled", "reboots"), [
    (["--reboot", "when-needed"], 2, True), (["--reboot", "when-needed"], 1, False), ([], 2, False),
    (["--reboot", "never"], 2, False),
])  # fmt: skip
def test_a_reboot_is_made_when_it_is_needed_and_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, words: list[str], enabled: int, reboots: bool
) -> None:
    machine.enabled = enabled
    machine.host.write("/etc/audit/rules.d/lock.rules", "-e 2\n")
    machine.host.programs("shutdown")
    monkeypatch.setattr(machine.host, "alone", contextlib.nullcontext, raising=False)
    monkeypatch.setattr(session, "LiveHost", lambda *_: machine.host)
    monkeypatch.setattr(system, "identify", lambda _: OsRelease("debian", "12"))
    assert cli.main(["apply", "--format", "json", *words]) == 0
    assert any(line.startswith("shutdown -r") for line in machine.host.done) is reboots
    assert machine.host.stat("/run/fim-bootstrap/result.json")


def test_the_answer_of_a_probe_is_that_of_its_requirement_wherever_it_stands(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another requirement may come after it."""
    last = SimpleNamespace(ID="last", TITLE="nothing", assess=lambda *_: Finding("last", "", Status.OK, "as it was"))
    monkeypatch.setattr(engine, "REQUIREMENTS", (*REQUIREMENTS, last))
    monkeypatch.setattr(machine.host, "alone", contextlib.nullcontext, raising=False)
    monkeypatch.setattr(session, "LiveHost", lambda *_: machine.host)
    monkeypatch.setattr(system, "identify", lambda _: OsRelease("debian", "12"))
    assert cli.main(["apply", "--probe", "--format", "json"]) == 0
    said = {item["id"]: item["summary"] for item in json.loads(capsys.readouterr().out)["requirements"]}
    assert said["delivery"] == "no agent is running that an event could arrive at"
    assert said["last"] == "as it was"


@pytest.mark.parametrize(("there", "changed"), [(True, True), (False, False)])
def test_packages_of_which_one_was_installed_have_changed_the_host(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, there: bool, changed: bool
) -> None:
    del machine.host.nodes["/usr/sbin/augenrules"]

    def install(host: DictHost, order: Any, note: Callable[[list[str]], None]) -> None:
        note(["auditd"])
        if there:
            host.programs("augenrules")
        raise BootstrapError("the second package fails")

    monkeypatch.setattr("fim_bootstrap.managers.install.install", install)
    outcome = machine.apply()
    assert (outcome.changed, len(outcome.account())) == (changed, int(changed))


def test_what_a_failed_installation_brought_besides_is_a_change(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that was wanted along, and no command yet."""
    del machine.host.nodes["/usr/sbin/augenrules"]
    machine.host.programs("dpkg-query")

    def install(host: DictHost, order: Any, note: Callable[[list[str]], None]) -> None:
        note(["auditd"])
        host.answers["dpkg-query -W"] = "libauparse0 1:3.0.9-1 installed\n"
        raise BootstrapError("the second package fails")

    monkeypatch.setattr("fim_bootstrap.managers.install.install", install)
    document = report.as_json("apply", machine.apply(), PROFILE, Settings(), 0.1)
    assert document["changed"] is True
    assert document["done"][0].endswith("(begun, not finished; done so far: libauparse0 1:3.0.9-1 installed)")


@pytest.mark.parametrize(
    ("missing", "error", "goes_on"),
    [
        ("checkmodule", BootstrapError("no package"), True),
        ("augenrules", BootstrapError("no package"), False),
        ("pkill", BootstrapError("no package"), False),
        ("checkmodule", Busy("locked"), False),
        ("checkmodule", Blocked("/dev/null"), False),
    ],
)
def test_the_rest_is_done_without_a_tool_that_only_the_policy_needs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, missing: str, error: BootstrapError, goes_on: bool
) -> None:
    tries = []

    def install(*_: Any) -> None:
        tries.append(missing)
        raise error

    monkeypatch.setattr("fim_bootstrap.managers.install.install", install)
    machine.selinux()
    del machine.host.nodes[f"/usr/sbin/{missing}"]
    machine.change_conf()
    outcome = machine.apply()
    assert [change.describe() for change in outcome.done] == (["restart auditd"] if goes_on else [])
    packages = next(finding for finding in outcome.findings if finding.id == "packages")
    assert (packages.status, packages.summary, tries) == (Status.FAILED, str(error), [missing])
    assert report.exit_code("apply", outcome) == error.exit_code


@pytest.mark.parametrize("comes_up", [True, False])
def test_all_that_was_done_and_failed_is_told_in_its_order(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, comes_up: bool
) -> None:
    def install(host: DictHost, *_: Any) -> None:
        host.answers["dpkg-query -W"] = "libproc2 4.0 installed\n"
        raise BootstrapError("no package")

    monkeypatch.setattr("fim_bootstrap.managers.install.install", install)
    machine.host.programs("dpkg-query")
    machine.selinux()
    del machine.host.nodes["/usr/sbin/checkmodule"]
    machine.change_conf()
    machine.starts = lambda _: comes_up
    document = report.as_json("apply", machine.apply(), PROFILE, Settings(), 0.1)
    failed = [item["id"] for item in document["requirements"] if item["status"] == "failed"]
    assert failed == (["packages"] if comes_up else ["packages", "auditd"])
    assert document["done"] == [
        "install checkpolicy (for checkmodule) (begun, not finished; done so far: libproc2 4.0 installed)",
        "restart auditd" if comes_up else "restart auditd (begun, not finished)",
    ]


def test_whoever_is_not_root_does_not_ask_and_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    machine.change_conf()
    found = gather(machine.host, PROFILE, Settings(), OsRelease("debian", "12"))
    assert engine.asked(machine.host, found, PROFILE, Settings()) == found
    (finding,) = (item for item in engine.plan(found, PROFILE, Settings()) if item.id == "auditd")
    assert any("needs root" in line for line in finding.warnings)
    assert not [line for line in machine.host.asked if line.startswith("unshare")]


@pytest.mark.parametrize(("status", "blocked"), [(1, True), (0, False), (127, False)])
def test_a_tree_without_proc_is_known_before_it_is_labelled(dict_host: DictHost, status: int, blocked: bool) -> None:
    dict_host.answers["test -d /proc/self/fd"] = status
    contexts = READY.selinux._replace(file_contexts="/contexts", mislabelled=("/x",))
    commands = {**READY.commands, "setfiles": "/usr/sbin/setfiles"}
    tree = READY._replace(environment=Environment.OFFLINE, root="/tree", selinux=contexts, commands=commands)
    findings = engine.plan(engine.asked(dict_host, tree, PROFILE, Settings()), PROFILE, Settings())
    (found,) = (finding for finding in findings if finding.id == "auditd")
    assert (found.status is Status.BLOCKED) is blocked
    assert not blocked or "mount -t proc proc /tree/proc" in found.remedy
    assert dict_host.asked == ["test -d /proc/self/fd"]
