"""What is run and written for each change, in which order, and what counts as success."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fim_bootstrap.agent.vendor import ROOT
from fim_bootstrap.changes import journal
from fim_bootstrap.changes.files import CreateFiles, EditAuditdConf, undo_edit
from fim_bootstrap.changes.packages import POLICY_RC, InstallPackages, undo_install
from fim_bootstrap.changes.policy import (
    SEMODULE_TIMEOUT,
    LabelTree,
    LoadPolicy,
    ReloadPolicy,
    RestoreLabels,
    undo_policy,
)
from fim_bootstrap.changes.revert import remove_packages
from fim_bootstrap.changes.rules import DeleteRule
from fim_bootstrap.changes.services import (
    CHILDREN,
    SETTLE,
    EnableService,
    RestartService,
    RestartUnit,
    StopService,
    restart_running,
    undo_enable,
)
from fim_bootstrap.errors import Blocked, BootstrapError, Busy
from fim_bootstrap.facts import selinux
from fim_bootstrap.host.reader import Output
from fim_bootstrap.managers.lookup import Order
from fim_bootstrap.managers.rows import MANAGERS
from fim_bootstrap.model import Change, Profile
from tests.conftest import AUDITD_CONF
from tests.dict_host import BOOT, Answer, DictHost


def recorded(host: DictHost) -> list[str]:
    """The kinds of steps in the journal, oldest first."""
    return [json.loads(line)["kind"] for line in (host.read_bytes(journal.JOURNAL) or b"").splitlines()]


def apply(change: Change, host: DictHost) -> None:
    """Do the change as the engine does."""
    change.apply(host, lambda kind, **details: journal.record(host, kind, **details))


def restarted(pid: int) -> Answer:
    """A systemctl that gives auditd a new pid, or leaves it as it is where the pid is the old one."""

    def systemctl(host: DictHost, argv: tuple[str, ...]) -> int:
        if argv[1] in ("restart", "start"):
            host.end(500)
            host.process(pid, "auditd", started=host.now)
        return 0

    return systemctl


def ended(pid: int) -> Answer:
    """A command that ends a process."""

    def end(host: DictHost, argv: tuple[str, ...]) -> int:
        host.end(pid)
        return 0

    return end


@pytest.fixture
def host(dict_host: DictHost) -> DictHost:
    """A system with systemd and a running auditd."""
    dict_host.folder("/run/systemd/system")
    dict_host.programs("systemctl", "auditctl", "kill")
    dict_host.process(500, "auditd", started=BOOT + 10)
    return dict_host


def test_a_restart_is_written_down_before_it_is_made(host: DictHost) -> None:
    host.answers["systemctl"] = restarted(501)
    apply(RestartService("auditd", "auditd", 500), host)
    assert recorded(host) == ["restart"]
    assert host.done.index(f"append {journal.JOURNAL}") < host.done.index("systemctl restart auditd.service")


def test_the_old_pid_is_no_restart(host: DictHost) -> None:
    host.answers["systemctl"] = restarted(500)
    with pytest.raises(BootstrapError, match="did not come up"):
        apply(RestartService("auditd", "auditd", 500), host)


def test_a_module_that_is_refused_by_the_store_is_no_success(host: DictHost) -> None:
    host.programs("checkmodule", "semodule_package", "semodule")
    host.answers["semodule"] = Output(("semodule",), 1, "", "Re-declaration of type")
    with pytest.raises(BootstrapError, match="Re-declaration"):
        apply(LoadPolicy("module m 1.0;", "m_t", live=True), host)
    assert recorded(host) == ["policy"]
    assert "semodule -X 400 -i /var/lib/fim-bootstrap/work.0/fim_bootstrap.pp" in host.done


def commands(host: DictHost) -> list[str]:
    """What was run, without what was written."""
    return [line for line in host.done if not line.startswith(("append", "create", "replace", "remove"))]


@pytest.mark.parametrize(("live", "priorities", "words"), [
    (True, True, "-X 400 -i"), (False, True, "-n -X 400 -i"), (True, False, "-i"), (False, False, "-n -i"),
])  # fmt: skip
def test_a_module_is_built_and_loaded_and_only_a_trees_not_into_the_kernel(
    host: DictHost, live: bool, priorities: bool, words: str
) -> None:
    host.programs("checkmodule", "semodule_package", "semodule")
    host.folder("/var/lib/selinux", context="system_u:object_r:store_t:s0")
    place, seen = "/var/lib/fim-bootstrap/work.0/fim_bootstrap", []

    def compiler(host: DictHost, argv: tuple[str, ...]) -> int:
        source, folder = host.read(f"{place}.te"), host.stat("/var/lib/fim-bootstrap/work.0")
        seen.append((source and source.text, folder and folder.context))
        return 0

    host.answers["checkmodule"] = compiler
    apply(LoadPolicy("module m 1.0;", "m_t", live, priorities), host)
    assert commands(host) == [
        f"checkmodule -M -m -o {place}.mod {place}.te",
        f"semodule_package -o {place}.pp -m {place}.mod",
        f"semodule {words} {place}.pp",
    ]
    assert seen == [("module m 1.0;", "system_u:object_r:store_t:s0")]
    assert host.stat(f"{place}.pp") is None
    assert host.done.index(f"append {journal.JOURNAL}") < host.done.index(f"semodule {words} {place}.pp")


@pytest.mark.parametrize(("live", "line"), [(True, "semodule -B"), (False, "semodule -n -B")])
def test_a_stored_policy_is_built_anew(host: DictHost, live: bool, line: str) -> None:
    host.programs("semodule")
    apply(ReloadPolicy(live), host)
    assert commands(host) == [line]


def test_the_lock_of_the_module_store_is_waited_for(host: DictHost) -> None:
    host.programs("semodule")
    tries: list[float] = []

    def semodule(host: DictHost, argv: tuple[str, ...]) -> int | Output:
        tries.append(host.now)
        return 0 if len(tries) == 3 else Output(argv, 1, "", "could not get transaction lock")

    host.answers["semodule"] = semodule
    apply(ReloadPolicy(True), host)
    assert len(tries) == 3
    host.answers["semodule"] = Output((), 1, "", "could not get transaction lock")
    begun = host.now
    with pytest.raises(Busy):
        apply(ReloadPolicy(True), host)
    assert host.now - begun >= SEMODULE_TIMEOUT


def test_a_daemon_that_refuses_a_stop_is_ended_and_started_once_it_is_gone(host: DictHost) -> None:
    def kill(host: DictHost, argv: tuple[str, ...]) -> int:
        assert argv == ("kill", "-TERM", "500")
        host.end(500)
        return 0

    def start(host: DictHost, argv: tuple[str, ...]) -> int:
        if argv[1] == "start":
            assert host.stat("/proc/500") is None
            host.process(501, "auditd")
        return 0

    host.answers.update({"kill": kill, "systemctl": start})
    apply(RestartService("auditd", "auditd", 500, refuses_stop=True), host)
    assert commands(host) == [
        "systemctl reset-failed auditd.service", "kill -TERM 500", "systemctl start auditd.service",
    ]  # fmt: skip


def test_without_systemd_the_init_script_restarts(dict_host: DictHost) -> None:
    dict_host.programs("service")
    dict_host.process(500, "auditd")

    def service(host: DictHost, argv: tuple[str, ...]) -> int:
        host.end(500)
        host.process(501, "auditd")
        return 1  # whatever it says

    dict_host.answers["service"] = service
    apply(RestartService("auditd", "auditd", 500), dict_host)
    assert commands(dict_host) == ["service auditd restart"]


def test_a_daemon_that_stays_away_is_waited_for_and_told(host: DictHost) -> None:
    host.answers["systemctl"] = ended(500)
    begun = host.now
    with pytest.raises(BootstrapError, match="auditd did not come up"):
        apply(RestartService("auditd", "auditd", 500), host)
    assert SETTLE <= host.now - begun < 2 * SETTLE
    assert recorded(host) == ["restart"]
    with pytest.raises(BootstrapError, match="did not come up"):
        apply(RestartService("auditd", "auditd"), host)
    assert recorded(host) == ["restart", "start"]


@pytest.mark.parametrize(("wake", "event"), [(True, True), (False, False)])
def test_a_dispatcher_is_woken_only_where_an_event_does_no_harm(host: DictHost, wake: bool, event: bool) -> None:
    host.answers["systemctl"] = restarted(501)
    begun = host.now
    apply(RestartService("auditd", "auditd", 500, children=("edr-plugin",), may_wake=wake), host)
    assert any(line.startswith("auditctl -m") for line in host.done) is event
    assert host.now - begun >= CHILDREN


def test_a_plugin_that_is_there_needs_no_event(host: DictHost) -> None:
    host.answers["systemctl"] = restarted(501)
    host.process(502, "edr-plugin", parent=501, exe="/usr/local/qualys/cloud-agent/bin/edr-plugin")
    apply(RestartService("auditd", "auditd", 500, children=("edr-plugin",), may_wake=True), host)
    assert commands(host) == ["systemctl reset-failed auditd.service", "systemctl restart auditd.service"]


def test_a_text_that_auditd_refuses_is_not_put_in_place(host: DictHost) -> None:
    host.programs("setpriv")
    host.write("/etc/audit/auditd.conf", AUDITD_CONF)
    change = EditAuditdConf("/etc/audit/auditd.conf", AUDITD_CONF, f"{AUDITD_CONF}freq = 1\n", "why")
    taken, refused = Output((), 1, "", "Cannot change priority"), Output((), 6, "", "it is wrong - line 20\n")
    host.answers["unshare"] = lambda _, argv: refused if change.after in argv else taken
    with pytest.raises(BootstrapError, match="refuse the new text: it is wrong"):
        apply(change, host)
    assert host.done == []
    host.answers["unshare"] = taken
    apply(change, host)
    assert host.read_bytes("/etc/audit/auditd.conf") == change.after.encode()
    assert change.after in host.asked[-1]


def test_what_auditd_says_of_the_present_text_too_is_not_the_edit_s_doing(host: DictHost) -> None:
    host.programs("setpriv")
    host.write("/etc/audit/auditd.conf", AUDITD_CONF)
    host.answers["unshare"] = Output((), 6, "", "Could not open dir /var/log/audit (No such file or directory)\n")
    change = EditAuditdConf("/etc/audit/auditd.conf", AUDITD_CONF, f"{AUDITD_CONF}freq = 1\n", "why")
    apply(change, host)
    assert host.read_bytes("/etc/audit/auditd.conf") == change.after.encode()


@pytest.mark.parametrize(("tool", "line"), [
    ("systemctl", "systemctl enable auditd.service"), ("chkconfig", "chkconfig auditd on"),
    ("update-rc.d", "update-rc.d auditd enable"),
])  # fmt: skip
def test_a_service_is_enabled_by_the_tool_that_is_here(dict_host: DictHost, tool: str, line: str) -> None:
    dict_host.programs(tool)
    apply(EnableService("auditd"), dict_host)
    assert commands(dict_host) == [line]
    assert recorded(dict_host) == ["enable"]


@pytest.mark.parametrize(("refuses", "line"), [(True, "kill -TERM 500"), (False, "systemctl stop auditd.service")])
def test_a_service_is_disabled_before_it_is_stopped(host: DictHost, refuses: bool, line: str) -> None:
    host.answers[line] = ended(500)
    apply(StopService("auditd", 500, refuses), host)
    assert commands(host) == ["systemctl disable auditd.service", line]
    host.process(500, "auditd")
    host.answers[line] = 0
    with pytest.raises(BootstrapError, match="did not stop"):
        apply(StopService("auditd", 500, refuses), host)


def test_files_of_our_own_are_written_down_before_they_are_created(host: DictHost) -> None:
    apply(CreateFiles({"/etc/a": "x", "/etc/b": "y"}, ("a.timer",), start=True), host)
    assert host.done == [
        f"append {journal.JOURNAL}", "create /etc/a", f"append {journal.JOURNAL}", "create /etc/b",
        f"append {journal.JOURNAL}", "systemctl enable --now a.timer",
    ]  # fmt: skip
    assert recorded(host) == ["create", "create", "enable"]


def test_a_program_of_our_own_is_put_in_place_with_its_folders(host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fim_bootstrap.changes.files.program", lambda: b"ELF")
    apply(CreateFiles({}, program="/usr/local/sbin/x"), host)
    (step,) = journal.entries(host)
    assert (step["kind"], step["path"], step["after"]) == ("create", "/usr/local/sbin/x", "")
    assert step["folders"] == ["/usr/local/sbin", "/usr/local"]
    assert (host.nodes["/usr/local/sbin/x"].content, host.nodes["/usr/local/sbin/x"].mode) == (b"ELF", 0o755)
    monkeypatch.setattr("fim_bootstrap.changes.files.program", lambda: b"")
    with pytest.raises(BootstrapError, match="has to be the one-file binary") as caught:
        apply(CreateFiles({}, program="/usr/local/sbin/x"), host)
    assert caught.value.remedy == "make binary"


def test_a_file_that_is_gone_is_not_put_back(host: DictHost) -> None:
    entry = {"path": "/etc/x", "before": "a", "after": "b"}
    with pytest.raises(BootstrapError, match=r"^/etc/x: is gone; left alone$"):
        undo_edit(host, entry)
    host.folder("/etc/x")
    with pytest.raises(BootstrapError, match=r"^/etc/x: a directory where a file should be; left alone$") as caught:
        undo_edit(host, entry)
    assert caught.value.remedy == "put the file back, then run revert again"


def test_rule_and_labels(host: DictHost) -> None:
    host.programs("restorecon")
    apply(DeleteRule(), host)
    apply(RestoreLabels(("/a", "/b")), host)
    assert commands(host) == ["auditctl -d never,task", "restorecon -RF /a /b"]
    assert recorded(host) == ["rule"]


def test_no_label_is_set_without_proc(host: DictHost) -> None:
    host.answers["test -d /proc/self/fd"] = 1
    with pytest.raises(Blocked, match="without /proc"):
        apply(LabelTree("/contexts"), host)
    host.answers["test -d /proc/self/fd"] = 0
    host.programs("setfiles", "cat")
    apply(LabelTree("/contexts"), host)
    assert commands(host)[-1] == "setfiles -F -m /contexts /"


def test_what_an_image_builder_mounts_read_only_takes_no_label(host: DictHost) -> None:
    host.programs("setfiles", "test")
    host.answers["cat /proc/self/mountinfo"] = (
        "21 20 254:0 / / ro,relatime - ext4 /dev/vda rw\n"
        "22 21 254:0 /w /lent/a\\040b ro,relatime shared:1 - ext4 /dev/vda rw\n"
        "23 21 254:0 /w /lent/src rw,relatime - ext4 /dev/vda rw\n"
        "24 21 0:5 / /media rw,relatime - squashfs /dev/loop0 ro,errors=continue\n"
        "25 21 254:1 / /var rw,relatime - ext4 /dev/vdb rw,errors=remount-ro\n"
        "26 21 0:5 / /mnt/disc ro,relatime - iso9660 /dev/loop1 ro\n"
    )
    for path in ("/lent/a b", "/lent/src", "/mnt/disc/x", "/mnt/own"):
        host.write(path)
    apply(LabelTree("/contexts"), host)
    assert commands(host)[-1] == "setfiles -F -m -e /lent -e /media -e /mnt/disc /contexts /"


def test_a_trees_packages_start_no_services(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    dict_host.root = "/tree"
    dict_host.programs("dpkg")
    there: list[bool] = []

    def install(host: DictHost, order: Order, note: object) -> tuple[str, ...]:
        there.append(host.stat(POLICY_RC) is not None)
        note(["auditd"])  # type: ignore[operator]
        raise BootstrapError("it fails")

    monkeypatch.setattr("fim_bootstrap.managers.install.install", install)
    order = Order(MANAGERS["apt"], Profile("x", "x"), {"auditd": ("auditd",)}, 1.0)
    with pytest.raises(BootstrapError, match="it fails"):
        apply(InstallPackages(order, "b"), dict_host)
    assert there == [True]
    assert dict_host.stat(POLICY_RC) is None
    assert recorded(dict_host) == ["install"]


def test_what_runs_starts_anew_with_the_files_of_before(host: DictHost) -> None:
    host.answers.update({"kill": ended(500), "systemctl": restarted(501)})
    restart_running(host, set())
    assert commands(host)[-1] == "systemctl start auditd.service"
    assert not any("qualys" in line for line in host.done)
    host.end(501)
    host.answers["systemctl"] = 0
    with pytest.raises(BootstrapError, match="qualys-cloud-agent did not come up again"):
        restart_running(host, {"qualys-cloud-agent"})


@pytest.mark.parametrize("along", [True, False])
def test_an_agent_that_restarts_auditd_is_restarted_alone(host: DictHost, along: bool) -> None:
    host.write(f"{ROOT}/bin/qualys-edr-start-stop.sh", "service auditd restart")
    host.process(600, "qualys-cloud-agent")
    host.process(601, "qualys-edr", 600)

    def systemctl(host: DictHost, argv: tuple[str, ...]) -> int:
        if argv[1:] == ("restart", "qualys-cloud-agent.service"):
            host.end(600)
            host.process(610, "qualys-cloud-agent", started=host.now)
        if argv[1:] == ("start", "auditd.service") or (argv[1] == "restart" and along):
            host.end(500)
            host.process(501, "auditd", started=host.now)
        return 0

    host.answers.update({"kill": ended(500), "systemctl": systemctl})
    restart_running(host, set())
    auditds = [] if along else ["kill -TERM 500", "systemctl start auditd.service"]
    done = [line for line in commands(host) if "reset-failed" not in line]
    assert done == ["systemctl restart qualys-cloud-agent.service", *auditds]


def test_a_running_auditd_is_not_restarted_with_files_that_it_refuses(host: DictHost) -> None:
    host.programs("setpriv")
    host.write("/etc/audit/auditd.conf", AUDITD_CONF)
    host.answers["unshare"] = Output((), 6, "", "it is wrong - line 3\n")
    with pytest.raises(BootstrapError, match="was not restarted: it is wrong"):
        restart_running(host, set())
    assert host.done == []


@pytest.mark.parametrize(("manager", "boot"), [("apt", ""), ("transactional-update", "b")])
def test_the_boot_is_kept_only_of_what_comes_with_the_next_one(
    dict_host: DictHost, monkeypatch: pytest.MonkeyPatch, manager: str, boot: str
) -> None:
    def install(host: DictHost, order: Order, note: Callable[[list[str]], None]) -> tuple[str, ...]:
        note(["audit"])
        return ("audit",)

    monkeypatch.setattr("fim_bootstrap.managers.install.install", install)
    order = Order(MANAGERS[manager], Profile("x", "x"), {"auditd": ("audit",)}, 1.0)
    apply(InstallPackages(order, "b"), dict_host)
    assert [(step["packages"], step["boot"]) for step in journal.entries(dict_host)] == [(["audit"], boot)]


def test_packages_are_removed_where_they_are_there(dict_host: DictHost) -> None:
    dict_host.answers.update({"dpkg-query": 0, "dpkg-query -W gone": 1, "dpkg": 0})
    undo_install(dict_host, {"manager": "apt", "packages": ["audit", "gone"]}, 5.0)
    assert dict_host.done == ["dpkg --remove audit"]


@pytest.mark.parametrize(("root", "live", "flags"), [("/", True, ""), ("/", False, "-n "), ("/tree", True, "-n ")])
def test_a_module_is_taken_out_of_the_kernel_only_where_it_is_this_one(
    host: DictHost, root: str, live: bool, flags: str
) -> None:
    stored = f"/var/lib/selinux/targeted/active/modules/{selinux.PRIORITY}/{selinux.MODULE}"
    host.write(f"{stored}/cil")
    host.root = root
    if live:
        host.write(f"{selinux.FS}/enforce", "1")

    def semodule(host: DictHost, argv: tuple[str, ...]) -> int:
        del host.nodes[f"{stored}/cil"]
        return 0

    host.programs("semodule")
    host.answers["semodule"] = semodule
    undo_policy(host, {"module": selinux.MODULE})
    assert commands(host)[-1].endswith(f"semodule {flags}-X {selinux.PRIORITY} -r {selinux.MODULE}")


@pytest.mark.parametrize("status", [0, 1])
def test_without_systemd_a_service_is_stopped_by_its_script_whatever_that_says(
    dict_host: DictHost, status: int
) -> None:
    def service(host: DictHost, argv: tuple[str, ...]) -> int:
        host.end(500)
        return status

    dict_host.process(500, "auditd")
    dict_host.programs("service", "chkconfig")
    dict_host.answers.update({"service": service, "chkconfig": 0})
    apply(StopService("auditd", 500, False), dict_host)
    assert "service auditd stop" in commands(dict_host)


def test_a_unit_of_ours_ends_with_what_it_started(host: DictHost) -> None:
    undo_enable(host, {"service": "fim-bootstrap-guard.timer", "ours": True})
    assert [line for line in commands(host) if "fim-bootstrap-guard" in line] == [
        f"systemctl {word} fim-bootstrap-guard.service fim-bootstrap-guard.timer" for word in ("stop", "reset-failed")
    ]


@pytest.mark.parametrize(("change", "said"), [
    (RestartUnit("x.path"), "restart x.path"),
    (EnableService("auditd"), "enable auditd at boot"),
    (RestartService("auditd", "auditd", 500), "restart auditd"),
    (RestartService("auditd", "auditd"), "start auditd"),
    (StopService("auditd", 500, False), "stop and disable auditd"),
    (ReloadPolicy(True), "build the stored SELinux policy anew and load it"),
    (ReloadPolicy(False), "build the stored SELinux policy anew"),
    (RestoreLabels(("/a", "/b")), "restore the SELinux label of /a, /b"),
    (LabelTree("/c"), "label the whole tree (setfiles)"),
    (DeleteRule(), "delete the rule -a never,task from the kernel"),
])  # fmt: skip
def test_a_step_says_what_it_will_do_and_edits_no_file(change: Change, said: str) -> None:
    assert (change.describe(), change.diff()) == (said, "")


def test_packages_that_cannot_be_removed_leave_the_rest_to_be(dict_host: DictHost) -> None:
    for manager in ("apt", "none", "apt"):
        journal.record(dict_host, "install", manager=manager, packages=["audit"], boot="")
    statuses = [1, 0]
    dict_host.answers.update({"dpkg-query": 0, "dpkg": lambda *_: statuses.pop(0)})
    removed, problems = remove_packages(dict_host, journal.entries(dict_host), 5.0)
    assert (removed, len(problems)) == (1, 2)
    assert [step.get("manager") for step in journal.entries(dict_host)] == ["none", "apt"]
