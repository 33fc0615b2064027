"""The real fapolicyd decides what may run: what cloud-init runs names it, and the rules that it names are enough.

It watches the mounts of a namespace of its own; nothing else on this machine is asked.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from fim_bootstrap.cloud_init import user_data
from tests.cache import kept, run
from tests.conftest import Ran
from tests.managers.roots import ENVIRONMENT, Root, root

pytestmark = pytest.mark.managers

PACKAGES = ("fapolicyd", "liblmdb0")
# in the place of the package database's files, which this build of it does not know
TRUSTED = "".join(f"allow perm=any all : dir=/{folder}/\n" for folder in
                  ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "bin", "sbin", "lib", "lib64"))  # fmt: skip
PART = """\
mount -t proc proc /proc
rm -rf /run/fapolicyd.pid /run/fapolicyd/*
fapolicyd --debug-deny >/fapolicyd.log 2>&1 &
daemon=$!
cp /usr/bin/true /opt/unknown
for try in $(seq 300); do # until it decides
    /opt/unknown 2>/dev/null || break
    sleep 0.1
done
/opt/unknown 2>/dev/null && echo 'fapolicyd decides nothing here' && cat /fapolicyd.log
sh /part
status=$?
kill $daemon
exit $status
"""


@pytest.fixture(scope="module")
def debs() -> Path:
    """The packages of Debian 12."""
    return kept("fapolicyd-bookworm", _download)


def _download(made: Path) -> None:
    made.mkdir()
    made.chmod(0o755)
    names = " ".join(f"{name}/bookworm" for name in PACKAGES)
    run("sh", "-c", f"cd '{made}' && apt-get -q download {names}")


def guarded(here: Root) -> Ran:
    """What becomes of the script that cloud-init runs, with fapolicyd at work."""
    alone = ("unshare", "-mpf", "--kill-child", "--propagation", "private", "chroot", str(here.path), "sh", "-c", PART)
    done = subprocess.run(alone, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False,
                          env=ENVIRONMENT)  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def test_what_fapolicyd_refuses_runs_with_the_rules_that_are_named(debs: Path) -> None:
    with root("bookworm", 'ID=debian\nVERSION_ID="12"\n', "debian-12") as here:
        for deb in debs.iterdir():
            shutil.copy(deb, here.path / "tmp")
        here.run("dpkg -i --force-depends /tmp/*.deb")
        conf = here.path / "etc/fapolicyd/fapolicyd.conf"
        own = {"watch_fs = ": "watch_fs = overlay,", "trust = rpmdb,": "trust = ", "id = fapolicyd": "id = root"}
        text = conf.read_text()
        for before, after in own.items():
            text = text.replace(before, after)
        conf.write_text(text)
        rules = here.path / "etc/fapolicyd/rules.d"
        (rules / "10-trusted.rules").write_text(TRUSTED)
        (rules / "95-allow-open.rules").write_text("allow perm=open all : all\n")
        here.run("fagenrules --load", check=False)  # it can tell no daemon of it, there is none yet
        program = here.path / "usr/bin/env"  # a program that says its version, and fails at any other word
        shutil.copy(program, here.path / "release")
        digest = hashlib.sha256(program.read_bytes()).hexdigest()
        (here.path / "part").write_text(user_data("file:///release", digest, "script", {}))

        refused = guarded(here)
        assert (refused.status, refused.out) == (1, ""), refused
        assert "fapolicyd refuses it" in refused.err
        named = [line for line in refused.err.splitlines() if line.startswith("allow perm=")]
        assert len(named) == 3, refused

        (rules / "30-fim-bootstrap.rules").write_text("\n".join(named) + "\n")
        here.run("fagenrules --load", check=False)
        ran = guarded(here)
        assert "fapolicyd refuses" not in ran.err
        assert (ran.status, "'apply': No such file" in ran.err) == (127, True), ran
