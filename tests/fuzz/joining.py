"""The real augenrules of every release, with mawk and with gawk, on a folder of its own.

The script runs here with the paths in it changed; what it asks the kernel by auditctl gets no answer.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fim_bootstrap.audit.rules_d import FOLDER, Joins
from fim_bootstrap.host.reader import File
from tests.fuzz import oracle

AWKS = ("mawk", "gawk")
RETURNS, NAMES = ("trixie", "sid"), ("sid",)


class Joiner(NamedTuple):
    """augenrules of a release with one of the awks; `joins` is what the project takes it for."""

    folder: Path
    joins: Joins

    def join(self, files: Sequence[File]) -> bytes:
        """The audit.rules that comes of these files."""
        rules, made = self.folder / "rules.d", self.folder / "audit.rules"
        shutil.rmtree(rules, ignore_errors=True)
        rules.mkdir()
        for file in files:
            (rules / Path(file.path).name).write_bytes(file.text.encode("utf-8", "surrogateescape"))
        made.unlink(missing_ok=True)
        path = f"{self.folder / 'bin'}:{oracle.PATH}"
        subprocess.run(["sh", self.folder / "augenrules"], env={"PATH": path, "TMPDIR": str(self.folder)},
                       capture_output=True, check=True)  # fmt: skip
        return made.read_bytes()


@contextlib.contextmanager
def joiner(suite: str, awk: str) -> Iterator[Joiner]:
    """One that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "bin/awk").symlink_to(str(shutil.which(awk)))
        (folder / "bin/auditctl").symlink_to("/bin/true")
        text = (oracle.root(suite) / "sbin/augenrules").read_text()
        for key, value in (("DestinationFile", folder / "audit.rules"), ("SourceRulesDir", folder / "rules.d"),
                           ("auditctl_bin", folder / "bin/auditctl")):  # fmt: skip
            text = re.sub(f"(?m)^{key}=.*", f"{key}={value}", text)
        text = text.replace("/tmp/", f"{folder}/").replace("/sbin/restorecon", "/none")
        assert FOLDER not in text.replace("## ", "")
        (folder / "augenrules").write_text(text)
        yield Joiner(folder, Joins(awk != "mawk", suite in RETURNS, suite in NAMES))
