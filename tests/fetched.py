"""Programs from PyPI and from Debian that the tests run: each in a folder of its own, fetched once."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.cache import kept, run, source

SALT = f"salt=={os.environ.get('FIM_SALT', '3008.3')}"
SALT_LTS = "salt==3006.28"
ANSIBLE = "ansible-core==2.19.14"


def fetched(requirement: str) -> Path:
    """The folder with a pinned package, for this Python; the programs in its bin need it as PYTHONPATH."""
    pip = (sys.executable, "-m", "pip", "install", "-q")
    name = f"pypi-{requirement}-{sys.implementation.cache_tag}"
    return kept(name, lambda made: run(*pip, "--target", str(made), requirement))


def unpacked(package: str, suite: str) -> Path:
    """The folder with the files of a Debian package, without what it depends on; nothing is installed."""
    return kept(f"deb-{package}-{suite}", partial(_unpack, package, suite))


def _unpack(package: str, suite: str, made: Path) -> None:
    for folder in ("lists", "archives"):
        (made / folder / "partial").mkdir(parents=True)
    (made / "sources.list").write_text(source(suite))
    places = {"Etc::SourceList": made / "sources.list", "Etc::SourceParts": "/dev/null",
              "State::Lists": made / "lists", "Cache": made}  # fmt: skip
    apt = ["apt-get", "-q", *(f"-oDir::{name}={place}" for name, place in places.items())]
    run(*apt, "update")
    subprocess.run([*apt, "download", package], cwd=made, check=True, capture_output=True)
    (archive,) = made.glob("*.deb")
    run("dpkg-deb", "-x", str(archive), str(made))
