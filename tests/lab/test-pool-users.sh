#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Who can still reach the images of a pool, by any name: nothing is left behind, deleted or removed
# under them. test-pool-users.sh GODWIT LAB, with the lab up, on disk. About half a minute.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=pool.bash
. "$here/pool.bash"

other=$scratch/other
readonly other

users_clean_up() {
    virsh_a pool-destroy second >/dev/null 2>&1
    virsh_a pool-undefine second >/dev/null 2>&1
    virsh_a undefine q35 >/dev/null 2>&1
    "$lab" exec a umount "$scratch/mount" 2>/dev/null
    pool_clean_up
}
trap users_clean_up EXIT

volume_disk() { # FORMAT POOL VOLUME
    printf "<disk type='volume'><driver name='qemu' type='%s'/><source pool='%s' volume='%s'/><target dev='vda' bus='virtio'/></disk>" "$@"
}
second_pool() { # at a directory
    virsh_a pool-define-as second dir --target "$1" >/dev/null && virsh_a pool-start second >/dev/null
}
no_second_pool() { virsh_a pool-destroy second >/dev/null && virsh_a pool-undefine second >/dev/null; }
no_extra() { virsh_a undefine extra --snapshots-metadata >/dev/null; }

# Nobody leads these to the share: an image elsewhere, a pool, a name that is another one.
test_left_behind() {
    local plan=(move --dry-run "${share}u1" --mount "$scratch/mount")
    qemu-img create -q -f qcow2 -b "$pool/base.qcow2" -F qcow2 "$other/vm.qcow2"
    second_pool "$other"
    define_extra "$(volume_disk qcow2 second vm.qcow2)"
    refuses "a volume of another pool that is based on an image" \
        "would be left behind for: domain extra \($pool/base.qcow2\)" "${plan[@]}"
    no_extra
    refuses "the same, of no domain" "volume vm.qcow2 of pool second" "${plan[@]}"
    qemu-img rebase -u -F qcow2 -b "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"$pool/base.qcow2\"}}" "$other/vm.qcow2"
    refuses "the same, in JSON" "volume vm.qcow2 of pool second" "${plan[@]}"
    rm "$other/vm.qcow2"
    virsh_a pool-refresh second
    check "without that it is planned" "${plan[@]}"
    no_second_pool
    mkdir "$pool/iso"
    second_pool "$pool/iso"
    refuses "a pool inside of it" "pool second \($pool/iso\)" "${plan[@]}"
    no_second_pool
    rmdir "$pool/iso"
    ln "$pool/vol.img" "$other/hard.img"
    define_extra "$(disk raw "$other/hard.img" vda)"
    refuses "a hard link" "domain extra \($other/hard.img\)" "${plan[@]}"
    no_extra
    rm "$other/hard.img"
    check "nothing was touched" untouched_but u1
}

# Its definition is another by now, but going back to the snapshot goes back to the old one.
test_snapshot() {
    local uuid
    qemu-img create -q -f qcow2 "$pool/snap.qcow2" 8M
    define_extra "$(disk qcow2 "$pool/snap.qcow2" vda)"
    virsh_a snapshot-create-as extra s1 >/dev/null
    uuid=$(virsh_a domuuid extra)
    sed -i "s|<name>extra</name>|&<uuid>$uuid</uuid>|; s|$pool/snap.qcow2|$other/x.qcow2|" extra.xml
    qemu-img create -q -f qcow2 "$other/x.qcow2" 8M
    virsh_a define extra.xml >/dev/null
    refuses "a snapshot of a domain that does not use the pool" "snapshot s1 of domain extra" \
        move --dry-run "${share}u1" --mount "$scratch/mount"
    no_extra
    rm "$pool/snap.qcow2"
    virsh_a pool-refresh images
}

# libvirt lists the controller that it adds last, until it is given the definition again.
test_other_order() {
    new_share u2
    cat >q35.xml <<XML
<domain type='qemu'><name>q35</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices>$(disk raw "$pool/vol.img" vda)
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>
XML
    virsh_a define q35.xml >/dev/null
    check "a q35 with a channel moves" move "${share}u2" --mount "$scratch/mount"
    check "and is back with --undo" move --undo
    check "its disk, too" same "$(virsh_a dumpxml --inactive q35 | grep -c "$pool/vol.img")" 1
    check "the copies are gone" nothing_in u2
    check "no journal is left, nor a lock" no_journal
    virsh_a undefine q35 >/dev/null
}

# Of a pool that stays where it is: its volumes are the originals.
test_delete_volume() {
    new_share u3
    check "network disks: the pool moves" move --target nfs "${share}u3"
    define_extra "$(volume_disk raw images vol.img)"
    refuses "to delete what a volume names" "still used by: domain extra \($pool/vol.img\)" \
        move --delete-originals
    virsh_a start extra >/dev/null
    refuses "to delete what runs" "domain extra, which runs .*has $pool/vol.img open" \
        move --delete-originals
    virsh_a destroy extra >/dev/null
    no_extra
    qemu-img create -q -f qcow2 -b "$pool/base.qcow2" -F qcow2 "$other/late.qcow2"
    define_extra "$(disk qcow2 "$other/late.qcow2" vda)"
    refuses "to delete what an image elsewhere is based on" "domain extra \($pool/base.qcow2\)" \
        move --delete-originals
    no_extra
    refuses "to delete what is open" "has $pool/cd.iso open" while_open move --delete-originals
    check "the originals are there" originals_are_there
    define_extra "<disk type='network'><driver name='qemu' type='raw'/><source protocol='nfs'
        name='/export/u3/vol.img'><host name='nfs'/><identity user='0' group='0'/></source><target dev='vda' bus='virtio'/></disk>"
    refuses "to undo under a domain that came later" \
        "the copies in .* are used by: domain extra \(nfs://nfs/export/u3/vol.img\)" move --undo
    no_extra
    check "--undo then" move --undo
    check "all is back" untouched_but u3
}

# Beside a process of the host that has an image open.
while_open() {
    local status=0 reader
    "$lab" exec a sleep 600 <"$pool/cd.iso" &
    reader=$!
    await 20 test "/proc/$reader/fd/0" -ef "$pool/cd.iso" || status=1
    "$@" || status=$?
    kill "$reader" 2>/dev/null
    wait "$reader" 2>/dev/null
    return "$status"
}

# Somebody has led the pool back.
test_delete_pool_elsewhere() {
    new_share u4
    check "moves" move "${share}u4" --mount "$scratch/mount"
    virsh_a pool-destroy images >/dev/null
    virsh_a pool-dumpxml images | sed "s|$scratch/mount|$pool|" >images.xml
    virsh_a pool-define images.xml >/dev/null
    virsh_a pool-start images >/dev/null
    refuses "to delete while the pool is not at the mount" "is at $pool, not at the mount" \
        move --delete-originals
    check "the originals are there" originals_are_there
    check "--undo" move --undo
    check "all is back" untouched_but u4
}

test_volume_gone() {
    truncate -s 1M "$pool/gone.img"
    virsh_a pool-refresh images
    rm "$pool/gone.img"
    new_share u5
    refuses "a volume that is gone, in libvirt's words" "gone.img: .*no storage vol with matching path" \
        move --dry-run "${share}u5" --mount "$scratch/mount"
    virsh_a pool-refresh images
}

# ended_early SHARE: a run that is interrupted while it copies; the small images are copied by then.
ended_early() {
    local pid
    in_background move --bandwidth 3M --connections 1 "$share$1" --mount "$scratch/mount"
    await 15 copying_in "$1" && await 15 server_has "$1/cd.iso"
    pid=$(pgrep -f "^$godwit relocate --state-dir $state_dir") && kill -INT "$pid"
    wait "$background"
    phase_is begun
}

in_share() { on_server test -f "/export/$1"; }

# Where libvirt does not list the pool that a disk names, it is not known which file that is.
test_pool_unlisted() {
    truncate -s 1M "$other/alone.img"
    second_pool "$other"
    define_extra "$(volume_disk raw second vm.img)"
    no_second_pool
    refuses "to move while a disk names a pool that is gone" \
        "domain extra \(volume vm.img of pool second, which libvirt does not know" \
        relocate --move "$other/alone.img" "${share}u9/"
    check "a copy takes nothing away" relocate "$other/alone.img" "${share}u9/"
    check "--force moves it" relocate --move --force --overwrite "$other/alone.img" "${share}u9/"
    no_extra
}

# What nobody lists: files of virsh save, and images that a pool does not know (yet).
test_unlisted_files() {
    truncate -s 1M "$other/g.img"
    define_extra "$(disk raw "$other/g.img" vda)"
    start extra
    virsh_a save extra "$other/extra.save" >/dev/null
    no_extra
    refuses "to move what a saved state names" "saved state $other/extra.save \($other/g.img\)" \
        relocate --move "$other/g.img" "${share}u9/"
    check "the original is there" test -f "$other/g.img"
    mkdir "$scratch/third" && mv "$other/extra.save" "$scratch/third/"
    second_pool "$scratch/third"
    virsh_a pool-destroy second >/dev/null
    refuses "one in the directory of a pool, even of one that is not active" \
        "saved state $scratch/third/extra.save" relocate --move "$other/g.img" "${share}u9/"
    virsh_a pool-undefine second >/dev/null
    rm "$scratch/third/extra.save"
    qemu-img create -q -f qcow2 -b "$other/g.img" -F raw "$other/new.qcow2"
    refuses "to move what an image beside it is based on" "image $other/new.qcow2 \($other/g.img\)" \
        relocate --move "$other/g.img" "${share}u9/"
    mv "$other/new.qcow2" "$pool/new.qcow2"
    refuses "the same in a pool that was not refreshed" "image $pool/new.qcow2 \($other/g.img\)" \
        relocate --move "$other/g.img" "${share}u9/"
    rm "$pool/new.qcow2"
    check "without that it is moved" relocate --move "$other/g.img" "${share}u9/"
    qemu-img create -q -f qcow2 "$other/base.qcow2" 1M
    (cd "$other" && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2)
    check "a chain is moved" relocate --move --format=qcow2 "$other/top.qcow2" "${share}u9/"
    check "all of it" test ! -e "$other/base.qcow2" -a ! -e "$other/top.qcow2"
}

# A copy takes nothing away, and what nobody writes to stays as it is meanwhile.
test_copy_of_what_is_read() {
    truncate -s 1M "$other/cd2.iso" "$other/ro.img"
    (cd "$other" && qemu-img create -q -f qcow2 low.qcow2 1M &&
        qemu-img create -q -f qcow2 -b low.qcow2 -F qcow2 high.qcow2)
    define_extra "$(disk qcow2 "$other/high.qcow2" vda)
        <disk type='file'><driver name='qemu' type='raw'/><source file='$other/ro.img'/><target dev='vdb' bus='virtio'/><readonly/></disk>
        <disk type='file' device='cdrom'><source file='$other/cd2.iso'/><target dev='sda' bus='sata'/><readonly/></disk>"
    start extra
    check "a copy of what a running guest only reads" \
        relocate "$other/cd2.iso" "$other/ro.img" "$other/low.qcow2" "${share}u9/"
    refuses "a copy of what it writes to" "domain extra, which runs|a running QEMU writes to it" \
        relocate --format=raw "$other/high.qcow2" "${share}u9/"
    refuses "to move what it reads" "domain extra, which runs" \
        relocate --move --overwrite "$other/low.qcow2" "${share}u9/"
    refuses "the same with --force" "domain extra, which runs" \
        relocate --move --force --overwrite "$other/low.qcow2" "${share}u9/"
    virsh_a destroy extra >/dev/null
    no_extra
}

# Formats whose names are not followed: with what they name they move, and else they are refused.
test_other_formats() {
    local format
    for format in vmdk qed; do
        (cd "$other" && qemu-img create -q -f "$format" "base.$format" 1M &&
            qemu-img create -q -f "$format" -b "base.$format" -F "$format" "top.$format")
        check "a $format image by itself" relocate "$other/base.$format" "${share}u9/"
        refuses "one with a backing file" "a backing file, 'base.$format', which would stay behind" \
            relocate "$other/top.$format" "${share}u9/"
        refuses "to move its base" "image $other/top.$format \\($other/base.$format\\)" \
            relocate --move --overwrite "$other/base.$format" "${share}u9/"
        check "both move" relocate --move --overwrite "$other/base.$format" "$other/top.$format" "${share}u9/"
    done
    (cd "$other" && qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentFlat flat.vmdk 1M)
    refuses "one in several files" "parts of it in other files, 'flat-f001.vmdk'" \
        relocate "$other/flat.vmdk" "${share}u9/"
}

# beside_hung DIR BYTES CMD...: on host a with a mount at DIR whose server falls silent, for CMD alone.
beside_hung() { "$lab" exec a "$here/hung-mount" "$@"; }

catches_sigint() {
    local pid
    pid=$(pgrep -f "^$godwit relocate $1") && ((0x$(awk '/^SigCgt/ { print $2 }' "/proc/$pid/status") & 2))
}

# interrupted NAME FIRST PATH LEFT MOMENT...: after that moment the relocate whose first argument that is ends, though
# it hangs on that path, and says what is left.
interrupted() {
    local name=$1 first=$2 path=$3 left=$4
    shift 4
    check "$name: the moment comes" await 20 "$@"
    await 20 catches_sigint "$first" && kill -INT "$(pgrep -f "^$godwit relocate $first")"
    ends "$name: ends" 3 20
    check "$name: says what hangs" shows "interrupted while $path does not answer; $left" output
}

# interrupted_beside NAME PATH ARGS...: in the plan.
interrupted_beside() {
    local name=$1 path=$2
    shift 2
    in_background beside_hung "$scratch/hung" nothing "$godwit" relocate "$@"
    interrupted "$name" "$1" "$path" "nothing was touched" catches_sigint "$1"
}

test_hung_mount() {
    mkdir "$scratch/hung"
    truncate -s 1M "$other/fine.img"
    define_extra "$(disk raw "$scratch/hung/far.img" vda)"
    interrupted_beside "a domain's disk on a dead mount" "$scratch/hung/far.img" --move "$other/fine.img" "${share}u9/"
    check "nothing was copied" absent u9/fine.img
    no_extra
    interrupted_beside "a source on a dead mount" "$scratch/hung.*" --verify "$scratch/hung/a.img" "${share}u9/"
}

being_copied() { compgen -G "$export_dir/u9/.a.img.godwit-part*" >/dev/null; }

# The server of a source goes in mid-copy, and that of the originals before --undo.
test_hung_later() {
    in_background beside_hung "$scratch/hung" $((8 << 20)) "$godwit" relocate --force --no-tune --depth 1 \
        "$scratch/hung/a.img" "${share}u9/"
    interrupted "a source that goes in the copy" --force "$scratch/hung.*" "what is durable was kept" \
        being_copied
    new_share u10
    check "a pool is moved" move --mount "$scratch/mount" "${share}u10"
    in_background beside_hung "$pool" nothing "$godwit" relocate --undo --state-dir "$state_dir" --pool images
    interrupted "--undo, whose originals are on a dead mount" --undo "$pool.*" "nothing was touched" \
        catches_sigint --undo
    check "--undo, when they are there again" move --undo
}

# The only copy of an image is on the share by now, by hand, under a name that the journal lists.
test_moved_by_hand() {
    local to=(--mount "$scratch/mount" "${share}u6")
    new_share u6
    check "a run is ended early" ended_early u6
    check "its image is moved there by hand" relocate --move --force --overwrite "$pool/cd.iso" "${share}u6/"
    move --dry-run "${to[@]}" >/dev/null 2>&1
    check "a dry run does not touch it" in_share u6/cd.iso
    start g1
    refuses "the next run, for another reason" "" move "${to[@]}"
    check "which does not touch it either" in_share u6/cd.iso
    stop_all
    check "--undo" move --undo
    check "nor does that" in_share u6/cd.iso
    check "it is moved back by hand" relocate --move "${share}u6/cd.iso" "$pool/"
    check "all is back" untouched_but u6
}

# The original is there still, and what stands on the share is not what godwit has made.
test_replaced_by_hand() {
    local to=(--mount "$scratch/mount" "${share}u7")
    new_share u7
    check "a run is ended early" ended_early u7
    check "a copy is replaced by hand" relocate --overwrite "$pool/vol.img" "${share}u7/cd.iso"
    touch "$pool/cd.iso"
    refuses "to go on over it" "cd.iso" move "${to[@]}"
    check "--undo leaves it there, and says so" says "cd.iso stays" move --undo
    check "it is there" in_share u7/cd.iso
    check "it is moved away by hand" relocate --move "${share}u7/cd.iso" "$scratch/"
    check "the rest is back" untouched_but u7
}

# Of images that are named one by one: what runs is in the way, whatever names it has for them.
test_single_images() {
    local to=${share}u8/
    on_server mkdir -p /export/u8
    start g3
    mv "$pool/vol.img" "$pool/renamed.img"
    truncate -s 5M "$pool/vol.img"
    refuses "an image that was renamed under its QEMU" "renamed.img: a running QEMU writes to it|has $pool/renamed.img open" \
        relocate "$pool/renamed.img" "$to"
    refuses "what the domain that runs calls its disk" "domain g3, which runs \($pool/vol.img\)" \
        relocate "$pool/vol.img" "$to"
    check "nothing was copied" nothing_in u8
    stop_all
    mv "$pool/renamed.img" "$pool/vol.img"
    refuses "to move what a domain is defined with" "domain g3 \($pool/vol.img\)" \
        relocate --move "$pool/vol.img" "$to"
    check "a copy of it is made" relocate "$pool/vol.img" "$to"
    define_extra "<disk type='network'><driver name='qemu' type='raw'/><source protocol='nfs'
        name='/export/u8/vol.img'><host name='nfs'/><identity user='0' group='0'/></source><target dev='vda' bus='virtio'/></disk>"
    start extra
    refuses "an image on the share that a domain runs from" \
        "domain extra, which runs \(nfs://nfs/export/u8/vol.img\)" relocate "${share}u8/vol.img" "$other/"
    refuses "the same, when another libvirt is asked, too" "domain extra, which runs" \
        relocate -c qemu:///system -c qemu+ssh://root@b/system "${share}u8/vol.img" "$other/"
    refuses "a libvirt that was named, and does not answer" "does not tell who uses the images" \
        relocate -c "qemu+unix:///system?socket=/absent" "${share}u8/vol.img" "$other/"
    virsh_a destroy extra >/dev/null
    check "then it is copied back" relocate "${share}u8/vol.img" "$other/"
    no_extra
}

mkdir "$other"
make_pool
remember
(cd "$pool" && sha256sum -- * >"$scratch/sums")
new_share u1
test_left_behind
test_snapshot
test_other_order
test_delete_volume
test_delete_pool_elsewhere
test_volume_gone
test_moved_by_hand
test_replaced_by_hand
test_single_images
new_share u9
test_pool_unlisted
test_unlisted_files
test_copy_of_what_is_read
test_other_formats
test_hung_mount
test_hung_later
tap_end
