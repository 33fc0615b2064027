"""What fim-bootstrap asks of a host, as a pyinfra user would write it."""

from pyinfra.operations import apt, files

apt.packages(packages=["auditd", "checkpolicy", "semodule-utils", "policycoreutils", "selinux-utils"])
files.line(path="/etc/audit/auditd.conf", line=r"^dispatcher\s*=.*", replace="dispatcher = /sbin/audispd")
files.replace(path="/etc/audit/rules.d/audit.rules", text=r"^-e *2", replace="# -e 2")
files.directory(path="/var/lib/selinux/default/active/modules/400/fim_bootstrap")
files.link(path="/etc/systemd/system/multi-user.target.wants/auditd.service",
           target="/lib/systemd/system/auditd.service")  # fmt: skip
