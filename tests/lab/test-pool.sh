#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate --pool with a real libvirt: test-pool.sh GODWIT LAB, with the lab up, on disk. About
# a minute and a half.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=pool.bash
. "$here/pool.bash"

test_bad_input() {
    local to=${share}t0 at=(--mount "$scratch/mount")
    new_share t0
    refuses "no such pool" "there is no pool 'absent'" relocate --state-dir "$state_dir" \
        --pool absent "$to" "${at[@]}"
    virsh_a pool-define-as volumes logical --source-name vg --target /dev/vg >/dev/null
    refuses "a pool of volume groups" "of type logical.*" relocate --state-dir "$state_dir" \
        --pool volumes "$to" "${at[@]}"
    check "it says what can be done" refused 2 "hint: its volumes are block devices" relocate \
        --state-dir "$state_dir" --pool volumes "$to" "${at[@]}"
    virsh_a pool-undefine volumes >/dev/null
    virsh_a pool-destroy images >/dev/null
    check "refused: a pool that is not active" refused 2 "pool 'images' is not active" \
        move "$to" "${at[@]}"
    virsh_a pool-start images >/dev/null
    refuses "another host's libvirt" "is another host" move -c qemu+ssh://root@b/system "$to" "${at[@]}"
    refuses "no libvirt" "socket" move -c "qemu+unix:///system?socket=/absent" "$to" "${at[@]}"
    refuses "no mount" "--mount is missing" move "$to"
    refuses "a relative mount" "no absolute path" move "$to" --mount mount
    refuses "a mount that is not there" "absent: No such file" move "$to" --mount "$scratch/absent"
    refuses "a mount that is not the share" "is not the share" move "$to" --mount "$scratch"
    check "the command that mounts it" refused 2 "hint: .*mount -t nfs nfs:/export/t0 $scratch" \
        move "$to" --mount "$scratch"
    refuses "a mount of another directory" "is not the share" move "${share}" "${at[@]}"
    refuses "the pool's own directory as the mount" "is  *the pool's directory" move "$to" --mount "$pool/"
    refuses "an export that is not there" "absent" move nfs://nfs/absent "${at[@]}"
    refuses "a host without an NFS server" "port mapper .*Connection refused" move nfs://b/export "${at[@]}"
    refuses "no share" "an operand is missing" move "${at[@]}"
    refuses "two shares" "too many operands" move "$to" "$to" "${at[@]}"
    refuses "ports for QEMU" "takes no ports" move --target nfs 'nfs://nfs/export/t0?nfsport=2049'
    refuses "--overwrite" "--overwrite is for single images" move --overwrite "$to" "${at[@]}"
    refuses "--undo of nothing" "nothing to undo" move --undo
    refuses "--delete-originals of nothing" "nothing to delete" move --delete-originals
    refuses "--undo without a pool" "needs --pool" relocate --undo
    refuses "a state directory that cannot be" "--state-dir names another" relocate --pool images \
        --state-dir /proc/x "$to" "${at[@]}"
    check "by all that nothing was touched" untouched_but t0
}

# Of images, and of a fourth domain.
test_bad_domains() {
    local to=${share}t0 at=(--mount "$scratch/mount")
    qemu-img rebase -u -F qcow2 -b "$pool/base.qcow2" "$pool/top.qcow2"
    check "refused: a backing file by an absolute path" refused 2 "names its backing file by an absolute" \
        move "$to" "${at[@]}"
    check "the command that fixes it" refused 2 \
        "hint: qemu-img rebase -u -F qcow2 -b base.qcow2 $pool/top.qcow2" move "$to" "${at[@]}"
    qemu-img rebase -u -F qcow2 -b base.qcow2 "$pool/top.qcow2"
    (cd "$pool" && sha256sum -- * >"$scratch/sums")
    qemu-img create -q -f qcow2 -b "$pool/base.qcow2" -F qcow2 outside.qcow2
    define_extra "$(disk qcow2 "$scratch/outside.qcow2" vda)"
    refuses "an image elsewhere that is based on one in the pool" "is outside of the pool, and based on" \
        move "$to" "${at[@]}"
    define_extra "<serial type='file'><source path='$pool/log'/></serial>"
    refuses "a log in the pool" "domain extra: <source> names $pool/log" move "$to" "${at[@]}"
    define_extra "" "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>$pool/raw.img</kernel></os>"
    refuses "a kernel without a mount" "<kernel> names $pool/raw.img, which has to be a file" \
        move --target nfs "$to"
    define_extra "$(disk raw "$pool/vol.img" vda)"
    virsh_a start extra
    virsh_a managedsave extra >/dev/null
    refuses "a saved state" "domain extra has a saved state" move "$to" "${at[@]}"
    check "nothing was touched" untouched_but t0
    virsh_a undefine extra --managed-save >/dev/null
    virsh_a create extra.xml >/dev/null
    refuses "a transient domain" "domain extra is transient" move "$to" "${at[@]}" --shutdown
    virsh_a destroy extra >/dev/null
    start g1 && start g3
    refuses "running domains, by name" "are running: g1, g3" move "$to" "${at[@]}"
    check "with what to do" refused 2 "hint: .*--shutdown" move "$to" "${at[@]}"
    stop_all
    test_bad_spellings "$to" "${at[@]}"
    test_bad_network_disks "$to"
    virsh_a undefine extra >/dev/null
    check "by all that nothing was touched" untouched_but t0
}

# What is not seen as a path at once, and would be left behind.
test_bad_spellings() {
    (cd "$pool" && qemu-img create -q -f qcow2 -b "$pool/base.qcow2" -F qcow2 far.img)
    define_extra "$(disk qcow2 "$pool/far.img" vda)"
    refuses "an absolute backing name, with --format=raw" "far.img names its backing file by an absolute" \
        move --format=raw "$@"
    rm "$pool/far.img"
    local described
    for described in "json:{\"driver\":\"file\",\"filename\":\"$pool/base.qcow2\"}" "file:$pool/base.qcow2" \
        "json:{"$'\n'"\"driver\":\"file\",\"filename\":\"$pool/base.qcow2\"}"; do
        qemu-img create -q -f qcow2 -u -F qcow2 -b "$described" outside.qcow2 16M
        define_extra "$(disk qcow2 "$scratch/outside.qcow2" vda)"
        refuses "an image elsewhere that is based on ${described:0:6}…" "is outside of the pool, and based on" move "$@"
    done
    define_extra "" "<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-blockdev'/>
        <arg value='{\"driver\":\"file\",\"filename\":\"$pool/raw.img\",\"node-name\":\"z\"}'/></commandline>"
    refuses "a -blockdev of its own" "domain extra: <arg> names .*$pool/raw.img" move "$@"
    mkdir "$pool/sub" elsewhere
    cp "$pool/vol.img" "$pool/sub/real.img"
    ln -s real.img "$pool/sub/link.img"
    cp "$pool/vol.img" elsewhere/
    define_extra "$(disk raw "$pool/sub/link.img" vda)"
    check "a link in a directory is copied" says "would copy: .*t0/sub/link.img  " move --dry-run "$@"
    ln -s "$scratch/elsewhere" "$pool/sub/dir"
    define_extra "$(disk raw "$pool/sub/dir/vol.img" vda)"
    refuses "a link to a directory there" "sub/dir/vol.img is used by a domain, and would not be copied" move "$@"
    rm -r "$pool/sub" elsewhere
    mkdir bound
    "$lab" exec a mount --bind "$pool" "$scratch/bound"
    define_extra "$(disk raw "$scratch/bound/vol.img" vda)"
    check "another mount of the directory leads there" says "source file='$scratch/mount/vol.img'" \
        move --dry-run "$@"
    "$lab" exec a umount "$scratch/bound"
}

# What libvirt, or its schema, would refuse once all is copied.
test_bad_network_disks() {
    local file="<disk type='file'><source file='$pool/vol.img'/><target dev='vda' bus='virtio'/>"
    define_extra "$file<transient/></disk>"
    refuses "a transient network disk" "vol.img is a transient disk" move --target nfs "$1" --dry-run
    define_extra "${file/\/>/"><seclabel model='dac' relabel='no'/></source>"}</disk>"
    refuses "a network disk with a label" "vol.img has a <seclabel>" move --target nfs "$1" --dry-run
    define_extra "<disk type='file' device='cdrom'><source file='$pool/no.iso' startupPolicy='optional'/>
        <target dev='sda' bus='sata'/></disk>"
    check "a medium that is not there is not in the way" move --target nfs "$1" --dry-run
}

test_dry_run() {
    move --dry-run "${share}t0" --mount "$scratch/mount" >plan
    check "a dry run shows the pool as a diff" grep -qF "+    <path>$scratch/mount</path>" plan
    check "and its domains" grep -qF "+      <source file='$scratch/mount/top.qcow2'/>" plan
    check "which have nothing else in them" same "$(grep -c '^[-+] ' plan)" 14
    check "and the copies" grep -q "would copy: .*t0/base.qcow2  " plan
    check "as JSON" bash -c '"$@" | tee plan.json | jq -e ".schema == 1 and .result == \"planned\" and (.domains | length) == 3
        and (.diff | length) > 0 and (.images | length) == 5 and .target == \"file\""' _ \
        "$lab" exec a "$godwit" relocate --state-dir "$state_dir" --pool images --dry-run --json \
        "${share}t0" --mount "$scratch/mount"
    check "doc/json.md names each key of that" documented plan.json "godwit relocate --pool --json"
    check "nothing was touched" untouched_but t0
    check "no state either" test ! -e "$state_dir"
}

# In JSON, as it is documented.
move_json() { move --json "$@" >moved.json && documented moved.json "godwit relocate --pool --json"; }

test_network_disks() {
    new_share t1
    check "network disks: the pool moves" move_json --target nfs "${share}t1" || return
    check "... and says where all is" jq -e '.result == "done" and .target == "nfs" and (.domains | length) == 3' moved.json
    check "the originals are there" originals_are_there
    local domain
    for domain in "${domains[@]}"; do
        check "$domain starts" start "$domain"
    done
    check "g1 boots from the share" boots g1
    check "QEMU speaks NFS for its disk" opens g1 "nfs://nfs/export/t1/raw.img"
    check "and for its ISO image" opens g1 "nfs://nfs/export/t1/cd.iso"
    check "the overlay finds its base" opens g2 "nfs://nfs/export/t1/base.qcow2"
    check "a volume is a network disk, too" opens g3 "nfs://nfs/export/t1/vol.img"
    check "cache is none" says "cache='none'" virsh_a dumpxml --inactive g3
    check "--undo names those that run" refused 2 "are running: g1, g2, g3" move --undo
    stop_all
    check "once more: is done already" says "the originals are still in" move --target nfs "${share}t1"
    check "to somewhere else: refused" refused 2 "was moved to nfs://nfs/export/t1/" \
        move --target nfs "${share}t0"
    check "--undo" says "as they were before" move --undo
    check "all is back, byte for byte, and the share is empty" untouched_but t1
    check "no journal is left" no_journal
}

test_written_since() {
    check "moves again" move --target nfs "${share}t1" || return
    "$lab" exec a qemu-io -f raw -c 'write -q -P 1 19M 4096' nfs://nfs/export/t1/raw.img
    check "--undo refuses to lose what was written" refused 2 "written to since they were moved: raw.img" \
        move --undo
    virsh_a desc g2 --config changed >/dev/null
    check "--undo refuses to lose a change of a domain" refused 2 "domain g2 was changed since" move --undo
    check "--undo --force does it" move_json --undo --force
    check "all is back" untouched_but t1
}

test_files() {
    new_share t2
    check "files on a mount: the pool moves" move "${share}t2" --mount "$scratch/mount" || return
    check "the pool's path is the mount" same "$(virsh_a pool-dumpxml images | grep -c "<path>$scratch/mount<")" 1
    check "it is active, and starts with the host" same \
        "$(virsh_a pool-info images | grep -cE 'State: *running|Autostart: *yes')" 2
    check "its volumes are there" same "$(virsh_a vol-list images | awk '{ print $1 }' | xargs)" \
        "base.qcow2 cd.iso raw.img top.qcow2 vol.img"
    check "g1 starts" start g1
    check "and boots from the share" boots g1
    check "g2 starts" start g2
    check "its base is on the mount" opens g2 "$scratch/mount/base.qcow2"
    check "g3 starts" start g3
    check "its volume is on the mount" opens g3 "$scratch/mount/vol.img"
    stop_all
    check "--undo" move --undo
    check "all is back" untouched_but t2
}

# How far the journal says that switching has come: the pool, and domain after domain; -1: not there.
read_switched() {
    local text='' rest
    switched=-1
    { read -r -d '' text <"$state_dir/$journal"; } 2>/dev/null
    [[ $text == *'"phase": "switching"'* ]] || return 0
    rest=${text//'"after": "<'/}
    switched=$(((${#text} - ${#rest}) / 11))
}

copying() { copying_in t3; }
switched_to() { read_switched && ((switched >= $1)); }

# killed WAIT [ARGUMENT] -- ARGUMENT...: a run that is killed when WAIT succeeds.
killed() {
    local moment=() pid status=0 deadline=$((SECONDS + 30))
    while [[ $1 != -- ]]; do moment+=("$1") && shift; done
    shift
    in_background move "$@"
    until pid=$(pgrep -f "^$godwit relocate --state-dir $state_dir") || ! kill -0 "$background" 2>/dev/null; do :; done
    until "${moment[@]}"; do # without a pause: the moments are short
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then break; fi
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$background" || status=$?
    same "$status" 137
}

# Too late is nobody's fault: then it is tried again.
killed_in_time() {
    local try
    for try in 1 2 3; do
        ! killed "$@" || return 0
        echo "try $try came too late"
        move --undo
    done
    return 1
}

test_killed() {
    local to=(--mount "$scratch/mount" "${share}t3") moment
    new_share t3
    check "killed while it copies" killed copying -- --bandwidth 8M "${to[@]}"
    check "domains and pool are as before" definitions_are_back
    check "another command is refused" refused 2 "is being moved to" move --target nfs "${share}t3"
    check "the same one goes on" move "${to[@]}"
    check "--undo then" move --undo
    check "all is back" untouched_but t3
    check "killed while it copies, once more" killed copying -- --bandwidth 8M "${to[@]}"
    check "--undo without going on" move --undo
    check "all is back" untouched_but t3
    for moment in 0 1 2 3; do
        check "killed when $moment of 4 were switched" killed_in_time switched_to "$moment" -- "${to[@]}"
        if ((moment % 2 == 0)); then
            check "the same command goes on" move "${to[@]}"
            check "it is done" phase_is "done"
        fi
        check "--undo" move --undo
        check "all is back" untouched_but t3
    done
}

# A copy that was made of what changed after a kill is made again.
test_changed_after_kill() {
    local to=(--mount "$scratch/mount" "${share}t3")
    check "killed while it copies" killed copying -- --bandwidth 8M "${to[@]}"
    printf 'changed' | dd of="$pool/cd.iso" conv=notrunc status=none
    (cd "$pool" && sha256sum -- * >"$scratch/sums")
    check "goes on with what has changed since" move "${to[@]}"
    check "the copy is of the new content" same "$(server_sum t3/cd.iso)" "$(sum "$pool/cd.iso")"
    check "--undo" move --undo
    check "all is back" untouched_but t3
}

# The image of the domain is opened last of the five, so that it is in use by then.
test_started_before_its_image() {
    local to=(--mount "$scratch/mount" "${share}t4")
    new_share t4
    in_background move --bandwidth 4M --connections 1 "${to[@]}"
    check "a copy is under way" await 10 copying_in t4
    check "somebody starts a domain whose image is not copied yet" start g3
    ends "the move fails" 1 30
    check "it names the domain and the image" shows \
        'started by someone else meanwhile: g3: .*vol.img: a running QEMU writes to it' output
    check "domains and pool are as before" definitions_are_back
    stop_all
    check "--undo" move --undo
    check "all is back" untouched_but t4
}

test_started_between() {
    local to=(--mount "$scratch/mount" "${share}t4")
    new_share t4
    in_background move --bandwidth 4M "${to[@]}"
    check "a copy is under way" await 10 copying_in t4
    check "somebody starts a domain" start g3
    ends "the move fails" 1 30
    check "it names the domain" shows 'started by someone else meanwhile: g3' output
    check "it tells what is left" shows 'copies are left' output
    check "domains and pool are as before" definitions_are_back
    check "the domain runs on" runs g3
    stop_all
    check "the same command goes on" move "${to[@]}"
    check "--undo" move --undo
    check "all is back" untouched_but t4
}

test_shutdown() {
    local to=(--mount "$scratch/mount" "${share}t5")
    new_share t5
    start g1 && start g3
    check "g1 has booted" boots g1
    check "a domain that does not obey: fails" refused 1 "domain g3 does not shut down" \
        move --shutdown --shutdown-timeout 3s "${to[@]}"
    check "the one that did was started again" runs g1
    check "nothing else was touched" untouched_but t5
    check "nor is a journal left" no_journal
    virsh_a destroy g3 >/dev/null
    check "g1 has booted again" boots g1
    check "those that obey are shut down" says "domain g1: was redefined; it was shut down" \
        move --shutdown --shutdown-timeout 20s "${to[@]}"
    check "g1 starts from the share" start g1
    check "and boots" boots g1
    check "--undo --shutdown" move --undo --shutdown --shutdown-timeout 20s
    check "all is back" untouched_but t5
}

test_delete_originals() {
    local to=(--mount "$scratch/mount" "${share}t6")
    new_share t6
    check "moves" move "${to[@]}" || return
    printf 'new' >"$pool/new.img"
    check "--dry-run tells what would go" says "would delete: $pool/raw.img" \
        move --delete-originals --dry-run
    check "nothing went" originals_are_there
    check "--delete-originals" move_json --delete-originals
    check "they are gone, and what came later is not" same "$(ls "$pool")" new.img
    check "--undo has nothing to undo" refused 2 "nothing to undo" move --undo
    check "g1 starts" start g1
    check "and boots from the share" boots g1
}

make_pool
remember
(cd "$pool" && sha256sum -- * >"$scratch/sums")
journal=pool-$(virsh_a pool-uuid images).json
readonly journal
on_server mkdir -p /export/t0
new_share t0
test_dry_run
test_bad_input
test_bad_domains
test_network_disks
test_written_since
test_files
test_killed
test_changed_after_kill
test_started_before_its_image
test_started_between
test_shutdown
test_delete_originals
tap_end
