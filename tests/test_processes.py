"""Which processes are believed: on a host of dictionaries, and beside real processes of an unprivileged user."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fim_bootstrap.changes.services import RestartService, StopService, restart, restart_running
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.facts import processes
from fim_bootstrap.facts.gather import gather
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.model import AgentFacts, AuditFacts, Doubt, OsRelease, Process, Profile, Settings, Status
from fim_bootstrap.requirements import agent, auditd
from tests.conftest import ALONE, AUDITD_CONF, needs_mounts, needs_root
from tests.dict_host import BOOT, DictHost
from tests.test_requirements import READY

BIN = "/usr/local/qualys/cloud-agent/bin"
SOCK = "/usr/local/qualys/cloud-agent/sock"
NOBODY = 65534


def running(host: DictHost) -> DictHost:
    """Everything runs as it does on a healthy host with audit 2.x, audispd among it."""
    for folder in ("/sbin", "/lib"):
        host.write(folder, link=f"usr{folder}")
    host.folder(BIN)
    host.folder(SOCK)
    host.process(500, "auditd", exe="/usr/sbin/auditd")
    host.process(501, "audispd", 500, exe="/usr/sbin/audispd")
    host.process(502, "edr-plugin", 501, exe=f"{BIN}/edr-plugin")
    host.process(600, "qualys-cloud-agent", exe=f"{BIN}/qualys-cloud-agent")
    host.process(601, "qualys-edr", 1, exe=f"{BIN}/qualys-edr")
    return host


@pytest.fixture
def host(dict_host: DictHost) -> DictHost:
    """The healthy host."""
    return running(dict_host)


def pids(host: DictHost, audit_pid: int = 0) -> dict[str, int]:
    """Who is believed."""
    return {name: process.pid for name, process in processes.gather(host, audit_pid).believed.items()}


ALL = {"auditd": 500, "audispd": 501, "edr-plugin": 502, "qualys-cloud-agent": 600, "qualys-edr": 601}


def test_the_real_ones_are_believed(host: DictHost) -> None:
    assert pids(host) == ALL
    assert processes.gather(host).doubted == ()


@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"uid": 1000}, "belongs to uid 1000"),
        ({"uid": 0, "real_uid": 1000}, "belongs to uid 1000, effective uid 0"),  # a set-uid program
        ({"uid": 1000, "real_uid": 0}, "belongs to uid 0, effective uid 1000"),
        ({"exe": "/usr/bin/sudo"}, "runs /usr/bin/sudo"),  # which is root while it asks for the password
        ({"exe": "/home/mallory/auditd"}, "runs /home/mallory/auditd"),
        ({"exe": "/home/mallory/edr-plugin (deleted)"}, "runs /home/mallory/edr-plugin (deleted)"),
        ({"exe": f"/home/mallory{BIN}/qualys-edr"}, f"runs /home/mallory{BIN}/qualys-edr"),
    ],
)
def test_another_process_of_the_name_is_mentioned_and_not_believed(
    host: DictHost, name: str, values: dict[str, object], why: str
) -> None:
    parent = int((host.read_bytes(f"/proc/{ALL[name]}/stat") or b"").split()[3])
    exe = host.link(f"/proc/{ALL[name]}/exe")
    host.process(400, name, **{"parent": parent, "exe": exe, "started": BOOT + 1, **values})  # type: ignore[arg-type]
    assert pids(host) == ALL
    assert processes.gather(host).doubted == (Doubt(400, name, why),)
    host.end(ALL[name])
    assert name not in pids(host)
    assert processes.running(host, name) == 0


@pytest.mark.parametrize(
    ("name", "parent"),
    [("auditd", 777), ("auditd", 500), ("audispd", 1), ("audispd", 600), ("edr-plugin", 1), ("edr-plugin", 600),
     ("edr-plugin", 777), ("qualys-edr", 777), ("qualys-edr", 500)],
)  # fmt: skip
def test_the_parent_has_to_be_the_right_one(host: DictHost, name: str, parent: int) -> None:
    host.process(777, "bash", 1, uid=1000)
    host.process(400, name, parent, started=BOOT + 1, exe=host.link(f"/proc/{ALL[name]}/exe"))
    assert pids(host) == ALL
    assert processes.gather(host).doubted == (Doubt(400, name, f"was started by pid {parent}"),)


def test_a_plugin_below_a_false_dispatcher_is_none(host: DictHost) -> None:
    host.process(501, "audispd", 500, exe="/tmp/audispd")
    assert "edr-plugin" not in pids(host)
    host.process(500, "auditd", uid=1000)
    assert set(pids(host)) == {"qualys-cloud-agent", "qualys-edr"}


@pytest.mark.parametrize(
    ("name", "cmdline", "believed"),
    [
        ("qualys-cloud-agent", f"/bin/sh {BIN}/qualys-cloud-agent", True),
        ("qualys-cloud-agent", f"/bin/sh -e {BIN}/qualys-cloud-agent start", True),
        ("qualys-cloud-agent", f"/bin/sh /tmp/qualys-cloud-agent {BIN}/qualys-cloud-agent", False),
        ("qualys-cloud-agent", "/bin/sh", False), ("qualys-edr", f"/bin/sh {BIN}/qualys-edr", False),
        ("auditd", "/bin/sh /usr/sbin/auditd", False),
    ],
)  # fmt: skip
def test_the_agents_main_process_may_be_a_script(host: DictHost, name: str, cmdline: str, believed: bool) -> None:
    host.process(ALL[name], name, exe="/usr/bin/dash", cmdline=cmdline)
    assert (name in pids(host)) is believed


@pytest.mark.parametrize(
    ("cmdline", "believed"),
    [
        (f"/bin/sh {BIN}/qualys-edr-start-stop.sh start", True),
        (f"/bin/sh -x {BIN}/qualys-edr-start-stop.sh", True),
        (f"/bin/sh /root/audit.sh {BIN}/qualys-edr-start-stop.sh", False),
        ("/bin/sh -c sleep qualys-edr-start-stop.sh", False),
    ],
)
def test_the_script_is_what_the_shell_runs_and_no_word_behind_it(host: DictHost, cmdline: str, believed: bool) -> None:
    host.process(650, "sh", 600, cmdline=cmdline)
    assert ("qualys-edr-start-stop.sh" in pids(host)) is believed


@pytest.mark.parametrize("exe", ["/usr/sbin/auditd", "/usr/sbin/auditd (deleted)", "/sbin/auditd", "/usr/bin/auditd"])
def test_the_program_is_known_through_links_and_after_an_update(host: DictHost, exe: str) -> None:
    host.process(500, "auditd", exe=exe)
    assert pids(host) == ALL


def test_an_agent_that_lies_elsewhere_behind_a_link(host: DictHost) -> None:
    host.write("/usr/local", link="../var/usrlocal")
    for pid, name in ((502, "edr-plugin"), (601, "qualys-edr")):
        host.write(f"/proc/{pid}/exe", link=f"/var/usrlocal/qualys/cloud-agent/bin/{name}")
    assert pids(host) == ALL


def test_the_daemon_of_a_container_is_not_ours(host: DictHost) -> None:
    host.process(400, "auditd", exe="/usr/sbin/auditd", started=BOOT + 1)
    host.nodes["/proc/400/status"].content = b"Name:\tauditd\nUid:\t0\t0\t0\t0\nNSpid:\t400\t7\n"
    assert pids(host)["auditd"] == 500
    assert processes.gather(host).doubted[0].why == "belongs to a container"


def test_the_kernel_knows_its_daemon_whoever_started_it(host: DictHost) -> None:
    """Under runit or from an administrator's session auditd is not init's child."""
    host.process(700, "runsv", 1)
    host.process(500, "auditd", 700, exe="/usr/sbin/auditd")
    assert "auditd" not in pids(host)
    assert pids(host, audit_pid=500) == ALL
    host.process(400, "auditd", started=BOOT + 1, exe="/usr/sbin/auditd")
    assert pids(host, audit_pid=500)["auditd"] == 500
    host.process(500, "auditd", 700, exe="/tmp/auditd")
    assert pids(host, audit_pid=500)["auditd"] == 400


def test_the_agent_of_another_user(host: DictHost) -> None:
    """With User= the main process belongs to whom its folders belong; qualys-edr is root's even so."""
    host.process(600, "qualys-cloud-agent", exe=f"{BIN}/qualys-cloud-agent", uid=1001)
    assert "qualys-cloud-agent" not in pids(host)
    host.folder(SOCK, uid=1001, mode=0o700)
    assert pids(host) == ALL
    host.process(601, "qualys-edr", 1, exe=f"{BIN}/qualys-edr", uid=1001)
    assert "qualys-edr" not in pids(host)


def test_qualys_edr_below_the_script_that_the_main_process_runs(host: DictHost) -> None:
    host.process(602, "sudo", 600)
    host.process(603, "qualys-edr-star", 602)
    host.process(601, "qualys-edr", 603, exe=f"{BIN}/qualys-edr")
    assert pids(host) == ALL
    host.process(602, "sudo", 777)
    host.process(777, "bash", 1)
    assert "qualys-edr" not in pids(host)


@pytest.mark.parametrize("comm", ["qualys-edr-start-stop.sh", "bash", "sh"])
def test_the_agents_script_and_semodule_at_work(host: DictHost, comm: str) -> None:
    """A sign of life that only root can give: a script is a shell that was given it, by whichever name."""
    host.write("/bin", link="usr/bin")
    host.write("/usr/bin/sh", link="dash")
    script = f"/bin/sh {BIN}/qualys-edr-start-stop.sh start dispatcher"
    host.process(800, comm, 600, exe="/usr/bin/dash", cmdline=script)
    host.process(801, "semodule", 800, exe="/usr/sbin/semodule")
    assert pids(host) == {**ALL, "qualys-edr-start-stop.sh": 800, "semodule": 801}
    host.process(800, comm, 1, exe="/usr/bin/dash", cmdline=script, uid=1000)
    host.process(801, "semodule", 1, exe="/usr/bin/sudo")
    assert pids(host) == ALL
    host.process(800, "bash", 1, exe="/usr/bin/bash", cmdline="bash -c true")
    host.process(801, "qualys-edr-start-stop.sh", 1, exe="/usr/bin/sudo")
    assert pids(host) == ALL


# ---------------------------------------------------------------------- what follows from it


def look(host: DictHost, audit_pid: int = 500) -> tuple[AuditFacts, AgentFacts]:
    """The facts of a live system."""
    host.write("/proc/1/comm", "systemd\n")
    host.write("/proc/1/mountinfo", "1 1 8:1 / / rw - ext4 /dev/a rw\n")
    host.write("/proc/self/mountinfo", "1 1 8:1 / / rw - ext4 /dev/a rw\n")
    host.folder("/run/systemd/system")
    host.programs("auditctl", "auditd", "augenrules", "audispd")
    host.write(f"{BIN}/qualys-cloud-agent", mode=0o700)
    host.write("/etc/audit/auditd.conf", AUDITD_CONF)
    host.answers["auditctl -s"] = f"enabled 1\nfailure 1\npid {audit_pid}\n"
    profile = Profile("debian-12", "Debian 12", managers=("apt",))
    seen = gather(host, profile, Settings(), OsRelease("debian", "12"))
    return seen.audit, seen.agent


@needs_root
def test_the_facts_name_the_dispatcher_that_starts_the_plugin(host: DictHost) -> None:
    audit, found = look(host)
    assert (audit.daemon and audit.daemon.pid, audit.dispatcher and audit.dispatcher.pid) == (500, 501)
    assert (found.main and found.main.pid, found.edr and found.edr.pid) == (600, 601)
    assert found.plugin
    assert found.plugin.pid == 502
    host.process(502, "edr-plugin", 500, exe=f"{BIN}/edr-plugin")  # since an update to audit 3
    audit, _ = look(host)
    assert audit.dispatcher == audit.daemon
    host.end(502)
    host.end(501)
    audit, found = look(host)
    assert (found.plugin, audit.dispatcher) == (None, None)  # auditd 2.x starts no plugin


@needs_root
def test_what_holds_the_audit_connection_is_auditd_only_where_it_is_the_real_one(host: DictHost) -> None:
    assert look(host)[0].owner == "auditd"
    host.process(400, "auditd", exe="/opt/auditbeat")
    assert look(host, 400)[0].owner == "a process named auditd that runs /opt/auditbeat"
    host.process(401, "auditbeat", exe="/opt/auditbeat")
    assert look(host, 401)[0].owner == "auditbeat"
    assert look(host, 0)[0].owner == ""


def test_a_forged_daemon_is_no_restart_and_gets_no_signal(host: DictHost) -> None:
    host.folder("/run/systemd/system")
    host.programs("systemctl", "kill", "auditctl")

    def systemctl(host: DictHost, argv: tuple[str, ...]) -> int:
        host.end(500)
        host.process(900, "auditd", uid=1000, exe="/home/mallory/auditd")
        host.end(600)
        host.process(901, "qualys-cloud-agent")
        return 0

    host.answers["systemctl restart"] = systemctl
    with pytest.raises(BootstrapError, match="did not come up"):
        RestartService("auditd", "auditd", 500).apply(host, lambda *_, **__: None)
    host.done.clear()
    host.end(901)
    host.process(600, "qualys-cloud-agent")
    restart_running(host, ())  # what runs is restarted, and auditd does not
    assert [done for done in host.done if done.startswith(("kill", "systemctl restart"))] == [
        "systemctl restart qualys-cloud-agent.service"
    ]


@pytest.mark.parametrize("parent", [1, 700])  # started by hand, it is not init's child; the kernel knew it
def test_a_daemon_is_ended_only_while_its_pid_is_its_own(host: DictHost, parent: int) -> None:
    def ended(host: DictHost, _: tuple[str, ...]) -> int:
        host.end(500)
        return 0

    host.folder("/run/systemd/system")
    host.programs("systemctl", "kill")
    host.answers["kill"] = ended
    host.process(500, "auditd", parent)
    stop = StopService("auditd", 500, refuses_stop=True)
    stop.apply(host, lambda *_, **__: None)
    assert "kill -TERM 500" in host.done
    host.done.clear()
    host.process(500, "postgres", 1, uid=70)
    stop.apply(host, lambda *_, **__: None)
    restart(host, "auditd", 500, refuses_stop=True)
    assert not [done for done in host.done if done.startswith("kill")]
    assert host.done[-1] == "systemctl start auditd.service"


def test_a_requirement_mentions_the_others_and_is_right_all_the_same() -> None:
    doubted = tuple(Doubt(pid, name, "belongs to uid 1000") for pid, name in enumerate((*ALL, *["auditd"] * 4), 1))
    host = READY._replace(doubted=doubted)
    found = auditd.assess(host, Profile("x", "x"), Settings())
    assert found.status is Status.OK
    assert found.warnings == (
        "pid 1 is not the auditd of this system: it belongs to uid 1000",
        "pid 2 is not the audispd of this system: it belongs to uid 1000",
        "pid 6 is not the auditd of this system: it belongs to uid 1000",
        "3 more processes of such names are none, either",
    )
    assert len(agent.assess(host, Profile("x", "x"), Settings()).warnings) == 3


@pytest.mark.parametrize("requirement", [auditd, agent])
def test_what_only_root_can_see_is_neither_right_nor_wrong(requirement: object) -> None:
    hidden = READY._replace(hidden=True, audit=READY.audit._replace(daemon=None), agent=READY.agent._replace(main=None))
    unproven = Process(500, 1, "auditd", 200.0, unproven=True)
    shadowy = READY._replace(audit=READY.audit._replace(daemon=unproven), agent=READY.agent._replace(main=unproven))
    for host in (hidden, shadowy):
        found = requirement.assess(host, Profile("x", "x"), Settings())  # type: ignore[attr-defined]
        assert found.status is Status.WAITING
        assert "root alone" in found.summary


# ---------------------------------------------------------------------- real processes


@contextlib.contextmanager
def started(path: Path, name: str, uid: int) -> Iterator[int]:
    """A real process of a user under a name, as a child of init or of its nearest reaper."""
    program = shutil.copy(shutil.which("sleep") or "", path / name)
    os.chmod(program, 0o755)
    process = subprocess.Popen([program, "60"], user=uid, group=uid)
    try:
        deadline = time.monotonic() + 5
        while Path(f"/proc/{process.pid}/comm").read_text().strip() != name[:15] and time.monotonic() < deadline:
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that every user reaches."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


@needs_root
@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("uid", [NOBODY, 0])
def test_a_real_process_of_another_program_is_never_believed(open_folder: Path, name: str, uid: int) -> None:
    with started(open_folder, name, uid) as pid:
        seen = processes.gather(LiveHost())
        assert pid not in [process.pid for process in seen.believed.values()]
        (doubt,) = [doubt for doubt in seen.doubted if doubt.pid == pid]
        assert doubt.why == (f"belongs to uid {NOBODY}" if uid else f"runs {open_folder / name}")
        assert processes.running(LiveHost(), name) != pid


@needs_root
def test_a_real_process_that_gives_itself_the_name(open_folder: Path) -> None:
    """prctl(PR_SET_NAME), which is what the kernel's comm is."""
    code = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'auditd'); print('named', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"named\n"
        (doubt,) = [doubt for doubt in processes.gather(LiveHost()).doubted if doubt.pid == process.pid]
        process.kill()
    assert doubt.why.startswith("runs /")


@needs_root
def test_a_real_set_uid_program_under_the_name(open_folder: Path) -> None:
    program = shutil.copy(shutil.which("sleep") or "", open_folder / "auditd")
    os.chmod(program, 0o4755)
    with subprocess.Popen([program, "60"], user=NOBODY, group=NOBODY) as process:
        try:
            deadline = time.monotonic() + 5
            while not (doubts := [d for d in processes.gather(LiveHost()).doubted if d.pid == process.pid]):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            process.kill()
    assert doubts[0].why == f"belongs to uid {NOBODY}, effective uid 0"


UNPRIVILEGED = """
import os
from fim_bootstrap.facts import processes, system
from fim_bootstrap.host.live import LiveHost
os.setgroups([]); os.setgid(65534); os.setuid(65534)
seen = processes.gather(LiveHost())
daemon = seen.believed.get("auditd")
print(seen.hidden, daemon and daemon.unproven, system.environment(LiveHost(), False).value == "chroot")
"""


@needs_mounts
@pytest.mark.parametrize(
    ("hidepid", "said"), [("0", "False True"), ("1", "True None"), ("2", "True None")], ids=["all", "names", "nothing"]
)
def test_an_unprivileged_user_does_not_know(tmp_path: Path, hidepid: str, said: str) -> None:
    """A daemon of root's is seen and not proven; with hidepid nothing is known, not even that it is absent."""
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "auditd")
    script = (
        # the shell is init here; all ends with it
        f'mount -t proc -o hidepid={hidepid} proc /proc && {{ {program} 60 & }} && sleep 0.2 && "$0" -c "$1"; :'
    )
    argv = ["unshare", "-mpf", "sh", "-c", script, sys.executable, UNPRIVILEGED]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=ALONE)
    if "operation not permitted" in ran.stderr.lower() or "permission denied" in ran.stderr.lower():
        pytest.skip(ran.stderr)
    assert ran.stdout.strip() == f"{said} False", ran.stderr
