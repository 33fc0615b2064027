"""The machine's edge: real processes, real files, real locks."""

from __future__ import annotations

import os
import signal
import stat
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fim_bootstrap import changes, dialects, facts, journal, managers
from fim_bootstrap.errors import BootstrapError, Busy
from fim_bootstrap.host import CHUNK, File, LiveHost, Output, booted
from fim_bootstrap.journal import digest
from fim_bootstrap.model import Profile
from tests.conftest import AUDITD_CONF, needs_root

NOBODY = 0xFFFFFFFF  # an entry of an access control list that names no one


@pytest.fixture
def host(tmp_path: Path) -> LiveHost:
    """A tree of its own; nothing is run in it."""
    (tmp_path / "etc").mkdir()
    return LiveHost(str(tmp_path))


def test_a_pattern_matches_in_folders_too_and_the_root_is_no_pattern(tmp_path: Path) -> None:
    for name in ("a/policy.33", "b/policy.31", "b/policy.kern"):
        file = tmp_path / "tree[1]/etc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = LiveHost(str(tmp_path / "tree[1]")).glob("/etc/*/policy.[0-9]*")
    assert found == ["/etc/a/policy.33", "/etc/b/policy.31"]


Ask = Callable[..., Output]


@pytest.fixture(params=["query", "run"])
def ask(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """One command on this machine, started in each of the two ways."""
    monkeypatch.setattr("fim_bootstrap.host.LOG", str(tmp_path / "log"))

    def asked(*argv: str, timeout: float = 30) -> Output:
        here = LiveHost()
        if request.param == "query":
            return here.query(argv, timeout=timeout)[0]
        return here.run(*argv, timeout=timeout, ok=range(256))

    return asked


def test_a_child_has_our_path_the_c_locale_and_no_terminal(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    said = ask("sh", "-c", "env; tty; cat; test -t 1 && echo terminal")
    lines = said.stdout.splitlines()
    assert "LC_ALL=C" in lines
    assert "https_proxy=http://proxy:1" in lines
    assert "not a tty" in lines
    assert "terminal" not in lines
    assert not [line for line in lines if line.startswith(("LD_LIBRARY_PATH", "PYTHON"))]


def test_every_way_to_end_is_a_status(ask: Ask) -> None:
    assert ask("sh", "-c", "exit 7").status == 7
    assert ask("no-such-command").status == 127
    assert ask("sh", "-c", "kill -9 $$").status == 137
    assert ask("sh", "-c", "printf 'a\\377b'").stdout == "a\ufffdb"


def test_queries_run_side_by_side() -> None:
    begun = time.monotonic()
    assert [output.status for output in LiveHost().query(*[("sleep", "0.5")] * 6)] == [0] * 6
    assert time.monotonic() - begun < 2.5


def test_a_command_that_hangs_is_ended_with_its_children(ask: Ask, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    seen = ask("sh", "-c", f"sleep 60 & echo $! > {mark}; wait", timeout=1)
    assert (seen.status, seen.stderr) == (124, "sh: no end within 1 s")
    for _ in range(50):
        try:
            state = Path(f"/proc/{mark.read_text().strip()}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            return
        if state == "Z":  # ended; only its new parent has not looked yet
            return
        time.sleep(0.1)
    pytest.fail("the grandchild lives on")


def test_a_grandchild_that_went_its_own_way_holds_nothing_up() -> None:
    """As a daemon that kept its parent's standard output."""
    command = ("sh", "-c", "setsid sleep 60 & echo started")
    begun = time.monotonic()
    assert LiveHost().run(*command, timeout=20).stdout == "started\n"
    assert LiveHost().query(command, timeout=1)[0].status == 124
    assert time.monotonic() - begun < 30


def test_a_failure_says_command_status_and_the_end_of_what_was_said() -> None:
    with pytest.raises(BootstrapError, match=r"sh -c .* failed with exit status 3: no luck"):
        LiveHost().run("sh", "-c", "echo no luck >&2; exit 3")


# acl(5) in the kernel's form: user::rw-, user:1234:r--, group::r--, mask::r--, other::---
ACL = struct.pack("<I" + "HHI" * 5, 2, 1, 6, NOBODY, 2, 4, 1234, 4, 4, NOBODY, 16, 4, NOBODY, 32, 0, NOBODY)


@needs_root
def test_replace_keeps_owner_mode_and_attributes(host: LiveHost, tmp_path: Path) -> None:
    file = tmp_path / "etc/conf"
    file.write_text("old")
    os.chown(file, 1234, 4321)
    file.chmod(0o640)
    attributes = {"user.mark": b"kept", "security.selinux": b"system_u:object_r:auditd_etc_t:s0\0",
                  "system.posix_acl_access": ACL}  # fmt: skip
    for name, value in attributes.items():
        os.setxattr(file, name, value)
    host.replace("/etc/conf", "old", "new\udcff")
    info = file.stat()
    assert file.read_bytes() == b"new\xff"
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 4321, 0o640)
    assert {name: os.getxattr(file, name) for name in os.listxattr(file)} == attributes
    assert os.listdir(tmp_path / "etc") == ["conf"]


def test_replace_refuses_what_changed_meanwhile_and_what_is_a_link(host: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "etc/conf").write_text("theirs")
    with pytest.raises(BootstrapError, match="changed while it was being looked at"):
        host.replace("/etc/conf", "old", "new")
    (tmp_path / "etc/link").symlink_to("conf")
    with pytest.raises(BootstrapError, match="a symbolic link to conf"):
        host.replace("/etc/link", "theirs", "new")
    with pytest.raises(BootstrapError, match="is gone"):
        host.replace("/etc/none", "", "new")
    assert (tmp_path / "etc/conf").read_text() == "theirs"


@needs_root
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if os.system(f"mount -t tmpfs -o size=16k none {mount}") != 0:
        pytest.skip("mounting is not allowed here")
    try:
        (mount / "conf").write_text("old")
        with pytest.raises(BootstrapError, match=r"No space left on device; what stood") as caught:
            LiveHost(str(mount)).replace("/conf", "old", "x" * 100_000)
        assert caught.value.remedy == "free some space, then run again"
        assert os.listdir(mount) == ["conf"]
        assert (mount / "conf").read_text() == "old"
        os.system(f"mount -o remount,ro {mount}")
        with pytest.raises(BootstrapError, match="Read-only file system"):
            LiveHost(str(mount)).replace("/conf", "old", "new")
    finally:
        os.system(f"umount {mount}")


def test_what_cannot_be_read_has_a_reason(host: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "etc/folder").mkdir()
    os.mkfifo(tmp_path / "etc/pipe")
    problems = {name: host.read(f"/etc/{name}") for name in ("folder", "pipe", "none")}
    assert problems["folder"]
    assert problems["folder"].problem == "a directory where a file should be"
    assert problems["pipe"]
    assert problems["pipe"].problem == "not a regular file"
    assert problems["none"] is None


def test_links_never_lead_out_of_the_tree(host: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "etc/up").symlink_to("../../../../../../etc/passwd")
    (tmp_path / "etc/passwd").write_text("inside")
    file = host.read("/etc/up")
    assert file
    assert file.text == "inside"
    (tmp_path / "etc/loop").symlink_to("loop")
    with pytest.raises(BootstrapError, match="too many symbolic links"):
        host.real("/etc/loop")


@pytest.mark.parametrize("before", [0, 5, CHUNK - 4, CHUNK - 1, CHUNK, 3 * CHUNK - 2])
def test_a_mark_is_found_wherever_it_stands_in_a_large_file(host: LiveHost, tmp_path: Path, before: int) -> None:
    (tmp_path / "etc/policy").write_bytes(b"m" * before + b"marker" + b"\0" * CHUNK)
    assert host.holds("/etc/policy", b"marker")
    assert not host.holds("/etc/policy", b"marked")
    assert not host.holds("/etc/none", b"marker")


def test_the_log_is_private_and_bounded(host: LiveHost, tmp_path: Path) -> None:
    (tmp_path / "var/log").mkdir(parents=True)
    for _ in range(3):
        host.log("x" * 700_000)
    logs = sorted((tmp_path / "var/log").iterdir())
    assert [log.name for log in logs] == ["fim-bootstrap.log", "fim-bootstrap.log.1"]
    assert logs[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_log_that_somebody_else_put_there_is_not_written_to(host: LiveHost, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "var/log"
    folder.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(folder / "fim-bootstrap.log")
    else:
        (folder / "fim-bootstrap.log").symlink_to(tmp_path / "etc/victim")
    host.log("a line")
    assert not (tmp_path / "etc/victim").exists()


@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_state_is_never_written_through_a_link(host: LiveHost, tmp_path: Path, name: str) -> None:
    state = tmp_path / "var/lib/fim-bootstrap"
    state.mkdir(parents=True)
    (state / name).symlink_to(tmp_path / "etc/victim")
    with pytest.raises(BootstrapError, match="cannot be written"), host.alone():
        journal.record(host, "edit", path="/a")
    assert not (tmp_path / "etc/victim").exists()


def test_a_damaged_journal_keeps_its_good_lines(host: LiveHost, tmp_path: Path) -> None:
    journal.record(host, "edit", path="/a", before="1", after="2")
    journal.record(host, "edit", path="/b", before="1", after="2")
    file = tmp_path / "var/lib/fim-bootstrap/journal.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text(f"{first[:20]}\nnull\n[]\n{second}\n\x00\x00")
    assert [entry["path"] for entry in journal.entries(host)] == ["/b"]


def test_an_inert_edit_does_not_make_the_daemon_stale(host: LiveHost, tmp_path: Path) -> None:
    conf = tmp_path / "etc/auditd.conf"
    conf.write_text("old")
    os.utime(conf, (1000, 1000))
    changes.EditFile("/etc/auditd.conf", "old", "new", "why", 1000.0, True).apply(
        host, lambda kind, **details: journal.record(host, kind, **details)
    )
    file = host.read("/etc/auditd.conf")
    assert file
    assert file.mtime > 1000
    assert journal.effective_since(journal.entries(host), file) == 1000.0
    conf.write_text("by hand")
    edited = host.read("/etc/auditd.conf")
    assert edited
    assert journal.effective_since(journal.entries(host), edited) == edited.mtime


def test_a_change_of_tomorrow_is_judged_by_our_own_restart() -> None:
    """The clock was set back: times of files say nothing then, seconds since the boot do."""
    file = File("/etc/auditd.conf", "text", time.time() + 86400)
    entry = {"id": "1", "kind": "restart", "service": "auditd", "boot": "b", "uptime": 7.0, "conf": digest("text")}
    assert facts._conf_since([entry], file, "b") == pytest.approx(booted() + 7, abs=1)
    for other in ({"boot": "c"}, {"conf": digest("other")}, {"service": "qualys-cloud-agent"}):
        assert facts._conf_since([{**entry, **other}], file, "b") == file.mtime
    assert facts._conf_since([entry], file._replace(mtime=5.0), "b") == 5.0


@needs_root
def test_the_preflight_asks_the_real_auditd() -> None:
    there = LiveHost().query(("unshare", "-Urpf", "--mount-proc=/run", "true"))[0].status == 0
    if not Path("/usr/sbin/auditd").exists() or not there:
        pytest.skip("needs auditd and user namespaces")
    pid_file = Path("/run/auditd.pid")
    lent = not pid_file.exists()
    if lent:
        pid_file.write_text("1\n")
    assert changes.preflight(LiveHost(), f"{AUDITD_CONF}dispatcher = /sbin/audispd\n") == ""
    assert "bogus" in changes.preflight(LiveHost(), f"{AUDITD_CONF}bogus = 1\n")
    assert pid_file.exists()
    if lent:
        pid_file.unlink()


def test_a_network_that_fails_is_tried_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managers, "PAUSE", 0.0)
    script = 'echo x >> "$0.tries"; [ $(wc -l < "$0.tries") -gt 2 ] && exit 0; echo "Could not resolve host: a"; exit 1'
    (tmp_path / "dead").write_text('echo x >> "$0.tries"; echo "Could not resolve host: a"; exit 1')
    (tmp_path / "slow").write_text(script)
    row = dialects.MANAGERS["dnf"]._replace(installed=("test", "-e"), remove=("sh",), locks=())
    managers.remove(LiveHost(), row, [str(tmp_path / "slow")], 1.0)
    assert (tmp_path / "slow.tries").read_text() == "x\n" * 3
    with pytest.raises(BootstrapError, match="Could not resolve host"):
        managers.remove(LiveHost(), row, [str(tmp_path / "dead")], 1.0)
    assert (tmp_path / "dead.tries").read_text() == "x\n" * (1 + managers.NETWORK_TRIES)


def test_children_get_the_proxies_and_nothing_else_of_the_environment(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("LD_PRELOAD", "/evil.so")
    seen = ask("env").stdout.splitlines()
    assert "https_proxy=http://proxy:3128" in seen
    assert not [line for line in seen if line.startswith(("LD_", "PYTHON", "USER"))]


def order(wanted: Mapping[str, tuple[str, ...]], patience: float) -> managers.Order:
    """What to install with this machine's apt."""
    return managers.Order(dialects.MANAGERS["apt"], Profile("debian-12", "Debian 12"), wanted, patience)


@needs_root
def test_a_lock_that_is_held_is_waited_for_and_its_holder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/var/lib/dpkg/lock-frontend").exists():
        pytest.skip("needs dpkg")
    import fcntl

    monkeypatch.setattr(managers, "PAUSE", 0.2)
    child = os.fork()
    if child == 0:
        with open("/var/lib/dpkg/lock-frontend", "w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            signal.pause()
    try:
        time.sleep(0.5)
        begun = time.monotonic()
        with pytest.raises(Busy, match=rf"apt is locked by process {child} \(.*python"):
            managers.install(LiveHost(), order({"true": ("coreutils",)}, 1.0))
        assert time.monotonic() - begun >= 1.0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@needs_root
def test_an_unknown_package_is_named_before_anything_is_installed() -> None:
    if LiveHost().query(("apt-cache", "policy", "bash"))[0].status != 0:
        pytest.skip("needs apt")
    with pytest.raises(BootstrapError, match=r"no package for the command frobnicate: .* none of no-such-package-1"):
        managers.install(LiveHost(), order({"frobnicate": ("no-such-package-1",), "sh": ("dash",)}, 5.0))
