"""Ask the real auditd whether it would start with its configuration; nothing is started, and nothing is written.

auditd has no option for that. But every release (2.3 to 4.2) reads its whole configuration, owner, mode, log folder,
group, mail address and programs included, before it asks for a higher priority. Without the capability for that it
ends there: exit status 6 is a refusal, 1 with "Cannot change priority" an accepted configuration (auditd(8)).

It is asked in namespaces of its own, since on its way out it removes its pid file, by which others send it signals.
First as real root, for whom owners and groups are what they are; where that cannot be had, as the root of a user
namespace, which a host may forbid (user.max_user_namespaces = 0). It is entered after the mounts: mount(8) may mount
for a child of systemd, but not in a user namespace (measured with Debian 12's policy). Were auditd to get past its
priority, it would start the dispatcher's plugins a second time: so nothing but the kernel's own refusal is relied on.
It starts from the lowest priority, without the capability and without the resource limit that would allow it to raise
it, and a priority_boost of 0 is replaced in a private copy of the file. Started by systemd under an enforcing policy
auditd may not be allowed to read such a copy (measured, too): then it could not be asked.
"""

from __future__ import annotations

import re
import stat

from ..host.reader import TIMED_OUT, Output, Reader
from ..model import Answer
from . import auditd_conf

REFUSED, ACCEPTED = 6, 1  # exit statuses
PATIENCE = 30.0  # seconds; auditd looks up the host of a mail address
LONGEST = 100_000  # bytes of a text that may be handed over as an argument (execve(2): 128 KiB)
# what auditd says in the foreground beside the reason of its end
NOISE = r"called with|opened for parsing|is deprecated -|^The audit daemon|^Not processing|^Warning"
LOWEST = ("nice", "-n", "39", "prlimit", "--nice=0:0")
# arguments: mode, label and text of a file to read in the place of auditd.conf; a folder to hide; the command
SCRIPT = """\
mount --make-rprivate / || exit 99
{ mount --bind /run /run && mount -o remount,bind,ro /run; } 2>/dev/null || mount -t tmpfs none /run || exit 99
if [ -n "$3" ]; then
    { [ -n "$2" ] && mount -t tmpfs -o "rootcontext=\\"$2\\"" none /mnt; } 2>/dev/null ||
        mount -t tmpfs none /mnt || exit 99
    printf %s "$3" >/mnt/auditd.conf && chmod "$1" /mnt/auditd.conf &&
        mount --bind /mnt/auditd.conf /etc/audit/auditd.conf && umount -l /mnt || exit 99
fi
if [ -n "$4" ]; then
    mount -t tmpfs none "$4" || exit 99
fi
shift 4
exec "$@"
"""


def ask(host: Reader, text: str = "") -> Answer:
    """auditd's answer on its file, or on a text that is to take the file's place. Needs root."""
    file, found = host.read(auditd_conf.PATH), host.stat(auditd_conf.PATH)
    if file is None or found is None:
        return Answer(None, f"{auditd_conf.PATH} is missing")
    judged = text or file.text
    boost = auditd_conf.settings(auditd_conf.parse(judged)).get("priority_boost")
    if boost and boost.value.isascii() and boost.value.isdigit() and int(boost.value) == 0:
        judged = auditd_conf.with_line(judged, "priority_boost = 4\n")
    put = "" if judged == file.text else judged
    if "\0" in put or len(put) > LONGEST:
        return Answer(None, "its text cannot be handed over")
    hidden = _created(host, judged)
    if len(hidden) > 1 or any(auditd_conf.PATH.startswith(f"{folder}/") for folder in hidden):
        return Answer(None, "it would create a log file")
    command = ("auditd", "-f", "-s", "nochange")
    arguments = (f"{stat.S_IMODE(found.mode):o}", found.context, put, "".join(hidden))
    unanswered = []
    for namespaces, drop in _ways(host):
        argv = ("unshare", *namespaces, "sh", "-c", SCRIPT, "preflight", *arguments, *LOWEST, *drop, *command)
        (output,) = host.query(argv, timeout=PATIENCE)
        answer = _answer(output, judged)
        if answer.accepted is not None:
            return answer
        unanswered.append(answer)
        if output.status == TIMED_OUT:
            break
    return unanswered[0]


def _ways(host: Reader) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Namespaces and what drops CAP_SYS_NICE in them, the most truthful way first."""
    ways: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    if host.which("setpriv"):
        ways.append((("-mpf",), ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")))
    elif host.which("capsh"):
        run = ("--inh=", "--drop=cap_sys_nice", "--", "-c", 'exec "$0" "$@"')
        ways.append((("-mpf",), ("capsh", *run)))
    ways.append((("-mpf",), ("unshare", "-Ur")))
    return tuple(ways)


def _created(host: Reader, text: str) -> list[str]:
    """The folders in which audit 2 would create its log while it reads its configuration."""
    paths = [line.value for line in auditd_conf.parse(text) if line.key == "log_file" and line.value.startswith("/")]
    missing = [path.rpartition("/")[0] for path in paths if host.stat(path) is None] if host.which("audispd") else []
    return sorted({folder for folder in missing if (there := host.stat(folder)) and stat.S_ISDIR(there.mode)})


def _answer(output: Output, text: str) -> Answer:
    lines = [line.strip() for line in (output.stderr + output.stdout).splitlines() if line.strip()]
    reasons = [line for line in lines if not re.search(NOISE, line)]
    said = reasons[-1] if reasons else output.why()
    if output.status == ACCEPTED and any("Cannot change priority" in line for line in lines):
        return Answer(True)
    # a file that auditd's own domain may not read is no refusal of what stands in it
    unread = "Error opening config file" in said and "Permission denied" in said
    if output.status != REFUSED or unread:
        return Answer(None, said)
    return Answer(False, said, _line(said, lines, text))


def _line(said: str, lines: list[str], text: str) -> int:
    """The line that auditd names, or the one that it was reading; 0 where it looks at the file as a whole."""
    if named := re.search(r"\bline (\d+)", said):
        return int(named[1])
    read = [found[1] for line in lines if (found := re.search(r"_parser called with: (.*)", line))]
    if said.startswith("Error - ") or not read:
        return 0
    return next((line.number for line in auditd_conf.parse(text) if line.value == read[-1] and not line.problem), 0)
