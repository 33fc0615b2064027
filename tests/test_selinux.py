"""The policy module: rendered, built with the real compiler, judged by a real policy, and seen again in a store."""

from __future__ import annotations

import bz2
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from fim_bootstrap.audit import auditd_conf
from fim_bootstrap.changes import journal, revert
from fim_bootstrap.changes.policy import LoadPolicy, ReloadPolicy, RestoreLabels
from fim_bootstrap.changes.services import RestartUnit
from fim_bootstrap.facts import audit as audit_facts
from fim_bootstrap.facts import own_files, selinux
from fim_bootstrap.facts.selinux import LARGEST, Module
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.model import Finding, Process, Profile, SELinuxFacts, Settings, Status
from fim_bootstrap.requirements import guard, policy
from tests.conftest import needs_mounts
from tests.dict_host import DictHost, Node
from tests.test_requirements import READY

TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = Path("/etc/selinux/default/policy/policy.33")
HOME = "/usr/local/qualys/cloud-agent"
SOCK = f"{HOME}/sock"
AGENT = selinux.Agent(f"{HOME}/bin/qualys-cloud-agent", SOCK)
needs_compiler = pytest.mark.skipif(
    not (shutil.which("checkmodule", path=TOOLS) and shutil.which("semodule_package", path=TOOLS)),
    reason="needs checkpolicy and semodule-utils",
)
SERVING = [("dir", "search"), ("dir", "write"), ("dir", "add_name"), ("dir", "remove_name"), ("sock_file", "create"),
           ("sock_file", "unlink")]  # fmt: skip
OVERRIDE = ("capability", "dac_override")
# a module of the shape of the agent's own, for a dispatcher's domain
VENDOR = """\
module vendor_shape 1.0;
require {{
	type {domain};
	attribute file_type, non_security_file_type;
	class dir {{ add_name remove_name read write getattr search }};
	class sock_file {{ create unlink }};
	class unix_stream_socket {{ create bind listen accept }};
	class capability {{ dac_override dac_read_search }};
}}
type qualys_sock_dir_t;
typeattribute qualys_sock_dir_t file_type, non_security_file_type;
allow {domain} qualys_sock_dir_t:dir {{ add_name remove_name read write getattr search }};
allow {domain} qualys_sock_dir_t:sock_file {{ create unlink }};
allow {domain} self:unix_stream_socket {{ create bind listen accept }};
allow {domain} self:capability {{ dac_override dac_read_search }};
"""
VENDOR_CONTEXTS = f"{SOCK}(/.*)?\tsystem_u:object_r:qualys_sock_dir_t:s0\n"


def build(folder: Path, source: str, contexts: str = "") -> Path:
    """The module package that the real tools make of a source."""
    name = re.findall(r"^module (\w+) ", source, re.MULTILINE)[0]
    (folder / f"{name}.te").write_text(source)
    (folder / f"{name}.fc").write_text(contexts)
    for argv in (
        ["checkmodule", "-M", "-m", "-o", f"{name}.mod", f"{name}.te"],
        ["semodule_package", "-o", f"{name}.pp", "-m", f"{name}.mod", *(["-f", f"{name}.fc"] if contexts else [])],
    ):
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, env={"PATH": TOOLS})
    return folder / f"{name}.pp"


# ---------------------------------------------------------------------- the text


@needs_compiler
@pytest.mark.parametrize("domain", ["auditd_t", "audisp_t"])
@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("watch", [False, True])
def test_the_real_compiler_takes_the_module_and_keeps_the_marker(
    tmp_path: Path, domain: str, override: bool, watch: bool
) -> None:
    source, marker = selinux.render(domain, override, watch)
    assert marker.encode() in build(tmp_path, source).read_bytes()


def test_the_marker_follows_the_grants() -> None:
    modules = [selinux.render(domain, own) for domain in ("auditd_t", "audisp_t") for own in (False, True)]
    assert len({module.marker for module in modules}) == 4
    assert selinux.render("auditd_t", False) == modules[0]
    assert f"type {modules[0].marker};" in modules[0].source


@pytest.mark.parametrize("override", [False, True])
def test_every_grant_is_optional_and_small(override: bool) -> None:
    source, _ = selinux.render("auditd_t", override)
    grants = [line.strip() for line in source.splitlines() if line.strip().startswith("allow")]
    assert grants == [
        "allow auditd_t usr_t:dir { search write add_name remove_name };",
        "allow auditd_t usr_t:sock_file { create unlink };",
        *(["allow auditd_t self:capability dac_override;"] if override else []),
    ]
    outside = source
    while "optional {" in outside:
        before, _, rest = outside.partition("optional {")
        outside = before + rest.partition("\n}\n")[2]
    assert "allow" not in [line.split()[0] for line in outside.splitlines() if line.split()]
    assert "auditd_t" not in outside
    declared = re.findall(r"^\s*type (\w+);", outside, re.MULTILINE)
    assert declared == [selinux.render("auditd_t", override).marker]


@pytest.mark.parametrize("name", ["", "1t", "a b", "a;allow", "t\n"])
def test_a_name_that_is_no_type_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an SELinux type name"):
        selinux.render(name, False)


# ---------------------------------------------------------------------- the store, and the configuration


@pytest.mark.parametrize("compress", [bz2.compress, bytes])
def test_the_store_is_read_compressed_or_not(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "etc/selinux/default/policy").mkdir(parents=True)
    (tmp_path / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=default\n")
    (tmp_path / "etc/selinux/default/policy/policy.33").write_bytes(b"policy")
    (tmp_path / "etc/selinux/default/policy/policy.33.bak").write_bytes(b"policy")
    module = tmp_path / "var/lib/selinux/default/active/modules/400/fim_bootstrap"
    host = LiveHost(str(tmp_path))

    def look() -> tuple[object, ...]:
        state = selinux.gather(host, False, 3, None, AGENT)
        return state.mode, state.module_present, state.in_store, state.in_policy, state.in_kernel

    assert look() == ("enforcing", False, False, False, None)
    module.mkdir(parents=True)
    assert look()[1:3] == (True, None)
    (module / "cil").write_bytes(compress(b"(type other_t)"))
    assert look()[1:3] == (True, False)
    _, marker = selinux.render("auditd_t", False)
    (module / "cil").write_bytes(compress(f"(type {marker})".encode()))
    (tmp_path / "etc/selinux/default/policy/policy.33").write_bytes(marker.encode())
    assert look()[1:4] == (True, True, True)
    (module / "cil").write_bytes(compress(bytes(10 * selinux.LARGEST) + marker.encode()))
    if compress is bz2.compress:
        assert look()[1:3] == (True, False)  # no module of ours is so large, nor is it unpacked
        for damaged in (b"BZh", b"BZhrubbish", compress(f"(type {marker})".encode())[:-20]):
            (module / "cil").write_bytes(damaged)
            assert look()[1:3] == (True, False)
    (tmp_path / f"{HOME}/sock".lstrip("/")).mkdir(parents=True)
    os.chown(tmp_path / SOCK.lstrip("/"), 1000, 1000) if os.geteuid() == 0 else None
    (module / "cil").write_bytes(f"(type {marker})".encode())
    assert look()[2] is (os.geteuid() != 0)  # the folder of another user takes the capability


CONFIGS = [
    "SELINUX=enforcing\nSELINUXTYPE=default\n", "SELINUX=Enforcing-now", "SELINUX=enforcing\nSELINUX=disabled\n",
    "SELINUX=disabled\nSELINUX=enforcing\n", "SELINUX=nonsense\nSELINUX=disabled\n", " SELINUX=disabled\n",
    "SELINUX =disabled\n", "SELINUX= \t permissive\nSELINUX=enforcing", "selinux=disabled\n", "SELINUXTYPE=mls",
    "  selinuxtype= mls \t\r\nSELINUXTYPE=foo bar  \n", "SELINUXTYPE=\n", "",
    "#SELINUXTYPE=x\nSELINUXTYPE=a\nSELINUXTYPE=b\n", "SELINUXTYPE =b\n", "SELINUXTYPE=b\x01\x02\n",
    "SELINUXTYPE=b # c\n", 'SELINUX="disabled"\nSELINUXTYPE="mls"\n', "SELINUXTYPE= \n",
    "SELINUX=permissive\r\nSELINUXTYPE=targeted\r\n", "\ufeffSELINUX=disabled\n", "# SELINUX=disabled\n",
    "SELINUX=disabled # was: enforcing\n", "SELINUX=0\n", "SELINUX=en\x00forcing\nSELINUXTYPE=a\x00b\n",
    "SELINUX=\n", "SELINUX==disabled\n", "SELINUXTYPE", "SELINUXTYPES=x\n", "\x0bSELINUXTYPE=\x0cmls\x7f\n",
    "SELINUX=DISABLEDENFORCING", "SETLOCALDEFS=0\nSELINUX=permissive", "SELINUX=İ\nSELINUXTYPE=mäh\n",
]  # fmt: skip
ORACLE = """
import ctypes
library = ctypes.CDLL("libselinux.so.1")
mode, kind = ctypes.c_int(-2), ctypes.c_char_p()
library.selinux_getenforcemode(ctypes.byref(mode))
library.selinux_getpolicytype(ctypes.byref(kind))
print({1: "enforcing", -1: "disabled"}.get(mode.value, "permissive"), kind.value.hex())
"""


@needs_mounts
@pytest.mark.parametrize("text", CONFIGS)
def test_the_configuration_is_read_as_libselinux_reads_it(tmp_path: Path, text: str) -> None:
    """Where no mode is named libselinux leaves -2, and selinux_init_load_policy(3) is permissive then."""
    if not Path("/etc/selinux/config").exists():
        pytest.skip("needs libselinux and /etc/selinux/config")
    (tmp_path / "config").write_bytes(text.encode())
    script = 'mount --bind "$0" /etc/selinux/config && exec "$1" -c "$2"'
    argv = ["unshare", "-m", "sh", "-c", script, str(tmp_path / "config"), sys.executable, ORACLE]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True)
    mode, _, kind = ran.stdout.strip().partition(" ")
    host = DictHost()
    host.write("/etc/selinux/config", text)
    assert selinux._config(host)[:2] == (mode, bytes.fromhex(kind).decode())


# ---------------------------------------------------------------------- the decision, by a kernel of dictionaries

AUDISP, AUDITD = "system_u:system_r:audisp_t:s0", "system_u:system_r:auditd_t:s0"
SERVICE = "system_u:system_r:unconfined_service_t:s0"
USR, VENDORS = "system_u:object_r:usr_t:s0", "system_u:object_r:qualys_sock_dir_t:s0"
CLASSES = ("dir", "sock_file", "capability", "unix_stream_socket", "process")
PERMISSIONS = ("search", "write", "add_name", "remove_name", "create", "unlink", "dac_override", "connectto", "watch",
               "bind", "listen", "accept")  # fmt: skip


class Kernel(dict[tuple[str, str], str]):
    """selinuxfs: whatever `allows` says; `types` are those that the loaded policy has."""

    def __init__(self, allows: Callable[[str, str, str], set[str]], types: set[str]) -> None:
        self.allows, self.types, self.permissive = allows, types, False

    def get(self, key: tuple[str, str], default: Optional[str] = None) -> Optional[str]:  # type: ignore[override]
        """Answer a question as the kernel does: '' for one that names what there is not."""
        path, question = key
        words = question.split()
        if any(selinux.type_of(word) not in self.types for word in words[: 2 if path.endswith("access") else 1]):
            return ""
        if path.endswith("create"):
            return SERVICE
        if path.endswith("access"):
            given = self.allows(words[0], words[1], CLASSES[int(words[2])])
            mask = sum(1 << number for number, name in enumerate(PERMISSIONS) if name in given)
            return f"{mask:x} ffffffff 0 ffffffff 1 {int(self.permissive)}"
        return question


Grants = dict[tuple[str, str, str], set[str]]  # source type, target type, class -> permissions


def granted(grants: Grants) -> Callable[[str, str, str], set[str]]:
    """A policy by its types."""
    return lambda source, target, cls: grants.get((selinux.type_of(source), selinux.type_of(target), cls), set())


def serving(domain: str, target: str, *but: tuple[str, str]) -> Grants:
    """What the plugin needs, without some of it."""
    return {(domain, target, cls): {name for kind, name in SERVING if kind == cls and (cls, name) not in but}
            for cls in ("dir", "sock_file")}  # fmt: skip


CONNECTING: Grants = {
    ("unconfined_service_t", target, cls): {name}
    for target, cls, name in (
        ("usr_t", "sock_file", "write"), ("qualys_sock_dir_t", "sock_file", "write"),
        ("auditd_t", "unix_stream_socket", "connectto"), ("audisp_t", "unix_stream_socket", "connectto"),
    )
}  # fmt: skip
LISTENING: Grants = {(domain, domain, "unix_stream_socket"): {"create", "bind", "listen", "accept"}
                     for domain in ("auditd_t", "audisp_t")}  # fmt: skip
TYPES = {"usr_t", "auditd_t", "audisp_t", "unconfined_service_t", "qualys_sock_dir_t", "init_t", "bin_t",
         "auditd_etc_t"}  # fmt: skip


def machine(host: DictHost, kernel: Kernel, label: str = "", owner: int = 0) -> DictHost:
    """A live system with SELinux enforcing, an agent, and the label of its socket's folder, or none there yet."""
    host.kernel = kernel
    host.write("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")
    host.write("/etc/selinux/targeted/policy/policy.33", "")
    for name, text in (("enforce", "1"), ("policyvers", "33"), ("mls", "1")):
        host.write(f"{selinux.FS}/{name}", text)
    for number, cls in enumerate(CLASSES):
        host.write(f"{selinux.FS}/class/{cls}/index", str(number))
        for bit, name in enumerate(PERMISSIONS, 1):
            host.write(f"{selinux.FS}/class/{cls}/perms/{name}", str(bit))
    host.write(AGENT.program, mode=0o700, context="system_u:object_r:bin_t:s0")
    if label:
        host.folder(SOCK, context=label, uid=owner)
    return host


def load(host: DictHost, source: str, marker: str) -> None:
    """Put a module into store, policy and kernel."""
    host.write(f"/var/lib/selinux/targeted/active/modules/400/{selinux.MODULE}/cil", source)
    host.write("/etc/selinux/targeted/policy/policy.33", source)
    if isinstance(host.kernel, Kernel):
        host.kernel.types.add(marker)


def look(
    host: DictHost, context: str = AUDITD, generation: int = 3, agent: selinux.Agent = AGENT, guard: bool = False
) -> SELinuxFacts:
    """The facts with a dispatcher in this domain."""
    daemon = Process(500, 1, "auditd", 1.0, 0, context) if context else None
    return selinux.gather(host, True, generation, daemon, agent, guard=guard)


def judge(state: SELinuxFacts) -> Finding:
    """The finding on a host that is ready otherwise."""
    return policy.assess(READY._replace(selinux=state), Profile("x", "x"), Settings())


def fresh(grants: Grants) -> Kernel:
    """A kernel with these grants and an agent that may connect."""
    return Kernel(granted({**LISTENING, **CONNECTING, **grants}), set(TYPES))


def test_audit_2_is_asked_about_in_the_domain_of_audispd(dict_host: DictHost) -> None:
    """The daemon's domain may do nothing of it: the plugin does not run there."""
    host = machine(dict_host, fresh(serving("audisp_t", "usr_t")), USR)
    load(host, *selinux.render("audisp_t", False))
    state = look(host, AUDISP, 2)
    assert (state.effective, state.domain, state.in_store) == (True, "audisp_t", True)
    assert judge(state).status is Status.OK
    assert look(host, "", 2) == state  # nothing runs: the type of that generation
    other = look(host, AUDITD, 3)
    assert (other.effective, other.in_store) == (False, False)
    assert "allow auditd_t usr_t:dir" in other.source


@pytest.mark.parametrize("context", ["", "kernel", "a:b:not a type:s0"])
def test_a_context_that_is_none_counts_as_the_usual_one(dict_host: DictHost, context: str) -> None:
    host = machine(dict_host, fresh(serving("auditd_t", "usr_t")), USR)
    assert look(host, context).domain == "auditd_t"
    assert look(host, context).effective is True


@pytest.mark.parametrize("missing", [*SERVING, OVERRIDE])
def test_each_permission_is_found_missing_alone(dict_host: DictHost, missing: tuple[str, str]) -> None:
    own: Grants = {("auditd_t", "auditd_t", "capability"): {"dac_override"} - {missing[1]}}
    host = machine(dict_host, fresh({**serving("auditd_t", "usr_t", missing), **own}), USR, owner=1000)
    state = look(host)
    target = "self" if missing == OVERRIDE else "usr_t"
    assert state.denied == (f"auditd_t {target}:{missing[0]} {missing[1]}",)
    assert state.effective is False
    found = judge(state)
    assert found.status is Status.CHANGE
    assert [type(change) for change in found.changes] == [LoadPolicy]
    assert "self:capability dac_override" in state.source


def test_the_capability_is_asked_for_where_a_folder_is_another_users_alone(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh(serving("auditd_t", "usr_t")), USR)
    assert look(host).effective is True
    assert "capability" not in look(host).source
    host.folder(f"{HOME}/bin", uid=1000)
    assert look(host).denied == ("auditd_t self:capability dac_override",)
    assert "capability" in look(host).source


def test_ours_without_the_capability_is_kept_where_another_module_grants_it(dict_host: DictHost) -> None:
    """The agent's folders became another user's after ours was loaded, and the agent's own module covers that."""
    granted = {**serving("auditd_t", "usr_t"), ("auditd_t", "auditd_t", "capability"): {"dac_override"}}
    host = machine(dict_host, fresh(granted), USR, owner=1000)
    load(host, *selinux.render("auditd_t", False))
    assert (judge(look(host)).status, judge(look(host)).changes) == (Status.OK, ())


def test_ours_loses_the_capability_where_the_folders_are_roots_again(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh(serving("auditd_t", "usr_t")), USR)
    load(host, *selinux.render("auditd_t", True))
    assert judge(look(host)).status is Status.CHANGE
    assert "capability" not in look(host).source


def test_where_there_is_no_folder_yet_it_will_have_the_usual_label(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh({}))
    assert look(host).denied == tuple(f"auditd_t usr_t:{cls} {name}" for cls, name in SERVING)
    assert host.asked == []


def test_the_agents_own_module_is_enough_and_changes_nothing(dict_host: DictHost) -> None:
    """It comes and goes with each start and stop of the agent."""
    host = machine(dict_host, fresh(serving("auditd_t", "qualys_sock_dir_t")), VENDORS)
    host.write("/etc/selinux/targeted/contexts/files/file_contexts", VENDOR_CONTEXTS)
    loaded = look(host)
    found = judge(loaded)
    assert (found.status, found.changes) == (Status.OK, ())
    assert "without a module of ours" in found.summary
    assert host.asked == []  # no child where all is well
    load(host, *selinux.render("auditd_t", False))
    assert judge(look(host)).status is Status.OK
    # the agent stops: its module goes, and the folder has the usual label again
    machine(host, fresh(serving("auditd_t", "usr_t")), USR)
    del host.nodes["/etc/selinux/targeted/contexts/files/file_contexts"]
    load(host, *selinux.render("auditd_t", False))
    stopped = look(host)
    assert judge(stopped).status is Status.OK
    assert (stopped.source, stopped.marker) == (loaded.source, loaded.marker)
    assert host.asked == []


@pytest.mark.parametrize("grants", [serving("auditd_t", "usr_t"), serving("auditd_t", "qualys_sock_dir_t")])
def test_the_module_of_an_earlier_release_is_replaced_whoever_grants_the_access(
    dict_host: DictHost, grants: Grants
) -> None:
    host = machine(dict_host, fresh(grants), USR if ("auditd_t", "usr_t", "dir") in grants else VENDORS)
    host.answers["restorecon"] = ""
    load(host, "(type fim_bootstrap_src_deb44326485865bd_t)", "fim_bootstrap_src_deb44326485865bd_t")
    found = judge(look(host))
    assert (found.status, found.summary) == (Status.CHANGE, "the module fim_bootstrap is stale")
    assert [type(change) for change in found.changes] == [LoadPolicy]


def test_revert_removes_what_two_releases_loaded(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh({}), USR)
    host.programs("semodule")
    load(host, *selinux.render("auditd_t", False))

    def semodule(host: DictHost, argv: tuple[str, ...]) -> int:
        assert argv[-2:] == ("-r", selinux.MODULE)
        del host.nodes[f"/var/lib/selinux/targeted/active/modules/400/{selinux.MODULE}/cil"]
        return 0

    host.answers["semodule"] = semodule
    for marker in ("fim_bootstrap_src_deb44326485865bd_t", selinux.render("auditd_t", False).marker):
        journal.record(host, "policy", module=selinux.MODULE, marker=marker, priority=["-X", "400"])
    undone, _, problems = revert.take_back(host, journal.entries(host), lambda _: None, live=False)
    assert (undone, problems, selinux.stored(host, "targeted")) == (2, [], "")


def test_ours_is_loaded_anew_where_the_kernel_has_lost_it(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh({}), USR)
    source, marker = selinux.render("auditd_t", False)
    load(host, source, marker)
    assert isinstance(host.kernel, Kernel)
    host.kernel.types.discard(marker)
    assert [type(change) for change in judge(look(host)).changes] == [ReloadPolicy]


def test_a_daemon_started_by_hand_changes_no_module(dict_host: DictHost) -> None:
    """It runs in the administrator's domain, which may do all; after the next boot it is in its own."""
    everything = serving("unconfined_t", "usr_t")
    everything["unconfined_service_t", "unconfined_t", "unix_stream_socket"] = {"connectto"}
    everything["unconfined_t", "unconfined_t", "unix_stream_socket"] = {"create", "bind", "listen", "accept"}
    host = machine(dict_host, fresh(everything), USR)
    host.kernel.types.add("unconfined_t")  # type: ignore[attr-defined]
    load(host, *selinux.render("auditd_t", False))
    state = look(host, "unconfined_u:unconfined_r:unconfined_t:s0")
    assert (state.domain, state.in_store, judge(state).status) == ("unconfined_t", True, Status.OK)


RELABEL = "Would relabel {} from {} to {}\n", "restorecon reset {} context {}->{}\n"


@pytest.mark.parametrize("said", RELABEL)
@pytest.mark.parametrize("place", [SOCK, "/var/usrlocal/qualys/cloud-agent/sock"])
def test_a_wrong_label_is_restored_and_never_granted_on(dict_host: DictHost, said: str, place: str) -> None:
    """restorecon names the path without the links that lead there."""
    tmp = "unconfined_u:object_r:tmp_t:s0"
    host = machine(dict_host, fresh({}), tmp)
    host.kernel.types.add("tmp_t")  # type: ignore[attr-defined]
    host.answers["restorecon -nRv"] = said.format(place, tmp, USR)
    state = look(host)
    assert host.asked == [f"restorecon -nRv {SOCK}"]
    assert (state.mislabelled, state.foreign) == ((SOCK,), ())
    found = judge(state)
    assert [type(change) for change in found.changes] == [LoadPolicy, RestoreLabels]
    assert "tmp_t" not in state.source
    host.kernel = fresh(serving("auditd_t", "usr_t"))
    assert [type(change) for change in judge(look(host)).changes] == [RestoreLabels]


def test_a_label_whose_module_is_gone_is_none(dict_host: DictHost) -> None:
    """The agent stopped and did not restore the label: to the kernel it is unlabelled."""
    kernel = fresh(serving("auditd_t", "usr_t"))
    kernel.types.discard("qualys_sock_dir_t")
    host = machine(dict_host, kernel, VENDORS)
    host.answers["restorecon"] = RELABEL[0].format(SOCK, VENDORS, USR)
    load(host, *selinux.render("auditd_t", False))
    state = look(host)
    assert (state.mislabelled, state.effective) == ((SOCK,), True)
    assert [type(change) for change in judge(state).changes] == [RestoreLabels]


def test_a_label_that_is_none_and_stays_is_for_a_person(dict_host: DictHost) -> None:
    kernel = fresh(serving("auditd_t", "usr_t"))
    kernel.types.discard("qualys_sock_dir_t")
    host = machine(dict_host, kernel, VENDORS)
    host.answers["restorecon"] = ""
    state = look(host)
    assert len(state.foreign) == len(SERVING)
    assert judge(state).status is Status.BLOCKED


def test_the_usual_label_may_be_wrong_by_an_expression_of_another_form(dict_host: DictHost) -> None:
    """Only where it does not do is restorecon asked what it should be."""
    host = machine(dict_host, fresh(serving("auditd_t", "qualys_sock_dir_t")), USR)
    host.write("/etc/selinux/targeted/contexts/files/file_contexts", f"/usr/local/q.*\t{VENDORS}\n")
    host.answers["restorecon"] = RELABEL[0].format(SOCK, USR, VENDORS)
    state = look(host)
    assert (state.denied, state.effective) == ((), True)
    assert judge(state).changes == (RestoreLabels((SOCK,)),)


def test_the_usual_label_is_wrong_where_the_policy_has_the_agents_own(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh({**serving("auditd_t", "usr_t"), **serving("auditd_t", "qualys_sock_dir_t")}), USR)
    load(host, *selinux.render("auditd_t", False))
    host.write("/etc/selinux/targeted/contexts/files/file_contexts", f"/usr/.*\t{USR}\n{VENDOR_CONTEXTS}")
    host.answers["restorecon"] = RELABEL[0].format(SOCK, USR, VENDORS)
    assert judge(look(host)).changes == (RestoreLabels((SOCK,)),)


def test_a_label_that_the_policy_wants_and_nobody_grants_is_for_a_person(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh(serving("auditd_t", "usr_t")), "system_u:object_r:var_t:s0")
    host.kernel.types.add("var_t")  # type: ignore[attr-defined]
    host.answers["restorecon"] = ""
    state = look(host)
    assert (state.denied, state.mislabelled) == ((), ())
    found = judge(state)
    assert (found.status, found.changes) == (Status.BLOCKED, ())
    assert f"semanage fcontext -a -t usr_t '{SOCK}(/.*)?'" in found.remedy
    assert "the kernel denies auditd_t var_t:dir add_name" in found.evidence


def test_a_file_with_another_type_is_restored_only_where_the_policy_says_so(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh(serving("auditd_t", "usr_t")), USR)
    plugin = f"{HOME}/bin/edr-plugin"
    host.write(plugin, context="system_u:object_r:tmp_t:s0")
    expected = {plugin: "bin_t", "/none": "bin_t"}
    daemon = Process(500, 1, "auditd", 1.0, 0, AUDITD)
    host.answers["restorecon"] = RELABEL[0].format(plugin, "x:y:tmp_t:s0", "x:y:bin_t:s0")
    assert selinux.gather(host, True, 3, daemon, AGENT, expected).mislabelled == (plugin,)
    host.answers["restorecon"] = ""
    assert selinux.gather(host, True, 3, daemon, AGENT, expected).mislabelled == ()
    host.nodes[plugin].context = "system_u:object_r:bin_t:s0"
    host.asked.clear()
    assert selinux.gather(host, True, 3, daemon, AGENT, expected).mislabelled == ()
    assert host.asked == []


@pytest.mark.parametrize("kind", ["service", "running"])
@pytest.mark.parametrize(("target", "cls"), [("usr_t", "sock_file"), ("auditd_t", "unix_stream_socket")])
def test_an_agent_that_may_not_connect_is_granted_nothing(
    dict_host: DictHost, kind: str, target: str, cls: str
) -> None:
    kernel = fresh({**serving("auditd_t", "usr_t"), ("unconfined_service_t", target, cls): set()})
    host = machine(dict_host, kernel, USR)
    running = "system_u:system_r:confined_t:s0"
    kernel.types.add("confined_t")
    if kind == "running":
        kernel.allows = granted(
            {
                **serving("auditd_t", "usr_t"),
                **LISTENING,
                **CONNECTING,
                **{
                    ("confined_t", where, what): {"write", "connectto"}
                    for where, what in (("usr_t", "sock_file"), ("auditd_t", "unix_stream_socket"))
                    if (where, what) != (target, cls)
                },
            }
        )
    agent = AGENT._replace(context=running if kind == "running" else "")
    state = look(host, agent=agent)
    domain = "confined_t" if kind == "running" else "unconfined_service_t"
    assert [denied.rpartition(" ")[0] for denied in state.unconnected] == [f"{domain} {target}:{cls}"]
    found = judge(state)
    assert (found.status, found.changes) == (Status.BLOCKED, ())
    kernel.permissive = True
    assert look(host, agent=agent).unconnected == ()
    kernel.permissive = False
    del host.nodes[AGENT.program]
    assert look(host, agent=AGENT).unconnected == ()  # nothing is known of an agent that is not there


@pytest.mark.parametrize("missing", ["create", "bind", "listen", "accept"])
def test_a_plugin_that_may_not_listen_is_granted_nothing(dict_host: DictHost, missing: str) -> None:
    """Every usual base policy grants it; one without setrans was seen that does not."""
    own: Grants = {("auditd_t", "auditd_t", "unix_stream_socket"): {"create", "bind", "listen", "accept"} - {missing}}
    kernel = fresh({**serving("auditd_t", "usr_t"), **own, ("unconfined_service_t", "auditd_t", "unix_stream_socket"):
                    {"connectto"}})  # fmt: skip
    host = machine(dict_host, kernel, USR)
    found = judge(look(host))
    assert (found.status, found.changes) == (Status.BLOCKED, ())
    assert found.evidence == (f"the kernel denies auditd_t self:unix_stream_socket {missing}",)
    kernel.permissive = True
    assert judge(look(host)).status is Status.OK


def test_a_kernel_that_cannot_be_asked_is_no_kernel_that_grants(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh({}), USR)
    host.kernel = {}
    assert look(host).effective is None
    assert judge(look(host)).status is Status.CHANGE
    load(host, *selinux.render("auditd_t", False))
    assert judge(look(host)).summary.endswith("could not be asked for the access")
    del host.nodes[f"{selinux.FS}/class/sock_file/perms/unlink"]
    host.kernel = fresh(serving("auditd_t", "usr_t"))
    assert look(host).effective is None  # what is not known is not granted


def test_denials_of_another_domain_are_not_the_plugins(dict_host: DictHost) -> None:
    """Any user can run something of that name."""
    record = 'type=AVC msg=audit(5.0:1): avc:  denied  {{ write }} for pid=1 comm="edr-plugin" scontext={} tcontext=x\n'
    dict_host.write(auditd_conf.LOG, "".join(record.format(who) for who in (AUDITD, "a:b:user_t:s0", "a:b:auditd_t")))
    assert len(audit_facts.denials(dict_host, None, "auditd_t")) == 2


# ---------------------------------------------------------------------- the guard's ears


def guarded(state: SELinuxFacts, *there: str) -> tuple[Finding, Finding]:
    """What policy and guard say with --guard, with these files of ours in place."""
    host = READY._replace(selinux=state, prepared=frozenset(there), commands={**READY.commands, "systemctl": "x"})
    judged = [requirement.assess(host, Profile("x", "x"), Settings(guard=True)) for requirement in (policy, guard)]
    return judged[0], judged[1]


def test_systemd_is_let_watch_where_the_guard_is_and_the_kernel_minds(dict_host: DictHost) -> None:
    grants = serving("auditd_t", "usr_t")
    host = machine(dict_host, fresh(grants), USR)
    host.folder("/etc/audit", context="system_u:object_r:auditd_etc_t:s0")
    assert (look(host).deaf, "watch" in look(host).source) == ("", False)  # nobody asked for the guard
    deaf = look(host, guard=True)
    assert "allow init_t auditd_etc_t:dir watch;" in deaf.source
    everything = (own_files.PROGRAM, *own_files.GUARD, *own_files.GUARD_UNITS.values())
    found, guards = guarded(deaf, *everything)
    assert "the kernel denies init_t auditd_etc_t:dir watch" in found.evidence
    assert [type(change) for change in found.changes] == [LoadPolicy, RestartUnit]
    assert guards.status is Status.OK
    assert "only the timer" in guards.warnings[0]
    assert [type(change) for change in guarded(deaf)[0].changes] == [LoadPolicy]  # the unit is started after it
    # loaded: it stays as it is, and goes with the guard
    grants["init_t", "auditd_etc_t", "dir"] = {"watch"}
    host.kernel = fresh(grants)
    load(host, deaf.source, deaf.marker)
    heard = look(host, guard=True)
    assert (heard.deaf, heard.marker, heard.in_store) == ("", deaf.marker, True)
    found, guards = guarded(heard, *everything)
    assert (found.status, guards.status, guards.warnings) == (Status.OK, Status.OK, ())
    assert look(host).in_store is False
    # where the base policy grants it nothing is loaded for it
    load(host, *selinux.render("auditd_t", False))
    assert (look(host, guard=True).in_store, look(host, guard=True).deaf) == (True, "")


def test_a_kernel_without_the_permission_or_with_another_label_gets_no_grant(dict_host: DictHost) -> None:
    host = machine(dict_host, fresh(serving("auditd_t", "usr_t")), USR)
    host.kernel.types.add("etc_t")  # type: ignore[attr-defined]
    host.folder("/etc/audit", context="system_u:object_r:etc_t:s0")
    other = look(host, guard=True)
    assert (other.deaf, other.source) == ("etc_t", selinux.render("auditd_t", False).source)
    assert guarded(other)[0].changes == ()
    assert "(etc_t)" in guarded(other)[1].warnings[0]
    del host.nodes[f"{selinux.FS}/class/dir/perms/watch"]  # before Linux 5.4
    assert look(host, guard=True).deaf == ""


def test_the_path_unit_is_started_anew(dict_host: DictHost) -> None:
    dict_host.programs("systemctl")
    change = RestartUnit(own_files.GUARD_PATH)
    change.apply(dict_host, lambda *_, **__: None)
    assert dict_host.done == ["systemctl try-restart fim-bootstrap-guard.path"]


# ---------------------------------------------------------------------- the real policy


# of Debian's modules, those with the roles that base names, and the one by which auditd's domain may listen on a socket
# of its own; a rebuild with all the others takes four times as long
KEPT = {"base", "getty", "guest", "setrans", "ssh", "staff", "su", "sudo", "unconfined", "unprivuser"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of this machine's base policy without our module, which checks neverallow rules."""
    if os.geteuid() != 0 or not (POLICY.exists() and shutil.which("sesearch", path=TOOLS)):
        pytest.skip("needs root, selinux-policy-default and setools")

    def others(folder: str, names: list[str]) -> set[str]:
        wanted = {"modules": {"100"}, "100": KEPT}.get(Path(folder).name, set(names))
        return set(names) - wanted

    shutil.copytree("/etc/selinux", tmp_path / "etc/selinux")
    shutil.copytree("/var/lib/selinux", tmp_path / "var/lib/selinux", ignore=others)
    (tmp_path / "etc/selinux/semanage.conf").write_text("module-store = direct\nexpand-check = 1\n")
    base = tmp_path / "var/lib/selinux/default/active/modules/100/base/cil"
    text = base.read_bytes()
    text = bz2.decompress(text) if text.startswith(b"BZh") else text
    base.write_bytes(re.sub(rb"(?m)^\(selinuxuser \w+ xdm .*\n", b"", text))  # whose module is left out
    built = semodule(tmp_path, "-B")
    assert built.returncode == 0, built.stderr
    return tmp_path


def rules(store: Path) -> set[tuple[str, str]]:
    """The allow rules of the store's binary policy, one for each permission."""
    listed = subprocess.run(
        ["sesearch", "-A", str(store / POLICY.relative_to("/"))], check=True, capture_output=True, text=True
    )
    found = (re.match(r"allow (\S+ \S+) (?:\{ (.*) \}|(\w+));(.*)", line) for line in listed.stdout.splitlines())
    return {(f"{one[1]}{one[4]}", name) for one in found if one for name in (one[2] or one[3]).split()}


def semodule(store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Put modules into the store (-i), take them out (-r), or build its policy (-B)."""
    priority = [] if "-B" in words else ["-X", "400"]
    argv = ["semodule", "-p", str(store), "-s", "default", "-n", *priority, *words]
    return subprocess.run(argv, capture_output=True, text=True, env={"PATH": TOOLS}, check=False)


OURS = {(f"auditd_t usr_t:{cls}", name) for cls, name in SERVING} | {("auditd_t auditd_t:capability", "dac_override")}
OF_BASE = {("auditd_t usr_t:dir", "search")}  # which every domain may


def test_ours_and_the_agents_module_load_in_both_orders_and_either_goes(store: Path) -> None:
    """And ours grants what is written and nothing else, under the policy's own neverallow rules."""
    ours = build(store, selinux.render("auditd_t", True, watch=True).source)
    watching = {("init_t auditd_etc_t:dir", "watch")}
    vendors = build(store, VENDOR.format(domain="auditd_t"), VENDOR_CONTEXTS)
    contexts = store / "etc/selinux/default/contexts/files/file_contexts"
    theirs = {(f"auditd_t qualys_sock_dir_t:{cls}", name) for cls, name in SERVING}

    def after(*words: str) -> set[tuple[str, str]]:
        done = semodule(store, *words)
        assert done.returncode == 0, done.stderr
        return rules(store)

    base = rules(store)
    one = after("-i", str(ours))
    assert base - one == set()
    assert one - base == (OURS - OF_BASE) | watching
    (store / "etc/selinux/semanage.conf").write_text("module-store = direct\n")  # the rest is about the loading
    both = after("-i", str(vendors))
    assert OURS | theirs <= both | OF_BASE
    assert VENDOR_CONTEXTS.strip() in contexts.read_text()
    assert after("-r", "fim_bootstrap") >= theirs
    assert after("-i", str(ours)) == both
    assert after("-r", "vendor_shape") == one
    assert "qualys" not in contexts.read_text()


def by_the_real_policy(policy_file: Path) -> Callable[[str, str, str], set[str]]:
    """The access vectors that libsepol computes of a binary policy, constraints and all (checkpolicy -d)."""

    def allows(source: str, target: str, cls: str) -> set[str]:
        first = 28  # the first number that is free after the initial contexts
        second = first if source == target else first + 1
        said = subprocess.run(
            ["checkpolicy", "-M", "-b", "-d", str(policy_file)], capture_output=True, text=True, check=False,
            input=f"2\n{source}\n2\n{target}\n0\n{first}\n{second}\n{cls}\nq\n", env={"PATH": TOOLS},
        )  # fmt: skip
        assert f"sid {first}\n" in said.stdout, said.stdout
        found = re.search(r"allowed \{(.*?)\}", said.stdout)
        assert found, said.stdout
        return set(found[1].split())

    return allows


def variants(*lacking: tuple[str, str]) -> str:
    """A module with a domain for each of these permissions, which is granted all the others: t0_t, t1_t ..."""
    lines = ["module variants 1.0;", "require {", "attribute domain;", "role system_r;", "type usr_t;",
             "class dir { search write add_name remove_name };", "class sock_file { create unlink };",
             "class capability dac_override;", "}"]  # fmt: skip
    for number, missing in enumerate(lacking):
        lines += [f"type t{number}_t, domain;", f"role system_r types t{number}_t;"]
        lines += [f"allow t{number}_t {'self' if (cls, name) == OVERRIDE else 'usr_t'}:{cls} {name};"
                  for cls, name in (*SERVING, OVERRIDE) if (cls, name) != missing]  # fmt: skip
    return "\n".join([*lines, ""])


def test_each_permission_of_the_module_is_needed_by_the_real_policy(dict_host: DictHost, store: Path) -> None:
    """What ours grants is all, and a domain that lacks any of it is found out: by libsepol, on Debian's policy."""
    lacking = [*SERVING[1:], OVERRIDE]  # every domain may search usr_t
    packages = build(store, selinux.render("auditd_t", True).source), build(store, variants(*lacking))
    done = semodule(store, "-i", str(packages[0]), "-i", str(packages[1]))
    assert done.returncode == 0, done.stderr
    allows = by_the_real_policy(store / POLICY.relative_to("/"))
    domains = {f"t{number}_t" for number in range(len(lacking))}
    host = machine(dict_host, Kernel(allows, {*TYPES, *domains, "initrc_t"}), USR, owner=1000)
    agent = AGENT._replace(context="system_u:system_r:initrc_t:s0")  # a service, in the reference policy
    state = look(host, agent=agent)
    assert (state.denied, state.unconnected, state.effective) == ((), (), True)
    for number, (cls, name) in enumerate(lacking):
        target = "self" if (cls, name) == OVERRIDE else "usr_t"
        state = look(host, f"system_u:system_r:t{number}_t:s0", agent=agent)
        assert state.denied == (f"t{number}_t {target}:{cls} {name}",)


def test_a_module_that_breaks_a_neverallow_rule_would_be_refused(store: Path) -> None:
    """Which shows that the store of the tests above looks at them."""
    package = build(store, "module fim_bootstrap 1.0;\nrequire { type auditd_t, shadow_t; class file read; }\n"
                           "allow auditd_t shadow_t:file read;\n")  # fmt: skip
    done = semodule(store, "-i", str(package))
    assert done.returncode != 0
    assert "neverallow" in done.stderr


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (bz2.compress(b"(type marker_t)"), True),
        (bz2.compress(b"(type other_t)"), False),
        (bz2.compress(b"(type marker_t)")[:-5], False),
        (bz2.compress(bytes(LARGEST + 1)), False),
        (b"BZh9" + bytes(99), False),
        (b"(type marker_t)", True),
    ],
    ids=["ours", "another", "cut off", "a bomb", "rubbish", "not packed"],
)
def test_a_stored_module_is_unpacked_up_to_a_limit(content: bytes, seen: bool) -> None:
    """What is damaged or too large is none of ours, and is built anew."""
    host = DictHost()
    host.nodes["/m/cil"] = Node(content)
    assert selinux._holds(selinux._held(host, "/m"), Module("", "marker_t")) is seen
