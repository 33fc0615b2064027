"""What stands in the way of a package is told in the manager's own words, with a line to type.

Each situation is made for the real manager; replays say so in their names.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cache import kept, run
from tests.conftest import Ran
from tests.live.guest import FIM
from tests.managers.roots import Root, ordinary
from tests.managers.test_managers import FAMILIES, release_root
from tests.tls import certified, tls

pytestmark = pytest.mark.managers

RHEL = 'ID="rhel"\nVERSION_ID="{}"\nPLATFORM_ID="platform:el{}"\n'
REPO = "[{id}]\nname={id}\nbaseurl={url}\nenabled=1\ngpgcheck=0\n{more}"
FILES = ("etc/yum.repos.d/fim.repo", "etc/zypp/repos.d/fim.repo")
MODULES = """\
---
document: modulemd
version: 2
data:
  name: {name}
  stream: "1"
  version: 1
  context: "00000000"
  arch: x86_64
  summary: a module
  description: a module
  license: {{module: [MIT]}}
  profiles: {{default: {{rpms: []}}}}
  artifacts: {{rpms: ["audit-0:{version}-1.x86_64"]}}
---
document: modulemd-defaults
version: 1
data: {{module: {name}, stream: "{default}"}}
...
"""


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers each request with the status that its path begins with; after /cut/ it hangs up in between."""

    def do_GET(self) -> None:
        begin = self.path.partition("/")[2].partition("/")[0]
        body = b"<html>Please log in</html>\n" if begin in ("200", "cut") else b""
        self.send_response(200 if begin == "cut" else int(begin) if begin.isdecimal() else 407)
        self.send_header("Content-Length", str(len(body) * (2 if begin == "cut" else 1)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_CONNECT = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that refuses everything."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as here:
        threading.Thread(target=here.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{here.server_port}"
        here.shutdown()


def at(here: Root, url: str, more: str = "") -> None:
    """The only repository is there."""
    for name in FILES:
        (here.path / name).write_text(REPO.format(id="fim", url=url, more=more))
    (here.path / "etc/apt/sources.list").write_text(f"deb [trusted=yes] {url.replace('file:///', 'file:/')} ./\n")


def nowhere(here: Root) -> None:
    """There is no repository."""
    here.run("rm -f /etc/yum.repos.d/* /etc/zypp/repos.d/*; : > /etc/apt/sources.list")


def vendor(here: Root, url: str) -> None:
    """A good repository, and one of a vendor."""
    for name in FILES:
        path = here.path / name
        path.with_name("vendor.repo").write_text(REPO.format(id="vendor-tools", url=url, more=""))
    (here.path / "etc/dnf/dnf.conf").write_text("[main]\nskip_if_unavailable=False\n")


def signed(here: Root) -> None:
    """Signatures are demanded, and there are none."""
    at(here, "file:///repo", "repo_gpgcheck=1\n")
    sources = here.path / "etc/apt/sources.list"
    sources.write_text(sources.read_text().replace("[trusted=yes] ", ""))
    here.run("cd /repo && [ ! -e Packages ] || apt-ftparchive release . > Release")


def early(here: Root) -> None:
    """The clock of the host is years behind the repository's."""
    here.run("cd /repo && apt-ftparchive release . > Release && sed -i 's/^Date:.*/"
             "Date: Mon, 01 Jan 2035 00:00:00 +0000/' Release")  # fmt: skip


def excluded(here: Root) -> None:
    (here.path / "etc/dnf/dnf.conf").write_text("[main]\nexcludepkgs=audit*\n")


def version_locked(here: Root) -> None:
    """To a version that the repository does not have any more."""
    (here.path / "etc/dnf/versionlock.toml").write_text(
        'version = "1.0"\n[[packages]]\nname = "audit"\n[[packages.conditions]]\nkey = "evr"\ncomparator = "="\n'
        'value = "0.9-1"\n'
    )


def version_locked_by_a_plugin(here: Root) -> None:
    """By that one of dnf 4's plugins; another one would add a repository."""
    for deb in kept("dnf-plugins-bookworm", _plugins).iterdir():
        shutil.copy(deb, here.path / "plugins.deb")
    here.run("dpkg-deb -x /plugins.deb /plugins && cd /plugins/usr/lib/python3/dist-packages"
             " && find dnf-plugins -name '*.py' ! -name versionlock.py -delete"
             " && cp -a . /usr/lib/python3/dist-packages"
             " && cp /plugins/etc/dnf/plugins/versionlock.conf /etc/dnf/plugins"
             " && echo 'audit-0:0.9-1.*' > /etc/dnf/plugins/versionlock.list")  # fmt: skip


def _plugins(made: Path) -> None:
    made.mkdir()
    made.chmod(0o755)
    run("sh", "-c", f"cd '{made}' && apt-get -q download dnf-plugins-core/bookworm")


def hidden_by_a_module(here: Root) -> None:
    (here.path / "modules.yaml").write_text(MODULES.format(name="other", version="9", default="1"))
    here.run("modifyrepo_c --mdtype=modules /modules.yaml /repo/repodata")


def pinned(here: Root, name: str = "auditd", what: str = "version *") -> None:
    (here.path / "etc/apt/preferences.d/none").write_text(f"Package: {name}\nPin: {what}\nPin-Priority: -1\n")


def through(here: Root, proxy: str, scheme: str = "http") -> None:
    """The only way to the repository is a proxy."""
    at(here, f"{scheme}://mirror.example/repo")
    (here.path / "etc/apt/apt.conf.d/90proxy").write_text(f'Acquire::{scheme}::Proxy "http://{proxy}";\n')


def owned_by_another(here: Root) -> None:
    """A file of ours is in somebody else's package; it is no program, so that ours is still missing."""
    folder = here.path / ("build/other/usr/sbin" if here.rpm else "other/sbin")
    folder.mkdir(parents=True)
    (folder / "auditd").write_text("something else\n")
    (folder / "auditd").chmod(0o644)
    if here.rpm:
        here._rpmbuild("other", ordinary("other", "1", "/usr/sbin/auditd"))
        here.run("rpm -i /rpms/other-1.rpm")
        return
    (here.path / "other/DEBIAN").mkdir()
    (here.path / "other/DEBIAN/control").write_text(
        "Package: other\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    here.run("dpkg-deb --build /other && dpkg -i /other.deb")


def locked(here: Root) -> None:
    here.run("zypper addlock audit")


def killed(here: Root, when: str = "") -> None:
    """Somebody sends the manager SIGKILL, as the kernel does where memory runs out."""
    program = {"debian-12": "apt-get", "el8": "dnf", "fedora": "dnf5", "sles-15.4": "zypper"}[here.profile.id]
    real = here.path / "usr/bin" / program
    real.rename(f"{real}.real")
    real.write_text(f'#!/bin/sh\ncase " $* " in *" {when}"*) kill -9 $$;; esac\nexec $0.real "$@"\n')
    real.chmod(0o755)


def needing(here: Root) -> None:
    """A dependency that the repository does not have, and of which an old version is held."""
    if here.rpm:
        name = here.profile.packages["auditd"][0]
        spec = ordinary(name, "2", "").replace("AutoReqProv: no", "AutoReqProv: no\nRequires: libdep >= 2")
        (here.path / "new.spec").write_text(spec)
        here.run("rpmbuild -bb -D '_rpmdir /repo' -D '_build_name_fmt %%{NAME}-%%{VERSION}.rpm' --buildroot /build/new "
                 f"/new.spec && rm /repo/{name}-1* && createrepo_c -q /repo")  # fmt: skip
        return
    here.run("mkdir -p /d/DEBIAN; printf 'Package: libdep\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\n"
             "Description: x\\n' > /d/DEBIAN/control; dpkg-deb -b /d /d.deb; dpkg -i /d.deb; apt-mark hold libdep;"
             "dpkg-deb -R /repo/auditd_*.deb /r; sed -i 's/^Depends: /Depends: libdep (>= 2), /' /r/DEBIAN/control;"
             "dpkg-deb -b /r /repo/auditd_1%3a3.0.9-1_amd64.deb; cd /repo && apt-ftparchive packages . > Packages",
             )  # fmt: skip


def damaged(here: Root, pattern: str) -> None:
    """Files of the repository whose last bytes are not those that it announces."""
    for path in here.path.glob(f"repo/{pattern}"):
        content = bytearray(path.read_bytes())
        content[-20] ^= 255
        path.write_bytes(content)


def out_of_step(here: Root) -> None:
    """The index of the repository is newer than what it is announced by."""
    here.run("cd /repo && apt-ftparchive release . > Release && echo >> Packages")


def badly_written(here: Root, text: str) -> None:
    """A file that names repositories holds something else."""
    for name in ("etc/yum.repos.d/page.repo", "etc/zypp/repos.d/page.repo", "etc/apt/sources.list"):
        (here.path / name).write_text(text)


def without_https(here: Root, url: str) -> None:
    """An apt that came in two packages, of which one is not there."""
    here.run("rm /usr/lib/apt/methods/https")
    at(here, url)


def unmet(here: Root) -> None:
    """Somebody has installed a package without what it depends on."""
    (here.path / "other/DEBIAN").mkdir(parents=True)
    (here.path / "other/DEBIAN/control").write_text(
        "Package: other\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\nDepends: nothere\n"
    )
    here.run("dpkg-deb --build /other && dpkg -i --force-depends /other.deb")


class Situation(NamedTuple):
    """What is made of a release's root, and what the report must say of it."""

    release: str
    make: Callable[[Root, str], object]
    cause: str
    word: str  # the manager's own
    remedy: str  # what it begins with
    os_release: str = ""


SITUATIONS = {
    "rhel-not-registered-dnf": Situation(
        "el8", lambda here, _: nowhere(here), "no repository is enabled", "There are no enabled repositories",
        "subscription-manager register --org ORG", RHEL.format("8.10", "8")),
    "rhel-not-registered-dnf5": Situation(
        "fedora", lambda here, _: nowhere(here), "no repository is enabled", "There are no enabled repositories",
        "dnf5 repolist --all"),
    "sles-not-registered": Situation(
        "sles-15.4", lambda here, _: nowhere(here), "no repository is enabled", "zypper exit status 6",
        "SUSEConnect -r CODE"),
    "sles-12-not-registered": Situation(
        "sles-15.4", lambda here, _: nowhere(here), "no repository is enabled", "zypper exit status 6",
        "SUSEConnect -r CODE", 'ID="sles"\nVERSION_ID="12.5"\n'),
    "no-sources": Situation(
        "debian-12", lambda here, _: nowhere(here), "no repository is enabled", "there are no package lists",
        "grep -rsE '^(deb|URIs)' /etc/apt"),
    "forbidden-apt": Situation(
        "debian-12", lambda here, url: at(here, f"http://{url}/403"), "a repository refuses this host",
        "403 Forbidden", "grep -rsE"),
    "forbidden-dnf": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/403"), "a repository refuses this host", "Status code: 403",
        "dnf --disablerepo=fim install audit"),
    "forbidden-dnf5": Situation(
        "fedora", lambda here, url: at(here, f"http://{url}/403"), "a repository refuses this host",
        "Status code: 403", "dnf5 "),
    "forbidden-zypper": Situation(
        "sles-15.4", lambda here, url: at(here, f"http://{url}/403"), "a repository refuses this host",
        "Permission to access", "zypper modifyrepo --disable fim"),
    "satellite": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/403/pulp/content/Default"),
        "the subscription does not cover a repository", "Status code: 403", "subscription-manager refresh",
        RHEL.format("8.10", "8")),
    "rhui": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/403/pulp/repos/rhui"),
        "the image's certificate for RHUI is refused", "Status code: 403", "rpm -qa '*rhui*'",
        RHEL.format("8.10", "8")),
    "rhui-azure": Situation(
        "fedora", lambda here, url: at(here, f"http://{url}/403/rhui.microsoft"),
        "the image's certificate for RHUI is refused", "Status code: 403",
        "dnf5 -y --disablerepo='*' --enablerepo='*microsoft*' upgrade"),
    "vendor-forbidden-dnf": Situation(
        "el8", lambda here, url: vendor(here, f"http://{url}/403"), "a repository refuses this host",
        "Status code: 403", "dnf --disablerepo=vendor-tools install audit"),
    "vendor-forbidden-dnf5": Situation(
        "fedora", lambda here, url: vendor(here, f"http://{url}/403"), "a repository refuses this host",
        "Status code: 403", "dnf5 --disablerepo=vendor-tools install audit"),
    "unauthorized": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/401"), "a repository refuses this host", "Status code: 401",
        "dnf --disablerepo=fim install audit"),
    "proxy-dnf": Situation(
        "el8", lambda here, url: at(here, "http://mirror.example/repo", f"proxy=http://{url}\n"), "a proxy refuses",
        "Status code: 407", "env | grep -i proxy"),
    "gone-apt": Situation(
        "debian-12", lambda here, url: at(here, f"http://{url}/404"), "a repository is gone", "404 Not Found",
        "grep -rsE"),
    "gone-dnf": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/404", "skip_if_unavailable=1\n"), "a repository is gone",
        "Status code: 404", "dnf repolist --all"),
    "gone-zypper": Situation(
        "sles-15.4", lambda here, url: at(here, f"http://{url}/404"), "a repository is gone", "not found",
        "zypper repos --uri"),
    "clock-behind": Situation(
        "debian-12", lambda here, _: early(here), "the clock of this host is behind", "is not valid yet",
        "chronyc makestep"),
    "not-signed-apt": Situation(
        "debian-12", lambda here, _: signed(here), "a signature cannot be verified", "is not signed",
        "apt-get install --reinstall debian-archive-keyring"),
    "not-signed-dnf": Situation(
        "el8", lambda here, _: signed(here), "a signature cannot be verified", "GPG signature is not available",
        "rpm --import"),
    "not-signed-dnf5": Situation(
        "fedora", lambda here, _: signed(here), "a signature cannot be verified", "GPG signature is not available",
        "rpm --import"),
    "not-signed-zypper": Situation(
        "sles-15.4", lambda here, _: signed(here), "a signature cannot be verified", "Signature verification failed",
        "zypper refresh"),
    "package-not-signed-dnf": Situation(
        "el8", lambda here, _: at(here, "file:///repo", "gpgcheck=1\n"), "a signature cannot be verified",
        "do not have any GPG public keys", "rpm --import"),
    "package-not-signed-dnf5": Situation(
        "fedora", lambda here, _: at(here, "file:///repo", "gpgcheck=1\n"), "a signature cannot be verified",
        "The package is not signed", "rpm --import"),
    "excluded-dnf": Situation(
        "el8", lambda here, _: excluded(here), "the package is excluded", "exclude filtering for argument: audit",
        "dnf --disableexcludes=all install audit"),
    "excluded-dnf5": Situation(
        "fedora", lambda here, _: excluded(here), "the package is excluded", "matches only excluded packages",
        "dnf5 --setopt=disable_excludes='*' --setopt='*.module_hotfixes=1' install audit"),
    "versionlock-dnf5": Situation(
        "fedora", lambda here, _: version_locked(here), "the package is locked to a version", "audit",
        "dnf5 versionlock delete audit"),
    "versionlock-dnf": Situation(
        "el8", lambda here, _: version_locked_by_a_plugin(here), "the package is locked to a version", "audit",
        "dnf versionlock delete audit"),
    "module-dnf": Situation(
        "el8", lambda here, _: hidden_by_a_module(here), "the package is hidden by a module",
        "modular filtering for argument: audit", "dnf --setopt='*.module_hotfixes=1' install audit"),
    "pinned-apt": Situation(
        "debian-12", lambda here, _: pinned(here), "the package is pinned", "1:3.0.9-1 -1",
        "apt-get install auditd=1:3.0.9-1"),
    "locked-zypper": Situation(
        "sles-15.4", lambda here, _: locked(here), "the package is locked", "remove lock to allow installation",
        "zypper removelock audit"),
    "killed-apt": Situation(
        "debian-12", lambda here, _: killed(here), "the manager was killed, most likely because memory ran out",
        "apt-get exit status 137", "fallocate -l 2G /swapfile"),
    "killed-dnf": Situation(
        "el8", lambda here, _: killed(here), "the manager was killed, most likely because memory ran out",
        "dnf exit status 137", "fallocate -l 2G /swapfile"),
    "killed-dnf-in-the-transaction": Situation(
        "el8", lambda here, _: killed(here, "install "), "the manager was killed, most likely because memory ran out",
        "dnf exit status 137", "fallocate -l 2G /swapfile"),
    "killed-dnf5": Situation(
        "fedora", lambda here, _: killed(here), "the manager was killed, most likely because memory ran out",
        "dnf5 exit status 137", "fallocate -l 2G /swapfile"),
    "held-apt": Situation(
        "debian-12", lambda here, _: needing(here), "a dependency cannot be had",
        "auditd : Depends: libdep (>= 2) but 1 is to be installed",
        "apt-mark unhold libdep; apt-get install libdep auditd"),
    "dependency-dnf": Situation(
        "el8", lambda here, _: needing(here), "a dependency cannot be had", "nothing provides libdep >= 2",
        "dnf install libdep"),
    "dependency-dnf5": Situation(
        "fedora", lambda here, _: needing(here), "a dependency cannot be had", "nothing provides libdep >= 2",
        "dnf5 install libdep"),
    "dependency-zypper": Situation(
        "sles-15.4", lambda here, _: needing(here), "a dependency cannot be had", "nothing provides libdep >= 2",
        "zypper install libdep"),
    "gone-410-dnf": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/410"), "a repository is gone", "Status code: 410",
        "dnf repolist --all"),
    "gone-410-apt": Situation(
        "debian-12", lambda here, url: at(here, f"http://{url}/410"), "a repository is gone", "410 Gone", "grep -rsE"),
    "forbidden-by-law-dnf5": Situation(
        "fedora", lambda here, url: at(here, f"http://{url}/451"), "a repository refuses this host",
        "Status code: 451", "dnf5 "),
    "too-many-requests-zypper": Situation(
        "sles-15.4", lambda here, url: at(here, f"http://{url}/429"), "the server of a repository is in trouble",
        "429", "curl -sSI http://127.0.0.1"),
    "server-error-apt": Situation(
        "debian-12", lambda here, url: at(here, f"http://{url}/500"), "the server of a repository is in trouble",
        "500 Internal Server Error", "curl -sSI http://127.0.0.1"),
    "server-error-dnf": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/500"), "the server of a repository is in trouble",
        "Status code: 500", "curl -sSI http://127.0.0.1"),
    "server-error-dnf5": Situation(
        "fedora", lambda here, url: at(here, f"http://{url}/500"), "the server of a repository is in trouble",
        "Status code: 500", "curl -sSI http://127.0.0.1"),
    "portal-apt": Situation(
        "debian-12", lambda here, url: at(here, f"http://{url}/200"), "what answers is no repository", "NODATA",
        "curl -sSi http://127.0.0.1"),
    "portal-dnf": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/200"), "what answers is no repository",
        "repomd.xml parser error", "dnf repolist --all"),
    "portal-dnf5": Situation(
        "fedora", lambda here, url: at(here, f"http://{url}/200"), "what answers is no repository",
        "Parsing unsuccessful", "dnf5 repolist --all"),
    "portal-zypper": Situation(
        "sles-15.4", lambda here, url: at(here, f"http://{url}/200"), "what answers is no repository",
        "Bad repomd file: /var/cache/zypp/raw/fim", "zypper repos --uri"),
    "cut-short-apt": Situation(
        "debian-12", lambda here, url: at(here, f"http://{url}/cut"), "the network does not carry", "127.0.0.1",
        "curl -sSI http://127.0.0.1"),
    "cut-short-dnf": Situation(
        "el8", lambda here, url: at(here, f"http://{url}/cut"), "the network does not carry", "Curl error (18)",
        "curl -sSI http://127.0.0.1"),
    "cut-short-dnf5": Situation(
        "fedora", lambda here, url: at(here, f"http://{url}/cut"), "the network does not carry", "Curl error (18)",
        "curl -sSI http://127.0.0.1"),
    "damaged-package-apt": Situation(
        "debian-12", lambda here, _: damaged(here, "auditd_*"), "a download is not what its repository announces",
        "Hash Sum mismatch", "apt-get clean && apt-get update"),
    "damaged-package-dnf": Situation(
        "el8", lambda here, _: damaged(here, "audit-*"), "a download is not what its repository announces",
        "incorrect checksum", "dnf clean all && dnf makecache"),
    "damaged-package-dnf5": Situation(
        "fedora", lambda here, _: damaged(here, "audit-*"), "a download is not what its repository announces",
        "checksum doesn't match", "dnf5 clean all && dnf5 makecache"),
    "damaged-package-zypper": Situation(
        "sles-15.4", lambda here, _: damaged(here, "audit-*"), "a download is not what its repository announces",
        "seems to be corrupted", "zypper clean --all && zypper refresh"),
    "damaged-index-apt": Situation(
        "debian-12", lambda here, _: out_of_step(here), "a download is not what its repository announces",
        "Hash Sum mismatch", "apt-get clean && apt-get update"),
    "damaged-index-dnf": Situation(
        "el8", lambda here, _: damaged(here, "repodata/*primary*"), "a download is not what its repository announces",
        "checksum doesn't match", "dnf clean all && dnf makecache"),
    "damaged-index-dnf5": Situation(
        "fedora", lambda here, _: damaged(here, "repodata/*primary*"),
        "a download is not what its repository announces", "checksum doesn't match", "dnf5 clean all"),
    "file-conflict-dnf": Situation(
        "el8", lambda here, _: owned_by_another(here), "a file of it belongs to another package",
        "conflicts with file from package other-1-1", "rpm -ql other-1-1"),
    "file-conflict-dnf5": Situation(
        "fedora", lambda here, _: owned_by_another(here), "a file of it belongs to another package",
        "conflicts with file from package other-1-1", "rpm -ql other-1-1"),
    "file-conflict-zypper": Situation(
        "sles-15.4", lambda here, _: owned_by_another(here), "a file of it belongs to another package", "other-1-1",
        "rpm -ql other-1-1"),
    "unmet-apt": Situation(
        "debian-12", lambda here, _: unmet(here), "the installed packages do not fit together", "Unmet dependencies",
        "apt-get --fix-broken install"),
    "no-https-apt": Situation(
        "debian-12", lambda here, url: without_https(here, f"https://{url}/404"),
        "apt cannot speak https here", "method driver", "apt-get install apt-transport-https"),
    "malformed-apt": Situation(
        "debian-12", lambda here, _: badly_written(here, "deb\n"), "the configuration of the manager is wrong",
        "Malformed line 1", "grep -rsE"),
    "malformed-dnf5": Situation(
        "fedora", lambda here, _: badly_written(here, "<html></html>\n"), "the configuration of the manager is wrong",
        "page.repo", "dnf5 repolist --all"),
    "malformed-zypper": Situation(
        "sles-15.4", lambda here, _: badly_written(here, "<html></html>\n"),
        "the configuration of the manager is wrong", "contains garbage", "zypper repos --uri"),
    "no-url-zypper": Situation(
        "sles-15.4", lambda here, _: at(here, ""), "the configuration of the manager is wrong",
        "has no or invalid url", "zypper repos --uri"),
    "no-python-dnf": Situation(
        "el8", lambda here, _: here.run("mv /usr/lib/python3/dist-packages/dnf /dnf"),
        "the manager itself does not run", "No module named 'dnf'", "dnf --version"),
    "pinned-as-a-whole": Situation(
        "debian-12", lambda here, _: pinned(here, "*", "release *"), "the package is pinned", "auditd: 1:3.0.9-1 -1",
        "apt-get install auditd=1:3.0.9-1 procps="),
    "excluded-by-a-repository-dnf": Situation(
        "el8", lambda here, _: at(here, "file:///repo", "includepkgs=other\n"), "the package is excluded",
        "exclude filtering for argument: audit", "dnf --disableexcludes=all install audit"),
    "excluded-by-a-repository-dnf5": Situation(
        "fedora", lambda here, _: at(here, "file:///repo", "excludepkgs=audit*\n"), "the package is excluded",
        "matches only excluded packages", "dnf5 --setopt=disable_excludes='*'"),
    "module-dnf5": Situation(
        "fedora", lambda here, _: hidden_by_a_module(here), "the package is excluded",
        "matches only excluded packages", "dnf5 --setopt=disable_excludes='*' --setopt='*.module_hotfixes=1'"),
    "killed-zypper": Situation(
        "sles-15.4", lambda here, _: killed(here), "the manager was killed, most likely because memory ran out",
        "zypper exit status 137", "fallocate -l 2G /swapfile"),
    "proxy-that-has-no-address": Situation(
        "el8", lambda here, _: at(here, "http://mirror.example/repo", "proxy=http://nowhere.invalid:3128\n"),
        "a name does not resolve", "nowhere.invalid", "cat /etc/resolv.conf; getent hosts nowhere.invalid"),
    "proxy-apt": Situation(
        "debian-12", through, "a proxy refuses", "407 Proxy Authentication Required",
        "env | grep -i proxy"),
    "proxy-apt-https": Situation(
        "debian-12", lambda here, url: through(here, url, "https"), "a proxy refuses", "407", "env | grep -i proxy"),
    "proxy-zypper": Situation(
        "sles-15.4", lambda here, url: at(here, "http://mirror.example/repo?proxy=127.0.0.1&proxyport="
                                          + url.partition(":")[2]),
        "a proxy refuses", "returned error: 407", "env | grep -i proxy"),
    "proxy-dnf5": Situation(
        "fedora", lambda here, url: at(here, "https://mirror.example/repo", f"proxy=http://{url}\n"),
        "a proxy refuses", "CONNECT tunnel failed, response 407", "env | grep -i proxy"),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_reason_is_told_and_what_to_type(name: str, server: str) -> None:
    situation = SITUATIONS[name]
    with release_root(situation.release) as (here, _):
        unselinux(here)
        if situation.os_release:
            (here.path / "etc/os-release").write_text(situation.os_release)
        situation.make(here, server)
        told(here.fim("apply --network-timeout 0"), situation)
        assert here.run("command -v auditd", check=False).status != 0


def unselinux(here: Root) -> None:
    """Without SELinux no policy has to be built."""
    (here.path / "etc/selinux/config").write_text("SELINUX=disabled\n")


def told(failed: Ran, situation: Situation) -> None:
    """The run failed; what it says of it names the cause, the manager's word, and a line for a shell."""
    assert (failed.status, failed.report["done"]) == (1, []), failed.out
    item = next(item for item in failed.report["requirements"] if item["id"] == "packages")
    assert "have none of" not in failed.out, item
    assert situation.cause in item["summary"], item
    assert situation.word in item["summary"], item
    assert item["remedy"].startswith(situation.remedy), item
    assert "\n" not in item["remedy"]
    assert shlex.split(item["remedy"].partition("  # ")[0])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("word", ["nowhere.invalid", "127.0.0.1:9"])
def test_a_network_that_is_not_there(name: str, word: str) -> None:
    cause = "a name does not resolve" if "invalid" in word else "the network does not carry"
    remedy = (
        "cat /etc/resolv.conf; getent hosts nowhere.invalid" if "invalid" in word else "curl -sSI http://127.0.0.1:9"
    )
    with release_root(name) as (here, _):
        unselinux(here)
        at(here, f"http://{word}/repo")
        failed = here.fim("apply --network-timeout 0")
        told(failed, Situation(name, lambda *_: None, cause, word.partition(":")[0], remedy))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_certificate_that_nobody_trusts(name: str, tmp_path: Path) -> None:
    with release_root(name) as (here, _), tls(Answering, certified(tmp_path, "20350101000000Z")) as port:
        unselinux(here)
        at(here, f"https://127.0.0.1:{port}/repo")
        remedy = {"debian-12": "cp CA.crt /usr/local", "sles-15.4": "cp CA.pem /etc/pki/trust"}
        failed = here.fim("apply --network-timeout 0")
        told(failed, Situation(name, lambda *_: None, "a certificate is not trusted", "cert",
                               remedy.get(name, "cp CA.pem /etc/pki/ca-trust")))  # fmt: skip


# Debian's dnf 4 speaks TLS by GnuTLS, which says nothing of the date
@pytest.mark.parametrize("name", ["debian-12", "fedora", "sles-15.4"])
def test_a_certificate_that_has_expired(name: str, tmp_path: Path) -> None:
    with release_root(name) as (here, _), tls(Answering, certified(tmp_path, "20200201000000Z")) as port:
        unselinux(here)
        at(here, f"https://127.0.0.1:{port}/repo")
        trusted = here.path / "etc/ssl/certs/ca-certificates.crt"
        trusted.parent.mkdir(parents=True, exist_ok=True)
        trusted.write_text((tmp_path / "certificate.pem").read_text())
        here.run("openssl rehash /etc/ssl/certs", check=False)  # where there is one
        failed = here.fim("apply --network-timeout 0")
        cause = "a certificate or the index of a repository has expired"
        told(failed, Situation(name, lambda *_: None, cause, "expired", "chronyc makestep"))


class Disk(NamedTuple):
    """A folder that is too small for what has to be put there."""

    release: str
    folder: str
    size: str
    remedy: str


DISKS = (
    Disk("debian-12", "var/lib/apt/lists", "8k", "apt-get clean; df -h / /var"),
    Disk("debian-12", "var/cache/apt/archives", "60k", "apt-get clean; df -h / /var"),
    Disk("el8", "var/cache/dnf", "60k", "dnf clean all; df -h / /var"),
    Disk("fedora", "var/cache/libdnf5", "60k", "dnf5 clean all; df -h / /var"),
    Disk("sles-15.4", "var/cache/zypp", "60k", "zypper clean --all; df -h / /var"),
)


@pytest.mark.parametrize("disk", DISKS, ids=lambda disk: disk.folder)
def test_a_full_disk(disk: Disk) -> None:
    with release_root(disk.release) as (here, _), serving(here.path / "repo") as address:
        unselinux(here)
        at(here, f"http://{address}")
        place = here.path / disk.folder
        place.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={disk.size}", "none", str(place))
        (place / "partial").mkdir()
        try:
            failed = here.fim("apply --network-timeout 0")
        finally:
            run("umount", str(place))
        told(failed, Situation(disk.release, lambda *_: None, "the disk is full", "", disk.remedy))


@contextlib.contextmanager
def almost_full(here: Root, folder: str, tmp_path: Path, size: str) -> Iterator[None]:
    """So much can be written below a folder of the root, and no more."""
    place = here.path / folder
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(tmp_path))
    (tmp_path / "upper").mkdir()
    (tmp_path / "work").mkdir()
    try:
        run("mount", "-t", "overlay", "-o", f"lowerdir={place},upperdir={tmp_path}/upper,workdir={tmp_path}/work",
            "overlay", str(place))  # fmt: skip
        try:
            yield
        finally:
            run("umount", "-l", str(place))
    finally:
        run("umount", "-l", str(tmp_path))


@pytest.mark.parametrize(("folder", "size"), [("usr", "700k"), ("var", "300k")])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_disk_that_is_full_before_all_is_installed(name: str, folder: str, size: str, tmp_path: Path) -> None:
    """Or before the manager can open its database: nobody is told to mend that. With space again, all is done."""
    with release_root(name) as (here, _):
        unselinux(here)
        with almost_full(here, folder, tmp_path, size):
            failed = here.fim("apply --network-timeout 0")
        item = next(item for item in failed.report["requirements"] if item["id"] == "packages")
        assert failed.status == 1
        assert "the disk is full: " in item["summary"], item
        assert item["remedy"].partition("  # ")[0].endswith("df -h / /var"), item
        healed = here.fim("apply")
        assert (healed.status, healed.report["verdict"]) == (0, "ready"), healed.out


@contextlib.contextmanager
def serving(folder: Path, after: float = 0) -> Iterator[str]:
    """The address of a server that has the files of a folder, some seconds from now."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def copyfile(self, source: Any, outputfile: Any) -> None:
            with contextlib.suppress(OSError):  # the manager hung up
                super().copyfile(source, outputfile)

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet, bind_and_activate=False)
    here.server_bind()  # nobody listens yet: connections are refused

    def open_up() -> None:
        here.server_activate()
        here.serve_forever()

    threading.Timer(after, open_up).start()
    try:
        yield f"127.0.0.1:{here.server_port}"
    finally:
        here.shutdown()
        here.server_close()


@pytest.mark.parametrize("name", FAMILIES)
def test_only_what_was_asked_is_said_to_have_nothing(name: str) -> None:
    with release_root(name, without="checkpolicy") as (here, _):
        failed = here.fim("apply")
        assert failed.status == 1, failed.out
        assert "have none of checkpolicy" in failed.report["comment"]
        line = next(item["remedy"] for item in failed.report["requirements"] if item["id"] == "packages")
        asked = here.run(line.partition("  # ")[0], check=False)
        assert asked.status in (0, 104), asked
        assert not re.search(r'^checkpolicy$|name="checkpolicy"|Candidate: \d', asked.out, re.MULTILINE)


def test_the_script_of_somebody_else_s_package_fails_nothing() -> None:
    with release_root("debian-12") as (here, _):
        unselinux(here)
        here.run("mkdir -p /o/DEBIAN; printf 'Package: other\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\n"
                 "Description: x\\n' > /o/DEBIAN/control; printf '#!/bin/sh\\nexit 3\\n' > /o/DEBIAN/postinst;"
                 "chmod 755 /o/DEBIAN/postinst; dpkg-deb -b /o /o.deb; ! dpkg -i /o.deb")  # fmt: skip
        applied = here.fim("apply")
        assert (applied.status, applied.report["verdict"], applied.report["changed"]) == (0, "ready", True), applied.out
        assert any(line.startswith("install auditd") for line in applied.report["done"])
        item = next(item for item in applied.report["requirements"] if item["id"] == "packages")
        assert item["warnings"] == ["not fully installed: other (dpkg --configure -a tells why)"]
        assert here.fim("apply").report["changed"] is False


def test_a_package_that_only_goes_along_fails_nothing() -> None:
    """The script before its installation fails: the manager says that the transaction failed."""
    with release_root("el8") as (here, _):
        unselinux(here)
        along = "python3-policycoreutils"
        spec = ordinary(along, "2", "").replace("%files", "%pre\nexit 1\n%files")
        (here.path / "new.spec").write_text(spec)
        here.run("rpmbuild -bb -D '_rpmdir /repo' -D '_build_name_fmt %%{NAME}-%%{VERSION}.rpm' --buildroot /build/new "
                 f"/new.spec && rm -f /repo/{along}-1* && createrepo_c -q /repo")  # fmt: skip
        applied = here.fim("apply")
        assert (applied.status, applied.report["verdict"], applied.report["changed"]) == (0, "ready", True), applied.out


def test_resolve_on_empty_lists_says_that_it_did_not_look() -> None:
    with release_root("debian-12") as (here, _):
        answer = here.fim("profiles --resolve")
        assert answer.status == 3
        assert "apt-get -q update" in answer.report["not_looked_up"]
        text = here.run(f"{FIM} profiles --resolve", check=False)
        assert "not looked up" in text.out
        assert "NOT IN THE REPOSITORIES" not in text.out
        here.run("apt-get update")
        assert here.fim("profiles --resolve").status in (0, 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_late_server_is_waited_for(name: str) -> None:
    """The repository answers 15 s after the run began; connections are refused until then."""
    with release_root(name) as (here, _):
        unselinux(here)
        with serving(here.path / "repo", after=15) as address:
            at(here, f"http://{address}")
            applied = here.fim("apply --network-timeout 120")
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out


UP = """\
import fcntl, http.server, os, socket, struct, sys, threading, time
def up():
    time.sleep(int(sys.argv[1]))
    request = struct.pack("16sh22x", b"lo", 1 | 64) # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
    fcntl.ioctl(socket.socket(), 0x8914, request)
threading.Thread(target=up, daemon=True).start()
os.chdir("/repo")
http.server.test(http.server.SimpleHTTPRequestHandler, port=80, bind="0.0.0.0")
"""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_late_network_is_waited_for(name: str) -> None:
    """It is there 15 s after the run began: until then the network is unreachable."""
    with release_root(name) as (here, _):
        unselinux(here)
        at(here, "http://127.0.0.1")
        (here.path / "up.py").write_text(UP)
        began = time.monotonic()
        applied = here.run(f"unshare -n sh -c 'python3 /up.py 15 2>/dev/null & {FIM} apply --network-timeout 120"
                           " --format json; status=$?; kill $!; exit $status'", check=False)  # fmt: skip
        assert (applied.status, applied.report["verdict"]) == (0, "ready"), applied.out
        assert time.monotonic() - began > 15
        assert re.search(r"\] wait  packages: the network is not there yet, \d+ s at most", applied.err), applied.err


@pytest.mark.parametrize("name", ["forbidden-dnf", "forbidden-dnf5", "forbidden-zypper", "sles-not-registered",
                                  "rhel-not-registered-dnf", "excluded-dnf5", "vendor-forbidden-dnf"])  # fmt: skip
def test_resolve_never_takes_silence_for_an_answer(name: str, server: str) -> None:
    situation = SITUATIONS[name]
    with release_root(situation.release) as (here, _):
        situation.make(here, server)
        answer = here.fim("profiles --resolve")
        assert answer.status == 3, answer
        assert situation.cause in answer.report["not_looked_up"]
        text = here.run(f"{FIM} profiles --resolve", check=False)
        assert "not looked up" in text.out
        assert "NOT IN THE REPOSITORIES" not in text.out
        assert situation.cause in text.err


@pytest.mark.parametrize("name", FAMILIES)
def test_a_transaction_that_fails_half_way_tells_what_it_has_installed(name: str) -> None:
    """auditd's script fails; what is installed beside it is named, and once more there is nothing new to tell."""
    with release_root(name) as (here, _):
        unselinux(here)
        ours = here.script("auditd", "pre" if here.rpm else "preinst", "exit 3")
        others = here.profile.packages["pkill"][0]
        failed = here.fim("apply")
        (done,) = failed.report["done"]
        assert (failed.status, failed.report["changed"]) == (1, True), failed.out
        assert re.search(rf"\(begun, not finished; done so far: .*{others} \d", done), done
        item = next(item for item in failed.report["requirements"] if item["id"] == "packages")
        assert re.search(rf"the script of a package failed: .*\b{ours}\b", item["summary"]), item
        again = here.fim("apply")
        assert (again.status, again.report["changed"], again.report["done"]) == (1, False, []), again.out


@pytest.mark.parametrize(
    ("name", "script"),
    [("debian-12", "preinst"), ("debian-12", "postinst"), ("el8", "pre"), ("fedora", "pre"), ("sles-15.4", "pre")],
)
def test_without_a_policy_tool_the_rest_is_done(name: str, script: str) -> None:
    """The script of checkpolicy's package fails: audit is there, and is made right; the run fails all the same."""
    with release_root(name) as (here, _):
        (here.path / "etc/audit/rules.d").mkdir(parents=True)
        (here.path / "etc/audit/rules.d/99-finalize.rules").write_text("-e 2\n")
        ours = here.script("checkmodule", script, "exit 3")
        failed = here.fim("apply")
        assert (failed.status, failed.report["changed"]) == (1, True), failed.out
        item = next(item for item in failed.report["requirements"] if item["id"] == "packages")
        assert re.search(rf"the script of a package failed: .*\b{ours}\b", item["summary"]), item
        assert failed.status_of("rules") == failed.status_of("dispatcher") == "ok", failed.out
        assert failed.status_of("policy") == "waiting"
        assert re.search(rf"done so far: .*{here.profile.packages['auditd'][0]} ", failed.report["done"][0])
        assert len(failed.report["done"]) > 1
        assert not (here.path / "etc/audit/rules.d/99-finalize.rules").read_text().startswith("-e 2")
        again = here.fim("apply")
        assert (again.status, again.report["changed"], again.report["done"]) == (1, False, []), again.out


FOLDERS = {"debian-12": "var/lib/dpkg", "el8": "var/lib/rpm", "fedora": "usr", "sles-15.4": "usr"}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_system_that_is_read_only(name: str) -> None:
    """It is no lock that could be waited for, whatever rpm says of it."""
    with release_root(name) as (here, _):
        unselinux(here)
        place = here.path / FOLDERS[name]
        run("mount", "--bind", str(place), str(place))
        run("mount", "-o", "remount,bind,ro", str(place))
        try:
            failed = here.fim("apply --lock-timeout 600")
        finally:
            run("umount", "-l", str(place))
        told(failed, Situation(name, lambda *_: None, "a file system is read-only", "", "findmnt -O ro"))


def test_a_file_of_ours_that_another_package_has() -> None:
    """dpkg finds out when it unpacks it: what came before is there."""
    with release_root("debian-12") as (here, _):
        unselinux(here)
        owned_by_another(here)
        failed = here.fim("apply")
        item = next(item for item in failed.report["requirements"] if item["id"] == "packages")
        assert failed.status == 1
        assert "a file of it belongs to another package: trying to overwrite '/sbin/auditd'" in item["summary"], item
        assert item["remedy"].startswith("dpkg -L other")
