# What fim-bootstrap asks of a host, as a Salt user would write it; pkg is no part of Salt's own package any more.
packages:
  cmd.run:
    - name: apt-get -y install auditd checkpolicy semodule-utils policycoreutils selinux-utils
    - unless: dpkg-query -W auditd checkpolicy semodule-utils policycoreutils selinux-utils
dispatcher:
  file.replace:
    - name: /etc/audit/auditd.conf
    - pattern: '^#?\s*dispatcher\s*=.*$'
    - repl: dispatcher = /sbin/audispd
    - append_if_not_found: true
rules:
  file.replace:
    - name: /etc/audit/rules.d/audit.rules
    - pattern: '^(-e\s*2|-a (never,task|task,never))'
    - repl: '# \1'
module:
  file.exists:
    - name: /var/lib/selinux/default/active/modules/400/fim_bootstrap
enabled:
  file.exists:
    - name: /etc/systemd/system/multi-user.target.wants/auditd.service
