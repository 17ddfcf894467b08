#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit relocate killed at random moments, and run again until it gets through:
# test-relocate-kill.sh GODWIT LAB [KILLS=100]. Half of them onto the share, half from it, about 2 s
# each. SEED=N repeats the moments of an earlier run, as far as the machine does.
#
# A round is one destination: runs that are killed, and at last one that ends by itself. Moments are
# anywhere in the time that an undisturbed run takes, and a bit beyond.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source-path=SCRIPTDIR source=relocate.bash
. "$here/relocate.bash"

readonly kills=$(((${3:-100} + 1) / 2)) seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$seed

# Three chunks, which have data, zeros that are written down, holes, and an odd end; several chunks
# end in mid copy at this rate.
readonly rate=200M
make_image() {
    head -c 150M /dev/urandom >image
    truncate -s 160M image
    head -c 1000001 /dev/urandom >>image
    dd if=/dev/zero of=image bs=1M seek=70 count=3 conv=notrunc status=none
    touch -d '2022-02-03 04:05:06.789' image
}

# What a round needs to know of its destination, here or on the server.
at_destination() {
    case $direction in
    onto) on_server "$@" ;;
    from) "$@" ;;
    esac
}

destination_sum() { at_destination xxhsum -H2 "$directory/$as" 2>/dev/null | cut -d' ' -f1; }
destination_has() { at_destination test -e "$directory/$1"; }
journal_data_bytes() {
    at_destination tail -c +513 "$directory/.$as.godwit-journal" 2>/dev/null | journal_count |
        awk '{ sum += $2 } END { print sum + 0 }'
}

# One worker copies chunk after chunk, several do some at once.
relocate_round() {
    local way=(--json --bandwidth "$rate" --connections "$((RANDOM % 4 + 1))")
    case $direction in
    onto) relocate "${way[@]}" image "$share$as" ;;
    from) relocate "${way[@]}" "${share}kill-source.img" "$as" ;;
    esac
}

# In host a only godwit itself has this command line.
kill_godwit() {
    local pid
    pid=$("$lab" exec a pgrep -f "^$godwit relocate ") && "$lab" exec a kill -KILL "$pid" 2>/dev/null
}

after_ms() { sleep "$(printf '%d.%03d' "$(($1 / 1000))" "$(($1 % 1000))")"; }

# The first thing that is wrong, and in which round.
note() {
    [[ -n $wrong ]] || wrong="$direction, $as: $1"
}

# A name that appears has all of its content.
look_at_name() {
    destination_has "$as" || return 0
    [[ $(destination_sum) == "$image_sum" ]] || note "what stands under the name is not whole"
}

# Of a run that got through, before which so many bytes were durable.
look_at_result() {
    local durable=$1
    resumed=$((resumed + durable))
    [[ $(jq .resumed_bytes result) == "$durable" ]] ||
        note "$(jq .resumed_bytes result) bytes were resumed, of $durable that were durable"
    (($(jq '.resumed_bytes + .written_bytes' result) <= $(jq .data_bytes result))) ||
        note "more was written than was not durable: $(<result)"
}

# Runs that are killed until one gets through.
run_round() {
    local durable there status
    as=$direction-$seed-$round.img
    while [[ -z $wrong ]]; do
        durable=$(journal_data_bytes)
        there=$(! destination_has "$as" || echo yes)
        in_background relocate_round
        if ((killed < kills)); then
            after_ms "$((RANDOM * longest_ms / 32768))"
            kill_godwit
        fi
        status=0
        wait "$background" || status=$?
        case $status in
        137)
            killed=$((killed + 1))
            look_at_name
            ;;
        0)
            [[ -n $there ]] || look_at_result "$durable"
            return
            ;;
        *)
            # Killed after all was done, before it could say so.
            [[ $there$durable == yes0 ]] && grep -q 'exists' output && return
            note "exit code $status: $(<output)"
            ;;
        esac
    done
}

look_after_round() {
    destination_has "$as" || note "it is not there in the end: $(<output)"
    look_at_name
    ! destination_has ".$as.godwit-part" || note "a part is left"
    ! destination_has ".$as.godwit-journal" || note "a journal is left"
}

# What is on the server is removed by moving it away, and is read once more on that way.
remove_destination() {
    [[ $direction != onto ]] || relocate --move --no-verify "$share$as" back.img >/dev/null
    rm -f back.img "$as"
}

test_direction() {
    direction=$1 directory=$2
    local killed=0 resumed=0 wrong='' round=0
    while ((killed < kills && round < 3 * kills)) && [[ -z $wrong ]]; do
        round=$((round + 1))
        run_round
        look_after_round
        [[ -n $wrong ]] || remove_destination
    done
    printf '# %s the share: %d kills in %d rounds, %d MiB resumed\n' "$direction" "$killed" \
        "$round" "$((resumed >> 20))"
    check "$direction the share: killed $kills times, all images are whole in the end" same "$wrong" ''
    check "$direction the share: so many kills were there" same "$killed" "$kills"
    # A few kills may all come before the first chunk is durable.
    if ((kills >= 20 || resumed > 0)); then
        check "$direction the share: runs went on where others ended" at_least "$resumed" 1
    else
        skip "$direction the share: runs went on where others ended" "none of $kills kills came late enough"
    fi
}

printf '# seed %d\n' "$seed"
make_image
image_sum=$(sum image)
started_ms=$((${EPOCHREALTIME/./} / 1000))
check "an undisturbed run" relocate --overwrite --bandwidth "$rate" image "${share}kill-source.img"
readonly longest_ms=$(((${EPOCHREALTIME/./} / 1000 - started_ms) * 11 / 10))
printf '# moments within %d ms\n' "$longest_ms"

test_direction onto /export
test_direction from "$scratch"
check "nothing is left on the server" no_temporaries
tap_end
