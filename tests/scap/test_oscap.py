"""The record, read by what it is made for: the real oscap on real content, ansible-core, and a YAML parser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fim_bootstrap.compliance import command, scap
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.model import OsRelease
from tests.conftest import PROJECT, Tree
from tests.fetched import ANSIBLE, fetched
from tests.test_compliance import OPTIONS, locked

pytestmark = pytest.mark.scap

CONTENT = Path("/usr/share/xml/scap/ssg/content")
UBUNTU = OsRelease("ubuntu", "22.04", ("debian",), "Ubuntu 22.04.5 LTS")
PROFILE = "xccdf_org.ssgproject.content_profile_cis_level2_server"
RESULT = "{http://checklists.nist.gov/xccdf/1.2}rule-result"


def made(form: str, release: OsRelease = UBUNTU, **values: Any) -> str:
    """The record of a host of this release, with the content that is installed here."""
    return command.run(LiveHost(), locked(release), {**OPTIONS, "format": form, **values}).out


def oscap(*words: str, root: str = "") -> subprocess.CompletedProcess[str]:
    """Run it; a scan ends with 2 where a rule failed."""
    environment = {**os.environ, **({"OSCAP_PROBE_ROOT": root} if root else {})}
    return subprocess.run(["oscap", "xccdf", *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("release", ["ubuntu 22.04", "ubuntu 20.04", "rhel 8.10", "rhel 9.4", "sles 15.5"])
def test_a_tailoring_of_every_profile_that_selects_the_rule_is_valid(release: str, tmp_path: Path) -> None:
    tailoring = tmp_path / "tailoring.xml"
    name, _, version = release.partition(" ")
    text = made("xccdf-tailoring", OsRelease(name, version))
    assert text.count("<xccdf:Profile ") >= 2
    tailoring.write_text(text)
    done = oscap("validate", "--skip-schematron", str(tailoring))
    assert done.returncode == 0, done.stdout + done.stderr
    tailoring.write_text(re.sub(r"( *<xccdf:status.*\n)( *<xccdf:version.*\n)", r"\2\1", text))
    assert oscap("validate", "--skip-schematron", str(tailoring)).returncode == 2  # the order counts


def scanned(profile: str, stream: Path, root: Path, tailoring: Path | None = None) -> Mapping[str, str]:
    """The result of each rule in a scan of the whole profile."""
    results = stream.parent / "results.xml"
    words = ["--tailoring-file", str(tailoring)] if tailoring else []
    done = oscap("eval", "--profile", profile, *words, "--results", str(results), str(stream), root=str(root))
    assert done.returncode in (0, 2), done.stderr
    found = ET.parse(results).iter(RESULT)
    return {rule.attrib["idref"]: str(rule.findtext(RESULT.replace("rule-result", "result"))) for rule in found}


def test_in_a_scan_of_the_whole_profile_the_rule_alone_is_left_out(tmp_path: Path) -> None:
    """The content's platform checks go: this is no Ubuntu. All else is the distribution's own."""
    stream, root = tmp_path / "ds.xml", tmp_path / "root"
    text = (CONTENT / "ssg-ubuntu2204-ds.xml").read_text()
    stream.write_text(re.sub(r"<xccdf-1.2:platform [^>]*/>", "", text))
    (root / "etc/audit/rules.d").mkdir(parents=True)
    (root / "etc/audit/rules.d/99-finalize.rules").write_text("-D\n")
    before = scanned(PROFILE, stream, root)
    assert before[scap.RULE] == "fail"
    tailoring = tmp_path / "tailoring.xml"
    tailoring.write_text(made("xccdf-tailoring", datastream=str(stream)))
    after = scanned(f"{PROFILE}_fim", stream, root, tailoring)
    assert after[scap.RULE] == "notselected"
    changed = {rule for rule in before if before[rule] != after.get(rule)}
    assert changed == {scap.RULE}


@pytest.fixture(scope="session")
def ansible() -> Path:
    """The folder with ansible-core, and the YAML parser that it uses."""
    return fetched(ANSIBLE)


def python(folder: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python with what lies in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_HOME": str(cwd)}
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_waiver_is_yaml_with_the_fields_of_the_documentation(ansible: Path, tmp_path: Path) -> None:
    waiver = made("inspec-waiver", OsRelease("rhel", "8.10"), control=["a: b", "SV-230402"])
    (tmp_path / "waiver.yml").write_text(waiver)
    dump = "import json, yaml; print(json.dumps(yaml.safe_load(open('waiver.yml')), default=str))"
    done = python(ansible, "-c", dump, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    waivers = json.loads(done.stdout)
    assert set(waivers) == {"a: b", "SV-230402"}
    assert waivers["a: b"]["run"] is False
    assert waivers["a: b"]["expiration_date"] == "2999-01-31"
    assert "CHG-7" in waivers["a: b"]["justification"]


def test_the_role_s_variables_are_a_file_of_ansible(ansible: Path, tmp_path: Path) -> None:
    (tmp_path / "vars.yml").write_text(made("ansible-lockdown"))
    play = "- hosts: localhost\n  gather_facts: false\n  vars_files: [vars.yml]\n"
    play += "  tasks: [{assert: {that: not ubtu22cis_rule_6_3_3_20}}]\n"
    (tmp_path / "play.yml").write_text(play)
    run = "from ansible.cli.playbook import main; main()"
    for words in (["--syntax-check"], ["-c", "local"]):
        done = python(ansible, "-c", run, *words, "-i", "localhost,", "play.yml", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_ansible_role_keeps_the_record_of_a_host_that_needs_one(ansible: Path, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    program = tmp_path / "program"
    words = f"{sys.executable} {PROJECT}/bootstrap.py exception --root {tree.folder}"
    program.write_text(f'#!/bin/sh\nshift\nexec {words} "$@"\n')
    program.chmod(0o755)
    said = {"fim_bootstrap_binary": str(program), "ansible_python_interpreter": sys.executable}
    signed = {**said, "fim_bootstrap_exception": {"expires": "2999-01-31", "owner": "Ops; $(id)", "ticket": "CHG-7"}}
    include = {"include_role": {"name": "fim_bootstrap", "tasks_from": "exception"}}
    play = [{"hosts": "all", "gather_facts": False, "tasks": [include]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    (tmp_path / "roles").symlink_to(PROJECT / "packaging/ansible/roles")

    def done(values: Mapping[str, Any]) -> str:
        run = "from ansible.cli.playbook import main; main()"
        words = ["-c", "local", "-i", "web1,", "play.yml", "-e", json.dumps(values)]
        played = python(ansible, "-c", run, *words, cwd=tmp_path)
        return f"{played.returncode} {played.stdout}{played.stderr}"

    assert "give fim_bootstrap_exception" in done(said)
    assert done(signed).startswith("0 ")
    assert not (tmp_path / "web1.json").exists()
    tree.write("/etc/audit/rules.d/99-finalize.rules", "-e 2\n")
    assert re.search(r"^0 (.*\n)*web1 .*changed=0 ", text := done(signed)), text
    record = json.loads((tmp_path / "web1.json").read_text())
    assert record["terms"] == {"owner": "Ops; $(id)", "approver": "", "ticket": "CHG-7", "expires": "2999-01-31"}
    assert [one["file"] for one in record["relaxed"]] == ["/etc/audit/rules.d/99-finalize.rules"]
