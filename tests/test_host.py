"""The machine's edge: real processes, real files, real locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import resource
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional
from unittest.mock import patch

import pytest

from fim_bootstrap.changes import files, journal
from fim_bootstrap.changes.journal import digest
from fim_bootstrap.errors import BootstrapError, Busy
from fim_bootstrap.facts import audit as audit_facts
from fim_bootstrap.host.boot import booted
from fim_bootstrap.host.commands import PATH
from fim_bootstrap.host.files import CHUNK, opened, sweep, unwritten
from fim_bootstrap.host.live import LOG_LIMIT, LOG_LINE, LiveHost
from fim_bootstrap.host.reader import EACH, LIMIT, LINE, File, Output, read_together, too_large
from fim_bootstrap.managers import install, lock, lookup, retry, rows
from fim_bootstrap.model import Profile
from tests.conftest import needs_root
from tests.dict_host import DictHost

NOBODY = 0xFFFFFFFF  # an entry of an access control list that names no one
NOBODY_USER = 65534


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
    monkeypatch.setattr("fim_bootstrap.host.live.LOG", str(tmp_path / "log"))

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


def test_a_grandchild_that_went_its_own_way_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a daemon that kept its parent's standard output."""
    monkeypatch.setattr("fim_bootstrap.host.commands.KILL_AFTER", 0.5)
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
    for _ in range(250):
        host.log("x" * 70_000)
    logs = sorted((tmp_path / "var/log").iterdir())
    assert all(log.stat().st_size < LOG_LIMIT + 2 * LOG_LINE for log in logs)
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


@pytest.mark.parametrize(
    ("kind", "seconds", "waited_out"),
    [(fcntl.LOCK_SH, 0.3, True), (fcntl.LOCK_SH, 30.0, False), (fcntl.LOCK_EX, 0.3, False)],
    ids=["guard", "shared for long", "run"],
)
def test_who_only_looks_whether_the_lock_is_free_holds_no_run_up(
    host: LiveHost, tmp_path: Path, kind: int, seconds: float, waited_out: bool
) -> None:
    """The guard takes it shared, for a moment; another run has it alone, and is not waited for."""
    with host.alone():
        pass
    with (tmp_path / "var/lib/fim-bootstrap/lock").open() as held:
        fcntl.flock(held, kind)
        timer = threading.Timer(seconds, fcntl.flock, [held, fcntl.LOCK_UN])
        timer.start()
        if waited_out:
            with host.alone():
                pass
        else:
            with pytest.raises(Busy), host.alone():
                pass
        timer.cancel()
        timer.join()


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
    files.EditFile("/etc/auditd.conf", "old", "new", "why", 1000.0, True).apply(
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


def test_an_inert_edit_of_which_no_time_is_known_counts_as_the_last_change() -> None:
    step = {"kind": "edit", "path": "/x", "after": digest("new"), "inert": True}
    assert journal.effective_since([step], File("/x", "new", 7.0)) == 7.0


def test_a_file_that_became_none_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the opening, somebody put a pipe there."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    regular = os.stat(tmp_path / "file")
    with monkeypatch.context() as looked:
        looked.setattr(os, "stat", lambda _: regular)
        with pytest.raises(OSError, match="not a regular file"):
            opened(str(tmp_path / "pipe"))


def test_a_change_of_tomorrow_is_judged_by_our_own_restart() -> None:
    """The clock was set back: times of files say nothing then, seconds since the boot do."""
    file = File("/etc/auditd.conf", "text", time.time() + 86400)
    entry = {"id": "1", "kind": "restart", "service": "auditd", "boot": "b", "uptime": 7.0, "conf": digest("text")}
    assert audit_facts._conf_since([entry], file, "b") == pytest.approx(booted() + 7, abs=1)
    # an agent that restarts auditd stands in for it; one that came after it tells nothing new
    agents = {**entry, "service": "qualys-cloud-agent", "uptime": 9.0}
    assert audit_facts._conf_since([agents], file, "b") == pytest.approx(booted() + 9, abs=1)
    assert audit_facts._conf_since([entry, agents], file, "b") == pytest.approx(booted() + 7, abs=1)
    between = {**entry, "conf": digest("other"), "uptime": 8.0}
    assert audit_facts._conf_since([entry, between, agents], file, "b") == pytest.approx(booted() + 9, abs=1)
    for other in ({"boot": "c"}, {"conf": digest("other")}):
        assert audit_facts._conf_since([{**entry, **other}], file, "b") == file.mtime
    assert audit_facts._conf_since([entry], file._replace(mtime=5.0), "b") == 5.0


def test_a_network_that_fails_is_tried_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    script = 'echo x >> "$0.tries"; [ $(wc -l < "$0.tries") -gt 2 ] && exit 0; echo "Could not resolve host: a"; exit 1'
    (tmp_path / "dead").write_text('echo x >> "$0.tries"; echo "Could not resolve host: a"; exit 1')
    (tmp_path / "slow").write_text(script)
    row = rows.MANAGERS["dnf"]._replace(installed=("test", "-e"), remove=("sh",), locks=())
    install.remove(LiveHost(), row, [str(tmp_path / "slow")], 1.0)
    assert (tmp_path / "slow.tries").read_text() == "x\n" * 3
    with pytest.raises(BootstrapError, match="Could not resolve host"):
        install.remove(LiveHost(), row, [str(tmp_path / "dead")], 1.0)
    assert (tmp_path / "dead.tries").read_text() == "x\n" * (1 + retry.NETWORK_TRIES)


def test_children_get_the_proxies_and_nothing_else_of_the_environment(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("LD_PRELOAD", "/evil.so")
    seen = ask("env").stdout.splitlines()
    assert "https_proxy=http://proxy:3128" in seen
    assert not [line for line in seen if line.startswith(("LD_", "PYTHON", "USER"))]


def order(wanted: Mapping[str, tuple[str, ...]], patience: float) -> lookup.Order:
    """What to install with this machine's apt."""
    return lookup.Order(rows.MANAGERS["apt"], Profile("debian-12", "Debian 12"), wanted, patience)


@needs_root
def test_a_lock_that_is_held_is_waited_for_and_its_holder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/var/lib/dpkg/lock-frontend").exists():
        pytest.skip("needs dpkg")

    monkeypatch.setattr(lock, "PAUSE", 0.2)
    child = os.fork()
    if child == 0:
        with open("/var/lib/dpkg/lock-frontend", "w") as held:
            fcntl.lockf(held, fcntl.LOCK_EX)
            signal.pause()
    try:
        time.sleep(0.5)
        begun = time.monotonic()
        name = Path(f"/proc/{child}/comm").read_text().strip()  # pytest-xdist may have given it another than python
        with pytest.raises(Busy, match=re.escape(f"apt is locked by process {child} ({name})")):
            install.install(LiveHost(), order({"true": ("coreutils",)}, 1.0))
        assert time.monotonic() - begun >= 1.0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@needs_root
def test_an_unknown_package_is_named_before_anything_is_installed() -> None:
    if LiveHost().query(("apt-cache", "policy", "bash"))[0].status != 0:
        pytest.skip("needs apt")
    with pytest.raises(BootstrapError, match=r"no package for the command frobnicate: .* none of no-such-package-1"):
        install.install(LiveHost(), order({"frobnicate": ("no-such-package-1",), "sh": ("dash",)}, 5.0))


@pytest.fixture
def one_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) takes one byte of what it is given, as it may."""
    write = os.write
    monkeypatch.setattr("os.write", lambda handle, data: write(handle, bytes(data)[:1]))


@pytest.mark.usefixtures("one_byte")
def test_a_short_write_is_not_taken_for_a_whole_one(host: LiveHost, tmp_path: Path) -> None:
    state = tmp_path / "var/lib/fim-bootstrap"
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "etc/conf").write_text("old")
    with host.alone():
        assert (state / "lock").read_text() == f"{os.getpid()}\n"
    for path in ("/a", "/b"):
        journal.record(host, "edit", path=path)
    host.create("/etc/made", b"whole", 0o600)
    host.replace("/etc/conf", "old", "new text")
    host.log("a whole line")
    assert [entry["path"] for entry in journal.entries(host)] == ["/a", "/b"]
    assert (tmp_path / "etc/made").read_bytes() == b"whole"
    assert (tmp_path / "etc/conf").read_text() == "new text"
    assert (tmp_path / "var/log/fim-bootstrap.log").read_text().endswith(" a whole line\n")
    assert LiveHost().ask("/dev/null", "a question that is one write") is None


@needs_root
@pytest.mark.parametrize("room", [0, 1, 7, 40, 90])
def test_a_disk_with_a_few_bytes_left_takes_a_whole_line_or_none(tmp_path: Path, room: int) -> None:
    """A real file system; its last page has `room` bytes left behind what the journal and the log hold."""
    if os.system(f"mount -t tmpfs -o size=64k none {tmp_path}") != 0:
        pytest.skip("mounting is not allowed here")
    try:
        host = LiveHost(str(tmp_path))
        (tmp_path / "var/log").mkdir(parents=True)
        journal.record(host, "edit", path="/a")
        host.log("first")
        entry = json.dumps({"id": "0" * 16, "kind": "edit", "path": "/" + "b" * 3000})
        for path in (tmp_path / journal.JOURNAL[1:], tmp_path / "var/log/fim-bootstrap.log"):
            path.write_text(path.read_text() + "#" * (4096 - room - path.stat().st_size - 1) + "\n")
        with contextlib.suppress(OSError):
            (tmp_path / "filler").write_bytes(b"x" * 65536)
        sizes = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
        assert sizes[tmp_path / journal.JOURNAL[1:]] == 4096 - room
        with pytest.raises(BootstrapError, match="No space left on device"):
            host.append(journal.JOURNAL, entry)
        host.log("second " * 20)
        assert {path: path.stat().st_size for path in sizes} == sizes
        (tmp_path / "filler").unlink()
        journal.record(host, "edit", path="/c")
        assert [step["path"] for step in journal.entries(host)] == ["/a", "/c"]
    finally:
        os.system(f"umount -l {tmp_path}")


def test_no_step_is_begun_that_could_not_be_written_down(host: LiveHost, tmp_path: Path) -> None:
    """RLIMIT_FSIZE ends the journal in the middle of a line: write(2) is short, and the next one fails."""
    (tmp_path / "etc/conf").write_text("old")
    journal.record(host, "edit", path="/a")
    file = tmp_path / journal.JOURNAL[1:]
    change = files.EditFile("/etc/conf", "old", "new", "why")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = file.stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, before[1]))
        with pytest.raises(BootstrapError, match="File too large"):
            change.apply(host, lambda kind, **details: journal.record(host, kind, **details))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert ((tmp_path / "etc/conf").read_text(), file.stat().st_size) == ("old", size)


def test_what_is_no_regular_file_is_never_waited_for(host: LiveHost, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "etc/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "etc/socket"))
    for name in ("pipe", "socket"):
        file = host.read(f"/etc/{name}")
        assert file
        assert file.problem == "not a regular file"
        seen = (host.read_bytes(f"/etc/{name}"), host.tail(f"/etc/{name}", 5), host.holds(f"/etc/{name}", b"x"))
        assert seen == (None, b"", False)
    (tmp_path / "var/lib/fim-bootstrap").mkdir(parents=True)
    os.mkfifo(tmp_path / journal.JOURNAL[1:])
    with pytest.raises(BootstrapError, match="not a regular file"):
        journal.record(host, "edit", path="/a")


def test_what_lies_beyond_a_limit_is_a_problem_and_no_text(host: LiveHost, tmp_path: Path) -> None:
    texts = {"whole": b"a" * LIMIT, "large": b"a" * (LIMIT + 1), "lines": b"\n" * (LIMIT // LINE + 1)}
    for name, text in texts.items():
        (tmp_path / "etc" / name).write_bytes(text)
    found = {name: host.read(f"/etc/{name}") for name in texts}
    assert {name: (len(file.text), file.problem) for name, file in found.items() if file} == {
        "whole": (LIMIT, ""), "large": (0, "larger than 1 MB"), "lines": (0, "more than 20971 lines"),
    }  # fmt: skip
    with (tmp_path / "etc/log").open("wb") as file:
        file.seek(5 << 30)  # a hole
        file.write(b"the end")
    assert host.tail("/etc/log", 3) == b"end"
    assert host.tail("/etc/whole", 2 * LIMIT) == texts["whole"]
    assert host.read_bytes("/etc/log") is None


@pytest.mark.parametrize(
    "path", ["/etc/a\0b", "/etc/\ud800", "/etc/loop/a", "/etc/" + "a" * 300, "/a" * 3000],
    ids=["NUL", "surrogate", "circle", "long name", "long path"],
)  # fmt: skip
def test_no_path_from_outside_raises(host: LiveHost, tmp_path: Path, path: str) -> None:
    (tmp_path / "etc/loop").symlink_to("loop")
    for reader in (host, LiveHost()):
        file = reader.read(path)
        assert file is None or file.problem
        assert (reader.read_bytes(path), reader.stat(path), reader.link(path)) == (None, None, "")
        assert (reader.tail(path, 5), reader.holds(path, b"x"), list(reader.glob(f"{path}/*"))) == (b"", False, [])


@needs_root
def test_a_lock_that_anyone_may_take_stops_nothing() -> None:
    """rpm's lock is world-readable: nobody takes flock(2) on it, as he may, then root what rpm would wait for."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        locked = Path(folder) / "lock"
        locked.touch(mode=0o644)
        held, holder = _held(locked)
    assert held == {"flock": None, "read lock": None, "POSIX": holder, "OFD": 0}


def _held(locked: Path) -> tuple[dict[str, Optional[int]], int]:
    """What is seen of each kind of lock, and who held the POSIX one."""
    takes = {
        "flock": "fcntl.flock(open(path), fcntl.LOCK_EX)",
        "read lock": "fcntl.lockf(open(path), fcntl.LOCK_SH)",
        "POSIX": "fcntl.lockf(open(path, 'r+'), fcntl.LOCK_EX)",
        "OFD": "fcntl.fcntl(open(path, 'r+'), 37, __import__('struct').pack('hhqqi4x', 1, 0, 0, 0, 0))",
    }
    held: dict[str, Optional[int]] = {}
    holder = 0
    for name, take in takes.items():
        nobody = name in ("flock", "read lock")
        become = f"import os; os.setgid({NOBODY_USER}); os.setuid({NOBODY_USER})" if nobody else "pass"
        script = f"import fcntl, sys\n{become}\npath, kept = sys.argv[1], []\nreal = open\n"
        script += f"def open(*how): kept.append(real(*how)); return kept[-1]\n{take}\n"
        script += "print(flush=True)\nsys.stdin.read()"
        argv = ["/usr/bin/python3", "-c", script, str(locked), "--password=hunter2"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout
            assert child.stdout.readline() == b"\n", name
            held[name] = lock.holder_of(LiveHost(), [str(locked)])
            if name == "POSIX":
                holder = child.pid
                assert lock._process(LiveHost(), holder) == f"process {holder} (python3)"
            child.communicate()
    return held, holder


@pytest.mark.parametrize(
    ("sizes", "looked_at"),
    [((10, 10), 2), ((LIMIT, 1), 2), ((LIMIT + 1 - EACH, EACH, 1), 2), ((1,) * 3000, LIMIT // EACH + 1)],
)
def test_a_set_of_files_has_a_limit_too(dict_host: DictHost, sizes: tuple[int, ...], looked_at: int) -> None:
    """By their size together, and by their number."""
    for number, size in enumerate(sizes):
        dict_host.write(f"/etc/x/{number:04}", "a" * size)
    found = [*read_together(dict_host, ["/etc/not there", *dict_host.glob("/etc/x/*")])]
    assert [bool(file.text) for file in found] == [True] * looked_at + [False] * (len(sizes) > looked_at)
    assert too_large(found[-1]) is (len(sizes) > looked_at)


@pytest.mark.parametrize(("changes", "goes"), [
    ({}, True), ({"pid": os.getpid()}, False), ({"age": 60}, False), ({"mode": 0o755}, False), ({"mark": "x"}, False),
    ({"name": "_MEI0000000gabcdef"}, False),
])  # fmt: skip
def test_only_what_killed_runs_of_ours_left_is_swept(tmp_path: Path, changes: dict[str, Any], goes: bool) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    folder = tmp_path / changes.get("name", f"_MEI{changes.get('pid', gone.pid):08x}abcdef")
    mark = folder / changes.get("mark", "distro_profiles/table.json")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    folder.chmod(changes.get("mode", 0o700))
    old = time.time() - changes.get("age", 10 * 86400)
    os.utime(folder, (old, old))
    sweep(str(tmp_path))
    assert folder.exists() is not goes


def test_the_free_space_of_a_file_system_is_in_bytes(host: LiveHost) -> None:
    seen, real = host.stat("/"), os.statvfs(host.root)
    assert seen
    assert seen.whole == real.f_blocks * real.f_frsize
    assert abs(seen.free - real.f_bavail * real.f_frsize) < 1 << 30


def test_a_program_that_is_not_there_is_told_with_what_was_to_be_run() -> None:
    (found,) = LiveHost().query(("no-such-program", "x"))
    assert (found.argv, found.status) == (("no-such-program", "x"), 127)


def test_who_asks_the_kernel_gets_nothing_for_what_it_does_not_know(tmp_path: Path, host: LiveHost) -> None:
    """EINVAL is how selinuxfs says that a context is none; any other trouble is no answer."""
    assert LiveHost().ask(str(tmp_path / "none"), "x") is None
    with patch("os.read", side_effect=OSError(errno.EINVAL, "")):
        assert LiveHost().ask("/dev/null", "x") == ""
    with patch("os.read", side_effect=OSError(errno.EACCES, "")):
        assert LiveHost().ask("/dev/null", "x") is None
    with patch("os.write", return_value=0):
        assert LiveHost().ask("/dev/null", "x") is None
    with patch("os.read", side_effect=lambda file, size: {(int, 4096): b"yes\0"}[type(file), size]):
        assert LiveHost().ask("/dev/null", "x") == "yes"


@pytest.mark.parametrize(("number", "remedy"), [
    (errno.ENOSPC, "free some space, then run again"), (errno.EACCES, "run as root"),
    (errno.EROFS, "the file system is read-only; mount it writable, or use the system's own update tool"),
    (errno.EPERM, "lsattr shows whether it was made immutable; chattr -ia takes that back"),
    (errno.EIO, "look at the message of the system above"), (None, "look at the message of the system above"),
])  # fmt: skip
def test_what_to_do_where_a_file_cannot_be_written(number: Optional[int], remedy: str) -> None:
    told = unwritten("/x", OSError(number, "it is so") if number else OSError())
    why = "it is so" if number else None
    assert str(told) == f"/x: cannot be written: {why}; what stood there is unchanged"
    assert told.remedy == remedy


def test_a_command_that_hangs_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    script = f"trap 'echo well >{mark}; exit' TERM; while :; do sleep 0.05; done"
    assert LiveHost().query(("sh", "-c", script), timeout=0.3)[0].status == 124
    assert mark.read_text() == "well\n"


@pytest.mark.parametrize("allowed", [True, False])
def test_what_a_command_is_started_through_in_a_tree(tmp_path: Path, allowed: bool) -> None:
    """A chroot; with a /proc and processes of its own where the tree has the folder, and the system lets it."""
    root = str(tmp_path)
    host, asked = LiveHost(root), []

    def query(*commands: tuple[str, ...], timeout: float) -> list[Output]:
        asked.append((host._inside(commands[0])[1:], timeout))
        return [Output((), 0 if allowed else 1)]

    assert LiveHost("/")._entry() == ()
    assert LiveHost(root)._entry() == ("chroot", root)
    (tmp_path / "proc").mkdir()
    alone = ("unshare", "-mpf", f"--mount-proc={root}/proc", "chroot", root)
    with patch.object(host, "query", query):
        for _ in range(2):  # asked once
            assert host._entry() == (alone if allowed else ("chroot", root))
    assert asked == [((*alone[1:], "true"), 20)]


def test_a_child_sees_an_environment_that_is_made_anew(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIM_SECRET", "x")
    monkeypatch.setenv("https_proxy", "http://p:3128")
    seen = ask("sh", "-c", "pwd; env", timeout=20).stdout.splitlines()
    assert seen[0] == "/"
    given = dict(line.partition("=")[::2] for line in seen[1:])
    wanted = {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "TERM": "dumb", "https_proxy": "http://p:3128"}
    assert {name: value for name, value in given.items() if name not in ("PWD", "_", "SHLVL", "OLDPWD")} == wanted
