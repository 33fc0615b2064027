"""The image builders' examples: scripts run in roots of real package managers, files read by the real tools."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fim_bootstrap.facts.own_files import FIRST_BOOT_NETWORK
from tests.binary.conftest import make
from tests.cache import source
from tests.conftest import BINARY, PROJECT, needs_mounts, needs_root
from tests.documented import block, blocks
from tests.fetched import fetched, unpacked
from tests.managers.roots import root
from tests.managers.test_managers import RELEASES, release_root

pytestmark = pytest.mark.images

EXAMPLES = PROJECT / "packaging/images"
PAGE = "docs/images.md"
FETCH = "curl -fsSLo /tmp/install.sh https://example.org/v1/install.sh"
UNITS = "/etc/systemd/system/multi-user.target.wants"


def kickstart() -> str:
    """What %post runs."""
    return (EXAMPLES / "fim-bootstrap.ks").read_text().partition("\n%post")[2].partition("\n")[2].partition("%end")[0]


def autoyast() -> str:
    """What the chroot script runs."""
    return next(str(e.text) for e in ET.parse(EXAMPLES / "autoyast.xml").iter() if e.tag.endswith("}source"))


def dockerfile() -> str:
    """The last RUN."""
    return (EXAMPLES / "Dockerfile").read_text().rpartition("\nRUN ")[2]


def virt_customize() -> str:
    """The command that is run in the disk's system."""
    return (EXAMPLES / "virt-customize.sh").read_text().partition("--run-command '")[2].partition("'")[0]


def element() -> str:
    """The script of diskimage-builder's element."""
    text = (EXAMPLES / "diskimage-builder/fim-bootstrap/install.d/60-fim-bootstrap").read_text()
    url = '"${DIB_FIM_BOOTSTRAP_URL:?the URL of a release}/install.sh"'
    return text.replace(url, "https://example.org/v1/install.sh")


def page() -> str:
    """The line that the documentation begins with."""
    return blocks(PAGE)[0]


@needs_root
@pytest.mark.parametrize(
    ("script", "release"),
    [(kickstart, "el8"), (autoyast, "sles-15.4"), (page, "debian-12"), (dockerfile, "debian-12"),
     (virt_customize, "debian-12"), (element, "debian-12")],
)  # fmt: skip
def test_the_script_prepares_an_image(script: Callable[[], str], release: str) -> None:
    """Run in a root of the release as the builder runs it; the download alone is replaced by a folder."""
    chosen = RELEASES[release]
    digest = hashlib.sha256(BINARY.read_bytes()).hexdigest()
    with root(chosen.suite, chosen.os_release, chosen.profile) as here:
        here.publish()
        (here.path / "release").mkdir()
        for file in (BINARY, PROJECT / "packaging/install.sh"):
            shutil.copy(file, here.path / "release")
        command = f"FIM_INSTALL_URL=/release FIM_INSTALL_SHA256={digest} bash /script"
        if FETCH in script():
            (here.path / "script").write_text(script().replace(FETCH, "false"))
            assert here.run(command, check=False).status != 0  # the build fails where nothing could be fetched
        (here.path / "script").write_text(script().replace(FETCH, "cp /release/install.sh /tmp"))
        said = here.run(command)
        assert "\nREADY" in said.out, said.out + said.err
        if script is page:
            promised(blocks(PAGE)[1], said.out)
        for path in (
            f"{UNITS}/auditd.service",
            f"{UNITS}/fim-bootstrap-firstboot.service",
            "/usr/local/sbin/fim-bootstrap",
            "/var/lib/selinux/default/active/modules/400/fim_bootstrap",
        ):
            assert here.run(f"ls -d {path}").status == 0  # fmt: skip
        again = here.run("fim-bootstrap apply --root / --first-boot --format json")
        assert json.loads(again.out)["changed"] is False, again.out


@needs_root
@pytest.mark.parametrize("release", ["debian-12", "el8"])
def test_a_first_boot_waits_for_the_network_only_where_it_has_to_fetch_something(release: str) -> None:
    with release_root(release) as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        shutil.copy(BINARY, here.path / "usr/bin/fim-bootstrap")
        drop_in = here.path / FIRST_BOOT_NETWORK.lstrip("/")
        build = "fim-bootstrap apply --root / --first-boot"
        here.run(f"{build} --skip packages")
        assert "After=network-online.target time-sync.target" in drop_in.read_text()
        here.run(build)
        assert "network-online" not in drop_in.read_text()
    with release_root(release) as (here, _):
        (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")
        shutil.copy(BINARY, here.path / "usr/bin/fim-bootstrap")
        here.run(build)
        assert not (here.path / FIRST_BOOT_NETWORK.lstrip("/")).exists()


def promised(lines: str, out: str) -> None:
    """Each of the lines that a page shows stands in the output, in their order; figures may differ."""
    for line in lines.splitlines():
        found = re.search(re.sub(r"[\d.]+", r"[\\d.]+", re.escape(line).replace(r"\.", ".")), out)
        assert found, f"{line}\nis not in\n{out}"
        out = out[found.end() :]


BUILD_HOST = ("/etc/audit", "/etc/selinux", "/etc/systemd", "/etc/fim-bootstrap", "/usr/local/sbin", "/usr/local/share",
              "/var/lib/fim-bootstrap", "/var/lib/selinux", "/run/fim-bootstrap",
              "/var/lib/dpkg/status", "/etc/passwd")  # fmt: skip


def state(paths: tuple[str, ...]) -> dict[str, object]:
    """What stands there: contents, modes and times."""
    files = [file for path in paths for file in (Path(path), *Path(path).rglob("*"))]
    return {
        str(file): (os.readlink(file) if file.is_symlink() else file.is_file() and file.read_bytes(),
                    file.lstat().st_mode, file.lstat().st_mtime_ns)
        for file in files if os.path.lexists(file)
    }  # fmt: skip


@needs_mounts
def test_mkosi_builds_the_example_and_leaves_the_build_host_as_it_was(tmp_path: Path) -> None:
    """The lines of the page; the mirror alone is the one that this machine uses."""
    assert make(tmp_path / "release", "--unsigned").returncode == 0
    _, site, suite, component = source("bookworm").rsplit(" ", 3)
    sources = f"Types: deb\nURIs: {site}\nSuites: {suite}\nComponents: {component}\nTrusted: yes\n"
    mkosi = unpacked("mkosi", "trixie")
    program = f"PYTHONPATH={mkosi}/usr/lib/python3/dist-packages python3 {mkosi}/usr/bin/mkosi"
    lines = block(PAGE, "sudo mkosi build").replace("sudo mkosi", f"mv ../mkosi.sandbox . && {program}")
    lines = lines.replace("https://example.org/v1", f"file://{tmp_path}/release")
    lines = lines.replace("cp -r packaging", f"cp -r {PROJECT}/packaging")
    (place := tmp_path / "mkosi.sandbox/etc/apt/sources.list.d").mkdir(parents=True)
    (place / "mkosi.sources").write_text(sources)
    before = state(BUILD_HOST)
    done = subprocess.run(["sh", "-e", "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    promised(block(PAGE, "Running postinstall script"), done.stderr + done.stdout)
    image = tmp_path / "image/image"
    for path in (f"{UNITS}/auditd.service", f"{UNITS}/fim-bootstrap-firstboot.service", "/usr/local/sbin/fim-bootstrap",
                 "/var/lib/selinux/default/active/modules/400/fim_bootstrap"):  # fmt: skip
        assert os.path.lexists(f"{image}{path}")
    assert not (image / "opt/fim-bootstrap").exists()
    assert state(BUILD_HOST) == before
    assert "mkosi" not in Path("/proc/self/mounts").read_text()
    assert os.listxattr(tmp_path / "image/mkosi.conf") == []  # lent to the script: no label of the image's policy


def linted(*argv: str) -> int:
    """The exit status of a linter."""
    return subprocess.run(argv, capture_output=True, check=False).returncode


def test_packer_reads_its_template(tmp_path: Path) -> None:
    if not shutil.which("packer"):
        pytest.skip("there is no packer here")
    template = EXAMPLES / "packer.pkr.hcl"
    assert linted("packer", "validate", str(template)) == 0
    broken = tmp_path / "broken.pkr.hcl"
    broken.write_text(template.read_text().replace("expect_disconnect", "expect_disaster"))
    assert linted("packer", "validate", str(broken)) != 0


def test_the_scripts_pass_shellcheck() -> None:
    scripts = [EXAMPLES / "virt-customize.sh", EXAMPLES / "mkosi/mkosi.postinst.chroot",
               EXAMPLES / "diskimage-builder/fim-bootstrap/install.d/60-fim-bootstrap"]  # fmt: skip
    assert linted("shellcheck", *map(str, scripts)) == 0


@pytest.mark.parametrize("version", ["RHEL8", "RHEL9", "RHEL10", "F42"])
def test_kickstart_is_valid(version: str) -> None:
    folder = fetched("pykickstart==3.78")
    argv = ["env", f"PYTHONPATH={folder}", "python3", f"{folder}/bin/ksvalidator", "-v", version]
    assert linted(*argv, str(EXAMPLES / "fim-bootstrap.ks")) == 0
