"""Reboot the minions that need it, a batch at a time, and stop where one does not come back ready.

Salt's own batch mode hands a batch on as soon as its commands have returned; a reboot returns before it happens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Union

import salt.client

# put here by Salt's loader
__opts__: dict[str, Any]
__context__: dict[str, Any]


def pending(tgt: Union[str, Sequence[str]] = "*", tgt_type: str = "glob") -> list[str]:
    """The minions whose grain reports reboot_required.

    CLI example: salt-run fim_bootstrap.pending
    """
    grains = _ask(tgt, tgt_type, "grains.get", ["fim_bootstrap:reboot_required"])
    return sorted(minion for minion, required in grains.items() if required is True)


def reboot(
    tgt: Union[str, Sequence[str]] = "*",
    tgt_type: str = "glob",
    batch: Union[str, int] = 1,
    at_time: int = 1,
    timeout: float = 900,
    interval: float = 5,
) -> dict[str, Any]:
    """Reboot those that are pending and, asked again, still need it; `batch` is a number of minions, or '10%' of them.

    What is back (it runs another boot) is applied to once more, since an image-based host gets its packages only
    then. A batch is over when `check` says ready of each. Where one needs yet another reboot, or is not ready
    `timeout` seconds after the reboot was asked for (`at_time` minutes before it happens), nothing more is rebooted,
    and the runner fails.

    CLI example: salt-run fim_bootstrap.reboot tgt='web*' batch=10%
    """
    waiting = pending(tgt, tgt_type)
    size = _size(batch, len(waiting))
    outcome: dict[str, Any] = {"ready": [], "not_needed": [], "not_ready": {}}
    while waiting and not outcome["not_ready"]:
        these, waiting = waiting[:size], waiting[size:]
        _reboot(these, outcome, at_time, time.monotonic() + timeout, interval)
    # the exit status of salt-run, and for orchestrate whether the state failed
    status = __context__["retcode"] = int(bool(outcome["not_ready"]))
    return {**outcome, "not_rebooted": waiting, "retcode": status}


def _reboot(batch: Sequence[str], outcome: dict[str, Any], at_time: int, deadline: float, interval: float) -> None:  # noqa: C901
    """Reboot one batch, and wait until each is ready; what became of it goes into `outcome`.

    In one piece, since each minion passes from one case to the next while the same loop waits for all of them.
    """
    required = _ask(batch, "list", "fim_bootstrap.reboot_required")
    boots = _ask(batch, "list", "fim_bootstrap.boot_id")
    left: dict[str, str] = {}
    for minion in batch:
        answer = required.get(minion)
        if not isinstance(answer, dict) or not isinstance(boots.get(minion), dict):
            outcome["not_ready"][minion] = f"not rebooted, it does not answer: {answer}"
        elif not answer.get("reboot_required"):
            outcome["not_needed"].append(minion)
        else:
            left[minion] = "did not come back"
    if outcome["not_ready"] or not left:
        outcome["not_ready"].update(dict.fromkeys(left, "not rebooted, since another of its batch does not answer"))
        return
    _ask([*left], "list", "system.reboot", [at_time])
    applied: set[str] = set()
    while left and time.monotonic() < deadline:
        time.sleep(interval)
        now = _ask([*left], "list", "fim_bootstrap.boot_id")
        back = [minion for minion in left if isinstance(now.get(minion), dict) and now[minion] != boots[minion]]
        if fresh := [minion for minion in back if minion not in applied]:
            _ask(fresh, "list", "fim_bootstrap.apply")
            applied.update(fresh)
        for minion, report in _ask(back, "list", "fim_bootstrap.check").items() if back else ():
            if not isinstance(report, dict):
                left[minion] = str(report)
            elif report.get("verdict") == "ready":
                outcome["ready"].append(minion)
                del left[minion]
            else:
                left[minion] = report["comment"]
                if report.get("reboot_required"):  # waiting does not help
                    outcome["not_ready"][minion] = left.pop(minion)
    outcome["not_ready"].update(left)


def _ask(tgt: Union[str, Sequence[str]], tgt_type: str, function: str, arguments: Sequence[Any] = ()) -> dict[str, Any]:
    """What the minions answered; an error is a text in the place of an answer."""
    with salt.client.get_local_client(__opts__["conf_file"]) as client:
        answers: dict[str, Any] = client.cmd(tgt, function, list(arguments), tgt_type=tgt_type)
        return answers


def _size(batch: Union[str, int], total: int) -> int:
    text = str(batch)
    return max(1, int(float(text[:-1]) * total / 100) if text.endswith("%") else int(text))
