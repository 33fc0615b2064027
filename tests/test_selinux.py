"""The policy module: rendered, built with the real compiler, and seen again in a store."""

from __future__ import annotations

import bz2
import os
import shutil
import subprocess
from pathlib import Path
from typing import Optional

import pytest

from fim_bootstrap import selinux
from fim_bootstrap.host import LiveHost
from fim_bootstrap.selinux import UNPACKED_LIMIT
from tests.dict_host import DictHost, Node

TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = Path("/etc/selinux/default/policy/policy.33")
needs_compiler = pytest.mark.skipif(
    not (shutil.which("checkmodule", path=TOOLS) and shutil.which("semodule_package", path=TOOLS)),
    reason="needs checkpolicy and semodule-utils",
)


def build(folder: Path, source: str) -> bytes:
    """The module package that the real tools make of a source."""
    (folder / "fim_bootstrap.te").write_text(source)
    for argv in (
        ["checkmodule", "-M", "-m", "-o", "fim_bootstrap.mod", "fim_bootstrap.te"],
        ["semodule_package", "-o", "fim_bootstrap.pp", "-m", "fim_bootstrap.mod"],
    ):
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, env={"PATH": TOOLS})
    return (folder / "fim_bootstrap.pp").read_bytes()


@needs_compiler
@pytest.mark.parametrize("generation", [2, 3])
def test_the_real_compiler_takes_the_module_and_keeps_the_marker(tmp_path: Path, generation: int) -> None:
    source, marker = selinux.render(selinux.DISPATCHER_TYPE[generation], (*selinux.AGENT_TYPES, "agent_t"))
    assert marker.encode() in build(tmp_path, source)


def test_the_marker_follows_the_grants() -> None:
    one, two = (selinux.render("auditd_t", agents) for agents in (("initrc_t",), ("initrc_t", "agent_t")))
    assert one[1] != two[1]
    assert one == selinux.render("auditd_t", ("initrc_t",))
    assert f"type {one[1]};" in one[0]


def test_every_grant_is_optional_and_small() -> None:
    source, _ = selinux.render("auditd_t", selinux.AGENT_TYPES)
    grants = [line.strip() for line in source.splitlines() if line.strip().startswith("allow")]
    assert grants == [
        "allow auditd_t usr_t:dir { getattr search };",
        "allow auditd_t usr_t:sock_file { getattr write };",
        "allow auditd_t unconfined_service_t:unix_stream_socket connectto;",
        "allow auditd_t initrc_t:unix_stream_socket connectto;",
    ]
    outside = source
    while "optional {" in outside:
        before, _, rest = outside.partition("optional {")
        outside = before + rest.partition("\n}\n")[2]
    assert "allow" not in [line.split()[0] for line in outside.splitlines() if line.split()]
    assert "auditd_t" not in outside


@pytest.mark.parametrize("name", ["", "1t", "a b", "a;allow", "t\n"])
def test_a_name_that_is_no_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an SELinux type name"):
        selinux.render("auditd_t", (name,))


@pytest.mark.parametrize("compress", [bz2.compress, bytes])
def test_the_store_is_read_compressed_or_not(tmp_path: Path, compress: type[bytes]) -> None:
    (tmp_path / "etc/selinux/default/policy").mkdir(parents=True)
    (tmp_path / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=default\n")
    (tmp_path / "etc/selinux/default/policy/policy.33").write_bytes(b"policy")
    module = tmp_path / "var/lib/selinux/default/active/modules/400/fim_bootstrap"
    host = LiveHost(str(tmp_path))

    def look() -> tuple[object, ...]:
        state = selinux.gather(host, False, 3, None, None, "/none")
        return state.mode, state.module_present, state.in_store, state.in_policy, state.in_kernel

    assert look() == ("enforcing", False, False, False, None)
    module.mkdir(parents=True)
    assert look()[1:3] == (True, None)
    (module / "cil").write_bytes(compress(b"(type other_t)"))
    assert look()[1:3] == (True, False)
    _, marker = selinux.render("auditd_t", selinux.AGENT_TYPES)
    (module / "cil").write_bytes(compress(f"(type {marker})".encode()))
    (tmp_path / "etc/selinux/default/policy/policy.33").write_bytes(marker.encode())
    assert look()[1:4] == (True, True, True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of this machine's module store and policy without our module, which checks neverallow rules."""
    if os.geteuid() != 0 or not (POLICY.exists() and shutil.which("sesearch", path=TOOLS)):
        pytest.skip("needs root, selinux-policy-default and setools")
    for folder in ("etc/selinux", "var/lib/selinux"):
        shutil.copytree(Path("/") / folder, tmp_path / folder)
    (tmp_path / "etc/selinux/semanage.conf").write_text("module-store = direct\nexpand-check = 1\n")
    if (tmp_path / "var/lib/selinux/default/active/modules/400/fim_bootstrap").exists():  # `make apply` was run here
        assert semodule(tmp_path, "-r", "fim_bootstrap").returncode == 0
    return tmp_path


def rules(store: Path) -> set[str]:
    """The allow rules of the store's binary policy."""
    policy = store / POLICY.relative_to("/")
    listed = subprocess.run(["sesearch", "-A", str(policy)], check=True, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def semodule(store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Put a module into the store (-i), or take it out (-r)."""
    argv = ["semodule", "-p", str(store), "-s", "default", "-n", "-X", "400", *words]
    return subprocess.run(argv, capture_output=True, text=True, env={"PATH": TOOLS}, check=False)


def test_the_policy_grants_what_is_written_and_nothing_else(store: Path) -> None:
    source, _ = selinux.render("auditd_t", selinux.AGENT_TYPES)
    build(store, source)
    before = rules(store)
    done = semodule(store, "-i", f"{store}/fim_bootstrap.pp")
    assert done.returncode == 0, done.stderr
    after = rules(store)
    assert before - after == set()
    # searching usr_t is granted to every domain already; unconfined_service_t is Fedora's
    assert after - before == {
        "allow auditd_t usr_t:sock_file { getattr write };",
        "allow auditd_t initrc_t:unix_stream_socket connectto;",
    }


def test_a_module_that_breaks_a_neverallow_rule_would_be_refused(store: Path) -> None:
    """Which shows that the store of the test above looks at them."""
    build(store, "module fim_bootstrap 1.0;\nrequire { type auditd_t, shadow_t; class file read; }\n"
                 "allow auditd_t shadow_t:file read;\n")  # fmt: skip
    done = semodule(store, "-i", f"{store}/fim_bootstrap.pp")
    assert done.returncode != 0
    assert "neverallow" in done.stderr


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (bz2.compress(b"(type marker_t)"), True),
        (bz2.compress(b"(type other_t)"), False),
        (bz2.compress(b"(type marker_t)")[:-5], None),
        (bz2.compress(bytes(UNPACKED_LIMIT + 1)), None),
        (b"BZh9" + bytes(99), None),
        (b"(type marker_t)", True),
    ],
    ids=["ours", "another", "cut off", "a bomb", "rubbish", "not packed"],
)
def test_a_stored_module_is_unpacked_up_to_a_limit(content: bytes, seen: Optional[bool]) -> None:
    host = DictHost()
    host.nodes["/m/cil"] = Node(content)
    assert selinux._in_store(host, "/m", "marker_t") is seen
