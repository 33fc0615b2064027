#!/usr/bin/python
"""Run fim-bootstrap on a host and hand its report (schemas/report-1.json) to Ansible."""

from __future__ import annotations

DOCUMENTATION = """
module: fim_bootstrap
short_description: Makes a host ready for auditd-based file integrity monitoring
description:
  - Runs C(fim-bootstrap apply); in check mode C(fim-bootstrap apply --dry-run). Nothing is rebooted.
options:
  binary:
    description: The one-file binary on the host.
    type: path
    default: /usr/local/sbin/fim-bootstrap
  state:
    description: V(ready) makes the host ready; V(checked) only looks, and fails where the host is not.
    type: str
    choices: [ready, checked]
    default: ready
  arguments:
    description: More words for the command line.
    type: list
    elements: str
    default: []
author: the fim-bootstrap maintainers
"""
EXAMPLES = """
- fim_bootstrap:
  register: fim

- ansible.builtin.reboot:
  when: fim.reboot_required
"""
RETURN = """
verdict: {description: ready, ready-after-reboot, not-ready, blocked or failed, type: str, returned: always}
reboot_required: {description: whether only a reboot makes the rules take effect, type: bool, returned: always}
done: {description: what was changed, type: list, elements: str, returned: always}
requirements: {description: each requirement with status, summary, evidence and diff, type: list, returned: always}
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the binary and end the module."""
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "path", "default": "/usr/local/sbin/fim-bootstrap"},
            "state": {"choices": ["ready", "checked"], "default": "ready"},
            "arguments": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    binary, checked = module.params["binary"], module.params["state"] == "checked"
    if module.check_mode and not os.access(binary, os.X_OK):
        said = f"{binary} is not there yet; what would change is not known"
        unknown = {"verdict": "unknown", "reboot_required": False, "done": [], "requirements": []}
        module.exit_json(changed=not checked, msg=said, **unknown)
    words = ["check"] if checked else ["apply", *(["--dry-run"] if module.check_mode else [])]
    argv = [binary, *words, *module.params["arguments"], "--format", "json"]
    status, out, err = module.run_command(argv)
    report = _report(out)
    if not report:
        module.fail_json(msg=f"{' '.join(argv)}: exit status {status} and no report: {err or out}", rc=status)
    report["rc"] = status
    report["diff"] = {"prepared": report["diff"]}
    if checked:
        report["changed"] = False
        report["failed"] = report["verdict"] != "ready"
    module.fail_json(**report) if report.pop("failed") else module.exit_json(**report)


def _report(out: str) -> dict[str, Any]:
    try:
        report = json.loads(out)
    except ValueError:
        return {}
    return report if isinstance(report, dict) and "verdict" in report else {}


if __name__ == "__main__":
    main()
