#!/bin/sh
# Before a removal (dpkg says remove, rpm 0 copies left), not before an upgrade: no link to the guard's units is left.
case ${1:-} in
remove | 0)
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable --now fim-bootstrap-guard.timer fim-bootstrap-guard.path || true
    fi
    ;;
esac
