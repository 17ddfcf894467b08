# shellcheck shell=bash disable=SC2154 # here, of the script; background
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of godwit relocate have in common: test-relocate*.sh GODWIT LAB, with the lab up.
# They work in a scratch directory of this machine, which host a sees as well, and on the export.
# What they leave on the export goes with the lab: files are never removed behind the server's back.
# So each runs once in a lab, and one script's names are not another's.

godwit=$(realpath -- "${1:?the godwit to test}")
lab=$(realpath -- "${2:?tools/lab}")
readonly godwit lab
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d /var/tmp/godwit-relocate-XXXXXX)
readonly scratch share=nfs://nfs/export/
relocate_clean_up() {
    "$lab" kill nfs ganesha --signal CONT >/dev/null 2>&1
    rm -rf -- "$scratch"
}
trap relocate_clean_up EXIT
cd -- "$scratch" || exit 1

relocate() { "$lab" exec a "$godwit" relocate "$@"; }
on_server() { "$lab" exec nfs "$@"; }

sum() { xxh128sum -- "$1" 2>/dev/null | cut -d' ' -f1; }
server_sum() { on_server xxhsum -H2 "/export/$1" 2>/dev/null | cut -d' ' -f1; }
# The same past the page cache, where that can be: it would have to hold all of the holes.
direct_sum() {
    { "$@" iflag=direct bs=4M status=none || "$@" bs=4M status=none; } 2>/dev/null |
        xxh128sum | cut -d' ' -f1
}

# shows PATTERN FILE: a line of it matches.
shows() { grep -qE -- "$1" "$2" || { echo "no \"$1\" in: $(<"$2")"; return 1; }; }

server_has() { on_server test -e "/export/$1"; }
server_lists() { on_server ls -lAR --time-style=full-iso /export; }
temporary_names() { on_server find /export -name '.*.godwit-*' -printf '%f\n'; }
temporary_name_of() { temporary_names | grep -qF ".$1.godwit-"; }

same() { [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }; }
at_most() { (($1 <= $2)) || { echo "$1 is more than $2"; return 1; }; }
at_least() { (($1 >= $2)) || { echo "$1 is less than $2"; return 1; }; }
absent() { ! server_has "$1" || { echo "/export/$1 exists"; return 1; }; }
no_temporary() { ! temporary_name_of "$1" || { echo "a temporary file of $1 is left"; return 1; }; }
no_temporaries() { same "$(temporary_names)" ''; }

# in_background CMD...: what it says goes to the files "output" and "result".
in_background() {
    "$@" >result 2>output &
    background=$!
}

# ends NAME CODE SECONDS: what is in the background ends with that exit code, within that time; its JSON, if it prints
# that, is as documented.
ends() {
    local started=$SECONDS status=0
    wait "$background" || status=$?
    check "$1" ended "$status" "$2" "$((SECONDS - started))" "$3"
}

ended() {
    if ! same "$1" "$2" || ! at_most "$3" "$4"; then
        cat output result
        return 1
    fi
    [[ $(head -c 1 result) != "{" ]] || documented result "godwit relocate --json"
}

# is_called CLASS: so says the JSON of what has ended.
is_called() {
    jq -e --arg class "$1" '.error.class == $class' result >/dev/null || {
        cat output result
        return 1
    }
}

# under_way NAME: waits until some of it is on the server.
under_way() { await 10 temporary_name_of "$1" && sleep 0.3; }

# The journal of a copy, as core/relocate/journal.h describes it. journal_count reads what is behind the
# header and prints, a line each, the numbers of the chunks with a record, and their bytes of data.
readonly journal_chunk_bytes=$((64 << 20))
journal_count() { od -An -v -tu4 -w64 | awk '$1 % 256 == 1 { print NR - 1, $2 }'; }
journal_records() { tail -c +513 -- "$1" 2>/dev/null | journal_count; }
journal_bytes() { journal_records "$1" | awk '{ sum += $2 } END { print sum + 0 }'; }
has_chunks() { [[ -e $1 ]] && (($(journal_records "$1" | wc -l) >= $2)); }

# poke NAME OFFSET BYTES: overwrites that range through NFS.
poke() { "$lab" exec a qemu-io -f raw -c "write -q -P 0xa5 $2 $3" "nfs://nfs/export/$1"; }
