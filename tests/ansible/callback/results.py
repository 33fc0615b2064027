"""Print each task's result on one line: its name, a tab, the result as JSON."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: results\ntype: stdout\nshort_description: one line a task\ndescription: for the tests\n"


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """What the tests read."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "results"

    def v2_runner_on_ok(self, result: Any) -> None:
        print(f"{result.task_name}\t{json.dumps(result._result)}")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self.v2_runner_on_ok(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        print(f"stats\t{json.dumps(stats.summarize('web1'))}")
