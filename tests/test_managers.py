"""Asking, waiting and installing, on a host made of dictionaries; the managers' words are replays of the real ones."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable

import pytest

from fim_bootstrap.changes.packages import InstallPackages
from fim_bootstrap.errors import Blocked, BootstrapError, Busy
from fim_bootstrap.facts.system import container_mark
from fim_bootstrap.host.reader import Output, Stat
from fim_bootstrap.managers import diagnosis, lookup
from fim_bootstrap.managers.causes import CAUSES, LOOK, Cause
from fim_bootstrap.managers.install import install
from fim_bootstrap.managers.lookup import Order
from fim_bootstrap.managers.rows import MANAGERS
from fim_bootstrap.model import Environment, OsRelease, Settings
from fim_bootstrap.profiles import load
from fim_bootstrap.requirements import packages
from fim_bootstrap.resources import profile_folder
from tests.conftest import Tree, needs_root
from tests.dict_host import BOOT, DictHost
from tests.test_requirements import READY

PROFILES = {profile.id: profile for profile in load([profile_folder()])}
LISTS = "/var/lib/apt/lists/deb_Packages"
POLICY = "auditd:\n  Installed: (none)\n  Candidate: 1:3.0.9-1\n  Version table:\n     1:3.0.9-1 500\n"
UNRESOLVED = "W: Failed to fetch http://deb.example.org/InRelease  Temporary failure resolving 'deb.example.org'\n"


def order(manager: str, profile: str = "debian-12", network: float = 0.0, release: str = "debian") -> Order:
    """auditd is wanted."""
    chosen = PROFILES[profile]
    wanted = {"auditd": chosen.packages["auditd"]}
    bare = chosen._replace(extra_packages=())
    return Order(MANAGERS[manager], bare, wanted, 5.0, "2026-11-27", network, OsRelease(release))


def refused(host: DictHost, wanted: Order) -> BootstrapError:
    """What the installation fails with."""
    with pytest.raises(BootstrapError) as caught:
        install(host, wanted)
    assert "\n" not in caught.value.remedy
    shlex.split(caught.value.remedy.partition("  # ")[0])
    return caught.value


def network_from(moment: float) -> Callable[[DictHost, tuple[str, ...]], Output]:
    """apt-get update, on a network that is there from a moment on; it exits with 0 in either case."""

    def update(host: DictHost, argv: tuple[str, ...]) -> Output:
        host.sleep(1)
        if host.now < moment:
            return Output(argv, 0, "Err:1 http://deb.example.org InRelease\n", UNRESOLVED)
        host.write(LISTS)
        host.answers["apt-cache policy"] = POLICY
        return Output(argv, 0, "Get:1 http://deb.example.org InRelease\n")

    return update


def has_auditd(host: DictHost, argv: tuple[str, ...]) -> int:
    """A transaction that succeeds."""
    host.programs("auditd")
    return 0


def late(host: DictHost, seconds: float) -> None:
    """A network that comes some seconds from now."""
    host.programs("apt-get", "apt-cache")
    host.answers.update({"apt-get -q update": network_from(host.now + seconds), "apt-cache policy": "",
                         "apt-get": has_auditd})  # fmt: skip


def test_a_network_that_comes_late_is_waited_for(dict_host: DictHost) -> None:
    late(dict_host, 15)
    assert install(dict_host, order("apt", network=20)) == ("auditd",)
    assert dict_host.now < BOOT + 5000 + 30


@pytest.mark.parametrize(("patience", "least", "most"), [(20.0, 20, 45), (120.0, 120, 150), (0.0, 3, 25)])
def test_a_network_that_does_not_come_is_given_up(
    dict_host: DictHost, patience: float, least: float, most: float
) -> None:
    late(dict_host, 1000)
    error = refused(dict_host, order("apt", network=patience))
    assert "could not be asked for auditd: a name does not resolve" in str(error)
    assert "Temporary failure resolving 'deb.example.org'" in str(error)
    assert error.remedy.startswith("cat /etc/resolv.conf; getent hosts deb.example.org")
    assert least <= dict_host.now - BOOT - 5000 <= most


@pytest.mark.parametrize("words", [
    "Network is unreachable", "connect (101: Network is unreachable)", "Could not connect to 10.0.0.1:80",
    "Could not resolve host: mirror", "Status code: 503 for http://mirror/repodata/repomd.xml",
    "503  Service Unavailable [IP: 10.0.0.1 80]", "No route to host",
])  # fmt: skip
def test_what_may_pass_is_tried_again(dict_host: DictHost, words: str) -> None:
    dict_host.programs("apt-get", "apt-cache")
    tries: list[float] = []

    def apt_get(host: DictHost, argv: tuple[str, ...]) -> Output:
        tries.append(host.now)
        host.programs(*(["auditd"] if len(tries) > 2 else []))
        return Output(argv, 0) if len(tries) > 2 else Output(argv, 100, "", f"E: {words}")

    dict_host.write(LISTS)
    dict_host.answers.update({"apt-cache policy": POLICY, "apt-get": apt_get})
    assert install(dict_host, order("apt", network=20)) == ("auditd",)
    assert len(tries) == 3


def test_what_will_not_pass_is_not_waited_for(dict_host: DictHost) -> None:
    dict_host.programs("dnf")
    dict_host.answers["dnf"] = Output(("dnf",), 1, "", "Status code: 403 for http://m/repomd.xml\n")
    refused(dict_host, order("dnf", "el9", network=120))
    assert dict_host.now == BOOT + 5000


@pytest.mark.parametrize(("where", "given", "expected"), [
    (Environment.BOOTED, None, 20.0), (Environment.BOOTING, None, 120.0), (Environment.BOOTING, 3.0, 3.0),
])  # fmt: skip
def test_a_host_that_boots_waits_longer(where: Environment, given: float | None, expected: float) -> None:
    facts = READY._replace(environment=where, commands={})
    finding = packages.assess(facts, PROFILES["debian-12"], Settings(network_timeout=given))
    assert finding.changes[0].order.network == expected  # type: ignore[attr-defined]


SAID = {
    "yum 3, RHEL without a subscription": (
        "yum", "el7", "rhel", Output(("yum",), 1, "This system is not registered with an entitlement server. You can"
        " use subscription-manager to register.\n", "There are no enabled repos.\n Run \"yum repolist all\" to see the"
        " repos you have.\n"),
        "could not be asked for audit: this host is not registered: This system is not registered",
        "subscription-manager register --org ORG"),
    "yum 3, CentOS whose mirrors are gone": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "14: curl#6 - \"Could not resolve host: mirrorlist.centos.org;"
        " Unknown error\"\nCannot find a valid baseurl for repo: base/7/x86_64\n"),
        "a name does not resolve", "cat /etc/resolv.conf"),
    "yum 3, forbidden": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "https://repo.example/repodata/repomd.xml: [Errno 14] HTTPS"
        " Error 403 - Forbidden\nfailure: repodata/repomd.xml from vendor: [Errno 256] No more mirrors to try.\n"),
        "a repository refuses this host: https://repo.example", "yum --disablerepo=vendor install audit"),
    "yum 3, excluded": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "Error: No matching Packages to list\n"),
        "audit cannot be taken: the package is excluded: /etc/yum.conf: exclude=kernel* audit*, foo keeps out audit",
        "yum --disableexcludes=all install audit"),
    "yum 3, nothing of that name": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "Error: No matching Packages to list\n"),
        "the repositories of this host have none of audit", "yum -q --setopt=exit_on_lock=True list audit"),
    "microdnf, killed": (
        "microdnf", "el9", "rhel", Output(("microdnf",), 137), "the manager was killed", "fallocate -l 2G /swapfile"),
    "microdnf, no repository": (
        "microdnf", "el9", "rhel", Output(("microdnf",), 1, "", "error: There are no enabled repositories in"
        " \"/etc/yum.repos.d\".\n"), "no repository is enabled", "subscription-manager register"),
    "tdnf, forbidden": (
        "tdnf", "photon-5", "photon", Output(("tdnf",), 22, "", "Error: 403 when downloading https://packages.vmware.com/"
        "photon/repodata/repomd.xml. Please check repo url\nError(1403) : Forbidden\n"),
        "could not be asked for audit", "tdnf"),
    "rpm-ostree, forbidden": (
        "rpm-ostree", "fedora", "fedora", Output(("rpm-ostree",), 1, "", "error: Updating rpm-md repo 'vendor': cannot"
        " update repo 'vendor': Cannot download repomd.xml: Status code: 403 for https://v/repomd.xml\n"),
        "a repository refuses this host", "cat /etc/yum.repos.d/*.repo"),
    "rpm-ostree, no such package": (
        "rpm-ostree", "fedora", "fedora", Output(("rpm-ostree",), 1, "No matches found.\n"),
        "the repositories of this host have none of audit", "rpm-ostree search audit"),
    "transactional-update, not registered": (
        "transactional-update", "sle-micro-5", "suse-microos", Output(("zypper",), 6, "", "Warning: No repositories"
        " defined.\n"), "no repository is enabled", "transactional-update register -r CODE"),
    "a clock that is behind, TLS": (
        "dnf", "el9", "rocky", Output(("dnf",), 1, "", "  - Curl error (60): SSL peer certificate or SSH remote key was"
        " not OK for https://m/repomd.xml [SSL certificate problem: certificate is not yet valid]\n"),
        "the clock of this host is behind", "chronyc makestep || timedatectl set-ntp true"),
    "a certificate that has expired": (
        "apt", "debian-12", "debian", Output(("apt-get",), 100, "", "W: Failed to fetch https://m/InRelease"
        "  Certificate verification failed: The certificate is NOT trusted. The certificate chain uses expired"
        " certificate.\n"),
        "has expired", "chronyc makestep || timedatectl set-ntp true"),
    "SLES in a cloud": (
        "zypper", "sles-15.4", "sles", Output(("zypper",), 4, "", "Permission to access"
        " 'https://smt-ec2.susecloud.net/repo/repomd.xml' denied.\n"),
        "the registration of the cloud is refused", "registercloudguest --force-new"),
    "zypper, a server that is busy": (
        "zypper", "sles-15.4", "sles", Output(("zypper",), 4, "", "[fim|http://m/503] Valid metadata not found at"
        " specified URL\nHistory:\n - Location 'http://m/503/content' is temporarily unaccessible.\n"),
        "the server of a repository is in trouble: Location", "curl -sSI http://m/503"),
    "yum 3, a server in trouble": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "http://m/repodata/repomd.xml: [Errno 14] HTTP Error 503 -"
        " Service Unavailable\n"), "the server of a repository is in trouble", "curl -sSI http://m/repodata/repomd.xml"),
    "yum 3, Gone": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "http://m/repodata/repomd.xml: [Errno 14] HTTP Error 410 - Gone"
        "\n"), "a repository is gone", "yum repolist all"),
    "yum 3 without its modules": (
        "yum", "el7", "centos", Output(("yum",), 1, "There was a problem importing one of the Python modules\nrequired"
        " to run yum. The error leading to this problem was:\n\n   No module named yum\n"),
        "the manager itself does not run", "yum --version; head -n 1 /usr/bin/yum"),
    "rpm's database on EL 7": (
        "yum", "el7", "centos", Output(("yum",), 1, "", "error: rpmdb: BDB0113 Thread/process 1/2 failed: BDB1507"
        " Thread died in Berkeley DB library\nerror: cannot open Packages database in /var/lib/rpm\n"),
        "the database of the packages is broken", "cp -a /var/lib/rpm /var/lib/rpm.kept && rpm --rebuilddb"),
    "a release that was renamed": (
        "apt", "debian-12", "debian", Output(("apt-get",), 100, "", "E: Repository 'http://m/debian bookworm InRelease'"
        " changed its 'Suite' value from 'stable' to 'oldstable'\nN: This must be accepted explicitly before updates"
        " for this repository can be applied. See apt-secure(8) manpage for details.\n"),
        "apt does not accept that a release was renamed: Repository", "apt-get --allow-releaseinfo-change update"),
    "a size that looks like a status": (
        "dnf", "el8", "rocky", Output(("dnf",), 3, "Total size: 503 MB\n audit  x86_64  1-1  fim  404 k\n",
        "Error: the moon is full\n"),
        "could not be asked for audit: Error: the moon is full (dnf exit status 3)", "dnf"),
    "a word that nobody knows": (
        "dnf", "el8", "rocky", Output(("dnf",), 3, "", "Error: the moon is full\n"),
        "could not be asked for audit: Error: the moon is full (dnf exit status 3)", "dnf"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_a_replay_of_what_managers_say(dict_host: DictHost, name: str) -> None:
    manager, profile, release, said, summary, remedy = SAID[name]
    dict_host.programs(said.argv[0], manager)
    dict_host.answers[said.argv[0]] = said
    dict_host.write(LISTS)
    dict_host.write("/etc/yum.conf", f"[main]\nexclude=kernel* {'audit*' if 'excluded' in name else 'foo'}, foo\n")
    error = refused(dict_host, order(manager, profile, release=release))
    assert summary in str(error)
    assert error.remedy.startswith(remedy)
    assert ("have none of" in str(error)) == (summary.startswith("the repositories of this host have none"))


@pytest.mark.parametrize(("name", "over"), [("debian-11", True), ("leap-15.4", True), ("debian-13", False)])
def test_past_its_end_a_release_is_advised_whatever_the_words(dict_host: DictHost, name: str, over: bool) -> None:
    manager = PROFILES[name].managers[0]
    dict_host.programs("apt-get", "apt-cache", "zypper")
    dict_host.write(LISTS)
    error = refused(dict_host, order(manager, name))
    assert (f"reached its end of life on {PROFILES[name].eol}: " in error.remedy) == over


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_remedy_can_be_pasted(cause: Cause) -> None:
    """Whatever stands in the manager's words: a quote, a space, a $."""
    odd = shlex.quote("o'dd $(reboot) `x`")
    words = dict.fromkeys(("name", "names", "repo", "url", "host", "pinned"), odd)
    for manager, template in cause.remedy.items():
        look = LOOK.get(manager, LOOK[""]).format(program="dnf")
        line = diagnosis.with_notes(template.format(program="dnf", look=look, **words), cause.note)
        done = subprocess.run(["sh", "-n"], input=f"{line}\n", capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line
        assert "\n" not in line
        if odd in line:
            assert "o'dd $(reboot) `x`" in " ".join(shlex.split(line.partition("  # ")[0])), line


def test_a_lock_that_the_file_system_refuses_is_not_waited_for(dict_host: DictHost) -> None:
    dict_host.programs("dnf", "rpm")
    said = "error: can't create transaction lock on /var/lib/rpm/.rpm.lock ({})\n"
    dict_host.answers["dnf"] = Output(("dnf",), 1, "", said.format("Read-only file system"))
    assert "a file system is read-only" in str(refused(dict_host, order("dnf", "el9")))
    assert dict_host.now == BOOT + 5000
    dict_host.answers["dnf"] = Output(("dnf",), 1, "", said.format("Resource temporarily unavailable"))
    with pytest.raises(Busy):
        install(dict_host, order("dnf", "el9"))


def test_a_manager_that_tries_again_by_itself_is_asked_less_often(dict_host: DictHost) -> None:
    """zypper takes two minutes for a server that is busy."""

    def search(host: DictHost, argv: tuple[str, ...]) -> Output:
        host.sleep(110)
        return Output(argv, 104, "", "Location 'http://m/repomd.xml' is temporarily unaccessible.\n")

    dict_host.programs("zypper")
    dict_host.answers["zypper"] = search
    refused(dict_host, order("zypper", "sles-15.4"))
    assert dict_host.now - BOOT - 5000 < 500


def test_what_a_failed_transaction_has_installed_is_told(dict_host: DictHost) -> None:
    """Not what had been there, nor what dpkg remembers of a package that is gone."""
    before = "base 1 installed\n"
    after = f"{before}libauparse0 1:3.0.9-1 installed\nold 1 config-files\n"

    def apt_get(host: DictHost, argv: tuple[str, ...]) -> Output:
        host.answers["dpkg-query -W"] = after
        return Output(argv, 100, "", "installed auditd package post-installation script subprocess returned error\n")

    dict_host.programs("apt-get", "apt-cache", "dpkg-query")
    dict_host.write(LISTS)
    dict_host.answers.update({"apt-cache policy": POLICY, "apt-get": apt_get, "dpkg-query -W": before})
    with pytest.raises(BootstrapError, match="the script of a package failed: installed auditd") as caught:
        InstallPackages(order("apt"), "").apply(dict_host, lambda *_, **__: None)
    assert caught.value.done == ("libauparse0 1:3.0.9-1 installed",)


def test_the_end_of_life_is_said_of_the_release_and_not_of_its_profile(dict_host: DictHost) -> None:
    dict_host.programs("zypper")
    wanted = order("zypper", "sles-15.4")._replace(release=OsRelease("sles", "15.6"))
    assert (
        "sles 15.6 reached its end of life"
        in refused(dict_host, wanted._replace(profile=wanted.profile._replace(eol="2025-12-31"))).remedy
    )


def test_a_manager_that_knows_no_files_does_not_say_that_there_are_none(dict_host: DictHost) -> None:
    dict_host.programs("rpm-ostree")
    error = refused(dict_host, order("rpm-ostree", "rpm-files"))
    assert "rpm-ostree cannot look up which package holds /usr/sbin/auditd" in str(error)
    assert "have none" not in str(error)


def test_the_script_of_somebody_else_s_package_fails_nothing(dict_host: DictHost) -> None:
    def apt_get(host: DictHost, argv: tuple[str, ...]) -> Output:
        host.programs("auditd")
        host.write("/var/lib/dpkg/status", "Package: auditd\nStatus: install ok installed\n\n"
                   "Package: other\nStatus: install ok half-configured\n")  # fmt: skip
        return Output(argv, 100, "", "E: Sub-process /usr/bin/dpkg returned an error code (1)\n")

    dict_host.programs("apt-get", "apt-cache")
    dict_host.write(LISTS)
    dict_host.answers.update({"apt-cache policy": POLICY, "apt-get": apt_get})
    assert install(dict_host, order("apt")) == ("auditd",)
    assert any("what was asked for is there all the same" in line for line in dict_host.logged)


@pytest.mark.parametrize("state", ["half-configured", "unpacked"])
def test_our_own_package_is_not_there_before_it_is_configured(dict_host: DictHost, state: str) -> None:
    def apt_get(host: DictHost, argv: tuple[str, ...]) -> Output:
        host.programs("auditd")
        host.write("/var/lib/dpkg/status", f"Package: auditd\nStatus: install ok {state}\n")
        return Output(argv, 100, "", "E: Sub-process /usr/bin/dpkg returned an error code (1)\n")

    dict_host.programs("apt-get", "apt-cache")
    dict_host.write(LISTS)
    dict_host.answers.update({"apt-cache policy": POLICY, "apt-get": apt_get})
    assert "Sub-process /usr/bin/dpkg" in str(refused(dict_host, order("apt")))


def test_resolve_says_that_it_did_not_look(dict_host: DictHost) -> None:
    dict_host.programs("apt-get", "apt-cache")
    found, unasked = lookup.available(dict_host, order("apt"))
    assert (found, dict_host.asked) == (frozenset(), [])
    assert "apt-get -q update" in unasked
    dict_host.write(LISTS)
    dict_host.answers["apt-cache policy"] = POLICY
    assert lookup.available(dict_host, order("apt")) == (frozenset({"auditd"}), "")
    dict_host.answers["apt-cache policy"] = ""
    assert lookup.available(dict_host, order("apt")) == (frozenset(), "")
    dict_host.programs("dnf")
    dict_host.answers["dnf"] = Output(("dnf",), 1, "", "Error: Failed to download metadata for repo 'fim'\n")
    assert "Failed to download metadata" in lookup.available(dict_host, order("dnf", "el9"))[1]
    assert dict_host.done == []


def test_a_tree_whose_resolv_conf_leads_nowhere(dict_host: DictHost) -> None:
    late(dict_host, 1000)
    dict_host.root = "/mnt/tree"
    error = refused(dict_host, order("apt"))
    assert error.remedy.startswith("cp -L --remove-destination /etc/resolv.conf /mnt/tree/etc/resolv.conf")


def test_names_are_asked_for_ten_minutes_and_installed_for_thirty(
    dict_host: DictHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    dict_host.programs("apt-get", "apt-cache")
    dict_host.write(LISTS)
    dict_host.answers.update({"apt-cache policy": POLICY, "apt-get": has_auditd})
    seen: dict[str, float] = {}
    run = dict_host.run

    def noting(*argv: str, timeout: float = 0, **rest: object) -> Output:
        seen[argv[0]] = timeout
        return run(*argv, timeout=timeout, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(dict_host, "run", noting)
    install(dict_host, order("apt"))
    assert seen == {"apt-cache": 600.0, "apt-get": 1800.0}


@pytest.mark.parametrize(("root", "null", "head", "remedy"), [
    ("/mnt/t", None, "", "mount --bind /dev /mnt/t/dev"),
    ("/mnt/t", 0o100644, "", "rm /mnt/t/dev/null; mount --bind /dev /mnt/t/dev"),
    ("/mnt/t", 0o20666, "head: cannot open '/dev/null' for reading: Permission denied", "mount --bind /dev /mnt/t/dev"),
    ("/", None, "", "mount -t devtmpfs dev /dev"),
    ("/", 0o20666, "head: cannot open '/dev/null' for reading: Permission denied", "mount -o remount,dev /"),
])  # fmt: skip
def test_a_tree_without_a_usable_dev_null_is_refused(
    dict_host: DictHost, root: str, null: int | None, head: str, remedy: str
) -> None:
    dict_host.root = root
    dict_host.folder("/dev")
    if null is not None:
        dict_host.write("/dev/null")
        seen = dict_host.stat("/dev/null")
        assert seen
        dict_host.stat = lambda path: seen._replace(mode=null) if path == "/dev/null" else None  # type: ignore[method-assign]
    dict_host.answers["head"] = Output(("head",), 1, "", head)
    with pytest.raises(Blocked, match="/dev/null") as caught:
        install(dict_host, order("apt"))
    assert caught.value.remedy == remedy
    assert dict_host.done == []


def test_what_shows_a_container_is_named(dict_host: DictHost) -> None:
    assert container_mark(dict_host) == ""
    for path in ("/run/systemd/container", "/run/host/container-manager", "/run/.containerenv", "/.dockerenv"):
        dict_host.write(path)
        assert container_mark(dict_host) == f"{path} is there"
        del dict_host.nodes[path]
    dict_host.write("/proc/1/environ", "PATH=/bin\0container=podman\0")
    assert container_mark(dict_host) == "the environment of process 1 says container="
    dict_host.write("/run/.containerenv")
    assert container_mark(dict_host) == "/run/.containerenv is there"


@needs_root
@pytest.mark.parametrize("words", [("--guard",), ("--first-boot",)])
def test_a_source_run_that_cannot_install_itself_is_refused_before_the_first_change(
    tree: Tree, words: tuple[str, ...]
) -> None:
    tree.write("/usr/bin/systemctl", "#!/bin/false\n", 0o755)
    before = tree.read("/etc/audit/auditd.conf")
    refused = tree.fim("apply", *words)
    assert (refused.status, "this is a source run" in refused.err) == (4, True), refused
    assert tree.read("/etc/audit/auditd.conf") == before
    assert not tree.path("/etc/systemd/system-preset").exists()


def answering(host: DictHost, *outputs: Output) -> None:
    """apt-get gives one answer after the other; the commands are there from the beginning."""
    host.programs("apt-get", "apt-cache", "auditd")
    host.write(LISTS)
    left = list(outputs)
    host.answers.update({"apt-cache policy": POLICY, "apt-get": lambda *_: left.pop(0)})


def test_a_lock_that_stays_is_no_success_although_the_command_is_there(dict_host: DictHost) -> None:
    locked = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 42 (apt-get)\n"
    answering(dict_host, *(Output(("apt-get",), 100, "", locked) for _ in range(100)))
    dict_host.write("/proc/42/comm", "apt-get\n")
    with pytest.raises(Busy, match=r"^apt is locked by process 42 \(apt-get\)$"):
        install(dict_host, order("apt"))


def test_a_package_that_was_killed_while_it_was_unpacked_is_installed_anew(dict_host: DictHost) -> None:
    broken = "E: The package auditd needs to be reinstalled: reinstall it before attempting configuration.\n"
    answering(dict_host, Output(("apt-get",), 100, "", broken), Output(("apt-get",), 0))
    assert install(dict_host, order("apt")) == ("auditd",)
    assert ["--reinstall" in line for line in dict_host.done if line.startswith("apt-get")] == [False, True]


def test_an_installation_that_somebody_interrupted_is_finished_first(dict_host: DictHost) -> None:
    unfinished = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.\n"
    answering(dict_host, Output(("apt-get",), 100, "", unfinished), Output(("apt-get",), 0))
    dict_host.answers["dpkg"] = 1  # whether it could, the second try tells
    assert install(dict_host, order("apt")) == ("auditd",)
    done = [line.split()[0] for line in dict_host.done]
    assert [program for program in done if program != "apt-cache"] == ["apt-get", "dpkg", "apt-get"]


def test_a_package_is_held_by_versionlock_only_where_that_names_it(dict_host: DictHost) -> None:
    said = (
        "All matches were filtered out by exclude filtering for argument: audit\nError: Unable to find a match: audit\n"
    )
    ask = (dict_host, MANAGERS["dnf"], OsRelease("rhel"), ["audit"], [Output(("dnf",), 1, "", said)])
    dict_host.write(diagnosis.VERSION_LOCKS[0], "other-0:1-1.*\n")
    excluded = diagnosis.why(*ask)
    assert excluded
    assert excluded.what.startswith("the package is excluded")
    dict_host.write(diagnosis.VERSION_LOCKS[0], "audit-0:1-1.*\n")
    locked = diagnosis.why(*ask)
    assert locked
    assert locked.remedy.startswith("dnf versionlock delete audit")


@pytest.mark.parametrize(("text", "named"), [("<html>", True), ("<repomd>", False)])
def test_a_page_in_the_place_of_a_repository_is_named(dict_host: DictHost, text: str, named: bool) -> None:
    path = "/var/cache/zypp/raw/oss/repodata/repomd.xml"
    dict_host.write(path, text)
    said = [Output(("zypper",), 104, "No matching items found.\n")]
    found = diagnosis.why(dict_host, MANAGERS["zypper"], OsRelease("sles"), ["audit"], said)
    assert bool(found and path in found.what) is named


def test_a_manager_that_cannot_rehearse_is_asked_no_further(dict_host: DictHost) -> None:
    dict_host.programs("tdnf")
    assert MANAGERS["tdnf"].rehearse == ()
    lookup.available(dict_host, order("tdnf", "photon-5", release="photon"))
    assert all(line.startswith("tdnf ") and len(line.split()) > 1 for line in dict_host.asked)


def test_what_the_rehearsal_says_is_why(dict_host: DictHost) -> None:
    """The repositories have nothing of that name to show, and the solver knows why."""
    dict_host.programs("dnf")
    dict_host.answers["dnf"] = Output(("dnf",), 1, "", "Error: No matching Packages to list\n")
    dict_host.answers["dnf --setopt=exit_on_lock=True --assumeno install"] = Output(
        ("dnf",), 1, "", "All matches were filtered out by exclude filtering for argument: audit\n"
    )
    error = refused(dict_host, order("dnf", "el9", release="rhel"))
    assert "audit cannot be taken: the package is excluded" in str(error)
    assert "--disableexcludes=all install audit" in error.remedy


@pytest.mark.parametrize(("path", "stdout", "found"), [
    ("", "audit\nother\n", {"audit", "other"}),
    ("/usr/sbin/auditd", "audit\n", {"/usr/sbin/auditd"}),
    ("/usr/sbin/auditd", "", set()),
])  # fmt: skip
def test_an_answer_about_a_file_stands_for_the_file(path: str, stdout: str, found: set[str]) -> None:
    answers = [Output(("dnf",), 0, stdout)]
    assert lookup.heard(MANAGERS["dnf"], [path], answers) == lookup.Lookup(frozenset(found), tuple(answers))


def test_yum_3_names_the_file_and_not_the_package_alone() -> None:
    said = "Filename    : /usr/sbin/auditd\n"
    ask = (MANAGERS["yum"], ["/usr/sbin/auditd"])
    assert lookup.heard(*ask, [Output(("yum",), 0, said)]).found == {"/usr/sbin/auditd"}
    assert lookup.heard(*ask, [Output(("yum",), 0, "Filename    : /usr/sbin/auditctl\n")]).found == set()


def test_a_path_is_asked_for_alone_and_names_together() -> None:
    dnf, apt = MANAGERS["dnf"], MANAGERS["apt"]
    assert lookup.questions_for(dnf, ["audit", "/usr/sbin/x", "which"]) == {
        "": (*dnf.resolve, "audit", "which"), "/usr/sbin/x": (*dnf.provides, "/usr/sbin/x"),
    }  # fmt: skip
    assert lookup.questions_for(dnf, ["/usr/sbin/x"]) == {"/usr/sbin/x": (*dnf.provides, "/usr/sbin/x")}
    assert lookup.questions_for(apt, ["/usr/sbin/x"]) == {}


@pytest.mark.parametrize(("free", "read_only", "said"), [
    (0, False, "\nNo space left on device: /x"), (diagnosis.FULL, False, ""), (-1, False, ""),
    (0, True, "\nRead-only file system: /x"), (diagnosis.FULL, True, "\nRead-only file system: /x"),
])  # fmt: skip
def test_what_the_system_would_say_of_a_place_that_takes_nothing(free: int, read_only: bool, said: str) -> None:
    seen = Stat("/x", 0o40755, 0, 0.0, 0, read_only=read_only, free=free)
    assert diagnosis._unwritable("/x", seen) == said


def test_packages_that_are_no_longer_where_the_lists_say_are_looked_up_anew(dict_host: DictHost) -> None:
    stale = "E: Failed to fetch http://m/auditd.deb  404  Not Found [IP: 10.0.0.1 80]\n"
    answering(dict_host, Output(("apt-get",), 100, "", stale), Output(("apt-get",), 0), Output(("apt-get",), 0))
    assert install(dict_host, order("apt")) == ("auditd",)
    assert [line.split()[-1] for line in dict_host.done if line.startswith("apt-get")] == ["auditd", "update", "auditd"]


@pytest.mark.parametrize(("url", "host"), [
    ("http://deb.example.org/x", "deb.example.org"), ("http://deb.example.org:8080/x", "deb.example.org"),
    ("https://me:pw@deb.example.org/x", "deb.example.org"), ("http://m/x:", "m"), ("ftp://m/x", ""),
])  # fmt: skip
def test_the_server_of_a_url_is_named_alone(url: str, host: str) -> None:
    said = f"E: Failed to fetch {url} 403"
    assert diagnosis._fields([*re.finditer("403", said)], [], said)["host"] == host


def test_repositories_that_were_moved_away_are_told_before_the_date_too() -> None:
    profile = PROFILES["debian-12"]._replace(eol="2028-06-30", eol_signature="404 .*Not Found", eol_advice="move")
    assert diagnosis.end_of_life(profile, "2026-11-27", "me", "404  Not Found") == (
        "the repositories of me may have been moved away: move"
    )
    assert diagnosis.end_of_life(profile, "2026-11-27", "me", "503") == ""
    assert diagnosis.end_of_life(profile, "2028-07-01", "", "503") == (
        f"{profile.title} reached its end of life on 2028-06-30: move"
    )
    plain = profile._replace(eol="", eol_signature="", eol_advice="")
    assert diagnosis.end_of_life(plain, "2026-11-27", "me", "404  Not Found") == ""
