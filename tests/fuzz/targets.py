"""Every parser of the project, each with what must hold of it whatever it is given."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Optional

from fim_bootstrap import engine, option_table, options, profiles, report, screen
from fim_bootstrap.agent import vendor
from fim_bootstrap.audit import auditctl, auditd_conf, rule_origin, rules_d
from fim_bootstrap.changes import journal, merge
from fim_bootstrap.errors import BadConfig, BootstrapError, Unsupported
from fim_bootstrap.facts import audit, gather, system
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.host.reader import LIMIT, File, Output, Stat
from fim_bootstrap.layout import Style
from fim_bootstrap.managers import lock, lookup, rows
from fim_bootstrap.managers.diagnosis import trouble, why
from fim_bootstrap.model import OsRelease, Profile, Settings
from fim_bootstrap.redact import redact
from fim_bootstrap.resources import profile_folder
from tests.conftest import AUDITD_CONF, DEBIAN_12, PROGRAMS, RULES
from tests.fuzz import inputs
from tests.fuzz.agreement import encoded

NOTE = "fim-bootstrap: note"
STATUS = "enabled 1\nfailure 1\npid 700\nrate_limit 0\nbacklog_limit 8192\nlost 0\nloginuid_immutable 0 unlocked\n"
LISTING = (
    "-a never,task\n"
    "-w /etc/passwd -p wa -k id\n"
    "No rules\n"
    "LIST_RULES: task,never\n"
    "AUDIT_STATUS: enabled=2 flag=1 pid=3\n"
)
AGENT = (
    "ActivationId=12345678-1234-1234-1234-123456789012\n"
    "UseAuditDispatcher=1\n"
    "LogFileDir=/var/log/qualys\n"
    "UseAuditDispatcher=0\n"
)
PLUGIN = (
    "active = yes\ndirection = out\npath = /usr/local/qualys/cloud-agent/bin/edr-plugin\ntype = always\nargs = a b\n"
)
TOML = (
    '[debian-99]\ntitle = "x"\nids = ["debian"]\nversions = ["99"]\naudit = 3\n[debian-99.packages]\nauditd = ["a"]\n'
)
OPTION_FILE = 'lock-timeout = 5\nonly = ["rules"]\nmode = "auto"\nno-install = true\n'
STEP = (
    '{"id": "1", "time": "2026", "kind": "edit", "path": "/etc/audit/audit.rules", "before": "a", "after": "b",'
    ' "mtime": 1.5}\n'
)
SCRIPT_LOG = "2026-11-27 08:12:04 audit is immutable\n2026-11-27 08:12:04 exit 205\n"
STEPS = STEP + (
    '{"undone": "1"}\n{"id": "2", "kind": "install", "packages": ["auditd"], "boot": "b", "manager": "apt"}\n'
)
APT = "auditd:\n  Installed: (none)\n  Candidate: 1:3.0.9-1\n  Version table:\n     1:3.0.9-1 500\n"
DNF = (
    "Name         : audit\n"
    "audit.x86_64   3.1.5-1.el9   baseos\n"
    "audit-3.1.5-1.el9.x86_64\n"
    '<solvable status="x" name="audit" kind="package"/>\n'
)
LOCKS = "1: POSIX  ADVISORY  WRITE 4711 fe:00:131 0 EOF\n2: -> POSIX ADVISORY WRITE 12 fe:00:131 0 EOF\n"
STAT = "700 (auditd) S 1 700 700 0 -1 4194560 90 0 0 0 3 1 0 0 16 -4 2 0 1234 0 0\n"
MOUNTS = "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
SECRETS = 'https://user:pa@ss@proxy:80/ CustomerId=12345678 ActivationId: "x" qualys_https_proxy=http://a:b@c\n'
WORDS = ("2", "-1", "enabled", "=", "{", "}", "[", "]", '"', "'", "null", "true", "1e999", "nan", "\\u0000",
         "auditd", "(", ")", "undone", "id", "packages", "٣", "²", "<", "&", "WRITE", "/", "..", "$(x)", "`", "%s",
         "{}", "99999999999999999999")  # fmt: skip


def maker(seed: int, *seeds: str) -> inputs.Maker:
    """Broken variants of a few texts."""
    return inputs.Maker(seed, [line for text in seeds for line in text.splitlines()], WORDS, seeds)


class Tree:
    """A host that is nothing but a table of files and answers."""

    root = "/"

    def __init__(self, files: Mapping[str, str], answers: Mapping[str, str]) -> None:
        self.files, self.answers = files, answers

    def read(self, path: str, limit: int = LIMIT) -> Optional[File]:
        return File(path, self.files[path], 1.0) if path in self.files else None

    def read_bytes(self, path: str) -> Optional[bytes]:
        return self.files[path].encode("utf-8", "surrogateescape") if path in self.files else None

    def tail(self, path: str, size: int) -> bytes:
        return (self.read_bytes(path) or b"")[-size:]

    def holds(self, path: str, mark: bytes) -> bool:
        return mark in (self.read_bytes(path) or b"")

    def stat(self, path: str) -> Optional[Stat]:
        there = path in self.files or any(name.startswith(f"{path}/") for name in self.files)
        return Stat(path, 0o100755, 0, 1.0, 5, "", False, "fe:00:131") if there else None

    def real(self, path: str) -> str:
        return path

    def link(self, path: str) -> str:
        """No file here is a link."""
        return ""

    def glob(self, pattern: str) -> Sequence[str]:
        folder, name = pattern.rsplit("/", 1)
        if name.startswith("[0-9]"):
            return ["/proc/700"]
        return sorted(path for path in self.files if path.startswith(f"{folder}/") and path.endswith(name.lstrip("*")))

    def which(self, command: str) -> str:
        return f"/usr/sbin/{command}" if command in (*PROGRAMS, "apt-get", "rpm") else ""

    def ask(self, path: str, question: str) -> Optional[str]:
        return self.answers.get("ask", "")

    def query(self, *commands: Sequence[str], timeout: float = 30) -> Sequence[Output]:
        return [Output(tuple(argv), 0, self.answers.get(argv[-1], self.answers["any"])) for argv in commands]


def unblocked(text: str) -> str:
    """audit.rules after the edit."""
    return rules_d.unblocked((File(audit.AUDIT_RULES, text),), NOTE)[0]


def rules(text: str) -> None:
    """Lines joined are the file; an edit unblocks, is final, and leaves what it does not touch."""
    found = auditctl.parse(text)
    assert encoded("".join(rule.text for rule in found)) == encoded(text)
    edited = unblocked(text)
    assert unblocked(edited) == edited
    assert not [rule for rule in auditctl.parse(edited) if rule.blocks]
    touched = [rule for rule in found if rule.blocks]
    assert bool(touched) == (edited != text)
    position = 0
    for rule in (rule for rule in found if rule not in touched):
        position = encoded(edited).index(encoded(rule.text), position) + len(encoded(rule.text))


def joined(files: Sequence[File]) -> None:
    """An edit of rules.d unblocks under every release, is final, and leaves the lines that it does not touch."""
    edited = tuple(file._replace(text=text) for file, text in zip(files, rules_d.unblocked(tuple(files), NOTE)))
    found = rules_d.blocking(files, rules_d.Joins())
    assert bool(found) == (edited != tuple(files))
    assert not rules_d.blocking(edited, rules_d.Joins())
    assert rules_d.unblocked(edited, NOTE) == tuple(file.text for file in edited)
    for before, after in zip(files, edited):
        assert after.text.endswith("\n") or not before.text.endswith("\n")


def conf(text: str) -> None:
    """Lines joined are the file; the edit puts the line in force, once, and leaves the rest."""
    assert "".join(line.text for line in auditd_conf.parse(text)) == text
    for generation in (2, 3):
        auditd_conf.faults(text, generation)
    try:
        edited = auditd_conf.with_dispatcher(text)
    except ValueError:
        return
    assert auditd_conf.with_dispatcher(edited) == edited
    assert auditd_conf.dispatcher_of(edited).endswith("audispd")
    position = 0
    for line in auditd_conf.parse(text):
        if "dispatcher" not in line.text.lower() and line.text.endswith("\n"):
            position = edited.index(line.text, position) + len(line.text)


def printed(text: str) -> None:
    """What auditctl prints."""
    assert all(isinstance(value, int) for value in auditctl.parse_status(text).values())
    auditctl.parse_listing(text)


def toml(text: str, file: Path) -> None:
    """A profile or option file: taken, or refused with the file's name."""
    file.write_bytes(text.encode("utf-8", "surrogatepass" if "\ud7ff" in text else "surrogateescape"))
    for read in (lambda: profiles.load([str(file.parent)]), lambda: _options(str(file))):
        try:
            read()
        except BadConfig:
            continue


def _options(path: str) -> None:
    _, table = options._option_file(path)
    for option in option_table.OPTIONS:
        if option.name in table:
            options._checked(path, table[option.name], option)


def history(text: str, other: str) -> None:
    """A journal that was damaged: what can be read is read, and can be used."""
    steps, _ = journal._read(File("journal", text))
    journal.effective_since(steps, File("/etc/audit/audit.rules", other))
    assert all(isinstance(gather._staged(step, "b"), bool) for step in steps)
    [list(step.get("packages", ())) for step in steps]


def merged(before: str, after: str, now: str) -> None:
    """Taking a change back is exact where nothing else was edited."""
    merge.taken_back(before, after, now)
    merge.standing(before, after, now)
    assert merge.taken_back(before, after, after) in (before, None)


def said(text: str) -> None:
    """What a package manager says."""
    host = Tree({"/var/lib/dpkg/lock": "", "/proc/locks": text}, {"any": ""})
    for manager in rows.MANAGERS.values():
        answers = [Output(("x",), 0, text), Output(("x",), 1, "", text)]
        lookup.heard(manager, ["", "/usr/sbin/auditd"], answers)
        for found in (why(host, manager, OsRelease("rhel"), ["audit"], answers), trouble(host, manager, answers)):
            assert found is None or (found.what and "\n" not in found.remedy)
    lock.holder_of(host, ["/var/lib/dpkg/lock"])
    assert redact(redact(text)) == redact(text)


def host(pick: Callable[[str], str], profile: Profile) -> None:
    """A whole host made of broken files: looked at, judged and reported."""
    files = {
        auditd_conf.PATH: pick(AUDITD_CONF), audit.AUDIT_RULES: pick(RULES), vendor.CONF: pick(AGENT),
        "/etc/audit/rules.d/x.rules": pick(RULES), "/etc/audit/plugins.d/x.conf": pick(PLUGIN),
        journal.JOURNAL: pick(STEPS), "/proc/700/stat": STAT, "/proc/700/status": "Uid:\t0\t0\t0\t0\n",
        "/proc/1/comm": "systemd\n", "/proc/self/mountinfo": MOUNTS, "/proc/1/mountinfo": MOUNTS,
        "/run/systemd/system/x": "", "/proc/700/attr/current": pick("system_u:system_r:auditd_t:s0\0"),
        "/etc/selinux/config": pick("SELINUX=enforcing\nSELINUXTYPE=default\n"), "/sys/fs/selinux/enforce": pick("1"),
        "/proc/sys/kernel/random/boot_id": "b\n",
        "/var/log/qualys/edr-script.log": pick(SCRIPT_LOG),
        auditd_conf.LOG: pick('type=AVC msg=audit(1.5:7): avc:  denied comm="edr-plugin"\n'),
    }  # fmt: skip
    answers = {"-s": pick(STATUS), "-l": pick(LISTING), "any": pick("Id=auditd.service\nActiveState=active\n\nId=x\n"),
               "ask": pick("0 0 ffffffff 0 1 0")}  # fmt: skip
    settings = Settings()
    rule_origin.unexplained([pick(LISTING)], [pick(RULES)])
    try:
        found = gather.gather(Tree(files, answers), profile, settings, OsRelease("debian", "12", (), "x"))
        outcome = engine.Outcome(engine.plan(found, profile, settings), found)
        document = report.as_json("check", outcome, profile, settings, 0.1)
        json.dumps(document)
        screen.text(document, Style(80, True, True))
        assert "ActivationId=1234" not in json.dumps(document)
    except BootstrapError:
        pass


def release(text: str, folder: Path) -> None:
    """os-release, however broken, names a release or none."""
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/os-release").write_bytes(text.encode("utf-8", "replace"))
    seen = system.identify(LiveHost(str(folder)))
    try:
        profiles.select(TABLE, seen, "", lambda _: False)
    except Unsupported:
        return


TABLE = profiles.load([profile_folder()])
DEBIAN = next(profile for profile in TABLE if profile.id == "debian-12")


def all_of(seed: int, folder: Path) -> dict[str, Callable[[], None]]:
    """One call of each makes an input and tries it; files go below the folder."""
    draw = random.Random(seed)
    rule, settings, texts = inputs.rules(seed), inputs.confs(seed), maker(seed, TOML, OPTION_FILE)
    log, talk, shown = maker(seed, STEPS), maker(seed, APT, DNF, LOCKS, SECRETS), maker(seed, STATUS, LISTING)
    systems = maker(seed, DEBIAN_12)
    drop_ins = folder / "profiles"
    drop_ins.mkdir(exist_ok=True)

    def broken(text: str) -> str:
        return text if draw.random() < 0.5 else maker(draw.getrandbits(32), text).text()

    def three() -> None:
        before = rule.text()
        merged(before, unblocked(before), rule.text())

    return {
        "audit.rules": lambda: rules(rule.text()),
        "rules.d": lambda: joined(rule.folder()),
        "auditd.conf": lambda: conf(settings.text()),
        "auditctl -s, -l": lambda: printed(shown.text()),
        "TOML profiles and options": lambda: toml(texts.text(), drop_ins / "x.toml"),
        "journal": lambda: history(log.text(), "x"),
        "merge": three,
        "package managers' words": lambda: said(talk.text()),
        "os-release": lambda: release(systems.text(), folder),
        "a whole host, to its report": lambda: host(broken, DEBIAN),
    }
