"""The loop on a real kernel: from "no event arrives" to "ready", and the next run changes nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.cache import CACHE
from tests.conftest import PROJECT, Ran
from tests.live.el import SHAPES, dress
from tests.live.guest import BINARY, ENFORCING, FIM, NO_SELINUX, PERMISSIVE, Guest, guest
from tests.live.images import AGENT, WATCHED, label, prepared
from tests.test_cli import SCHEMA

pytestmark = pytest.mark.live
needs_binary = pytest.mark.skipif(not (PROJECT / BINARY).exists(), reason="the binary was not built: make binary")

LOG = "/var/log/qualys/edr.log"
SCRIPT_LOG = "/var/log/qualys/edr-script.log"
SOCK = "/usr/local/qualys/cloud-agent/sock"
AGENT_CONF = "/etc/qualys/cloud-agent/qualys-cloud-agent.conf"
AVC = "ausearch -m avc -c edr-plugin -ts boot --raw 2>/dev/null | cat"
STATE = "find /etc/audit /etc/selinux /var/lib/selinux /var/lib/dpkg -type f -printf '%p %T@ %C@\\n' | sort | sha256sum"
# commands that a run without work to do must not start, recorded by the kernel itself
WATCHED_COMMANDS = ("apt-get", "apt-cache", "dpkg", "semodule", "checkmodule", "semodule_package", "restorecon")


def running(machine: Guest) -> None:
    """The agent's FIM part has come up, in the time that its own script takes, and listens to its plugin."""
    up = ("pidof qualys-edr && pidof edr-plugin && auditctl -l | grep fim-watched &&"
          " grep ' 03 .*audit_disp.sock' /proc/net/unix")  # fmt: skip
    comes(machine, up)


def comes(machine: Guest, true: str) -> None:
    """What a command asks for becomes true."""
    machine.run(f"for i in $(seq 900); do ( {true} ) >/dev/null && exit 0; sleep 1; done;"
                f" tail {SCRIPT_LOG} {LOG}; exit 1", timeout=1200)  # fmt: skip


def ready(machine: Guest) -> Ran:
    """Once the agent has come up the host is ready, and an event that the tool causes arrives."""
    running(machine)
    seen = machine.fim("check --probe")
    assert (seen.status, seen.report["verdict"]) == (0, "ready"), seen.out
    assert seen.status_of("delivery") == "ok"
    jsonschema.validate(seen.report, SCHEMA)
    return seen


def healed(machine: Guest, because: str) -> None:
    """Check tells what is wrong, one apply mends it, and the host is ready again."""
    before = machine.fim("check")
    assert before.status == 3, before.out
    assert because in before.out
    applied = machine.fim("apply")
    assert applied.status == 0, applied.out + applied.err
    ready(machine)


def watched_event_arrives(machine: Guest, name: str) -> None:
    """A change that the agent's own rules watch is in its log."""
    machine.run(f"touch /{WATCHED}/{name}")
    found = f"grep -q 'name=\"/{WATCHED}/{name}\"' {LOG}"
    machine.run(f"for i in $(seq 50); do {found} && exit 0; sleep 0.2; done; tail {LOG}; exit 1")


def denied(machine: Guest, since: float) -> None:
    """The plugin may not serve its socket, and the kernel says so."""
    unserved(machine)
    assert "usr_t" in "".join(denials_since(machine, since)), machine.run(AVC).out


def unserved(machine: Guest) -> None:
    """Once the agent's start is over: no plugin runs."""
    comes(machine, f"tail -n 1 {SCRIPT_LOG} | grep 'start: script complete'")
    machine.run("for i in $(seq 30); do pidof edr-plugin >/dev/null || exit 0; sleep 1; done; exit 1")


def pids(machine: Guest) -> str:
    """Who runs: auditd, and the agent's three."""
    return machine.run("for name in auditd qualys-cloud-agent qualys-edr edr-plugin; do pidof $name; done").out


def starts(machine: Guest) -> int:
    """How often the agent's script has been told to start."""
    return int(machine.run(f"grep -c ' start, mode' {SCRIPT_LOG}").out)


@pytest.mark.parametrize("suite", ["bookworm", "bullseye", "trixie", "sid"])
def test_fresh_and_enforcing(suite: str) -> None:
    """From nothing installed to events arriving; a second run does nothing at all; then the agent's own ways."""
    with guest(suite) as machine:
        assert machine.run("getenforce").out.strip() == "Enforcing"
        assert "auditd: not found" in machine.fim("check").out
        first = machine.fim("apply")
        assert (first.status, first.report["changed"]) == (0, True), first.out + first.err
        jsonschema.validate(first.report, SCHEMA)
        applied = now(machine)
        ready(machine)
        watched_event_arrives(machine, "fresh")
        assert denials_since(machine, applied) == []
        for command in WATCHED_COMMANDS:
            machine.run(f"p=$(command -v {command}) && auditctl -w $(realpath $p) -p x -k started")
        before, who = machine.run(STATE).out, pids(machine)
        second = machine.fim("apply")
        assert (second.status, second.report["changed"], second.report["done"]) == (0, False, [])
        assert (machine.run(STATE).out, pids(machine)) == (before, who)
        started = machine.run("ausearch -k started -sc execve -i 2>/dev/null | grep -c 'type=EXECVE'", check=False)
        assert started.out.strip() in ("", "0"), machine.run("ausearch -k started -i | tail -n 20").out
        the_agent_is_restarted(machine)
        auditd_is_restarted_behind_its_back(machine)
        if suite == "sid":
            its_rules_are_taken_away_at_its_start(machine)
        reverted = machine.fim("revert")
        assert reverted.status == 0, reverted.out + reverted.err
        assert "fim_bootstrap" not in machine.run("semodule -l").out


def the_agent_is_restarted(machine: Guest) -> None:
    """By hand: two restarts of auditd and two policies later all is well, and nobody helped."""
    machine.run("systemctl restart qualys-cloud-agent", timeout=300)
    ready(machine)
    assert machine.fim("check").status == 0


def its_rules_are_taken_away_at_its_start(machine: Guest) -> None:
    """By audit-rules.service, which audit 4.2 starts after auditd: nothing is ready then, and it is restarted once."""
    machine.run("touch /etc/qualys/stand-in-hasty; systemctl restart qualys-cloud-agent", timeout=300)
    comes(machine, f"tail -n 1 {SCRIPT_LOG} | grep 'start: script complete'")
    machine.run("sleep 10; ! auditctl -l | grep fim-watched")
    before, ended = starts(machine), [machine.fim("apply") for _ in range(2)]
    assert [run.status for run in ended] == [1, 4], [run.out + run.err for run in ended]
    assert starts(machine) == before + 1
    assert "audit-rules.service loaded the rules" in ended[1].out
    machine.run("rm /etc/qualys/stand-in-hasty; systemctl restart qualys-cloud-agent", timeout=300)
    ready(machine)


def auditd_is_restarted_behind_its_back(machine: Guest) -> None:
    """Its rules are gone then; one restart of the agent brings them back."""
    machine.run("service auditd restart; sleep 2; ! auditctl -l | grep fim-watched")
    seen, before = machine.fim("check"), starts(machine)
    assert (seen.status, seen.status_of("agent")) == (3, "change"), seen.out
    assert machine.fim("apply").status == 0
    ready(machine)
    assert starts(machine) == before + 1
    watched_event_arrives(machine, "again")


# not --pipe: the policy does not let D-Bus hand over the file descriptors
BY_SYSTEMD = """
systemd-run --quiet --wait --collect -p StandardOutput=truncate:/run/out -p StandardError=truncate:/run/err \
    /usr/local/sbin/fim-bootstrap "$@"
status=$?
cat /run/out; cat /run/err >&2; exit $status
"""


@needs_binary
def test_the_binary_started_by_systemd() -> None:
    """The one file does the same, unpacked in systemd's domain under an enforcing policy."""
    with guest("bookworm") as machine:
        machine.run(f"cp /opt/fim-bootstrap/{BINARY} /usr/local/sbin/fim-bootstrap")
        machine.run("restorecon /usr/local/sbin/fim-bootstrap")
        machine.run(f"printf '%s' '{BY_SYSTEMD}' > /root/by-systemd")
        machine.program = "sh /root/by-systemd"
        first = machine.fim("apply")
        assert first.status == 0, first.out + first.err
        ready(machine)
        watched_event_arrives(machine, "binary")
        assert machine.fim("apply").report["changed"] is False
        assert machine.run("ls -d /tmp/_MEI* /var/tmp/_MEI*", check=False).out == ""
        machine.program = FIM
        assert machine.fim("check").report["verdict"] == "ready"
        machine.program = "/usr/local/sbin/fim-bootstrap"
        reverted = machine.fim("revert")
        assert (reverted.status, reverted.report["changed"]) == (0, True), reverted.out + reverted.err


@needs_binary
def test_a_golden_image_is_ready_without_anyone_logging_in() -> None:
    """A tree that was prepared with --root alone boots, enforcing, and finishes by itself; the builder is untouched."""
    binary = str(PROJECT / BINARY)
    before = builder()

    def prepare(root: Path) -> None:
        words = [binary, "apply", "--root", str(root), "--first-boot", "--guard", "--format", "json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        seen = Ran(done.returncode, done.stdout, done.stderr)
        assert (seen.status, seen.report["verdict"]) == (0, "ready"), seen.out + seen.err
        again = subprocess.run(words, capture_output=True, text=True, check=True)
        assert json.loads(again.stdout)["changed"] is False, again.stdout
        assert not (root / "usr/sbin/policy-rc.d").exists()

    with prepared("bookworm", prepare) as base, guest("bookworm", base=base) as machine:
        assert builder() == before
        assert machine.run("getenforce").out.strip() == "Enforcing"
        machine.run("for i in $(seq 120); do systemctl is-active -q fim-bootstrap-firstboot && exit 0; sleep 1; done;"
                    " systemctl status fim-bootstrap-firstboot; exit 1", timeout=180)  # fmt: skip
        assert json.loads(machine.run("cat /run/fim-bootstrap/result.json").out)["verdict"] == "ready"
        assert machine.run("systemctl is-enabled fim-bootstrap-firstboot", check=False).out.strip() == "disabled"
        ready(machine)
        watched_event_arrives(machine, "golden")
        machine.run("systemctl is-active fim-bootstrap-guard.timer fim-bootstrap-guard.path")
        guarded(machine, WELL, "ready (exit 0)")


USERS_OWN = "runcmd:\n  - touch /root/my-own-runcmd\n"


def user_data(*more: str) -> str:
    """What `cloud-config` prints for the binary in /srv."""
    words = [str(PROJECT / BINARY), "cloud-config", "--url", "file:///srv/fim-bootstrap", "--skip", "delivery", *more]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout + USERS_OWN


def seed(root: Path, user_data: str) -> None:
    """Have cloud-init find this user-data, and the binary, in the tree; then label it."""
    folder = root / "var/lib/cloud/seed/nocloud"
    folder.mkdir(parents=True)
    (folder / "user-data").write_text(user_data)
    (folder / "meta-data").write_text("instance-id: i-1\n")
    (root / "etc/cloud/cloud.cfg.d/99-test.cfg").write_text(
        "datasource_list: [NoCloud, None]\nnetwork: {config: disabled}\nlocale: false\nssh_genkeytypes: []\n"
    )
    # Debian's policy does not let cloud-init's generator write to /run, so its target is enabled by hand
    wants = root / "etc/systemd/system/multi-user.target.wants"
    (wants / "cloud-init.target").symlink_to("/lib/systemd/system/cloud-init.target")
    (root / "etc/tmpfiles.d/cloud-init-enabled.conf").write_text("f /run/cloud-init/enabled\n")
    shutil.copy(PROJECT / BINARY, root / "srv/fim-bootstrap")
    label(root)


def cloud_init_is_done(machine: Guest) -> None:
    """cloud-init has come to its end, and has nothing to complain about."""
    status = machine.run("cloud-init status --wait --long", timeout=400, check=False)
    assert "status: done" in status.out, status.out + machine.run("cat /var/log/cloud-init-output.log").out


@needs_binary
@pytest.mark.parametrize(("suite", "good"), [("bookworm", False), ("trixie", True)])
def test_cloud_init(suite: str, good: bool) -> None:
    """Real cloud-init runs the user-data that `cloud-config` prints; what fails is told, and stops nothing else."""
    printed = user_data(*([] if good else ["--sha256", "0" * 64]))
    packages = ("cloud-init",)
    with prepared(suite, lambda root: seed(root, printed), packages) as base, guest(suite, base=base) as machine:
        status = machine.run("cloud-init status --wait --long", timeout=400, check=False)
        machine.run("cloud-init schema -c /var/lib/cloud/seed/nocloud/user-data || cloud-init schema --system")
        machine.run("test -e /root/my-own-runcmd")
        if not good:
            assert "status: error" in status.out, status.out
            assert "per_instance" in status.out.replace("-", "_")
            assert machine.run("test -e /usr/local/sbin/fim-bootstrap", check=False).status != 0
            return
        cloud_init_is_done(machine)
        assert machine.run("cat /etc/fim-bootstrap/config.toml").out == 'skip = ["delivery"]\n'
        machine.program = "/usr/local/sbin/fim-bootstrap"
        assert machine.fim("check").report["verdict"] == "ready"
        watched_event_arrives(machine, "cloud")


# apt-get asks whether it may go on, its lock in hand, until our log says that it is waited for
HOLDER = """\
[Unit]
Before=cloud-final.service
ConditionPathExists=!/root/held

[Service]
SELinuxContext=-unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023
TimeoutStartSec=300
ExecStart=/bin/sh /root/hold
ExecStartPost=/bin/sh /root/hold until-it-holds

[Install]
WantedBy=multi-user.target
"""
HOLD = """\
if [ $# = 1 ]; then
    until inode=$(stat -c %i /var/lib/dpkg/lock-frontend) && grep -q ":$inode " /proc/locks; do sleep 0.2; done
    touch /root/held
else
    {
        for i in $(seq 300); do
            grep -q 'apt is locked by' /var/log/fim-bootstrap.log && break
            sleep 1
        done
        echo n
    } | apt-get remove policycoreutils
fi
"""
RUNS = "grep -c '^[^ ]* apply ' /var/log/fim-bootstrap.log"


@needs_binary
def test_cloud_init_reboots_a_frozen_kernel_once() -> None:
    """The image freezes the rules, and apt-get is at work: both are over after one reboot, which cloud-init makes."""

    def prepare(root: Path) -> None:
        (root / "etc/audit/rules.d/99-finalize.rules").write_text("-e 2\n")
        (root / "etc/systemd/system/apt-at-work.service").write_text(HOLDER)
        (root / "root/hold").write_text(HOLD)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        (wants / "apt-at-work.service").symlink_to("../apt-at-work.service")
        seed(root, user_data())

    with prepared("bookworm", prepare, ("cloud-init", "auditd")) as base, guest("bookworm", base=base) as machine:
        machine.run("for i in $(seq 60); do auditctl -s | grep -q 'enabled 2' && exit 0; sleep 1; done; exit 1")
        machine.rebooted(600)
        machine.program = "/usr/local/sbin/fim-bootstrap"
        finished = "systemctl is-enabled -q fim-bootstrap-after-reboot.service || exit 0"
        machine.run(f"for i in $(seq 120); do {finished}; sleep 1; done; exit 1", timeout=200)
        log = machine.run("cat /var/log/fim-bootstrap.log").out
        assert re.search(r"apt is locked by process \d+ \(apt-get\)", log), log
        assert "enabled 1" in machine.run("auditctl -s").out
        cloud_init_is_done(machine)
        machine.run("test -e /root/my-own-runcmd")
        assert machine.fim("check").report["verdict"] == "ready"
        watched_event_arrives(machine, "unfrozen")
        # in the second boot of the instance only our own unit has run
        assert machine.run(RUNS).out == "2\n"
        machine.run("cloud-init clean --logs")
        machine.reboot()
        cloud_init_is_done(machine)
        assert machine.run(RUNS).out == "3\n"
        again = json.loads(machine.run("cat /run/fim-bootstrap/result.json").out)
        assert (again["changed"], again["verdict"]) == (False, "ready")
        machine.run("sleep 5; ! systemctl list-jobs --no-legend | grep reboot")


def builder() -> tuple[str, ...]:
    """What an image build must not touch on the machine that it runs on."""
    folders = ("/etc/audit", "/etc/selinux", "/var/lib/selinux", "/var/lib/dpkg/info", "/etc/systemd/system")
    listing = ["find", *(f for f in folders if Path(f).exists()), "-printf", "%p %T@ %s\\n"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["auditctl", "-s"], capture_output=True, text=True, check=False).stdout
    daemons = subprocess.run(["pgrep", "-x", "auditd"], capture_output=True, text=True, check=False).stdout
    return listed, rules.partition("backlog ")[0], daemons


def now(machine: Guest) -> float:
    """The guest's clock."""
    return float(machine.run("date +%s.%N").out)


def denials_since(machine: Guest, moment: float) -> list[str]:
    """The AVC records of the plugin that are younger than a moment."""
    lines = [line for line in machine.run(AVC).out.splitlines() if "avc:" in line]
    return [line for line in lines if float(line.partition("audit(")[2].partition(":")[0]) > moment]


@pytest.fixture(scope="module")
def layer() -> Iterator[Path]:
    """The disk of a Debian 12 that was made ready, with the agent at work; of /etc/audit as it was there is a copy."""
    with guest("bookworm") as machine:
        machine.run("apt-get update && apt-get install -y auditd && cp -a /etc/audit /root/audit.before", timeout=300)
        applied = machine.fim("apply")
        assert applied.status == 0, applied.out + applied.err
        running(machine)
        machine.shutdown()
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="layer.") as folder:
            disk = Path(folder) / "ready.qcow2"
            machine.overlay.rename(disk)
            yield disk


def test_what_breaks_is_healed(layer: Path) -> None:
    """One thing after another goes wrong on a ready host, and one apply mends each."""
    with guest("bookworm", layer=layer) as machine:
        ready(machine)
        machine.run("sed -i 's/^dispatcher/#dispatcher/' /etc/audit/auditd.conf")
        healed(machine, "the dispatcher line is not in force")
        # masked, so that systemd does not start it again before we look
        machine.run("systemctl mask --runtime auditd; kill -9 $(pidof auditd); sleep 1")
        machine.run("systemctl unmask --runtime auditd")
        healed(machine, "auditd is not running")
        # upstream's unit, and so that of most distributions, refuses a manual stop
        machine.run("mkdir -p /etc/systemd/system/auditd.service.d")
        machine.run("printf '[Unit]\\nRefuseManualStop=yes\\n' > /etc/systemd/system/auditd.service.d/refuse.conf")
        machine.run("systemctl daemon-reload; ! systemctl restart auditd")
        machine.run("sed -i 's/^num_logs.*/num_logs = 6/' /etc/audit/auditd.conf")
        healed(machine, "auditd started before auditd.conf last changed")
        machine.run("rm -r /etc/systemd/system/auditd.service.d; systemctl daemon-reload")
        the_agent_gives_up(machine)


def test_what_is_waited_for_and_what_a_person_has_to_mend(layer: Path) -> None:
    """A slow agent, a broken auditd.conf, an agent that wants auditd stopped: nothing is done behind anyone's back."""
    with guest("bookworm", layer=layer) as machine:
        ready(machine)
        the_agent_is_slow(machine)
        broken_auditd_conf(machine)
        the_agent_wants_auditd_stopped(machine)


# with what the agent gives up; how it comes to that; what the tool says
CAUSES = (
    (201, "apt-get purge -y semodule-utils", "semodule_package"),
    (206, "auditctl -a never,task", "never,task"),
)


def the_agent_gives_up(machine: Guest) -> None:
    """A tool that is missing, a rule that silences: the cause is named, mended, and the agent started once more."""
    for status, deed, because in CAUSES:
        # stopped first: it would put its own never,task rule away with the rules that are loaded anew
        machine.run(f"systemctl stop qualys-cloud-agent; {deed}", timeout=300)
        if status == 206:  # loaded with each restart of auditd
            machine.run("echo '-a never,task' > /etc/audit/rules.d/40-silence.rules")
        machine.run("systemctl start qualys-cloud-agent")
        comes(machine, f"tail -n 1 {SCRIPT_LOG} | grep 'giving up with {status}'")
        healed(machine, because)


# a module that declares the type of the agent's own
RIVAL = """\
module rival 1.0;
require { attribute file_type; }
type qualys_sock_dir_t, file_type;
"""
BUILD = "checkmodule -M -m -o rival.mod rival.te && semodule_package -o rival.pp -m rival.mod && semodule -i rival.pp"
# with what the agent gives up; how it comes to that; what a person does about it; what the tool says; how its check and
# its apply end: a label it would restore itself
BY_HAND = (
    (202, f"cd /root && printf '%s' '{RIVAL}' > rival.te && {BUILD}", "semodule -r rival", "could not be loaded", 4, 4),
    (203, f"chattr +i {SOCK}", f"chattr -i {SOCK}", "could not be restored", 3, 1),
)


def test_what_the_agent_gives_up_for_and_a_person_has_to_mend(layer: Path) -> None:
    """Its policy module, its label, its mode: the cause is named, and it is not restarted for what stands."""
    with guest("bookworm", layer=layer) as machine:
        ready(machine)
        for status, deed, mended, because, found, ended in BY_HAND:
            machine.run(f"systemctl stop qualys-cloud-agent; {deed}; systemctl start qualys-cloud-agent", timeout=400)
            comes(machine, f"tail -n 1 {SCRIPT_LOG} | grep 'giving up with {status}'")
            before, seen = starts(machine), machine.fim("check")
            assert (seen.status, seen.report["agent"]) == (found, "gave-up"), seen.out
            assert because in seen.out
            assert (machine.fim("apply").status, starts(machine)) == (ended, before)
            machine.run(f"{mended}; systemctl restart qualys-cloud-agent", timeout=400)
            ready(machine)
        machine.run(f"sed -i 's/^UseAuditDispatcher=1/UseAuditDispatcher=0/' {AGENT_CONF}")
        machine.run("systemctl restart qualys-cloud-agent", timeout=400)
        comes(machine, f"tail -n 1 {SCRIPT_LOG} | grep 'giving up with 204'")
        assert machine.fim("check").status == 4
        machine.run(f"sed -i 's/^UseAuditDispatcher=0/UseAuditDispatcher=1/' {AGENT_CONF}")
        healed(machine, "that is over")


def test_the_agent_that_meets_our_semodule_is_started_once_more(layer: Path) -> None:
    """Its own gives up where ours holds the store; ours is not begun while its start or stop is at work."""
    with guest("bookworm", layer=layer) as machine:
        ready(machine)
        machine.run("systemctl stop qualys-cloud-agent; semodule -r fim_bootstrap", timeout=400)
        machine.run("(until pgrep -x semodule; do sleep 0.1; done; systemctl start qualys-cloud-agent)"
                    " >/dev/null 2>&1 &")  # fmt: skip
        met = machine.fim("apply")
        assert met.status == 0, met.out + met.err
        assert "giving up with 202" in machine.run(f"cat {SCRIPT_LOG}").out
        ready(machine)
        before = machine.run("semodule -r fim_bootstrap; echo SLOW=60 > /etc/qualys/stand-in;"
                             f" systemctl restart --no-block qualys-cloud-agent; sleep 5; wc -l < {SCRIPT_LOG}",
                             timeout=400).out.split()[-1]  # fmt: skip
        waited = machine.fim("apply")
        assert waited.status == 0, waited.out + waited.err
        since = machine.run(f"tail -n +{int(before) + 1} {SCRIPT_LOG}").out
        assert "start: script complete" in since
        assert "giving up" not in since
        machine.run("rm /etc/qualys/stand-in")
        ready(machine)


def the_agent_is_slow(machine: Guest) -> None:
    """Its policy tool takes two minutes: it is waited for, not helped, and nothing is said to be wrong."""
    before = starts(machine)
    machine.run("echo SLOW=120 > /etc/qualys/stand-in; systemctl restart qualys-cloud-agent", timeout=300)
    seen = machine.fim("check")
    assert (seen.status, seen.status_of("agent")) == (3, "waiting"), seen.out
    applied = machine.fim("apply")
    assert (applied.status, applied.report["changed"]) == (0, False), applied.out + applied.err
    ready(machine)
    assert starts(machine) == before + 1
    machine.run("rm /etc/qualys/stand-in")


def broken_auditd_conf(machine: Guest) -> None:
    """Which line is broken is said, and nothing else is touched."""
    machine.run("cp -a /etc/audit /root/audit.good; sed -i '3a nonsense = 1' /etc/audit/auditd.conf")
    machine.run("echo '-e 2' > /etc/audit/rules.d/99-lock.rules")
    before = machine.run(STATE).out
    refused = machine.fim("apply")
    assert refused.status == 4
    assert "/etc/audit/auditd.conf:4: 'nonsense = 1'" in refused.out
    assert machine.run(STATE).out == before
    machine.run("rm -r /etc/audit; mv /root/audit.good /etc/audit")
    assert machine.fim("apply").status == 0
    ready(machine)


def the_agent_wants_auditd_stopped(machine: Guest) -> None:
    """UseAuditDispatcher=0: blocked with both ways out, until --mode direct agrees."""
    machine.run(f"sed -i 's/^UseAuditDispatcher=1/UseAuditDispatcher=0/' {AGENT_CONF}")
    blocked = machine.fim("apply")
    assert blocked.status == 4
    assert "UseAuditDispatcher=1" in blocked.out
    assert "--mode direct" in blocked.out
    assert machine.run("systemctl is-active auditd").out.strip() == "active"
    direct = machine.fim("apply --mode direct")
    assert direct.status == 0, direct.out + direct.err
    assert machine.run("systemctl is-active auditd; systemctl is-enabled auditd", check=False).out.split() == [
        "inactive", "disabled",
    ]  # fmt: skip
    assert machine.fim("apply --mode direct").report["changed"] is False
    machine.run(f"sed -i 's/^UseAuditDispatcher=0/UseAuditDispatcher=1/' {AGENT_CONF}")
    healed(machine, "auditd is not running")


GUARD = "fim-bootstrap-guard.service"
# the lock in somebody's hand, and the pid of a process of our name that does not hold it
AT_WORK = "flock --no-fork /var/lib/fim-bootstrap/lock sleep 300 >/dev/null 2>&1 & echo $! > /run/at-work"
FORGED = "(exec -a fim-bootstrap sleep 300) >/dev/null 2>&1 & echo $! > /var/lib/fim-bootstrap/lock"


def guarded(machine: Guest, state: str, because: str = "") -> None:
    """The guard has come to this state, and its last check said why."""
    seen = f"systemctl show -P Result -P ActiveState -P SubState {GUARD} | xargs"
    began = f'[ -n "$(systemctl show -P InvocationID {GUARD})" ]'  # one that never ran looks well, too
    machine.run(f"for i in $(seq 90); do [ \"$({seen})\" = '{state}' ] && {began} && exit 0; sleep 1; done; {seen};"
                f" journalctl -b -u {GUARD}; exit 1", timeout=600)  # fmt: skip
    last = machine.run(f"journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {GUARD})").out
    assert because in last, machine.run(f"journalctl -b -u {GUARD}").out


WELL, ILL, WAITING = "success inactive dead", "exit-code failed failed", "success activating start-pre"


def guard_says_what_check_says(machine: Guest) -> None:
    """In its sandbox it comes to the report of a plain check; without the drop-in it is one line of the journal."""
    plain = machine.fim("check").report
    folder = f"/run/systemd/system/{GUARD}.d"
    drop_in = "[Service]\\nEnvironment=FIM_BOOTSTRAP_FORMAT=json FIM_BOOTSTRAP_BRIEF=no\\n"
    started = (f"systemctl start {GUARD}; journalctl -o cat -t fim-bootstrap"
               f" _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {GUARD})")  # fmt: skip
    machine.run(f"mkdir -p {folder}; printf '{drop_in}' > {folder}/json.conf; systemctl daemon-reload")
    guards = json.loads(machine.run(started, timeout=300).out)
    machine.run(f"rm -r {folder}; systemctl daemon-reload")
    assert guards["requirements"] == plain["requirements"]
    assert [(hop["hop"], hop["state"]) for hop in guards["chain"]] == [(h["hop"], h["state"]) for h in plain["chain"]]
    assert len(machine.run(started, timeout=300).out.splitlines()) == 1


@needs_binary
def test_the_guard_says_when_a_host_drifts(layer: Path) -> None:
    """Its service fails within seconds, with the reason in the journal, and is well again after apply."""
    with guest("bookworm", layer=layer) as machine:
        machine.program = f"/opt/fim-bootstrap/{BINARY}"
        applied = machine.fim("apply --guard")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out + applied.err
        guarded(machine, WELL, "ready (exit 0)")  # apply ends with its result, and that is a reason to look
        assert machine.fim("check --guard").status == 0
        machine.run("echo '-a never,task' > /etc/audit/rules.d/50-drift.rules")
        guarded(machine, ILL, "not ready: rules")
        assert GUARD in machine.run("systemctl --failed --no-legend").out
        assert machine.fim("apply --guard").report["done"] == [
            "edit /etc/audit/rules.d/50-drift.rules: comment out what freezes or silences the rules"
        ]
        guarded(machine, WELL)
        once = machine.run(f"systemctl show -P InvocationID {GUARD}; sleep 10").out
        assert machine.run(f"systemctl show -P InvocationID {GUARD}").out == once
        machine.run(f"{AT_WORK}; systemctl stop auditd; sleep 6")
        guarded(machine, WAITING)
        machine.run(f"{FORGED}; kill $(cat /run/at-work)")
        guarded(machine, ILL, "an event stops at auditd")
        machine.run("sed -i 's/^num_logs.*/num_logs = 7/' /etc/audit/auditd.conf; semodule -r qualys-agent-plugin",
                    timeout=300)  # fmt: skip
        guard_says_what_check_says(machine)
        machine.run("for i in $(seq 150); do [ -n \"$(systemctl show -P LastTriggerUSec fim-bootstrap-guard.timer)\" ]"
                    " && exit 0; sleep 1; done; exit 1", timeout=200)  # fmt: skip
        assert machine.fim("revert").status == 0
        left = "systemctl list-units --all --no-legend 'fim-bootstrap-*'; find /etc/systemd -name 'fim-bootstrap-*'"
        assert machine.run(left).out == ""


def test_revert_takes_everything_back(layer: Path) -> None:
    """Every edited file byte for byte, the module unloaded; the agent goes on with its own."""
    with guest("bookworm", layer=layer) as machine:
        ready(machine)
        reverted = machine.fim("revert")
        assert reverted.status == 0, reverted.out + reverted.err
        machine.run("diff -r -x edr-plugin.conf /root/audit.before /etc/audit")
        assert "fim_bootstrap" not in machine.run("semodule -lfull").out
        assert machine.fim("revert").report["changed"] is False
        machine.run("systemctl restart qualys-cloud-agent", timeout=300)
        running(machine)
        watched_event_arrives(machine, "reverted")


# lines of shell, the last one ended
ANOTHER_USER = f"""
    useradd scan; chown scan: /{AGENT}/bin /{AGENT}/sock /{AGENT}/bin/qualys-*; chown -R scan: /{AGENT}/fim
    mkdir -p /var/log/qualys; chown scan: /var/log/qualys; chgrp scan {AGENT_CONF}; chmod 640 {AGENT_CONF}
    echo 'scan ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/scan
    printf 'User=scan\\n' >> {AGENT_CONF}; sed -i s/UseSudo=0/UseSudo=1/ {AGENT_CONF}
"""


def test_where_ours_alone_grants() -> None:
    """Where the agent takes a system for Ubuntu it leaves SELinux out: denied, granted by ours, and denied again.

    So it is when its folders become another user's, into which root may not go without a capability.
    """
    with guest("bookworm") as machine:
        machine.run("echo DISTRIB_ID=Ubuntu > /etc/lsb-release")
        machine.run("apt-get update; apt-get install -y auditd sudo checkpolicy semodule-utils", timeout=300)
        begun = now(machine)
        machine.run("systemctl restart qualys-cloud-agent", timeout=300)
        denied(machine, begun)
        refused = machine.fim("check")
        assert (refused.status, refused.status_of("policy")) == (3, "change"), refused.out
        applied = machine.fim("apply")
        assert applied.status == 0, applied.out + applied.err
        ready(machine)
        watched_event_arrives(machine, "ours")
        machine.run("systemctl stop qualys-cloud-agent", timeout=300)
        machine.run(f"{ANOTHER_USER}systemctl start qualys-cloud-agent; sleep 15")
        healed(machine, "dac_override")
        watched_event_arrives(machine, "scan")
        assert machine.fim("apply").report["changed"] is False
        assert machine.fim("revert").status == 0
        machine.run("systemctl restart qualys-cloud-agent", timeout=300)
        unserved(machine)  # auditd looks for the plugin's program before it listens to the kernel: no record of that
        machine.run("journalctl -b -o cat | grep 'edr-plugin.*Permission denied'")
        assert "dac_override" in machine.fim("check").out


def test_the_agent_of_another_user(layer: Path) -> None:
    """Its folders are that user's, 0700, and it becomes root by sudo: the vendor's module is enough."""
    with guest("bookworm", layer=layer) as machine:
        machine.run("apt-get install -y sudo; systemctl stop qualys-cloud-agent", timeout=300)
        machine.run(f"{ANOTHER_USER}systemctl start qualys-cloud-agent")
        ready(machine)
        watched_event_arrives(machine, "scan")
        who = pids(machine)
        assert machine.fim("apply").report["changed"] is False
        assert pids(machine) == who


def test_service_auditd_restart_as_enterprise_linux_has_it(layer: Path) -> None:
    """Through the legacy action of each release of audit; without what that calls auditd just runs on.

    The tool says so beforehand, from files alone.
    """
    with guest("bookworm", layer=layer) as machine:
        running(machine)  # its start restarts auditd, too
        for shape, calls in SHAPES.items():
            dress(machine, shape)
            restarts_as_foretold(machine, True, shape)
            for _, place in calls:
                both = f"for p in {place} /usr/sbin/{Path(place).name}; do"  # Debian's own auditctl, too
                machine.run(f"{both} [ ! -e $p ] || mv $p $p.away; done")
                restarts_as_foretold(machine, False, f"{shape} without {place}")
                machine.run(f"{both} [ ! -e $p.away ] || mv $p.away $p; done")
        machine.run("systemctl restart qualys-cloud-agent", timeout=300)
        running(machine)
        watched_event_arrives(machine, "legacy")


def restarts_as_foretold(machine: Guest, works: bool, case: str) -> None:
    """Whether `service auditd restart` works; one that was left down is started."""
    foretold = "the agent could not restart auditd" not in machine.fim("check").out
    before = machine.run("pidof auditd").out
    machine.run("service auditd restart; sleep 3; systemctl start auditd", check=False)
    restarted = machine.run("pidof auditd").out != before
    assert (foretold, restarted) == (works, works), case


@needs_binary
def test_the_binary_on_a_fips_kernel(layer: Path) -> None:
    """Debian's apt itself aborts in FIPS mode, so the packages are there; all else is done anew."""
    with guest("bookworm", f"{ENFORCING} fips=1", layer=layer) as machine:
        assert machine.run("cat /proc/sys/crypto/fips_enabled").out == "1\n"
        machine.program = f"/opt/fim-bootstrap/{BINARY}"
        assert machine.fim("revert").status == 0
        applied = machine.fim("apply")
        assert applied.status == 0, applied.out + applied.err
        ready(machine)
        watched_event_arrives(machine, "fips")


def test_hostile_rules_need_one_reboot(layer: Path) -> None:
    """-e 2 and never,task in several files and spellings; a kernel that audits from its start, and is immutable."""
    with guest("bookworm", f"{ENFORCING} audit=1", layer=layer) as machine:
        machine.run(r"""
            printf -- '-D\n-b 8192\n-f 1\n-i\n' > /etc/audit/rules.d/audit.rules
            printf -- '-a task,never\n' > /etc/audit/rules.d/10-no-audit.rules
            printf -- '-A never,task\n' > /etc/audit/rules.d/20-more.rules
            printf -- '-w /etc/passwd -p wa -k who\n' > /etc/audit/rules.d/50-keep.rules
            printf -- '-f 1 -e2\n' > /etc/audit/rules.d/98-lock.rules
            printf -- '-e 2\n' > /etc/audit/rules.d/99-finalize.rules
        """)
        machine.reboot()
        assert "enabled 2" in machine.run("auditctl -s").out
        assert "-a never,task" in machine.run("auditctl -l").out
        comes(machine, f"tail -n 1 {SCRIPT_LOG} | grep 'giving up with 205'")
        seen = machine.fim("check")
        assert (seen.status, seen.status_of("agent")) == (3, "waiting"), seen.out
        applied = machine.fim("apply")
        assert (applied.status, applied.report["reboot_required"]) == (0, True), applied.out + applied.err
        assert applied.report["verdict"] == "ready-after-reboot"
        assert "reboot required" in applied.report["comment"]
        assert machine.fim("apply").report["changed"] is False
        assert machine.fim("reboot-required").status == 0
        assert machine.fim("check").status == 3
        machine.reboot()
        assert "enabled 1" in machine.run("auditctl -s").out
        assert "-w /etc/passwd -p wa -k who" in machine.run("auditctl -l").out
        ready(machine)
        watched_event_arrives(machine, "unlocked")
        assert machine.fim("reboot-required").status == 1


@pytest.mark.parametrize(
    ("options", "mode"), [(PERMISSIVE, "permissive"), (NO_SELINUX, "disabled")], ids=["permissive", "off"]
)
def test_selinux_that_does_not_enforce(options: str, mode: str) -> None:
    """Permissive is prepared like enforcing; where SELinux is off its tools are not even installed."""
    with guest("bookworm", options) as machine:
        applied = machine.fim("apply")
        assert applied.status == 0, applied.out + applied.err
        policy = next(item for item in applied.report["requirements"] if item["id"] == "policy")
        if mode == "permissive":
            assert policy["status"] == "ok"
            assert "permissive" in policy["summary"]
        else:
            assert policy["status"] == "skipped"
            assert machine.run("command -v checkmodule", check=False).status != 0
        ready(machine)
        assert machine.fim("apply").report["changed"] is False


def test_no_agent(layer: Path) -> None:
    """A host is made ready before its agent comes; a missing agent is no failure, and a later one just works."""
    unit = "/etc/systemd/system/qualys-cloud-agent.service"
    away = {"/usr/local/qualys": "/root/qualys", "/etc/qualys": "/root/etc-qualys", unit: "/root/unit"}
    with guest("bookworm", layer=layer) as machine:
        machine.run("systemctl disable --now qualys-cloud-agent", timeout=300)
        machine.run("; ".join(f"mv {there} {kept}" for there, kept in away.items()))
        machine.run("systemctl daemon-reload")
        seen = machine.fim("check")
        assert (seen.status, seen.report["verdict"]) == (0, "ready"), seen.out
        assert seen.status_of("agent") == "skipped"
        assert machine.fim("apply").report["changed"] is False
        machine.run("; ".join(f"mv {kept} {there}" for there, kept in away.items()))
        machine.run("systemctl daemon-reload; systemctl enable --now qualys-cloud-agent")
        ready(machine)
        watched_event_arrives(machine, "later")
        assert machine.fim("apply").report["changed"] is False
