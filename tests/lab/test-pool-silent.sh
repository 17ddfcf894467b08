#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate --pool, check --pool and check, whose NFS server falls silent: test-pool-silent.sh
# GODWIT LAB, with the lab up, on disk. The twin of what test-pool.sh and test-check.sh do with servers
# that are killed or refuse: packets are dropped, so that nobody says no. Three quarters of a minute.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=pool.bash
. "$here/pool.bash"

silent() { "$lab" link nfs --drop; }
audible() { "$lab" link nfs --pass; }
trap 'audible; pool_clean_up' EXIT

check_on_a() { "$lab" exec a "$godwit" check "$@"; }
interrupt() {
    local pid
    pid=$("$lab" exec a pgrep -f "^$godwit $1") && "$lab" exec a kill -INT "$pid"
}

test_check_pool() {
    local at=(--state-dir "$state_dir" --pool images --mount "$scratch/mount" "${share}s1")
    new_share s1
    silent
    in_background check_on_a "${at[@]}"
    check "check --pool: a word comes soon" await 10 shows 'no answer from its port mapper .* still waiting' output
    check "check --pool: Ctrl-C" interrupt "check --state-dir $state_dir"
    ends "check --pool: ends then, as relocate does" 3 5
    audible
    check "check --pool: nothing was touched" untouched_but s1
}

# Of a domain, whose disk is there; all else is found out.
test_check() {
    define_extra "<disk type='network'><driver name='qemu' type='raw'/><source protocol='nfs'
        name='/export/s1/x.img'><host name='nfs'/></source><target dev='vda' bus='virtio'/></disk>"
    silent
    in_background check_on_a extra qemu+ssh://root@b/system
    ends "check: a silent server: refused, in time" 2 60
    audible
    check "check: the share and the stage are named" \
        shows 'refuse +share nfs://nfs/export/s1/.* no answer from its port mapper' result
    check "check: other findings are there" shows 'ok +destination: libvirt' result
    virsh_a undefine extra >/dev/null
}

test_copying() {
    local to=(--mount "$scratch/mount" "${share}s1")
    in_background move --timeout 3s --bandwidth 4M "${to[@]}"
    check "copying: the moment comes" await 20 copying_in s1
    silent
    ends "copying: a server silent for good: exit code 1, in time" 1 20
    check "copying: it says that it has given up" shows 'given up after|no answer from' output
    audible
    check "copying: domains and pool are as before" definitions_are_back
    check "copying: the originals are there" originals_are_there
    in_background move --bandwidth 4M "${to[@]}"
    check "copying: the moment comes again" await 20 copying_in s1
    silent
    sleep 1
    check "copying: Ctrl-C" interrupt "relocate --state-dir $state_dir"
    ends "copying: ends then" 3 8
    audible
    check "copying: domains and pool are as before, too" definitions_are_back
    check "copying: the same command goes on" move "${to[@]}"
}

# Nothing of the way back may be half done: the pool and its domains, or none of them.
test_undo() {
    silent
    in_background move --undo --timeout 3s
    ends "--undo: a server silent for good: exit code 1, in time" 1 30
    check "--undo: it says who does not answer" shows 'no answer from' output
    in_background move --undo
    check "--undo: a word comes soon" await 10 shows 'still waiting' output
    check "--undo: Ctrl-C" interrupt "relocate --state-dir $state_dir"
    ends "--undo: ends then" 3 5
    audible
    check "--undo: the originals are there" originals_are_there
    check "--undo: once more" move --undo
    check "--undo: all is back" untouched_but s1
    check "--undo: no journal is left" no_journal
}

make_pool
remember
(cd "$pool" && sha256sum -- * >"$scratch/sums")
test_check_pool
test_check
test_copying
test_undo
tap_end
