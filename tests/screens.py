"""Screens: facts of hosts, what `check` and `apply` print of them, and the pages of `help` and `explain`.

`make golden` writes tests/golden/screens. Read them before they are committed: they are what a person sees.
NAME.txt is what a pipe gets, NAME.json the report behind it, NAME.tty a terminal of 80 columns, in which \\e stands
for the escape character of its colours.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fim_bootstrap import engine, explanations, manual, report, screen
from fim_bootstrap.again import Again
from fim_bootstrap.changes.packages import InstallPackages
from fim_bootstrap.changes.policy import LoadPolicy
from fim_bootstrap.commands import NAMES
from fim_bootstrap.engine import Failure, Outcome
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.facts.commands import AGENT_COMMANDS, AUDIT_COMMANDS, SELINUX_COMMANDS
from fim_bootstrap.host.reader import File
from fim_bootstrap.layout import PLAIN, Style
from fim_bootstrap.managers.lookup import Order
from fim_bootstrap.managers.rows import MANAGERS
from fim_bootstrap.model import (
    AgentFacts,
    Delivery,
    Environment,
    Facts,
    Hop,
    OsRelease,
    Process,
    Service,
    Settings,
    Status,
    Verdict,
)
from fim_bootstrap.requirements import IDS
from tests.test_requirements import CONF, HINDERED, PROFILE, READY, STATUS

FOLDER = Path(__file__).parent / "golden/screens"
TTY = Style(80, True)
NOW = 1_795_767_124.0  # 2026-11-27 08:12:04 UTC
HOST = READY._replace(
    os=OsRelease("rocky", "9.4", (), "Rocky Linux 9.4 (Blue Onyx)"), now=NOW, today="2026-11-27",
    versions=dict.fromkeys(("agent", "audit", "kernel", "tool"), ""),
    agent=READY.agent._replace(log_written=NOW - 4),
)  # fmt: skip
PACKAGES = {**dict.fromkeys(AUDIT_COMMANDS, ("audit",)), **dict.fromkeys(SELINUX_COMMANDS, ("policycoreutils",))}
EL9 = PROFILE._replace(id="el9", title="EL 9", managers=("dnf",), packages={**PROFILE.packages, **PACKAGES})
GAVE_UP = Verdict(205, "08:12:04 ERROR audit is immutable, giving up", NOW - 10)
FROZEN_AGENT = HOST.agent._replace(edr=None, plugin=None, verdict=GAVE_UP, main=Process(600, 1, "qualys-cloud-ag", 1.0))
LOCK = File("/etc/audit/rules.d/99-finalize.rules", "# the last file\n-e 2\n")
JOINED = File("/etc/audit/audit.rules", "-D\n-b 8192\n-f 1\n-e 2\n")
FROZEN = HOST.audit._replace(status={**STATUS, "enabled": 2, "lost": 1204}, rules=(JOINED, LOCK))
DENIED = HOST.selinux._replace(
    in_store=False, module_present=False, in_kernel=False, in_policy=False, effective=False,
    denied=("auditd_t usr_t:sock_file write", "auditd_t usr_t:dir add_name"),
)  # fmt: skip
WITHOUT_AUDIT = HOST._replace(
    manager="dnf", commands=dict.fromkeys(AGENT_COMMANDS, "/bin/x"), audit=HOST.audit._replace(
        generation=0, conf=None, rules=(LOCK,), daemon=None, status=None, live_rules=None, service=Service("auditd")),
    selinux=DENIED, agent=AgentFacts(),
)  # fmt: skip
DIRECT = HOST.agent._replace(
    dispatcher_setting="0", plugin=None, setting_line="/etc/qualys/cloud-agent/qualys-cloud-agent.conf:7"
)
ROOT = Again()
USER = Again(sudo=True)
TYPED = Again(options=(("root", ("--root", "/srv/my tree")), ("skip", ("--skip", "agent"))), sudo=True)
MARK = "fim-bootstrap-1f2e3d4c5b6a7988"
HOSTILE = "\x1b[2J\x1b]0;owned\x07READY " + "x" * 300


class Screen(NamedTuple):
    """One run: the command, the facts that it ends with, and what is particular about it."""

    host: Facts
    command: str = "check"
    settings: Mapping[str, Any] = {}
    again: Again = ROOT
    change: Callable[[Outcome], Outcome] = lambda outcome: outcome
    verbose: bool = False

    def document(self) -> dict[str, Any]:
        """The report."""
        settings = Settings(**self.settings)
        outcome = self.change(Outcome(engine.plan(self.host, EL9, settings), self.host))
        return report.as_json(self.command, outcome, EL9, settings, 0.9, self.again)


def _probed(*hops: Hop) -> Facts:
    return HOST._replace(delivery=Delivery(hops))


def _done(outcome: Outcome) -> Outcome:
    """A run that installed packages and loaded the module."""
    order = Order(MANAGERS["dnf"], EL9, {"auditctl": ("audit",), "checkmodule": ("checkpolicy",)}, 300.0)
    return outcome._replace(done=(InstallPackages(order, ""), LoadPolicy("", "fim_bootstrap_src_deb44326_t", True)))


def _failed(outcome: Outcome) -> Outcome:
    """A run whose second change failed."""
    error = BootstrapError("checkmodule failed with exit status 1: unknown type usr_t", "tail -n 40 /var/log/x.log")
    said = {"status": Status.FAILED, "summary": str(error), "remedy": error.remedy, "changes": ()}
    findings = tuple(f._replace(**said) if f.id == "policy" else f for f in outcome.findings)  # type: ignore[arg-type]
    return _done(outcome)._replace(findings=findings, done=_done(outcome).done[:1],
                                   failures=(Failure("policy", error),))  # fmt: skip


SENT = Hop("kernel", "ok", f"it took the mark {MARK}")
SEEN = Hop("auditd", "ok", "the mark is in /var/log/audit/audit.log")
UNTOLD = (Hop("dispatcher", "?", "plugins in /etc/audit/plugins.d"),
          Hop("edr-plugin", "?", "pid 602; no byte was counted, and recv(2) is not"))  # fmt: skip
SCREENS: Mapping[str, Screen] = {
    "broken": Screen(HOST._replace(audit=FROZEN, selinux=DENIED, agent=FROZEN_AGENT)),
    "broken-verbose": Screen(HOST._replace(audit=FROZEN, selinux=DENIED, agent=FROZEN_AGENT), verbose=True),
    "fresh": Screen(WITHOUT_AUDIT),
    "ready": Screen(HOST),
    "ready-verbose": Screen(HOST, verbose=True),
    "ready-warned": Screen(HOST._replace(audit=HOST.audit._replace(status={**STATUS, "backlog_limit": 320}))),
    "ready-without-agent": Screen(HOST._replace(agent=AgentFacts())),
    "left-out": Screen(HOST, settings={"skip": ("rules", "policy")}),
    "not-known": Screen(
        HOST._replace(privileged=False, unseen=("the kernel's audit state (auditctl needs root)",),
                      unknown=frozenset(("rules", "auditd"))), again=TYPED),
    "user-sees-enough": Screen(HOST._replace(audit=HOST.audit._replace(rules=(LOCK,))), again=TYPED),
    "after-reboot": Screen(HOST._replace(audit=HOST.audit._replace(status={**STATUS, "enabled": 2}))),
    "starting": Screen(HOST._replace(agent=HOST.agent._replace(
        edr=None, plugin=None, sign="/var/log/qualys/edr-script.log", sign_at=NOW - 12))),
    "blocked": Screen(HOST._replace(agent=DIRECT)),
    "blocked-apply": Screen(HOST._replace(agent=DIRECT, audit=HOST.audit._replace(rules=(LOCK,))), "apply"),
    "worst-first": Screen(HOST._replace(audit=HOST.audit._replace(rules=(LOCK,), obstacles=(HINDERED,)))),
    "hostile": Screen(HOST._replace(
        hostname=f"web{HOSTILE}", os=OsRelease("rocky", "9", (), HOSTILE),
        audit=HOST.audit._replace(rules=(File("/etc/audit/rules.d/x.rules", f"-e 2 # {HOSTILE}\n"),)))),
    "image": Screen(HOST._replace(environment=Environment.OFFLINE, root="/mnt/image",
                                  audit=HOST.audit._replace(conf=File(CONF, "local_events = yes\n"), daemon=None)),
                    settings={"root": "/mnt/image"}, again=Again(options=(("root", ("--root", "/mnt/image")),))),
    "applied": Screen(HOST, "apply", change=_done),
    "nothing-to-do": Screen(HOST, "apply"),
    "failed": Screen(HOST._replace(audit=HOST.audit._replace(daemon=None), selinux=DENIED), "apply", again=TYPED,
                     change=_failed),
    "arrived": Screen(_probed(SENT, SEEN, Hop("dispatcher", "ok", "passed"), Hop("edr-plugin", "ok", "passed"),
                              Hop("qualys-edr", "ok", "passed"),
                              Hop("edr.log", "ok", "the mark is in /var/log/qualys/edr.log")),
                      settings={"probe": True}),
    "stopped": Screen(_probed(SENT, SEEN, *UNTOLD,
                              Hop("qualys-edr", "stop", "not connected to the plugin's socket"),
                              Hop("edr.log", "?", "the mark is not there; agents need not log it")),
                      settings={"probe": True}),
    "not-proven": Screen(_probed(SENT, SEEN, *UNTOLD, Hop("qualys-edr", "?", "pid 601; no byte was counted"),
                                 Hop("edr.log", "?", "the mark is not there; agents need not log it")),
                         settings={"probe": True}),
    "probe-refused": Screen(HOST._replace(delivery=Delivery(refused="no event is caused while failure is 2")),
                            settings={"probe": True}),
}  # fmt: skip
REPORTS = ("broken", "fresh", "failed", "arrived", "left-out", "not-known", "image")


def shown(name: str, style: Style) -> str:
    """The screen, with the escape character spelled out."""
    told = screen.text(SCREENS[name].document(), style._replace(verbose=SCREENS[name].verbose))
    return re.sub("\x1b", r"\\e", told) + "\n"


def files() -> dict[Path, str]:
    """Each golden file, and what stands in it."""
    styles = (("txt", PLAIN), ("tty", TTY))
    screens = {f"{name}.{end}": shown(name, style) for name in SCREENS for end, style in styles}
    return {FOLDER / name: text for name, text in {**screens, **_reports(), **_pages()}.items()}


def _reports() -> dict[str, str]:
    """Some of the reports behind the screens, without the moment and the release by which they were made."""
    masked = {"time": "NOW", "tool": {"name": "fim-bootstrap", "version": "VERSION"}}
    documents = {name: {**SCREENS[name].document(), **masked} for name in REPORTS}
    return {f"{name}.json": json.dumps(document, indent=1) + "\n" for name, document in documents.items()}


def _pages() -> dict[str, str]:
    """What `help` and `explain` print."""
    helps = {f"help-{name}.txt": manual.page(name) for name in NAMES}
    explained = {f"explain-{name}.txt": explanations.page(name) for name in IDS}
    return {"help.txt": manual.index(), "explain.txt": explanations.index(), **helps, **explained}


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
