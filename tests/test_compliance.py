"""The exception's record: only what was found or changed here, no id without its version, and each format's grammar."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap import __version__, engine, report
from fim_bootstrap.changes import journal
from fim_bootstrap.changes.files import EditFile
from fim_bootstrap.compliance import command, controls, formats, record, scap
from fim_bootstrap.compliance.controls import CONTROL_FILES
from fim_bootstrap.errors import BadConfig, Blocked, Usage
from fim_bootstrap.host.reader import File
from fim_bootstrap.model import Facts, OsRelease, Settings
from fim_bootstrap.profiles import read_table
from fim_bootstrap.resources import compliance_folder
from fim_bootstrap.written_by import DESELECT, REMEDIATION
from tests.dict_host import DictHost
from tests.test_requirements import PROFILE, facts

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


def taken_out(host: DictHost, before: str, after: str) -> None:
    """Have the edit made, with its entry in the journal."""
    host.write(PATH, before)
    change = EditFile(PATH, before, after, "why")
    change.apply(host, lambda kind, **details: journal.record(host, kind, **details))


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
    taken_out(dict_host, LOCKED, UNLOCKED)
    relaxed = json.loads(run(dict_host, locked(text=UNLOCKED), format="json"))["relaxed"]
    assert [(one["file"], one["line"], one["text"]) for one in relaxed] == [(PATH, 3, "-e 2")]
    assert re.match(r"\d{4}-\d\d-\d\dT", relaxed[0]["when"])


def test_an_edit_whose_texts_are_lost_proves_nothing(dict_host: DictHost) -> None:
    journal.record(dict_host, "edit", path=PATH, before="0" * 64, after="1" * 64)
    assert run(dict_host, locked(text="")) == command.NOTHING + "\n"


def test_a_watch_in_the_kernel_is_evidence_and_its_absence_is_said(dict_host: DictHost) -> None:
    seen = locked()
    watched = seen._replace(audit=seen.audit._replace(live_rules=("-w /etc/audit -p wa -k x", "-w /etc/auditx -p w")))
    said = run(dict_host, watched)
    assert "Seen in the kernel: -w /etc/audit -p wa -k x." in said
    assert "Not seen in the kernel" not in said
    assert "cannot be seen from this host" not in said


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("-w /etc/audit/ -p wa", 0), ("-w /etc -p rwxa", 0), ("-a always,exit -S all -F dir=/etc/audit -F perm=wa", 0),
        ("-a always,exit -F arch=b64 -S all -F path=/etc/audit/auditd.conf -F perm=wa -F key=x", 3),
        ("-w /etc/audit/rules.d -p wa -k x", 3), ("-w /etc/audit -p r", 4), ("-w /etc/auditx -p wa", 4),
        ("-a never,exit -S all -F dir=/etc/audit -F perm=wa", 4), ("-w /etc/audit/rules.d/x.rules -p wa", 4),
        ("-a always,exit -S openat -F dir=/etc/audit -F perm=wa", 4),
        ("-a always,exit -S all -F dir=/etc/audit -F perm=wa -F auid>=1000", 4),
        ("-a always,exit -S all -F dir!=/etc/audit -F perm=wa", 4), ("-a always,exit -S execve", 4),
    ],
)  # fmt: skip
def test_only_a_rule_that_records_each_change_is_evidence(dict_host: DictHost, rule: str, left: int) -> None:
    seen = locked()
    seen = seen._replace(audit=seen.audit._replace(live_rules=(rule,)))
    assert len(json.loads(run(dict_host, seen, format="json"))["unwatched"]) == left
    assert ("Seen in the kernel" in run(dict_host, seen)) == (left < 4)


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


def test_content_that_cannot_be_read_is_told(dict_host: DictHost, monkeypatch: pytest.MonkeyPatch) -> None:
    path = controls.content_files(RHEL)[0]
    dict_host.write(path, DATASTREAM)
    monkeypatch.setattr(dict_host, "read_bytes", lambda _: None)  # as of one that is too large
    assert command.run(dict_host, locked(), OPTIONS).told == (f"{path}: {command.UNREAD}",)


def test_a_profile_can_be_named_and_without_content_has_to_be(dict_host: DictHost) -> None:
    tailoring = run(dict_host, locked(), format="xccdf-tailoring", **{"profile-id": ["xccdf_a_profile_b"]})
    assert '<xccdf:Profile id="xccdf_a_profile_b_fim" extends="xccdf_a_profile_b">' in tailoring
    with pytest.raises(Blocked, match="no SCAP content"):
        run(dict_host, locked(), format="xccdf-tailoring")
    with pytest.raises(Blocked, match="cannot be read"):
        run(dict_host, locked(), datastream="/nowhere.xml")
    bomb = '<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>'
    coded = "<?xml version='1.0' encoding='utf-7'?><a/>"
    for text in ("<a>", "", "\0", bomb, coded, coded.replace("utf-7", "?")):
        dict_host.write("/x.xml", text)
        with pytest.raises(BadConfig, match=r"/x\.xml: no XML"):
            run(dict_host, locked(), datastream="/x.xml")
    dict_host.write("/x.xml", DATASTREAM.replace(' id="xccdf_org.ssgproject.content_profile_cis"', ""))
    with pytest.raises(Blocked, match="no profile of"):
        run(dict_host, locked(), datastream="/x.xml", format="xccdf-tailoring")


def test_a_blueprint_is_toml_and_a_waiver_names_a_control(dict_host: DictHost, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(run(dict_host, locked(), format="image-builder"))
    blueprint = read_table(str(tmp_path / "b.toml"))
    assert blueprint["customizations"]["openscap"]["tailoring"]["unselected"] == [scap.RULE]
    waiver = run(dict_host, locked(OsRelease("rhel", "8.10")), format="inspec-waiver")
    assert waiver.startswith('"SV-230402":\n  expiration_date: 2999-01-31\n  run: false\n  justification: "')
    with pytest.raises(Blocked, match="no InSpec control id is known"):
        run(dict_host, locked(OsRelease("debian", "12")), format="inspec-waiver")
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
    (told,) = outcome.told
    what, remedy = "no SCAP content for this release is here", "name one: --profile-id ID, or --datastream FILE"
    assert told == f"tailoring.xml is left out: {what} ({remedy})"
    assert outcome.out == "".join(f"wrote {path}\n" for path, _ in outcome.files)
    named = command.run(dict_host, locked(), {**OPTIONS, "output": "/srv/x", "profile-id": ["b"]})
    text = dict(named.files)[f"/srv/x/{formats.TAILORING}"]
    assert f'href="{controls.content_files(RHEL)[0]}"' in text
    assert text.endswith("</xccdf:Tailoring>\n")
    unknown = command.run(dict_host, locked(OsRelease("photon", "5")), {
        **OPTIONS, "format": "xccdf-tailoring", "profile-id": ["b"]})  # fmt: skip
    assert 'href="ssg-ds.xml"' in unknown.out


def test_a_line_that_has_no_effect_as_written_is_not_in_force(dict_host: DictHost) -> None:
    """A scanner may count it all the same, and apply takes it out."""
    said = run(dict_host, locked(text="-e 2\r\n-a never,task\r\n"))
    assert f"* {PATH}:1: `-e 2`, no effect as written: " in said
    assert "never,task" not in said


def test_a_kernel_that_no_rule_file_locks_needs_an_exception_too(dict_host: DictHost) -> None:
    seen = locked(text="-D\n")
    frozen = seen._replace(audit=seen.audit._replace(status={"enabled": 2}))
    assert "* the kernel is locked; no line that does it was found" in run(dict_host, frozen)
    by = frozen._replace(audit=frozen.audit._replace(locked_by=("/etc/rc.local:2: auditctl -e 2",)))
    assert "* /etc/rc.local:2: auditctl -e 2, may lock the kernel" in run(dict_host, by)
    assert json.loads(run(dict_host, by, format="json"))["elsewhere"] == ["/etc/rc.local:2: auditctl -e 2"]


def test_what_cannot_be_read_is_no_proof_that_nothing_is_needed(dict_host: DictHost) -> None:
    unread = facts("audit", rules=(File(PATH, "", problem="a fifo"),))._replace(os=RHEL)
    with pytest.raises(Blocked, match=f"whether an exception is needed cannot be said: {PATH}: a fifo"):
        run(dict_host, unread, format="json")
    files = (*unread.audit.rules, File("/etc/audit/rules.d/x.rules", "-e 2\n"))
    both = unread._replace(audit=unread.audit._replace(rules=files))
    assert command.run(dict_host, both, OPTIONS).told == (f"{PATH}: a fifo",)
    dict_host.write(journal.JOURNAL, "nonsense\n")
    with pytest.raises(Blocked, match="1 line cannot be read"):
        run(dict_host, locked(text="-D\n"))


def test_a_line_that_came_again_is_named_by_its_last_time(dict_host: DictHost) -> None:
    for _ in range(2):
        taken_out(dict_host, LOCKED, UNLOCKED)
    steps = [step["time"] for step in journal.entries(dict_host)]
    relaxed = json.loads(run(dict_host, locked(text=UNLOCKED), format="json"))["relaxed"]
    assert [one["when"] for one in relaxed] == steps[-1:]


def everything(host: DictHost) -> Facts:
    """A host on which all that a record can say is to be said; its release is one that has it all."""
    taken_out(host, f"# ansible-lockdown CIS baseline\n{LOCKED}", f"# ansible-lockdown CIS baseline\n{UNLOCKED}")
    lines = host.nodes[journal.JOURNAL]
    lines.content = re.sub(rb'"time": "[^"]*"', b'"time": "2026-11-20T03:04:05+0000"', lines.content or b"")
    host.write(controls.content_files(RHEL)[0], DATASTREAM)
    again = File("/etc/audit/rules.d/90-immutable.rules", "-e 2\n")
    seen = facts("audit", rules=(again,), status={"enabled": 2}, locked_by=("/etc/rc.local:2: auditctl -e 2",),
                 live_rules=("-w /etc/audit/rules.d -p wa -k fim",))  # fmt: skip
    return seen._replace(os=RHEL, hostname="web1", now=1764288000.0)


@pytest.mark.parametrize(("form", "name"), [("markdown", "exception.md"), ("json", "exception.json")])
def test_the_record_as_a_person_signs_it(dict_host: DictHost, form: str, name: str) -> None:
    """Whoever changes the record looks at the files, and writes them anew from what this test prints."""
    said = run(dict_host, everything(dict_host), format=form).replace(f"fim-bootstrap {__version__}", "fim-bootstrap X")
    assert said == (Path(__file__).parent / "golden" / name).read_text(encoding="utf-8")


def test_every_line_of_the_record_is_in_the_report_or_in_the_journal(dict_host: DictHost) -> None:
    seen = everything(dict_host)
    document = json.loads(run(dict_host, seen, format="json"))
    findings = engine.plan(seen, PROFILE, Settings())
    told = report.as_json("check", engine.Outcome(findings, seen), PROFILE, Settings(), 0.0)
    causes = {(one["file"], one["line"], one["text"]) for one in told["causes"]}
    kept = {step["path"]: step["time"] for step in journal.entries(dict_host)}
    for one in document["relaxed"]:
        if one["when"]:
            assert kept[one["file"]] == one["when"]
        else:
            assert (one["file"], one["line"], one["text"]) in causes
    sources = [str(writer) for writer in (one["written_by"] for one in document["relaxed"]) if writer]
    assert len(sources) == 2
    assert [one["source"] for one in told["causes"]] == [f"a remediation of scap-security-guide: {DESELECT}"]
    assert document["hostname"] == told["host"]["hostname"]
    assert "compliant" not in json.dumps(document)


@pytest.mark.parametrize("expires", ["tomorrow", "2001-01-01", "2027-02-30"])
def test_an_end_that_is_none_is_refused(expires: str) -> None:
    with pytest.raises(Usage, match=expires):
        record.terms({**OPTIONS, "expires": expires})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# Added as part of ansible-lockdown CIS baseline\n", "ansible-lockdown/RHEL9-CIS"),
        (f"\n{REMEDIATION}\n-e 2\n", "a remediation of scap-security-guide"),
        ("# Ansible managed: /srv/x.j2\n-e 2\n", "Ansible"),
        ("# This file is managed by Puppet\n", "Puppet"),
        ("# Generated by Chef for web1\n", "Chef"),
    ],
)
def test_who_will_write_it_again_is_named(dict_host: DictHost, text: str, name: str) -> None:
    assert f"* written here by {name}: " in run(dict_host, locked(text=f"{text}-e 2\n"))
    assert "written here by" not in run(dict_host, locked())


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
    assert document["watch"] == [*record.WATCHED, "/etc/audit/plugins.d"]
    assert document["terms"]["expires"] == "2999-01-31"
    old = locked()
    said = run(dict_host, old._replace(audit=old.audit._replace(generation=2)))
    assert "\n-w /etc/audisp/plugins.d -p wa -k audit-configuration\n" in said
    assert "/etc/audit/plugins.d" not in said
