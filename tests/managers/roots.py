"""Roots in which real package managers work on repositories that are built on the spot.

A root is Debian with the manager under test, which stands in for another release: its os-release, its package names.
The packages of a release hold the files of Debian's packages, dealt out as that release's profile says, so that
what `apply` installs really compiles and loads a policy module. Roots are kept like the guests' disks.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fim_bootstrap.model import Profile
from fim_bootstrap.profiles import load
from fim_bootstrap.resources import profile_folder
from tests.cache import CACHE, kept, run, source
from tests.conftest import PROJECT, Ran
from tests.live.guest import FIM, SHIPPED, libraries
from tests.live.images import POLICY_FROM

PROFILES: Mapping[str, Profile] = {profile.id: profile for profile in load([profile_folder()])}
COMMON = ("python3", "systemd", "createrepo-c", "rpm", "apt-utils")
SUITES = {"bookworm": (*COMMON, "dnf", "zypper"), "sid": (*COMMON, "dnf5")}
# Debian's packages behind the commands, and the libraries that they need and that are not under test
HELD = ("auditd", "checkpolicy", "semodule-utils", "policycoreutils", "selinux-utils", "policycoreutils-python-utils",
        "procps")  # fmt: skip
DEB_OF = {**{c: names[0] for c, names in PROFILES["debian-12"].packages.items()},
          "semanage": "policycoreutils-python-utils"}  # fmt: skip
BIN = ("usr/sbin", "usr/bin", "sbin", "bin")
SELINUX_CONFIG = "SELINUX=enforcing\nSELINUXTYPE=default\n"
REPO_FILE = "[fim]\nname=fim\nbaseurl=file:///repo\nenabled=1\ngpgcheck=0\n"
# a package whose installation takes as many seconds as /slow says
SLOW_SPEC = """\
Name: slow
Version: 1
Release: 1
Summary: takes its time
License: none
BuildArch: noarch
AutoReqProv: no
Provides: /bin/sh
%description
Takes its time.
%post
sleep $(cat /slow)
%files
"""


def base(suite: str) -> Path:
    """A root with the managers, without the commands that are to be installed; their packages lie in /debs."""
    made_of = f"{inspect.getsource(_build)}{SUITES}{HELD}{REPO_FILE}{SELINUX_CONFIG}"
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    return kept(f"root-{suite}-{digest}", partial(_build, suite), earlier=f"root-{suite}-*")


def _build(suite: str, root: Path) -> None:
    policy = POLICY_FROM.get(suite, suite)
    run(
        "mmdebstrap", "--variant=apt", "--mode=root", "--aptopt=Acquire::Check-Valid-Until false",
        f"--include={','.join(SUITES[suite])},selinux-policy-default/{policy}", "--skip=cleanup/apt/lists",
        suite, str(root), *dict.fromkeys((source(suite), source(policy))),
    )  # fmt: skip
    apt = ("chroot", str(root), "apt-get", "-q", "-y", "-o", "Acquire::Check-Valid-Until=false")
    parse = "libauparse0" if suite == "bookworm" else "libauparse0t64"
    run(*apt, "--no-install-recommends", "install", parse, "libwrap0", "procps", f"libsemanage2/{suite}")
    run(*apt, "--download-only", "--reinstall", "--no-install-recommends", "install", *HELD)
    (root / "debs").mkdir()
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        if package.name.split("_")[0] in HELD:
            package.rename(root / "debs" / package.name)
    installed = [name for name in HELD if (root / f"var/lib/dpkg/info/{name}.list").exists()]
    run("chroot", str(root), "dpkg", "--purge", "--force-depends", *installed)
    # the policy stays without the tools that it depends on; apt would ask for them first at every turn
    status = root / "var/lib/dpkg/status"
    needs = re.compile(r"(Package: selinux-policy-default\n(?:.+\n)*?)Depends: .+\n")
    status.write_text(needs.sub(r"\1", status.read_text()))
    run("chroot", str(root), "apt-get", "clean")
    shutil.rmtree(root / "var/lib/apt/lists")
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")
    (root / "etc/selinux/config").write_text(SELINUX_CONFIG)
    (root / "etc/rpm").mkdir(exist_ok=True)
    (root / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n%_build_id_links none\n%__os_install_post %{nil}\n")
    for folder in ("etc/yum.repos.d", "etc/zypp/repos.d"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "fim.repo").write_text(REPO_FILE)
    (root / "slow").write_text("0\n")


@dataclass(frozen=True)
class Root:
    """A root that is forgotten afterwards, which stands in for a release."""

    path: Path
    profile: Profile
    suite: str

    @property
    def rpm(self) -> bool:
        """Whether its packages are RPMs."""
        return self.profile.managers != ("apt",)

    def run(self, command: str, check: bool = True) -> Ran:
        """A shell command in the root."""
        done = subprocess.run(["chroot", str(self.path), "sh", "-c", command], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=600, check=False, env=ENVIRONMENT)  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return Ran(done.returncode, done.stdout, done.stderr)

    def fim(self, words: str) -> Ran:
        """The tool, on the root as its own system."""
        return self.run(f"{FIM} {words} --format json", check=False)

    @contextlib.contextmanager
    def holding(self, command: str, seconds: int) -> Iterator[None]:
        """A manager that is at work for some seconds, and killed at the end."""
        if not self.rpm:
            self.run("apt-get update")
        (self.path / "slow").write_text(f"{seconds}\n")
        argv = ["chroot", str(self.path), "sh", "-c", f"exec {command} slow"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ENVIRONMENT,
                                   stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not self.sleeping() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert self.sleeping(), f"{command} never came to its slow part"
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def sleeping(self) -> bool:
        """Whether the slow package is being installed."""
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "comm").read_text() == "sleep\n" and os.readlink(path / "root") == str(self.path):
                    return True
        return False

    def publish(self, without: str = "", version: str = "1") -> None:
        """Build /repo anew: the release's packages, but for one name."""
        shutil.rmtree(self.path / "repo", ignore_errors=True)
        (self.path / "repo").mkdir()
        built = self._rpms(version) if self.rpm else self.path / "debs"
        for package in built.iterdir():
            if re.split("[-_][0-9]", package.name)[0] != without:
                shutil.copy(package, self.path / "repo")
        if not self.rpm:
            self.run(SLOW_DEB)
        self.run("createrepo_c -q /repo" if self.rpm else "cd /repo && apt-ftparchive packages . > Packages")

    def add(self, relation: str) -> None:
        """Install an empty package named other with a relation: `Requires: audit`, `Conflicts: auditd`."""
        if self.rpm:
            spec = ordinary("other", "1", "").replace("AutoReqProv: no", f"AutoReqProv: no\n{relation}")
            self._rpmbuild("other", spec)
            self.run("rpm -i /rpms/other-1.rpm")
            return
        (self.path / "other/DEBIAN").mkdir(parents=True)
        control = f"Package: other\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n{relation}\n"
        (self.path / "other/DEBIAN/control").write_text(control)
        self.run("dpkg-deb --build /other && dpkg -i /other.deb")

    def script(self, command: str, which: str, body: str) -> str:
        """Give the package of a command a script, such as postinst or %post, in a new version; the package's name."""
        name = self.profile.packages[command][0]
        if not self.rpm:
            self.run(f"dpkg-deb -R /repo/{name}_*.deb /r; rm /repo/{name}_*;"
                     f"printf '#!/bin/sh\\n{body}\\n' > /r/DEBIAN/{which}; chmod 755 /r/DEBIAN/{which};"
                     f"dpkg-deb -b /r /repo/{name}_9_all.deb; cd /repo;"
                     "apt-ftparchive packages . > Packages")  # fmt: skip
            return name
        self.run(f"mkdir -p /build/{name}; cd /build/{name}; rpm2archive - < /repo/{name}-1.rpm | tar -xz")
        files = self.run(f"cd /build/{name}; find . -type f -o -type l | sed 's/^[.]//; s/.*/\"&\"/'").out
        self._rpmbuild(name, ordinary(name, "2", files).replace("%files", f"%{which}\n{body}\n%files"))
        self.run(f"rm /repo/{name}-1.rpm; mv /rpms/{name}-2.rpm /repo; createrepo_c -q /repo")
        return name

    def provide(self, name: str, version: str) -> None:
        """Install an empty RPM of that name and version, for what the root has as a package of Debian's."""
        self._rpmbuild(name, ordinary(name, version, ""))
        self.run(f"rpm -i --nodeps /rpms/{name}-{version}.rpm")

    def _rpms(self, version: str) -> Path:
        """The folder with the release's packages, built once."""
        made_of = f"{self.profile.packages}{self.profile.extra_packages}{version}{inspect.getsource(_dealt)}{SLOW_SPEC}"
        digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
        return kept(f"rpms-{self.suite}-{digest}", partial(self._pack, version))

    def _pack(self, version: str, made: Path) -> None:
        self.run("mkdir -p /unpacked && cd /debs && for d in *.deb; do dpkg-deb -x $d /unpacked/${d%%_*}; done")
        for name, files in _dealt(self.path / "unpacked", self.profile).items():
            for deb, file in files:
                target = self.path / "build" / name / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.path / "unpacked" / deb / file, target, follow_symlinks=False)
            self._rpmbuild(name, ordinary(name, version, "\n".join(f'"/{file}"' for _, file in files)))
        self._rpmbuild("slow", SLOW_SPEC)
        shutil.copytree(self.path / "rpms", made)

    def _rpmbuild(self, name: str, spec: str) -> None:
        (self.path / "build" / name).mkdir(parents=True, exist_ok=True)
        (self.path / f"{name}.spec").write_text(spec)
        self.run(f"rpmbuild -bb -D '_rpmdir /rpms' -D '_build_name_fmt %%{{NAME}}-%%{{VERSION}}.rpm' "
                 f"--buildroot /build/{name} /{name}.spec")  # fmt: skip


def ordinary(name: str, version: str, files: str) -> str:
    """The spec of an ordinary package, made from the slow one."""
    head = SLOW_SPEC.partition("BuildArch:")[0].replace("Name: slow", f"Name: {name}")
    head = head.replace("Version: 1", f"Version: {version}")
    return f"{head}AutoReqProv: no\n%description\nFiles of Debian.\n%files\n{files}\n"


def _dealt(unpacked: Path, profile: Profile) -> dict[str, list[tuple[str, str]]]:
    """Which file of which Debian package goes into which package of the release."""
    owner = {command: names[0] for command, names in profile.packages.items()}
    if profile.id == "rpm-files":  # no names are known: Debian's will do
        owner = {command: DEB_OF[command] for command in owner}
    main = {DEB_OF[command]: name for command, name in reversed(owner.items())}
    dealt: dict[str, list[tuple[str, str]]] = {name: [] for name in (*owner.values(), *profile.extra_packages)}
    for deb, name in main.items():
        folder = unpacked / deb
        for path in sorted(p for p in folder.rglob("*") if p.is_symlink() or p.is_file()):
            file = str(path.relative_to(folder))
            command = path.name if os.path.dirname(file) in BIN else ""
            if not file.startswith("usr/share/") or file.startswith("usr/share/audit"):
                dealt[owner.get(command, name)].append((deb, file))
    return dealt


SLOW_DEB = """
mkdir -p /slow.deb/DEBIAN && cd /slow.deb/DEBIAN
printf 'Package: slow\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: takes its time\\n' > control
printf '#!/bin/sh\\nsleep $(cat /slow)\\n' > postinst; chmod 755 postinst
dpkg-deb -b /slow.deb /repo/slow_1_all.deb
"""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
               "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip


@contextlib.contextmanager
def root(suite: str, os_release: str, profile: str) -> Iterator[Root]:
    """A root that stands in for a release, with the tool in /opt/fim-bootstrap; gone afterwards."""
    lower = base(suite)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="overlay.") as work:
        upper, scratch, merged = (Path(work) / name for name in ("upper", "work", "merged"))
        for folder in (upper, scratch, merged):
            folder.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={scratch}"
        run("mount", "-t", "overlay", "-o", options, "overlay", str(merged))
        try:
            run("mount", "-t", "proc", "proc", str(merged / "proc"))
            here = Root(merged, PROFILES[profile], suite)
            tool = merged / "opt/fim-bootstrap"
            for name in SHIPPED:
                copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
                tool.mkdir(exist_ok=True, parents=True)
                copy(PROJECT / name, tool / name)
            shutil.copytree(libraries(), tool / "deps")
            (merged / "etc/os-release").unlink()
            (merged / "etc/os-release").write_text(os_release)
            yield here
        finally:
            run("umount", "-l", str(merged / "proc"))
            run("umount", "-l", str(merged))
