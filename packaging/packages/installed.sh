#!/bin/sh
# After an installation or an upgrade, by dpkg or by rpm.
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ -e /usr/local/sbin/fim-bootstrap ]; then
    echo 'fim-bootstrap: /usr/local/sbin/fim-bootstrap, which is no file of this package, comes first in PATH: remove it' >&2
fi
