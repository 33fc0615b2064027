#!/bin/sh
# Fetch fim-bootstrap, make sure that it is the right one, and make this host ready (fim-bootstrap cloud-config).
# cloud-init runs it on each new instance before the user's own runcmd; neither stops the other by failing, and
# `cloud-init status --long` names this script when it failed. The reason is in /var/log/fim-bootstrap.log, also where
# no fim-bootstrap was fetched; what is printed goes where cloud-init's `output:` sends it, which on most images is
# /var/log/cloud-init-output.log.
set -eu
program=/usr/local/sbin/fim-bootstrap
log=/var/log/fim-bootstrap.log

fail() { # exit status, message
    echo "fim-bootstrap: $$2" >&2
    (umask 077 && echo "$$(date +%Y-%m-%dT%H:%M:%S%z) cloud-init: $$2" >>$$log) || true
    exit "$$1"
}
$binary
trap 'rm -f $$program.new' EXIT # what was not the right file

fetch() { # each says by itself why it failed, but GNU wget only without -q
    if command -v curl >/dev/null; then
        curl -fsSL --retry 5 --retry-connrefused --max-time 300 -o $$program.new "$$url"
    elif ! command -v wget >/dev/null; then
        echo 'neither curl nor wget is here to fetch it with' >&2
        return 1
    elif wget --help 2>&1 | grep -q BusyBox; then # it knows no tries, and that of Debian 12 crashes with -T
        for pause in 2 4 8 16 0; do
            wget -O $$program.new "$$url" && return
            sleep $$pause
        done
        return 1
    else
        wget -nv -T 60 -t 5 -O $$program.new "$$url"
    fi
}

musl='' # which a system with glibc may have besides
for loader in /lib/ld-musl-* /lib64/ld-linux* /lib/ld-linux* /lib/*/ld-linux*; do
    case $$loader in
    *'*') ;;
    */ld-musl-*) musl=yes ;;
    *) musl='' ;;
    esac
done
[ -z "$$musl" ] || fail 69 'this system has musl instead of glibc (Alpine and others); the binary does not run here'
unset NOTIFY_SOCKET
export TMPDIR=/var/tmp # systemd-tmpfiles may still clear /tmp
mkdir -p /usr/local/sbin
case $$url in
file://*) cp "$${url#file://}" $$program.new ;;
*) said=$$(fetch 2>&1) || fail 1 "$$url cannot be had: $$(echo "$$said" | tr '\n' ' ')" ;;
esac
echo "$$sha256  $$program.new" | sha256sum -c - >/dev/null || fail 1 "$$url is not the file with the checksum $$sha256"
chmod 755 $$program.new
mv $$program.new $$program
touch $$program # else fapolicyd still knows it by the name under which its checksum was taken
if command -v restorecon >/dev/null; then restorecon $$program || true; fi
if ! $$program --version >/dev/null; then
    if [ -d /etc/fapolicyd ] && pidof fapolicyd >/dev/null; then
        echo "fapolicyd refuses $$program; this allows it, and then run $$0 again:" >&2
        allow="(echo 'allow perm=execute all : path=$$program'; echo 'allow perm=any exe=$$program : all')"
        allow="$$allow >/etc/fapolicyd/rules.d/30-fim-bootstrap.rules" # which the daemon reads only at its start
        echo "$$allow && fagenrules --load && systemctl restart fapolicyd" >&2
    fi
    fail 1 "$$program does not start"
fi
$$program apply
if $$program reboot-required >/dev/null; then # runcmd and this script do not run again after the reboot
    cat >/etc/systemd/system/fim-bootstrap-after-reboot.service <<'UNIT'
[Unit]
Description=See that the host is ready after the reboot that fim-bootstrap asked for
After=local-fs.target auditd.service qualys-cloud-agent.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/fim-bootstrap apply
ExecStartPost=/bin/systemctl disable fim-bootstrap-after-reboot.service

[Install]
WantedBy=multi-user.target
UNIT
    systemctl enable fim-bootstrap-after-reboot.service
fi
