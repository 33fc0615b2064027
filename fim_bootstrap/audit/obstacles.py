"""What keeps auditd from starting, or from being heard, in files that no other requirement looks at.

A masked unit, audit switched off on the boot command line, a unit that loads or locks rules itself, a configuration
that is not root's, a log folder that cannot be written to, or has too little space. In a tree that is not running all
but the last is known before its first boot.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence

from ..host.reader import File, Reader, Stat
from ..model import Obstacle
from . import auditctl, auditd_conf, rules_d
from .rules_d import Joins, Judged

UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
RULES_UNIT = "audit-rules.service"
SWITCHED_OFF = re.compile(r"(?<![\w.=-])audit=(?:0|off)(?![\w.-])")
# where the next boot's command line is kept: GRUB, boot loader specification, kernel-install, dracut, bootc
COMMAND_LINES = (
    "/etc/default/grub", "/etc/default/grub.d/*.cfg", "/boot/grub2/grubenv", "/boot/loader/entries/*.conf",
    "/etc/kernel/cmdline", "/etc/cmdline.d/*.conf", "/usr/lib/bootc/kargs.d/*.toml",
)  # fmt: skip
OWN_RULES = ("/etc/audit/audit.rules", "/etc/audit/rules.d/")  # the rules requirement judges these, and mends them
FULL = 5 * 4096  # bytes; auditd takes less than five blocks for a full disk
EXEC = re.compile(r"\s*Exec\w+\s*=.*\bauditctl\b")
LOADED = r"(?<!\S)-R\s*(\S+)"
LOCKS, DISABLES = r"(?<!\S)-e\s*2(?!\S)", r"(?<!\S)-e\s*0(?!\S)"


def gather(
    host: Reader, live: bool, conf: File | None, rules: Sequence[File], joins: Joins, started: float = 0.0
) -> tuple[Obstacle, ...]:
    """All of them; a file that is not there hinders nobody. `started`: when an auditd that runs was (epoch), or 0."""
    lines, proven = _loaded(rules, joins), bool(started) and all(file.mtime < started for file in rules)
    units = {name: tuple(_texts(host, name)) for name in ("auditd.service", RULES_UNIT, "augenrules.service")}
    requires = any(re.search(rf"(?m)^\s*Requires=.*\b{RULES_UNIT}", file.text) for file in units["auditd.service"])
    found = [
        *_kernel(host, live),
        *_masked(host, ("auditd.service", *([RULES_UNIT] if requires else []))),
        *(obstacle for files in units.values() for file in files for obstacle in _in_unit(host, file)),
        *_disabling(lines),
        *(_refused(lines, proven) if requires else ()),
        *(_in_conf(host, conf, live) if conf and not conf.problem else ()),
    ]
    return tuple(dict.fromkeys(found))


def _numbered(file: File) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file.text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith(("#", ";")):
            yield f"{file.path}:{number}: {line.strip()}", line


def _read(host: Reader, *patterns: str) -> Iterator[File]:
    for pattern in patterns:
        for path in host.glob(pattern) if "*" in pattern else (pattern,):
            if file := host.read(path):
                yield file


def _kernel(host: Reader, live: bool) -> Iterator[Obstacle]:
    remedy = "take it from the boot command line (grubby, update-grub, kernelstub, …), then reboot"
    if live:
        booted = host.read("/proc/cmdline")
        if booted and SWITCHED_OFF.search(booted.text):
            where = f"/proc/cmdline: {booted.text.strip()}"
            yield Obstacle(where, "this kernel was booted with auditing switched off", remedy)
        # every process has it, where the kernel was built with audit (fs/proc/base.c)
        elif host.stat("/proc/self/stat") and not host.stat("/proc/self/loginuid"):
            where = "/proc/self/loginuid is missing"
            yield Obstacle(where, "this kernel was built without audit", "boot a kernel that has it")
    for file in _read(host, *COMMAND_LINES):
        for where, line in _numbered(file):
            if SWITCHED_OFF.search(line):
                yield Obstacle(where, "auditing is switched off for the next boot", remedy, certain=not live)


def _masked(host: Reader, names: tuple[str, ...]) -> Iterator[Obstacle]:
    """To systemd an empty file is as good as a link to /dev/null (systemd.unit(5))."""
    for name in names:
        for path in (f"{folder}/{name}" for folder in UNITS[:2]):
            null = host.link(path).endswith("/dev/null")
            if null or ((found := host.stat(path)) and stat.S_ISREG(found.mode) and not found.size):
                where = f"{path} -> /dev/null" if null else f"{path} is empty"
                remedy = f"systemctl unmask {name}" if null else f"rm {path}; systemctl daemon-reload"
                yield Obstacle(where, f"{name} is masked", remedy)


def _texts(host: Reader, name: str) -> Iterator[File]:
    """A unit as systemd reads it: the first file of that name, and all drop-ins."""
    yield from [file for folder in UNITS if (file := host.read(f"{folder}/{name}"))][:1]
    seen = set()
    for file in _read(host, *(f"{folder}/{name}.d/*.conf" for folder in UNITS)):
        drop_in = file.path.rpartition("/")[2]
        if drop_in not in seen:
            yield file
        seen.add(drop_in)


def _in_unit(host: Reader, file: File) -> Iterator[Obstacle]:
    remedy = "take it out, then systemctl daemon-reload"
    for where, line in _numbered(file):
        if not EXEC.match(line):
            continue
        if re.search(LOCKS, line):
            yield Obstacle(where, "this unit freezes the audit rules each time it starts", remedy)
        if re.search(DISABLES, line):
            yield Obstacle(where, "this unit switches auditing off each time it starts", remedy)
        for path in re.findall(LOADED, line):
            other = None if path.startswith(OWN_RULES) else host.read(path)
            for rule in auditctl.parse(other.text) if other else ():
                if rule.locks or rule.never_task:
                    said = f"{where} loads {path}:{rule.number}: {rule.text.strip()}"
                    yield Obstacle(said, "this unit loads rules that freeze or silence", f"mend {path}, or {remedy}")


def _loaded(rules: Sequence[File], joins: Joins) -> list[Judged]:
    """The lines that auditctl gets at the next start; audit.rules is made from the others, where there are any."""
    own = [file for file in rules if file.path.startswith(f"{rules_d.FOLDER}/")]
    return list(rules_d.judged(own or rules, joins))


def _disabling(lines: Sequence[Judged]) -> Iterator[Obstacle]:
    """`-e 0` in the rules: the last -e counts."""
    last = next((line for line in reversed(lines) if line.rule.enables), None)
    if last and last.rule.enables == "0":
        where = f"{last.place}: {last.rule.text.strip()}"
        yield Obstacle(where, "the rules switch auditing off", "take the line out; augenrules --load")


def _refused(lines: Sequence[Judged], proven: bool) -> Iterator[Obstacle]:
    """audit 4.0 to 4.0.2: one rule that auditctl refuses, and auditd does not start (audit-userspace issue 355).

    After -i auditctl ends well whatever it refuses, but not where there is a -c, too (measured with 3.0.9 to 4.1).
    `proven` says that an auditd which runs was started with these very rules.
    """
    seen: set[str] = set()
    for line in lines:
        seen.update(name for name, _ in auditctl.options(line.rule.text))
        # what blocks is taken out by the rules requirement, at the next look
        if line.rule.aborts and not line.rule.blocks and not ("i" in seen and "c" not in seen):
            where = f"{line.place}: {line.rule.text.strip()}: {line.why}"
            why = f"auditctl refuses this rule, and auditd.service requires {RULES_UNIT}"
            yield Obstacle(where, why, f"mend {line.place}", certain=not proven)
            return


def _in_conf(host: Reader, conf: File, live: bool) -> Iterator[Obstacle]:
    found = host.stat(auditd_conf.PATH)
    values = auditd_conf.settings(auditd_conf.parse(conf.text))
    if found and (found.uid != 0 or found.mode & 0o002):
        whose = f"belongs to uid {found.uid}" if found.uid else "may be written by everybody"
        remedy = f"chown root {auditd_conf.PATH}; chmod o-w {auditd_conf.PATH}"
        yield Obstacle(f"{auditd_conf.PATH} {whose}", "auditd refuses such a file", remedy)
    if (line := values.get("local_events")) and line.value.lower() == "no":
        where = f"{auditd_conf.PATH}:{line.number}: {line.text.strip()}"
        yield Obstacle(where, "auditd does not take the events of this kernel", "set local_events = yes")
    yield from _log(host, values, live)
    if not live:
        yield from _log_group(host, values)


def _log(host: Reader, values: Mapping[str, auditd_conf.Line], live: bool) -> Iterator[Obstacle]:
    line = values.get("log_file")
    folder = (line.value if line else "/var/log/audit/audit.log").rpartition("/")[0]
    found = host.stat(folder)
    if found and found.read_only and live:
        yield Obstacle(folder, "the folder of the audit log is read-only", f"have {folder} mounted writable")
    elif found and live and found.free >= 0 and _writes(values):
        yield from _space(folder, found, values)
    made = rf"(?m)^\s*[dDvqQ]\S*\s+{re.escape(folder)}/?(?:\s|$)"
    if not found and not _declared(host, "tmpfiles.d", made):
        yield Obstacle(folder, "the folder of the audit log is missing", f"mkdir -m 0700 {folder}", certain=False)


def _writes(values: Mapping[str, auditd_conf.Line]) -> bool:
    wanted, form = values.get("write_logs"), values.get("log_format")
    return not (wanted and wanted.value.lower() == "no") and not (form and form.value.lower() == "nolog")


def _space(folder: str, found: Stat, values: Mapping[str, auditd_conf.Line]) -> Iterator[Obstacle]:
    """With its first record auditd looks at what is left, and acts: with halt or single the host is gone (measured)."""
    limits = {kind: _wanted(values.get(kind), found.whole) for kind in ("space_left", "admin_space_left")}
    reached = [kind for kind, limit in {**limits, "disk_full": FULL}.items() if found.free <= limit]
    acting = [line for kind in reached if (line := values.get(f"{kind}_action"))]
    ending = [line for line in acting if line.value.lower() in ("halt", "single")]
    remedy = f"free some space in {folder}, where {found.free >> 20} MB are left"
    if ending:
        where = f"{auditd_conf.PATH}:{ending[0].number}: {ending[0].text.strip()}"
        yield Obstacle(where, "auditd would take this host down as it starts: its log has too little space", remedy)
    elif found.free < FULL:
        yield Obstacle(folder, "the file system of the audit log is full", remedy, certain=False)


def _wanted(line: auditd_conf.Line | None, whole: int) -> int:
    """Bytes below which auditd acts: megabytes, or a part of the file system (auditd.conf(5))."""
    found = re.match(r"(\d{1,9})(%?)", line.value) if line else None
    if not found:
        return 0
    return int(found[1]) * (whole // 100 if found[2] else 1 << 20)


def _log_group(host: Reader, values: Mapping[str, auditd_conf.Line]) -> Iterator[Obstacle]:
    line = values.get("log_group")
    if line is None or line.value[:1].isdigit():
        return
    named = rf"(?m)^{re.escape(line.value)}:"
    there = any(re.search(named, file.text) for file in _read(host, "/etc/group", "/usr/lib/group", "/lib/group"))
    if not there and not _declared(host, "sysusers.d", rf"(?m)^\s*[ug]\S*\s+{re.escape(line.value)}\s"):
        where = f"{auditd_conf.PATH}:{line.number}: {line.text.strip()}"
        yield Obstacle(where, "no such group in this tree: auditd would not start", "add the group", certain=False)


def _declared(host: Reader, kind: str, pattern: str) -> bool:
    folders = ("/etc", "/run", "/usr/lib", "/lib")
    return any(re.search(pattern, file.text) for file in _read(host, *(f"{d}/{kind}/*.conf" for d in folders)))
