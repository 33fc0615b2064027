"""The SELinux policy module of this tool, and what the store and the kernel make of it.

Four independent probes say whether the module is there: the module store, the policy file, a type in
the kernel, and an access decision. None of them starts a process. A module whose optional blocks were
all switched off installs without a word, so only the access decision proves that it works.
"""

from __future__ import annotations

import bz2
import hashlib
import re
from collections.abc import Sequence
from string import Template
from typing import NamedTuple, Optional

from .host import Reader
from .model import Process, SELinuxFacts
from .resources import text_of

FS = "/sys/fs/selinux"
STORES = ("/var/lib/selinux", "/etc/selinux")  # the module store; since and before SELinux userspace 2.4
MODULE = "fim_bootstrap"
PRIORITY = "400"
UNPACKED_LIMIT = 1 << 20  # bytes of a stored module; ours has 2,000
SOCKET_TYPE = "usr_t"
# a service's program in bin_t: unconfined_service_t in Fedora's policy, initrc_t in the reference policy
AGENT_TYPES = ("unconfined_service_t", "initrc_t")
DISPATCHER_TYPE = {2: "audisp_t", 3: "auditd_t"}
INIT_CONTEXT = "system_u:system_r:init_t"
TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class Access(NamedTuple):
    """One access that the dispatcher's plugin needs to hand an event over."""

    type: str
    cls: str
    permission: str


def render(dispatcher: str, agents: Sequence[str]) -> tuple[str, str]:
    """The module's source for a dispatcher domain and the domains of the agent, and its marker type."""
    for name in (dispatcher, *agents):
        if not TYPE_NAME.match(name):
            raise ValueError(f"not an SELinux type name: {name!r}")
    grants = Template(text_of("policy/socket.te")).substitute(dispatcher=dispatcher, socket=SOCKET_TYPE)
    for agent in agents:
        grants += Template(text_of("policy/agent.te")).substitute(dispatcher=dispatcher, agent=agent)
    head = text_of("policy/module.te")
    marker = f"{MODULE}_src_{hashlib.sha256((head + grants).encode()).hexdigest()[:16]}_t"
    return Template(head).substitute(marker=marker) + grants, marker


def gather(
    host: Reader, live: bool, generation: int, daemon: Optional[Process], edr: Optional[Process], program: str
) -> SELinuxFacts:
    """Look at SELinux; `live` says that the running kernel is this tree's own, `program` is the agent's."""
    config = _config(host)
    kind = config.get("SELINUXTYPE", "targeted")
    folder = f"/etc/selinux/{kind}"
    policies = [path for path in host.glob(f"{folder}/policy/policy.[0-9]*") if path.rpartition(".")[2].isdecimal()]
    if live:
        enforce = host.read(f"{FS}/enforce")
        loaded = enforce is not None and host.read(f"{FS}/policyvers") is not None
        mode = {"1": "enforcing", "0": "permissive"}.get(enforce.text.strip(), "disabled") if enforce else "absent"
        mode = mode if loaded or mode == "absent" else "disabled"
    else:
        loaded = False
        mode = config.get("SELINUX", "disabled") if policies else "absent"
    if mode in ("absent", "disabled"):
        return SELinuxFacts(mode=mode, type=kind, policy_present=bool(policies))

    mls = (_flag(host, f"{FS}/mls") if live else host.read(f"{folder}/setrans.conf") is not None) or False
    level = ":s0" if mls else ""
    dispatcher = DISPATCHER_TYPE[generation]
    agent_context = edr.context if edr and edr.context else _service_context(host, program, level) if live else ""
    agent_type = agent_context.split(":")[2] if agent_context.count(":") >= 2 else ""
    agents = AGENT_TYPES if agent_type in ("", *AGENT_TYPES) else (*AGENT_TYPES, agent_type)
    source, marker = render(dispatcher, agents)

    roots = [f"{store}/{kind}/active/modules" for store in STORES]
    module = stored(host, kind)
    facts = SELinuxFacts(
        mode=mode,
        type=kind,
        mls=mls,
        policy_present=bool(policies),
        read_only=next((p for p in (*STORES[:1], folder) if (found := host.stat(p)) and found.read_only), ""),
        load_locked=bool(live and _flag(host, f"{FS}/booleans/secure_mode_policyload")),
        marker=marker,
        source=source,
        module_present=bool(module),
        module_disabled=any(host.stat(f"{root}/disabled/{MODULE}") for root in roots),
        in_store=_in_store(host, module, marker),
        in_policy=bool(policies) and host.holds(max(policies, key=_number), marker.encode()),
    )
    if not loaded:
        return facts
    context = daemon.context if daemon and daemon.context else f"system_u:system_r:{dispatcher}{level}"
    needs = [Access(SOCKET_TYPE, "dir", "search"), Access(SOCKET_TYPE, "sock_file", "write")]
    answers = {need: _allowed(host, context, f"system_u:object_r:{need.type}{level}", need) for need in needs}
    for name in [agent_type] if agent_type else agents:
        need = Access(name, "unix_stream_socket", "connectto")
        answers[need] = _allowed(host, context, f"system_u:system_r:{name}{level}", need)
    known = {need: answer for need, answer in answers.items() if answer is not None}
    connects = [answer[0] for need, answer in known.items() if need.permission == "connectto"]
    denied = tuple(
        f"{dispatcher} {need.type}:{need.cls} {need.permission}"
        for need, answer in known.items()
        if not answer[0] and (need.permission != "connectto" or not any(connects))
    )
    kernel = host.ask(f"{FS}/context", f"system_u:object_r:{marker}{level}")
    return facts._replace(
        in_kernel=None if kernel is None else bool(kernel),
        denied=denied,
        effective=None if not connects else not denied,
        domain_permissive=any(answer[1] for answer in known.values()),
    )



def _config(host: Reader) -> dict[str, str]:
    file = host.read("/etc/selinux/config")
    pairs = (line.split("=", 1) for line in (file.text if file else "").splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs if not key.lstrip().startswith("#")}


def _flag(host: Reader, path: str) -> Optional[bool]:
    file = host.read(path)
    return None if file is None or file.problem else file.text.strip().startswith("1")


def _number(path: str) -> int:
    return int(path.rpartition(".")[2])


def stored(host: Reader, kind: str) -> str:
    """Where the store of a policy type keeps our module: a folder, or a file before priorities came; or ''."""
    places = [f"{store}/{kind}/active/modules/{PRIORITY}/{MODULE}" for store in STORES]
    places.append(f"/etc/selinux/{kind}/modules/active/modules/{MODULE}.pp")
    return next((place for place in places if host.stat(place)), "")


def _in_store(host: Reader, module: str, marker: str) -> Optional[bool]:
    """Whether the stored module is the one rendered now; None where the store cannot be read."""
    if not module:
        return False
    files = [module] if module.endswith(".pp") else [f"{module}/cil", f"{module}/hll"]
    parts = [_unpacked(content) for path in files if (content := host.read_bytes(path)) is not None]
    if any(part and marker.encode() in part for part in parts):
        return True
    return None if not parts or None in parts else False


def _unpacked(content: bytes) -> Optional[bytes]:
    """A stored module as it was before the store packed it; None where it is cut off, damaged or too large."""
    if content[:3] != b"BZh":
        return content
    reader = bz2.BZ2Decompressor()
    try:
        module = reader.decompress(content, UNPACKED_LIMIT)
    except (OSError, ValueError):
        return None
    return module if reader.eof else None


def _service_context(host: Reader, program: str, level: str) -> str:
    """The context that systemd's child would get when it executes the agent (/sys/fs/selinux/create)."""
    found = host.stat(program)
    index = host.read(f"{FS}/class/process/index")
    if not (found and found.context and index):
        return ""
    return host.ask(f"{FS}/create", f"{INIT_CONTEXT}{level} {found.context} {index.text.strip()}") or ""


def _allowed(host: Reader, source: str, target: str, need: Access) -> Optional[tuple[bool, bool]]:
    """The kernel's decision, and whether the source domain is permissive; None where it was not to be had."""
    index = host.read(f"{FS}/class/{need.cls}/index")
    permission = host.read(f"{FS}/class/{need.cls}/perms/{need.permission}")
    if not (index and permission):
        return None
    answer = host.ask(f"{FS}/access", f"{source} {target} {index.text.strip()} ffffffff")
    fields = (answer or "").split()
    if len(fields) < 5:
        return None
    bit = 1 << (int(permission.text) - 1)
    return bool(int(fields[0], 16) & bit), len(fields) > 5 and bool(int(fields[5]) & 1)
