"""The SELinux policy module of this tool, and what the store and the kernel make of it.

What is asked for is the kernel's answer for the domain that the agent's plugin runs in, on the label that the folder
of its socket has now: whose module grants it does not matter, and the agent loads and unloads one of its own as it
starts and stops. Of ours four independent probes say whether it is there: the module store, the policy file, a type
in the kernel, and the access decision. None of them starts a process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from ..host.reader import Reader
from ..model import Process, SELinuxFacts
from ..resources import text_of

FS = "/sys/fs/selinux"
STORES = ("/var/lib/selinux", "/etc/selinux")  # the module store; since and before SELinux userspace 2.4
CONFIG = "/etc/selinux/config"
MODULE = "fim_bootstrap"
PRIORITY = "400"
LARGEST = 1 << 20  # bytes of a stored module that are looked at; ours has 2 KiB
WATCHED, WATCHED_TYPE = "/etc/audit", "auditd_etc_t"  # what the guard has systemd watch
SOCKET_TYPE = "usr_t"  # what every base policy gives to the folder
DISPATCHER_TYPE = {2: "audisp_t", 3: "auditd_t"}
INIT_CONTEXT = "system_u:system_r:init_t"
SPACES = " \t\n\v\f\r"  # isspace(3) in the C locale
CONTROLS = "".join(map(chr, (*range(32), 127)))  # iscntrl(3)
TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
# what the plugin does in the folder of its socket; base policies grant the rest of what it needs (execution, and
# listening on its own socket, which is asked for and never granted). The old socket is still there at a restart, so
# taking away is as needed as making
SERVING = {"dir": ("search", "write", "add_name", "remove_name"), "sock_file": ("create", "unlink")}
OVERRIDE = {"capability": ("dac_override",)}
LISTENING = {"unix_stream_socket": ("create", "bind", "listen", "accept")}
# what restorecon -nv says of a file; the second form is that of SELinux userspace before 2.6
RELABEL = r"(?:Would relabel (\S+) from \S+ to|restorecon reset (\S+) context \S+->)\s*(\S+)"


class Agent(NamedTuple):
    """Of the agent: the program of its main process, the folder of the socket, the context of what connects to it."""

    program: str
    folder: str
    context: str = ""


class Module(NamedTuple):
    """A module as it is rendered, and the marker type that it declares."""

    source: str
    marker: str


def render(dispatcher: str, override: bool, watch: bool = False) -> Module:
    """The module for a dispatcher's domain.

    `override` says that the agent's folders are another user's, `watch` that systemd has to be let watch for the guard.
    """
    from string import Template  # where there is SELinux alone

    if not TYPE_NAME.match(dispatcher):
        raise ValueError(f"not an SELinux type name: {dispatcher!r}")
    parts = {"socket": True, "override": override, "watch": watch}
    texts = [text_of(f"policy/{part}.te") for part, wanted in parts.items() if wanted]
    grants = "".join(Template(text).substitute(dispatcher=dispatcher) for text in texts)
    head = text_of("policy/module.te")
    marker = f"{MODULE}_src_{hashlib.sha256((head + grants).encode()).hexdigest()[:16]}_t"
    return Module(Template(head).substitute(marker=marker) + grants, marker)


def type_of(context: str) -> str:
    """The type of a context (user:role:type:level), or ''."""
    fields = context.split(":")
    return fields[2] if len(fields) > 2 and TYPE_NAME.match(fields[2]) else ""


def gather(
    host: Reader, live: bool, generation: int, dispatcher: Optional[Process], agent: Agent,
    expected: Mapping[str, str] = {}, guard: bool = False,
) -> SELinuxFacts:  # fmt: skip
    """Look at SELinux; `live` says that the running kernel is this tree's own, `guard` that the guard is there or due.

    `expected` has the types that paths have in every policy known; restorecon decides about one that has another.
    """
    config = _config(host)
    kind = config.type
    folder = f"/etc/selinux/{kind}"
    policies = [path for path in host.glob(f"{folder}/policy/policy.[0-9]*") if path.rpartition(".")[2].isdecimal()]
    if live:
        enforce = host.read(f"{FS}/enforce")
        loaded = enforce is not None and host.read(f"{FS}/policyvers") is not None
        mode = {"1": "enforcing", "0": "permissive"}.get(enforce.text.strip(), "disabled") if enforce else "absent"
        mode = mode if loaded or mode == "absent" else "disabled"
    else:
        loaded = False
        mode = config.mode if policies else "absent"
    if mode in ("absent", "disabled"):
        return SELinuxFacts(mode=mode, type=kind, policy_present=bool(policies), unread=config.problem)

    mls = (_flag(host, f"{FS}/mls") if live else host.read(f"{folder}/setrans.conf") is not None) or False
    level = ":s0" if mls else ""
    usual = DISPATCHER_TYPE[generation]
    context = dispatcher.context if dispatcher and type_of(dispatcher.context) else f"system_u:system_r:{usual}{level}"
    override = _of_another_user(host, agent)
    types = {agent.folder: _type_by_path(host, f"{folder}/contexts/files", agent.folder), **expected}
    asked = _Kernel(host, context, level, agent, override, types) if loaded else None
    answers = asked.answers() if asked else _Answers()
    deaf = asked.deaf() if asked and guard else ""

    roots = [f"{store}/{kind}/active/modules" for store in STORES]
    module = stored(host, kind)
    held = _held(host, module)
    # a daemon that an administrator started by hand runs in his domain, for which nothing has to be granted; and the
    # capability may be granted by the agent's own module
    domains, capability = dict.fromkeys((type_of(context), usual)), dict.fromkeys((override, False))
    watching = (render(domain, own, True) for domain in domains for own in (False, True))
    watch = guard and (deaf == WATCHED_TYPE or any(_holds(held, module) for module in watching))
    modules = [render(domain, own, watch) for own in capability for domain in domains]
    kept = [module for module in modules if _holds(held, module)]
    wanted = kept[0] if kept and answers.effective else modules[0]
    facts = SELinuxFacts(
        deaf=deaf,
        mode=mode,
        type=kind,
        policy_present=bool(policies),
        unread=config.problem,
        read_only=next((p for p in (*STORES[:1], folder) if (found := host.stat(p)) and found.read_only), ""),
        load_locked=bool(live and _flag(host, f"{FS}/booleans/secure_mode_policyload")),
        marker=wanted.marker,
        source=wanted.source,
        module_present=bool(module),
        module_disabled=any(host.stat(f"{root}/disabled/{MODULE}") for root in roots),
        in_store=None if held is None else _holds(held, wanted),
        in_policy=bool(policies) and host.holds(max(policies, key=_number), wanted.marker.encode()),
    )
    if not loaded:
        return facts
    kernel = host.ask(f"{FS}/context", f"system_u:object_r:{wanted.marker}{level}")
    return facts._replace(in_kernel=None if kernel is None else bool(kernel), **answers._asdict())


def _of_another_user(host: Reader, agent: Agent) -> bool:
    folders = (agent.folder, agent.program.rpartition("/")[0])
    return any(found.uid != 0 for folder in folders if (found := host.stat(folder)))


class _Answers(NamedTuple):
    """What the kernel says about the plugin and the agent; SELinuxFacts has the same names."""

    domain: str = ""
    folder: str = ""
    denied: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unconnected: tuple[str, ...] = ()
    effective: Optional[bool] = None
    mislabelled: tuple[str, ...] = ()


class _Decision(NamedTuple):
    """The kernel's decision on one permission; `permissive`: it would only be logged."""

    cls: str
    permission: str
    allowed: bool
    permissive: bool


class _Kernel:
    """The questions to a kernel that has a policy loaded."""

    def __init__(
        self, host: Reader, context: str, level: str, agent: Agent, override: bool, types: Mapping[str, str]
    ) -> None:
        self.host, self.context, self.level, self.agent = host, context, level, agent
        self.override, self.types = override, types

    def answers(self) -> _Answers:
        """What is granted, on the label that the socket's folder has, or is to get where it has a wrong one."""
        folder = self.host.stat(self.agent.folder)
        unlabelled = f"system_u:object_r:{SOCKET_TYPE}{self.level}"
        label = folder.context if folder and folder.context else unlabelled
        serving = self._ask(self.context, label, SERVING)
        denied_there = not all(one.allowed for one in serving)
        labels = {path: found.context for path in self.types if (found := self.host.stat(path)) and found.context}
        suspects = [path for path, now in labels.items()
                    if type_of(now) != self.types[path] or (path == self.agent.folder and denied_there)]  # fmt: skip
        right = self._right(suspects)
        if self.agent.folder in right:
            label = right[self.agent.folder]
            serving = self._ask(self.context, label, SERVING)
        own = self._ask(self.context, self.context, OVERRIDE) if self.override else []
        domain, target = type_of(self.context), type_of(label) or label
        denied = [f"{domain} {target}:{one.cls} {one.permission}" for one in serving if not one.allowed]
        ours = denied if target == SOCKET_TYPE else []
        ours = [*ours, *(f"{domain} self:{one.cls} {one.permission}" for one in own if not one.allowed)]
        foreign = denied if target != SOCKET_TYPE else []
        known = [*serving, *own]
        complete = len(known) == sum(len(names) for names in SERVING.values()) + bool(self.override)
        return _Answers(
            domain, self.agent.folder, tuple(ours), tuple(foreign), tuple(self._unconnected(label)),
            False if ours or foreign else complete or None,
            tuple(path for path in suspects if path in right),
        )  # fmt: skip

    def deaf(self) -> str:
        """The type of auditd's folder, where systemd may not watch it; '' where it may, or no kernel would mind."""
        folder = self.host.stat(WATCHED)
        label = folder.context if folder else ""
        asked = self._ask(f"{INIT_CONTEXT}{self.level}", label, {"dir": ("watch",)}) if label else []
        return type_of(label) if any(not one.allowed for one in asked) else ""

    def _unconnected(self, label: str) -> Iterable[str]:
        """What keeps the plugin from listening, and the agent from connecting: of none that is not installed."""
        yield from self._forbidden(self.context, self.context, LISTENING)
        context = self.agent.context or self._service_context()
        if type_of(context):
            yield from self._forbidden(context, label, {"sock_file": ("write",)})
            yield from self._forbidden(context, self.context, {"unix_stream_socket": ("connectto",)})

    def _forbidden(self, source: str, target: str, wanted: Mapping[str, Sequence[str]]) -> Iterable[str]:
        """What the kernel would stop; what it would only log is left out."""
        shown = "self" if source == target else type_of(target)
        for one in self._ask(source, target, wanted):
            if not (one.allowed or one.permissive):
                yield f"{type_of(source)} {shown}:{one.cls} {one.permission}"

    def _service_context(self) -> str:
        """The context that systemd's child would get when it executes the agent (/sys/fs/selinux/create)."""
        found = self.host.stat(self.agent.program)
        index = self.host.read(f"{FS}/class/process/index")
        if not (found and found.context and index):
            return ""
        question = f"{INIT_CONTEXT}{self.level} {found.context} {index.text.strip()}"
        return self.host.ask(f"{FS}/create", question) or ""

    def _ask(self, source: str, target: str, wanted: Mapping[str, Sequence[str]]) -> list[_Decision]:
        """The kernel's decisions, those alone that were to be had."""
        found = []
        for cls, permissions in wanted.items():
            index = self.host.read(f"{FS}/class/{cls}/index")
            if index is None:
                continue
            answer = self.host.ask(f"{FS}/access", f"{source} {target} {index.text.strip()} ffffffff")
            fields = (answer or "").split()
            if answer == "" and self.host.ask(f"{FS}/context", target) == "":
                fields = ["0"] * 6  # a label whose type went with the module that had it: to the kernel it is none
            if len(fields) < 5:
                continue
            allowed, permissive = int(fields[0], 16), len(fields) > 5 and bool(int(fields[5]) & 1)
            for permission in permissions:
                number = self.host.read(f"{FS}/class/{cls}/perms/{permission}")
                if number:
                    bit = 1 << (int(number.text) - 1)
                    found.append(_Decision(cls, permission, bool(allowed & bit), permissive))
        return found

    def _right(self, paths: Sequence[str]) -> dict[str, str]:
        """The contexts that the loaded policy gives to those of the paths that have another type."""
        if not paths:
            return {}
        said = self.host.query(("restorecon", "-nRv", *paths))[0].stdout
        right: dict[str, str] = {}
        for found in re.finditer(RELABEL, said):
            name = (found[1] or found[2]).rpartition("/")[2]  # restorecon names the path without links
            for path in paths:
                if path.rpartition("/")[2] == name:
                    right.setdefault(path, found[3])
        return right


def _type_by_path(host: Reader, folder: str, path: str) -> str:
    """The type that the policy has for this very path, else the one of every folder below /usr.

    It is a guess, which saves a healthy host from starting restorecon: where the label is another, that decides.
    """
    found = SOCKET_TYPE
    for name in ("file_contexts", "file_contexts.local"):
        content = host.read_bytes(f"{folder}/{name}") or b""
        lines = re.findall(rb"^" + re.escape(path.encode()) + rb"\W*\s(?:-\S\s+)?(\S+)\s*$", content, re.MULTILINE)
        found = type_of(lines[-1].decode(errors="replace")) if lines else found
    return found


class _Config(NamedTuple):
    """/etc/selinux/config: what init loads at boot; why it cannot be read."""

    mode: str
    type: str
    problem: str = ""


def _config(host: Reader) -> _Config:
    """/etc/selinux/config as libselinux reads it.

    The first SELINUX= that begins a line and whose value begins with a known word counts, in any case of letters;
    where there is none, init loads the policy and is permissive. Of SELINUXTYPE= the last one counts.
    """
    file = host.read(CONFIG)
    mode, kind = "", "targeted"
    for line in (file.text if file else "").split("\n"):
        key, equals, value = line.partition("\0")[0].partition("=")
        if key == "SELINUX" and not mode:
            said = value.lstrip(SPACES).lower()
            mode = next((word for word in ("enforcing", "permissive", "disabled") if said.startswith(word)), "")
        elif equals and key.lstrip(SPACES).lower() == "selinuxtype":
            kind = value.lstrip(SPACES).rstrip(SPACES + CONTROLS)
    problem = f"{CONFIG}: {file.problem}" if file and file.problem and not file.text else ""
    return _Config(mode or "permissive", kind, problem)


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


def _held(host: Reader, module: str) -> Optional[bytes]:
    """What the store has of our module, whether compressed or not; None where it cannot be read."""
    if not module:
        return b""
    files = [module] if module.endswith(".pp") else [f"{module}/cil", f"{module}/hll"]
    parts = [content for path in files if (content := host.read_bytes(path)) is not None]
    return b"".join(_unpacked(content) for content in parts) if parts else None


def _holds(held: Optional[bytes], module: Module) -> bool:
    return held is not None and module.marker.encode() in held


def _unpacked(content: bytes) -> bytes:
    """A stored module as it was before the store packed it; nothing of a damaged one, which is built anew."""
    if content[:3] != b"BZh":
        return content
    import bz2  # only where the store packs its modules

    reader = bz2.BZ2Decompressor()
    try:
        module = reader.decompress(content, LARGEST)
    except OSError:
        return b""
    return module if reader.eof else b""
