"""The plan as those take it who carry it out: a person, a spreadsheet, Ansible, Salt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from .plan import Plan
from .table import cells

ENDINGS = {".csv": "csv", ".ini": "ansible", ".conf": "salt"}
GROUP = "fim_reboot"


def rendered(plan: Plan, form: str, path: str) -> str:
    """The plan in a form; auto goes by the ending of the file's name."""
    chosen = ENDINGS.get(os.path.splitext(path)[1], "text") if form == "auto" else form
    return "\n".join(_WRITERS[chosen](plan))


def as_text(plan: Plan) -> Iterator[str]:
    """A line for each batch, below it the hosts; then who is in none, by reason."""
    batches = len(plan.batches)
    yield f"{plan.hosts} host{'s' * (plan.hosts != 1)} to reboot, in {batches} batch{'es' * (batches != 1)}"
    for name, hosts in plan.batches:
        yield f"{name}: {len(hosts)}"
        yield from (f"  {host}" for host in hosts)
    reasons: dict[str, list[str]] = {}
    for host, why in plan.apart:
        reasons.setdefault(why, []).append(host)
    for why, hosts_apart in reasons.items():
        yield f"in no batch ({len(hosts_apart)}): {why}"
        yield from (f"  {host}" for host in hosts_apart)


def _csv(plan: Plan) -> Iterator[str]:
    yield cells(("host", "batch", "why_in_none")).rstrip()
    yield from (cells((host, name, "")).rstrip() for name, hosts in plan.batches for host in hosts)
    yield from (cells((host, "", why)).rstrip() for host, why in plan.apart)


def _ansible(plan: Plan) -> Iterator[str]:
    yield "# made by fim-bootstrap fleet; one batch: ansible-playbook -i THIS_FILE --limit fim_reboot_01 reboot.yml"
    for name, hosts in plan.batches:
        yield f"\n[{GROUP}_{name}]"
        yield from hosts
    yield f"\n[{GROUP}:children]"
    yield from (f"{GROUP}_{name}" for name, _ in plan.batches)
    yield from _apart(plan)


def _salt(plan: Plan) -> Iterator[str]:
    yield "# made by fim-bootstrap fleet, for /etc/salt/master.d; one batch:"
    yield "# salt-run fim_bootstrap.reboot tgt=fim_reboot_01 tgt_type=nodegroup"
    yield "nodegroups:" if plan.batches else "nodegroups: {}"
    yield from (f"  {GROUP}_{name}: 'L@{','.join(hosts)}'" for name, hosts in plan.batches)
    yield from _apart(plan)


def _apart(plan: Plan) -> Iterator[str]:
    yield from (f"# in no batch: {host}: {why}" for host, why in plan.apart)


_WRITERS: Mapping[str, Callable[[Plan], Iterator[str]]] = {
    "text": as_text, "csv": _csv, "ansible": _ansible, "salt": _salt,
}  # fmt: skip
