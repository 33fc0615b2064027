"""The one-file binary in hostile environments (make test-binary builds it first)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache import CACHE, kept, run, source
from tests.conftest import BINARY, PROJECT, Ran, Tree, fim, needs_root
from tests.test_compliance import DATASTREAM

pytestmark = pytest.mark.binary

BUILD = PROJECT / "packaging/binary/build.sh"
WORK = Path("/var/tmp/fim-bootstrap-build")
FLOOR = (2, 17)
LIMIT = 5_000_000  # bytes


def ran(*words: str, **manner: object) -> Ran:
    """Run the binary with an environment of its own."""
    manner.setdefault("env", {"PATH": "/usr/bin:/bin"})
    done = subprocess.run([str(BINARY), *words], capture_output=True, timeout=60, check=False, **manner)  # type: ignore[call-overload]
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def digest() -> str:
    """The binary's checksum."""
    return hashlib.sha256(BINARY.read_bytes()).hexdigest()


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A tmpfs on a folder."""
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", *options, "none", str(place)], check=False).returncode:
        pytest.skip("may not mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def waiting(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The binary, unpacked in the folder and waiting for an option file that is a pipe; killed at the end."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen([str(BINARY), "check", "--config", str(fifo)], env={"TMPDIR": str(folder)})
    writer = -1  # held open: the program has opened the pipe and reads from it
    try:
        deadline = time.monotonic() + 20
        while writer < 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            with contextlib.suppress(OSError):
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(writer)
        fifo.unlink()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the binary unpacks, left behind by a SIGKILL."""
    folder = tmp_path_factory.mktemp("unpacked")
    with waiting(folder):
        pass
    time.sleep(0.5)  # the kernel tells the child
    (found,) = folder.glob("_MEI*")
    return found


def glibc(path: Path) -> tuple[int, ...]:
    """The highest GLIBC version among the symbols that a file needs."""
    listed = subprocess.run(["objdump", "-T", str(path)], capture_output=True, text=True, check=True).stdout
    return max(tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", listed))


def test_nothing_in_it_needs_a_newer_glibc(unpacked: Path) -> None:
    libraries = [path for path in unpacked.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    assert [path.name for path in libraries] == ["libpython3.13.so.1.0"]
    assert {glibc(path) <= FLOOR for path in (BINARY, *libraries)} == {True}


def test_it_carries_no_cryptography_and_no_library_that_a_child_could_pick_up(unpacked: Path) -> None:
    names = {path.name for path in unpacked.rglob("*")}
    assert not [name for name in names if re.match(r"lib(ssl|crypto|z|lzma|readline|tinfo|selinux|audit)\b", name)]


def test_it_is_small() -> None:
    assert BINARY.stat().st_size <= LIMIT


def test_its_profiles_are_those_of_the_source() -> None:
    words = ("profiles", "--format", "json")
    assert json.loads(ran(*words).out) == json.loads(fim(*words).out)


def test_its_control_ids_and_its_reader_of_xml_are_those_of_the_source(tree: Tree) -> None:
    tree.write("/etc/audit/rules.d/99-finalize.rules", "# ansible-lockdown CIS baseline\n-e 2\n")
    tree.write("/ds.xml", DATASTREAM)
    for form in ("markdown", "json", "xccdf-tailoring", "ansible-lockdown"):
        words = ("exception", "--root", str(tree.folder), "--datastream", "/ds.xml", "--format", form)
        mine, theirs = (re.sub(r"T\d\d:\d\d:\d\d", "", one(*words).out) for one in (ran, fim))
        assert mine == theirs
        assert "content_profile_cis" in mine or form in ("markdown", "ansible-lockdown")


def test_text_from_the_host_is_escaped_as_from_source(tree: Tree) -> None:
    tree.write("/etc/audit/rules.d/x.rules", "-e 2 # \x1b[2J\u202e\u2028\n")
    seen = ran("check", "--root", str(tree.folder))
    assert seen.status == 3
    assert "-e 2 # \\x1b[2J\\u202e\\u2028" in seen.out


def test_a_damaged_download_says_so(tmp_path: Path) -> None:
    content = bytearray(BINARY.read_bytes())
    content[len(content) // 2] ^= 0xFF  # in one of the two large things that are packed
    damaged = tmp_path / "fim-bootstrap"
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    done = subprocess.run([str(damaged), "--version"], capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 2, 3, 4)
    assert re.search(r"(libpython3\.13\.so\.1\.0|base_library\.zip): its data are damaged", done.stderr)
    assert done.stdout == ""


@needs_root
def test_a_full_temporary_folder_is_named_and_nothing_is_left_there(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-o", "size=1m") as place:
        done = ran("--version", env={"TMPDIR": str(place)})
        assert list(place.iterdir()) == []
    assert done.status not in (0, 2, 3, 4)
    assert "failed to write data!" in done.err
    assert "No space left on device" in done.err


def test_what_a_killed_run_left_is_removed_by_a_later_one(unpacked: Path) -> None:
    """Not at once, since a process in another namespace looks gone, too; and nothing that is not ours."""
    folder = unpacked.parent
    foreign = folder / "_MEI00000002abcdef"
    foreign.mkdir(mode=0o700, exist_ok=True)
    assert ran("profiles", env={"TMPDIR": str(folder)}).status == 0
    assert unpacked.exists()
    old = time.time() - 7200
    for path in (unpacked, foreign):
        os.utime(path, (old, old))
    copy = folder / "_MEI00000003abcdef"
    shutil.copytree(unpacked, copy)
    assert ran("profiles", env={"TMPDIR": str(folder)}).status == 0
    assert not unpacked.exists()
    assert foreign.exists()
    assert copy.exists()
    copy.rename(unpacked)  # for the other tests


def test_a_kill_of_the_parent_ends_the_child(tmp_path: Path) -> None:
    with waiting(tmp_path) as process:
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{child}/exe").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(
    "env",
    [{}, {"LANG": "C"}, {"LC_ALL": "de_DE.ISO-8859-1", "HOME": "/nonexistent"}, {"PATH": "/nowhere"}],
    ids=["empty", "C", "latin", "no-path"],
)
def test_it_needs_nothing_of_the_environment(tree: Tree, env: dict[str, str]) -> None:
    tree.write("/etc/audit/rules.d/ü.rules", "-e 2\n")
    seen = ran("check", "--root", str(tree.folder), "--format", "json", env=env)
    assert seen.status == 3, seen.err
    assert "ü.rules" in seen.out.encode().decode("unicode_escape") or "ü" in seen.out


def test_standard_input_and_output_may_be_anything(tree: Tree) -> None:
    words = [str(BINARY), "check", "--root", str(tree.folder)]
    closed = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, check=False)
    assert closed.returncode == 3
    piped = subprocess.run(words, input=b"a script\n" * 1000, capture_output=True, check=False)
    assert piped.returncode == 3
    with open("/dev/full", "w") as full:
        assert subprocess.run(words, stdout=full, stderr=subprocess.DEVNULL, check=False).returncode not in (0, 3)


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_any_umask_will_do(tree: Tree, mask: int) -> None:
    tree.path("/var/log").mkdir(parents=True)
    seen = ran("apply", "--root", str(tree.folder), "--no-install", umask=mask)
    assert seen.status == 0, seen.out + seen.err
    assert (tree.path("/var/lib/fim-bootstrap").stat().st_mode & 0o777) == 0o700
    assert (tree.path("/var/log/fim-bootstrap.log").stat().st_mode & 0o777) == 0o600


@needs_root
@pytest.mark.skipif(not shutil.which("sudo"), reason="there is no sudo here")
def test_it_runs_through_sudo(tree: Tree) -> None:
    words = ["sudo", "-n", str(BINARY), "apply", "--root", str(tree.folder), "--no-install"]
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_root
def test_a_noexec_temporary_folder_is_passed_over(tmp_path: Path) -> None:
    with mounted(tmp_path / "noexec", "-o", "noexec") as place:
        assert ran("--version", env={"TMPDIR": str(place)}).status == 0
        assert list(place.iterdir()) == []


@needs_root
def test_where_nothing_may_be_executed_it_runs_beside_itself_or_says_what_to_do(tmp_path: Path) -> None:
    """/tmp, /var/tmp and /usr/tmp noexec, as on CIS hosts; then its own folder read-only, too."""
    script = """
    for d in /tmp /var/tmp; do mount -t tmpfs -o noexec none $d; done
    mkdir -p /usr/tmp && mount -t tmpfs -o noexec none /usr/tmp
    "$1/fim-bootstrap" --version || exit 8
    mount -o remount,ro,bind "$1" && "$1/fim-bootstrap" --version
    """
    # outside /tmp, which is about to be covered
    place = Path(f"/var/cache/fim-bootstrap-beside.{os.getpid()}")
    with mounted(place):
        shutil.copy(BINARY, place / "fim-bootstrap")
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", str(place)], capture_output=True, text=True,
                              check=False)  # fmt: skip
    place.rmdir()
    assert done.stdout.count("fim-bootstrap 0") == 1, done.stderr
    assert "set TMPDIR to one that is not" in done.stderr
    assert done.returncode not in (0, 8)


@pytest.fixture(scope="module", params=["bullseye", "bookworm", "trixie", "sid", "glibc-2.17"])
def old_or_new(request: pytest.FixtureRequest) -> Path:
    """A root of a Debian release, or one with the real glibc 2.17 and busybox; kept for later runs."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    suite = request.param
    if suite == "glibc-2.17":
        return kept(f"root-{suite}", _old_root)
    debian = ("mmdebstrap", "--variant=essential", "--mode=root", "--aptopt=Acquire::Check-Valid-Until false", suite)
    return kept(f"root-{suite}", lambda made: run(*debian, str(made), source(suite)))


def _old_root(root: Path) -> None:
    """The C library of the toolchain, which is that of RHEL 7, and busybox."""
    (libraries,) = WORK.glob("toolchain/*/*/sysroot/lib")
    for name in ("bin", "etc", "tmp", "dev", "proc", "lib64"):
        (root / name).mkdir(parents=True)
    (root / "lib").symlink_to("lib64")  # where arm64 looks
    for path in libraries.glob("*.so*"):
        shutil.copy(path, root / "lib64" / path.name)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    (root / "etc/os-release").write_text('ID="centos"\nVERSION_ID="7"\nNAME="CentOS Linux"\n')


def test_it_runs_in_old_and_new_roots(old_or_new: Path) -> None:
    (old_or_new / "tmp").chmod(0o1777)
    shutil.copy(BINARY, old_or_new / "bin/fim-bootstrap")
    for device in ("dev/urandom", "dev/null"):
        if not (old_or_new / device).exists():
            os.mknod(old_or_new / device, 0o666 | 0o020000, os.makedev(1, 9 if "urandom" in device else 3))
    done = subprocess.run(["chroot", str(old_or_new), "/bin/fim-bootstrap", "check", "--root", "/", "--format", "json"],
                          capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin"}, check=False)  # fmt: skip
    seen = Ran(done.returncode, done.stdout, done.stderr)
    assert seen.status == 4, seen.err
    assert "is not here to install them" in seen.out
    assert seen.report["host"]["environment"] == "offline"
    assert seen.report["host"]["profile"] == (
        "el7" if old_or_new.name.endswith("2.17") else seen.report["host"]["profile"]
    )


def test_children_see_nothing_of_the_bootloader(tmp_path: Path) -> None:
    """A package manager that writes its environment down; LD_LIBRARY_PATH of the caller's own is not passed either."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = CACHE / "root-bookworm"
    if not base.exists():
        pytest.skip("the root of bookworm was not built")
    spies = [base / "usr/local/bin" / name for name in ("apt-cache", "apt-get")]
    for spy in spies:
        spy.write_text("#!/bin/sh\nenv > /env\n")
        spy.chmod(0o755)
    (base / "env").unlink(missing_ok=True)
    lists = base / "var/lib/apt/lists/spy_Packages"  # without a list there is nothing to ask apt for
    lists.write_text("")
    ran("profiles", "--resolve", "--root", str(base), env={"LD_LIBRARY_PATH": "/opt/lib", "TMPDIR": str(tmp_path)})
    seen = (base / "env").read_text()
    assert "PATH=/usr/local/sbin" in seen
    assert not re.search("LD_LIBRARY_PATH|_MEI|_PYI", seen)
    for spy in (*spies, lists):
        spy.unlink()


def test_the_same_sources_give_the_same_bytes() -> None:
    """Everything built anew, from the compiler on."""
    before = digest()
    for stamp in WORK.glob("built-*"):
        stamp.unlink()
    subprocess.run([str(BUILD)], check=True, env={**os.environ, "PYTHON": str(shutil.which("python3"))})
    assert digest() == before
