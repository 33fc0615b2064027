"""Write the table of supported releases into docs/releases.md, from the profiles: `make table`."""

from __future__ import annotations

from pathlib import Path

from fim_bootstrap.model import Profile
from fim_bootstrap.profiles import load
from fim_bootstrap.resources import profile_folder

PAGE = Path(__file__).resolve().parent.parent / "docs/releases.md"
BEGIN, END = "<!-- releases -->\n", "<!-- /releases -->\n"
PROOF = {"live": "live", "real manager": "with the real manager", "replay": "replay", "from facts": "from facts"}
HEAD = """\
| release | profile | package manager | audit | SELinux by default | end of life | tested |
|---|---|---|---|---|---|---|
"""


def row(profile: Profile) -> str:
    """One release."""
    audit = "2, audispd" if profile.audit == 2 else "3 or 4"
    selinux = "yes" if profile.lsm == "selinux" else "no"
    proof = PROOF[profile.tested] + (", names not all certain" if profile.confidence else "")
    cells = (profile.title, f"`{profile.id}`", ", ".join(profile.managers), audit, selinux, profile.eol, proof)
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """Every release that a profile names."""
    return HEAD + "".join(row(profile) for profile in load([profile_folder()]) if profile.ids)


def filled(page: str) -> str:
    """The page with the table as the profiles have it now."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
