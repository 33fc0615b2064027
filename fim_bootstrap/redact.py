"""Text from outside, where it leaves this program: without secrets, and on a screen in one line that no terminal obeys.

os-release, rules, labels, command lines and what other programs say may be anybody's. Nothing here takes longer
than in proportion to the text, whatever it holds: no pattern looks at a character more than a few times.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Union

PASSES = 4  # more than any text was seen to need
QUOTE = 200  # characters of one line of the host's that are shown
SENTENCE = 2000  # characters of a sentence of our own, which may quote several
LOOKED_AT = 65536  # characters of one line that are redacted at all; a secret is shorter than what lies between

_GAP = r"""[\\"'\s]*"""  # quotes as in JSON, escaped or not
_NAMES = "pass|pwd|secret|token|key|credential|sig|pin|bindpw|rootpw|psk|regcode"
_KEY = (
    r"passw(?:or)?d|passphrase|passcode|pwd|secret|token|credential|signature"
    r"|(?:api|access|auth|private|account|activation|license)[-_]?key|(?<=\w)[-_]key(?![-_]file)"
    r"|(?<![a-z])(?:(?:ssh|db|ldap|smtp|mail|ftp|http|user|root|key)?pass|sig|pin|psk)(?![\w-])|bindpw|rootpw|regcode"
)
# drawn over other characters, or as nothing, although they count as printable
_UNSEEN = r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"

_NO_TEXT = r"[\ud800-\udfff]"  # bytes that are no UTF-8: many a reader of JSON refuses them


def _no_login(found: re.Match[str]) -> str:
    """Up to the last @ of the word: a password may hold one, or a slash."""
    before, at, host = found[2].rpartition("@")
    login = found[1] or (":" in before and "://" not in before)
    return f"{found[1]}***@{host}" if at and login else found[0]


def _no_value(found: re.Match[str]) -> str:
    """--proxy-password VALUE: an option and its value are two words."""
    return f"{found[1]}{found[2]}***" if re.search(f"(?i){_KEY}", found[1]) else found[0]


def _no_arguments(found: re.Match[str]) -> str:
    """A plugin's arguments (auditd-plugins(5)): what is no path, number, option or word of syslog may be anything."""
    kept = re.compile(r"/[\w./+-]*|\d+|-\w|--[\w-]+|LOG_[A-Z0-9]+")
    words = re.split(r"(\s+)", found[2])
    return found[1] + "".join(word if not word.strip() or kept.fullmatch(word) else "***" for word in words)


# as cloud services and the like begin theirs
_TOKENS = (
    r"(?<![\w-])(?:A[KS]IA[A-Z0-9]{12,}|gh[opsur]_\w{16,}|github_pat_\w+|xox[a-z]-[\w-]+|glpat-[\w-]+"
    r"|eyJ[\w-]+\.[\w.-]+|hvs\.[\w-]{16,}|AIza[\w-]{16,}|npm_\w{16,}|sk_(?:live|test)_\w+)"
)


# marks (lower case; a pattern is compiled and tried only where a text holds one), the pattern, what is put there
_SECRETS: tuple[tuple[str, str, Union[str, Callable[[re.Match[str]], str]]], ...] = (
    # no boundary before the key: a file whose last line was not ended runs into the next
    ("activation|customer", r"""(?i)((?:activation|customer)[-_]?id[\\"'\s=:>]+)[^\s\\"',;<>]+""", r"\1***"),
    ("authorization|cookie", rf"(?i)((?:authorization|cookie){_GAP}[=:]{_GAP})[^\r\n]+", r"\1***"),
    ("bearer|basic", r"((?i:bearer)\s+)[\w.~+/=-]+|(Basic\s+)(?=[\w+/]*[A-Z0-9=])[\w+/=]+", r"\1\2***"),
    (_NAMES, rf"""(?i)((?:{_KEY})[\w-]{{0,24}}{_GAP}[=:]\s*)(?:\\*"[^"\n]*|\\*'[^'\n]*|[^\s"'&;]+)""", r"\1***"),
    (_NAMES, r"(?<![\w-])(--?[\w-]+)([ \t]+)(?!-)\S+", _no_value),
    # a configuration's line of a name and a value; a query of a URL
    (_NAMES, rf"(?im)^([ \t]*\w{{0,24}}(?:{_KEY})[ \t]+)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s=:\"']+)[ \t]*;?$", r"\1***"),
    ("key=", r"(?i)([?&]key=)[^\s&]+", r"\1***"),
    # curl, wget; sshpass, mysql; netrc
    ("-u", r"""(?<![\w-])((?:-[uU]|--(?:proxy-)?user)[ \t='"]*[^\s:'"]{1,64}:)[^\s'"]+""", r"\1***"),
    ("sshpass|mysql", r"(?i)(\bsshpass\s{1,9}-p\s{0,9}|\bmysql[^\n]{0,200}?\s-p)[^\s-]\S*", r"\1***"),
    ("login", r"(?i)(\blogin\s{1,9}\S{1,64}\s{1,9}password\s{1,9})\S+", r"\1***"),
    ("@", r"""(?i)(proxy[\w-]{0,24}[\\"'\s=:]+|://)([^\s\\"'<>]*)""", _no_login),
    ("@", r"""(?<![^\s\\"'<>=,(])()([^\s\\"'<>=,(@]+@[^\s\\"'<>]*)""", _no_login),
    ("akia|asia|eyj|gh|xox|glpat|hvs|aiza|npm_|sk_", _TOKENS, "***"),
    ("private key", r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[^-]+", r"\1***"),
    ("args", r"(?im)^([ \t]*args[ \t]*=[ \t]*)(\S[^\n]*)", _no_arguments),
)  # fmt: skip


_MARKS = tuple({mark for marks, *_ in _SECRETS for mark in marks.split("|")})


def redact(text: str) -> str:
    """The text without what nobody else may see; what one pattern put there may be a secret's place to another."""
    lower = text.lower()
    if not any(mark in lower for mark in _MARKS):  # as of most texts
        return text
    for _ in range(PASSES):
        before, text = text, _redacted_once(text)
        if text == before:
            break
    return text


def _redacted_once(text: str) -> str:
    lower = text.lower()
    for marks, pattern, put in _SECRETS:
        if any(mark in lower for mark in marks.split("|")):
            text = re.sub(pattern, put, text)
    return text


def redacted(value: Any) -> Any:
    """The JSON value with every text redacted; the JSON text itself would not always stay valid."""
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if not isinstance(value, str):
        return value
    text = redact(value)
    return text if text.isascii() else re.sub(_NO_TEXT, lambda found: _escaped(str(found[0])), text)


def one_line(text: str) -> str:
    r"""The text redacted; what moves a cursor, turns the writing round or is not seen as \x1b, \n, \u202e."""
    text = redact(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and not re.match(_UNSEEN, c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, as surrogateescape keeps it
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def shown(text: str, limit: int = QUOTE) -> str:
    """The text in one line of a screen or a log; one that is longer is cut, and its length given."""
    line = one_line(text[:LOOKED_AT])
    return line if len(line) <= limit and len(text) <= LOOKED_AT else f"{line[:limit]} ... ({len(text)})"
