"""The script of `cloud-config` as cloud-init runs it, with the tools that an image may lack."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap.cloud_init import user_data
from fim_bootstrap.errors import Usage
from tests.conftest import ALONE, PROJECT, Ran
from tests.documented import block, blocks
from tests.tls import certified, tls

PROGRAM = '#!/bin/sh\n[ ! -e $0.refused ] || exit 126\n[ $1 != reboot-required ] || exit 1\necho "ran $*"\n'
TOOLS = ("sh", "cp", "mv", "touch", "mkdir", "chmod", "sha256sum", "grep", "sleep", "cat", "rm", "date", "uname",
         "tr")  # fmt: skip
SYSTEM = (
    "/usr/local/sbin",
    "/var/log",
    "/lib/ld-musl",
    "/lib64/ld-linux",
    "/lib/ld-linux",
    "/lib/*/",
    "/etc/fapolicyd",
)
SHA256 = hashlib.sha256(PROGRAM.encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Has /fim-bootstrap; /403 is forbidden."""

    def do_GET(self) -> None:
        """Send it."""
        status = {"/fim-bootstrap": 200, **RELEASE, "/403": 403}.get(self.path, 404)
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
        (folder / "var/log").mkdir(parents=True)
        for tool in TOOLS:
            (folder / "bin" / tool).symlink_to(str(shutil.which(tool)))
        (folder / "bin/sleep").unlink()
        (folder / "bin/sleep").symlink_to("/bin/true")
        if fetcher:
            program = shutil.which("busybox" if fetcher == "busybox" else fetcher) or pytest.skip(f"needs {fetcher}")
            (folder / "bin" / ("wget" if fetcher == "busybox" else fetcher)).symlink_to(program)

    def run(self, url: str, sha256: str = SHA256) -> Ran:
        """The script."""
        script = user_data(url, sha256, "script", {}).replace("--retry 5", "--retry 1")  # five take half a minute
        for name in SYSTEM:
            script = script.replace(name, f"{self.folder}{name}")
        done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, timeout=120, check=False,
                              env={"PATH": str(self.folder / "bin"), "NOTIFY_SOCKET": ""})  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    @property
    def installed(self) -> list[str]:
        """What is in the program's folder."""
        return [path.name for path in self.folder.glob("usr/local/sbin/*")]

    @property
    def log(self) -> str:
        """What stands in the log, which the program itself would write, too."""
        path = self.folder / "var/log/fim-bootstrap.log"
        assert path.stat().st_mode & 0o777 == 0o600
        return path.read_text()


RELEASE = dict.fromkeys((f"/release/fim-bootstrap-linux-{machine}" for machine in ("x86_64", "aarch64")), 200)
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
    assert "cannot be had: " in ran.err
    assert ran.err.count("\n") == 1
    assert image.log.endswith(ran.err.replace("fim-bootstrap: ", "cloud-init: ", 1))
    assert not image.installed


@pytest.mark.parametrize("fetcher", ["curl", "wget"])  # busybox looks at no certificate; the checksum is what counts
def test_a_certificate_that_nobody_trusts_is_named(tmp_path: Path, fetcher: str) -> None:
    with tls(Handler, certified(tmp_path, "20350101000000Z")) as port:
        ran = Image(tmp_path, fetcher).run(f"https://127.0.0.1:{port}/fim-bootstrap")
    assert (ran.status, "certificate" in ran.err) == (1, True), ran.err


PAGE = "docs/cloud-init.md"


def test_the_line_of_the_page_prints_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(
        f"{'0' * 64}  fim-bootstrap-linux-x86_64\n{'1' * 64}  fim-bootstrap-linux-aarch64\n"
    )
    line, shown, *_ = blocks(PAGE)
    typed = line.replace("fim-bootstrap cloud", f"{sys.executable} {PROJECT}/bootstrap.py cloud")
    subprocess.run(["sh", "-e", "-c", typed], cwd=tmp_path, check=True, env=ALONE)
    made = (tmp_path / "user-data").read_text()
    place = 0
    for part in shown.split("...\n"):
        place = made.index(part, place)
    checked = subprocess.run(["shellcheck", "-s", "sh", "-"], input=script_of(made), capture_output=True, text=True,
                             check=False)  # fmt: skip
    assert checked.stdout == ""


def script_of(document: str) -> str:
    """The script in a #cloud-config document."""
    indented = document.partition("    content: |\n")[2].partition("\npower_state:")[0]
    return textwrap.dedent(indented)


def test_the_agent_gets_its_ids_from_a_file_that_is_gone_afterwards(tmp_path: Path) -> None:
    """The example's own lines, on folders in the place of the system's; the package and systemctl stand in."""
    example = block(PAGE, "agent-ids")
    ids = textwrap.dedent(re.findall(r"(?ms)content: \|\n(.*?)^runcmd", example)[0])
    steps = re.findall(r"(?m)^  - (?!path)(.*)$", example.partition("runcmd:\n")[2])
    conf = tmp_path / "etc/qualys/cloud-agent/qualys-cloud-agent.conf"
    bins = tmp_path / "bin"
    bins.mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/agent-ids").write_text(ids)
    package = f"#!/bin/sh\nmkdir -p {conf.parent}; printf 'UseSudo=0\\nActivationId=\\n' >{conf}\n"
    seen = f'#!/bin/sh\necho "$@" >>{tmp_path}/started; cp {conf} {tmp_path}/at-start; ls {tmp_path}/root >>$0.ls\n'
    for name, text in (
        ("apt-get", package),
        ("curl", "#!/bin/sh\n"),
        ("sha256sum", "#!/bin/sh\n"),
        ("systemctl", seen),
    ):
        (bins / name).write_text(text)
        (bins / name).chmod(0o755)
    script = "\n".join(steps).replace("/root/", f"{tmp_path}/root/").replace("/etc/qualys", f"{tmp_path}/etc/qualys")
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": f"{bins}:{os.environ['PATH']}"})
    assert (tmp_path / "started").read_text() == "restart qualys-cloud-agent\n"
    assert (bins / "systemctl.ls").read_text() == ""  # no file with ids is left then
    lines = (tmp_path / "at-start").read_text().splitlines()
    assert sorted(lines) == sorted(["UseSudo=0", *ids.splitlines()])
    assert "ActivationId=" in ids
    assert not re.search("(ActivationId|CustomerId)=[^$]", "\n".join(steps))


def test_without_curl_and_wget_that_is_said(tmp_path: Path, url: str) -> None:
    ran = Image(tmp_path, "").run(f"{url}/fim-bootstrap")
    assert (ran.status, "neither curl nor wget" in ran.err) == (1, True)


def test_another_file_is_not_installed(tmp_path: Path, url: str) -> None:
    image = Image(tmp_path, "wget")
    ran = image.run(f"{url}/fim-bootstrap", "0" * 64)
    assert (ran.status, "is not the file with the checksum 000" in ran.err, image.installed) == (1, True, [])
    assert "is not the file with the checksum" in image.log


def test_one_document_serves_each_machine_of_a_release(tmp_path: Path, url: str) -> None:
    """The checksums are those of the release; a machine of which it has no binary is told so."""
    (sums := tmp_path / "SHA256SUMS").write_text(
        f"{SHA256}  fim-bootstrap-linux-x86_64\n{'0' * 64}  fim-bootstrap-linux-aarch64\n{'1' * 64}  install.sh\n"
    )
    image = Image(tmp_path, "wget")
    (image.folder / "bin/uname").unlink()
    for machine, status, said in (
        ("x86_64", 0, ""),
        ("aarch64", 1, "fim-bootstrap-linux-aarch64 is not the file with the checksum 000"),
        ("s390x", 69, "there is no binary for s390x"),
    ):
        (image.folder / "bin/uname").write_text(f"#!/bin/sh\necho {machine}\n")
        (image.folder / "bin/uname").chmod(0o755)
        ran = image.run(f"{url}/release/", str(sums))
        assert (ran.status, said in ran.err) == (status, True), ran.err


@pytest.mark.parametrize("text", ["", f"{'1' * 64}  install.sh\n", "\xff", f"{'1' * 64}  fim-bootstrap-linux-s390x\n"])
def test_a_file_without_checksums_of_binaries_is_refused(tmp_path: Path, text: str) -> None:
    (sums := tmp_path / "SHA256SUMS").write_text(text, encoding="latin-1")
    with pytest.raises(Usage, match=f"--sha256 {sums}"):
        user_data("https://example.org/v1", str(sums), "config", {})


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
