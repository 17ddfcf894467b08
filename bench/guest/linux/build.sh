#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Make the Linux guest: vmlinuz and initrd.img.
#
#   build.sh [--kernel-deb FILE] INIT OUT_DIR
#
# INIT is our static init. The kernel is Debian's cloud kernel, taken out of its package,
# which is downloaded (once; kept in $GODWIT_CACHE, /var/cache/godwit or else OUT_DIR) and
# never installed. The initramfs holds INIT, busybox, and those of the modules below that
# this kernel does not have built in, unpacked, with /modules/order telling init what to load first. It
# is not compressed: under emulation unpacking costs more than reading.
set -euo pipefail

# What the guest needs of the kernel; each brings what it depends on.
readonly WANTED_MODULES=(virtio_pci virtio_blk virtio_net button evdev)

die() {
    echo "build.sh: $1" >&2
    exit "${2:-1}"
}

usage() {
    die "usage: build.sh [--kernel-deb FILE] INIT OUT_DIR" 2
}

require_tool() {
    command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"
}

choose_cache() {
    local cache=${GODWIT_CACHE:-/var/cache/godwit}

    if mkdir -p "$cache/kernel" 2>/dev/null && [[ -w $cache/kernel ]]; then
        echo "$cache/kernel"
    else
        mkdir -p "$OUT_DIR/cache"
        echo "$OUT_DIR/cache"
    fi
}

# The package behind the metapackage, as linux-image-6.1.0-56-cloud-amd64; nothing if apt knows none.
kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/^ *Depends: *\(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | tail -n 1 || true
}

# Print the path of the kernel's package file, downloading it if it is not in the cache. Without
# package lists (offline, or before the first apt-get update) any cached kernel will do.
kernel_deb() {
    local cache package deb

    cache=$(choose_cache)
    package=$(kernel_package)
    deb=$(find "$cache" -maxdepth 1 -name "${package:-linux-image-*-cloud-amd64}_*.deb" |
        sort -V | tail -n 1)
    if [[ -z $deb ]]; then
        [[ -n $package ]] ||
            die "apt knows no linux-image-cloud-amd64: run apt-get update, or use --kernel-deb"
        # Not straight into the cache, which must never hold half a package.
        mkdir "$WORK/download"
        (cd "$WORK/download" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2) ||
            die "downloading $package failed: run apt-get update, or use --kernel-deb"
        mv "$WORK/download"/*.deb "$cache"
        deb=$(find "$cache" -maxdepth 1 -name "${package}_*.deb" | sort -V | tail -n 1)
    fi
    echo "$deb"
}

# The file of module $1 in the unpacked package; nothing if it is built in.
module_file() {
    local name=${1//_/[_-]}

    find "$WORK/kernel" -path '*/lib/modules/*' \
        \( -name "$name.ko" -o -name "$name.ko.[xg]z" -o -name "$name.ko.zst" \) \
        -print -quit
}

unpack_module() {
    case $1 in
    *.xz) require_tool xz xz-utils && xz -dc "$1" ;;
    *.zst) require_tool zstd zstd && zstd -dqc "$1" ;;
    *.gz) gzip -dc "$1" ;;
    *) cat "$1" ;;
    esac
}

is_builtin() {
    grep -q "/${1//_/[_-]}\.ko$" "$WORK"/kernel/{usr/,}lib/modules/*/modules.builtin 2>/dev/null
}

# Add module $1 to the initramfs after all that it depends on.
add_module() {
    local name=$1 file target depends dependency

    target=$WORK/root/modules/$name.ko
    [[ ! -e $target ]] || return 0
    file=$(module_file "$name")
    if [[ -z $file ]]; then
        is_builtin "$name" || die "the kernel has no module $name"
        return 0
    fi
    unpack_module "$file" >"$target"
    # The .modinfo section has NUL-terminated key=value strings; no kmod needed to read it.
    depends=$(tr '\0' '\n' <"$target" | sed -n '0,/^depends=/s/^depends=//p')
    for dependency in ${depends//,/ }; do
        add_module "${dependency//-/_}"
    done
    echo "/modules/$name.ko" >>"$WORK/root/modules/order"
}

make_root() {
    local module busybox

    busybox=$(command -v busybox) || die "busybox is missing: apt-get install busybox-static"
    if LC_ALL=C ldd "$busybox" >/dev/null 2>&1; then
        die "$busybox is not static: apt-get install busybox-static"
    fi
    mkdir -p "$WORK/root"/{bin,dev,modules,proc,sys}
    install -m 755 "$INIT" "$WORK/root/init"
    install -m 755 "$busybox" "$WORK/root/bin/busybox"
    strip "$WORK/root/init"
    : >"$WORK/root/modules/order"
    for module in "${WANTED_MODULES[@]}"; do
        add_module "$module"
    done
}

make_guest() {
    local kernel

    kernel=$(find "$WORK/kernel/boot" -name 'vmlinuz-*' -print -quit)
    [[ -n $kernel ]] || die "no kernel in $KERNEL_DEB"
    find "$WORK/root" -exec touch -h -d @0 {} +
    (cd "$WORK/root" && find . | LC_ALL=C sort |
        cpio --quiet --reproducible -o -H newc -R 0:0) >"$WORK/initrd.img"
    install -m 644 "$kernel" "$WORK/initrd.img" "$OUT_DIR"
    mv "$OUT_DIR/$(basename "$kernel")" "$OUT_DIR/vmlinuz"
}

KERNEL_DEB=
if [[ ${1-} == --kernel-deb ]]; then
    KERNEL_DEB=${2-}
    [[ -r $KERNEL_DEB ]] || die "--kernel-deb ${2-}: no such file" 2
    shift 2
fi
[[ $# -eq 2 ]] || usage
INIT=$1
OUT_DIR=$2
[[ -x $INIT ]] || die "$INIT: no such program" 2
require_tool cpio cpio
require_tool dpkg-deb dpkg
require_tool strip binutils
mkdir -p "$OUT_DIR"
OUT_DIR=$(cd "$OUT_DIR" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
[[ -n $KERNEL_DEB ]] || KERNEL_DEB=$(kernel_deb)
dpkg-deb -x "$KERNEL_DEB" "$WORK/kernel"
make_root
make_guest
