"""Audit as its own programs read it: auditctl's rules, rules.d as augenrules joins it, auditd.conf, plugin files."""
