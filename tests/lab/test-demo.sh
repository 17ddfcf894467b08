#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/demo as a newcomer runs it: it shows what the README promises, and leaves nothing behind.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
readonly here tools
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

out=$(mktemp)
GODWIT_LAB=/var/lib/godwit-demo-test
readonly out
export GODWIT_LAB
trap 'rm -f -- "$out"' EXIT

footprint() {
    ip netns list
    ip -brief link | cut -d' ' -f1
    cut -d' ' -f1-3 /proc/self/mounts
    ls -d "$GODWIT_LAB" /var/tmp/godwit-demo.* 2>/dev/null
    grep -lsF -- "$GODWIT_LAB" /proc/[0-9]*/mountinfo
    return 0
}

demo() { "$tools/demo" >"$out" 2>&1 || { tail -40 "$out" && return 1; }; }

shows() { grep -qE -- "$1" "$out" || { echo "no '$1' in:" && tail -60 "$out" && return 1; }; }

# The same checksum, and no blocks more in the two lines about the image than a file system needs for
# itself: where its free space is in pieces, ext4 counts a block or two for the list of a file's extents.
same_image() {
    local source copy
    source=$(sed -n 's/^The source[^:]*: *//p' "$out")
    copy=$(sed -n 's/^The copy[^:]*: *//p' "$out")
    if [[ -z $source || ${source#* blocks, } != "${copy#* blocks, }" ]] || ((${copy%% *} > ${source%% *} + 64)); then
        echo "'$source' is not '$copy'"
        return 1
    fi
}

within() { (($1 <= $2)) || { echo "$1 s"; return 1; }; }

before=$(footprint)
check "the wrong argument: exit 2" exits_with 2 "$tools/demo" --fast
SECONDS=0
check "tools/demo ends well" demo || true
check "within 5 minutes" within "$SECONDS" 300
check "the image on the server is the same, and takes no more blocks" same_image
check "the guest is on the destination" shows '^The guest is on the destination'
check "the longest silence, by serial" shows '^ *serial +silent for [0-9.]+ ms'
check "the longest silence, by ping" shows '^ *ping +silent for [0-9.]+ ms'
check "where the time went" shows '^ *precopy +[0-9.]+ ms'
check "the guest's records are complete and in order" shows '"complete": true'
check "nothing is left behind" diff <(printf '%s\n' "$before") <(footprint)
tap_end
