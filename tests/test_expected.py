"""What will follow once the packages are there: told before, and apart from the plan."""

from __future__ import annotations

from typing import Any

import jsonschema

from fim_bootstrap import engine, expected
from fim_bootstrap.facts.commands import AUDIT_COMMANDS, SELINUX_COMMANDS
from fim_bootstrap.host.reader import File
from fim_bootstrap.model import Facts, Profile, Settings, Status
from tests.conftest import Tree
from tests.test_cli import SCHEMA
from tests.test_requirements import CONF, PROFILE, READY

KNOWN = PROFILE._replace(packages={**PROFILE.packages, **dict.fromkeys(SELINUX_COMMANDS, ("policycoreutils",))})
# without a package of its own: no auditd, no configuration, no module
FRESH = READY._replace(
    commands={name: path for name, path in READY.commands.items() if name not in (*AUDIT_COMMANDS, *SELINUX_COMMANDS)},
    audit=READY.audit._replace(generation=0, conf=None, rules=(), daemon=None, status=None, live_rules=None),
    selinux=READY.selinux._replace(in_store=False, module_present=False, effective=False),
)
RULES = "/etc/audit/rules.d/99-site.rules"


def foreseen(facts: Facts, profile: Profile = KNOWN, **asked: Any) -> dict[str, tuple[str, str]]:
    """What is expected of whom, and the first change in words."""
    settings = Settings(**asked)
    findings = engine.plan(facts, profile, settings)
    return {
        each.id: (each.status.value, each.changes[0].describe() if each.changes else each.summary)
        for each in expected.look(findings, facts, profile, settings)
    }


def with_rules(text: str) -> Facts:
    return FRESH._replace(audit=FRESH.audit._replace(rules=(File(RULES, text),)))


def test_a_fresh_host_is_told_what_follows_the_packages() -> None:
    told = foreseen(FRESH)
    assert list(told) == ["dispatcher", "policy"]
    assert told["dispatcher"][0] == told["policy"][0] == "change"
    assert told["dispatcher"][1].startswith(f"edit {CONF}: dispatcher = /sbin/audispd")
    assert "SELinux module" in told["policy"][1]


def test_a_rule_file_that_stands_there_already_is_judged() -> None:
    assert foreseen(with_rules("-e 2\n"))["rules"] == (
        "change",
        f"edit {RULES}: comment out what freezes or silences the rules",
    )


def test_what_will_block_blocks_before_a_package_is_installed() -> None:
    findings = engine.plan(with_rules("-a never,exit -S all\n"), KNOWN, Settings())
    [rules] = [finding for finding in findings if finding.id == "rules"]
    assert (rules.status, rules.evidence[0]) == (Status.BLOCKED, f"{RULES}:1: -a never,exit -S all: takes all events")


def test_audit_2_brings_the_line_and_what_it_names() -> None:
    assert list(foreseen(FRESH, KNOWN._replace(audit=2))) == ["policy"]


def test_only_selinux_tools_are_missing() -> None:
    told = foreseen(FRESH._replace(commands={**FRESH.commands, **dict.fromkeys(AUDIT_COMMANDS, "/sbin/x")},
                                   audit=READY.audit))  # fmt: skip
    assert list(told) == ["policy"]


def test_nothing_is_expected_where_no_package_is_due() -> None:
    assert foreseen(READY) == {}
    assert foreseen(FRESH, install=False) == {}
    assert foreseen(FRESH, skip=("policy", "dispatcher")) == {}


def test_the_report_of_a_tree_without_auditd_tells_what_will_follow(tree: Tree) -> None:
    tree.write("/usr/bin/apt-get", "#!/bin/false\n", 0o755)
    tree.path("/usr/sbin/auditd").unlink()
    tree.path("/etc/audit/auditd.conf").unlink()
    tree.write(RULES, "-e 2\n")
    seen = tree.fim("check", "--format", "json")
    jsonschema.validate(seen.report, SCHEMA)
    assert (seen.status, [each["id"] for each in seen.report["expected"]]) == (3, ["dispatcher", "rules"])
    assert seen.status_of("rules") == "waiting"
    assert f"  later   rules: edit {RULES}: comment out what freezes or silences the rules\n" in tree.fim("check").out
    tree.write(RULES, "-a never,exit -S all\n")
    blocked = tree.fim("apply", "--format", "json")
    assert (blocked.status, blocked.status_of("rules"), blocked.report["done"]) == (4, "blocked", [])
