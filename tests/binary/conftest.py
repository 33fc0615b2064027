"""A release folder, made once for the tests that look at it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from fim_bootstrap import __version__
from tests.conftest import PROJECT


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`make release`, without the binary's part of it."""
    argv = [sys.executable, str(PROJECT / "packaging/release.py"), "--folder", str(folder), *words]
    return subprocess.run(argv, check=False, env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True)  # fmt: skip


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key that a release is signed with, made as docs/release.md says."""
    path = tmp_path_factory.mktemp("key") / "private.pem"
    subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096", "-out",
                    path], check=True)  # fmt: skip
    return path


def fingerprint(key: Path) -> str:
    """What SECURITY.md has a person compute, of the private key's public half."""
    public = ["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"]
    return hashlib.sha256(subprocess.run(public, check=True, capture_output=True).stdout).hexdigest()


@pytest.fixture(scope="session")
def naming(key: Path) -> Path:
    """A document that names the key, as SECURITY.md and README.md do in the copy that a release is made from."""
    path = key.parent / "SECURITY.md"
    path.write_text(f"The fingerprint: {fingerprint(key)}\n")
    return path


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory, key: Path, naming: Path) -> Path:
    """A signed release; its URL is the folder itself."""
    folder = tmp_path_factory.mktemp("release")
    made = make(folder, "--url", f"file://{folder}", "--key", str(key), "--naming", str(naming))
    assert made.returncode == 0, made.stderr
    return folder


def package(release: Path, kind: str) -> Path:
    """The release's .deb or .rpm for this machine."""
    (found,) = release.glob(f"*{__version__}*.{kind}")
    return found
