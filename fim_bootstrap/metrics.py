"""The report as metrics, for node_exporter's textfile collector: fleets watch metrics, not journals.

Prometheus' text format. A requirement that was not looked at, or was not asked for, has no value: an alert on it
would be about nothing.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """A gauge: its name after the program's, what it says, and its values by their label, '' where it has none."""

    name: str
    help: str
    values: Mapping[str, float]

    def lines(self) -> Iterator[str]:
        """The metric as the text format has it; labels hold ids and versions alone, so nothing is escaped."""
        name = f"fim_bootstrap_{self.name}"
        yield f"# HELP {name} {self.help}"
        yield f"# TYPE {name} gauge"
        for label, value in self.values.items():
            yield f"{name}{{{label}}} {value}" if label else f"{name} {value}"


def of(document: Mapping[str, Any]) -> str:
    """The metrics of a report, also of one about a run that ended in an error."""
    look = calendar.timegm(time.strptime(document["time"], "%Y-%m-%dT%H:%M:%SZ"))
    met = {f'requirement="{item["id"]}"': int(item["status"] == "ok")
           for item in document["requirements"] if item["status"] != "skipped"}  # fmt: skip
    metrics = (
        Metric("ready", "Whether the host is ready, as far as was looked", {"": int(document["verdict"] == "ready")}),
        Metric("requirement_met", "Whether a requirement is met", met),
        Metric("reboot_required", "Whether only a reboot makes it ready", {"": int(document["reboot_required"])}),
        Metric("last_look_timestamp_seconds", "When the host was looked at last", {"": look}),
        Metric("look_duration_seconds", "How long that took", {"": document["seconds"]}),
        Metric("info", "The program that looked", {f'version="{document["tool"]["version"]}"': 1}),
    )
    return "\n".join(line for metric in metrics for line in metric.lines())
