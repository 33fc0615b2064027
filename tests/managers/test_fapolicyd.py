"""The real fapolicyd decides what may run: what we run names it, and the rules that it names are enough.

It watches the mounts of a namespace of its own; nothing else on this machine is asked.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fim_bootstrap.cloud_init import user_data
from tests.cache import kept, run
from tests.conftest import PROJECT, Ran
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


NAME = "fim-bootstrap-linux-x86_64"
INSTALL = "FIM_INSTALL_URL=/release FIM_INSTALL_SHA256={} sh /install.sh {}\n"


def guarded(here: Root) -> Ran:
    """What becomes of the script /part, with fapolicyd at work."""
    alone = ("unshare", "-mpf", "--kill-child", "--propagation", "private", "chroot", str(here.path), "sh", "-c", PART)
    done = subprocess.run(alone, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False,
                          env=ENVIRONMENT)  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(debs: Path) -> Iterator[Root]:
    """A root with fapolicyd, and a release of a program that says its version, and fails at any other word."""
    with root("bookworm", 'ID=debian\nVERSION_ID="12"\n', "debian-12") as made:
        for deb in debs.iterdir():
            shutil.copy(deb, made.path / "tmp")
        made.run("dpkg -i --force-depends /tmp/*.deb")
        conf = made.path / "etc/fapolicyd/fapolicyd.conf"
        own = {"watch_fs = ": "watch_fs = overlay,", "trust = rpmdb,": "trust = ", "id = fapolicyd": "id = root"}
        text = conf.read_text()
        for before, after in own.items():
            text = text.replace(before, after)
        conf.write_text(text)
        rules = made.path / "etc/fapolicyd/rules.d"
        (rules / "10-trusted.rules").write_text(TRUSTED)
        (rules / "95-allow-open.rules").write_text("allow perm=open all : all\n")
        made.run("fagenrules --load", check=False)  # it can tell no daemon of it, there is none yet
        (made.path / "release").mkdir()
        shutil.copy(made.path / "usr/bin/env", made.path / "release" / NAME)
        shutil.copy(PROJECT / "packaging/install.sh", made.path)
        yield made


def digest(here: Root) -> str:
    """The checksum of the release's program."""
    return hashlib.sha256((here.path / "release" / NAME).read_bytes()).hexdigest()


def allowed(here: Root, refused: Ran) -> None:
    """The rules that were named are put where that was said."""
    named = [line for line in refused.err.splitlines() if line.startswith("allow perm=")]
    assert len(named) == 2, refused
    (here.path / "etc/fapolicyd/rules.d/30-fim-bootstrap.rules").write_text("\n".join(named) + "\n")
    here.run("fagenrules --load", check=False)


def test_what_cloud_init_runs_is_allowed_by_the_rules_that_are_named(here: Root) -> None:
    (here.path / "part").write_text(user_data(f"file:///release/{NAME}", digest(here), "script", {}))
    refused = guarded(here)
    assert (refused.status, refused.out) == (1, ""), refused
    assert "fapolicyd refuses it" in refused.err
    allowed(here, refused)
    ran = guarded(here)
    assert "fapolicyd refuses" not in ran.err
    assert (ran.status, "'apply': No such file" in ran.err) == (127, True), ran


@pytest.mark.parametrize("words", ["apply", "install apply"])
def test_install_sh_is_let_through_by_the_rules_that_it_names(here: Root, words: str) -> None:
    """A program in a folder of a moment has no name that a rule could have, so it has to be installed."""
    (here.path / "part").write_text(INSTALL.format(digest(here), words))
    refused = guarded(here)
    assert (refused.status, refused.out) == (126, ""), refused
    assert ("install apply" in refused.err) == (words == "apply"), refused
    assert (here.path / "usr/local/sbin/fim-bootstrap").exists() == (words != "apply")
    allowed(here, refused)
    (here.path / "part").write_text(INSTALL.format(digest(here), "install apply"))
    ran = guarded(here)
    assert "fapolicyd" not in ran.err
    assert (ran.status, "'apply': No such file" in ran.err) == (127, True), ran
