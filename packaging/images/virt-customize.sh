#!/bin/sh
# Make a disk image ready; usage: virt-customize.sh DISK. The first boot finishes it.
set -eu
disk=${1:?the disk image}
virt-customize --add "$disk" --install curl \
    --run-command 'curl -fsSL https://example.org/v1/install.sh | sh -s -- install apply --root / --first-boot'
