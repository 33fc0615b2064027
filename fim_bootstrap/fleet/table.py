"""The CSV: every host, with all that the page has of it and what a spreadsheet does not take for a formula."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .machines import Fleet
from .picture import State

COLUMNS = (
    "host", "hostname", "state", "verdict", "reboot_required", "reboot_after_apply", "reboot_advised", "batch",
    "stops_at", "causes", "to_do", "release", "audit", "agent", "agent_version", "tool", "skipped", "seen", "machine",
    "report",
)  # fmt: skip
FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x20\x7f]*[=+\-@＝＋－＠]")  # noqa: RUF001 - also what an IME writes


def cells(values: Sequence[str]) -> str:
    """One line (RFC 4180): each cell is quoted, and an apostrophe keeps what looks like a formula from being one."""
    return ",".join(f'"{_text(value)}"' for value in values) + "\r\n"


def _text(value: str) -> str:
    return ("'" if FORMULA.match(value) else "") + value.replace('"', '""')


def lines(fleet: Fleet, state: State, batches: Mapping[str, str]) -> Iterator[str]:
    """The CSV's lines; `batches` has the batch of a host, or why it is in none."""
    yield cells(COLUMNS)
    for m in fleet.machines:
        causes, reboots = [fleet.causes[place] for place in m.causes], (m.reboot, m.later, m.advised)
        yield cells((
            m.name, m.hostname, state.of(m), m.verdict, *("yes" if is_so else "no" for is_so in reboots),
            batches.get(m.name, ""), m.stop, _joined(cause.text() for cause in causes),
            _joined(dict.fromkeys(cause.do for cause in causes)), m.release, m.audit, m.agent, m.agent_version, m.tool,
            _joined(m.skipped), moment(m.seen), m.identity, m.path,
        ))  # fmt: skip


def moment(seen: float) -> str:
    """A time as ISO 8601 in UTC; nothing where there is none."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seen)) if seen else ""


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(texts)
