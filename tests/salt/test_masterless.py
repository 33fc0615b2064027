"""salt-call without a master, on a host of its own: each test is a Debian 12 that has nothing of it yet."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.conftest import BINARY
from tests.fetched import SALT, SALT_LTS
from tests.managers.roots import ENVIRONMENT, Root
from tests.salt.roots import (
    PROGRAM,
    PROGRAMS,
    SHA256,
    WHERE,
    call,
    furnish,
    kill_all,
    salt_root,
    states,
    until_runs,
    write_pillar,
)

pytestmark = pytest.mark.salt

MARK = "# Salt keeps this file: pillar fim_bootstrap:options"
BOTH = [*dict.fromkeys((SALT, SALT_LTS))]

# what a child that inherits Salt's LD_LIBRARY_PATH would load, and die of
POISONED = ("libapt-pkg.so.6.0", "libsemanage.so.2", "libsepol.so.2")
POISON = "LD_LIBRARY_PATH=/poison"


@contextlib.contextmanager
def host(salt: str = SALT, **pillar: Any) -> Iterator[Root]:
    """A host with the formula, its modules synced."""
    with salt_root(salt=salt) as here:
        furnish(here.path, {"sha256": SHA256, **pillar})
        synced = call(here, "saltutil.sync_all")
        assert "modules.fim_bootstrap" in synced.out, synced.out + synced.err
        yield here


def apply(here: Root, sls: str, words: str = "", environment: str = "") -> dict[str, dict[str, Any]]:
    """What became of each state of an SLS."""
    return states(call(here, f"state.apply {sls} {words}", environment))


def grain(here: Root) -> dict[str, Any]:
    """The grain as the minion has it."""
    return dict(json.loads(call(here, "grains.get fim_bootstrap").out)["local"])


def unchanged(done: dict[str, dict[str, Any]]) -> None:
    """Every state is right, and did nothing."""
    assert {name: (state["result"], state["changes"]) for name, state in done.items()} == dict.fromkeys(
        done, (True, {})
    )


def files(here: Root) -> set[str]:
    """Every file of the host with its size, time and mode, but for Salt's own."""
    salts = " -o ".join(f"-path {path}" for path in ("/var/cache/salt", "/var/log/salt", "/etc/salt", "/run/salt"))
    found = here.run(rf"find / -xdev \( {salts} \) -prune -o -type f -printf '%p %s %T@ %m\n'").out
    return {line for line in found.splitlines() if "/__pycache__/" not in line}


@pytest.mark.parametrize("salt", BOTH)
def test_from_nothing_to_ready_and_again(salt: str) -> None:
    """Dry before the binary is there, then for real, then without work; with a library path like that of Salt's
    own package, which no child may see."""
    with host(salt) as here:
        poison = here.path / "poison"
        poison.mkdir()
        for name in POISONED:
            (poison / name).write_text("no library\n")
        assert "file too short" in here.run(f"{POISON} apt-get --version; {POISON} semodule -l", check=False).err
        untouched = files(here)
        planned = apply(here, "fim_bootstrap", "test=True", POISON)
        assert {name: state["result"] for name, state in planned.items()} == {
            "fim-bootstrap-binary": None, "fim-bootstrap-options": True, "fim-bootstrap-ready": None,
        }  # fmt: skip
        would = planned["fim-bootstrap-ready"]["changes"]
        assert would["packages"]["new"].startswith("install auditd")
        assert would["expected"]["dispatcher"].startswith("edit /etc/audit/auditd.conf: dispatcher")
        assert files(here) == untouched, "the binary is in Salt's cache alone"
        before = grain(here)
        assert (before["verdict"], before["ready"], before["reboot_required"]) == ("unknown", None, False)

        done = apply(here, "fim_bootstrap", environment=POISON)
        ready = done["fim-bootstrap-ready"]
        assert set(ready) - {"__id__", "__run_num__", "__sls__", "duration", "start_time"} == {
            "name", "result", "changes", "comment",
        }  # fmt: skip
        assert (ready["result"], ready["comment"]) == (True, "ready; 3 changes made")
        assert any(line.startswith("install auditd") for line in ready["changes"]["done"])
        after = grain(here)
        assert (after["verdict"], after["ready"], after["reboot_required"]) == ("ready", True, False)

        source = here.path / "srv/salt/fim_bootstrap/files/fim-bootstrap"
        source.rename(source.with_name("away"))
        unchanged(apply(here, "fim_bootstrap", environment=POISON))  # nobody is asked for what is there already
        source.with_name("away").rename(source)
        unchanged(apply(here, "fim_bootstrap", "test=True"))
        unchanged(apply(here, "fim_bootstrap.plain"))
        (here.path / "run/fim-bootstrap/result.json").unlink()  # as a boot does
        assert grain(here) == before


def test_what_would_change_is_said_and_what_fails_is_told() -> None:
    with host(options={"skip": ["policy"], "lock-timeout": 60}) as here:
        assert apply(here, "fim_bootstrap")["fim-bootstrap-ready"]["result"] is True
        option_file = here.path / "etc/fim-bootstrap/config.toml"
        assert option_file.read_text() == f'{MARK}\nlock-timeout = 60\nskip = ["policy"]\n'
        conf = here.path / "etc/audit/auditd.conf"
        good = conf.read_text()
        conf.write_text(good.replace("dispatcher", "#dispatcher"))
        planned = apply(here, "fim_bootstrap", "test=True")["fim-bootstrap-ready"]
        assert planned["result"] is None
        assert list(planned["changes"]) == ["dispatcher"]
        assert set(planned["changes"]["dispatcher"]) == {"old", "new"}
        assert planned["comment"].endswith(" -> run it without test=True")
        plain = apply(here, "fim_bootstrap.plain", "test=True")["fim-bootstrap-applied"]
        assert (plain["result"], plain["comment"].partition(";")[0]) == (None, "not ready")

        conf.write_text(good + "nonsense = 1\n")
        for words in ("", "test=True"):
            failed = apply(here, "fim_bootstrap", words)["fim-bootstrap-ready"]
            assert failed["result"] is False
            assert failed["comment"].startswith("blocked; ")
            assert "nonsense = 1" in failed["comment"]
            assert " -> mend /etc/audit/auditd.conf line" in failed["comment"].splitlines()[0]
            assert failed["comment"].count("-> mend") == 1
        failed = apply(here, "fim_bootstrap.plain")["fim-bootstrap-applied"]
        assert failed["result"] is False
        assert failed["comment"].startswith("blocked; ")
        assert call(here, "fim_bootstrap.apply").status == 4
        conf.write_text(good)
        option_file.write_text("nonsense = 1\n")
        write_pillar(here.path, {"sha256": SHA256})
        failed = apply(here, "fim_bootstrap")["fim-bootstrap-ready"]
        assert failed["result"] is False
        assert "no such option" in failed["comment"]
        option_file.unlink()

        answers = call(here, "fim_bootstrap.reboot_required")
        assert (answers.status, '"reboot_required": false' in answers.out) == (0, True)
        (here.path / PROGRAM[1:]).write_text("#!/bin/sh\necho log; echo broken >&2; exit 3\n")
        failed = apply(here, "fim_bootstrap.ready")["fim-bootstrap-binary"]
        assert failed["result"] is True, "the binary is put right first"
        (here.path / PROGRAM[1:]).write_text("#!/bin/sh\necho log; echo broken >&2; exit 3\n")
        said = call(here, "fim_bootstrap.check")
        assert said.status != 0
        assert "exit status 3 and no report: broken" in said.out + said.err
        said = call(here, "state.single fim_bootstrap.ready name=x")
        assert said.status != 0
        assert "exit status 3 and no report: broken" in said.out


@pytest.mark.parametrize("salt", BOTH)
def test_an_option_that_is_gone_from_the_pillar_does_not_stay(salt: str) -> None:
    """Nor does what it left out go unseen, dry or for real, while it stands."""
    skipped = {"sha256": SHA256, "options": {"skip": ["rules", "policy"]}}
    with host(salt) as here:
        option_file, rules = (
            here.path / f"etc/{name}" for name in ("fim-bootstrap/config.toml", "audit/rules.d/1.rules")
        )
        write_pillar(here.path, skipped)
        assert "rules" not in apply(here, "fim_bootstrap", "test=True")["fim-bootstrap-ready"]["changes"]
        done = apply(here, "fim_bootstrap")["fim-bootstrap-ready"]
        assert done["comment"].startswith("ready as far as looked at; skipped: rules, policy; ")
        unchanged(apply(here, "fim_bootstrap"))
        told = grain(here)
        assert (told["ready"], told["skipped"]) == (True, ["rules", "policy"])
        assert told["comment"] == "ready as far as looked at; skipped: rules, policy"

        rules.write_text("-a never,task\n")
        write_pillar(here.path, {"sha256": SHA256, "options": {"skip": ["policy"]}})
        planned = apply(here, "fim_bootstrap", "test=True")
        assert [*planned["fim-bootstrap-ready"]["changes"]] == ["rules"]
        write_pillar(here.path, {"sha256": SHA256})
        planned = apply(here, "fim_bootstrap", "test=True")
        assert planned["fim-bootstrap-options"]["changes"] == {"removed": "/etc/fim-bootstrap/config.toml"}
        assert [*planned["fim-bootstrap-ready"]["changes"]] == ["rules", "policy"]
        done = apply(here, "fim_bootstrap")
        assert (done["fim-bootstrap-ready"]["comment"], option_file.exists()) == ("ready; 2 changes made", False)
        assert not rules.read_text().startswith("-a")
        assert (grain(here)["skipped"], grain(here)["comment"]) == ([], "ready; 2 changes made")

        option_file.write_text('skip = ["rules"]\n')
        for sls, words in (("fim_bootstrap", ""), ("fim_bootstrap", "test=True"), ("fim_bootstrap.plain", "")):
            left = apply(here, sls, words)
            ready = left.get("fim-bootstrap-ready") or left["fim-bootstrap-applied"]
            assert ready["comment"] == "ready as far as looked at; skipped: rules"
            assert "plain" in sls or "it stays, and what it says counts" in left["fim-bootstrap-options"]["comment"]
        write_pillar(here.path, skipped)
        assert "-skip =" in apply(here, "fim_bootstrap")["fim-bootstrap-options"]["changes"]["diff"]
        write_pillar(here.path, {"sha256": SHA256})
        assert apply(here, "fim_bootstrap.plain")["fim-bootstrap-applied"]["comment"] == "ready"
        assert not option_file.exists()


@pytest.mark.parametrize("salt", BOTH)
def test_on_another_system_there_is_no_module_and_no_traceback(salt: str) -> None:
    """Salt's own loader is told that this is Windows; what it says is what a state of the formula would fail with."""
    with host(salt) as here:
        said = here.run(f"PYTHONPATH=/opt/salt python3 -c '{ON_WINDOWS}'")
        assert said.out.splitlines() == [
            "False 'fim_bootstrap' __virtual__ returned False: fim-bootstrap is a program for Linux",
            "False 'fim_bootstrap' __virtual__ returned False: fim-bootstrap is a program for Linux",
            "False",
        ]
        assert "Traceback" not in said.err


ON_WINDOWS = """
import sys, salt.config, salt.loader
options = salt.config.minion_config("/etc/salt/minion")
options.update(file_client="local", grains=salt.loader.grains(options))
modules, there = salt.loader.minion_mods(options), sys.platform
sys.platform = "win32"
states = salt.loader.states(options, modules, None, None)
for loaded, name in ((modules, "fim_bootstrap.check"), (states, "fim_bootstrap.ready")):
    print(name in loaded, loaded.missing_fun_string(name))
grains = salt.loader.grain_funcs(options)
print("fim_bootstrap.fim_bootstrap" in grains)
"""


def test_the_binary_comes_from_the_environment_of_the_state() -> None:
    """The file of that name in `base` is another one."""
    with salt_root() as here:
        furnish(here.path, {"sha256": SHA256})
        (here.path / "srv/salt").rename(here.path / "srv/prod")
        roots = {"base": ["/srv/salt"], "prod": ["/srv/prod"]}
        (here.path / "etc/salt").mkdir()
        (here.path / "etc/salt/minion").write_text(json.dumps({"file_client": "local", "file_roots": roots}))
        other = here.path / "srv/salt/fim_bootstrap/files/fim-bootstrap"
        other.parent.mkdir(parents=True)
        other.write_text("another\n")
        salt_call = f"{PROGRAMS}salt-call --local --out=json"
        here.run(f"{salt_call} saltutil.sync_all saltenv=prod")
        for words, result in (("test=True", None), ("", True)):
            done = states(here.run(f"{salt_call} state.apply fim_bootstrap saltenv=prod {words}"))
            assert {done[f"fim-bootstrap-{name}"]["result"] for name in ("binary", "ready")} == {result}, done


def test_only_the_pinned_binary_is_put_there_and_clean_takes_all_back() -> None:
    with host() as here:
        write_pillar(here.path, {})
        done = apply(here, "fim_bootstrap")
        assert done["fim-bootstrap-binary"]["result"] is False
        assert "give the pillar fim_bootstrap:sha256" in done["fim-bootstrap-binary"]["comment"]
        assert "requisite" in done["fim-bootstrap-ready"]["comment"]
        assert "give the pillar fim_bootstrap:sha256" in call(here, "state.apply fim_bootstrap.plain").out
        write_pillar(here.path, {"sha256": "0" * 64})
        for source in ("salt://fim_bootstrap/files/fim-bootstrap", "http"):
            with mirror() as url:
                write_pillar(here.path, {"sha256": "0" * 64, "source": url if source == "http" else source})
                done = apply(here, "fim_bootstrap")
                planned = apply(here, "fim_bootstrap", "test=True")
            for failed in (done["fim-bootstrap-binary"], planned["fim-bootstrap-binary"]):
                assert failed["result"] is False, failed
                assert failed["comment"].startswith("no source has the binary whose sha256 is 000"), failed
                assert ": another file" in failed["comment"]
            assert done["fim-bootstrap-ready"]["result"] is False
            assert not (here.path / PROGRAM[1:]).exists()
            plain = apply(here, "fim_bootstrap.plain")
            assert {state["result"] for name, state in plain.items() if "options" not in name} == {False}
            assert not (here.path / PROGRAM[1:]).exists()
        with mirror() as url:
            write_pillar(here.path, {"sha256": SHA256, "source": [url, "salt://fim_bootstrap/files/none"]})
            assert apply(here, "fim_bootstrap.install")["fim-bootstrap-binary"]["changes"]
        write_pillar(here.path, {"sha256": SHA256, "source": [url, "salt://fim_bootstrap/files/fim-bootstrap"]})
        unchanged(apply(here, "fim_bootstrap.install"))  # the mirror is gone
        write_pillar(here.path, {"sha256": "0" * 64})
        done = apply(here, "fim_bootstrap")
        assert done["fim-bootstrap-binary"]["result"] is False
        assert done["fim-bootstrap-ready"]["result"] is False
        assert apply(here, "fim_bootstrap.plain")["fim-bootstrap-applied"]["result"] is False

        write_pillar(here.path, {"sha256": SHA256})
        (here.path / PROGRAM[1:]).chmod(0o644)
        assert set(apply(here, "fim_bootstrap.install")["fim-bootstrap-binary"]["changes"]) == {"mode"}
        assert apply(here, "fim_bootstrap.plain")["fim-bootstrap-applied"]["result"] is True
        assert grain(here)["ready"] is True
        planned = apply(here, "fim_bootstrap.clean", "test=True")
        assert planned["fim-bootstrap-reverted"]["result"] is None
        assert grain(here)["ready"] is True
        cleaned = apply(here, "fim_bootstrap.clean")
        assert cleaned["fim-bootstrap-reverted"]["comment"] == "2 steps taken back"
        assert grain(here)["verdict"] == "unknown"
        assert not (here.path / PROGRAM[1:]).exists()
        here.run("! grep '^dispatcher' /etc/audit/auditd.conf; command -v auditd")
        unchanged(apply(here, "fim_bootstrap.clean"))


def test_the_record_of_the_exception_is_kept_until_something_changes() -> None:
    """It has an end that somebody set; nothing else renews it."""
    signed = {"expires": "2999-01-31", "ticket": "CHG-7", "owner": "Ops <ops@example.org>"}
    with host() as here:
        folder = here.path / "var/lib/fim-bootstrap/exception"
        refused = apply(here, "fim_bootstrap.exception", "test=True")["fim-bootstrap-exception"]
        assert refused["result"] is False
        assert "exception:expires" in refused["name"]
        write_pillar(here.path, {"sha256": SHA256, "exception": signed})
        none = apply(here, "fim_bootstrap.exception", "test=True")["fim-bootstrap-exception"]
        assert (none["result"], none["comment"]) == (True, "no exception is needed"), none["comment"]
        assert not folder.exists()
        none = apply(here, "fim_bootstrap.exception")["fim-bootstrap-exception"]
        assert (none["result"], none["comment"]) == (True, "no exception is needed"), none["comment"]
        assert not list(folder.iterdir())

        rules = here.path / "etc/audit/rules.d"
        rules.mkdir(parents=True)
        (rules / "99_auditd.rules").write_text("# Added as part of ansible-lockdown CIS baseline\n-e 2\n")
        planned = apply(here, "fim_bootstrap.exception", "test=True")["fim-bootstrap-exception"]
        assert (planned["result"], planned["changes"]["needed"]) == (None, {"old": None, "new": True})
        assert not list(folder.iterdir())
        made = apply(here, "fim_bootstrap.exception")["fim-bootstrap-exception"]
        assert made["result"] is True, made
        assert {path.name for path in folder.iterdir()} >= {"exception.md", "exception.json", "ansible-lockdown.yml"}
        kept = json.loads((folder / "exception.json").read_text())
        assert kept["terms"]["ticket"] == "CHG-7"
        assert kept["relaxed"][0]["written_by"]["remedy"] == "set deb12cis_rule_6_3_3_20 to false"
        unchanged(apply(here, "fim_bootstrap.exception"))
        unchanged(apply(here, "fim_bootstrap.exception", "test=True"))

        read = json.loads(call(here, "file.read /var/lib/fim-bootstrap/exception/exception.json").out)
        assert json.loads(read["local"]) == kept
        (rules / "90-immutable.rules").write_text("-e 2\n")
        again = apply(here, "fim_bootstrap.exception")["fim-bootstrap-exception"]
        assert set(again["changes"]) == {"relaxed"}
        assert len(again["changes"]["relaxed"]["new"]) == 2
        (folder / "exception.json").write_text("nonsense")
        assert apply(here, "fim_bootstrap.exception")["fim-bootstrap-exception"]["changes"]
        write_pillar(here.path, {"sha256": SHA256, "exception": {"expires": "2001-01-01"}})
        failed = apply(here, "fim_bootstrap.exception")["fim-bootstrap-exception"]
        assert (failed["result"], "lies in the past" in failed["comment"]) == (False, True)


@contextlib.contextmanager
def mirror() -> Iterator[str]:
    """The binary's URL on a web server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    handler = partial(Quiet, directory=str(BINARY.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{BINARY.name}"
        server.shutdown()


@pytest.mark.parametrize("everything", [True, False], ids=["power", "salt"])
@pytest.mark.parametrize("at_work", ["dpkg", "semodule"])
def test_a_run_killed_half_way_is_healed_by_the_next(at_work: str, everything: bool) -> None:
    """Everything on the host at once, or Salt's process group alone, whose orphans go on."""
    with host() as here:
        argv = ["chroot", str(here.path), "sh", "-c", f"exec env {PROGRAMS}salt-call {WHERE} state.apply fim_bootstrap"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ENVIRONMENT,
                                   stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        until_runs(here, at_work)
        if everything:
            kill_all(here)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        healed = apply(here, "fim_bootstrap")["fim-bootstrap-ready"]
        assert (healed["result"], grain(here)["verdict"]) == (True, "ready"), healed
        assert here.run("dpkg --audit").out == ""
        unchanged(apply(here, "fim_bootstrap"))
