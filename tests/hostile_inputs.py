"""Inputs that once took minutes or gigabytes, hung, or ended in a traceback; each is made, none is stored."""

from __future__ import annotations

import bz2
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.conftest import AUDITD_CONF, DEBIAN_12, Tree

RULES = "/etc/audit/rules.d/x.rules"
PLUGIN = "/etc/audit/plugins.d/x.conf"
STORE = "/var/lib/selinux/targeted/active/modules/400/fim_bootstrap"
JOURNAL = "/var/lib/fim-bootstrap/journal.jsonl"
BIG, MANY = 1_000_000, 20_000  # just below what is read: bytes and lines of a text


class Hostile(NamedTuple):
    """One input; `beyond` says that it lies beyond a limit, so that «ready» would be a lie."""

    make: Callable[[Tree], object]
    beyond: bool = False


def text(path: str, content: str, beyond: bool = False) -> Hostile:
    """A file with this content."""
    return Hostile(lambda tree: tree.write(path, content), beyond)


def sparse(path: str, size: int, beyond: bool = False) -> Hostile:
    """A file of that many NULs, which takes no room."""

    def make(tree: Tree) -> None:
        tree.write(path, "")
        os.truncate(tree.path(path), size)

    return Hostile(make, beyond)


def pipe(path: str, beyond: bool = False) -> Hostile:
    """A pipe that nobody writes to."""

    def make(tree: Tree) -> None:
        tree.path(path).unlink(missing_ok=True)
        tree.path(path).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tree.path(path))

    return Hostile(make, beyond)


def selinux(cil: bytes) -> Hostile:
    """A stored module, and files beside the policy that are none."""

    def make(tree: Tree) -> None:
        tree.write("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")
        for name in ("policy.33", "policy.33.bak", "policy.4x", "policy.3\u00b2"):
            tree.write(f"/etc/selinux/targeted/policy/{name}", "")
        tree.write(f"{STORE}/cil", "")
        tree.path(f"{STORE}/cil").write_bytes(cil)

    return Hostile(make)


def many_files(tree: Tree) -> None:
    """More rule files than may be read together."""
    for number in range(2000):
        tree.write(f"/etc/audit/rules.d/{number}.rules", "-D\n" * 20)


def large_together(folder: str, name: str, beyond: bool = False) -> Hostile:
    """Files each of which may be read, and which together are 500 MB."""

    def make(tree: Tree) -> None:
        for number in range(500):
            tree.write(f"{folder}/{number}{name}", "")
            os.truncate(tree.path(f"{folder}/{number}{name}"), 1 << 20)

    return Hostile(make, beyond)


def loaded_often(tree: Tree) -> None:
    """A unit that loads the same large file of rules again and again."""
    tree.write("/etc/other.rules", "-e 2\n" * MANY)
    tree.write("/etc/systemd/system/auditd.service.d/x.conf", "ExecStart=auditctl -R /etc/other.rules\n" * 9000)


def links(tree: Tree) -> None:
    """Links that lead in a circle or nowhere, wherever something is read."""
    for name in ("rules.d/a.rules", "plugins.d/a.conf", "plugins.d/b"):
        tree.link(f"/etc/audit/{name}", name.rpartition("/")[2])
    for place in ("/etc/selinux", "/usr/local/qualys", JOURNAL, "/etc/fim-bootstrap/profiles.d/x.toml.orig"):
        tree.link(place, place)
    tree.link("/etc/audit/rules.d/b.rules", "/nowhere")


def inputs() -> Iterator[tuple[str, Hostile]]:
    """Each with its name."""
    yield "a line of 200 MB", sparse(RULES, 200 << 20, beyond=True)
    yield "a million lines", text(RULES, "-D\n" * 1_000_000, beyond=True)
    yield "one line that is as long as may be", text(RULES, f"-w /{'a' * BIG} -e 2\n")
    yield "a line of URLs", text(RULES, f"-w {'://' * (BIG // 3)} -e 2\n")
    yield "a line of logins", text(RULES, f"-w {'a:b@' * (BIG // 4)} -e 2\n")
    yield "a wide character in a long line", text(RULES, f"-w {'a' * (BIG - 99_999)}\U0001f600 -e 2\n")
    yield "a line of options", text(RULES, "-e 2 " * 20_000 + "\n")
    yield "dashes", text(RULES, "-" * BIG)
    yield "backslashes", text(RULES, "\\ " * (BIG // 2))
    yield "as many lines as may be that lock", text(RULES, "-e 2\n" * MANY)
    yield "every other line locks", text(RULES, "".join(f"-w /x{n}\n-e 2\n" for n in range(MANY // 2)))
    yield "2000 rule files", Hostile(many_files, beyond=True)
    yield "no text", text(RULES, "\0\udcff\ud7ff\x1b[2J\u202e\r\n" * 999)
    yield "a pipe among the rules", pipe(RULES, beyond=True)
    yield "auditd.conf: one line", text("/etc/audit/auditd.conf", f"a = {'b' * BIG}", beyond=True)
    yield "auditd.conf: many lines", text("/etc/audit/auditd.conf", "freq = 5\n" * MANY, beyond=True)
    yield "auditd.conf: beyond the limit", sparse("/etc/audit/auditd.conf", 2 << 20, beyond=True)
    yield "auditd.conf: a pipe", pipe("/etc/audit/auditd.conf", beyond=True)
    yield "auditd.conf: a folder that is none", text("/etc/audit/auditd.conf", f"{AUDITD_CONF}plugin_dir = /a\0b*[\n")
    yield "a plugin of many lines", text(PLUGIN, "active = yes\n" * MANY)
    yield "a plugin of 5 GB", sparse(PLUGIN, 5 << 30)
    yield "os-release: one value", text("/etc/os-release", f"{DEBIAN_12}X='{'b' * 60_000}'\n")
    yield "os-release: a pipe", pipe("/etc/os-release", beyond=True)
    yield "os-release: 1 GB", sparse("/etc/os-release", 1 << 30, beyond=True)
    yield "a stored module that unpacks to 300 MB", selinux(bz2.compress(bytes(300 << 20)))
    yield "a stored module that was cut off", selinux(bz2.compress(b"(type a)")[:-9])
    yield "a stored module of rubbish", selinux(b"BZh9" + b"\xff" * 99)
    yield "a journal of brackets", text(JOURNAL, "[" * BIG + "\n")
    yield "a journal of odd steps", text(JOURNAL, "".join(
        f'{{"id": "{n}", "kind": {kind}, "path": "\\u0000", "packages": [[]], "uptime": "x"}}\n'
        for n, kind in enumerate(['"restart"', '"install"', "1", "[]", "{}"])))  # fmt: skip
    yield "a journal that is a pipe", pipe(JOURNAL, beyond=True)
    yield "a journal of 5 MB", sparse(JOURNAL, 5 << 20, beyond=True)
    yield "dpkg's status: a pipe", pipe("/var/lib/dpkg/status", beyond=True)
    yield "dpkg's status: 40 MB", sparse("/var/lib/dpkg/status", 40 << 20, beyond=True)
    yield "selinux/config: 2 MB", sparse("/etc/selinux/config", 2 << 20, beyond=True)
    yield "selinux/config: a pipe", pipe("/etc/selinux/config", beyond=True)
    yield "dpkg's status: 20 MB", text("/var/lib/dpkg/status", "Package: a\nStatus: i o unpacked\n" * 600_000)
    yield "plugins of 500 MB", large_together("/etc/audit/plugins.d", ".conf", beyond=True)
    yield "drop-ins of 500 MB", large_together("/etc/systemd/system/auditd.service.d", ".conf", beyond=True)
    yield "boot entries of 500 MB", large_together("/boot/loader/entries", ".conf", beyond=True)
    yield "tmpfiles.d of 500 MB", large_together("/usr/lib/tmpfiles.d", ".conf")
    yield "tmpfiles.d: blank lines", text("/usr/lib/tmpfiles.d/x.conf", f"{' ' * 40}\n" * MANY)
    yield "rules that are loaded often", Hostile(loaded_often, beyond=True)
    yield "links in a circle", Hostile(links, beyond=True)
