#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate while the NFS server dies, hangs, stays away, or loses connections; and while it is
# silent, since packets to it are dropped, which is another thing: a server that died still has a
# kernel that answers. test-relocate-faults.sh GODWIT LAB. About three minutes.
#
# A server that dies may lose what was written and not committed. Ganesha's page cache is that of
# this machine and survives it, so the loss is made here: while no server runs, all chunks that the
# journal does not call durable are overwritten with zeros.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=relocate.bash
. "$here/relocate.bash"

# 256 MiB are four chunks, of which two workers copy two at a time: so slowly that each moment that
# is waited for is far from the next one.
readonly image_bytes=$((256 << 20)) rate=60M

make_image() {
    head -c "$image_bytes" /dev/urandom >"$1"
}

journal_of() { printf '/export/.%s.godwit-journal' "$1"; }
chunks_on_server() {
    on_server tail -c +513 "$(journal_of "$1")" 2>/dev/null | journal_count
}
has_chunks_on_server() {
    on_server test -e "$(journal_of "$1")" && (($(chunks_on_server "$1" | wc -l) >= $2))
}

# Overwrites what is not durable in the part of image $1 with zeros. No server runs.
lose_uncommitted() {
    local chunk durable
    durable=$(chunks_on_server "$1")
    for ((chunk = 0; chunk * journal_chunk_bytes < image_bytes; chunk++)); do
        ! grep -qE "^$chunk " <<<"$durable" || continue
        on_server dd if=/dev/zero of="/export/.$1.godwit-part" bs=1M conv=notrunc status=none \
            seek=$((chunk * journal_chunk_bytes >> 20)) count=$((journal_chunk_bytes >> 20))
    done
}

lands_whole() {
    check "$1: the content is right" same "$(server_sum "$2")" "$(sum "$3")"
    check "$1: nothing else is left" no_temporary "$2"
}

# What the machine of an async server leaves of the part of image $1 when its power fails: its size, and
# not even what had been called durable. No server runs.
lose_all() {
    on_server dd if=/dev/zero of="/export/.$1.godwit-part" bs=1M conv=notrunc status=none \
        count=$((image_bytes >> 20))
}

# Only the verifier tells. What is copied goes on, and what was lost is copied again before the end.
test_forgets() {
    local as=forgets.img name=forgets
    in_background relocate --json --bandwidth "$rate" image "$share$as"
    check "$name: the moment comes" await 60 has_chunks_on_server "$as" 2 || return
    "$lab" kill nfs ganesha
    check "$name: it is in mid copy" kill -0 "$background"
    lose_all "$as"
    "$lab" start nfs 2>/dev/null
    ends "$name: goes through" 0 40
    check "$name: it says what was lost" shows 'the server has lost' output
    lands_whole "$name" "$as" image
}

# killed CHUNKS PATH: in mid copy, when CHUNKS chunks are durable.
test_killed() {
    local chunks=$1 path=$2 name="killed at $1 chunks ($2)" as=killed-$1-$2.img
    in_background relocate --json --bandwidth "$rate" --data-path="$path" image "$share$as"
    check "$name: the moment comes" await 60 has_chunks_on_server "$as" "$chunks" || return
    sleep 0.5
    "$lab" kill nfs ganesha
    check "$name: it is in mid copy" kill -0 "$background"
    lose_uncommitted "$as"
    check "$name: the name is not there yet" absent "$as"
    "$lab" start nfs 2>/dev/null
    ends "$name: goes through" 0 60
    check "$name: what was lost was sent again" jq -e '.rpc.resent > 0' result
    # shellcheck disable=SC2016 # this is jq's variable
    check "$name: what was durable was not" jq -e --argjson durable "$chunks" \
        '.written_bytes <= 2 * .bytes - $durable * 67108864' result
    lands_whole "$name" "$as" image
}

# A second death, while that is resent which the first one lost. Neither may come near the end of a
# chunk: one whose commit was answered, and whose record was not written, is safe from a server's death,
# but not from lose_uncommitted. So a pair of chunks takes four seconds here.
test_killed_twice() {
    local name="killed twice" _
    in_background relocate --json --bandwidth 30M image "${share}twice.img"
    check "$name: the moment comes" await 60 has_chunks_on_server twice.img 0
    sleep 1
    for _ in 1 2; do
        "$lab" kill nfs ganesha
        lose_uncommitted twice.img
        "$lab" start nfs 2>/dev/null
        sleep 1
    done
    ends "$name: goes through" 0 60
    check "$name: what was lost was sent again" jq -e '.rpc.resent > 0' result
    lands_whole "$name" twice.img image
}

# At full speed workers are added one by one; here the server is away when one opens the share.
test_killed_while_growing() {
    local after name as
    "$lab" link nfs --rate 1gbit
    for after in 0.45 0.5 0.55; do
        name="killed after $after s" as=growing-$after.img
        in_background relocate --json image "$share$as"
        sleep "$after"
        "$lab" kill nfs ganesha
        sleep 1
        "$lab" start nfs 2>/dev/null
        ends "$name, at full speed: goes through" 0 30
        lands_whole "$name" "$as" image
    done
    "$lab" link nfs --rate none
}

test_hangs() {
    in_background relocate --json --bandwidth "$rate" image "${share}hangs.img"
    check "hangs: the moment comes" await 60 has_chunks_on_server hangs.img 1
    "$lab" kill nfs ganesha --signal STOP
    sleep 3
    "$lab" kill nfs ganesha --signal CONT
    ends "hangs: a server that is mute for 3 s is waited for" 0 30
    lands_whole "hangs" hangs.img image
}

# The one that copies to what has `$1` in its name, once it can be told so; a shell's own child has SIGINT ignored.
heeds_interrupts() {
    # shellcheck disable=SC2016 # a's
    "$lab" exec a sh -c 'set -- $(grep -E "^Sig(Blk|Cgt):" "/proc/$0/status"); [ $(((0x$2 | 0x$4) & 2)) != 0 ]' "$1"
}
is_interruptible() { pid=$("$lab" exec a pgrep -f "^$godwit relocate .*$1") && heeds_interrupts "$pid"; }
interrupt() {
    local pid
    await 60 is_interruptible "$1" && "$lab" exec a kill -INT "$pid"
}

silent() { "$lab" link nfs --drop; }
audible() { "$lab" link nfs --pass; }
trap 'audible; relocate_clean_up' EXIT

# silent PATH: connecting anew takes longer than a connect may take.
test_silent() {
    local path=$1 name="silent ($1)" as=silent-$1.img
    in_background relocate --json --timeout 30s --bandwidth "$rate" --data-path="$path" image "$share$as"
    check "$name: the moment comes" await 60 has_chunks_on_server "$as" 1
    silent
    sleep 7
    check "$name: it is waited for" kill -0 "$background"
    audible
    ends "$name: goes through" 0 30
    lands_whole "$name" "$as" image
}

test_silent_at_the_start() {
    silent
    in_background relocate --json --timeout 4s image "${share}start.img"
    ends "silent at the start: exit code 1, in time" 1 10
    check "silent at the start: the stage is named" shows 'no answer from its port mapper .*port 111' output
    check "silent at the start: a word comes soon" shows "no answer from its port mapper .* for 3 s" output
    check "silent at the start: and a remedy" shows 'hint: .*firewall' output
    check "silent at the start: it is called a timeout" is_called timeout
    in_background relocate --json image "${share}start.img"
    sleep 1
    interrupt start.img
    ends "silent at the start: Ctrl-C: exit code 3, in time" 3 4
    audible
    check "silent at the start: nothing is left" no_temporary start.img
}

test_silent_for_good() {
    local durable
    in_background relocate --json --timeout 3s --bandwidth "$rate" image "${share}gone.img"
    check "silent for good: the moment comes" await 60 has_chunks_on_server gone.img 1
    silent
    ends "silent for good: longer than --timeout 3s: exit code 1, in time" 1 20
    check "silent for good: it says that it has given up" shows 'given up after' output
    check "silent for good: and how to continue" shows 'run the same again to continue' output
    audible
    durable=$(chunks_on_server gone.img | awk '{ sum += $2 } END { print sum + 0 }')
    check "silent for good: it continues" relocate_to_result --json image "${share}gone.img"
    check "silent for good: with what is durable" same "$(jq .resumed_bytes result)" "$durable"
    lands_whole "silent for good" gone.img image
}

# Ctrl-C while the server is silent, in mid-copy.
test_silent_and_stopped() {
    in_background relocate --json --bandwidth "$rate" image "${share}stop.img"
    check "silent and stopped: the moment comes" await 60 has_chunks_on_server stop.img 1
    silent
    sleep 1
    interrupt stop.img
    ends "silent and stopped: exit code 3, in time" 3 8
    audible
    check "silent and stopped: it continues" relocate_to_result --json image "${share}stop.img"
    lands_whole "silent and stopped" stop.img image
}

test_read_silent() {
    in_background relocate --json --timeout 3s --bandwidth "$rate" "${share}source.img" heard.img
    check "read, silent: the moment comes" await 60 has_chunks .heard.img.godwit-journal 1
    silent
    ends "read, silent: exit code 1, in time" 1 20
    audible
    check "read, silent: it continues" relocate_to_result --json "${share}source.img" heard.img
    check "read, silent: the content is right" same "$(sum heard.img)" "$(sum image)"
}

test_stays_away() {
    local durable
    in_background relocate --json --timeout 3s --bandwidth "$rate" image "${share}away.img"
    check "away: the moment comes" await 60 has_chunks_on_server away.img 1
    "$lab" kill nfs ganesha
    ends "away: longer than --timeout 3s: exit code 1, in time" 1 15
    check "away: it says that it has given up" shows 'given up after [3-8] s' output
    check "away: and how to continue" shows 'run the same again to continue' output
    check "away: it is called lost" is_called lost
    durable=$(chunks_on_server away.img | awk '{ sum += $2 } END { print sum + 0 }')
    check "away: the journal is kept" at_least "$durable" "$journal_chunk_bytes"
    lose_uncommitted away.img
    "$lab" start nfs 2>/dev/null
    check "away: the name is not there" absent away.img
    check "away: it continues" relocate_to_result --json image "${share}away.img"
    check "away: with what is durable" same "$(jq .resumed_bytes result)" "$durable"
    check "away: which is not written again" \
        same "$(jq .written_bytes result)" "$((image_bytes - durable))"
    lands_whole "away" away.img image
}

relocate_to_result() { relocate "$@" >result; }

# Cuts all connections of host a to the server.
cut_connections() { "$lab" exec a ss -K -t dst nfs dport = 2049 >/dev/null 2>&1; }

can_cut_connections() {
    local left
    left=$("$lab" exec a bash -c 'exec 7<>/dev/tcp/nfs/2049; ss -K -t dst nfs dport = 2049 >/dev/null 2>&1
        ss -Htn dst nfs dport = 2049 | wc -l')
    ((left == 0))
}

test_cut() {
    local path=$1 name="cut ($1)" as=cut-$1.img _
    if ! can_cut_connections; then
        skip "$name: connections that are cut" "this kernel has no INET_DIAG_DESTROY"
        return
    fi
    in_background relocate --json --bandwidth "$rate" --data-path="$path" image "$share$as"
    check "$name: a copy is under way" under_way "$as"
    for _ in 1 2 3; do
        cut_connections
        sleep 0.7
    done
    check "$name: it is in mid copy" kill -0 "$background"
    ends "$name: goes through" 0 30
    lands_whole "$name" "$as" image
}

test_read_killed() {
    local name="read ($1)" _
    in_background relocate --json --bandwidth "$rate" --data-path="$1" "${share}source.img" "back-$1.img"
    check "$name: a copy is under way" await 60 has_chunks ".back-$1.img.godwit-journal" "$2"
    sleep 0.5
    "$lab" kill nfs ganesha
    check "$name: it is in mid copy" kill -0 "$background"
    "$lab" start nfs 2>/dev/null
    ends "$name: a server that was killed is waited for" 0 30
    check "$name: the content is right" same "$(sum "back-$1.img")" "$(sum image)"
    check "$name: nothing else is left" same "$(find . -name '.*.godwit-*')" ''
}

test_read_stays_away() {
    local durable
    in_background relocate --json --timeout 3s --bandwidth "$rate" "${share}source.img" returned.img
    check "read, away: the moment comes" await 60 has_chunks .returned.img.godwit-journal 1
    "$lab" kill nfs ganesha
    ends "read, away: exit code 1, in time" 1 15
    check "read, away: nothing stands under its name" test ! -e returned.img
    durable=$(journal_bytes .returned.img.godwit-journal)
    "$lab" start nfs 2>/dev/null
    check "read, away: it continues" relocate_to_result --json "${share}source.img" returned.img
    check "read, away: with what is durable" same "$(jq .resumed_bytes result)" "$durable"
    check "read, away: the content is right" same "$(sum returned.img)" "$(sum image)"
}

make_image image
for path in own libnfs; do
    test_killed 0 "$path"
    test_killed 1 "$path"
done
test_killed 2 auto
test_forgets
test_killed_twice
test_killed_while_growing
test_hangs
test_stays_away
test_silent_at_the_start
for path in own libnfs; do
    test_silent "$path"
done
test_silent_for_good
test_silent_and_stopped
for path in own libnfs; do
    test_cut "$path"
done
relocate image "${share}source.img" >/dev/null
for path in own libnfs; do
    test_read_killed "$path" 1
done
test_read_stays_away
test_read_silent
check "nothing is left on the server" no_temporaries
tap_end
