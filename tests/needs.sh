#!/bin/sh
# Install from Debian what a run (venv), the tests, those that take longer (live, salt, ansible, faults, fuzz, fleet,
# scap), the binary or a release need; say what is missing.
set -eu
PYTHON=${PYTHON:-python3}

case "${1:-test}" in
venv)
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null && exit 0
    packages="python3-venv" ;;
test) packages="auditd checkpolicy semodule-utils policycoreutils selinux-policy-default setools util-linux mount
    curl wget sudo openssl shellcheck busybox-static" ;;
binary) packages="autoconf automake libtool libltdl-dev make patch xz-utils binutils curl ca-certificates procps" ;;
release) packages="openssl rpm" ;;
live) packages="qemu-system-x86 qemu-utils mmdebstrap e2fsprogs policycoreutils apt-utils gcc libc6-dev packer mount
    python3-dev" ;;
faults) packages="strace e2fsprogs" ;;
fuzz) packages="mmdebstrap gcc libc6-dev util-linux mawk gawk" ;;
scap) packages="openscap-scanner openscap-utils ssg-debderived ssg-nondebian" ;;
salt) packages="openssh-server openssh-client" ;;
ansible) packages="openssh-server openssh-client git busybox-static" ;;
fleet) packages="chromium chromium-driver fonts-dejavu-core" ;;
esac

missing=
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "needs the packages:$missing" >&2
    echo "  -> sudo apt-get install$missing" >&2
    [ "${1:-test}" = test ] && exit 0    # the tests that need them say so and are skipped
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086 # a list of names
apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends install $missing >/dev/null
