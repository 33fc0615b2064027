"""The image builders' examples: scripts run in roots of real package managers, files read by the real tools."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import BINARY, PROJECT, needs_root
from tests.fetched import fetched
from tests.managers.roots import root
from tests.managers.test_managers import RELEASES

pytestmark = pytest.mark.images

EXAMPLES = PROJECT / "packaging/images"
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


def mkosi() -> str:
    """The script of mkosi, with the release where mkosi.extra puts it."""
    put = "cp -r /release /opt/release; rm -r /opt/fim-bootstrap; mv /opt/release /opt/fim-bootstrap\n"
    return put + (EXAMPLES / "mkosi/mkosi.postinst.chroot").read_text()


@needs_root
@pytest.mark.parametrize(
    ("script", "release"),
    [(kickstart, "el8"), (autoyast, "sles-15.4"), (mkosi, "debian-12"), (dockerfile, "debian-12"),
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
        for path in (
            f"{UNITS}/auditd.service",
            f"{UNITS}/fim-bootstrap-firstboot.service",
            "/usr/local/sbin/fim-bootstrap",
            "/var/lib/selinux/default/active/modules/400/fim_bootstrap",
        ):
            assert here.run(f"ls -d {path}").status == 0  # fmt: skip
        again = here.run("fim-bootstrap apply --root / --first-boot --format json")
        assert json.loads(again.out)["changed"] is False, again.out


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
