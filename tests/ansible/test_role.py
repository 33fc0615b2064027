"""The role by its old path, run by the real ansible-core over ssh on a host that has no Python (make test-ansible)."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.playing import PROGRAM, SITE, VERSIONS, Play, checksum, play
from tests.conftest import BINARY, needs_mounts

pytestmark = [pytest.mark.ansible, needs_mounts]

INSTALLED, READY = "The binary and its options are there", "The host is ready"
OPTION_FILE = "etc/fim-bootstrap/config.toml"
CACHE = "var/cache/fim-bootstrap"
LINE = "dispatcher = /sbin/audispd"
CONF = "/etc/audit/auditd.conf"


def changed(results: dict[str, Any]) -> int:
    """How many tasks changed something, of a play that did not fail."""
    assert results["stats"]["failures"] == results["stats"]["unreachable"] == 0, results
    return int(results["stats"]["changed"])


def written(web1: Play) -> set[str]:
    """The files that were made or changed on the host since it was made, but for Ansible's own."""
    upper = web1.host.path.parent / "upper"
    found = {str(path.relative_to(upper)) for path in upper.rglob("*") if not path.is_dir()}
    return {name for name in found if not name.startswith("root/.ansible/")}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_host_without_python_is_made_ready_and_then_left_alone(tmp_path: Path, version: str) -> None:
    with play(tmp_path, version) as web1:
        first = web1.run()
        assert changed(first) == 2
        assert first[READY]["verdict"] == "ready"
        assert first[READY]["reboot_required"] is False
        assert f"+{LINE}" in first[READY]["diff"]["prepared"]
        assert LINE in web1.tree.read(CONF)
        assert checksum(web1.host.path / PROGRAM[1:]) == checksum(BINARY)
        assert changed(web1.run()) == 0


def test_check_mode_on_a_fresh_host_plans_with_the_binary_and_leaves_it_in_the_cache_alone(
    web1: Play,
) -> None:
    before = written(web1)
    seen = web1.run("--check --diff")
    assert changed(seen) == 2
    assert seen[INSTALLED]["msg"] == f"would install {PROGRAM}"
    assert f"+{LINE}" in seen[READY]["diff"]["prepared"]
    assert seen[READY]["msg"].startswith("not ready; dispatcher: ")
    assert seen[READY]["msg"].endswith("-> run it without --check")
    assert written(web1) - before == {f"{CACHE}/fim-bootstrap"}
    assert LINE not in web1.tree.read(CONF)
    web1.variables["fim_bootstrap_source"] = "/gone"  # it is sent once
    assert changed(web1.run("--check")) == 2
    assert changed(web1.run()) == 2
    assert not (web1.host.path / CACHE).exists()
    assert LINE in web1.tree.read(CONF)


def test_check_mode_goes_by_the_options_that_would_be_written(web1: Play) -> None:
    web1.variables["fim_bootstrap_options"] = {"skip": ["dispatcher"]}
    before = written(web1)
    seen = web1.run("--check --diff")
    assert seen[INSTALLED]["diff"][0]["after"].endswith('skip = ["dispatcher"]\n')
    assert seen[READY]["changed"] is False
    assert seen[READY]["msg"] == "ready as far as looked at; skipped: dispatcher"
    assert written(web1) - before == {f"{CACHE}/fim-bootstrap", f"{CACHE}/config.toml"}


def test_an_option_that_is_taken_out_does_not_stay(web1: Play) -> None:
    file = web1.host.path / OPTION_FILE
    web1.variables["fim_bootstrap_options"] = {"skip": ["dispatcher"], "lock-timeout": 60}
    seen = web1.run()
    assert seen[READY]["msg"] == "ready as far as looked at; skipped: dispatcher"
    assert file.read_text().splitlines()[1:] == ["lock-timeout = 60", 'skip = ["dispatcher"]']
    assert file.stat().st_mode & 0o777 == 0o600
    assert changed(web1.run()) == 0
    web1.variables["fim_bootstrap_options"] = {}
    planned = web1.run("--check")
    assert planned[INSTALLED]["msg"] == "would remove /etc/fim-bootstrap/config.toml"
    assert f"+{LINE}" in planned[READY]["diff"]["prepared"]
    assert file.exists()
    seen = web1.run()
    assert seen[INSTALLED]["msg"] == "removed /etc/fim-bootstrap/config.toml"
    assert not file.exists()
    assert seen[READY]["msg"] == "ready; 1 change made"
    assert LINE in web1.tree.read(CONF)


def test_an_option_file_that_others_wrote_stays_and_is_named(web1: Play) -> None:
    file = web1.host.path / OPTION_FILE
    file.parent.mkdir()
    file.write_text('# mine\nskip = ["dispatcher"]\n')
    seen = web1.run()
    said = 'left /etc/fim-bootstrap/config.toml, which was not written by this role, in force: skip = ["dispatcher"]'
    assert seen[INSTALLED]["msg"] == f"installed {PROGRAM}; {said}"
    assert said in json.dumps(seen[INSTALLED]["warnings"]).replace('\\"', '"')
    assert seen[READY]["msg"] == "ready as far as looked at; skipped: dispatcher"
    assert file.read_text() == '# mine\nskip = ["dispatcher"]\n'
    web1.variables["fim_bootstrap_options"] = {"skip": ["rules"]}  # what is given counts, and the diff shows what goes
    seen = web1.run("--diff")
    assert seen[INSTALLED]["diff"][0]["before"] == '# mine\nskip = ["dispatcher"]\n'
    assert seen[READY]["msg"] == "ready as far as looked at; skipped: rules; 1 change made"


def test_a_failure_has_our_words_and_the_way_out(web1: Play) -> None:
    web1.tree.write(CONF, "nonsense = 1\n")
    seen = web1.run()
    assert seen["stats"]["failures"] == 1
    assert seen[READY]["rc"] == 4
    assert "/etc/audit/auditd.conf:1: 'nonsense = 1'" in json.dumps(seen[READY])
    blocked = next(item for item in seen[READY]["requirements"] if item["status"] == "blocked")
    assert seen[READY]["msg"].startswith("blocked; dispatcher: ")
    assert seen[READY]["msg"].endswith(f"-> {blocked['remedy']}")


SUMS = f"{'0' * 64}  fim-bootstrap-linux-riscv64\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0" * 64, f"wrong checksum: {BINARY} is "),
        ("", "give sha256 (the line of the release's SHA256SUMS)"),
        (SUMS, "sha256 has no checksum for fim-bootstrap-linux-"),
    ],
)
def test_a_wrong_binary_is_never_run(web1: Play, given: str, said: str) -> None:
    web1.variables["fim_bootstrap_sha256"] = given
    seen = web1.run()
    assert seen["stats"]["failures"] == 1
    assert seen[INSTALLED]["msg"].startswith(said)
    assert READY not in seen
    assert not (web1.host.path / PROGRAM[1:]).exists()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_host_fetches_the_release_itself(web1: Play) -> None:
    """With BusyBox's wget, the poorest; and says what to do where there is neither that nor curl."""
    release = web1.folder / "release"
    release.mkdir()
    shutil.copy(BINARY, release)
    del web1.variables["fim_bootstrap_source"]
    web1.variables["fim_bootstrap_sha256"] = f"{checksum(BINARY)}  {BINARY.name}\n{SUMS}"
    with served(release) as url:
        web1.variables["fim_bootstrap_url"] = url
        seen = web1.run()
        assert seen[INSTALLED]["msg"].startswith("neither curl nor wget is here; give source instead of url")
        shutil.copy("/bin/busybox", web1.host.path / "usr/bin/wget")
        assert changed(web1.run()) == 2
        assert LINE in web1.tree.read(CONF)
    with BINARY.open("rb") as whole:
        (web1.host.path / "srv/cut-short").write_bytes(whole.read(100_000))
    web1.variables.update(fim_bootstrap_url="file:///srv/cut-short", fim_bootstrap_sha256="1" * 64)
    seen = web1.run()
    assert seen[INSTALLED]["msg"].startswith("wrong checksum: file:///srv/cut-short is ")
    assert checksum(web1.host.path / PROGRAM[1:]) == checksum(BINARY)
    assert not (web1.host.path / CACHE / "new").exists()


REPORT = """{"verdict": "%s", "changed": false, "failed": false, "msg": "%s", "reboot_required": %s,
"requirements": [], "expected": [{"id": "policy", "summary": "", "changes": ["load a module"]}], "diff": "",
"next": ["fim-bootstrap check"]}"""
AFTER, STOPPED = "ready after reboot; reboot required", "not ready; auditd: it does not run"
STUB = f"""#!/bin/sh
case $1 in
apply) echo '{REPORT % ("ready-after-reboot", f"{AFTER}; -> fim-bootstrap check", "true")}' ;;
check) echo '{REPORT % ("not-ready", f"{STOPPED}; -> fim-bootstrap apply", "false")}'; exit 3 ;;
esac
"""


def test_a_terminal_that_mixes_the_streams_spoils_nothing(web1: Play) -> None:
    """With `become` ssh asks for a terminal; su to the same user is enough to have one."""
    web1.variables.update(ansible_become=True, ansible_become_method="su")
    seen = web1.run(ANSIBLE_BECOME_ALLOW_SAME_USER="1")
    assert changed(seen) == 2
    assert seen[READY]["msg"] == "ready; 1 change made"
    talking = web1.folder / "talking"
    talking.write_text(
        STUB.replace("\n", "\necho waits, 3 of 300 s >&2; test ! -t 2 || printf 'waits, 4 of 300 s' >&2\n", 1)
    )
    web1.variables.update(fim_bootstrap_source=str(talking), fim_bootstrap_sha256=checksum(talking))
    assert web1.run(ANSIBLE_BECOME_ALLOW_SAME_USER="1")[READY]["verdict"] == "ready-after-reboot"


def test_the_environment_of_the_task_counts(web1: Play) -> None:
    seen = web1.run(site=f"{SITE}  environment: {{FIM_BOOTSTRAP_SKIP: 'dispatcher rules'}}\n")
    assert seen[READY]["msg"] == "ready as far as looked at; skipped: dispatcher, rules"


def test_tags_part_the_installation_from_the_run(web1: Play) -> None:
    seen = web1.run("--tags fim_bootstrap_install")
    assert READY not in seen
    assert LINE not in web1.tree.read(CONF)
    seen = web1.run("--tags fim_bootstrap_apply")
    assert INSTALLED not in seen
    assert LINE in web1.tree.read(CONF)


LOOK_AGAIN = """
  post_tasks:
    - name: Ready
      fim_bootstrap: {state: checked}
      when: fim_bootstrap_result.reboot_required
"""


def test_a_host_that_needs_a_reboot_says_so_and_one_that_is_not_ready_ends_the_play(web1: Play) -> None:
    """With simulated reports: no kernel of this machine may be frozen."""
    stub = web1.folder / "stub"
    stub.write_text(STUB)
    web1.variables.update(fim_bootstrap_source=str(stub), fim_bootstrap_sha256=checksum(stub))
    assert web1.run("--check")[READY]["diff"]["prepared"] == "expected after that: load a module\n"
    seen = web1.run(site=SITE.rstrip() + LOOK_AGAIN)
    assert seen[READY]["diff"]["prepared"] == ""
    assert seen[READY]["reboot_required"] is True
    assert seen[READY]["msg"] == f"{AFTER} -> reboot it, then look again with state: checked"
    assert seen["stats"]["failures"] == 1
    assert seen["Ready"]["msg"] == f"{STOPPED} -> run it with state: ready"


def test_a_binary_that_cannot_run_is_told_in_its_own_words(web1: Play) -> None:
    broken = web1.folder / "broken"
    broken.write_text("#!/bin/sh\necho no room to unpack >&2\nexit 255\n")
    web1.variables.update(fim_bootstrap_source=str(broken), fim_bootstrap_sha256=checksum(broken))
    seen = web1.run()
    assert seen[READY]["msg"].startswith(f"{PROGRAM} apply ")
    assert seen[READY]["msg"].endswith("exit status 254 and no report: no room to unpack")


EXCEPTED = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: fim_bootstrap, tasks_from: exception}
      vars:
        fim_bootstrap_exception: {expires: 2027-11-30, owner: Ops, ticket: CHG-4711}
"""


def test_the_record_of_an_exception_is_kept_beside_the_play(web1: Play) -> None:
    (web1.host.path / "etc/audit/rules.d").mkdir(parents=True)
    (web1.host.path / "etc/audit/rules.d/99.rules").write_text("-e 2\n")
    web1.run("--tags fim_bootstrap_install")
    seen = web1.run(site=EXCEPTED)
    assert changed(seen) == 0
    record = json.loads((web1.folder / "web1.json").read_text())
    assert record["needed"] is True
    assert "CHG-4711" in json.dumps(record)
    assert "99.rules" in json.dumps(record)
    seen = web1.run(site=EXCEPTED.replace("expires: 2027-11-30, ", "expires: soon, "))
    assert seen["The exception has an end"]["msg"].startswith("give fim_bootstrap_exception: {expires: 2027-11-30}")
