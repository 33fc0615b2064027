"""The live tests boot whole machines; `make test-live` runs them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _timed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print how long each scenario took."""
    begun = time.monotonic()
    yield
    print(f"\n-- {request.node.name}: {time.monotonic() - begun:.0f} s")
