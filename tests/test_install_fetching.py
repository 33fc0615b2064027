"""packaging/install.sh with the tools that a system may lack, and on systems where the binary does not start."""

from __future__ import annotations

import shutil
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tests.conftest import Ran
from tests.test_install import SCRIPT, Release, piped, release
from tests.tls import certified, tls

__all__ = ["release"]  # the fixture
TOOLS = (
    "sh",
    "uname",
    "mktemp",
    "chmod",
    "rm",
    "cp",
    "mv",
    "mkdir",
    "cut",
    "tr",
    "sha256sum",
    "cat",
    "ls",
    "id",
    "wc",
    "touch",
)


def tools(folder: Path, fetcher: str) -> str:
    """A PATH with what the script needs, and one program that fetches."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    if fetcher:
        program = shutil.which("busybox" if fetcher == "busybox" else fetcher) or pytest.skip(f"needs {fetcher}")
        (folder / ("wget" if fetcher == "busybox" else fetcher)).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("fetcher", ["curl", "wget", "busybox"])
def test_whatever_fetches_says_why_it_cannot(release: Release, tmp_path: Path, fetcher: str) -> None:
    path = tools(tmp_path / "bin", fetcher)
    good = {"FIM_INSTALL_SHA256": release.sha256.upper(), "PATH": path}
    shell = [str(shutil.which("sh"))]
    ran = piped(SCRIPT, "check", shell=shell, FIM_INSTALL_URL=release.url, **good)
    assert (ran.status, ran.out, ran.err) == (0, "ran: check\n", "")
    nowhere = ("http://nowhere.invalid", ("resolve", "bad address"))
    for url, words in ((f"{release.url}/no-such-folder", ("404",)), nowhere):
        failed = piped(SCRIPT, "check", shell=shell, FIM_INSTALL_URL=url, **good)
        assert failed.status == 1
        assert any(word in failed.err for word in words), failed.err


@pytest.mark.parametrize("fetcher", ["curl", "wget"])  # busybox looks at no certificate; the checksum is what counts
def test_a_certificate_that_nobody_trusts_is_named(release: Release, tmp_path: Path, fetcher: str) -> None:
    with tls(SimpleHTTPRequestHandler, certified(tmp_path, "20350101000000Z")) as port:
        failed = piped(SCRIPT, "check", shell=[str(shutil.which("sh"))], FIM_INSTALL_URL=f"https://127.0.0.1:{port}",
                       FIM_INSTALL_SHA256=release.sha256, PATH=tools(tmp_path / "bin", fetcher))  # fmt: skip
    assert (failed.status, "certificate" in failed.err) == (1, True), failed.err


@pytest.mark.parametrize(("glibc", "refused"), [(False, True), (True, False)])
def test_musl_is_refused_before_anything_is_fetched(
    release: Release, tmp_path: Path, glibc: bool, refused: bool
) -> None:
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/ld-musl-x86_64.so.1").touch()
    if glibc:
        (tmp_path / "lib64/ld-linux-x86-64.so.2").touch()
    script = SCRIPT
    for name in ("/lib/ld-musl", "/lib64/ld-linux", "/lib/ld-linux", "/lib/*/"):
        script = script.replace(f" {name}", f" {tmp_path}{name}")
    ran = piped(script, "check", FIM_INSTALL_URL=release.url, FIM_INSTALL_SHA256=release.sha256)
    assert (ran.status, "musl instead of glibc" in ran.err) == ((69, True) if refused else (0, False)), ran.err


@pytest.mark.parametrize("status", ["126", "255"], ids=["the program", "a library of it"])
def test_fapolicyd_that_refuses_it_is_named_with_what_allows_it(release: Release, tmp_path: Path, status: str) -> None:
    (tmp_path / "fapolicyd").mkdir()
    path = f"{tools(tmp_path / 'bin', 'curl')}"
    (tmp_path / "bin/pidof").symlink_to("/bin/true")
    script = SCRIPT.replace("[ -d /etc/fapolicyd ]", f"[ -d {tmp_path}/fapolicyd ]")

    def run(*words: str) -> Ran:
        return piped(script, *words, shell=[str(shutil.which("sh"))], FIM_INSTALL_URL=release.url, PATH=path,
                     FIM_INSTALL_SHA256=release.sha256, STATUS=status,
                     FIM_INSTALL_DIR=str(tmp_path / "sbin"))  # fmt: skip

    once, installed = run("check"), run("install", "check")
    assert {once.status, installed.status} == {int(status)}
    assert "-> sh -s -- install check, in the place of sh -s -- check" in once.err
    program = tmp_path / "sbin/fim-bootstrap"
    line = f"-> (echo 'allow perm=execute all : path={program}'; echo 'allow perm=any exe={program} : all')"
    assert line in once.err
    assert line in installed.err
