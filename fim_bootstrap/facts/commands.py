"""The commands that are looked for: a host that has them all has the packages that it needs."""

AUDIT_COMMANDS = ("auditd", "auditctl", "augenrules")
# what the agent's own start script calls, besides what is above; it restarts auditd by service(8) on every system
AGENT_COMMANDS = ("which", "service", "pidof", "pkill", "awk", "sed", "grep")
SELINUX_COMMANDS = ("checkmodule", "semodule_package", "semodule", "restorecon", "sestatus", "getenforce")
