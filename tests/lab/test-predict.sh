#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit predict on real guests in the lab, which is up: test-predict.sh BUILD. The guests run under TCG, so QEMU
# must be 10 or newer to migrate them. What the link carries is told (--link), so that the lab's and the machine's
# speed are no matter.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
build=$(realpath -- "${1:?the build tree}")
readonly here tools build
readonly lab=$tools/lab guest=$tools/guest domain=$tools/domain godwit=$build/tools/godwit
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d)
readonly scratch vm=predicted costs=$scratch/state/godwit/costs.json
export XDG_STATE_HOME=$scratch/state
listener=''
end() {
    local host
    [[ -z $listener ]] || kill "$listener" 2>/dev/null
    for host in a b; do
        "$guest" stop "$host" p
        "$domain" undefine "$host" "$vm"
    done
    rm -rf -- "$scratch"
}
trap end EXIT

first="qmp+unix:$("$guest" path a p qmp)" second="qmp+unix:$("$guest" path b p qmp)"
other=$("$guest" path a p qmp2)
readonly first second other

# pair OPTION...: a guest on a, and on b who waits for it
pair() {
    "$guest" stop a p
    "$guest" stop b p
    "$guest" start a p bare --build "$build" "$@" && "$guest" start b p bare --build "$build" "$@" --incoming &&
        await 60 test -s "$("$guest" path a p console)"
}

predict() { "$godwit" predict "$first" "$second" --via "unix:$scratch/stream" "$@"; }
migrate() { "$godwit" migrate "$first" "$second" --via "unix:$scratch/stream"; }

# listen: from here on, all that the guest's QEMU says unasked goes to $scratch/events, by its second monitor
listen() {
    rm -f "$scratch/hold"
    mkfifo "$scratch/hold" && exec {hold}<>"$scratch/hold" || return
    echo '{"execute": "qmp_capabilities"}' >&"$hold"
    socat - "UNIX-CONNECT:$other" <"$scratch/hold" >"$scratch/events" 2>&1 &
    listener=$!
    await 30 grep -q '"return"' "$scratch/events"
}
unlisten() {
    kill "$listener"
    wait "$listener" 2>/dev/null
    exec {hold}>&-
    listener=''
}

# state: what a prediction must leave as it is, by the first monitor
state() {
    jq -nc '"qmp_capabilities", "query-status", "query-migrate-parameters", "query-migrate-capabilities",
        "query-migrate" | {execute: ., id: .}' |
        timeout 20 socat -t 5 - "UNIX-CONNECT:${first#qmp+unix:}" | jq -cS 'select(.id != null)'
}

# undisturbed CODE ARGUMENTS...: predict ends with that code; the guest runs on, and nothing was set
undisturbed() {
    local code=$1 before after
    shift
    before=$(state)
    listen || return
    exits_with "$code" predict --json "$@" >"$scratch/said" || {
        cat "$scratch/said"
        return 1
    }
    unlisten
    after=$(state)
    [[ -n $before && $before == "$after" ]] || {
        printf 'before %s\nafter  %s\n' "$before" "$after"
        return 1
    }
    ! grep -E '"(STOP|RESUME|MIGRATION)"' "$scratch/events" || return
    documented "$scratch/said" "godwit predict --json"
}

# holds EXPRESSION: jq's, of the last prediction
holds() {
    jq -e "$1" "$scratch/said" >/dev/null || {
        cat "$scratch/said"
        return 1
    }
}

# ---- an idle, a busy, an impossible guest ----

idle() {
    pair --working-set 8M --dirty-rate 0 && undisturbed 0 --link 1gbit &&
        holds '.verdict == "kept" and .converges and .settings.downtime_limit_from == "qemu"
            and .total_ms.low <= .total_ms.likely and .total_ms.likely <= .total_ms.high
            and .guest.looked_at_memory and .guest.not_zero_bytes.high < .guest.ram_bytes
            and .link.from == "given" and .costs.from == "shipped"'
}
check "an idle guest: it converges, and nothing is touched" idle

# ten seconds are the promise, on a machine with a processor to spare
check "it is quick, by its own clock" holds '.took_ms < 20000'

kept() {
    undisturbed 0 --link 1gbit --max-downtime 2s --max-time 60s &&
        holds '.settings.downtime_limit_from == "chosen" and .settings.downtime_limit_ms <= 2000
            and .pause_ms.high <= 2000 and .total_ms.high <= 60000'
}
check "a promise that can be kept, and its limit" kept

not_kept() {
    undisturbed 2 --link 1gbit --max-downtime 1ms &&
        holds '.verdict == "not-kept" and .promise.smallest_max_downtime_ms > 1
            and ([.remedies[].text | select(startswith("--max-downtime"))] | length == 1)'
}
check "a promise below the fixed costs: the smallest that can be kept" not_kept

busy() {
    pair --working-set 16M --dirty-rate 4M && undisturbed 0 --link 10gbit &&
        holds '.guest.dirty_source == "page-sampling" and (.guest.dirtied | length) >= 2'
}
check "a busy guest on a fast link" busy

impossible() {
    pair --working-set 40M --dirty-rate 40M && await 60 holds_dirt && undisturbed 2 --link 4mbit &&
        holds '.verdict == "not-kept" and (.converges | not) and .total_ms == null
            and ([.remedies[].text] | any(startswith("a link of")) and any(startswith("--postcopy")))'
}
# until its working set is filled: it dirties more in a second than the link below carries in ten
holds_dirt() {
    predict --json --link 4mbit >"$scratch/said"
    jq -e '[.guest.dirtied[] | select(.window_ms >= 1000)][0].bytes.likely > 5e6' "$scratch/said" >/dev/null
}
check "an impossible guest on a slow one" impossible
check "it is told in words, too" refused 2 'converges +no' predict --link 4mbit
check "postcopy always ends" exits_with 0 predict --link 4mbit --postcopy
check "the pause of --pause is as long as it must be" says 'pause +[0-9.]+ (s|min)' predict --link 4mbit --pause

# ---- words ----

check "a promise without a unit" refused 2 "max-downtime" predict --max-downtime 50
check "promises that contradict each other" refused 2 "max-time" predict --max-downtime 2s --max-time 1s
check "what migrate would refuse" refused 2 "multifd" predict --multifd 2 --postcopy
check "a destination that is not there" refused 1 "destination" \
    "$godwit" predict "$first" "qmp+unix:$scratch/nobody" --via "unix:$scratch/stream"

# ---- what a migration leaves for the next prediction ----

no_home() { pair --working-set 4M --dirty-rate 0 && XDG_STATE_HOME=/proc/none migrate && ! [[ -e $costs ]]; }
check "a home that cannot be written to is no failure of a migration" no_home

learned() {
    pair --working-set 4M --dirty-rate 0 && migrate && jq -e '.entries[0].cases.rows | length == 1' "$costs" &&
        pair --working-set 4M --dirty-rate 0 && undisturbed 0 --link 1gbit && holds '.costs.from == "alike" and .costs.migrations == 1'
}
check "a migration's costs are known to the next prediction" learned

broken() {
    echo '{' >"$costs"
    says 'earlier migrations' predict --link 1gbit && says 'begun anew' migrate &&
        jq -e '.entries[0].cases.rows | length == 1' "$costs"
}
check "a broken file is told, ignored, and begun anew" broken

# ---- a domain ----

libvirt() {
    "$domain" define a "$vm" bare --build "$build" --working-set 8M --dirty-rate 0 && "$domain" start a "$vm" || return
    exits_with 0 "$lab" exec a env XDG_STATE_HOME="$XDG_STATE_HOME" "$godwit" predict --json --link 1gbit "$vm" \
        qemu+ssh://root@b/system >"$scratch/said" || {
        cat "$scratch/said"
        return 1
    }
    holds '.settings.route == "direct" and .link.destination_host == "b" and .guest.looked_at_memory' &&
        documented "$scratch/said" "godwit predict --json" &&
        [[ $("$lab" exec a virsh domstate "$vm") == running* ]] && ! "$lab" exec b virsh domstate "$vm"
}
check "a libvirt domain" libvirt

tap_end
