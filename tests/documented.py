"""The lines to paste that a page of the documentation shows, and the output that it promises: its test runs them."""

from __future__ import annotations

import re

from tests.conftest import PROJECT


def blocks(page: str) -> list[str]:
    """The fenced blocks of a page (its path in the project), in their order."""
    return re.findall(r"(?ms)^```\w*\n(.*?)^```$", (PROJECT / page).read_text())


def block(page: str, word: str) -> str:
    """The first fenced block of a page with this word in it."""
    return next(found for found in blocks(page) if word in found)
