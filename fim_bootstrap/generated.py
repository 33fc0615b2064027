"""Files that a configuration manager writes again and again: they say so at their top."""

from __future__ import annotations

import re

TOOLS = r"(?:ansible|puppet|chef|salt(?:stack)?|cfengine|rudder|bcfg2|terraform|cloud-init|open-?scap|oscap|scap)\b"
OVERWRITTEN = r"(?:do not|don't|never) (?:edit|modify|change)|will be (?:over|lost|erased|reverted|destroyed|removed)"
BY = r"(?:managed|maintained|controlled|generated|created|deployed|installed|provisioned|rendered|written|dropped off)"
# what generators put at the top: a whole comment line that says so, not one that cites a link or a path
GENERATED = re.compile(
    rf"^[#\W]*(?:(?:warning|notice|note|header|begin)\W+)?"
    rf"(?:{TOOLS}[- ]managed\b|(?:(?:this|the) )?(?:file |content )?(?:(?:is|was|has been) )?"
    rf"(?:auto(?:matically |-)?|dynamically )?{BY} (?:by|with|via|using|through) (?:the )?"
    rf"(?:{TOOLS}|(?=.*(?:{OVERWRITTEN}))))",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)


def writer(text: str) -> str:
    """The tool that writes the file, as the comments at its top say; '' where they say no such thing."""
    header = re.match(r"(?:[ \t]*(?:#.*)?\n){0,20}", text)
    said = GENERATED.search(header[0]) if header else None
    if header is None or said is None:
        return ""
    named = re.search(TOOLS, header[0][said.start() :], re.IGNORECASE)
    return named[0].lower() if named else "a generator"
