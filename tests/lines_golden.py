"""What auditctl and auditd make of lines, as far as it is known here. `make golden` writes it to tests/golden/lines.

What the real ones do with such lines `make test-fuzz` and the guests see.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fim_bootstrap.audit import silence
from fim_bootstrap.audit.auditctl import Rule, parse
from fim_bootstrap.audit.auditd_conf import dialect, dispatcher_of, faults, lasting_faults, log_of, with_dispatcher
from fim_bootstrap.audit.auditd_conf import parse as parse_conf
from fim_bootstrap.audit.fields import meaning
from tests.conftest import AUDITD_CONF
from tests.test_auditd_conf import AUDIT_3, AUDIT_4_2
from tests.test_silence import NOTHING, PART, TOTAL

NOTHING_SAID = "    nothing that concerns FIM\n"
PROGRAMS = {"3.0.9": AUDIT_3, "4.2": AUDIT_4_2}
FOLDER = Path(__file__).parent / "golden/lines"
LINES = (
    "-D", "-D -k x", "-D -k", "-D x", "-D -k x y", "-D -e 1", "-Da", "-l", "-l -k x", "-l x", "-l -e 1", "-s", "-s -i",
    "-s -i x", "-s x", "-m text", "-m a b", "-m", "-R f", "-i", "-c", "-i x", "-c -e 2", "-v", "-v x", "-b 8192",
    "-b x", "-b 1x", "-b 123456789012345678901", "-b 023456789012345678901", "-r -5", "-e 0", "-e 1", "-e 2", "-e2",
    "-e 3", "-e", "-e 2 -e 1", "-f 0", "-f 2", "-f x", "-t", "-z", "--x", "-", "--", "-- x", "x", "#-e 2", " # x",
    "-e 2 # x", "-a always,exit -a always,exit", "-d never,task", "-a always,possible", "-a possible,exit -S all",
    "-a exit,always -S open", "-a x,y", "-a task,always -S open", "-a task,always", "-a always,exit,x", "-a always",
    "-a never,task", "-a task,never", "-A never,task", "-a never,task -F uid=0", "-a never,task -e 2",
    "-a never,task x", "-w /x -p wa -k", "-w /x -p wa -k y", "-w /x -p y", "-w x", "-w /x/ -p rwxa", "-w /x -S open",
    "-W /x", "-w /x -w /y", "-w /..", "-w /x -F uid=0", "-w /x -k a -k b", "-p wa", "-k x", "-S open", "-F uid=0",
    "-C uid!=euid", "-a always,exit -S open -S",
    "-a always,exit -S open,close -F auid>=1000 -F auid!=unset -F auid!=4294967295 -k x",
    "-a always,exit -F arch=b64 -S open", "-a always,exit -S open -F arch=b64", "-a always,exit -F arch=b16 -S open",
    "-a always,exit -S nosuch", "-a always,exit -S 5", "-a always,exit -S 99999", "-a always,exit -F nosuch=1",
    "-a always,exit -F uid", "-a always,exit -F uid=", "-a always,exit -F uid=nobody-here", "-a always,exit -F gid=0",
    "-a always,exit -F sessionid=unset", "-a always,exit -F sessionid=4294967295", "-a always,exit -F exit=-EACCES",
    "-a always,exit -F exit=-13", "-a always,exit -F exit=EACCES", "-a always,exit -F success=1",
    "-a always,exit -F a0=5", "-a always,exit -F a0=0x5", "-a always,exit -F perm=aw", "-a always,exit -F perm=z",
    "-a always,exit -F path=/x", "-a always,exit -F path=x", "-a always,exit -F dir=/x/ -F perm=wa",
    "-a always,exit -F key=a -k b", "-a always,exit -F filetype=file", "-a always,exit -F filetype=x",
    "-a always,exit -F devmajor=1 -F inode=2", "-a always,exit -C uid!=euid -C euid!=uid", "-a always,exit -C uid!=x",
    "-a always,exit -F subj_type=x_t", "-a always,exclude -F msgtype=CWD", "-a always,exclude -F msgtype=nosuch",
    "-a always,exclude -S open", "-a always,user -F uid=0", "-a always,filesystem -F fstype=debugfs",
    "--backlog_wait_time 5", "--backlog_wait_time", "--back 5", "--loginuid-immutable", "--loginuid-immutable=1",
    "--signal stop", "--reset-lost", "--interpret", "-w /a\\ b", "-e 2\r", "-e\t2", "\t-e 2", " -e 2", "-k x -w /y",
    "-w /x -F path=/y", "-a always,exit -F exe=/x",
)  # fmt: skip


def files() -> dict[Path, str]:
    """Each golden file, and what stands in it."""
    return {FOLDER / "rules.txt": _rules(), FOLDER / "auditd.conf.txt": _conf()}


def _rules() -> str:
    lines = dict.fromkeys((*LINES, *TOTAL, *(line for line, _ in PART), *NOTHING))
    read = ((line, rule) for line in lines for rule in parse(f"{line}\n"))
    return "".join(f"{line!r}\n{''.join(_of_rule(rule)) or NOTHING_SAID}" for line, rule in read)


def _of_rule(rule: Rule) -> Iterator[str]:
    plain = Rule(rule.number, rule.text)
    for name in sorted({*rule._fields} - {"text", "number"}):
        if getattr(rule, name) != getattr(plain, name):
            yield f"    {name}: {getattr(rule, name)!r}\n"
    if rule.adds:
        told = [sorted(part) if isinstance(part, frozenset) else part for part in meaning(rule.adds)]
        yield f"    meaning: {told!r}\n"
    if silent := silence.of(rule):
        yield f"    silences {'all' if silent[0] else 'a part'}: {silent[1]}\n"


# behind a whole auditd.conf; the last one is read as it stands
SETTINGS = (
    "", "# dispatcher = /sbin/audispd", "#dispatcher = /sbin/audispd", "dispatcher = /sbin/audispd",
    "dispatcher = /usr/sbin/audispd", "dispatcher = /opt/other", "dispatcher=/sbin/audispd",
    "Dispatcher: /sbin/audispd", "dispatcher /sbin/audispd", "dispatcher = /sbin/audispd # x",
    " dispatcher = /sbin/audispd", "dispatcher\t= /sbin/audispd", "dispatcher = /sbin/audispd\r",
    "dispatcher = /sbin/audispd\0", "dispatchers = x", "freq = 0", "freq = x", "freq = ²", "freq = -1",
    "freq = 2147483648", "flush = none", "flush = data", "flush = x", "space_left = 25%", "space_left = 100%",
    "space_left = 50", "space_left = 49", "space_left = 99999999999999999999", "admin_space_left = 75",
    "admin_space_left = 74", "admin_space_left = 1%", "space_left = x", "space_left = %", "space_left_action = halt",
    "space_left_action = email", "space_left_action = exec /x y z", "space_left_action = exec x",
    "space_left_action = exec", "admin_space_left_action = halt", "disk_full_action = email",
    "disk_full_action = exec /x", "disk_error_action = x", "max_log_file_action = keep_logs", "max_log_file = 0",
    "num_logs = 999", "num_logs = 1000", "priority_boost = 0", "name_format = hostname", "log_format = raw",
    "log_format = NOLOG", "write_logs = no", "write_logs = maybe", "local_events = no", "log_group = root",
    "log_group = two words", "log_file = /x", "log_file = /var/log/audit.log", "log_file = audit.log",
    "log_file = /var/x", "log_file =", "log_file", "log_file /x", "log_file = a b", "bogus = 1", "tls_cert_file = /x",
    "tls_x = 1", "q_depth = 0", "q_depth = 99999", "q_depth = 100000", "report_interval = 60", "report_interval = 1d",
    "report_interval = 40d", "report_interval = 41d", "report_interval = 1w", "report_interval = 1M",
    "tcp_client_ports = 1024-65535", "tcp_client_ports = 5-1", "tcp_client_ports = 65536", "tcp_client_ports = 1-2-3",
    "tcp_client_ports = x", "action_mail_acct = root", "action_mail_acct = a@b", "action_mail_acct = a@b.c",
    "action_mail_acct = x", "action_mail_acct = a+b@c.d", "verify_email = no", "plugin_dir = /etc/x",
    "enable_krb5 = no", "a" * 160, "# " + "a" * 160, "freq = 5\0", "\ufefffreq = 5", "use_libwrap = yes",
    "end_of_event_timeout = 2", "overflow_action = syslog", "max_restarts = 10", "krb5_principal = a b", "freq  =  5",
    "FREQ = 5", "freq = 5 6",
)  # fmt: skip
RELEASES = {"audit 3": (3, frozenset[str]()), "audit 2": (2, frozenset[str]())}
RELEASES |= {f"audit {name}": (3, dialect(program, AUDITD_CONF)) for name, program in PROGRAMS.items()}


def _conf() -> str:
    return "".join(f"{line!r}\n{''.join(_of_setting(line))}" for line in SETTINGS)


def _of_setting(line: str) -> Iterator[str]:
    text = f"{AUDITD_CONF}{line}\n" if line else AUDITD_CONF
    yield f"    dispatcher {dispatcher_of(text)!r}, log {log_of(text)!r}\n"
    yield from (f"    passed over: line {one.number}: {one.problem}\n" for one in parse_conf(text) if one.problem)
    for name, (generation, known) in RELEASES.items():
        for fault in faults(text, generation, known):
            yield f"    {name}: line {fault.number}: {fault.problem}\n"
    try:
        edited = with_dispatcher(text)
    except ValueError as error:
        yield f"    {error}\n"
        return
    added = edited.removeprefix(AUDITD_CONF)
    yield f"    with the dispatcher: {added!r}\n"
    yield from (f"    and: line {f.number}: {f.problem}\n" for f in lasting_faults(text, 3) if f not in faults(text, 3))
    yield f"    without a newline: {with_dispatcher(text[:-1]).removeprefix(AUDITD_CONF)!r}\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
