"""The record in the formats of scanners, of hardening roles, and for the person who signs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ..agent.vendor import PAGE, PAGE_ON_EXCEPTIONS
from ..errors import Blocked
from ..redact import SENTENCE, shown
from .record import REASON, Record, Relaxed, sources, unwatched
from .scap import RULE

SHORT = RULE.rpartition("content_rule_")[2]
NAMESPACE = "http://checklists.nist.gov/xccdf/1.2"
NOT_SEEN = "Whether FIM really watches these files cannot be seen from this host; the signer states it."
STAY = "`-f 2` and immutable login uids stay as STIG profiles want them: neither hinders FIM."
PRECEDENT = "SUSE deselects this rule in its own profiles for SLES 15 and 16 (anssi_bp28_*, hipaa, pcs-hardening)."
UNEXPLAINED = "* the kernel is locked; no line that does it was found"
AIDE = ("PCI DSS 11.5.2 asks for change detection; a scanner's rule for it looks for AIDE and cannot know this FIM:"
        " it is not excepted here.")  # fmt: skip


def markdown(record: Record) -> str:
    """The record that a person signs."""
    terms = record.terms
    rows = [("host", record.hostname), ("system", record.release), ("made", f"{record.made} by {record.tool}"),
            ("owner", terms.owner), ("approved by", terms.approver), ("ticket", terms.ticket),
            ("expires", terms.expires), ("kernel", record.kernel)]  # fmt: skip
    asked = [f"* {control} ({control.source})" for control in record.controls]
    if content := record.content:
        asked += [f"* {who}, {name}, as scap-security-guide {content.version} maps it"
                  for who, name in content.references]  # fmt: skip
    if not any(control.benchmark.startswith(("CIS", "DISA")) for control in record.controls):
        asked.append("* no CIS or STIG id is known for this release: look it up in the benchmark that is in use")
    found = [_line(one) for one in record.relaxed]
    found += [f"* {shown(line)}, may lock the kernel" for line in record.elsewhere]
    seen = [f"Seen in the kernel: {shown('; '.join(record.watches), SENTENCE)}."] if record.watches else []
    seen += [f"Not seen in the kernel: {', '.join(left)}. {NOT_SEEN}"] if (left := unwatched(record)) else []
    back = [f"* written here by {writer}" for writer in sources(record.relaxed)]
    back += [f"* where {role.role} is used: `{name}: false`" for role in record.roles for name in role.variables]
    parts = [
        "# Exception: audit rules stay mutable",
        "\n".join(("| | |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in rows))),
        f"## Why\n\n{REASON} The agent's vendor writes: \"{PAGE_ON_EXCEPTIONS}\" ({PAGE}).",
        "## What locks the rules, and what was taken out\n\n" + ("\n".join(found) or UNEXPLAINED),
        "## What asks for it\n\n" + "\n".join(asked),
        "## Instead\n\nFIM, or audit rules, watch the audit configuration (PCI DSS 4.0.1, 10.3.4):\n\n"
        + "\n".join(f"* {path}" for path in record.watch) + f"\n\nAs audit rules:\n\n```\n{watch_rules(record)}```\n\n"
        + "\n\n".join(seen),
        f"## What stays\n\n{STAY}\n\n{PRECEDENT}\n\n{AIDE}",
    ]  # fmt: skip
    if back:
        parts.append("## So that it is not written again\n\n" + "\n".join(back))
    return "\n\n".join(parts) + "\n"


def as_json(record: Record) -> str:
    """The same as data."""
    document = {
        "schema_version": 1, "needed": record.needed, "rule": RULE, "reason": REASON, **_plain(record),
        "unwatched": list(unwatched(record)),
    }  # fmt: skip
    return json.dumps(document, indent=2) + "\n"


def xccdf_tailoring(record: Record, profiles: Sequence[tuple[str, str]], href: str) -> str:
    """An XCCDF 1.2 tailoring (NISTIR 7275 r4, 6.7) that extends each profile and deselects the rule.

    The schema fixes the order: benchmark, status, version, profiles. A remark does not reach the results of a scan, so
    the reason stands in the profile's description, too.
    """
    date = record.made[:10]
    reason = escape(_reason(record))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<xccdf:Tailoring xmlns:xccdf="{NAMESPACE}" id="xccdf_fim-bootstrap_tailoring_mutable-audit">',
        f'  <xccdf:benchmark href="{escape(href)}"/>',
        f'  <xccdf:status date="{date}">accepted</xccdf:status>',
        f'  <xccdf:version time="{record.made[:19]}">1</xccdf:version>',
    ]
    for name, title in profiles:
        lines += [
            f'  <xccdf:Profile id="{escape(name)}_fim" extends="{escape(name)}">',
            f'    <xccdf:title override="true">{escape(title or name)}, audit rules mutable for FIM</xccdf:title>',
            f'    <xccdf:description override="true">{reason}</xccdf:description>',
            f'    <xccdf:select idref="{RULE}" selected="false">',
            f"      <xccdf:remark>{reason}</xccdf:remark>",
            "    </xccdf:select>",
            "  </xccdf:Profile>",
        ]
    return "\n".join([*lines, "</xccdf:Tailoring>", ""])


def inspec_waiver(record: Record, names: Sequence[str]) -> str:
    """A waiver file (docs.chef.io/inspec/waivers): the control is not run until 00:00 of the day of expiration."""
    ids = [*names] or [control.waiver for control in record.controls if control.waiver]
    if not ids:
        raise Blocked("no InSpec control id is known for this release", "name that of your profile: --control ID")
    return "".join(
        f"{json.dumps(name)}:\n  expiration_date: {record.terms.expires}\n  run: false\n"
        f"  justification: {json.dumps(_reason(record))}\n"
        for name in ids
    )  # fmt: skip


def ansible_lockdown(record: Record) -> str:
    """The variables that keep the hardening role from writing `-e 2` again."""
    if not record.roles:
        raise Blocked(f"no role of ansible-lockdown is known for {record.release}", "look for -e 2 in your own role")
    lines = ["---", f"# {_reason(record)}"]
    for role in record.roles:
        lines.append(f"# {role.role}; the number is the control's in the benchmark that the role's version follows")
        lines += [f"{variable}: false" for variable in role.variables]
    return "\n".join([*lines, ""])


def image_builder(record: Record) -> str:
    """The part of an Image Builder blueprint that deselects the rule (osbuild, customizations.openscap.tailoring)."""
    return f'# {_reason(record)}\n[customizations.openscap.tailoring]\nunselected = ["{RULE}"]\n'


def watch_rules(record: Record) -> str:
    """The compensating control as audit rules."""
    return "".join(f"-w {path} -p wa -k audit-configuration\n" for path in record.watch)


def _reason(record: Record) -> str:
    signed = [f"{key}: {value}" for key, value in record.terms._asdict().items() if value]
    return f"{REASON} Instead the audit configuration is to be watched: {', '.join(record.watch)}. {'; '.join(signed)}."


def _cell(value: str) -> str:
    return shown(value).replace("|", "\\|") or "____________________"


def _line(one: Relaxed) -> str:
    state = f"taken out {one.when}" if one.when else f"no effect as written: {one.inert}" if one.inert else "in force"
    return f"* {shown(f'{one.file}:{one.line}: `{one.text}`')}, {state}"


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


SIMPLE: Mapping[str, tuple[str, Callable[[Record], str]]] = {  # format -> file name, and what makes it
    "markdown": ("exception.md", markdown),
    "json": ("exception.json", as_json),
    "ansible-lockdown": ("ansible-lockdown.yml", ansible_lockdown),
    "image-builder": ("blueprint.toml", image_builder),
}
TAILORING, WAIVER = "tailoring.xml", "waiver.yml"
