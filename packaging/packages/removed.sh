#!/bin/sh
# After a removal or an upgrade. What fim-bootstrap did to the host stays, and so does the record that `revert` needs;
# `apt-get purge` alone removes that, too.
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
case ${1:-} in
purge) rm -rf /var/lib/fim-bootstrap /var/log/fim-bootstrap.log /var/log/fim-bootstrap.log.1 ;;
esac
