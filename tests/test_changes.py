"""What is run and written for each change, in which order, and what counts as success."""

from __future__ import annotations

import json

import pytest

from fim_bootstrap import journal
from fim_bootstrap.changes import LoadPolicy, RestartService
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.host import Output
from tests.dict_host import BOOT, Answer, DictHost


def recorded(host: DictHost) -> list[str]:
    """The kinds of steps in the journal, oldest first."""
    return [json.loads(line)["kind"] for line in (host.read_bytes(journal.JOURNAL) or b"").splitlines()]


def apply(change: RestartService | LoadPolicy, host: DictHost) -> None:
    """Do the change as the engine does."""
    change.apply(host, lambda kind, **details: journal.record(host, kind, **details))


def restarted(pid: int) -> Answer:
    """A systemctl that gives auditd a new pid, or leaves it as it is where the pid is the old one."""

    def systemctl(host: DictHost, argv: tuple[str, ...]) -> int:
        if argv[1] in ("restart", "start"):
            host.end(500)
            host.process(pid, "auditd", started=host.now)
        return 0

    return systemctl


@pytest.fixture
def host(dict_host: DictHost) -> DictHost:
    """A system with systemd and a running auditd."""
    dict_host.folder("/run/systemd/system")
    dict_host.programs("systemctl", "auditctl", "kill")
    dict_host.process(500, "auditd", started=BOOT + 10)
    return dict_host


def test_a_restart_is_written_down_before_it_is_made(host: DictHost) -> None:
    host.answers["systemctl"] = restarted(501)
    apply(RestartService("auditd", "auditd", 500), host)
    assert recorded(host) == ["restart"]
    assert host.done.index(f"append {journal.JOURNAL}") < host.done.index("systemctl restart auditd.service")


def test_the_old_pid_is_no_restart(host: DictHost) -> None:
    host.answers["systemctl"] = restarted(500)
    with pytest.raises(BootstrapError, match="did not come up"):
        apply(RestartService("auditd", "auditd", 500), host)


def test_a_module_that_is_refused_by_the_store_is_no_success(host: DictHost) -> None:
    host.programs("checkmodule", "semodule_package", "semodule")
    host.answers["semodule"] = Output(("semodule",), 1, "", "Re-declaration of type")
    with pytest.raises(BootstrapError, match="Re-declaration"):
        apply(LoadPolicy("module m 1.0;", "m_t", live=True), host)
    assert recorded(host) == ["policy"]
    assert "semodule -X 400 -i /var/lib/fim-bootstrap/work.0/fim_bootstrap.pp" in host.done
