"""What the program says in the fast tests, and what it reads off a host made of dictionaries and does there.

`make golden` writes tests/golden/said.txt: read what changed before it is committed. A sentence that does not stand
there fails the test that heard it, so that no word of them changes unseen. It is heard before it is redacted, so
that the secrets of tests stand there. What one machine or day says otherwise than another is masked.
What is said no more leaves the file when it is next written.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Optional
from unittest.mock import patch

from fim_bootstrap.audit import preflight
from fim_bootstrap.errors import BootstrapError
from fim_bootstrap.model import AgentFacts, AuditFacts, Facts, Finding, Hop, Obstacle, SELinuxFacts
from tests.dict_host import DictHost

PROJECT = Path(__file__).resolve().parent.parent
FILE = PROJECT / "tests/golden/said.txt"
HEARD = os.environ.get("FIM_HEARD", "")  # a file to which all that was heard is added, instead of being compared
LONG = 1000
PASSED_OVER = ("today", "now", "hostname", "versions", "rules", "conf")  # they change, or are long
PARTS = (AuditFacts, SELinuxFacts, AgentFacts)
MASKS = (
    (r"(fim-bootstrap)-[0-9a-f]{16}", r"\1-MARK"),
    (r"(fim-bootstrap) \d{4}-\d\d-\d\d", r"\1 TODAY"),
    (r"place='[^']*'", "place=PLACE"),
    (r"/dev/fd/\d+", "/dev/fd/N"),
    (r'"[0-9a-f]{16}"', '"ID"'),
    (r'"time": "[^"]*"', '"time": "NOW"'),
    (r"[0-9a-f]{64}", "DIGEST"),
    (r"(?<=^logs: the network failed, try )\d+", "N"),
    (r"(?<=^Busy: another fim-bootstrap \(pid )\d+|(?<=process )\d+ \(\[?py.*", "N"),
    (r"\d+(?= s ago)|(?<=belongs to uid )\d+", "N"),
    (r"(?<= )\d{4}-\d\d-\d\d \d\d:\d\d", "LOCAL TIME"),
    # in the words of Python and of expat
    (r"(?<=^BadConfig: )(.* (?:valid JSON|valid TOML|no XML)): .*?(?= -> |$)", r"\1: WHY"),
    (r"(?:  #|;) [^;#]* reached its end of life on .*", ""),  # as soon as it has
    (r"(?<= -> one of: )amazon.*", "PROFILES"),
    (r"\w[-\w]* has no use for it", "COMMAND has no use for it"),
)


def _of_error(error: BootstrapError) -> Iterator[str]:
    yield f"{type(error).__name__}: {error}{_then(error.remedy)}"


def _of_finding(found: Finding) -> Iterator[str]:
    follows = f"; follows {', '.join(found.follows)}" if found.follows else ""
    lists = {"evidence": found.evidence, "warning": found.warnings, "change": [c.describe() for c in found.changes]}
    yield f"title of {found.id}: {found.title}"
    counted = "".join(f"; {len(lines)} {kind}" for kind, lines in lists.items() if lines)
    yield f"{found.id} {found.status.value}: {found.summary}{_then(found.remedy)}{counted}{follows}"
    yield from (f"{found.id} {kind}: {line}" for kind, lines in lists.items() for line in lines)


def _of_obstacle(one: Obstacle) -> Iterator[str]:
    yield f"obstacle: {one.where}: {one.why}{_then(one.remedy)}"


def _then(remedy: str) -> str:
    return f" -> {remedy}" if remedy else ""


def _of_hop(hop: Hop) -> Iterator[str]:
    yield f"hop {hop.hop} {hop.state}: {hop.evidence}"


def _of_facts(found: Facts) -> Iterator[str]:
    for part in (found, found.audit, found.selinux, found.agent):
        for name in part._fields:
            value = getattr(part, name)
            if not (name in PASSED_OVER or value == part._field_defaults.get(name) or isinstance(value, PARTS)):
                yield f"fact {type(part).__name__} {name}: {sorted(value) if isinstance(value, frozenset) else value!r}"


def _of_host(host: DictHost) -> Iterator[str]:
    yield from host.told
    yield from (f"logs: {line}" for line in host.logged)


KINDS: Mapping[type, tuple[str, Callable[[Any], Iterator[str]]]] = {
    BootstrapError: ("__init__", _of_error),
    Finding: ("__new__", _of_finding),
    Obstacle: ("__new__", _of_obstacle),
    Hop: ("__new__", _of_hop),
    Facts: ("__new__", _of_facts),
}


@contextmanager
def heard(folder: Path, host: Optional[DictHost]) -> Iterator[set[str]]:
    """What the program, and not a test, says in the meantime; it stands there at the end."""
    made: list[tuple[Any, Callable[[Any], Iterator[str]]]] = []

    def listening(method: Callable[..., Any], tell: Callable[[Any], Iterator[str]]) -> Callable[..., Any]:
        def listened(one: Any, *args: Any, **more: Any) -> Any:
            result = method(one, *args, **more)
            if sys._getframe(1).f_globals["__name__"].startswith("fim_bootstrap."):
                made.append((one if result is None else result, tell))
            return result

        return listened

    lines: set[str] = set()
    with ExitStack() as stack:
        for kind, (name, tell) in KINDS.items():
            stack.enter_context(patch.object(kind, name, listening(getattr(kind, name), tell)))
        yield lines
    told = (line for one, tell in made if host or tell != _of_facts for line in tell(one))
    lines.update(_masked(line, folder) for line in (*told, *(_of_host(host) if host else ())))


def _masked(line: str, folder: Path) -> str:
    line = line.replace(str(folder), "FOLDER").replace(str(PROJECT), "PROJECT").replace(preflight.SCRIPT, "SCRIPT")
    for pattern, put in MASKS:
        line = re.sub(pattern, put, line)
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= LONG else f"{line[:LONG]} ... ({len(line)})"


def check(lines: set[str]) -> None:
    """Whether all of it is known."""
    if HEARD:
        with open(HEARD, "a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in sorted(lines)))
        return
    new = sorted(lines - _known())
    assert not new, "it says what tests/golden/said.txt does not know; see `make golden`:\n" + "\n".join(new)


@functools.cache
def _known() -> frozenset[str]:
    return frozenset(FILE.read_text(encoding="utf-8").splitlines())
