"""The real fapolicyd decides what may run: who starts the binary names it, and what they say to type is enough.

It watches the mounts of a namespace of its own; nothing else on this machine is asked.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fim_bootstrap import __version__
from fim_bootstrap.cloud_init import user_data
from tests.cache import kept, run
from tests.conftest import BINARY, PROJECT, Ran, needs_root
from tests.managers.roots import ENVIRONMENT, Root, root

pytestmark = [pytest.mark.binary, needs_root]

PACKAGES = ("fapolicyd", "liblmdb0")
# in the place of the package database's files, which this build of it does not know
TRUSTED = "".join(f"allow perm=any all : dir=/{folder}/\n" for folder in
                  ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "bin", "sbin", "lib", "lib64"))  # fmt: skip
# of its sample rules, those that concern a program which brings its own libraries
SAMPLES = ("41-shared-obj.rules", "95-allow-open.rules")
# its unit, where no systemd runs: fagenrules is in ExecStartPre
SYSTEMCTL = """\
#!/bin/sh
[ "$*" = 'restart fapolicyd' ] || exit 1
for pid in $(pidof fapolicyd); do
    kill "$pid"
    while [ -e "/proc/$pid" ]; do sleep 0.1; done
done
rm -rf /run/fapolicyd.pid /run/fapolicyd/*
fagenrules >/dev/null
fapolicyd --debug-deny >>/fapolicyd.log 2>&1 &
for try in $(seq 300); do # until it decides
    /opt/unknown 2>/dev/null || exit 0
    sleep 0.1
done
cat /fapolicyd.log >&2
exit 1
"""
INSTALL = "sh /install.sh"
CLOUD_INIT = "sh /part"


@pytest.fixture(scope="module")
def debs() -> Path:
    """The packages of Debian 12."""
    return kept("fapolicyd-bookworm", _download)


def _download(made: Path) -> None:
    made.mkdir()
    made.chmod(0o755)
    names = " ".join(f"{name}/bookworm" for name in PACKAGES)
    run("sh", "-c", f"cd '{made}' && apt-get -q download {names}")


@pytest.fixture
def host(debs: Path) -> Iterator[Root]:
    """A Debian 12 with fapolicyd, a release of the binary in /release, and what fetches it from there."""
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
        for name in SAMPLES:
            shutil.copy(here.path / "usr/share/fapolicyd/sample-rules" / name, rules)
        shutil.copy("/usr/bin/true", here.path / "opt/unknown")
        (here.path / "usr/bin/systemctl").unlink()
        (here.path / "usr/bin/systemctl").write_text(SYSTEMCTL)
        (here.path / "usr/bin/systemctl").chmod(0o755)
        (here.path / "release").mkdir()
        shutil.copy(BINARY, here.path / "release")
        shutil.copy(PROJECT / "packaging/install.sh", here.path)
        digest = hashlib.sha256(BINARY.read_bytes()).hexdigest()
        (here.path / "part").write_text(user_data(f"file:///release/{BINARY.name}", digest, "script", {}))
        yield here


def guarded(here: Root, command: str) -> Ran:
    """What becomes of a command with fapolicyd at work."""
    digest = hashlib.sha256(BINARY.read_bytes()).hexdigest()
    lines = ("mount -t proc proc /proc", "systemctl restart fapolicyd || exit 99",
             f"export FIM_INSTALL_URL=/release FIM_INSTALL_SHA256={digest}", command)  # fmt: skip
    alone = ("unshare", "-mpf", "--kill-child", "--propagation", "private", "chroot", str(here.path), "sh", "-c",
             "\n".join(lines))  # fmt: skip
    done = subprocess.run(alone, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False,
                          env=ENVIRONMENT)  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def to_type(refused: Ran) -> str:
    """The line for a shell that was named."""
    (line,) = [line for line in refused.err.splitlines() if "allow perm=" in line]
    return line.strip().removeprefix("-> ")


@pytest.mark.parametrize("command", [f"{INSTALL} install --version", CLOUD_INIT])
def test_one_line_is_enough_for_what_fapolicyd_refuses(host: Root, command: str) -> None:
    refused = guarded(host, command)
    assert (refused.status, refused.out) == (126 if INSTALL in command else 1, ""), refused
    assert "fapolicyd refuses /usr/local/sbin/fim-bootstrap" in refused.err
    ran = guarded(host, f"{to_type(refused)} && {command}")
    assert "fapolicyd refuses" not in ran.err
    assert "Operation not permitted" not in ran.err
    if INSTALL in command:
        assert (ran.status, ran.out) == (0, f"fim-bootstrap {__version__}\n"), ran
    else:  # the program itself says what this root is
        assert (ran.status, "fim-bootstrap: a container" in ran.err) == (69, True), ran


def test_a_program_that_runs_once_has_no_path_that_could_be_allowed(host: Root) -> None:
    refused = guarded(host, f"{INSTALL} --version")
    assert (refused.status, "-> sh -s -- install --version," in refused.err) == (126, True), refused
    assert not [*host.path.glob("*tmp/fim-bootstrap.*")]
    assert not (host.path / "usr/local/sbin/fim-bootstrap").exists()
    assert guarded(host, f"{to_type(refused)} && {INSTALL} install --version").status == 0


def test_a_library_that_fapolicyd_refuses_is_told_like_the_program(host: Root) -> None:
    """A package's database trusts the program alone, and not what it unpacks."""
    trusting = host.path / "etc/fapolicyd/rules.d/20-program.rules"
    trusting.write_text("allow perm=execute all : path=/usr/local/sbin/fim-bootstrap\n")
    refused = guarded(host, f"{INSTALL} install --version")
    assert (refused.status, "Operation not permitted" in refused.err) == (255, True), refused
    assert guarded(host, f"{to_type(refused)} && {INSTALL} install --version").status == 0


def test_a_file_that_fapolicyd_has_seen_under_another_name(host: Root) -> None:
    """Somebody reads the file before it has its last name: fapolicyd would take it for that of the first reading."""
    script = host.path / "install.sh"
    text = script.read_text()
    assert text.count('chmod 755 "$NEW"') == 1
    script.write_text(text.replace('chmod 755 "$NEW"', 'chmod 755 "$NEW" && cat "$NEW" >/dev/null'))
    refused = guarded(host, f"{INSTALL} install --version")
    assert guarded(host, f"{to_type(refused)} && {INSTALL} install --version").status == 0
