#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate --pool onto a share that fills up: test-pool-full.sh GODWIT LAB, with the lab up with
# --export-tmpfs, whose size can be changed. Half a minute.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=pool.bash
. "$here/pool.bash"

resize() { on_server mount -o "remount,size=$1" /export; }

make_pool
remember
(cd "$pool" && sha256sum -- * >"$scratch/sums")
on_server mkdir -p /export/f

resize 4M
check "no room: refused before the first byte" refused 2 "are needed, .* are free" \
    move --target nfs "${share}f"
check "nothing was touched" untouched_but f

resize 64M
in_background move --target nfs --bandwidth 3M "${share}f"
check "a copy is under way" await 10 copying_in f
resize 4M
ends "the share fills up: the move fails" 1 30
check "it says so" shows 'No space left' output
check "and what is left there" shows 'copies are left in nfs://nfs/export/f/' output
check "domains and pool are as before" definitions_are_back
check "so are the originals" originals_are_there
resize 64M
check "with room again the same command goes on" move --target nfs "${share}f"
check "g1 starts" start g1
check "and boots from the share" boots g1
stop_all
check "--undo" move --undo
check "all is back" untouched_but f

in_background move --target nfs --bandwidth 3M "${share}f"
check "a copy is under way once more" await 10 copying_in f
resize 4M
ends "it fails" 1 30
check "--undo makes room" move --undo
check "all is back" untouched_but f
check "no journal is left" no_journal
tap_end
