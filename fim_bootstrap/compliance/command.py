"""The command `exception`: which formats, from what, and where to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from ..changes import journal
from ..errors import Blocked, BootstrapError
from ..host.reader import RAW_LIMIT, Reader
from ..model import Facts
from . import formats, record, scap
from .controls import content_files

NOTHING = "no exception is needed: nothing on this host locks the audit rules, and nothing was taken out"
UNREAD = f"cannot be read, or is larger than {RAW_LIMIT >> 20} MiB; what it calls the rule is not known"


class Outcome(NamedTuple):
    """What goes to stdout, and into files by their name; `told` is for the person at the terminal."""

    out: str
    files: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()


def run(host: Reader, facts: Facts, values: Mapping[str, Any]) -> Outcome:
    """Make the record in one format, or, for a folder, in all that fit this host."""
    terms = record.terms(values)
    content = _content(host, facts, values["datastream"])
    made = record.made(host, facts, content, terms)
    told = [f"{file.path}: {file.problem}" for file in facts.audit.rules if file.problem]
    told += filter(None, [journal.damage(host)])
    if not made.needed:
        if told:
            raise Blocked(f"whether an exception is needed cannot be said: {'; '.join(told)}", "mend that, then again")
        return Outcome(formats.as_json(made) if values["format"] == "json" else NOTHING + "\n")
    if not content and (there := next(filter(host.stat, content_files(facts.os)), "")):
        told.append(f"{there}: {UNREAD}")
    if not values["output"]:
        return Outcome(_one(values["format"], made, facts, values), told=tuple(told))
    files = []
    names = {**{form: name for form, (name, _) in formats.SIMPLE.items()},
             "xccdf-tailoring": formats.TAILORING, "inspec-waiver": formats.WAIVER}  # fmt: skip
    for form, name in names.items():
        try:
            files.append((f"{values['output']}/{name}", _one(form, made, facts, values)))
        except BootstrapError as error:  # one format that does not fit this release does not stop the others
            told.append(f"{name} is left out: {error}" + (f" ({error.remedy})" if error.remedy else ""))
    return Outcome("".join(f"wrote {path}\n" for path, _ in files), tuple(files), tuple(told))


def _one(form: str, made: record.Record, facts: Facts, values: Mapping[str, Any]) -> str:
    if form in formats.SIMPLE:
        return formats.SIMPLE[form][1](made)
    if form == "inspec-waiver":
        return formats.inspec_waiver(made, values["control"])
    profiles = [(name, "") for name in values["profile-id"]] or [*(made.content.profiles if made.content else ())]
    if not profiles and made.content:
        raise Blocked(f"no profile of {made.content.path} selects the rule", "nothing has to be tailored there")
    if not profiles:
        raise Blocked("no SCAP content for this release is here", "name one: --profile-id ID, or --datastream FILE")
    expected = content_files(facts.os) or ("ssg-ds.xml",)
    return formats.xccdf_tailoring(made, profiles, made.content.path if made.content else expected[0])


def _content(host: Reader, facts: Facts, named: str) -> Optional[scap.Content]:
    """The data stream that was named, else the first of this release that is installed."""
    for path in (named,) if named else content_files(facts.os):
        if (data := host.read_bytes(path)) is not None:
            return scap.read(path, data)
    if named:
        raise Blocked(f"--datastream {named}: cannot be read", "name a file of scap-security-guide, ssg-...-ds.xml")
    return None
