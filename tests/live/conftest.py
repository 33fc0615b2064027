"""The live tests boot whole machines: only `make test-live` runs them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out of a plain run, in the count of skipped tests."""
    if not config.getoption("--live"):
        for item in items:
            if "tests/live" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="boots a guest: make test-live"))


@pytest.fixture(autouse=True)
def _timed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print how long each scenario took."""
    begun = time.monotonic()
    yield
    print(f"\n-- {request.node.name}: {time.monotonic() - begun:.0f} s")
