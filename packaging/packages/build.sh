#!/bin/sh
# Put a one-file binary into a .deb and an .rpm: build.sh BINARY VERSION FOLDER, with dpkg-deb and rpmbuild.
#
# Both hold one tree: the program in /usr/sbin, the guard's units (not enabled), the man page. The same inputs give
# the same bytes. Neither is signed by itself: both are listed in the SHA256SUMS of a release, which is.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
binary=$1 version=$2 folder=$(cd "$3" && pwd)
export SOURCE_DATE_EPOCH=1700000000 LC_ALL=C TZ=UTC

case ${binary##*-} in # as uname(1) names the machine, which is rpm's name for it, too
x86_64) debian=amd64 ;;
aarch64) debian=arm64 ;;
*) echo "no package for ${binary##*-}: x86_64 or aarch64" >&2; exit 69 ;;
esac
machine=${binary##*-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

tree() { # what both packages hold
    mkdir -p "$1/usr/sbin" "$1/usr/lib/systemd/system" "$1/usr/lib/systemd/system-preset" \
        "$1/usr/share/man/man8" "$1/usr/share/doc/fim-bootstrap"
    install -m 755 "$binary" "$1/usr/sbin/fim-bootstrap"
    for unit in service timer path; do
        sed 's,/usr/local/sbin/fim-bootstrap,/usr/sbin/fim-bootstrap,' "$project/fim_bootstrap/units/fim-bootstrap-guard.$unit" \
            >"$1/usr/lib/systemd/system/fim-bootstrap-guard.$unit"
    done
    # Debian enables what no preset names; the guard is asked for (apply --guard), whose own preset comes before this
    printf 'disable fim-bootstrap-guard.%s\n' timer path >"$1/usr/lib/systemd/system-preset/90-fim-bootstrap.preset"
    gzip -9n <"$project/packaging/fim-bootstrap.8" >"$1/usr/share/man/man8/fim-bootstrap.8.gz"
    install -m 644 "$project/LICENSE" "$1/usr/share/doc/fim-bootstrap/copyright"
    install -m 644 "$project/CHANGELOG.md" "$1/usr/share/doc/fim-bootstrap/CHANGELOG.md"
    dated "$1"
}

dated() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

deb() {
    mkdir "$work/deb"
    cp -a "$work/tree/." "$work/deb"
    mkdir "$work/deb/DEBIAN"
    sed -e "s/@version@/$version/" -e "s/@architecture@/$debian/" \
        -e "s/@kilobytes@/$(du -sk --apparent-size "$work/tree" | cut -f 1)/" "$here/control" >"$work/deb/DEBIAN/control"
    (cd "$work/deb" && find usr -type f | sort | xargs md5sum >DEBIAN/md5sums)
    install -m 755 "$here/installed.sh" "$work/deb/DEBIAN/postinst"
    install -m 755 "$here/removing.sh" "$work/deb/DEBIAN/prerm"
    install -m 755 "$here/removed.sh" "$work/deb/DEBIAN/postrm"
    dated "$work/deb"
    dpkg-deb --root-owner-group -Zxz --build "$work/deb" "$folder/fim-bootstrap_${version}_$debian.deb" >/dev/null
}

rpm() { # gzip: the rpm of RHEL 7 reads no zstd, and the program is compressed as it is
    rpmbuild -bb --quiet --nodeps --target "$machine" \
        -D "_topdir $work/rpm" -D "_rpmdir $folder" -D '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
        -D '_binary_payload w9.gzdio' -D '_build_id_links none' -D '_buildhost localhost' \
        -D 'use_source_date_epoch_as_buildtime 1' -D 'clamp_mtime_to_source_date_epoch 1' \
        -D "release_version $version" -D "tree $work/tree" -D "scripts $here" "$here/fim-bootstrap.spec" >/dev/null
}

tree "$work/tree"
deb
rpm
