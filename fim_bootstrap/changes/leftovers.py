"""What a run that was killed left behind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..host.reader import RUN, STATE, Host
from .packages import POLICY_RC, POLICY_RC_TEXT


def tidy(host: Host, steps: Sequence[Mapping[str, Any]]) -> None:
    """Remove what a run that was killed left behind; with the lock in hand.

    Every file is journalled before it is written, so the journal knows the folders.
    """
    paths = [step["path"] for step in steps if isinstance(step.get("path"), str)]
    folders = {os.path.dirname(path) for path in (*paths, POLICY_RC)}
    host.tidy(sorted({*folders, STATE, f"{STATE}/replaced", RUN}))
    there = host.read(POLICY_RC)
    if there and there.text == POLICY_RC_TEXT:
        host.remove(POLICY_RC)
