"""Secrets are planted wherever a host may hold them, and looked for in everything that the program says or keeps."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fim_bootstrap import cli, output
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.host.reader import Output
from fim_bootstrap.managers.lookup import Order
from fim_bootstrap.managers.retry import _failure
from fim_bootstrap.managers.rows import MANAGERS
from fim_bootstrap.model import Profile
from fim_bootstrap.redact import redact, shown
from tests.conftest import ALONE, AUDITD_CONF, PROJECT, RULES, Ran, Tree, needs_root

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


@pytest.mark.parametrize(
    "text",
    ["args = --key S3CRET -p S3CRET /usr/bin/x", "proxy_password=S3CRET", 'proxy_password = "S3CRET S3CRET"',
     "Authorization: Basic S3CRET", 'curl -H "Proxy-Authorization: Bearer S3CRET" x', "Bearer s3creT",
     "https://h/x?a=1&token=S3CRET&b=2", "https://h/x?api_key=S3CRET", "X-API-Key: S3CRET", "ActivationId S3CRET",
     "%_httpproxy u:S3CRET@h", "rsync u:S3CRET@h::m", "MYSQL_PWD=S3CRET x", "mysql --password S3CRET", "--pass=S3CRET",
     "passwd: S3CRET", "client_secret=S3CRET", "X-Auth-Token: S3CRET", '\\"password\\": \\"S3CRET S3CRET\\"',
     "https://s3/x?AWSAccessKeyId=AKIAS3CRETS3CRETS3CR&Signature=S3CRET", "aws_secret_access_key = S3CRET",
     "https://b/x?sv=1&sig=S3CRET", "Cookie: sid=S3CRET; a=S3CRET", "DB_PASS=S3CRET", "eyJS3CRET.eyJhIjoS3CRET.x",
     "-----BEGIN RSA PRIVATE KEY-----\nS3CRET\n-----END", "set proxy u:S3CRET@h", "passphrase='S3CRET S3CRET'",
     "curl -u me:S3CRET https://h", "curl -ume:S3CRET h", "curl --proxy-user 'me:S3CRET' h", "wget --user=me:S3CRET h",
     "sshpass -p S3CRET ssh h", "sshpass -pS3CRET ssh h", "mysql -h h -u me -pS3CRET db",
     "machine h login me password S3CRET", "LICENSE_KEY=S3CRET", "register --activationkey S3CRET", "pin=S3CRET",
     "Args = S3CRET /usr/bin/x", "activation_id=S3CRET", "--activation-id S3CRET", "customer-id: S3CRET",
     "<ActivationId>S3CRET</ActivationId>", "QUALYS_ACTIVATION_ID='S3CRET'", "https://h/x?a=b&key=S3CRET",
     'ProxyPassword "S3CRET S3CRET"', "  bindpw S3CRET", "x\npassword S3CRET\ny", "SSHPASS=S3CRET sshpass -e ssh h",
     "dbpass=S3CRET", "psk=S3CRET", "SUSEConnect --regcode S3CRET", "rootpw: S3CRET", "sk_live_S3CRET",
     "hvs.S3CRETS3CRETS3CRET", "npm_S3CRETS3CRETS3CRET"],
)  # fmt: skip
def test_no_secret_of_a_known_shape_is_left(text: str) -> None:
    assert "s3cret" not in redact(text).lower()
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    ["-w /etc/passwd -p wa -k passwd_changes", "/etc/audit/rules.d/10-passwd.rules:3: -e 2", "root@example.org",
     'exe="/usr/bin/passwd" subj=system_u:object_r:auditd_t:s0', "-F key=passwd", "args = /opt/x.sock 0640 LOG_INFO -i",
     "SIGTERM: 15", "bypass=1", "-a always,exit -F path=/etc/ssh_key -F perm=wa -k host_key",
     "krb5_key_file = /etc/audit/audit.key", "-F uid=0 -F key=my_key", "spin=1", "mysql -p", "chown -u 0"],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


PIECES = ("://", "proxy", "proxy=", "password", "password\\", "-password", "--password ", "a", "@", "a:b@",
          "ActivationId ", "eyJ", "eyJa.", "Basic ", "bearer ", "authorization:", "token= ", "token='",
          '\\"', "'", "args = \n",
          "gho_", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "AKIA", "-", "secret ", "= ", "cookie", "sig", " ",
          "\n")  # fmt: skip


@example(["secret ", "a:b@"])
@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_redacting_pieces_twice_is_redacting_them_once(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert redact(redact(text)) == redact(text)


def test_no_pattern_goes_back_over_what_it_has_seen() -> None:
    """Every pair of pieces, repeated; in a process of its own, which is ended where a pattern takes quadratic time."""
    script = "from tests.test_redact import PIECES\nfrom fim_bootstrap.redact import redact\n"
    script += "for a in PIECES:\n for b in PIECES:\n  redact((a + b) * (48_000 // len(a + b)))"
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=300, env=ALONE)


@given(st.text(), st.integers(1, 300))
def test_what_is_shown_is_one_line_that_no_terminal_obeys(text: str, limit: int) -> None:
    line = shown(text, limit)
    assert line.isprintable()
    assert len(line) <= limit + len(f" ... ({len(text)})")


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\x1b[2Jb", r"a\x1b[2Jb"), ("a\nb\r\tc\x7f", r"a\nb\r\tc\x7f"), ("\u202egpj", r"\u202egpj"), ("\x9b", r"\x9b"),
     ("\u200b\u2028\ufeff\u3164", r"\u200b\u2028\ufeff\u3164"), ("\udcff", r"\xff"), ("\ud800", r"\ud800"),
     ("é ü", "é ü"), ("a" * 3110, "a" * 200 + " ... (3110)"),
     ("x" * 190 + " ActivationId=" + "s" * 99, "x" * 190 + " Activatio ... (303)")],
)  # fmt: skip
def test_what_is_not_seen_or_moves_the_cursor_is_written_out(text: str, line: str) -> None:
    assert shown(text) == line


@needs_root
def test_no_text_from_outside_reaches_terminal_or_log_as_it_is(tree: Tree) -> None:
    evil = "\x1b]0;owned\x07\u202e\x9b2J\rready"
    tree.write("/etc/os-release", f'ID=debian\nVERSION_ID=12\nPRETTY_NAME="Debian\n{evil}"\n')
    tree.write(f"/etc/audit/rules.d/{evil}\nready.rules", f"-e 2 # {evil}{'A' * 3000}\udcff\n")
    tree.write("/etc/audit/plugins.d/x.conf", f"path = /{evil}/edr-plugin\n")
    tree.path("/var/log").mkdir(parents=True)
    words = ("check -v", "check -v --format json", "apply -v", "facts", "revert", "exception", "profiles --resolve")
    runs = [tree.fim(*line.split()) for line in words]
    log = tree.path("/var/log/fim-bootstrap.log").read_text()
    for text in (log, *(part for ran in runs for part in (ran.out, ran.err))):
        assert text.replace("\n", "").isprintable()
        assert not [line for line in text.splitlines() if line.startswith("ready") and "profile debian-12" not in line]
    screen = runs[0].out.splitlines()
    assert max(map(len, screen)) < 300
    assert any(" ... (3" in line for line in screen)
    assert evil.replace("\r", "\n") in runs[1].report["host"]["os"]["name"]
    assert "A" * 3000 + r"\xff" in runs[1].report["requirements"][2]["evidence"][0]
    unknown = 'ID="x\n[mine]"\nNAME="a\\"\n\x1b[2J"\n'
    tree.write("/etc/os-release", unknown)
    refused = tree.fim("check")
    assert (refused.status, refused.err.replace("\n", "").isprintable()) == (69, True)
    assert r'title = "a\"\u000a\u001b[2J"' in refused.err


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_key_at_the_end_of_a_text_does_not_break_the_document() -> None:
    document = {"a": ["ActivationId="], "b": {"c": f"CustomerId={ID}", "d": None, "e": 1}}
    printed = json.loads(output.dump(document))
    assert printed == {"a": ["ActivationId="], "b": {"c": "CustomerId=***", "d": None, "e": 1}}


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

    def fails(_: object) -> int:
        raise _failure(LiveHost(), order, said.argv, said)

    monkeypatch.setitem(cli.COMMANDS, "check", fails)
    assert cli.main(["check", "--format", "json"]) == 1
    shown = "".join(capsys.readouterr())
    assert "Failed to fetch" in shown
    assert ID not in shown
    assert PASSWORD not in shown
