"""Services, as systemd shows them or as the files of systemd and the init scripts have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

from ..agent import vendor
from ..host.reader import Output, Reader
from ..model import Profile, Service

UNIT_KEYS = ("Id,LoadState,UnitFileState,RefuseManualStop,RefuseManualStart,"
             "TimeoutStopUSec,TimeoutStartUSec,ActiveEnterTimestampMonotonic,"
             "ExecMainExitTimestampMonotonic")  # fmt: skip
LOADER = "audit-rules.service"  # of audit 4; its 4.2.1 (Debian sid) has it run after auditd has started
USUAL_LIMIT = 90.0  # seconds; DefaultTimeoutStartSec= and DefaultTimeoutStopSec= of systemd-system.conf(5)
SPANS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def units(shown: Optional[Output]) -> dict[str, dict[str, str]]:
    """What systemctl shows of each unit, by its name."""
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
              for block in (shown.stdout if shown else "").split("\n\n")]  # fmt: skip
    return {block.get("Id", ""): block for block in blocks}


def look(host: Reader, units: Mapping[str, Mapping[str, str]], profile: Profile) -> dict[str, Service]:
    """auditd and the agent; what systemd does not tell is read off the files."""
    services = {}
    expected = "yes" if profile.restart == "signal" else "no"
    for name in ("auditd", vendor.SERVICE):
        unit = units.get(f"{name}.service", {})
        present = unit.get("LoadState") == "loaded" if unit else _unit_file(host, name)
        enabled = unit.get("UnitFileState") in ("enabled", "static") if unit else starts_at_boot(host, name)
        services[name] = Service(
            name=name,
            present=present,
            enabled=enabled,
            refuses_stop=unit.get("RefuseManualStop", expected if name == "auditd" else "") == "yes",
            refuses_start=unit.get("RefuseManualStart") == "yes",
            masked=unit.get("LoadState") == "masked",
            patience=_patience(unit),
        )
    return services


def loaded(units: Mapping[str, Mapping[str, str]]) -> float:
    """Seconds from the boot until the rules were last loaded by a unit of their own; 0 where there is none."""
    return float(units.get(LOADER, {}).get("ExecMainExitTimestampMonotonic") or 0) / 1e6


def _patience(unit: Mapping[str, str]) -> float:
    """Seconds that systemd gives a unit's stop and start together; where it sets no end, what one mostly gets."""
    limits = [span(unit.get(key, "")) for key in ("TimeoutStopUSec", "TimeoutStartUSec")]
    return sum(limit or USUAL_LIMIT for limit in limits)


def span(text: str) -> float:
    """Seconds of a time span as systemctl shows it (systemd.time(7)), such as 1min 30s; 0 where it names none."""
    found = re.findall(r"([\d.]+)(h|min|s|ms|us|d)\b", text)
    return sum(float(number) * SPANS[unit] for number, unit in found)


def _unit_file(host: Reader, name: str) -> bool:
    folders = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
    return any(host.stat(f"{folder}/{name}.service") for folder in folders) or bool(host.stat(f"/etc/init.d/{name}"))


def unit_of(service: str) -> str:
    """The systemd unit of a service."""
    return service if "." in service else f"{service}.service"


def starts_at_boot(host: Reader, service: str) -> bool:
    """Whether the files of systemd or of the init scripts have a service started at boot."""
    systemd = host.glob(f"/etc/systemd/system/*.wants/{unit_of(service)}")
    return bool(systemd or host.glob(f"/etc/rc3.d/S[0-9]*{service}"))
