#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate in all directions, of trees, with all that may be asked of it:
# test-relocate-ways.sh GODWIT LAB. About a minute.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=relocate.bash
. "$here/relocate.bash"

# Hosts share this machine's files, but for the export: it is looked at from the server.
look() {
    case $1 in
    nfs:*) shift && on_server "$@" ;;
    *) shift && "$@" ;;
    esac
}
path_of() {
    case $1 in
    nfs://nfs/*) printf '%s' "${1#nfs://nfs}" ;;
    *) printf '%s' "$1" ;;
    esac
}
sum_of() { look "$1" xxhsum -H2 "$(path_of "$1")" 2>/dev/null | cut -d' ' -f1; }
blocks_of() { look "$1" stat -c %b "$(path_of "$1")"; }
attributes_of() { look "$1" stat -c '%a %u %g %s %y' "$(path_of "$1")"; }
names_in() {
    look "$1" find "$(path_of "$1")" -mindepth 1 \( -type d -printf '%P %m %U %G %t\n' -o \
        -printf '%P %m %U %G %t %s\n' \) | sort
}

# Two chunks' worth of image with 9 MiB of data, an odd size, mode and time.
make_sources() {
    local at
    truncate -s $((100 * 1048576 + 12345)) sparse.img
    for at in 0 60 97; do
        dd if=/dev/urandom of=sparse.img bs=1M count=3 seek=$at conv=notrunc status=none
    done
    head -c 7777777 /dev/urandom >odd.img
    chmod 0640 sparse.img
    chmod 0444 odd.img
    touch -d '2020-01-02 03:04:05.678901234' sparse.img odd.img
    mkdir -p tree/empty tree/sub/deeper local
    cp odd.img tree/one.img
    cp --sparse=always sparse.img tree/sub/two.img
    head -c 70000 /dev/urandom >tree/sub/deeper/three
    : >"tree/sub/a name with spaces"
    ln -s one.img tree/link
    chmod 0711 tree/sub
    chmod 0700 tree/empty
    touch -d '2019-08-07 06:05:04.3' tree/sub/deeper tree/empty tree/one.img
    touch -d '2018-08-07 06:05:04.3' tree/sub tree
}

# direction NAME FROM TO: FROM and TO are directories, and end in a slash.
direction() {
    local name=$1 from=$2 to=$3 f slack=16
    check "$name: a sparse and an odd image" relocate "${from}sparse.img" "${from}odd.img" "$to" ||
        return
    for f in sparse odd; do
        check "$name: $f.img is the same" same "$(sum_of "$to$f.img")" "$(sum $f.img)"
        check "$name: with its attributes" \
            same "$(attributes_of "$to$f.img")" "$(attributes_of $f.img)"
        check "$name: and no more blocks" \
            at_most "$(blocks_of "$to$f.img")" "$(($(blocks_of $f.img) + slack))"
    done
    check "$name: a new name" relocate "${from}odd.img" "${to}other name.img"
    check "$name: it is the same" same "$(sum_of "${to}other name.img")" "$(sum odd.img)"
}

test_directions() {
    on_server mkdir -p /export/first /export/second
    mkdir -p back again
    direction "local to NFS" '' "${share}first/"
    direction "NFS to NFS" "${share}first/" "${share}second/"
    direction "NFS to local" "${share}second/" "$scratch/back/"
    direction "local to local" back/ again/
    local from
    for from in '' "${share}first/"; do
        check "${from:-local} to null: is read" \
            relocate --manifest=null.sums "${from}sparse.img" "${from}odd.img" null:
        check "and its checksums are right" xxhsum --quiet -c null.sums
    done
}

test_tree() {
    local wanted output
    wanted=$(names_in tree | grep -v '^link ')
    on_server mkdir -p /export/trees
    output=$(relocate -r tree "${share}trees/" 2>&1)
    check "a tree lands" same $? 0
    check "a link in it is named, and left out" grep -q 'tree/link: is neither' <<<"$output"
    check "names, modes, owners and times are kept" \
        same "$(names_in "${share}trees/tree")" "$wanted"
    check "those of the directory itself, too" \
        same "$(look nfs: stat -c '%a %y' /export/trees/tree)" "$(stat -c '%a %y' tree)"
    check "it comes back" relocate -r "${share}trees/tree" back/
    check "as it was" same "$(names_in back/tree)" "$wanted"
    rm tree/link
    check "with the same content" diff -r tree back/tree
    check "and goes from share to share" relocate -r "${share}trees/tree" "${share}second/"
    check "whole" same "$(names_in "${share}second/tree")" "$wanted"
}

test_move() {
    cp --preserve=all sparse.img moved.img
    check "--move" relocate --move moved.img "$share"
    check "the source is gone" test ! -e moved.img
    check "the image is right" same "$(server_sum moved.img)" "$(sum sparse.img)"
    check "--move from the share" relocate --move "${share}moved.img" .
    check "the source is gone there" absent moved.img
    check "the image is right" same "$(sum moved.img)" "$(sum sparse.img)"
    cp -r --preserve=all tree moved-tree
    check "--move of a tree" relocate --move -r moved-tree "$share"
    check "no source is left" test ! -e moved-tree
    check "all of it is there" same "$(names_in "${share}moved-tree")" "$(names_in tree)"
    test_onto_itself
}

# It would be lost: it stands there, and is removed as a source.
test_onto_itself() {
    cp odd.img itself.img
    cp odd.img local/new.img
    check "an image is not moved onto itself" refused 2 "itself.img: is the source itself" \
        relocate --move local/new.img itself.img .
    check "not under another name of it" refused 2 "is the source itself" \
        relocate --move --overwrite local/../itself.img .
    check "not through the share" refused 2 "is the source itself" \
        relocate --move --overwrite "${share}first/odd.img" "${share}first/"
    check "it is still there" same "$(sum itself.img)" "$(sum odd.img)"
}

# What was made durable is changed behind the copy's back, before --verify reads it.
test_verify_finds() {
    head -c 200M /dev/urandom >planted.img
    in_background relocate --move --connections 1 --bandwidth 60M planted.img "$share"
    check "a copy that will be verified is under way" under_way planted.img
    check "its first chunk becomes durable" await 20 planted_chunk_durable
    check "it is damaged" poke .planted.img.godwit-part 8192 4096
    ends "--move finds that: exit code 1" 1 60
    check "names the file, and where" shows 'planted.img: differs from planted.img between .* and ' output
    check "the source is kept" test -e planted.img
    check "nothing stands under the name" absent planted.img
    check "run again, it goes through" relocate --move planted.img "$share"
    check "then the source is gone" test ! -e planted.img
}

planted_chunk_durable() {
    on_server cat /export/.planted.img.godwit-journal >journal 2>/dev/null && has_chunks journal 1
}

test_verify() {
    check "--verify" says "verified" relocate --verify sparse.img "${share}verified.img"
    check "--verify-only of a good copy" relocate --verify-only sparse.img "${share}verified.img"
    check "a byte is changed in the data, through NFS" poke verified.img $((97 << 20)) 1
    check "--verify-only finds it, and says where" \
        refused 1 "verified.img: differs from sparse.img between [0-9]+ and [0-9]+" \
        relocate --verify-only sparse.img "${share}verified.img"
    check "and tells of comparing, not of relocating" refused 1 "0 of 1 images were compared" \
        relocate --verify-only sparse.img "${share}verified.img"
    check "and copies nothing" exits_with 1 relocate --verify-only sparse.img "${share}verified.img"
    check "it is made good" relocate --overwrite sparse.img "${share}verified.img"
    check "a byte is changed in a hole" poke verified.img $((30 << 20)) 1
    check "--verify-only finds that, too" \
        refused 1 "verified.img: differs from sparse.img between 31457280 and" \
        relocate --verify-only sparse.img "${share}verified.img"
    check "and from the share as a source" refused 1 "differs" \
        relocate --verify-only "${share}verified.img" sparse.img
    test_verify_finds
}

# Two runs on one small image, which has no journal: what the first has made is left alone while it lives,
# and what it says when it ends is true.
test_two_runs() {
    local to=$1 name="two runs (${1%%:*})"
    in_background relocate --json --bandwidth 8M odd-small.img "$to"
    check "$name: the first is under way" await 10 part_under_way "$to"
    check "$name: the second is refused" refused 2 'odd-small.img.*: process [0-9]+ is working on it' \
        relocate --restart odd-small.img "$to"
    ends "$name: the first ends well" 0 20
    check "$name: with the checksum of what stands there" same "$(jq -r '.files[0].xxh3_128' result)" \
        "$(case $to in nfs:*) server_sum odd-small.img ;; *) sum "$to/odd-small.img" ;; esac)"
}

part_under_way() {
    case $1 in
    nfs:*) temporary_name_of odd-small.img ;;
    *) compgen -G "$1/.odd-small.img.godwit-part-*" >/dev/null ;;
    esac
}

# A tree that is ended by Ctrl-C: what stood there keeps its mode and times, what was made is of use as it
# is, and becomes like its source when the run is continued.
test_tree_ended() {
    mkdir -p ended/stood ended/made
    head -c 90M /dev/urandom >ended/made/big.img
    cp odd-small.img ended/stood/
    chmod 0751 ended/stood
    chmod 0750 ended/made
    touch -d '2001-02-03 04:05:06' ended/made ended/stood
    mkdir -p local/ended/stood
    chmod 0705 local/ended/stood
    in_background relocate --json --connections 1 --bandwidth 20M -r ended local/
    check "-r: a copy is under way" await 10 test -e local/ended/made/.big.img.godwit-journal
    sleep 0.5
    check "-r: Ctrl-C" "$lab" exec a kill -INT \
        "$("$lab" exec a pgrep -f "^$godwit relocate .* -r ended local/")"
    ends "-r: ended by Ctrl-C" 3 20
    check "-r: what was made can be used" same "$(stat -c %a local/ended/made)" 750
    check "-r: it is continued" relocate -r ended local/
    check "-r: made like its source" same "$(stat -c '%a %Y' local/ended/made)" \
        "$(stat -c '%a %Y' ended/made)"
    check "-r: what stood there keeps its mode" same "$(stat -c %a local/ended/stood)" 705
    check "-r: with the same content" diff -r ended local/ended
    check "-r: nothing else is left" same "$(find local -name '.*.godwit-*')" ''
}

# Each component of a name may have 255 bytes, and the whole what a path may have.
test_long_path() {
    local part path=far
    for part in a b c; do
        path+=/$(printf "$part%.0s" {1..200})
    done
    mkdir -p "$path"
    cp odd-small.img "$path/image"
    check "a path of 600 bytes goes to the share" relocate -r far "$share"
    check "and comes back" relocate -r "${share}far" local/
    check "with the same content" diff -r far local/far
}

# Their names are relative to the destination.
sums_hold_on_server() {
    # shellcheck disable=SC2016 # this is that bash's
    on_server bash -c 'cd /export/listed && exec xxhsum --quiet -c "$1"' _ "$scratch/$1"
}

test_manifest() {
    on_server mkdir -p /export/listed
    check "--manifest" relocate --manifest=sums sparse.img odd.img "${share}listed/"
    check "xxhsum -c accepts it for the sources" xxhsum --quiet -c sums
    check "and on the server" sums_hold_on_server sums
    check "with subdirectories" relocate -r --manifest=tree.sums tree "${share}listed/"
    check "xxhsum -c accepts it there" sums_hold_on_server tree.sums
    check "it has all files" same "$(wc -l <tree.sums)" "$(find tree -type f | wc -l)"
}

test_qcow2() {
    qemu-img create -q -f qcow2 q.qcow2 64M &&
        qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 40M 64k' q.qcow2 &&
        qemu-img snapshot -c before q.qcow2 && qemu-io -c 'write -q -P 3 512k 1M' q.qcow2
    check "a qcow2 image goes as it is" relocate q.qcow2 "$share"
    check "its bytes are the same" same "$(server_sum q.qcow2)" "$(sum q.qcow2)"
    check "it comes back" relocate "${share}q.qcow2" back/
    check "qemu-img finds it whole" qemu-img check -q back/q.qcow2
    check "with its snapshot" same "$(qemu-img snapshot -l back/q.qcow2)" \
        "$(qemu-img snapshot -l q.qcow2)"
}

test_in_use() {
    local qemu
    cp odd.img used.img
    truncate -s 8M used.img
    "$lab" exec a qemu-system-x86_64 -S -accel tcg -display none -nodefaults \
        -drive "file=$scratch/used.img,format=raw,if=virtio" \
        -pidfile "$scratch/qemu.pid" >/dev/null 2>&1 &
    qemu=$!
    await 20 test -s qemu.pid
    sleep 0.2
    check "an image in use is refused" refused 2 "used.img: a running QEMU writes to it" \
        relocate used.img "$share"
    check "nothing of it is there" absent used.img
    check "--force copies it" relocate --force used.img "$share"
    "$lab" exec a kill "$(<qemu.pid)"
    wait "$qemu"
    check "when QEMU has ended, it goes" relocate --overwrite used.img "$share"
    check "it is right" same "$(server_sum used.img)" "$(sum used.img)"
}

ms() { printf '%d' $((${EPOCHREALTIME/./} / 1000)); }
between() { at_least "$1" "$2" && at_most "$1" "$3"; }
cached_bytes() { fincore -b -n -o RES -- "$1"; }
forget() { sync -- "$1" && dd if="$1" iflag=nocache count=0 status=none; }

test_limits() {
    local started
    head -c 100M /dev/urandom >hundred.img
    started=$(ms)
    check "--bandwidth" relocate --bandwidth 50M hundred.img "$share"
    check "100 MiB take 2 s at 50M" between $(($(ms) - started)) 1600 2600
    started=$(ms)
    check "--bandwidth from the share" relocate --bandwidth 50M "${share}hundred.img" null:
    check "take 2 s as well" between $(($(ms) - started)) 1600 2600
    test_nice_cache
    check "--ionice" relocate --ionice=idle hundred.img null:
}

# Files in the page cache stay there, others do not get there.
test_nice_cache() {
    forget hundred.img
    check "--nice-cache, of a source that is not in memory" relocate --nice-cache hundred.img null:
    check "it still is not" at_most "$(cached_bytes hundred.img)" $((4 << 20))
    cat hundred.img >/dev/null
    check "--nice-cache, of a source in memory" relocate --nice-cache hundred.img local/
    check "it still is" at_least "$(cached_bytes hundred.img)" $((96 << 20))
    sync local/hundred.img
    check "the destination is not" at_most "$(cached_bytes local/hundred.img)" $((8 << 20))
}

# Relocates, without a word of warning.
without_warning() {
    relocate "$@" >result 2>output || { cat output; return 1; }
    ! grep warning output
}

# All requests are queued at once, and the last is answered long after the half of --timeout.
test_slow_link() {
    local path
    head -c 4M /dev/urandom >slow.img
    "$lab" link nfs --rate 12mbit
    for path in own libnfs; do
        check "--data-path=$path, a link of 12 Mbit/s, a timeout of 1 s" \
            without_warning --timeout 1s --data-path=$path slow.img "${share}slow-$path.img"
        check "--data-path=$path: the content is right" \
            same "$(sum_of "${share}slow-$path.img")" "$(sum slow.img)"
    done
    check "and from there" without_warning --timeout 1s "${share}slow-own.img" null:
    "$lab" link nfs --rate none
}

# as_nobody GROUPS OPERAND...
as_nobody() {
    "$lab" exec a setpriv --reuid 65534 --regid 65534 --groups "$1" "$godwit" relocate "${@:2}"
}

fails() { ! "$@"; }

# A directory that the user may use by a supplementary group alone.
test_groups() {
    local path
    chmod 0755 .
    on_server mkdir -m 0770 /export/team
    on_server chgrp 4242 /export/team
    for path in own libnfs; do
        check "--data-path=$path, a user by its group" \
            as_nobody 100,4242 --data-path=$path odd.img "${share}team/$path.img"
        check "--data-path=$path: the content is right" \
            same "$(sum_of "${share}team/$path.img")" "$(sum odd.img)"
    done
    check "not without it" fails as_nobody 100 odd.img "${share}team/no.img"
}

test_link_local() {
    local at
    at=$("$lab" exec nfs ip -6 -o address show dev br0 scope link | sed -n 's/.*inet6 \([^/]*\).*/\1/p')
    check "a link-local address with its interface" \
        relocate odd.img "nfs://[$at%br0]/export/link-local.img"
    check "a link-local address: the content is right" \
        same "$(sum_of "${share}link-local.img")" "$(sum odd.img)"
}

# Links of one file need as much room as so many files.
test_no_room() {
    local free before i
    free=$(on_server stat -f -c '%a * %S' /export)
    free=$((free))
    if ! fallocate -l 8G full.img; then
        skip "an export that is too small" "no 8 GiB are free for a source"
        return
    fi
    mkdir links
    for ((i = 0; i <= free / (8 << 30) + 1; i++)); do
        ln full.img "links/$i.img"
    done
    before=$(server_lists)
    check "no room: refused before the first byte" refused 2 "are needed, .* are free" \
        relocate links/*.img "$share"
    check "nothing was touched" same "$(server_lists)" "$before"
    rm -r links full.img
    truncate -s 1T all-hole.img
    check "an image that is all hole needs none" relocate all-hole.img "$share"
}

# The room goes while the copy is under way.
test_room_goes() {
    mkdir small
    "$lab" exec a mount -t tmpfs -o size=220M tmpfs "$scratch/small"
    head -c 200M /dev/urandom >big.img
    in_background relocate --json --connections 1 --bandwidth 80M big.img small/
    check "a copy is under way" await 20 small_has_chunk
    "$lab" exec a fallocate -l 60M "$scratch/small/other"
    ends "the room goes: exit code 1" 1 30
    check "it says so" shows 'No space left on device' output
    check "and what helps" shows 'make room' output
    check "nothing stands under the name" test ! -e small/big.img
    "$lab" exec a rm "$scratch/small/other"
    check "with room again it continues" says '"resumed_bytes": [1-9]' \
        relocate --json big.img small/
    check "and is right" says "$(sum big.img)" "$lab" exec a xxhsum -H2 "$scratch/small/big.img"
    "$lab" exec a umount "$scratch/small"
}

small_has_chunk() {
    "$lab" exec a cat "$scratch/small/.big.img.godwit-journal" >journal 2>/dev/null &&
        has_chunks journal 1
}

make_sources
test_directions
test_tree
test_move
test_verify
head -c 20000001 /dev/urandom >odd-small.img
test_two_runs "$share"
test_two_runs local
test_tree_ended
test_long_path
test_manifest
test_qcow2
test_in_use
test_limits
test_slow_link
test_groups
test_link_local
test_no_room
test_room_goes
check "nothing is left on the server" no_temporaries
tap_end
