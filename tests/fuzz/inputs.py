"""Files that nobody would write: real lines, broken in the ways that lines get broken, and worse."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fim_bootstrap.host.reader import File
from tests.conftest import AUDITD_CONF, RULES

RULE_LINES = (
    "-e 2", "-e2", "-e 1", "-e 0", "-e 3", "-f 2", "-f 1 -e 2", "-b 8192", "-b 8192 -e2", "-r 100", "-D", "-i", "-c",
    "-s",
    "-l", "-v", "-t", "-h", "-a never,task", "-A task,never", "-a task,never", "-anever,task", "-a always,task",
    "-a never,task -F uid=0", "-a task,never -k x", "-a never,exit -S open", "-a always,exclude -F msgtype=CWD",
    "-a always,exit -F arch=b64 -S openat -F auid>=1000 -k access", "-a exit,always -S execve",
    "-a never,user -F uid=0",
    "-w /etc/passwd -p wa -k id", "-w /etc/shadow", "-W /etc/group", "-w relative -p r", "-p wa -w /x", "-k lost",
    "-a always,exit -F path=/bin/su -F perm=x -k su", "-a possible,exit", "--backlog_wait_time 60000",
    "--backlog_wait_time=5", "--backlog_wait 7", "--loginuid-immutable", "--reset-lost", "auditctl -e 2", "# -e 2",
    "  # a comment", "", "  ", "-e 2 # lock", "-a never,task # off", "nonsense", "-R /etc/audit/x.rules", "-q /a,/b",
    "-m hello", "-C uid!=gid", "-S open", "-F uid=0", "-a exit,always -C auid!=uid -F path=/x", "-D -k x",
    "-a filesystem,never -F fstype=tracefs", "-a always,exit -F dir=/etc/ -F perm=wa -k etc", "-w /a\\ b -p wa",
    "# fim-bootstrap 2026-01-02: FIM needs audit rules without this line: -e 2",
    "# fim-bootstrap 2026-01-02: FIM needs audit rules without this line: -a never,task", "-w /x -p wa -k id", "  -e 2",
    "-a always,exclude -F msgtype>0", "-a never,exit -S all", "-a always,exit -F exit=-EACCESS", "-a never,task#", "-e",
    "-a always,exit -F auid=nobodyknows -S open", "-a always,exit -S nosuchcall", "-A exit,always -F arch=b32 -S all",
)  # fmt: skip
RULE_WORDS = (
    "-e", "2", "-e2", "1", "0", "-f", "-a", "-A", "-d", "never,task", "task,never", "always,exit", "never,exit", "-S",
    "open",
    "all", "-F", "uid=0", "key=x", "arch=b64", "-k", "x", "-w", "/x", "-W", "-p", "wa", "-b", "8", "-r", "-i", "-c",
    "-s",
    "-v", "-t", "-D", "-C", "uid!=gid", "-m", "-q", "/a,/b", "--", "-", "#", "auditctl", "--loginuid-immutable",
    "--backlog_wait_time", "--backlog_wait_time=3", "--b", "-ie2", "-sv", "\\", "possible,task", "never,task,", "-h",
    "-R",
)  # fmt: skip
CONF_LINES = (
    *AUDITD_CONF.splitlines(), "dispatcher = /sbin/audispd", "#dispatcher = /sbin/audispd", "dispatcher=/sbin/audispd",
    "disp_qos = lossy", "DISPATCHER = /usr/sbin/audispd", "dispatcher = /sbin/audispd # on", "dispatcher",
    "q_depth = 2000",
    "overflow_action = SYSLOG", "max_restarts = 10", "plugin_dir = /etc/audit/plugins.d", "use_libwrap = yes",
    "tcp_listen_port = 60", "tcp_listen_queue = 5", "tcp_max_per_addr = 1", "tcp_client_ports = 1024-65535",
    "tcp_client_max_idle = 0", "transport = TCP", "enable_krb5 = no", "krb5_principal = auditd", "verify_email = yes",
    "distribute_network = no", "action_mail_acct = root", "space_left = 25%", "admin_space_left = 10%",
    "space_left_action = email", "disk_full_action = halt", "space_left_action = exec /bin/true", "flush = none",
    "flush = incremental", "freq = 0", "name_format = user", "name = host", "log_format = nolog", "local_events = no",
    "end_of_event_timeout = 2", "report_interval = 0", "num_logs = 1000", "priority_boost = 99", "# note", "", " ",
    "krb5_key_file = /etc/audit/audit.key", "write_logs = no", "max_log_file = 0", "log_group = root", "bogus = 1",
)  # fmt: skip
CONF_WORDS = (
    "=",
    "dispatcher",
    "/sbin/audispd",
    "yes",
    "no",
    "flush",
    "freq",
    "50",
    "-1",
    "99999999999",
    "exec",
    "/bin/true",
    "%",
    "25%",
    "syslog",
    "email",
    "space_left",
    "admin_space_left",
    "#",
    "0x10",
    "+5",
    "5x",
    "٣",
)
NAMES = ("10-a", "9-b", "50-site", "99-finalize", "a", "A", "a10", "a9", "x~", "x", "x.1", "1a", "010", "10", "_", "é",
         "00-z", "b c", "x01")  # fmt: skip
NOISE = (
    "\t",
    "\r",
    "\0",
    "\\",
    "\x07",
    "\x04",
    "\x0b",
    "\x0c",
    "\udcff",
    "\ufeff",
    "é",
    " ",
    "  ",
    "#",
    "=",
    "\x85",
    "\u2028",
    "\x1c",
    "\ud7ff",
    "²",
)
ENDS = ("\n", "\n", "\n", "\n", "\n", "\n", "\r\n", "", " \n", "\n\n")
SIZES = (150, 157, 158, 159, 160, 161, 318, 510, 511, 512, 6130, 6142, 6143, 6144, 6150, 12290)


class Maker:
    """Makes inputs out of lines and words; the same seed makes the same ones."""

    def __init__(self, seed: int, lines: Sequence[str], words: Sequence[str], whole: Sequence[str] = ()) -> None:
        self.random = random.Random(seed)
        self._lines, self._words, self._whole = lines, words, whole or ("\n".join(lines[:20]) + "\n",)

    def text(self) -> str:
        """One more file."""
        kind = self.random.random()
        if kind < 0.2:
            base = self.random.choice(self._whole).splitlines(keepends=True)
            for _ in range(self.random.randint(1, 3)):
                place = self.random.randint(0, len(base))
                base[place : place + self.random.randint(0, 1)] = [self._line()]
            return "".join(base)
        return "".join(self._line() for _ in range(self.random.choice((1, 1, 2, 3, 5))))

    def folder(self) -> list[File]:
        """The files of rules.d, and sometimes an audit.rules; many do not end in a newline."""
        names = self.random.sample(NAMES, self.random.randint(1, 4))
        texts = [self.text() for _ in names]
        cut = [text.rstrip("\n") if self.random.random() < 0.5 else text for text in texts]
        return [File(f"/etc/audit/rules.d/{name}.rules", text) for name, text in zip(names, cut)]

    def _line(self) -> str:
        pick, chance = self.random.choice, self.random.random()
        if chance < 0.4:
            line = pick(self._lines)
        elif chance < 0.8:
            line = " ".join(pick(self._words) for _ in range(self.random.randint(1, 6)))
        else:
            line = f"{pick(self._lines)} {pick(self._words)} {pick(self._words)}"
        while self.random.random() < 0.3:
            place = self.random.randint(0, len(line))
            line = line[:place] + pick(NOISE) + line[place + self.random.randint(0, 2) :]
        if self.random.random() < 0.03:
            line = f"{pick(('#', '# ', 'x', ' ', '-w /'))}{pick(('x', ' ', 'é')) * (pick(SIZES) - len(line) - 1)}{line}"
        return line + pick(ENDS)


def rules(seed: int, whole: Sequence[str] = ()) -> Maker:
    """Files for auditctl."""
    return Maker(seed, RULE_LINES, RULE_WORDS, (RULES, *whole))


def confs(seed: int, whole: Sequence[str] = ()) -> Maker:
    """Files for auditd: mostly whole ones, since a fragment is refused whatever it holds."""
    return Maker(seed, CONF_LINES, CONF_WORDS, (AUDITD_CONF, *whole))
