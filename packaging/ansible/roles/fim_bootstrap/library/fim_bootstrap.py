"""What the action fim_bootstrap takes and returns. The action does the work, from the machine that runs Ansible."""

DOCUMENTATION = r"""
---
module: fim_bootstrap
short_description: Makes a host ready for auditd-based file integrity monitoring
version_added: 0.1.0
description:
  - Puts fim-bootstrap on a host, and runs it there.
  - Everything goes over the task's own connection, to the host's own C(sh); the host needs no Python.
  - Nothing is rebooted.
options:
  state:
    description:
      - C(ready) makes the host ready (C(fim-bootstrap apply)).
      - C(checked) only looks, and fails where the host is not ready.
      - C(installed) puts the binary and its option file in place, and runs nothing. In check mode they are put into
        C(/var/cache/fim-bootstrap) alone; the return values I(binary) and I(config) say where what is to be run is.
      - C(excepted) returns the record of the exception for audit rules that stay mutable, as I(record).
    type: str
    choices: [ready, checked, installed, excepted]
    default: ready
  binary:
    description: Where the one-file binary is on the host; its folder is made.
    type: str
    default: /usr/local/sbin/fim-bootstrap
  source:
    description:
      - For I(state=installed), the binary on the machine that runs Ansible, or the folder of a release; it is sent
        over the connection where the host has another one.
    type: str
  url:
    description:
      - For I(state=installed), where the host fetches the binary, with C(curl) or C(wget); C(file://) is a path on
        the host. An address that ends in a slash is that of a release.
    type: str
  sha256:
    description:
      - For I(state=installed), the binary's checksum, or the text of the release's C(SHA256SUMS), of which the line
        for the host's architecture counts. A file with another one is replaced, and never run.
    type: str
  options:
    description:
      - For I(state=installed), what C(/etc/fim-bootstrap/config.toml) says, by the options' long names.
      - With C({}) the file is removed if this module wrote it; one that others wrote stays, with a warning that says
        what is in it. Where this is not given, the file is not looked at.
    type: dict
  config:
    description: The option file to go by, where it is not the host's own.
    type: str
  arguments:
    description: More words for the command line; they count more than the option file.
    type: list
    elements: str
    default: []
notes:
  - Check mode runs C(fim-bootstrap apply --dry-run).
  - Does not run in the background (C(async)).
author:
  - the fim-bootstrap maintainers (!UNKNOWN)
"""

EXAMPLES = r"""
- name: The binary and its options are there
  fim_bootstrap.auditd.fim_bootstrap:
    state: installed
    source: dist/release/
    sha256: "{{ lookup('ansible.builtin.file', 'dist/release/SHA256SUMS') }}"
    options: {lock-timeout: 600}
  register: installed

- name: The host is ready
  fim_bootstrap.auditd.fim_bootstrap:
    binary: "{{ installed.binary }}"
    config: "{{ installed.config }}"
  register: fim

- name: Rebooted, where it is needed
  ansible.builtin.reboot:
  when: fim.reboot_required
"""

RETURN = r"""
msg:
  description: The verdict on one line, what was left out or stands in the way, and what to do next.
  type: str
  returned: always
  sample: "ready as far as looked at; skipped: rules"
verdict:
  description: C(ready), C(ready-after-reboot), C(not-ready), C(blocked), C(unsupported) or C(failed).
  type: str
  returned: where the binary was run; C(unknown) in check mode where it is not there
reboot_required:
  description: Whether only a reboot makes the audit rules take effect.
  type: bool
  returned: with a verdict
done:
  description: What was changed.
  type: list
  elements: str
  returned: with a verdict
requirements:
  description: Each requirement with its status, summary, evidence, remedy and diff.
  type: list
  elements: dict
  returned: with a verdict
rc:
  description: The exit status of the binary.
  type: int
  returned: with a verdict
binary:
  description: The binary that may be run; in check mode it may lie in the cache.
  type: str
  returned: I(state=installed)
config:
  description: The option file that check mode has to go by; empty where it is the host's own.
  type: str
  returned: I(state=installed)
record:
  description: The record of the exception; its C(needed) says whether there is anything to except.
  type: dict
  returned: I(state=excepted)
"""
