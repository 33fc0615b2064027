"""docs/ansible.md begins with lines to paste: pasted here, they print what the page says (make test-ansible)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.ansible.playing import play
from tests.conftest import BINARY, PROJECT, needs_mounts

pytestmark = [pytest.mark.ansible, needs_mounts]

PAGE = (PROJECT / "docs/ansible.md").read_text().partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    """The page's fenced blocks, before its first section."""
    return re.findall(f"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def comparable(text: str) -> str:
    """Without spaces at the ends of lines, and without the digest that stands in a module's name."""
    return re.sub("_src_[0-9a-f]+_t", "_src_DIGEST_t", re.sub(" +$", "", text, flags=re.MULTILINE)).strip("\n")


def test_the_lines_to_paste_print_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "packaging").symlink_to(PROJECT / "packaging")
    with play(tmp_path) as web1:
        web1.variables.clear()
        (tmp_path / "release").mkdir()
        shutil.copy(BINARY, tmp_path / "release")
        assert web1.sh("cd release && sha256sum * > SHA256SUMS").status == 0
        (paste,) = blocks("sh")
        ran = web1.sh(f"set -e\n{paste}")
        assert ran.status == 0, ran.err
        screens = [screen.removeprefix("$ ").split("\n", 1) for screen in blocks("console")]
        assert len(screens) == 3
        for command, printed in screens:
            ran = web1.sh(command)
            assert ran.status == 0, ran.out + ran.err
            assert comparable(printed) in comparable(ran.out)
