"""The exception's record: only what was found or changed here, no id without its version, and each format's grammar."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap import journal
from fim_bootstrap.changes import EditFile
from fim_bootstrap.compliance import command, controls, formats, origins, record, scap
from fim_bootstrap.compliance.controls import CONTROL_FILES
from fim_bootstrap.errors import BadConfig, Blocked, Usage
from fim_bootstrap.host import File
from fim_bootstrap.model import Facts, OsRelease
from fim_bootstrap.profiles import read_table
from fim_bootstrap.resources import compliance_folder
from tests.dict_host import DictHost
from tests.test_requirements import facts

LOCKED = "## set by hand\n-w /etc/passwd -p wa\n-e 2\n"
UNLOCKED = "## set by hand\n-w /etc/passwd -p wa\n# out: 2\n"
PATH = "/etc/audit/rules.d/99-finalize.rules"
RHEL = OsRelease("rhel", "9.4", ("fedora",), "Red Hat Enterprise Linux 9.4 (Plow)")
OPTIONS: Mapping[str, Any] = {
    "format": "markdown", "output": "", "owner": "Ops <ops@example.org>", "approver": "", "ticket": "CHG-7",
    "expires": "2999-01-31", "datastream": "", "profile-id": (), "control": (),
}  # fmt: skip
DATASTREAM = f"""<?xml version="1.0"?>
<collection xmlns:x="http://checklists.nist.gov/xccdf/1.2"><x:Benchmark id="b"><x:version>0.1.99</x:version>
<x:Profile id="xccdf_org.ssgproject.content_profile_cis"><x:title>CIS &amp; more</x:title>
<x:select idref="{scap.RULE}" selected="true"/></x:Profile>
<x:Profile id="xccdf_org.ssgproject.content_profile_ospp"><x:title>OSPP</x:title>
<x:select idref="{scap.RULE}" selected="false"/></x:Profile>
<x:Rule id="other"><x:reference href="https://www.cisecurity.org/benchmark/x/">9.9</x:reference></x:Rule>
<x:Rule id="{scap.RULE}"><x:version>1</x:version>
<x:reference href="https://www.cisecurity.org/benchmark/red_hat_linux/">4.1.3.20</x:reference>
<x:reference href="https://public.cyber.mil/stigs/downloads/?x">SRG-OS-000057</x:reference></x:Rule>
</x:Benchmark></collection>"""


def locked(release: OsRelease = RHEL, text: str = LOCKED) -> Facts:
    """A host whose rules are locked by a file."""
    return facts("audit", rules=(File(PATH, text),))._replace(os=release)


def run(host: DictHost, seen: Facts, **values: Any) -> str:
    """What the command prints."""
    return command.run(host, seen, {**OPTIONS, **values}).out


def test_nothing_is_excepted_that_this_host_does_not_need(dict_host: DictHost) -> None:
    for form in ("markdown", "xccdf-tailoring", "ansible-lockdown", "inspec-waiver", "image-builder"):
        assert run(dict_host, locked(text="-w /etc/passwd -p wa\n"), format=form) == command.NOTHING + "\n"
    assert json.loads(run(dict_host, locked(text=""), format="json"))["relaxed"] == []


def test_what_was_found_is_named_by_file_and_line(dict_host: DictHost) -> None:
    said = run(dict_host, locked())
    assert f"* {PATH}:3: `-e 2`, in force" in said
    assert "CIS Red Hat Enterprise Linux 9 Benchmark 2.0.0, 6.3.3.20 (Level 2)" in said
    assert "RHEL-09-654275" in said
    assert "cannot be seen from this host" in said
    assert "compliant" not in said
    assert "| ticket | CHG-7 |" in said
    assert "| approved by | ____________________ |" in said


def test_what_apply_took_out_is_named_with_its_time(dict_host: DictHost) -> None:
    dict_host.write(PATH, LOCKED)
    change = EditFile(PATH, LOCKED, UNLOCKED, "why")
    change.apply(dict_host, lambda kind, **details: journal.record(dict_host, kind, **details))
    relaxed = json.loads(run(dict_host, locked(text=UNLOCKED), format="json"))["relaxed"]
    assert [(one["file"], one["line"], one["text"]) for one in relaxed] == [(PATH, 3, "-e 2")]
    assert re.match(r"\d{4}-\d\d-\d\dT", relaxed[0]["when"])


def test_an_edit_whose_texts_are_lost_proves_nothing(dict_host: DictHost) -> None:
    journal.record(dict_host, "edit", path=PATH, before="0" * 64, after="1" * 64)
    assert run(dict_host, locked(text="")) == command.NOTHING + "\n"


def test_a_watch_in_the_kernel_is_evidence_and_its_absence_is_said(dict_host: DictHost) -> None:
    seen = locked()
    watched = seen._replace(audit=seen.audit._replace(live_rules=("-w /etc/audit -p wa -k x", "-w /etc/auditx -p w")))
    assert "Seen in the kernel: -w /etc/audit -p wa -k x." in run(dict_host, watched)


def test_a_release_that_nobody_knows_gets_no_id(dict_host: DictHost) -> None:
    said = run(dict_host, locked(OsRelease("rhel", "99")))
    assert "no CIS or STIG id is known for this release" in said
    assert "6.3.3.20" not in said


def test_no_control_is_without_benchmark_and_version() -> None:
    rows = [row for name in CONTROL_FILES for row in read_table(os.path.join(compliance_folder(), name)).values()]
    assert len(rows) > 15
    for row in rows:
        assert all(row[key] for key in ("benchmark", "version", "id", "source")), row


def test_versions_count_with_what_begins_with_them_and_a_dot() -> None:
    assert not controls.roles(OsRelease("rhel", "95"))
    assert controls.roles(OsRelease("rhel", "9"))
    assert controls.content_files(OsRelease("ubuntu", "22.04"))[0].endswith("/ssg-ubuntu2204-ds.xml")
    assert controls.content_files(OsRelease("sles", "15.5"))[0].endswith("/ssg-sle15-ds.xml")


def test_the_content_on_the_host_names_its_own_version_and_ids(dict_host: DictHost) -> None:
    dict_host.write(controls.content_files(RHEL)[0], DATASTREAM)
    assert "CIS, 4.1.3.20, as scap-security-guide 0.1.99 maps it" in run(dict_host, locked())
    tailoring = run(dict_host, locked(), format="xccdf-tailoring")
    assert 'extends="xccdf_org.ssgproject.content_profile_cis"' in tailoring
    assert "CIS &amp; more, audit rules mutable" in tailoring
    assert "ospp" not in tailoring
    assert "Ops &lt;ops@example.org&gt;" in tailoring
    assert "9.9" not in run(dict_host, locked())


def test_a_profile_can_be_named_and_without_content_has_to_be(dict_host: DictHost) -> None:
    tailoring = run(dict_host, locked(), format="xccdf-tailoring", **{"profile-id": ["xccdf_a_profile_b"]})
    assert '<xccdf:Profile id="xccdf_a_profile_b_fim" extends="xccdf_a_profile_b">' in tailoring
    with pytest.raises(Blocked, match="no SCAP content"):
        run(dict_host, locked(), format="xccdf-tailoring")
    with pytest.raises(Blocked, match="cannot be read"):
        run(dict_host, locked(), datastream="/nowhere.xml")
    dict_host.write("/x.xml", "<a>")
    with pytest.raises(BadConfig, match=r"/x\.xml: no XML"):
        run(dict_host, locked(), datastream="/x.xml")


def test_a_blueprint_is_toml_and_a_waiver_names_a_control(dict_host: DictHost, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(run(dict_host, locked(), format="image-builder"))
    blueprint = read_table(str(tmp_path / "b.toml"))
    assert blueprint["customizations"]["openscap"]["tailoring"]["unselected"] == [scap.RULE]
    waiver = run(dict_host, locked(OsRelease("rhel", "8.10")), format="inspec-waiver")
    assert waiver.startswith('"SV-230402":\n  expiration_date: 2999-01-31\n  run: false\n  justification: "')
    with pytest.raises(Blocked, match="no InSpec control id is known"):
        run(dict_host, locked(), format="inspec-waiver")
    assert run(dict_host, locked(), format="inspec-waiver", control=["x: y"]).startswith('"x: y":\n')


def test_the_variables_of_the_hardening_role(dict_host: DictHost) -> None:
    assert "\nrhel9cis_rule_6_3_3_20: false\n" in run(dict_host, locked(), format="ansible-lockdown")
    with pytest.raises(Blocked, match="no role"):
        run(dict_host, locked(OsRelease("photon", "5")), format="ansible-lockdown")


def test_a_folder_gets_every_format_that_fits(dict_host: DictHost) -> None:
    outcome = command.run(dict_host, locked(), {**OPTIONS, "output": "/srv/x", "control": ["a"]})
    assert [path for path, _ in outcome.files] == [
        "/srv/x/exception.md", "/srv/x/exception.json", "/srv/x/ansible-lockdown.yml", "/srv/x/blueprint.toml",
        "/srv/x/waiver.yml",
    ]  # fmt: skip
    assert outcome.told[0].startswith("tailoring.xml is left out: no SCAP content")


@pytest.mark.parametrize("expires", ["tomorrow", "2001-01-01", "2027-02-30"])
def test_an_end_that_is_none_is_refused(expires: str) -> None:
    with pytest.raises(Usage, match=expires):
        record.terms({**OPTIONS, "expires": expires})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("## Ansible controlled file\n# Added as part of ansible-lockdown CIS baseline\n", "an ansible-lockdown role"),
        ("\n# Set the audit.rules configuration immutable per security requirements\n-e 2\n", "scap-security-guide"),
        ("# Ansible managed: /srv/x.j2\n-e 2\n", "Ansible"),
        ("# This file is managed by Puppet\n", "Puppet"),
        ("# Generated by Chef for web1\n", "Chef"),
    ],
)
def test_who_will_write_it_again_is_named(dict_host: DictHost, text: str, name: str) -> None:
    assert name in origins.of(text)[0].name
    assert f"* written here by {origins.of(text)[0].name}: " in run(dict_host, locked(text=f"{text}-e 2\n"))


def test_a_plain_file_was_written_by_nobody_known() -> None:
    assert origins.of("# see https://puppet.com/audit and the landscape of /etc/salt\n-e 2\n") == ()


@pytest.mark.parametrize("option", ["owner", "approver", "ticket"])
def test_what_the_signer_writes_is_one_line(dict_host: DictHost, option: str) -> None:
    """It stands in comments of TOML and YAML, and in XML."""
    for text in ('x"\nselected = ["y"]', "a\x00b", "a\x1b[31m", "a\u202eb"):
        with pytest.raises(Usage, match=f"--{option}: must be one line"):
            run(dict_host, locked(), **{option: text})
    assert "| ops\\|x |" in run(dict_host, locked(), **{option: "ops|x"})


def test_json_is_all_that_the_page_says(dict_host: DictHost) -> None:
    document = json.loads(run(dict_host, locked(), format="json"))
    assert document["schema_version"] == 1
    assert document["controls"][0]["id"] == "6.3.3.20"
    assert document["watch"] == list(record.WATCHED)
    assert document["terms"]["expires"] == "2999-01-31"
    assert formats.watch_rules().count("-p wa") == len(record.WATCHED)
