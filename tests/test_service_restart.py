"""`service auditd restart`, decided from the shapes that upstream's actions have had (audit 2.8 to 4)."""

from __future__ import annotations

import pytest

from fim_bootstrap.audit.service_restart import ACTIONS, problem
from fim_bootstrap.model import Service
from tests.dict_host import DictHost

EL, OLD = ACTIONS
# service(8) of the initscripts, as far as it matters here, and one that hands everything to systemctl
INITSCRIPTS = f'#!/bin/sh\nDIR="{EL}"\n[ -x "$DIR/$1/$2" ] && exec env -i "$DIR/$1/$2"\nsystemctl $2 $1\n'
PLAIN = "#!/bin/sh\nexec systemctl $2 $1\n"
START = 'echo "Redirecting start to /bin/systemctl start auditd.service"\n/bin/systemctl start auditd.service\n'
PIDOF = '#!/bin/sh\npid="$(pidof auditd)"\n'
WAIT = "timeout 20 tail --pid=$pid -f /dev/null\n"
ASKED = "#!/bin/sh\n# stop, as pidof finds it\ntest -f /etc/audit/auditd.conf || exit 6\n"
# release -> the action's files, and every name that it calls
SHAPES = {
    "2.8": (
        {"restart": f"{ASKED}{EL}/auditd/stop\nsleep 1\n{START}",
         "stop": "#!/bin/sh\ntest $EUID = 0 || exit 4\nsource /etc/init.d/functions\nkillproc auditd -TERM\n"},
        ("/etc/init.d/functions", f"{EL}/auditd/stop", "sleep", "/bin/systemctl"),
    ),
    "3.0": (
        {"restart": f"{ASKED}{EL}/auditd/stop\n{START}",
         "stop": f"{PIDOF}. /usr/libexec/audit-functions\nkillproc auditd -TERM\n{WAIT}"},
        ("/usr/libexec/audit-functions", "pidof", "timeout", "tail", "/bin/systemctl"),
    ),
    "3.1.5": (
        {"restart": f"{ASKED}{EL}/auditd/stop\n{START}",
         "stop": f"{PIDOF}/sbin/auditctl --signal stop\n{WAIT}"},
        ("/sbin/auditctl", "pidof", "timeout", "tail"),
    ),
    "4.0": (
        {"restart": f"{ASKED}/sbin/auditctl --signal stop\nsleep 1\n{START}"},
        ("/sbin/auditctl", "sleep", "/bin/systemctl"),
    ),
}  # fmt: skip
UPSTREAM = Service("auditd", present=True, enabled=True, refuses_stop=True)


@pytest.fixture
def host(dict_host: DictHost) -> DictHost:
    """A system with service(8) of the initscripts and all that the actions of every release call."""
    dict_host.write("/usr/sbin/service", INITSCRIPTS, mode=0o755)
    dict_host.programs("auditctl", "pidof", "timeout", "tail", "sleep", "systemctl")
    for path in ("/sbin/auditctl", "/bin/systemctl", "/etc/init.d/functions"):
        dict_host.write(path, mode=0o755)
    dict_host.write("/usr/libexec/audit-functions", 'p=$(pidof "$daemon")\n')
    return dict_host


def give(host: DictHost, release: str) -> None:
    """The actions of a release."""
    for name, text in SHAPES[release][0].items():
        host.write(f"{EL}/auditd/{name}", text, mode=0o755)


@pytest.mark.parametrize("release", SHAPES)
def test_an_action_with_all_that_it_calls_can_restart(host: DictHost, release: str) -> None:
    give(host, release)
    assert problem(host, UPSTREAM, systemd=True) == ""


@pytest.mark.parametrize(("release", "needed"), [(r, needed) for r in SHAPES for needed in SHAPES[r][1]])
def test_each_thing_that_an_action_calls_is_needed(host: DictHost, release: str, needed: str) -> None:
    give(host, release)
    for path in [path for path in host.nodes if path == needed or path.endswith(f"bin/{needed}")]:
        del host.nodes[path]
    assert problem(host, UPSTREAM, systemd=True) == f"{EL}/auditd/restart calls {needed}, which is missing"


def test_what_a_script_asks_for_itself_may_be_missing(host: DictHost) -> None:
    give(host, "4.0")
    action = f"{EL}/auditd/restart"
    host.write(action, f"#!/bin/sh\n[ -r /etc/sysconfig/auditd ] && . /etc/sysconfig/auditd\n{START}", mode=0o755)
    assert problem(host, UPSTREAM, systemd=True) == ""


REFUSED = "auditd.service refuses a manual stop, and /usr/sbin/service has no legacy action to restart it by"


def test_no_action_is_a_refusal_where_the_unit_refuses(host: DictHost) -> None:
    assert problem(host, UPSTREAM, systemd=True) == REFUSED
    give(host, "4.0")
    host.nodes[f"{EL}/auditd/restart"].mode = 0o644
    assert problem(host, UPSTREAM, systemd=True) == REFUSED
    assert problem(host, UPSTREAM._replace(refuses_stop=False), systemd=True) == ""


def test_a_service_that_knows_no_actions_needs_a_unit_that_can_be_stopped(host: DictHost) -> None:
    """Debian, Ubuntu, SUSE."""
    give(host, "4.0")
    host.write("/usr/sbin/service", PLAIN, mode=0o755)
    assert problem(host, UPSTREAM._replace(refuses_stop=False), systemd=True) == ""
    assert problem(host, UPSTREAM, systemd=True) == REFUSED


def test_the_older_folder_of_actions_counts_where_service_looks_there(host: DictHost) -> None:
    host.write("/usr/sbin/service", INITSCRIPTS.replace(EL, OLD), mode=0o755)
    host.write(f"{OLD}/auditd/restart", SHAPES["4.0"][0]["restart"], mode=0o755)
    assert problem(host, UPSTREAM, systemd=True) == ""


def test_what_the_unit_itself_forbids(host: DictHost) -> None:
    give(host, "4.0")
    assert problem(host, UPSTREAM._replace(refuses_start=True), systemd=True) == (
        "auditd.service refuses a manual start (RefuseManualStart=yes): a restart would leave auditd stopped"
    )
    assert problem(host, UPSTREAM._replace(masked=True), systemd=True) == "auditd.service is masked"
    del host.nodes["/usr/sbin/service"]
    assert problem(host, UPSTREAM, systemd=True) == "service(8) is missing"


def test_without_systemd_the_init_script_does_it(host: DictHost) -> None:
    assert problem(host, Service("auditd"), systemd=False) == "there is no /etc/init.d/auditd"
    host.write("/etc/init.d/auditd", mode=0o755)
    assert problem(host, Service("auditd"), systemd=False) == ""
