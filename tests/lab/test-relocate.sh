#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate onto a real NFS server: test-relocate.sh GODWIT LAB. Under a minute.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=relocate.bash
. "$here/relocate.bash"

# 4 GiB, in which 256 MiB of data lie in 16 pieces; mode and times that nobody has by chance.
make_sparse() {
    local i
    truncate -s 4G sparse.img
    for i in $(seq 0 15); do
        dd if=/dev/urandom of=sparse.img bs=1M count=16 seek=$((i * 256 + 3)) conv=notrunc status=none
    done
    chmod 0604 sparse.img
    chown 1234:4321 sparse.img
    touch -d '2021-03-04 05:06:07.123456789' sparse.img
}

relocate_recorded() { relocate --json --progress=3 "$1" "$share" 3>progress >result; }

test_sparse() {
    local sum attributes
    make_sparse
    sum=$(direct_sum dd if=sparse.img)
    attributes=$(stat -c '%a %u %g %s %y' sparse.img)
    check "a 4 GiB image with 256 MiB of data lands" relocate_recorded sparse.img || return
    check "its checksum on the server is that of the source" \
        same "$(direct_sum on_server dd if=/export/sparse.img)" "$sum"
    check "it takes no more blocks than the source" \
        at_most "$(on_server stat -c %b /export/sparse.img)" "$(stat -c %b sparse.img)"
    check "mode, owner, size and time of change are kept" \
        same "$(on_server stat -c '%a %u %g %s %y' /export/sparse.img)" "$attributes"
    check "the source is as it was" same "$(stat -c '%a %u %g %s %y' sparse.img)" "$attributes"
    check "no temporary file is left" no_temporary sparse.img
    # shellcheck disable=SC2016 # these are jq's variables
    check "the JSON object has its keys" jq -e --arg sum "$sum" '
        .schema == 1 and .result == "done" and .bytes == 4294967296 and .data_bytes == 268435456
        and (.files | length) == 1 and .files[0].xxh3_128 == $sum and .files[0].state == "done"
        and .files[0].source == "sparse.img" and .files[0].destination == "nfs://nfs/export/sparse.img"
        and .files[0].bytes == .bytes and .files[0].data_bytes == .data_bytes
        and .seconds > 0 and .bytes_per_s > 0 and .cpu_s > 0
        and .written_bytes == 268435456 and .resumed_bytes == 0 and .images_done == 1
        and .rpc.write >= 256 and .rpc.commit > 0 and .rpc.resent == 0' result
    check "doc/json.md names each key of it" documented result "godwit relocate --json"
    check "... and of the progress" documented progress "godwit relocate --progress"
    check "progress never goes back, and ends at the end" jq -es '
        length > 0 and all(.schema == 1 and .event == "progress" and .images == 1)
        and ([.[].bytes] | . == sort) and last.bytes == last.total_bytes and last.eta_s == 0
        and last.images_done == 1' progress
}

test_several() {
    head -c 3000001 /dev/urandom >one.img
    : >empty.img
    truncate -s 10M hole.img
    check "several images at once, odd, empty and all hole" \
        relocate --json one.img ./empty.img "$scratch/hole.img" "$share" || return
    local f
    for f in one empty hole; do
        check "$f.img is the same on the server" \
            same "$(server_sum $f.img)" "$(sum $f.img)"
    done
    check "the hole takes no blocks" same "$(on_server stat -c %b /export/hole.img)" 0
    head -c 100 /dev/urandom >one.img
    check "--overwrite replaces" relocate --overwrite one.img "$share"
    check "what is there then is the new image" \
        same "$(server_sum one.img)" "$(sum one.img)"
    check "without io_uring it works as well" \
        env GODWIT_RING=syscalls "$lab" exec a "$godwit" relocate --overwrite --block-size 64K \
        --connections 1 --depth 2 hole.img one.img "$share"
    test_data_paths
    check "null: reads and hashes only" says "$(sum one.img)" \
        relocate one.img null:
    on_server mkdir -p /export/deep/er
    check "a directory below the export is a destination" relocate one.img "${share}deep/er"
    check "the image is there" server_has deep/er/one.img
}

# 40 MiB in odd pieces, so that payloads are padded, and many calls go in one send.
test_data_paths() {
    local way block sum
    head -c 41943037 /dev/urandom >path.img
    sum=$(sum path.img)
    for way in own libnfs auto; do
        for block in 4K 1M; do
            check "--data-path=$way, blocks of $block" relocate --overwrite --data-path="$way" \
                --block-size "$block" path.img "$share"
            check "the right content" same "$(server_sum path.img)" "$sum"
        done
    done
    check "without being told, godwit speaks itself" says "connected for data, by own" \
        relocate --verbose --overwrite path.img "$share"
    check "--data-path=own without io_uring" env GODWIT_RING=syscalls \
        "$lab" exec a "$godwit" relocate --overwrite --data-path=own path.img "$share"
    check "the right content" same "$(server_sum path.img)" "$sum"
}

# refuses NAME PATTERN ARGUMENT...: exit code 2, the reason, and nothing new on the server.
refuses() {
    local name=$1 pattern=$2 before
    shift 2
    before=$(on_server ls -lAR --time-style=full-iso /export)
    check "refused: $name" refused 2 "$pattern" relocate "$@"
    check "nothing was touched" same "$(on_server ls -lAR --time-style=full-iso /export)" "$before"
}

test_bad_input() {
    mkdir -p dir other
    head -c 1000 /dev/urandom >new.img
    cp new.img other/new.img
    touch one.img # what stands there with the time of its source counts as done
    refuses "a directory" "dir: is a directory" new.img dir "$share"
    refuses "a source that is not there" "absent.img: cannot be read: No such file" new.img absent.img "$share"
    refuses "a source on the share that is not there" "export/absent.img: cannot be read: No such file" \
        "${share}absent.img" dir
    refuses "a device that is no disk" "/dev/null: is neither" new.img /dev/null "$share"
    refuses "two sources of one name" "new.img and other/new.img would get the same name" \
        new.img other/new.img "$share"
    refuses "null: as a source" "'null:': is no source" null: "$share"
    refuses "a destination that exists" "one.img: exists" new.img one.img "$share"
    refuses "one that has another name" "one.img: exists" new.img "${share}one.img"
    refuses "an export that is not there" "absent/: the server refuses" new.img nfs://nfs/absent/
    refuses "a directory that is not there" "absent/: no such directory" new.img "${share}absent/"
    refuses "a new name in one that is not there" "absent/: no such directory" new.img \
        "${share}absent/name"
    refuses "a local directory that is not there" "absent: cannot be opened: No such file" new.img absent/
    refuses "a file for a directory" "one.img/: not a directory" new.img "${share}one.img/"
    refuses "a file for a directory, of two sources" "one.img/: not a directory" \
        new.img other/new.img "${share}one.img"
    refuses "a URL without a host" "names no host" new.img nfs://
    refuses "a URL without an export" "names no export" new.img nfs://nfs
    refuses "a host without an NFS server" "nfs://b/export/: .*port mapper .*Connection refused" new.img \
        nfs://b/export/
    refuses "a destination of no kind" "http://nfs/export.*No such file" new.img http://nfs/export/
    refuses "no destination" "operand is missing" new.img
}

test_bad_options() {
    local option
    refuses "an option that is none" "--frobnicate: unknown" --frobnicate new.img "$share"
    refuses "a size that does not parse" "--block-size: '1x' is not a size" --block-size 1x new.img \
        "$share"
    refuses "a block size that is none" "--block-size: must be" --block-size 1000 new.img "$share"
    for option in connections depth; do
        refuses "--$option out of range" "--$option: '0'" --$option 0 new.img "$share"
    done
    refuses "a rate that is none" "--bandwidth: 'x' is not a rate" --bandwidth x new.img "$share"
    refuses "a duration without a unit" "--timeout: '1' is not" --timeout 1 new.img "$share"
    refuses "a data path that is none" "--data-path: 'tcp'" --data-path=tcp new.img "$share"
    refuses "a class that is none" "--ionice: 'fast'" --ionice=fast new.img "$share"
    refuses "progress to a closed descriptor" "--progress: descriptor 99" --progress=99 new.img \
        "$share"
    refuses "a manifest that cannot be written" "absent/sums: cannot be written: No such" --manifest=absent/sums \
        new.img "$share"
    refuses "--verify-only with --move" "--verify-only copies nothing" --verify-only --move new.img \
        "$share"
    refuses "--verify with --no-verify" "exclude each other" --verify --no-verify new.img "$share"
    refuses "--verify-only of what is not there" "export/new.img: cannot be verified: No such" --verify-only new.img \
        "$share"
    refuses "--move to nowhere" "--move: nothing is kept" --move new.img null:
    refuses "--verify of nothing" "nothing can be read back" --verify new.img null:
    check "unreadable for an ordinary user" test_unreadable
    check "the refusal as JSON" says '"class": *"refused"' \
        bash -c '"$@" || [[ $? == 2 ]]' _ "$lab" exec a "$godwit" relocate --json dir "$share"
}

test_unreadable() {
    chmod 711 .
    chmod 600 new.img
    refused 2 "new.img: cannot open it for reading: Permission denied" \
        "$lab" exec a setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$godwit" relocate "$scratch/new.img" null:
}

# In host a only godwit itself has this command line.
interrupt() {
    local pid
    pid=$("$lab" exec a pgrep -f "^$godwit relocate .*$1") && "$lab" exec a kill -INT "$pid"
}

# What a server that comes back does is looked at in test-relocate-faults.sh.
test_server_killed() {
    local as=killed-$1.img
    in_background relocate --json --timeout 3s --data-path="$1" big.img "$share$as"
    check "a copy is under way again ($1)" under_way "$as"
    "$lab" kill nfs
    ends "the server is killed: exit code 1, soon ($1)" 1 20
    check "nothing stands under its name" absent "$as"
    check "it says what is left, since nobody could be asked to remove it" \
        shows 'nfs://nfs/export/' output
    check "and is called lost" is_called lost
    "$lab" start nfs 2>/dev/null
}

# So slow a link that the first chunk, which would be kept, takes 2.7 s at the least. Each copy has a
# name of its own: what the one before has left there is not a sign that this one has begun.
test_interrupts() {
    truncate -s 256M big.img
    shred -n 1 big.img
    "$lab" link nfs --rate 200mbit

    in_background relocate big.img "$share"
    check "a copy is under way" under_way big.img
    interrupt big.img
    ends "Ctrl-C ends it, exit code 3" 3 8
    check "nothing stands under its name" absent big.img
    check "no temporary file is left" no_temporary big.img

    local way
    for way in own libnfs; do
        test_server_killed "$way"
    done

    in_background relocate big.img "${share}mute.img"
    check "a third copy is under way" under_way mute.img
    "$lab" kill nfs ganesha --signal STOP
    interrupt mute.img
    ends "Ctrl-C ends it also when the server is mute" 3 20
    "$lab" kill nfs ganesha --signal CONT
    check "nothing stands under its name" absent mute.img
    "$lab" link nfs --rate none
    check "and then it goes through" relocate big.img "${share}mute.img"
    check "with the right content" \
        same "$(server_sum mute.img)" "$(sum big.img)"
    for way in own libnfs; do
        check "so does what was killed ($way)" relocate big.img "${share}killed-$way.img"
    done
}

test_changing_source() {
    head -c 256M /dev/zero | tr '\0' x >moving.img
    "$lab" link nfs --rate 500mbit
    in_background relocate moving.img "$share"
    check "a copy of what will change is under way" under_way moving.img
    printf 'y' | dd of=moving.img bs=1 seek=100 conv=notrunc status=none
    ends "a source that changes under the copy: exit code 1" 1 20
    "$lab" link nfs --rate none
    check "it is named" shows 'moving.img: was changed under the copy' output
    check "nothing stands under its name" absent moving.img
    check "no temporary file is left" no_temporary moving.img
}

test_sparse
test_several
test_bad_input
test_bad_options
test_interrupts
test_changing_source
tap_end
