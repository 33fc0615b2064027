"""A SCAP source data stream (NIST SP 800-126): which profiles select the rule, and what it is called in them."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..errors import BadConfig

RULE = "xccdf_org.ssgproject.content_rule_audit_rules_immutable"
PUBLISHERS = {"cisecurity.org/benchmark": "CIS", "cyber.mil/stigs/downloads": "DISA STIG",
              "pcisecuritystandards.org": "PCI DSS"}  # fmt: skip


class Content(NamedTuple):
    """What is read of a data stream; `references` are publisher and id, as this version of the content maps them."""

    path: str
    version: str
    profiles: tuple[tuple[str, str], ...]  # id and title of each that selects the rule
    references: tuple[tuple[str, str], ...]


def read(path: str, data: bytes) -> Content:
    """Read a data stream; raises BadConfig where it is no XML."""
    import pyexpat as expat  # for this command alone, and without the package xml, which is only Python around it

    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = reader.text, reader.entity
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter of an encoding that is none
        raise BadConfig(f"{path}: no XML: {error}", "name a data stream (ssg-...-ds.xml) with --datastream") from error
    return Content(path, reader.version, tuple(reader.selecting), tuple(dict.fromkeys(reader.references)))


class _Reader:
    """The state between two elements."""

    def __init__(self) -> None:
        self.version = ""
        self.selecting: list[tuple[str, str]] = []
        self.references: list[tuple[str, str]] = []
        self._inside: list[str] = []
        self._profile = ("", "")
        self._selects = self._rule = False
        self._publisher: Optional[str] = None
        self._said = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(" ")[2]
        self._inside.append(kind)
        self._said = ""
        if kind == "Profile":
            self._profile, self._selects = (attributes.get("id", ""), ""), False
        elif kind == "select" and attributes.get("idref") == RULE:
            self._selects = attributes.get("selected") in ("true", "1")
        elif kind == "Rule":
            self._rule = attributes.get("id") == RULE
        elif kind == "reference" and self._rule:
            href = attributes.get("href", "")
            self._publisher = next((who for part, who in PUBLISHERS.items() if part in href), None)

    def entity(self, name: str, *_: object) -> None:
        """No data stream declares any; one that expands without end would take all memory."""
        raise ValueError(f"it declares an entity, {name}")

    def text(self, data: str) -> None:
        self._said += data

    def end(self, name: str) -> None:
        kind = self._inside.pop()
        parent = self._inside[-1] if self._inside else ""
        if kind == "version" and parent == "Benchmark":
            self.version = self._said.strip()
        elif kind == "title" and parent == "Profile":
            self._profile = (self._profile[0], self._said.strip())
        elif kind == "Profile" and self._selects and self._profile[0]:
            self.selecting.append(self._profile)
        elif kind == "Rule":
            self._rule = False
        elif kind == "reference" and self._publisher:
            if not self._said.startswith("SRG-"):  # a general requirement, not a control of this system's guide
                self.references.append((self._publisher, self._said.strip()))
            self._publisher = None
