"""What the tests build or fetch once and keep outside the tree: $FIM_LIVE_CACHE, or /var/cache/fim-bootstrap-live."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE = Path(os.environ.get("FIM_LIVE_CACHE", "/var/cache/fim-bootstrap-live"))


def kept(name: str, build: Callable[[Path], object], earlier: str = "") -> Path:
    """The file or folder of that name, which `build` makes at the path that it gets; once, however many ask.

    What the pattern `earlier` finds was made of other inputs, and goes. `build` may leave things beside its path.
    """
    path, lock = CACHE / name, CACHE / "locks" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not path.exists():
            for old in CACHE.glob(earlier) if earlier else ():
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="building.") as work:
                made = Path(work) / "made"
                build(made)
                made.rename(path)
    return path


def source(suite: str) -> str:
    """The suite's apt source, on the mirror that this machine itself uses."""
    lines = output("apt-get", "indextargets", "--format", "$(SITE)|$(CODENAME)", "Created-By: Packages").splitlines()
    sites = [line.split("|")[0] for line in lines if "security" not in line]
    return f"deb [trusted=yes] {sites[0]} {suite} main"


def run(*argv: str) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stdout[-2000:] + done.stderr[-4000:]
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}\n{said}")


def output(*argv: str, cwd: Path | None = None) -> str:
    """What a command prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=cwd).stdout
