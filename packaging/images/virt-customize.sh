#!/bin/sh
# Make a disk image ready; usage: virt-customize.sh DISK. The first boot finishes it.
set -eu
disk=${1:?the disk image}
virt-customize --add "$disk" --install curl \
    --run-command 'curl -fsSLo /tmp/install.sh https://example.org/v1/install.sh && sh /tmp/install.sh install apply --root / --first-boot'
