"""What keeps auditd from starting, or from being heard, in files that no other requirement looks at.

A boot command line (boot_line.py), units (units.py), a configuration that is not root's, a log that cannot be written,
or has too little space, rules that switch auditing off. In a tree that is not running all but the space is known
before its first boot.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence

from ..host.reader import File, Reader, Stat, read_together
from ..model import Obstacle
from . import auditctl, auditd_conf, boot_line, rules_d, units
from .rules_d import Joins, Judged

FULL = 5 * 4096  # bytes; auditd takes less than five blocks for a full disk


def gather(
    host: Reader, live: bool, conf: File | None, rules: tuple[File, ...], joins: Joins, started: float = 0.0
) -> tuple[Obstacle, ...]:
    """All of them; a file that is not there hinders nobody. `started`: when an auditd that runs was (epoch), or 0."""
    lines, proven = _loaded(rules, joins), bool(started) and all(file.mtime < started for file in rules)
    requires = units.requires_rules(host)
    found = [
        *boot_line.look(host, live),
        *units.masked(host, ("auditd.service", *([units.RULES_UNIT] if requires else []))),
        *units.look(host),
        *_disabling(lines),
        *(_refused(lines, proven) if requires else ()),
        *(_in_conf(host, conf, live) if conf and not conf.problem else ()),
    ]
    return tuple(dict.fromkeys(found))


def _loaded(rules: tuple[File, ...], joins: Joins) -> list[Judged]:
    """The lines that auditctl gets at the next start; audit.rules is made from the others, where there are any."""
    own = tuple(file for file in rules if file.path.startswith(f"{rules_d.FOLDER}/"))
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
            why = f"auditctl refuses this rule, and auditd.service requires {units.RULES_UNIT}"
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
    if not live:  # else auditd itself is asked
        yield from _log_group(host, values)
        yield from _programs(host, values)


def _log(host: Reader, values: Mapping[str, auditd_conf.Line], live: bool) -> Iterator[Obstacle]:
    line = values.get("log_file")
    path = line.value if line else auditd_conf.LOG
    folder = path.rpartition("/")[0]
    found, there = host.stat(folder), host.stat(path)
    if line and (folder == "/dev" or (there and not stat.S_ISREG(there.mode))):
        where = f"{auditd_conf.PATH}:{line.number}: {line.text.strip()}"
        yield Obstacle(where, "the audit log is no regular file, so auditd would not start", "name a file")
        return
    if found and not stat.S_ISDIR(found.mode):
        yield Obstacle(folder, "the folder of the audit log is none", f"mkdir -m 0700 {folder}")
        return
    if found and found.read_only and live:
        yield Obstacle(folder, "the folder of the audit log is read-only", f"have {folder} mounted writable")
    elif found and live and found.free >= 0 and _writes(values):
        yield from _space(folder, found, values)
    made = rf"(?m)^[ \t]*[dDvqQ]\S*[ \t]+{re.escape(folder)}/?(?:\s|$)"
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
    name = re.escape(line.value)
    files = [file for path in ("/etc/group", "/usr/lib/group", "/lib/group") if (file := host.read(path))]
    there = any(re.search(rf"(?m)^{name}:", file.text) for file in files)
    if not there and not _declared(host, "sysusers.d", rf"(?m)^[ \t]*[ug]\S*[ \t]+{name}\s"):
        where = f"{auditd_conf.PATH}:{line.number}: {line.text.strip()}"
        yield Obstacle(where, "no such group in this tree: auditd would not start", "add the group", certain=False)


def _programs(host: Reader, values: Mapping[str, auditd_conf.Line]) -> Iterator[Obstacle]:
    """What auditd is to execute has to be there, and root's (check_exe_name)."""
    for line in (values[key] for key in auditd_conf.MAY_EXEC if key in values):
        words = line.text.split()
        if line.value.lower() == "exec" and len(words) > 3:
            found = host.stat(words[3])
            if found is None or not stat.S_ISREG(found.mode) or found.uid:
                what = f"{words[3]} is {'no program of root' if found else 'missing'}"
                where = f"{auditd_conf.PATH}:{line.number}: {line.text.strip()}"
                yield Obstacle(where, f"{what}, so auditd would not start", f"mend {auditd_conf.PATH}")


def _declared(host: Reader, kind: str, pattern: str) -> bool:
    folders = ("/etc", "/run", "/usr/lib", "/lib")
    paths = (path for folder in folders for path in host.glob(f"{folder}/{kind}/*.conf"))
    return any(re.search(pattern, file.text) for file in read_together(host, paths))
