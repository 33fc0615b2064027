"""Programs from PyPI that the tests run: each with what it needs in a folder of its own, fetched once."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.live.images import CACHE

SALT = "salt==3008.3"


def fetched(requirement: str) -> Path:
    """The folder with a pinned package, for this Python; the programs in its bin need it as PYTHONPATH."""
    folder = CACHE / f"pypi-{requirement}-{sys.implementation.cache_tag}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "pypi.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="pypi.") as work:
                target = Path(work) / "package"
                pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(target), requirement]
                subprocess.run(pip, check=True, capture_output=True, text=True)
                target.rename(folder)
    return folder
