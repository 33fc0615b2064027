"""The command `fleet`: from the words of the command line to what is written, printed and returned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import BootstrapError, Usage
from . import page, plan_formats, table, text
from .machines import Fleet
from .picture import State, picture
from .plan import Wanted, plan
from .since import since

TOLD = 20  # files that were left out and are named on stderr; the JSON has more
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


class Outcome(NamedTuple):
    """What is to be written where, printed, told on stderr, and the exit status."""

    files: Iterator[tuple[str, str]]
    out: str
    told: tuple[str, ...]
    status: int


def run(values: Mapping[str, Any], now: float) -> Outcome:
    """Read the reports and say what they say together. Raises Usage, and BootstrapError where there is no report."""
    state = State(now, _stale(values["stale"]))
    wanted = Wanted(values["batch"], _canary(values["canary"]), tuple(values["exclude"]), values["group-by"])
    plan((), state, wanted)  # what is asked for can be read: said before a minute of reading
    before = Fleet()
    if values["since"]:
        before.read([values["since"]], now)
    fleet = Fleet(before.causes)
    fleet.read(values["reports"], now)
    if not fleet.machines:
        first = next(iter(fleet.problems.items()), None)
        why = f" ({first[0]}: {first[1]})" if first else ""
        raise BootstrapError(f"no report in {', '.join(values['reports'])}{why}", "fim-bootstrap check --format json")
    seen = picture(fleet, state)
    planned = plan(fleet.machines, state, wanted)
    changed = since(before, fleet, state) if values["since"] else None

    def files() -> Iterator[tuple[str, str]]:
        if values["html"]:
            yield values["html"], page.rendered(seen, planned, changed)
        if values["csv"]:
            batches = {host: name for name, hosts in planned.batches for host in hosts} | dict(planned.apart)
            yield values["csv"], "".join(table.lines(fleet, state, batches)).rstrip("\n")
        if values["plan"]:
            yield values["plan"], plan_formats.rendered(planned, values["plan-format"], values["plan"])

    if values["format"] == "json":
        out = json.dumps(text.document(seen, planned, changed), indent=2)
    else:
        out = "\n".join(text.lines(seen, planned, changed))
    problems = {**before.problems, **fleet.problems}
    told = [f"left out: {path}: {why}" for path, why in list(problems.items())[:TOLD]]
    if len(problems) > TOLD:
        told.append(f"left out: {len(problems) - TOLD} more files")
    return Outcome(files(), out, tuple(told), 1 if problems and values["strict"] else 0)


def _stale(text: str) -> float:
    """A time span in seconds; 0 and never: no report is ever too old."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if not match and text not in ("0", "never"):
        raise Usage(f"--stale {text}: must be a number with m, h, d or w, or never", "--stale 7d")
    return float(match[1]) * _UNITS[match[2]] if match else 0.0


def _canary(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise Usage(f"--canary {text}: must be a number of hosts", "--canary 5")
    return int(text)
