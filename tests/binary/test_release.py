"""The release folder, verified as a person would, and run from."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BINARY, PROJECT
from tests.test_install import piped

pytestmark = pytest.mark.binary


def make(folder: Path, *words: str) -> None:
    """`make release`."""
    argv = [sys.executable, str(PROJECT / "packaging/release.py"), "--folder", str(folder), *words]
    subprocess.run(argv, check=True, env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release; its URL is the folder itself."""
    folder = tmp_path_factory.mktemp("release")
    key = str(folder / "key.pem")
    subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096", "-out",
                    key], check=True)  # fmt: skip
    make(folder / "out", "--url", f"file://{folder}/out", "--key", key)
    return folder / "out"


def test_a_person_can_verify_it(release: Path) -> None:
    """The commands that the README names."""
    verify = "openssl dgst -sha256 -verify release.pem -signature SHA256SUMS.sig SHA256SUMS && "
    subprocess.run(["sh", "-c", verify + "sha256sum --check --quiet SHA256SUMS"], cwd=release, check=True)


def test_its_installer_needs_nothing_but_itself(release: Path, tmp_path: Path) -> None:
    ran = piped((release / "install.sh").read_text(), "install", "--version", FIM_INSTALL_DIR=str(tmp_path))
    assert ran.status == 0, ran.err
    assert ran.out.startswith("fim-bootstrap 0.")
    assert "not checked" not in ran.err
    done = subprocess.run([tmp_path / "fim-bootstrap", "profiles"], capture_output=True, check=True)
    assert b"el8" in done.stdout


def test_the_sbom_names_what_is_inside(release: Path) -> None:
    document = json.loads((release / "sbom.cdx.json").read_text())
    names = {component["name"]: component["version"] for component in document["components"]}
    assert {"python3.13", "zlib", "bzip2", "pyinstaller", "sh", "distro"} <= set(names)
    digest = hashlib.sha256((release / BINARY.name).read_bytes()).hexdigest()
    files = {file["name"]: file["hashes"][0]["content"] for file in document["metadata"]["component"]["components"]}
    assert files[BINARY.name] == digest


def test_the_same_inputs_give_the_same_release(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(tmp_path / name, "--url", "https://example.org")
    sums = [(tmp_path / name / "SHA256SUMS").read_bytes() for name in ("one", "two")]
    assert sums[0] == sums[1]
