"""The contract: words, exit statuses, stdout and stderr, state files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema
import pytest

from fim_bootstrap import __version__, cli, options
from fim_bootstrap.errors import BadConfig, BootstrapError
from fim_bootstrap.model import Environment
from fim_bootstrap.profiles import load
from fim_bootstrap.resources import profile_folder
from tests.conftest import ALONE, IN_PROCESS, PROJECT, Tree, fim, needs_root
from tests.test_requirements import READY

SCHEMA = json.loads((PROJECT / "schemas/report-1.json").read_text())


def test_check_of_a_tree_says_what_would_change_and_changes_nothing(tree: Tree) -> None:
    before = {p: p.stat().st_mtime_ns for p in tree.folder.rglob("*")}
    ran = tree.fim("check", "--format", "json")
    assert ran.status == 3
    assert ran.report["verdict"] == "not-ready"
    assert ran.status_of("dispatcher") == "change"
    assert "+dispatcher = /sbin/audispd" in ran.out
    assert {p: p.stat().st_mtime_ns for p in tree.folder.rglob("*")} == before


@needs_root
def test_apply_then_check_then_apply_again(tree: Tree) -> None:
    first = tree.fim("apply", "--format", "json")
    assert (first.status, first.report["changed"], first.report["verdict"]) == (0, True, "ready")
    assert "+dispatcher = /sbin/audispd" in first.report["diff"]
    assert tree.read("/etc/audit/auditd.conf").endswith("\ndispatcher = /sbin/audispd\n")
    assert tree.fim("check").status == 0
    stamps = {p: p.stat().st_mtime_ns for p in tree.path("/etc").rglob("*")}
    second = tree.fim("apply", "--format", "json")
    assert (second.status, second.report["changed"], second.report["done"]) == (0, False, [])
    assert second.report["diff"] == ""
    assert {p: p.stat().st_mtime_ns for p in tree.path("/etc").rglob("*")} == stamps


@pytest.mark.skipif(IN_PROCESS, reason="looks at what a process of its own loads")
def test_a_run_that_finds_nothing_to_do_loads_nothing_slow(tree: Tree) -> None:
    ready = tree.fim("check", "--skip", "dispatcher", PYTHONPROFILEIMPORTTIME="1")
    assert ready.status == 0, ready.out
    loaded = {line.rpartition("|")[2].strip() for line in ready.err.splitlines()}
    assert "fim_bootstrap.facts.gather" in loaded
    assert not loaded & {"sh", "asyncio", "subprocess", "threading", "logging", "shutil", "difflib", "dataclasses"}


@needs_root
def test_rules_are_commented_out_and_revert_brings_back_every_byte(tree: Tree) -> None:
    hostile = {
        "/etc/audit/audit.rules": "-D\n-a never,task\n-e 2\n",
        "/etc/audit/rules.d/10-no-audit.rules": "-D\r\n-a task,never\r\n",
        "/etc/audit/rules.d/99-finalize.rules": "-b 8192 -e2",
        "/etc/audit/auditd.conf": tree.read("/etc/audit/auditd.conf"),
    }
    for name, text in hostile.items():
        tree.write(name, text, 0o640)
    assert tree.fim("apply").status == 0
    for name, text in hostile.items():
        now = tree.read(name)
        assert now != text
        assert not any(line.startswith(("-e", "-a")) for line in now.splitlines())
    assert "-b 8192\n" in tree.read("/etc/audit/rules.d/99-finalize.rules") + "\n"
    reverted = tree.fim("revert", "--format", "json")
    assert reverted.status == 0, reverted.err
    assert {name: tree.read(name) for name in hostile} == hostile
    assert tree.fim("revert", "--format", "json").report["changed"] is False


@needs_root
def test_a_broken_auditd_conf_is_named_with_its_line_and_nothing_is_changed(tree: Tree) -> None:
    tree.write("/etc/audit/auditd.conf", "local_events = yes\nnonsense = 1\n")
    tree.write("/etc/audit/audit.rules", "-e 2\n")
    ran = tree.fim("apply", "--format", "json")
    assert ran.status == 4
    assert "/etc/audit/auditd.conf:2: 'nonsense = 1': unknown keyword nonsense" in ran.out
    assert tree.read("/etc/audit/audit.rules") == "-e 2\n"


@pytest.mark.parametrize("words", [("check",), ("apply",), ("apply", "--dry-run")])
def test_json_is_alone_on_stdout_and_fits_the_schema(tree: Tree, words: tuple[str, ...]) -> None:
    if words == ("apply",) and os.geteuid() != 0:
        pytest.skip("needs root")
    ran = tree.fim(*words, "--format", "json")
    jsonschema.validate(ran.report, SCHEMA)
    assert ran.status == {"check": 3, "apply": 0}[words[0]]


@needs_root
def test_the_report_is_written_to_a_file_too(tree: Tree, tmp_path: Path) -> None:
    ran = tree.fim("check", "--format", "json", "--report", str(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text()) == ran.report


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("nonsense",), 64, "there is no command nonsense"),
        (("check", "--only", "all"), 64, "--only all: no such requirement"),
        (("check", "--root", "/does/not/exist"), 64, "no such directory"),
        (("check", "--config", "/does/not/exist"), 78, "/does/not/exist: cannot be read"),
    ],
)
def test_bad_words_end_with_the_documented_status(words: tuple[str, ...], status: int, said: str) -> None:
    ran = fim(*words)
    assert ran.status == status
    assert said in ran.err
    assert "->" in ran.err or status == 78
    assert ran.out == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode = ", "not valid TOML"),
        ("mode = 'sideways'", "mode: must be one of auto, dispatcher, direct"),
        ("colour = 'red'", "colour: no such option"),
        ("probe = 1", "probe: must be a flag"),
    ],
)
def test_a_bad_option_file_is_named_with_its_key(tree: Tree, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    ran = tree.fim("check", "--config", str(file))
    assert ran.status == 78
    assert f"{file}: {said}" in ran.err


def test_the_host_s_option_file_must_be_root_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text('mode = "direct"\n')
    monkeypatch.setattr("fim_bootstrap.options.OPTION_FILE", str(file))
    assert options.parse(["check"])[1]["mode"] == "direct"
    file.chmod(0o666)
    with pytest.raises(BadConfig, match=f"{file}: must belong to root"):
        options.parse(["check"])


def test_the_command_line_counts_more_than_the_environment_and_that_more_than_the_file(
    tree: Tree, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("format = 'json'\nskip = ['dispatcher']\n")
    assert tree.fim("check", "--config", str(file)).report["verdict"] == "ready"
    assert tree.fim("check", "--config", str(file), FIM_BOOTSTRAP_SKIP="rules").report["verdict"] == "not-ready"
    assert tree.fim("check", "--config", str(file), "--skip", "dispatcher", FIM_BOOTSTRAP_SKIP="rules").status == 0
    assert tree.fim("check", FIM_BOOTSTRAP_PROBE="maybe").status == 78


@needs_root
def test_a_second_run_at_the_same_time_is_told_to_come_back(tree: Tree) -> None:
    import fcntl

    state = tree.path("/var/lib/fim-bootstrap")
    state.mkdir(parents=True)
    with (state / "lock").open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = tree.fim("apply")
    assert ran.status == 75
    assert f"another fim-bootstrap (pid {os.getpid()})" in ran.err


@needs_root
def test_state_belongs_to_root_alone(tree: Tree) -> None:
    assert tree.fim("apply").status == 0
    assert tree.path("/var/lib/fim-bootstrap").stat().st_mode & 0o777 == 0o700
    assert tree.path("/var/lib/fim-bootstrap/journal.jsonl").stat().st_mode & 0o777 == 0o600
    assert not list(tree.path("/etc/audit").rglob(".fim-bootstrap*"))


def test_an_unknown_distribution_is_refused_with_what_was_seen_and_what_to_try(tree: Tree) -> None:
    tree.write("/etc/os-release", "ID=haiku\nVERSION_ID=5\nNAME=Haiku\n")
    ran = tree.fim("check", "--format", "json")
    assert ran.status == 69
    assert ran.report["verdict"] == "unsupported"
    jsonschema.validate(ran.report, SCHEMA)
    for part in ("ID=haiku, VERSION_ID=5", "--profile ID", "profiles.d/haiku.toml", 'ids = ["haiku"]'):
        assert part in ran.err
    assert tree.fim("check", "--profile", "debian-12").status == 3


def test_a_run_that_ends_early_tells_of_which_machine_it_speaks(tree: Tree) -> None:
    """A fleet's reader knows a machine by that; the name of the builder would not be that of an image's clones."""
    here = fim("check", "--profile", "none", "--format", "json").report
    jsonschema.validate(here, SCHEMA)
    assert here["host"]["hostname"] == os.uname().nodename
    assert here["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert here["versions"]["kernel"] == os.uname().release
    there = tree.fim("check", "--profile", "none", "--format", "json").report
    assert (there["host"], "boot" in there, there["comment"]) == ({}, False, here["comment"])


@pytest.mark.parametrize("state", ["unpacked", "half-configured", "half-installed"])
def test_a_package_that_was_only_half_installed_counts_as_missing(tree: Tree, state: str) -> None:
    """dpkg was killed after it had unpacked: auditd is there, its configuration is not."""
    tree.write("/usr/bin/apt-get", "#!/bin/false\n", 0o755)
    tree.path("/etc/audit/auditd.conf").unlink()
    stanza = "Package: auditd\nStatus: install ok {}\nPriority: optional\n\n"
    tree.write("/var/lib/dpkg/status", stanza.format("installed"))
    tree.write("/var/lib/dpkg/updates/0001", stanza.format(state))
    ran = tree.fim("check", "--format", "json")
    assert [ran.status_of(word) for word in ("packages", "dispatcher")] == ["change", "waiting"]
    assert "auditd: its package was only half installed" in ran.out
    tree.path("/var/lib/dpkg/updates/0001").unlink()
    assert tree.fim("check", "--format", "json").status_of("packages") == "ok"


def test_no_install_names_the_packages_and_changes_nothing(tree: Tree) -> None:
    tree.path("/usr/sbin/auditctl").unlink()
    ran = tree.fim("check", "--no-install", "--format", "json")
    assert ran.status == 4
    assert "install auditd, or run without --no-install" in ran.out


@needs_root
@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_rule_file_that_is_no_file_is_refused_clearly(tree: Tree, kind: str) -> None:
    path = tree.path("/etc/audit/rules.d/50-odd.rules")
    if kind == "link":
        tree.write("/srv/odd.rules", "-e 2\n")
        path.symlink_to("/srv/odd.rules")
    else:
        path.mkdir()
    ran = tree.fim("apply", "--format", "json")
    assert ran.status == 4
    assert "/etc/audit/rules.d/50-odd.rules: a " in ran.out
    assert "dispatcher" not in tree.read("/etc/audit/auditd.conf")


def test_links_of_a_tree_stay_inside_the_tree(tree: Tree) -> None:
    tree.path("/etc/os-release").unlink()
    tree.write("/usr/lib/os-release", "ID=debian\nVERSION_ID=11\nVERSION_CODENAME=bullseye\n")
    tree.link("/etc/os-release", "../usr/lib/os-release")
    conf = tree.read("/etc/audit/auditd.conf")
    tree.path("/etc/audit/auditd.conf").unlink()
    tree.write("/srv/auditd.conf", conf)
    tree.link("/etc/audit/auditd.conf", "/srv/auditd.conf")
    ran = tree.fim("check", "--format", "json")
    assert ran.report["host"]["profile"] == "debian-11"
    assert "a symbolic link to /srv/auditd.conf" in ran.out


@needs_root
@pytest.mark.parametrize("kind", ["large", "long", "link", "folder", "pipe"])
def test_a_journal_in_which_revert_would_find_nothing_is_said_and_nothing_is_changed(tree: Tree, kind: str) -> None:
    before = tree.read("/etc/audit/auditd.conf")
    journal = tree.path("/var/lib/fim-bootstrap/journal.jsonl")
    tree.write("/var/lib/fim-bootstrap/x", "{}\n")
    if kind in ("large", "long"):
        journal.write_text('{"id": "1", "kind": "rule"}\n' * 200_000 if kind == "large" else "\n" * 90_000)
    elif kind == "link":
        journal.symlink_to("x")
    elif kind == "folder":
        journal.mkdir()
    else:
        os.mkfifo(journal)
    size = journal.stat().st_size
    for command in ("check", "apply", "reboot-required"):
        ran = tree.fim(command)
        assert ran.status == 4
        assert "journal.jsonl: " in ran.err
        assert "move /var/lib/fim-bootstrap/journal.jsonl to another place" in ran.err
    assert (tree.read("/etc/audit/auditd.conf"), journal.stat().st_size) == (before, size)
    assert tree.fim("revert").status == 1


def test_apply_says_which_part_of_the_journal_is_lost(tree: Tree) -> None:
    tree.write("/var/lib/fim-bootstrap/journal.jsonl", "nonsense\n", 0o600)
    ran = tree.fim("apply")
    assert ran.status == 0
    assert "journal.jsonl: 1 line cannot be read; what they recorded cannot be taken back" in ran.err


def test_a_journal_that_makes_no_sense_is_said_and_the_rest_is_taken_back(tree: Tree) -> None:
    before = tree.read("/etc/audit/auditd.conf")
    assert tree.fim("apply").status == 0
    journal = tree.path("/var/lib/fim-bootstrap/journal.jsonl")
    nonsense = (
        '{"id": "1", "kind": "dance"}',
        '{"id": "2"}',
        '{"id": "3", "kind": "edit"}',
        '{"id": "4", "kind": "install"}',
    )
    journal.write_text("\n".join((*nonsense, journal.read_text())))
    ran = tree.fim("revert", "--packages")
    assert ran.status == 1
    assert "kind 'dance' cannot be read" in ran.out
    assert "kind 'install' cannot be read" in ran.out
    assert tree.read("/etc/audit/auditd.conf") == before


def test_secrets_of_the_agent_never_come_out(tree: Tree) -> None:
    secret = "0f3c2a1b-1111-2222-3333-444455556666"
    tree.write(
        "/etc/qualys/cloud-agent/qualys-cloud-agent.conf",
        f"ActivationId={secret}\nCustomerId={secret}\nUseAuditDispatcher=1\n",
        0o600,
    )
    tree.write("/etc/audit/audit.rules", f"-e 2 # see http://user:{secret}@proxy/ ActivationId={secret}\n")
    for words in (("check",), ("check", "--format", "json"), ("facts",)):
        ran = tree.fim(*words)
        assert secret not in ran.out + ran.err
        assert ran.status == (0 if words == ("facts",) else 3), ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "must be an http(s):// or file:// URL"),
        (("--url", "https://h/x'; rm"), "must be an http(s):// or file:// URL"),
        (("--url", "https://h/x"), "must be the 64 hex digits"),
        (("--url", "https://h/x", "--sha256", "0" * 64, "--part", "script", "--mode", "direct"), "carries no options"),
    ],
)
def test_user_data_that_cannot_work_is_not_printed(words: tuple[str, ...], said: str) -> None:
    refused = fim("cloud-config", *words)
    assert (refused.status, refused.out) == (64, "")
    assert said in refused.err


def test_user_data_carries_url_checksum_and_options() -> None:
    words = ("cloud-config", "--url", "https://h/x", "--sha256", "5" * 64)
    script = fim(*words, "--part", "script").out
    document = fim(*words, "--mode", "dispatcher", "--skip", "delivery", "--no-install", "--network-timeout", "60").out
    assert script.startswith("#!/bin/sh\n")
    assert document.startswith("#cloud-config\n")
    assert "".join(f"      {line}".rstrip() + "\n" for line in script.splitlines()) in document
    options = ('mode = "dispatcher"', 'skip = ["delivery"]', "no-install = true", "network-timeout = 60.0")
    assert all(f"      {line}\n" in document for line in options)
    assert f"url='https://h/x'\nsha256='{'5' * 64}'\n" in script


def test_an_os_release_that_cannot_be_read_is_named(tree: Tree) -> None:
    tree.write("/etc/os-release", 'ID="debian\nVERSION_ID=12\n')
    ran = tree.fim("check")
    assert ran.status == 69
    assert "No closing quotation" in ran.err


def test_a_number_that_is_none_would_be_waited_for_forever(tree: Tree) -> None:
    assert tree.fim("check", "--lock-timeout", "nan").status == 64
    assert tree.fim("check", FIM_BOOTSTRAP_LOCK_TIMEOUT="nan").status == 64


def ended(tree: Tree, stdout: Any, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    """A run whose standard output is something else than a pipe that is read."""
    argv = [sys.executable, str(PROJECT / "bootstrap.py"), *words, "--root", str(tree.folder)]
    return subprocess.run(argv, stdout=stdout, stderr=subprocess.PIPE, check=False, env=ALONE, **more)


@needs_root
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_stdout_that_takes_nothing_costs_the_other_readers_nothing(tree: Tree, tmp_path: Path, form: str) -> None:
    tree.path("/var/log").mkdir(parents=True)
    words = ("apply", "--format", form, "--report", str(tmp_path / "report.json"))
    with open("/dev/full", "w") as full:
        done = ended(tree, full, *words)
    assert (done.returncode, b"the result cannot be printed: No space left on device" in done.stderr) == (1, True)
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "ready"
    assert "ready; 1 change made" in tree.read("/var/log/fim-bootstrap.log")
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` that has seen enough
    done = ended(tree, writer, *words)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((tmp_path / "report.json").read_text())["changed"] is False
    for command, status in (("check", 0), ("facts", 0), ("revert", 0)):
        reader, writer = os.pipe()
        os.close(reader)
        assert ended(tree, writer, command).returncode == status
        os.close(writer)


@needs_root
def test_a_stderr_that_takes_nothing_stops_no_change(tree: Tree) -> None:
    tree.write("/etc/audit/audit.rules", "-e 2\n")
    argv = [sys.executable, str(PROJECT / "bootstrap.py"), "apply", "--format", "json", "--root", str(tree.folder)]
    for shell in ('exec "$@" 2>/dev/full', 'exec "$@" 2>&-'):
        tree.write("/etc/audit/audit.rules", "-e 2\n")
        done = subprocess.run(["sh", "-c", shell, "sh", *argv], stdout=subprocess.PIPE, check=False, env=ALONE)
        assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "ready")
        assert tree.read("/etc/audit/audit.rules").startswith("# fim-bootstrap")


@needs_root
def test_a_report_that_gets_nowhere_is_a_failure_and_costs_no_reboot(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_: object) -> None:
        raise BootstrapError("the report got nowhere")

    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr("fim_bootstrap.export.deliver", lost)
    monkeypatch.setattr("fim_bootstrap.report.reboot_required", lambda _: True)
    monkeypatch.setattr("fim_bootstrap.host.live.LiveHost.run", lambda _, *argv, **__: ran.append(argv))
    report = str(tree.folder.parent / "report.json")
    options = ("--format", "json", "--reboot", "when-needed", "--report", report)
    status = cli.main(["apply", "--root", str(tree.folder), *options])
    said = capsys.readouterr()
    assert (status, [argv[0] for argv in ran]) == (1, ["shutdown"])
    assert json.loads(said.out)["verdict"] == "ready"
    assert "the report got nowhere" in said.err


@pytest.mark.parametrize("words", [("--format", "json", "--bogus"), ("--bogus", "--format=json")])
def test_a_program_that_errs_in_its_words_gets_a_report(words: tuple[str, ...]) -> None:
    seen = fim("check", *words)
    assert (seen.status, seen.report["verdict"], seen.report["command"]) == (64, "failed", "check")
    assert "there is no option --bogus" in seen.err
    assert fim("check", "--bogus").out == ""


def test_a_mistake_of_our_own_is_a_report_too(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    logged: list[str] = []
    monkeypatch.setattr("fim_bootstrap.session.gather", wrong)
    monkeypatch.setattr("fim_bootstrap.host.live.LiveHost.log", lambda _, line: logged.append(line))
    assert cli.main(["check", "--root", str(tree.folder), "--format", "json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["comment"].startswith(
        "a mistake in this program: ZeroDivisionError: by nothing (report"
    )
    assert "Traceback (most recent call last):" in logged
    assert "-> report it with /var/log/fim-bootstrap.log" in said.err


def test_who_interrupts_it_is_told_how_to_go_on(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fim_bootstrap.session.gather", interrupted)
    assert cli.main(["check", "--root", str(tree.folder)]) == 130
    assert capsys.readouterr().err == "fim-bootstrap: interrupted; run it again to finish\n"


def test_a_container_is_sent_to_its_host(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = READY._replace(environment=Environment.CONTAINER)
    monkeypatch.setattr("fim_bootstrap.session.gather", lambda *_: found)
    tree.write("/run/.containerenv", "")
    assert cli.main(["check", "--root", str(tree.folder)]) == 69
    said = capsys.readouterr().err
    assert "a container, or a system without an init (/run/.containerenv is there)" in said
    assert "-> run it on that host; to prepare an image, name the tree: --root /" in said


def test_the_version_is_told() -> None:
    for word in ("version", "--version"):
        assert fim(word)[:2] == (0, f"fim-bootstrap {__version__}\n")


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    seen = fim("check", "--root", f"{tmp_path}/none")
    why = f"fim-bootstrap check: --root {tmp_path}/none: no such directory\n"
    assert (seen.status, seen.err) == (64, f"{why}  -> name the folder in which the tree lies\n")


def test_brief_is_the_verdict_alone(tree: Tree) -> None:
    seen = tree.fim("check", "--brief")
    assert seen.out.startswith("not ready: ")
    assert seen.out.endswith(f"(exit {seen.status})\n")
    assert len(seen.out.splitlines()) == 1


def test_facts_are_json_without_a_pid_file(tree: Tree) -> None:
    """Infinity, by which Python writes a time that never comes, is no JSON."""

    def refuse(word: str) -> None:
        pytest.fail(word)

    seen = json.loads(tree.fim("facts").out, parse_constant=refuse)
    assert seen["audit"]["pid_file"] is None


@needs_root
def test_a_file_that_was_not_edited_since_is_taken_back_without_a_comparison(tree: Tree) -> None:
    """Of 20,000 equal lines each would be compared with each."""
    rules = "-e 2\n" + "-w /etc -p wa\n" * 20_000 + "-e 2\n"
    tree.write("/etc/audit/rules.d/x.rules", rules)
    assert tree.fim("apply").status == 0
    assert tree.fim("revert").status == 0
    assert tree.read("/etc/audit/rules.d/x.rules") == rules
    assert tree.fim("apply").status == 0
    edited = tree.read("/etc/audit/rules.d/x.rules").replace("-w /etc -p wa\n", "-w /etc -p w\n", 1) + "# mine\n"
    tree.write("/etc/audit/rules.d/x.rules", edited)
    ran = tree.fim("revert")
    assert (ran.status, tree.read("/etc/audit/rules.d/x.rules")) == (1, edited)
    assert "was edited since, beside or in our lines; left alone" in ran.out


@pytest.mark.parametrize(("found", "unasked", "status", "told"), [
    (True, "", 0, "auditd             auditd"), (False, "", 3, "auditd             NOT IN THE REPOSITORIES"),
    (False, "the network is down", 3, "auditd             not looked up"),
])  # fmt: skip
def test_resolve_ends_with_3_where_a_package_cannot_be_had(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: bool, unasked: str,
    status: int, told: str,
) -> None:  # fmt: skip
    tree.write("/usr/bin/apt-get", "#!/bin/false\n", 0o755)
    everything = {name for profile in load([profile_folder()]) for names in profile.packages.values() for name in names}
    monkeypatch.setattr("fim_bootstrap.managers.lookup.available", lambda *_: (everything if found else set(), unasked))
    words = ["profiles", "--resolve", "--root", str(tree.folder)]
    assert cli.main(words) == status
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "profile debian-12: Debian 12 (bookworm)"
    assert told in printed.out.splitlines()
    assert (f"not looked up: {unasked}\n" if unasked else "") == printed.err
    assert cli.main([*words, "--format", "json"]) == status
    shown = json.loads(capsys.readouterr().out)
    assert (shown["profile"], shown["not_looked_up"]) == ("debian-12", unasked)
    assert shown["packages"]["auditd"] == (["auditd"] if found else [])


@pytest.mark.parametrize(("status", "delivered", "ended"), [
    (0, True, 0), (2, True, 2), (3, True, 3), (4, True, 4), (0, False, 1), (2, False, 1), (3, False, 1), (4, False, 4),
    (1, False, 1), (75, False, 75),
])  # fmt: skip
def test_a_result_that_got_lost_makes_a_failure_of_what_was_none(
    capsys: pytest.CaptureFixture[str], status: int, delivered: bool, ended: int
) -> None:
    assert cli._ended(status, delivered, {"a": 1}, {"format": "json"}) == ended
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    with patch("fim_bootstrap.output.result", side_effect=BootstrapError("no space")):
        assert cli._ended(status, True, {"a": 1}, {"format": "json"}) == (1 if status in (0, 2, 3) else status)
