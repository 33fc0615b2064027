"""Secrets are planted wherever a host may hold them, and looked for in everything that the program says or keeps."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap import cli
from fim_bootstrap.dialects import MANAGERS
from fim_bootstrap.host import LiveHost, Output
from fim_bootstrap.managers import Order, _failure
from fim_bootstrap.model import Profile
from fim_bootstrap.redact import redact
from tests.conftest import AUDITD_CONF, RULES, Ran, Tree, needs_root

ID = "5ec2e7a1-0000-4000-8000-0123456789ab"
PASSWORD = "s3cr3t-p4ssw0rd"
URL = f"http://user:{PASSWORD}@proxy.example:3128"
AGENT = f"ActivationId={ID}\nCustomerId={ID}\nLogFileDir=/var/log/{URL}\nUseAuditDispatcher=0ActivationId={ID}\n"
ENVIRONMENT = {"https_proxy": URL, "http_proxy": URL, "ActivationId": ID, "FIM_BOOTSTRAP_MODE": "auto"}
SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\\"',;<>"), min_size=8)
SHAPES = ("ActivationId={}", "customerid = {}", '"ActivationId": "{}"', "x0CustomerId={}\n",
          '\\"CustomerId\\":\\"{}\\"',
          "http://user:{}@host/",
          "E: ftp://{}@host failed", "https_proxy=user:{}@host", 'qualys_https_proxy="a:{}@b"')  # fmt: skip


@given(SECRET, st.sampled_from(SHAPES), st.text(max_size=5))
def test_no_secret_is_left_in_a_text(secret: str, shape: str, around: str) -> None:
    shown = redact(f"{around} {shape.format(f'Zz9{secret}')} {around}")
    assert f"Zz9{secret}" not in shown
    assert redact(shown) == shown


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_key_at_the_end_of_a_text_does_not_break_the_document() -> None:
    document = {"a": ["ActivationId="], "b": {"c": f"CustomerId={ID}", "d": None, "e": 1}}
    assert json.loads(cli._dump(document)) == {"a": ["ActivationId="], "b": {"c": "CustomerId=***", "d": None, "e": 1}}


def planted(tree: Tree) -> Tree:
    """A tree with secrets in every file that is read."""
    tree.write("/etc/qualys/cloud-agent/qualys-cloud-agent.conf", AGENT, 0o600)
    tree.write("/etc/default/qualys-cloud-agent", f"qualys_https_proxy={URL}\n", 0o600)
    tree.write("/etc/audit/auditd.conf", f"# CustomerId={ID}\n# {URL}\n{AUDITD_CONF}# ActivationId={ID}\n", 0o640)
    tree.write("/etc/audit/audit.rules", f"{RULES}# {URL}\n-e 2 ActivationId={ID}\n-a never,task # {URL}\n", 0o640)
    plugin = f"active = {URL}\npath = /opt/{URL}/edr-plugin\nargs = CustomerId={ID}\n"
    tree.write("/etc/audit/plugins.d/edr.conf", plugin, 0o640)
    tree.write("/etc/os-release", f'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian {URL}"\n')
    return tree


def leaks(tree: Tree, ran: Ran) -> list[str]:
    """Where a secret shows. What is kept for revert holds whole files, and is root's alone."""
    places = {"stdout": ran.out, "stderr": ran.err}
    for folder in ("var/log", "var/lib/fim-bootstrap", "run"):
        for path in (tree.folder / folder).rglob("*") if (tree.folder / folder).exists() else ():
            if path.is_file() and path.parent.name != "replaced":
                places[str(path)] = path.read_text(errors="replace")
    return [place for place, text in places.items() if ID in text or PASSWORD in text]


@needs_root
@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_is_said_or_kept_holds_a_secret(tree: Tree, form: str) -> None:
    planted(tree)
    report = tree.path("/report.json")
    words = ("--format", form, "--skip", "packages", "--skip", "auditd", "--report", str(report))
    for command in (("check", "-v"), ("apply", "-v"), ("check", "-v")):
        ran = tree.fim(*command, *words, **ENVIRONMENT)
        assert leaks(tree, ran) == [], ran
        assert json.loads(report.read_text())
        assert ID not in report.read_text()
        assert PASSWORD not in report.read_text()
    for last in (("facts",), ("revert", "--format", form)):
        ran = tree.fim(*last, **ENVIRONMENT)
        assert leaks(tree, ran) == [], ran


@needs_root
@pytest.mark.parametrize(
    "words",
    [("apply", "--no-such-option", URL), ("check", "--profile", URL), ("check", "--mode", f"ActivationId={ID}"),
     ("check", "--profiles", f"/{URL}"), ("check", "--config", f"/{URL}")],
)  # fmt: skip
def test_no_message_of_an_error_holds_a_secret(tree: Tree, words: tuple[str, ...]) -> None:
    for form in ("text", "json"):
        ran = planted(tree).fim(*words, "--format", form, **ENVIRONMENT)
        assert ran.status in (4, 64, 69, 78), ran
        assert leaks(tree, ran) == [], ran


def test_what_a_package_manager_says_about_a_repository_is_redacted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Output(("apt-get", "update"), 100, "", f"E: Failed to fetch {URL}/dists\nE: ActivationId={ID}\n")
    order = Order(MANAGERS["apt"], Profile("debian-12", "Debian 12"), {"auditd": ("auditd",)}, 1)

    def fails(values: object, begun: float) -> int:
        raise _failure(LiveHost(), order, said.argv, said)

    monkeypatch.setitem(cli.COMMANDS, "check", fails)
    assert cli.main(["check", "--format", "json"]) == 1
    shown = "".join(capsys.readouterr())
    assert "Failed to fetch" in shown
    assert ID not in shown
    assert PASSWORD not in shown
