#!/bin/sh
# What a careful person would look at on a Debian host, with the bare commands: the yardstick of bench/check.py.
for command in auditd auditctl augenrules checkmodule semodule_package semodule restorecon sestatus getenforce; do
    command -v "$command" >/dev/null || echo "missing: $command"
done
grep -q '^dispatcher = /sbin/audispd$' /etc/audit/auditd.conf || echo "no dispatcher line"
grep -lE '^[^#]*(-e *2|never,task|task,never)' /etc/audit/audit.rules /etc/audit/rules.d/*.rules
auditctl -s | grep -q '^enabled 1$' || echo "not enabled 1"
auditctl -l | grep -q 'never,task' && echo "never,task in the kernel"
systemctl is-active --quiet auditd || echo "auditd is not active"
systemctl is-enabled --quiet auditd || echo "auditd is not enabled"
systemctl is-active --quiet qualys-cloud-agent || echo "the agent is not active"
getenforce
ls -d /var/lib/selinux/*/active/modules/400/fim_bootstrap 2>/dev/null
pgrep -x auditd >/dev/null || echo "no auditd"
pgrep -x edr-plugin >/dev/null || echo "no plugin"
pgrep -x qualys-edr >/dev/null || echo "no agent"
ls -l /var/log/qualys/edr.log /usr/local/qualys/cloud-agent/fim/manifests 2>/dev/null
true
