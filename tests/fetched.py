"""Programs from PyPI that the tests run: each with what it needs in a folder of its own, fetched once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.cache import kept, run

SALT = f"salt=={os.environ.get('FIM_SALT', '3008.3')}"
SALT_LTS = "salt==3006.28"
ANSIBLE = "ansible-core==2.19.14"


def fetched(requirement: str) -> Path:
    """The folder with a pinned package, for this Python; the programs in its bin need it as PYTHONPATH."""
    pip = (sys.executable, "-m", "pip", "install", "-q")
    name = f"pypi-{requirement}-{sys.implementation.cache_tag}"
    return kept(name, lambda made: run(*pip, "--target", str(made), requirement))
