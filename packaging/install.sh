#!/bin/sh
# Fetch fim-bootstrap, make sure that it is the right one, and run it or install it:
#
#   curl -fsSL URL/install.sh | sudo sh -s -- apply              run it once
#   curl -fsSL URL/install.sh | sudo sh -s -- install            put it into /usr/local/sbin, and its man page
#   curl -fsSL URL/install.sh | sudo sh -s -- install apply      and run it from there
#
# What is trusted is a checksum: FIM_INSTALL_SHA256, or the one that a release has written below. Without either,
# SHA256SUMS counts only with a good signature by the release's key. What cannot be verified is refused.
#
# FIM_INSTALL_URL     where the files are: https://, http://, file:// or a folder
# FIM_INSTALL_SHA256  the checksum of the binary for this machine
# FIM_INSTALL_DIR     where `install` puts it (/usr/local/sbin)
# FIM_INSTALL_STALL   seconds without data after which a download is given up (30)
#
# All is in one group, which the last line closes: of a download that was cut short nothing runs.
{

RELEASE_URL=''
SHA256_x86_64=''
SHA256_aarch64=''
SHA256_MAN=''
PUBLIC_KEY=''
UNKNOWN='' # yes: fapolicyd does not let programs run that it does not know
LIMIT=131072 # of a download, in the units of ulimit: 512 bytes, and 1024 in bash

say() { printf 'fim-bootstrap install: %s\n' "$*" >&2; }
fail() { # status, message, what to type
    say "$2"
    [ -z "${3:-}" ] || printf '  -> %s\n' "$3" >&2
    exit "$1"
}
has() { command -v "$1" >/dev/null 2>&1; }

system() {
    [ "$(uname -s)" = Linux ] || fail 69 "$(uname -s) is not supported" 'run this on a Linux host'
    case $(uname -m) in
    x86_64) PINNED=$SHA256_x86_64 ;;
    aarch64) PINNED=$SHA256_aarch64 ;;
    *) fail 69 "there is no binary for $(uname -m)" 'run it from source: python3 bootstrap.py (Python 3.9 or newer)' ;;
    esac
    FILE=fim-bootstrap-linux-$(uname -m)
    ! musl || fail 69 'this system has musl instead of glibc (Alpine and others); the binary does not run here' \
        'run it from source: python3 bootstrap.py (Python 3.9 or newer)'
}

musl() { # and no glibc besides
    found=1
    for loader in /lib/ld-musl-* /lib64/ld-linux* /lib/ld-linux* /lib/*/ld-linux*; do
        case $loader in
        *'*') ;;
        */ld-musl-*) found=0 ;;
        *) return 1 ;;
        esac
    done
    return $found
}

fapolicyd() { # whether it decides here what may run
    [ -d /etc/fapolicyd ] && has pidof && pidof fapolicyd >/dev/null
}
allow() { # what to type so that it lets a program run, and that program open the libraries that it unpacks
    # the daemon reads its rules only at its start
    printf "(echo 'allow perm=execute all : path=%s'; echo 'allow perm=any exe=%s : all')" "$1" "$1"
    printf ' >/etc/fapolicyd/rules.d/30-fim-bootstrap.rules && fagenrules --load && systemctl restart fapolicyd'
}
refused() { # words: it did not let the program run, or not let it load a library; a rule can name what is installed
    [ "${program:-}" != "$target/fim-bootstrap" ] || fail "$status" "fapolicyd refuses $program" "$(allow "$program")"
    fail "$status" 'fapolicyd lets no program run that it does not know, so it has to be installed' \
        "$(allow "$target/fim-bootstrap")
  -> sh -s -- install $*, in the place of sh -s -- $*"
}

private() { # a folder: nobody but root and who runs this may put something else in the place of what lies there
    above=$1
    while [ -n "$above" ]; do # / itself is trusted, or nothing is
        # shellcheck disable=SC2012 # its mode, links and user; the name is not looked at
        ls -ldn "$above/" | {
            read -r mode _ user _
            case $mode in d????-??-* | d????????[tT]*) [ "$user" = 0 ] || [ "$user" = "$(id -u)" ] ;; *) false ;; esac
        } || return 1
        above=${above%/*}
    done
}

refused_by_rules() { # a program that would run here but for fapolicyd: from no folder then, but where a rule names it
    [ -x "$1" ] && fapolicyd && UNKNOWN=yes
}

executable_folder() { # a private folder from which programs may run, whatever is mounted noexec
    for place in "${TMPDIR:-}" /tmp /var/tmp /run /var/lib /root; do
        place=$(CDPATH='' cd -P -- "${place:-/nowhere}" 2>/dev/null && pwd -P) || continue
        private "$place" || continue
        FOLDER=$(mktemp -d "$place/fim-bootstrap.XXXXXXXX" 2>/dev/null) || continue
        printf '#!/bin/sh\n' >"$FOLDER/try"
        chmod 700 "$FOLDER" "$FOLDER/try"
        if "$FOLDER/try" 2>/dev/null || refused_by_rules "$FOLDER/try"; then
            rm "$FOLDER/try"
            return 0
        fi
        rm -r "$FOLDER"
    done
    fail 1 'no folder of root alone from which a program may run' 'set TMPDIR to one that is not mounted noexec'
}

told() { # run it; what it says is shown if it fails
    "$@" 2>"$FOLDER/said" || {
        cat "$FOLDER/said" >&2
        return 1
    }
}

download() { # name, into the private folder
    case $URL in
    http://* | https://*)
        stall=${FIM_INSTALL_STALL:-30}
        if has curl; then
            curl -fsSL --retry 2 --connect-timeout "$stall" --speed-limit 1000 --speed-time "$stall" \
                -o "$FOLDER/$1" "$URL/$1"
        elif ! has wget; then
            fail 1 'neither curl nor wget is here' 'install one of them, or set FIM_INSTALL_URL to a folder'
        else
            case $(wget --help 2>&1) in
            *BusyBox*) told wget -O "$FOLDER/$1" "$URL/$1" ;; # it knows no tries, and that of Debian 12 crashes with -T
            *) told wget -nv -t 2 -T "$stall" -O "$FOLDER/$1" "$URL/$1" ;;
            esac
        fi
        ;;
    *) cp "${URL#file://}/$1" "$FOLDER/$1" ;;
    esac
}

fetch() { # name: the download, of which the kernel takes no more than LIMIT
    if (trap '' XFSZ && ulimit -f "$LIMIT" && download "$1"); then return 0; fi
    [ ! -e "$FOLDER/$1" ] || [ "$(wc -c <"$FOLDER/$1")" -lt "$((LIMIT * 512))" ] || say "$URL/$1 is too large"
    rm -f "${FOLDER:?}/$1"
    return 1
}

sum_of() {
    # through stdin: a name with a backslash or a newline would be put there escaped, after a backslash
    if has sha256sum; then sha256sum; elif has shasum; then shasum -a 256; else openssl dgst -sha256 -r; fi <"$1" |
        cut -c 1-64
}

signature_is_good() { # 0 good, 1 bad, 2 cannot be told
    [ -n "$PUBLIC_KEY" ] && has openssl || return 2
    fetch SHA256SUMS && fetch SHA256SUMS.sig || return 1
    printf '%s\n' "$PUBLIC_KEY" >"$FOLDER/key.pem"
    openssl dgst -sha256 -verify "$FOLDER/key.pem" -signature "$FOLDER/SHA256SUMS.sig" "$FOLDER/SHA256SUMS" \
        >/dev/null 2>&1
}

verify() {
    actual=$(sum_of "$FOLDER/$FILE")
    trusted=${FIM_INSTALL_SHA256:-$PINNED}
    case $trusted in *[A-F]*) trusted=$(printf '%s' "$trusted" | tr A-F a-f) ;; esac
    signature=0
    signature_is_good || signature=$?
    [ "$signature" != 1 ] || fail 1 "the signature of $URL/SHA256SUMS is bad or missing" 'do not run this file; ask where it comes from'
    if [ "$signature" = 0 ]; then
        openssl pkey -pubin -in "$FOLDER/key.pem" -outform DER >"$FOLDER/key.der"
        say "signed by the key $(sum_of "$FOLDER/key.der"); SECURITY.md tells with what to compare it"
        signed=$(grep " [ *]$FILE\$" "$FOLDER/SHA256SUMS" | cut -c 1-64)
        trusted=${trusted:-$signed}
        [ "$signed" = "$actual" ] || fail 1 "$FILE is not the file that was signed" 'download it again; if that does not help, ask where it comes from'
    elif [ -n "$trusted" ]; then
        [ -z "$PUBLIC_KEY" ] || say 'the signature was not checked (no openssl here); the checksum is'
    else
        fail 1 'nothing to verify the download with' 'set FIM_INSTALL_SHA256, or use the install.sh of a release'
    fi
    [ "$actual" = "$trusted" ] ||
        fail 1 "wrong checksum: $FILE is $actual, not $trusted" 'download it again; if that does not help, ask where it comes from'
    chmod 755 "$FOLDER/$FILE"
}

folder() { (umask 022 && mkdir -p "$1"); } # a new one is for all to look into

man_page() { # where man(1) looks beside the program's folder; without a page the program is installed all the same
    [ -n "$SHA256_MAN" ] || return 0
    place=${target%/*}/share/man/man8
    if fetch fim-bootstrap.8 && [ "$(sum_of "$FOLDER/fim-bootstrap.8")" = "$SHA256_MAN" ] &&
        folder "$place" && PAGE=$(mktemp "$place/.fim-bootstrap-install.XXXXXXXX") &&
        cp "$FOLDER/fim-bootstrap.8" "$PAGE" && chmod 644 "$PAGE" && mv -f "$PAGE" "$place/fim-bootstrap.8"; then
        say "installed $place/fim-bootstrap.8"
    else
        say "no man page: $URL/fim-bootstrap.8 cannot be had, is another file, or cannot be put into $place"
    fi
}

main() {
    set -eu
    system
    URL=${FIM_INSTALL_URL:-$RELEASE_URL}
    URL=${URL%/}
    [ -n "$URL" ] || fail 64 'where to fetch from is not known' 'set FIM_INSTALL_URL to the URL or folder of a release'
    mask=$(umask)
    umask 077
    target=${FIM_INSTALL_DIR:-/usr/local/sbin}
    executable_folder
    NEW=$FOLDER/new PAGE=$FOLDER/page
    trap 'rm -rf "$FOLDER" "$NEW" "$PAGE"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    status=126 # of a program that is not let run
    [ -z "$UNKNOWN" ] || [ "${1:-}" = install ] || refused "$@"
    fetch "$FILE" || fail 1 "$URL/$FILE cannot be had" 'look at the message above; a proxy is taken from https_proxy'
    verify
    program=$FOLDER/$FILE
    if [ "${1:-}" = install ]; then
        shift
        if ! { folder "$target" && NEW=$(mktemp "$target/.fim-bootstrap-install.XXXXXXXX") &&
            cp "$program" "$NEW" && chmod 755 "$NEW" && mv -f "$NEW" "$target/fim-bootstrap"; }; then
            fail 1 "cannot install into $target" 'run it as root, or set FIM_INSTALL_DIR'
        fi
        program=$target/fim-bootstrap
        touch "$program" # else fapolicyd may still know it by the name under which it was first opened
        if has restorecon; then restorecon "$program" 2>/dev/null || true; fi
        say "installed $program"
        man_page
        [ $# -gt 0 ] || exit 0
    fi
    unset FIM_INSTALL_URL FIM_INSTALL_SHA256 FIM_INSTALL_DIR FIM_INSTALL_STALL
    umask "$mask"
    status=0
    TMPDIR=$FOLDER "$program" "$@" </dev/null || status=$?
    case $status in 126 | 255) ! fapolicyd || refused "$@" ;; esac # 255: it refuses a library
    exit "$status"
}

main "$@"
}
