"""The script of `cloud-config` as cloud-init runs it, with the tools that an image may lack."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap.cloud_init import user_data
from tests.conftest import Ran

PROGRAM = '#!/bin/sh\n[ ! -e $0.refused ] || exit 126\n[ $1 != reboot-required ] || exit 1\necho "ran $*"\n'
TOOLS = ("sh", "cp", "mv", "mkdir", "chmod", "sha256sum", "grep", "sleep", "cat")
SYSTEM = ("/usr/local/sbin", "/lib/ld-musl", "/lib64/ld-linux", "/lib/ld-linux", "/lib/*/", "/etc/fapolicyd")
SHA256 = hashlib.sha256(PROGRAM.encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Has /fim-bootstrap; /403 is forbidden."""

    def do_GET(self) -> None:
        """Send it."""
        status = {"/fim-bootstrap": 200, "/403": 403}.get(self.path, 404)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(PROGRAM.encode() if status == 200 else b"")

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    """The server's address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Image:
    """Folders in the place of the system's, and a PATH with a few tools."""

    def __init__(self, folder: Path, fetcher: str) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for tool in TOOLS:
            (folder / "bin" / tool).symlink_to(str(shutil.which(tool)))
        (folder / "bin/sleep").unlink()
        (folder / "bin/sleep").symlink_to("/bin/true")
        if fetcher:
            program = shutil.which("busybox" if fetcher == "busybox" else fetcher) or pytest.skip(f"needs {fetcher}")
            (folder / "bin" / ("wget" if fetcher == "busybox" else fetcher)).symlink_to(program)

    def run(self, url: str, sha256: str = SHA256) -> Ran:
        """The script."""
        script = user_data(url, sha256, "script", {})
        for name in SYSTEM:
            script = script.replace(name, f"{self.folder}{name}")
        done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, timeout=120, check=False,
                              env={"PATH": str(self.folder / "bin"), "NOTIFY_SOCKET": ""})  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    @property
    def installed(self) -> bool:
        """Whether the program is there."""
        return (self.folder / "usr/local/sbin/fim-bootstrap").exists()


FETCHERS = ("curl", "wget", "busybox")


@pytest.mark.parametrize("fetcher", FETCHERS)
@pytest.mark.parametrize("sha256", [SHA256, SHA256.upper()], ids=["lower", "upper"])
def test_it_is_fetched_by_whatever_is_there(tmp_path: Path, url: str, fetcher: str, sha256: str) -> None:
    ran = Image(tmp_path, fetcher).run(f"{url}/fim-bootstrap", sha256)
    assert (ran.status, ran.out) == (0, "ran apply\n"), ran.err


@pytest.mark.parametrize("fetcher", FETCHERS)
@pytest.mark.parametrize(("path", "said"), [("/404", "404"), ("/403", "403"), ("dns", "resolve|bad address")])
def test_the_reason_is_shown(tmp_path: Path, url: str, fetcher: str, path: str, said: str) -> None:
    image = Image(tmp_path, fetcher)
    ran = image.run("http://nowhere.invalid/x" if path == "dns" else url + path)
    assert ran.status == 1
    assert any(word in ran.err for word in said.split("|")), ran.err
    assert "cannot be had: the reason stands above" in ran.err
    assert not image.installed


def test_without_curl_and_wget_that_is_said(tmp_path: Path, url: str) -> None:
    ran = Image(tmp_path, "").run(f"{url}/fim-bootstrap")
    assert (ran.status, "neither curl nor wget" in ran.err) == (1, True)


def test_another_file_is_not_installed(tmp_path: Path, url: str) -> None:
    image = Image(tmp_path, "wget")
    ran = image.run(f"{url}/fim-bootstrap", "0" * 64)
    assert (ran.status, "is not the file with the checksum 000" in ran.err, image.installed) == (1, True, False)


def test_musl_is_refused_before_anything_is_installed(tmp_path: Path, url: str) -> None:
    image = Image(tmp_path, "wget")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/ld-musl-x86_64.so.1").touch()
    ran = image.run(f"{url}/fim-bootstrap")
    assert (ran.status, "musl instead of glibc" in ran.err) == (69, True)
    assert not (tmp_path / "usr").exists()
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/ld-linux-x86-64.so.2").touch()
    assert image.run(f"{url}/fim-bootstrap").status == 0


def test_fapolicyd_that_refuses_it_is_named_with_the_rule_to_add(tmp_path: Path, url: str) -> None:
    image = Image(tmp_path, "wget")
    (tmp_path / "bin/pidof").symlink_to("/bin/true")
    (tmp_path / "etc/fapolicyd").mkdir(parents=True)
    (tmp_path / "usr/local/sbin").mkdir(parents=True)
    (tmp_path / "usr/local/sbin/fim-bootstrap.refused").touch()
    ran = image.run(f"{url}/fim-bootstrap")
    assert ran.status == 1
    assert f"allow perm=any exe={tmp_path}/usr/local/sbin/fim-bootstrap : all" in ran.err
    shutil.rmtree(tmp_path / "etc")
    assert "fapolicyd refuses" not in image.run(f"{url}/fim-bootstrap").err
    assert os.path.exists(tmp_path / "usr/local/sbin/fim-bootstrap")
