#!/usr/bin/env bash
# Build dist/fim-bootstrap-linux-<the machine's architecture>: one file that needs no more than glibc 2.17 (RHEL 7,
# Amazon 2, SLES 12).
#
# Own CPython, with the C modules that are used compiled into libpython, and an own bootloader for PyInstaller:
# both with a gcc whose sysroot is glibc 2.17 (ppbt, from the Salt project). Nothing of the machine goes in, and
# the work folder's path is part of the result, so it is fixed: the same sources give the same bytes.
# PYTHON: an interpreter with pip for the tools (3.9 or newer). MIRROR: a Debian mirror; the machine's own is taken.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PROJECT=$(cd "$HERE/../.." && pwd)
WORK=/var/tmp/fim-bootstrap-build
PYTHON=${PYTHON:-python3}
JOBS=$(nproc)
ARCH=$(uname -m)
case $ARCH in # as PyInstaller and libdeflate name it
x86_64) LOADER=Linux-64bit-intel DEFLATE=x86 ;;
aarch64) LOADER=Linux-64bit-arm DEFLATE=arm ;;
*) echo "no recipe for $ARCH: x86_64 or aarch64" >&2; exit 69 ;;
esac
export NAME=fim-bootstrap-linux-$ARCH # the spec reads it
export SOURCE_DATE_EPOCH=1700000000 PYTHONHASHSEED=1 LC_ALL=C TZ=UTC PIP_DISABLE_PIP_VERSION_CHECK=1

say() { echo "[$SECONDS s] $*" >&2; }

download() { "$PYTHON" -m pip -q download --no-deps -d . "$@"; }

fetch() {
    mkdir -p "$WORK/sources"
    cd "$WORK/sources"
    # shellcheck disable=SC2016 # apt-get's own placeholder
    : "${MIRROR:=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)}"
    local sum what file
    while read -r sum what file; do
        case $sum in '#'*) continue ;; esac
        file=${file:-${what##*/}} # a path in the pool ends in it
        if [[ $file == *.whl && $file != *"_$ARCH.whl" ]]; then continue; fi # the other machine's compiler
        [ -f "$file" ] || case $what in
        pool/*) curl -fsSLO "${MIRROR:?is unknown: apt-get update, or MIRROR=<a Debian mirror>}/$what" ;;
        # pip asks every source for its metadata, and this one compiles a bootloader first, unless one is there
        pyinstaller*) PYI_PLATFORM=Windows-64bit-intel download --no-binary pyinstaller "$what" ;;
        *) download --only-binary :all: "$what" ;;
        esac
        echo "$sum  $file" | sha256sum --check --quiet -
    done < "$HERE/sources.txt"
}

toolchain() {
    TARGET=$ARCH-linux-gnu
    if [ ! -d "$WORK/toolchain" ]; then
        "$PYTHON" -m zipfile -e "$WORK"/sources/ppbt-*.whl "$WORK/ppbt"
        mkdir "$WORK/toolchain"
        tar -xJf "$WORK/ppbt/ppbt/_toolchain/$TARGET.tar.xz" -C "$WORK/toolchain"
        rm -r "$WORK/ppbt"
    fi
    PATH="$WORK/toolchain/$TARGET/bin:$PATH"
    HARDENED="-O2 -g0 -fstack-protector-strong -D_FORTIFY_SOURCE=2"
    LINKED="-Wl,-z,relro,-z,now,-z,noexecstack -Wl,--build-id=none"
    LIBS=$WORK/libs
}

compiler() { # the toolchain's names, for one command
    env CC="$TARGET-gcc" CXX="$TARGET-g++" AR="$TARGET-gcc-ar" RANLIB="$TARGET-gcc-ranlib" NM="$TARGET-gcc-nm" \
        STRIP="$TARGET-strip" READELF="$TARGET-readelf" LD="$TARGET-ld" \
        CFLAGS="$HARDENED -fPIC" LDFLAGS="$LINKED" "$@"
}

libraries() { # static: they end up in libpython; libffi serves PyInstaller's own ctypes and is not shipped
    cd "$WORK/src"
    tar xf "$WORK"/sources/zlib_*.tar.gz
    (cd zlib-* && compiler ./configure --static --prefix="$LIBS" && make -j"$JOBS" libz.a && make install)
    tar xf "$WORK"/sources/libdeflate_*.tar.gz
    # shellcheck disable=SC2086 # flags
    (cd libdeflate-* && "$TARGET-gcc" $HARDENED -fPIC -DLIBDEFLATE_ASSEMBLER_DOES_NOT_SUPPORT_{VPCLMULQDQ,AVX512VNNI,AVX_VNNI} \
        -c lib/{utils,adler32,deflate_decompress,zlib_decompress,$DEFLATE/cpu_features}.c \
        && "$TARGET-gcc-ar" rcs "$LIBS/lib/libdeflate.a" ./*.o && cp libdeflate.h "$LIBS/include")
    tar xf "$WORK"/sources/bzip2_*.tar.gz
    (cd bzip2-* && make -j"$JOBS" CC="$TARGET-gcc" AR="$TARGET-gcc-ar" RANLIB="$TARGET-gcc-ranlib" \
        CFLAGS="$HARDENED -fPIC -D_FILE_OFFSET_BITS=64" libbz2.a && cp libbz2.a "$LIBS/lib" && cp bzlib.h "$LIBS/include")
    tar xf "$WORK"/sources/libffi_*.tar.gz
    (cd libffi-* && autoreconf -fi && compiler ./configure --host="$TARGET" --build="$ARCH-pc-linux-gnu" --disable-shared \
        --disable-docs --disable-multi-os-directory --libdir="$LIBS/lib" --prefix="$LIBS" && make -j"$JOBS" && make install)
}

python() {
    cd "$WORK/src"
    tar xf "$WORK"/sources/python3.13_*.orig.tar.xz
    mkdir debian
    tar xf "$WORK"/sources/python3.13_*.debian.tar.xz -C debian
    cd Python-3.13.*/
    local patch module
    while read -r patch; do # Debian's security fixes alone
        patch -p1 -s -f --no-backup-if-mismatch < "../debian/debian/patches/$patch"
    done < <(grep -E '^(CVE-|ssl-|dict-use|traverse-)' ../debian/debian/patches/series)
    local absent=()
    for module in _ssl _hashlib _sqlite3 _tkinter _curses _curses_panel _dbm _gdbm readline nis ossaudiodev _uuid \
        _lzma _crypt _testcapi _testinternalcapi _testbuffer _testimportmultiple _testmultiphase _testsinglephase \
        _testexternalinspection _testclinic _testclinic_limited _testlimitedcapi _ctypes_test xxlimited xxlimited_35 \
        xxsubtype _xxtestfuzz; do
        absent+=("py_cv_module_$module=n/a")
    done
    mkdir "$WORK/src/python"
    cd "$WORK/src/python"
    # nobody puts a symbol in front of libpython's, it is loaded once, at the start, and nothing unwinds its stack
    compiler env \
        CFLAGS="$HARDENED -fPIC -fno-semantic-interposition -ftls-model=initial-exec -fno-asynchronous-unwind-tables" \
        LDFLAGS="$LINKED -Wl,-Bsymbolic" PKG_CONFIG=/bin/false MODULE_BUILDTYPE=static \
        ZLIB_CFLAGS="-I$LIBS/include" ZLIB_LIBS="-L$LIBS/lib -lz" BZIP2_CFLAGS="-I$LIBS/include" \
        BZIP2_LIBS="-L$LIBS/lib -lbz2" LIBFFI_CFLAGS="-I$LIBS/include" LIBFFI_LIBS="-L$LIBS/lib -lffi" \
        ../Python-3.13.*/configure --prefix="$WORK/python" --enable-shared --without-ensurepip --disable-test-modules \
        --with-pkg-config=no --without-doc-strings --without-mimalloc "${absent[@]}"
    { # big modules that this program never imports stay outside libpython
        echo '*shared*'
        for module in _ctypes unicodedata _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw \
            _multibytecodec _decimal _elementtree _lsprof _interpreters _interpchannels _interpqueues \
            _zoneinfo cmath _statistics _multiprocessing _posixshmem; do
            grep -E "^$module " Modules/Setup.stdlib || true
        done
    } > Modules/Setup.local
    make -j"$JOBS"
    make install
    chmod u+w "$WORK"/python/lib/libpython3.13.so.1.0
    "$TARGET-strip" "$WORK"/python/lib/libpython3.13.so.1.0
}

bootloader() { # the one on PyPI needs the target's libz.so.1; for what else ours does see bootloader.patch
    cd "$WORK/src"
    tar xf "$WORK"/sources/pyinstaller-*.tar.gz
    cd pyinstaller-*/
    patch -p1 -s < "$HERE/bootloader.patch"
    local site="$WORK/python/lib/python3.13/site-packages"
    "$PYTHON" -m pip -q install --no-compile --no-deps --target "$site" --only-binary=:all: --python-version 3.13 \
        --platform "manylinux2014_$ARCH" --platform any "$(sed -n 's/.*  \(pyinstaller==[0-9.]*\) .*/\1/p' "$HERE/sources.txt")" \
        altgraph==0.17.5 packaging==26.3 pyinstaller-hooks-contrib==2026.9 setuptools==80.9.0
    "$PYTHON" -m pip -q install --no-compile --no-deps --target "$site" --only-binary=:all: --python-version 3.13 \
        --platform any -r <(grep -v tomli "$PROJECT/requirements.txt")
    cd bootloader
    compiler env CFLAGS="$HARDENED -ffile-prefix-map=$WORK=. -I$LIBS/include -ffunction-sections" \
        LDFLAGS="$LINKED -Wl,--gc-sections -L$LIBS/lib -ldeflate" \
        "$PYTHON" ./waf distclean configure --static-zlib build_release install_release
    cp "../PyInstaller/bootloader/$LOADER/run" "$site/PyInstaller/bootloader/$LOADER/run"
}

freeze() {
    rm -rf "$WORK/freeze" && mkdir "$WORK/freeze" && cd "$WORK/freeze"
    # a copy at a fixed path: the sources' own path is in the code objects
    cp -r "$PROJECT"/{bootstrap.py,fim_bootstrap,distro_profiles,compliance} "$HERE"/{fim-bootstrap.spec,environment_hook.py} .
    find . -name __pycache__ -prune -exec rm -r {} +
    LD_LIBRARY_PATH="$WORK/python/lib" PYINSTALLER_CONFIG_DIR="$WORK/freeze/cache" \
        "$WORK/python/bin/python3.13" -m PyInstaller --noconfirm --clean --log-level WARN \
        --distpath "$WORK/freeze/dist" --workpath "$WORK/freeze/work" fim-bootstrap.spec
    mkdir -p "$PROJECT/dist"
    install -m 755 "$WORK/freeze/dist/$NAME" "$PROJECT/dist/$NAME.new"
    mv "$PROJECT/dist/$NAME.new" "$PROJECT/dist/$NAME"
}

gate() { # nothing in it may need a newer glibc, an executable stack or text relocations
    local file newest
    for file in "$PROJECT/dist/$NAME" "$WORK/python/lib/libpython3.13.so.1.0"; do
        newest=$(objdump -T "$file" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
        [ "$(printf '%s\nGLIBC_2.17\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.17 ] || { say "$file needs $newest"; exit 1; }
        if readelf -lW "$file" | grep -q 'GNU_STACK.*RWE'; then say "$file asks for an executable stack"; exit 1; fi
        if readelf -d "$file" | grep -q TEXTREL; then say "$file has text relocations"; exit 1; fi
    done
}

# what a step does, and how long that takes on two idle cores
declare -A STEPS=(
    [fetch]="fetch the pinned sources, 76 MB: a minute, or 3 s once they are here"
    [toolchain]="unpack the toolchain, a gcc whose sysroot is glibc 2.17: 5 s, once"
    [libraries]="compile zlib, libdeflate, bzip2 and libffi, to be linked in: 20 s"
    [python]="compile CPython 3.13 with Debian's security patches: 2 minutes, the longest step"
    [bootloader]="compile PyInstaller's bootloader, with our patch: 5 s"
    [freeze]="put the program, the used part of the standard library and libpython into one file: 10 s"
    [gate]="look for symbols newer than glibc 2.17, an executable stack and text relocations: 1 s"
)

step() { # name, command: told before, and timed after
    local begun=$SECONDS
    say "$1: ${STEPS[$1]}"
    "${@:2}"
    say "$1: done in $((SECONDS - begun)) s"
}

logged() { # name: what it prints goes into a log, of which the end is shown if it fails
    (set -e; $1) > "$WORK/$1.log" 2>&1 & # bash forgets set -e on the left of ||
    wait $! || { tail -n 30 "$WORK/$1.log" >&2; say "$1 failed: $WORK/$1.log"; exit 1; }
}

main() {
    step fetch fetch
    step toolchain toolchain
    local name stamp
    stamp=$(cat "$HERE"/{build.sh,sources.txt,bootloader.patch} "$PROJECT/requirements.txt" | sha256sum | cut -c1-16)
    if [ ! -f "$WORK/built-$stamp" ]; then
        say 'what is compiled is kept for the next build; the logs are in /var/tmp/fim-bootstrap-build'
        rm -rf "$WORK"/{src,libs,python,built-*} && mkdir -p "$WORK/src" "$LIBS"
        for name in libraries python bootloader; do
            step "$name" logged "$name"
        done
        touch "$WORK/built-$stamp"
    fi
    step freeze freeze
    step gate gate
    say "$(cd "$PROJECT/dist" && sha256sum "$NAME"), $(stat -c %s "$PROJECT/dist/$NAME") bytes"
}
main "$@"
