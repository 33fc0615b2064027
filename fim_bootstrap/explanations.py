"""One page for each requirement: why it is asked for, what is looked at, what changes, what does not, the way back.

For somebody who has this file alone at three in the morning, and is asked why a line that CIS demands may go. A page
is printed as it stands here; docs/requirements.md is made from the same text. Commands are indented by four blanks.
"""

from __future__ import annotations

from .agent.vendor import (
    CONF,
    DISPATCHER_KEY,
    EDR,
    LOG,
    LOG_FOLDER,
    PLUGIN,
    SCRIPT,
    SCRIPT_LOG,
    SERVICE,
    SOCKET_FOLDER,
    USE_DISPATCHER,
)
from .facts.selinux import MODULE
from .requirements import REQUIREMENTS

PACKAGES = f"""\
Why
  FIM gets its events from auditd. The agent's script {SCRIPT}
  also calls auditctl, service, which, pidof, pkill and, where SELinux is on,
  checkmodule, semodule_package, semodule and restorecon. Where one is missing
  it gives up, or never restarts auditd, without a word on the screen.
What is looked at
  Whether each command is there, in sbin or bin of /usr/local, /usr and /. A
  package that was only half installed counts as missing. Which package has a
  command on this release stands in its profile: fim-bootstrap profiles.
What apply does
  Installs what is missing in one transaction of the release's own package
  manager, and looks again. It waits for a package manager that is at work
  (--lock-timeout) and for a network that is not there yet.
What it cannot do
  Install from a repository that this host does not have. It removes no package
  to make room, and installs no SELinux policy where there is none.
Whom to ask first
  Who answers for packages on this host. Installing audit starts auditd, which
  writes to /var/log/audit.
By hand
    fim-bootstrap profiles --resolve
  It names the packages of this release, and whether they can be had.
Take back
    fim-bootstrap revert --packages
  Without --packages they stay. What another package needs stays in any case.
Leave out
    --no-install
  The packages are named, and the run is blocked (exit 4).
"""

DISPATCHER = f"""\
Why
  auditd hands events on through its dispatcher, and {PLUGIN} is started by
  that. The vendor asks for the line `dispatcher = /sbin/audispd` in
  auditd.conf. In audit 2 that line starts the dispatcher; audit 3 and 4
  dispatch by themselves, and ignore the line with a warning.
What is looked at
  /etc/audit/auditd.conf, as auditd reads it; /sbin/audispd, with its owner and
  mode, in audit 2; and the folder of plugins, with the agent's plugin file.
What apply does
  Writes the line. The real auditd is asked first whether it takes the new file:
  one that it refuses is never put there. In audit 2 auditd is restarted for it,
  in audit 3 and 4 it is not.
What it cannot do
  Mend another line that auditd refuses: it is named with its number. It takes
  no other product's dispatcher away.
Whom to ask first
  In audit 2, who answers for this host's audit log: it has a gap of a second
  while auditd restarts.
By hand
    grep -n dispatcher /etc/audit/auditd.conf
    ls -l /sbin/audispd /etc/audit/plugins.d /etc/audisp/plugins.d
Take back
    fim-bootstrap revert
  Each file is as it was, where nobody has edited it since.
Leave out
    --dispatcher-line auto
  The line is left out where audit ignores it.
"""

RULES = """\
Why
  FIM is audit rules. The agent adds its own when it starts. With `-e 2` the
  kernel refuses new rules until the next boot, and the agent gives up. With `-a
  never,task` new processes are not audited, so that nothing they do is seen.
  Other rules may leave FIM no event, too (`-a always,exclude -F msgtype>0`).
What is looked at
  /etc/audit/audit.rules, /etc/audit/rules.d/*.rules as augenrules joins them,
  and the kernel (auditctl -s, auditctl -l).
What apply does
  Comments the lines that freeze or silence out, each with a note of its own,
  and deletes never,task from the kernel. No other rule is touched; -f 2 stays.
  A rule of yours that leaves FIM no event is named, and blocks.
What it cannot do
  Thaw a kernel that is frozen (enabled 2): reboot. fim-bootstrap
  reboot-required tells whether that is due. Processes that started under
  never,task stay unaudited until they start anew.
Whom to ask first
  Who answers for compliance: CIS (Level 2), STIG, PCI-DSS and HIPAA profiles
  ask for -e 2. Record the exception (fim-bootstrap exception), and have FIM
  watch /etc/audit instead, as the vendor advises. Who runs Ansible, Puppet or a
  hardening role: it may write the line again, so change it there.
By hand
    grep -rnE -- '-e *2|never,task|task,never' /etc/audit
    auditctl -s | grep enabled
  enabled 0 is off, 1 on, 2 frozen.
Take back
    fim-bootstrap revert
  Each line is as it was, where nobody has edited it since. A kernel that was
  thawed by a reboot is frozen again by the next one.
Leave out
    --skip rules
  The verdict is then: ready as far as looked at.
"""

POLICY = f"""\
Why
  {PLUGIN} runs in the dispatcher's SELinux domain and makes its socket in
  {SOCKET_FOLDER}, where {EDR} connects to it. Base
  policies deny it that. The agent loads a module of its own when it starts, but
  not on every system.
What is looked at
  What the running kernel allows (/sys/fs/selinux), whoever granted it; the
  module store; the labels of the agent's folder; denials of the plugin in the
  audit log.
What apply does
  Where the access is denied it builds the module {MODULE} with this host's
  checkmodule and loads it. The module grants the plugin what it needs for a
  socket in that folder, and, for the guard, systemd a watch on /etc/audit;
  nothing else. Labels that differ from the policy's are restored.
What it cannot do
  Turn SELinux off or to permissive, install a base policy, grant anything on a
  label that the policy does not have for that folder, or undo what a constraint
  (MLS) forbids.
Whom to ask first
  Who answers for SELinux on this host. Loading takes up to a minute, in which
  no other semodule may run.
By hand
    ausearch -m avc -c {PLUGIN}
    semodule -l | grep {MODULE}
    ls -ldZ {SOCKET_FOLDER}
Take back
    fim-bootstrap revert
  The module {MODULE} is taken out. The agent's own module is not touched.
Leave out
    --skip policy
"""

GUARD = """\
Why
  A rule file that is written anew, or an auditd that somebody stops, ends FIM
  without a word. The vendor says: "If auditd is stopped externally, the FIM
  module does not receive any events".
What is looked at
  Whether the units fim-bootstrap-guard.service, .path and .timer are there as
  they were shipped, and enabled.
What apply does
  With --guard: puts them there, and the binary to /usr/local/sbin. They run
  check at boot, every 15 minutes and after each change of /etc/audit or auditd.
  A host that is not ready then has a failed unit, with one line in the journal.
What it cannot do
  Mend anything: it only looks. It sees rules that are changed in the kernel
  alone at the next quarter of an hour.
Whom to ask first
  Who watches failed units on this host.
By hand
    systemctl status fim-bootstrap-guard.timer fim-bootstrap-guard.path
    journalctl -u fim-bootstrap-guard -n 5
Take back
    fim-bootstrap revert
  The units are removed.
Leave out
  It is left out unless --guard asks for it.
"""

AUDITD = f"""\
Why
  Without auditd no event is handed on. Its restart matters, too: the agent
  restarts it by `service auditd restart` at each of its own starts. With
  {DISPATCHER_KEY}=0 the agent works without auditd, which then has to be
  stopped.
What is looked at
  Its process, its unit, when it started and when its configuration last
  changed; whether the kernel sends to it; what would keep it from starting (a
  mask, a missing folder, a full disk); whether it can be restarted.
What apply does
  Enables it, and restarts it where it is older than its configuration: once,
  and only after the real auditd was asked whether it takes that. One that would
  not come up again is left running.
What it cannot do
  Stop auditd without being told so: that ends this host's audit log, and takes
  --mode direct. It takes the audit connection away from no other product.
Whom to ask first
  Who answers for this host's audit log: a restart leaves a gap of a second or
  two in it.
By hand
    systemctl status auditd
    auditctl -s
    service auditd restart
Take back
    fim-bootstrap revert
  It is restarted with the files of before; one that was stopped is started.
Leave out
    --skip auditd
"""

AGENT = f"""\
Why
  {EDR} is the agent's FIM part. It runs as root, and {PLUGIN} is a child
  of the dispatcher. It gives up where it finds the host unfit, and tells why in
  {LOG_FOLDER}/{SCRIPT_LOG} alone.
What is looked at
  Its processes, {CONF} (three keys,
  none of which is a secret), the plugin file, and the last lines of its logs.
  An agent that is starting is not judged: apply waits for it, and so does check
  --wait.
What apply does
  Restarts {SERVICE} where what it gave up for is over, or where the
  kernel has lost its rules. A healthy agent is never restarted, nor one that
  would give up again.
What it cannot do
  Install, activate or update the agent, or assign it a FIM profile: that is
  done in the vendor's console.
Whom to ask first
  Who answers for this host's audit log: each start of the agent's FIM part
  rebuilds the SELinux policy and restarts auditd.
By hand
    tail {LOG_FOLDER}/{SCRIPT_LOG} {LOG_FOLDER}/{LOG}
    systemctl restart {SERVICE}
    {USE_DISPATCHER}
  The last one has it use the dispatcher, and restarts it.
Take back
  There is nothing to take back.
Leave out
    --skip agent
  A host without an agent is no failure: it is made ready before it.
"""

DELIVERY = f"""\
Why
  That all parts are there does not show that they work together. Only an event
  that is caused, and seen to arrive, does.
What is looked at
  With --probe: one harmless audit message with a random mark, followed from hop
  to hop: kernel, auditd, dispatcher, {PLUGIN}, {EDR}, and the agent's
  log.
What apply does
  Nothing: it sends the message (auditctl -m) and waits for at most 10 seconds.
What it cannot do
  Prove an arrival where the agent does not log what it gets: then the answer is
  `not proven`, and a watched file that is changed shows it in the vendor's
  console. It sends nothing where failure is 2, since an audit failure would
  panic that kernel.
Whom to ask first
  Nobody: the message stands in the audit log, and nowhere else.
By hand
    auditctl -m hello
    ausearch -m USER -ts recent
Take back
  There is nothing to take back.
Leave out
  It is left out unless --probe asks for it.
"""

PAGES = {
    "packages": PACKAGES,
    "dispatcher": DISPATCHER,
    "rules": RULES,
    "policy": POLICY,
    "guard": GUARD,
    "auditd": AUDITD,
    "agent": AGENT,
    "delivery": DELIVERY,
}
TITLES = {requirement.ID: requirement.TITLE for requirement in REQUIREMENTS}


def index() -> str:
    """`explain`: each requirement in one sentence."""
    rows = (f"  {name:11} {title}" for name, title in TITLES.items())
    return "\n".join(("What is required of a host", *rows, "", "  fim-bootstrap explain ID    why, and what changes"))


def page(name: str) -> str:
    """`explain ID`: the whole page."""
    return f"{name}: {TITLES[name]}\n\n{PAGES[name].rstrip()}"


def requirements_page() -> str:
    """docs/requirements.md."""
    parts = ["# What is required of a host, and why", "",
             "Made from the text of `fim-bootstrap explain ID` by `make table`.", ""]  # fmt: skip
    for name, title in TITLES.items():
        parts += [f"## `{name}`: {title}", "", *_markdown(PAGES[name]), ""]
    return "\n".join(parts).rstrip() + "\n"


def _markdown(text: str) -> list[str]:
    """The page with its headings in bold, its commands as code."""
    lines: list[str] = []
    for line in text.splitlines():
        command = line.startswith("    ")
        if not line.startswith(" "):
            lines += ["", f"**{line}**", ""]
        elif command and lines[-1] and not lines[-1].startswith("    "):
            lines += ["", line]
        elif not command and lines[-1].startswith("    "):
            lines += ["", line.strip()]
        else:
            lines.append(line if command else line.strip())
    return lines[1:]
