"""packaging/install.sh as a person pipes it into a shell, with a real HTTP server on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import BINARY, PROJECT, Ran, needs_root

SCRIPT = (PROJECT / "packaging/install.sh").read_text()
NAME = BINARY.name
PROGRAM = '#!/bin/sh\necho "ran: $*"\nread line && echo "stdin: $line"\nexit ${STATUS:-0}\n'
SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


class Release(NamedTuple):
    """A folder with the files of a release, and a server that hands them out."""

    folder: Path
    url: str
    sha256: str


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the folder; /stalled/, /cut/ and /endless/ do with the same files what their names say."""

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Send a file, or half of one, or one that has no end."""
        kind, _, name = self.path.lstrip("/").rpartition("/")
        if kind not in ("stalled", "cut", "endless"):
            super().do_GET()
            return
        if kind == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # the other side has enough
                while True:
                    self.wfile.write(b"x" * 65536)
            return
        content = (Path(self.directory) / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if kind == "stalled":
            time.sleep(8)


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    """A release whose program only says what it was given."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / NAME).write_text(PROGRAM)
    digest = hashlib.sha256(PROGRAM.encode()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {NAME}\n")

    def handler(*words: object) -> Handler:
        return Handler(*words, directory=str(folder))  # type: ignore[arg-type]

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield Release(folder, f"http://127.0.0.1:{server.server_port}", digest)
        server.shutdown()


def piped(script: str, *words: str, shell: list[str] | None = None, **env: str) -> Ran:
    """`curl … | sh -s -- words`."""
    done = subprocess.run(
        [*(shell or SHELLS[0]), "-s", "--", *words], input=script, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], **env}, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_it_runs_what_it_verified_and_passes_everything_through(release: Release, shell: list[str]) -> None:
    ran = piped(SCRIPT, "apply", "--mode", "a b", shell=shell, FIM_INSTALL_URL=release.url,
                FIM_INSTALL_SHA256=release.sha256, STATUS="3")  # fmt: skip
    assert (ran.status, ran.out) == (3, "ran: apply --mode a b\n"), ran.err


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_it_works_without_a_network(release: Release, kind: str) -> None:
    url = str(release.folder) if kind == "folder" else f"file://{release.folder}"
    ran = piped(SCRIPT, "check", FIM_INSTALL_URL=url, FIM_INSTALL_SHA256=release.sha256)
    assert (ran.status, ran.out) == (0, "ran: check\n"), ran.err


def test_it_installs(release: Release, tmp_path: Path) -> None:
    target = tmp_path / "sbin"
    ran = piped(SCRIPT, "install", "apply", FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256,
                FIM_INSTALL_DIR=str(target))  # fmt: skip
    assert (ran.status, ran.out) == (0, "ran: apply\n"), ran.err
    assert (target / "fim-bootstrap").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in target.iterdir()] == ["fim-bootstrap"]


PAGE = ".TH FIM-BOOTSTRAP 8\n"
WITH_PAGE = SCRIPT.replace("SHA256_MAN=''", f"SHA256_MAN='{hashlib.sha256(PAGE.encode()).hexdigest()}'")


def installed(release: Release, prefix: Path, script: str = WITH_PAGE) -> Ran:
    """`install` into the sbin of a prefix."""
    return piped(script, "install", FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256,
                 FIM_INSTALL_DIR=str(prefix / "sbin"))  # fmt: skip


def test_it_installs_the_man_page_where_man_looks(release: Release, tmp_path: Path) -> None:
    (release.folder / "fim-bootstrap.8").write_text(PAGE)
    ran = installed(release, tmp_path / "prefix")
    page = tmp_path / "prefix/share/man/man8/fim-bootstrap.8"
    assert (ran.status, page.read_text()) == (0, PAGE), ran.err
    assert page.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in page.parent.iterdir()] == [page.name]
    folders = [path for path in (tmp_path / "prefix").rglob("*") if path.is_dir()]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o755}


@pytest.mark.parametrize("text", ["", ".TH ANOTHER 8\n"], ids=["absent", "another"])
def test_without_the_right_man_page_the_program_is_installed_all_the_same(
    release: Release, tmp_path: Path, text: str
) -> None:
    if text:
        (release.folder / "fim-bootstrap.8").write_text(text)
    ran = installed(release, tmp_path / "prefix")
    assert ran.status == 0
    assert "no man page" in ran.err
    assert [path.name for path in (tmp_path / "prefix").rglob("*") if path.is_file()] == ["fim-bootstrap"]


def test_a_script_that_knows_no_man_page_installs_none(release: Release, tmp_path: Path) -> None:
    (release.folder / "fim-bootstrap.8").write_text(PAGE)
    ran = installed(release, tmp_path / "prefix", SCRIPT)
    assert (ran.status, "man" in ran.err, (tmp_path / "prefix/share").exists()) == (0, False, False)


@pytest.mark.parametrize(
    ("url", "env", "said"),
    [
        ("", {}, "nothing to verify the download with"),
        ("", {"FIM_INSTALL_SHA256": "0" * 64}, "wrong checksum"),
        ("/no-such-folder", {"FIM_INSTALL_SHA256": "0" * 64}, "cannot be had"),
        ("/cut", {"FIM_INSTALL_SHA256": "GOOD"}, "cannot be had"),
    ],
    ids=["unverifiable", "wrong", "absent", "cut"],
)
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_what_is_not_right_is_not_run(
    release: Release, shell: list[str], url: str, env: dict[str, str], said: str
) -> None:
    env = {key: release.sha256 if value == "GOOD" else value for key, value in env.items()}
    ran = piped(SCRIPT, "apply", shell=shell, FIM_INSTALL_URL=release.url + url, **env)
    assert ran.status == 1, ran.err
    assert said in ran.err
    assert "ran:" not in ran.out


def test_a_stalled_download_is_given_up(release: Release) -> None:
    """Under all shells side by side: each tries three times."""

    def under(shell: list[str]) -> Ran:
        return piped(SCRIPT, "apply", shell=shell, FIM_INSTALL_URL=f"{release.url}/stalled",
                     FIM_INSTALL_SHA256=release.sha256, FIM_INSTALL_STALL="1")  # fmt: skip

    with ThreadPoolExecutor() as pool:
        for ran in pool.map(under, SHELLS):
            assert (ran.status, ran.out) == (1, ""), ran.err
            assert "cannot be had" in ran.err


ENOUGH = SCRIPT.replace("LIMIT=131072", "LIMIT=2048")  # 1 MB, or 2


@pytest.mark.parametrize("fetcher", [name for name in ("curl", "wget") if shutil.which(name)])
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_download_without_an_end_is_given_up(
    release: Release, tmp_path: Path, shell: list[str], fetcher: str
) -> None:
    if (shell[0], fetcher) == ("busybox", "wget"):
        pytest.skip("busybox would take its own wget, and Debian's static one ends in a segmentation fault")
    path = only(tmp_path / "bin", *shell, fetcher)
    ran = piped(ENOUGH, "apply", shell=[shutil.which(shell[0]) or "", *shell[1:]], PATH=path,
                FIM_INSTALL_URL=f"{release.url}/endless", FIM_INSTALL_SHA256=release.sha256)  # fmt: skip
    assert (ran.status, ran.out) == (1, ""), ran.err
    assert f"{release.url}/endless/{NAME} is too large" in ran.err


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_file_that_is_too_large_is_not_copied(release: Release, shell: list[str]) -> None:
    with (release.folder / NAME).open("r+b") as file:
        file.truncate(3 << 20)
    ran = piped(ENOUGH, "apply", shell=shell, FIM_INSTALL_URL=str(release.folder), FIM_INSTALL_SHA256=release.sha256)
    assert (ran.status, ran.out) == (1, ""), ran.err
    assert "too large" in ran.err


def test_where_to_fetch_from_must_be_known() -> None:
    ran = piped(SCRIPT, "apply")
    assert (ran.status, ran.out) == (64, "")
    assert "set FIM_INSTALL_URL" in ran.err


def on(folder: Path, system: str, machine: str) -> str:
    """A PATH whose uname tells of another machine."""
    folder.mkdir()
    (folder / "uname").write_text(f"#!/bin/sh\n[ $1 = -s ] && echo {system} || echo {machine}\n")
    (folder / "uname").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_each_architecture_has_a_file_and_a_checksum(release: Release, tmp_path: Path) -> None:
    script = SCRIPT
    machines = ("x86_64", "aarch64")
    for machine in machines:
        program = f"{PROGRAM}# for {machine}\n"
        (release.folder / f"fim-bootstrap-linux-{machine}").write_text(program)
        digest = hashlib.sha256(program.encode()).hexdigest()
        script = script.replace(f"_{machine}=''", f"_{machine}='{digest}'")
    for machine in machines:
        path = on(tmp_path / machine, "Linux", machine)
        ran = piped(script, "check", FIM_INSTALL_URL=release.url, PATH=path)
        assert (ran.status, ran.out) == (0, "ran: check\n"), ran.err
    (release.folder / "fim-bootstrap-linux-aarch64").write_text(PROGRAM)
    ran = piped(script, "check", FIM_INSTALL_URL=release.url, PATH=path)
    assert (ran.status, ran.out) == (1, "")
    assert "wrong checksum: fim-bootstrap-linux-aarch64" in ran.err


@pytest.mark.parametrize(
    ("system", "machine", "said"),
    [("Darwin", "arm64", "Darwin is not supported"), ("Linux", "s390x", "no binary for s390x")],
)
def test_other_systems_are_refused(release: Release, tmp_path: Path, system: str, machine: str, said: str) -> None:
    ran = piped(SCRIPT, "apply", FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256,
                PATH=on(tmp_path / "bin", system, machine))  # fmt: skip
    assert (ran.status, ran.out) == (69, "")
    assert said in ran.err


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair of a release; private.pem and public.pem."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("keys")
    run = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    subprocess.run([*run, "-out", folder / "private.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", folder / "private.pem", "-pubout", "-out", folder / "public.pem"],
                   check=True)  # fmt: skip
    return folder


def signed(release: Release, keys: Path) -> str:
    """The script of a release that has a key but no checksum; SHA256SUMS is signed."""
    subprocess.run(["openssl", "dgst", "-sha256", "-sign", keys / "private.pem", "-out",
                    release.folder / "SHA256SUMS.sig", release.folder / "SHA256SUMS"], check=True)  # fmt: skip
    return SCRIPT.replace("PUBLIC_KEY=''", f"PUBLIC_KEY='{(keys / 'public.pem').read_text().strip()}'")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_good_signature_is_enough(release: Release, keys: Path, shell: list[str]) -> None:
    ran = piped(signed(release, keys), "check", shell=shell, FIM_INSTALL_URL=release.url)
    assert (ran.status, ran.out) == (0, "ran: check\n"), ran.err
    der = subprocess.run(["openssl", "pkey", "-in", keys / "private.pem", "-pubout", "-outform", "DER"],
                         capture_output=True, check=True).stdout  # fmt: skip
    assert f"signed by the key {hashlib.sha256(der).hexdigest()};" in ran.err


@pytest.mark.parametrize("damage", ["sums", "signature", "absent", "program"])
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_signature_that_is_bad_or_missing_is_refused(
    release: Release, keys: Path, shell: list[str], damage: str
) -> None:
    script = signed(release, keys)
    if damage == "sums":
        (release.folder / "SHA256SUMS").write_text(f"{'0' * 64}  {NAME}\n")
    elif damage == "signature":
        (release.folder / "SHA256SUMS.sig").write_bytes(b"x" * 256)
    elif damage == "absent":
        (release.folder / "SHA256SUMS.sig").unlink()
    else:
        (release.folder / NAME).write_text(PROGRAM + "# hijacked\n")
    ran = piped(script, "apply", shell=shell, FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256)
    assert (ran.status, ran.out) == (1, ""), ran.err


def test_a_download_that_is_cut_short_runs_nothing(tmp_path: Path) -> None:
    """No beginning of the script does anything; names of functions may begin like those of programs."""
    body = SCRIPT.rpartition("}")[0]
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "FIM_INSTALL_URL": "/nowhere"}
    programs = {length: SCRIPT[:length] for length in range(len(body))}
    # one shell tries them all
    (tmp_path / "prefixes").mkdir()
    for length, text in programs.items():
        (tmp_path / f"prefixes/{length:05}").write_text(text)
    loop = 'for f in "$1"/*; do out=$(sh "$f" apply 2>/dev/null) ; [ -z "$out" ] || echo "$f: $out"; done'
    done = subprocess.run(["sh", "-c", loop, "sh", str(tmp_path / "prefixes")], capture_output=True, text=True,
                          env=env, timeout=300, check=True)  # fmt: skip
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prefixes"]
    assert len(programs) > 4000


@needs_root
def test_a_noexec_temporary_folder_is_passed_over(release: Release, tmp_path: Path) -> None:
    place = tmp_path / "noexec"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", place], check=False).returncode:
        pytest.skip("may not mount")
    try:
        ran = piped(SCRIPT, "check", FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256,
                    TMPDIR=str(place))  # fmt: skip
        assert (ran.status, ran.out) == (0, "ran: check\n"), ran.err
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", place], check=True)


# who it belongs to and its mode; the last but two are of somebody else further up
PLACES = {
    "somebody's": [("nobody", 0o700)],
    "of a group": [("root", 0o770)],
    "of all": [("root", 0o777)],
    "a group's below": [("root", 0o770), ("root", 0o700)],
    "somebody's below": [("nobody", 0o755), ("root", 0o700)],
    "sticky, somebody's": [("nobody", 0o1777), ("root", 0o700)],
    "root's": [("root", 0o755)],
    "sticky": [("root", 0o1777)],
}


@needs_root
@pytest.mark.parametrize("linked", [False, True], ids=["plain", "linked"])
@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_temporary_folder_that_others_may_write_to_is_passed_over(
    release: Release, tmp_path: Path, shell: list[str], kind: str, linked: bool
) -> None:
    place = tmp_path
    for owner, mode in PLACES[kind]:
        place /= "a * b"
        place.mkdir()
        shutil.chown(place, owner)
        place.chmod(mode)
    (release.folder / NAME).write_text(program := '#!/bin/sh\necho "$TMPDIR"\n')
    (tmp_path / "link").symlink_to(place)
    ran = piped(SCRIPT, "check", shell=shell, FIM_INSTALL_URL=str(release.folder),
                FIM_INSTALL_SHA256=hashlib.sha256(program.encode()).hexdigest(),
                TMPDIR=str(tmp_path / "link" if linked else place))  # fmt: skip
    assert ran.status == 0, ran.err
    assert ran.out.startswith(str(place)) is (kind in ("root's", "sticky")), ran.out


@pytest.mark.parametrize("name", ["a b", "a\\b", "a\nb", "-x", "$(id)", "*"])
def test_a_temporary_folder_may_have_any_name(release: Release, tmp_path: Path, name: str) -> None:
    (place := tmp_path / name).mkdir(mode=0o700)
    (release.folder / NAME).write_text(program := '#!/bin/sh\nprintf %s "$TMPDIR"\n')
    ran = piped(SCRIPT, "check", FIM_INSTALL_URL=str(release.folder),
                FIM_INSTALL_SHA256=hashlib.sha256(program.encode()).hexdigest(), TMPDIR=str(place))  # fmt: skip
    assert (ran.status, ran.err, ran.out.startswith(f"{place}/")) == (0, "", True)
    assert not any(place.iterdir())


def test_nobody_foresees_the_name_of_the_installed_file(release: Release, tmp_path: Path) -> None:
    """What lies in its place, or is a link there, is neither written nor followed; a failure leaves nothing."""
    target, victim = tmp_path / "sbin", tmp_path / "victim"
    target.mkdir()
    victim.write_text("theirs")
    (target / ".fim-bootstrap.new").symlink_to(victim)

    def install(script: str) -> Ran:
        return piped(script, "install", FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256,
                     FIM_INSTALL_DIR=str(target))  # fmt: skip

    assert install(SCRIPT).status == 0
    assert victim.read_text() == "theirs"
    assert install(SCRIPT.replace("mv -f", "false")).status == 1
    assert sorted(path.name for path in target.iterdir()) == [".fim-bootstrap.new", "fim-bootstrap"]


def test_parallel_installations_all_succeed(release: Release, tmp_path: Path) -> None:
    target = tmp_path / "sbin"

    def install(number: int) -> Ran:
        return piped(SCRIPT, "install", "check", shell=SHELLS[number % len(SHELLS)], FIM_INSTALL_URL=release.url,
                     FIM_INSTALL_SHA256=release.sha256, FIM_INSTALL_DIR=str(target))  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        for ran in pool.map(install, range(24)):
            assert (ran.status, ran.out) == (0, "ran: check\n"), ran.err
    assert [path.name for path in target.iterdir()] == ["fim-bootstrap"]


def test_it_is_clean_shell() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck")
    scripts = [
        *(str(p) for p in sorted((PROJECT / "tests/live/agent").glob("*.sh"))),
        "packaging/install.sh",
        "packaging/binary/build.sh",
        *(str(p) for p in sorted((PROJECT / "packaging/packages").glob("*.sh"))),
        "tests/needs.sh",
    ]
    subprocess.run(["shellcheck", *scripts], cwd=PROJECT, check=True)


def only(folder: Path, *names: str) -> str:
    """A PATH with the commands that the script needs and these, and no others."""
    folder.mkdir()
    for name in {"uname", "mktemp", "chmod", "rm", "cut", "sha256sum", "ls", "id", "wc", *names} - {"sh"}:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


@pytest.mark.skipif(not shutil.which("wget"), reason="there is no wget here")
@pytest.mark.parametrize("trouble", ["", "/no-such-folder", "/cut", "/stalled"])
def test_it_fetches_with_wget_where_there_is_no_curl(release: Release, tmp_path: Path, trouble: str) -> None:
    ran = piped(SCRIPT, "check", shell=["/bin/sh"], PATH=only(tmp_path / "bin", "wget"), FIM_INSTALL_STALL="1",
                FIM_INSTALL_URL=release.url + trouble, FIM_INSTALL_SHA256=release.sha256)  # fmt: skip
    assert (ran.status, ran.out) == ((1, "") if trouble else (0, "ran: check\n")), ran.err
    assert not trouble or "cannot be had" in ran.err


@needs_root
@pytest.mark.skipif(not shutil.which("sudo"), reason="there is no sudo here")
def test_it_works_through_sudo(release: Release) -> None:
    variables = [f"FIM_INSTALL_URL={release.url}", f"FIM_INSTALL_SHA256={release.sha256}", "STATUS=4"]
    ran = piped(SCRIPT, "apply", shell=["sudo", *variables, "sh"])
    assert (ran.status, ran.out) == (4, "ran: apply\n"), ran.err
