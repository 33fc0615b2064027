"""The play of each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ansible.playing import Play, play


@pytest.fixture
def web1(tmp_path: Path) -> Iterator[Play]:
    """A play on a host without Python."""
    with play(tmp_path) as ready:
        yield ready
