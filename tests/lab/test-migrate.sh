#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit migrate between two real QEMUs in the lab, which is up: test-migrate.sh BUILD. The QEMU is
# what the lab gives its hosts; what it cannot bear (the Linux guest before QEMU 10, KVM where there
# is none) is skipped, with the reason. HOPS says how often each guest moves (20).

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
build=$(realpath -- "${1:?the build tree}")
export HOPS=${HOPS:-20}
hops=$HOPS
readonly here tools build hops
readonly lab=$tools/lab guest=$tools/guest godwit=$build/tools/godwit
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d)
readonly scratch
export XDG_STATE_HOME=$scratch # what earlier migrations have cost is not of this test
printf 'version = 1\nmax-time = 6s\non-miss = stretch\n' >"$scratch/patient"
trap '"$guest" stop a g; "$guest" stop a other; "$guest" stop b g; rm -rf -- "$scratch"' EXIT

major=$("$lab" status --json | jq -r '.hosts.a.qemu | split(".")[0]')
readonly major

# Where the guest's files are on each host, asked for once.
declare -A sock serial console pidfile
for host in a b; do
    sock[$host]=$("$guest" path "$host" g qmp)
    serial[$host]=$("$guest" path "$host" g serial)
    console[$host]=$("$guest" path "$host" g console)
    pidfile[$host]=$("$guest" path "$host" g pid)
done
readonly sock serial console pidfile
endpoint() { printf 'qmp+unix:%s' "${sock[$1]}"; }

# qmp HOST COMMAND [ARGUMENTS]: the answer of one QMP command. With `beside` set on the second socket, for
# the first takes one client at a time.
qmp() {
    local arguments=${3:-null} socket=${sock[$1]}
    [[ -z ${beside-} ]] || socket=$scratch/$1.qmp
    jq -nc --arg command "$2" --argjson arguments "$arguments" '{execute: "qmp_capabilities"},
        ({execute: $command, id: 1} + if $arguments == null then {} else {arguments: $arguments} end)' |
        "$lab" exec "$1" timeout 10 socat -t 5 - "UNIX-CONNECT:$socket" |
        jq -c 'select(.id == 1) | .return'
}

runs() { [[ $(qmp "$1" query-status | jq -r .status) == running ]]; }

# beats HOST: a heartbeat comes from this host's guest. A nested KVM may take seconds for its BIOS.
beats() {
    local before after
    before=$(stat -c %s -- "${console[$1]}")
    for _ in $(seq 300); do
        sleep 0.1
        after=$(stat -c %s -- "${console[$1]}")
        ((after <= before)) || return 0
    done
    echo "no heartbeat from $1"
    return 1
}

# The Linux guest looks for its last record first, which takes a while over NFS; then it writes, and its
# beats carry the number of the last one.
writes_records() {
    for _ in $(seq 300); do
        ! grep -qE '^H [0-9a-f]{8} [0-9a-f]{8} 0*[1-9a-f]' "${console[$1]}" || return 0
        sleep 0.1
    done
    echo "no record from $1"
    return 1
}

# The sequence numbers of the beats in both consoles grow by one from line to line. The line that was
# cut by a switchover stands in two files, so up to HOPS lines may be missing, but none may repeat.
consoles_are_sound() {
    ! grep -h '^CORRUPT\|^ERROR' "$scratch"/console.* || return 1
    perl -ne '
        if (/^H ([0-9a-f]{8}) /) { $n = hex $1; $seen++; $last = $n if $n > $last;
            if ($had{$n}++) { print "beat $n came twice\n"; $bad = 1 } }
        END { $lost = $last + 1 - $seen; print "$seen beats, $lost missing\n";
            exit 1 if $bad || $seen < 100 || $lost > 2 * $ENV{HOPS} }' "$scratch"/console.*
}

# The silence of the switchover is among those that are named, or is too short for it; the guest's clock stands in
# the pause under TCG, and loses no more than that; QEMU and the guest tell the network.
tells_of_the_move() {
    jq -e '(.observers[0] | .noticed_n == (.noticed | length) and (.clock_step_ms | . <= 5 and . > -60000) and
            (any(.noticed[]; .place == "switchover") or .longest_silence_ms <= 5 * .quiet_ms + .observer_late_ms)) and
        .downtime_ms.silence > 0 and
        (.observers[1] | .announced and any(.announcements[]; .by == "rarp" and .mac == "52:54:0a:4d:00:64" and
            .after_stop_ms > 0) and any(.announcements[]; .by == "gratuitous-arp"))' "$scratch/result.json"
}

# hop FROM TO N START-ARGUMENTS...: moves the guest, and ends what is left of it.
hop() {
    local from=$1 to=$2 n=$3 kind=$4 run=("$godwit") observe=()
    shift 4
    "$guest" start "$to" g "$kind" --incoming --build "$build" "$@" || return 1
    if [[ $kind == linux ]] && ((n == 1)); then # from a third host, on whose bridge announcements come by
        run=("$lab" exec nfs "$godwit")
        observe=(--observe "serial:${console[$from]}" --observe "serial:${console[$to]}" --observe announce:br0)
    fi
    "${run[@]}" migrate "$(endpoint "$from")" "$(endpoint "$to")" --via "unix:$scratch/stream" \
        --json --quit-source "${observe[@]}" >"$scratch/result.json" || return 1
    ((!${#observe[@]})) || tells_of_the_move || return 1
    jq -e '.schema == 1 and .result == "done" and .guest == "destination" and .route == "qmp" and
        .total_ms > 0 and .downtime_ms.limit > 0 and .downtime_ms.qemu >= 0 and
        .downtime_ms.observed > 0 and
        .downtime_ms.kept == (.downtime_ms.observed <= .downtime_ms.limit) and .ram.transferred_bytes > 0 and .ram.passes > 0 and
        (.phases[0] | .name == "planned" and .t_ms >= 0) and
        (.phases | map(.name) | index("precopy") and index("switchover") and index("done"))' \
        "$scratch/result.json" && documented "$scratch/result.json" "godwit migrate --json" Observers || return 1
    jq .downtime_ms.observed "$scratch/result.json" >>"$scratch/observed"
    beats "$to" || return 1
    cp -- "${console[$from]}" "$scratch/console.$n"
    "$guest" stop "$from" g
}

# back_and_forth KIND ARGUMENTS...: `hops` migrations, and then a look at all that the guest said.
back_and_forth() {
    local from=a to=b n
    rm -f -- "$scratch"/console.* "$scratch/observed"
    "$guest" stop a g
    "$guest" stop b g
    "$guest" start a g "$1" --build "$build" "${@:2}" || return 1
    beats a || return 1
    [[ $1 != linux ]] || writes_records a || return 1
    for ((n = 1; n <= hops; n++)); do
        hop "$from" "$to" "$n" "$@" || {
            echo "hop $n from $from to $to"
            return 1
        }
        read -r from to <<<"$to $from"
    done
    cp -- "${console[$from]}" "$scratch/console.$n"
    "$guest" stop "$from" g
    printf '# %s: STOP to RESUME in ms:' "$*" >&3
    sort -g "$scratch/observed" | awk '{ v[NR] = $1 } END {
        printf " median %.1f, %.1f to %.1f, %d hops\n", v[int((NR + 1) / 2)], v[1], v[NR], NR }' >&3
    consoles_are_sound
}

test_back_and_forth() {
    if ((major >= 10)); then
        check "bare guest, TCG, $hops hops" back_and_forth bare || true
    else
        skip "bare guest, TCG, $hops hops" "QEMU $major under TCG corrupts a migrated guest"
    fi
    if [[ -w /dev/kvm ]]; then
        check "bare guest, KVM, $hops hops" back_and_forth bare --accel kvm "${kvm_load[@]}" || true
    else
        skip "bare guest, KVM, $hops hops" "no /dev/kvm"
    fi
    if ((major >= 10)); then
        test_linux
    else
        skip "Linux guest, $hops hops" "it needs QEMU 10"
    fi
}

test_linux() {
    local image=$scratch/linux.img
    "$build/bench/guest/record-check" --format "$image" 128M
    check "relocate the Linux guest's disk" "$lab" exec a "$godwit" relocate --overwrite "$image" \
        nfs://nfs/export/ || return
    check "Linux guest, $hops hops, disk on the share" back_and_forth linux \
        --disk nfs://nfs/export/linux.img --address 10.77.0.100/24 || true
    check "its records are complete and in order" says '"complete": true' \
        "$lab" exec nfs "$build/bench/guest/record-check" /export/linux.img || true
}

# pair ARGUMENTS...: a bare guest on a, and a QEMU that waits for it on b. accel and machine as given.
pair() {
    local for_b=("$@")
    ((!${#pair_b[@]})) || for_b=("${pair_b[@]}")
    "$guest" stop a g
    "$guest" stop b g
    "$guest" start a g bare --build "$build" --accel "$accel" "$@" &&
        "$guest" start b g bare --build "$build" --accel "$accel" --incoming "${for_b[@]}"
}

migrate() { "$godwit" migrate "$(endpoint a)" "$(endpoint b)" --via "unix:$scratch/stream" "$@"; }

# Ours waits on b, and another one with the same devices on a, where the stream goes by mistake: each host
# has a 127.0.0.1 of its own.
another_is_there() {
    local mine=6ba7b810-9dad-11d1-80b4-00c04fd430c8 others=6ba7b811-9dad-11d1-80b4-00c04fd430c8 socket
    "$guest" stop a g
    "$guest" stop b g
    "$guest" start a g bare --accel "$accel" --build "$build" -- -uuid "$mine" &&
        "$guest" start b g bare --accel "$accel" --incoming --build "$build" -- -uuid "$mine" &&
        "$guest" start a other bare --accel "$accel" --incoming --build "$build" -- -uuid "$others" && beats a || return 1
    socket=$("$guest" path a other qmp)
    printf '%s\n' '{"execute": "qmp_capabilities"}' \
        '{"execute": "migrate-incoming", "arguments": {"uri": "tcp:127.0.0.1:4444"}}' |
        "$lab" exec a timeout 10 socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null
    refused 1 'the migration failed' "$godwit" migrate "$(endpoint a)" "$(endpoint b)" --via tcp:127.0.0.1:4444 &&
        runs a && beats a && [[ $(qmp b query-status | jq -r .status) == inmigrate ]]
}

# in_precopy PROGRAM...: in the background, until it reports that precopy has begun; its pid is in `pid`.
in_precopy() {
    : >"$scratch/progress"
    "$@" --json --progress=3 3>"$scratch/progress" >"$scratch/result.json" 2>"$scratch/err" &
    pid=$!
    await 60 grep -q '"precopy"' "$scratch/progress" || {
        echo "it never was in precopy"
        cat "$scratch/err"
        return 1
    }
}

# begin_slowly [OPTION]...: so slowly that it never ends.
begin_slowly() {
    in_precopy "$godwit" migrate "$(endpoint a)" "$(endpoint b)" --via "unix:$scratch/stream" \
        --max-bandwidth "$slow" "$@"
}

# begin_over_ssh [OPTION]...: the same, and both sides over ssh.
begin_over_ssh() {
    in_precopy "$lab" exec nfs "$godwit" migrate "qmp+ssh://root@a${sock[a]}" "qmp+ssh://root@b${sock[b]}" \
        --via tcp:b:4444 --max-bandwidth "$slow" "$@"
}

untouched() { runs a && [[ $(qmp a query-migrate) == '{}' ]]; }

test_bad_input() {
    pair_b=()
    pair || return
    settings_of a >"$scratch/settings"
    check "no such socket" refused 2 'No such file' "$godwit" migrate "$(endpoint a)" \
        qmp+unix:/nonexistent --via "unix:$scratch/stream"
    check "not QMP" refused 2 'not QMP' "$godwit" migrate "$(endpoint a)" \
        "qmp+unix:${serial[a]}" --via "unix:$scratch/stream" ||
        true
    check "the same QEMU twice" refused 2 'the same QEMU' "$godwit" migrate "$(endpoint a)" \
        "$(endpoint a)" --via "unix:$scratch/stream"
    printf 'version = 1\n\ncolour = red\n' >"$scratch/coloured"
    check "a profile with an unknown key: exit 2, with its line" refused 2 "coloured:3: 'colour' is not a key" migrate \
        --profile "$scratch/coloured"
    check "the destination is not incoming" refused 2 'source: it has no running' "$godwit" migrate \
        "$(endpoint b)" "$(endpoint a)" --via "unix:$scratch/stream"
    for bad in --max-bandwidth=fast --downtime-limit=20 --multifd=0 --timeout=-1s --compression=lz4 \
        --progress=99 --bogus '--multifd=2 --postcopy' --compression=zstd --downtime-limit=0ms \
        --downtime-limit=1h --timeout=0s --max-bandwidth=0 --passes=2 '--pause --passes=0' '--pause --postcopy'; do
        # shellcheck disable=SC2086 # words
        check "exit 2 for $bad" exits_with 2 migrate $bad || true
    done
    check "--set: no such name" refused 2 "'auto-convrege' is neither .* the source's QEMU $major" \
        migrate --set auto-convrege=on || true
    for bad in auto-converge '=on' auto-converge= auto-converge=maybe downtime-limit=20ms multifd-compression=lz4 \
        block-bitmap-mapping=x postcopy-ram=on return-path=on events=off pause-before-switchover=on x-colo=on \
        background-snapshot=on x-ignore-shared=on release-ram=on postcopy-preempt=on \
        'auto-converge=on --set auto-converge=off' 'multifd=off --multifd 2' 'xbzrle=on --multifd 2' \
        'downtime-limit=20 --downtime-limit 20ms' 'max-bandwidth=1M --max-bandwidth 1M'; do
        # shellcheck disable=SC2086 # words
        check "exit 2 for --set $bad" exits_with 2 migrate --set $bad || true
    done
    for bad in tcp:: tcp:b tcp:b:0 tcp:b:http unix:stream 'exec:cat'; do
        check "exit 2 for --via $bad" exits_with 2 "$godwit" migrate "$(endpoint a)" "$(endpoint b)" \
            --via "$bad" || true
    done
    check "nothing was touched" untouched
    check "... and nothing was set" settings_are_as_before a
    pair_b=(--memory 96)
    pair && check "another RAM size" refused 2 'RAM sizes differ' migrate
    pair_b=(--machine pc)
    pair && check "another machine type" refused 2 'machine types differ' migrate
    check "nothing was touched by these" untouched
    pair_b=()
    "$guest" stop b g
    "$guest" start b g bare --build "$build" --accel "$accel" --incoming -- -incoming "unix:$scratch/early"
    check "an incoming that is not deferred" refused 2 'already been started' migrate
    "$guest" stop b g
}

# A guest that dirties more than begin_slowly lets through: it never ends by itself.
pair_that_never_ends() { pair "${load[@]}" && beats a; }

pair_with_two_sockets() {
    pair_b=("${load[@]}" -- -qmp "unix:$scratch/b.qmp,server=on,wait=off")
    pair "${load[@]}" -- -qmp "unix:$scratch/a.qmp,server=on,wait=off" && beats a
    pair_b=()
}

# Sends the signal when the migration has begun; passes godwit's exit code on.
interrupted() {
    local pid
    begin_slowly
    kill -INT "$pid"
    wait "$pid"
}

destination_dies() {
    local pid
    begin_slowly
    "$lab" exec b kill -9 "$(cat "${pidfile[b]}")"
    wait "$pid"
}

stands_on_a() { [[ $(beside=1 qmp a query-status | jq -r .status) == paused ]]; }

# The pass before it is stopped takes as long as what is sent while it stands: seconds.
dies_while_paused() {
    local pid
    begin_slowly --pause
    await 20 stands_on_a || { echo "it never stood"; kill -INT "$pid"; }
    "$lab" exec b kill -9 "$(cat "${pidfile[b]}")"
    wait "$pid"
}

# A guest that has little of the processor dirties little: no pass of it may fit the limit by chance.
ends_after_passes() {
    migrate --pause --passes "$1" --max-bandwidth "$narrow" --downtime-limit 1ms --json >"$scratch/result.json" || return
    jq -c '{guest, ram}' "$scratch/result.json"
    jq -e --argjson passes "$1" '.guest == "destination" and .ram.passes > $passes' "$scratch/result.json"
}

guest_is_on_source() {
    jq -e '.guest == "source" and .schema == 1' "$scratch/result.json" &&
        documented "$scratch/result.json" "godwit migrate --json" && runs a && beats a
}

settings_of() { qmp "$1" query-migrate-parameters; qmp "$1" query-migrate-capabilities; }
settings_are_as_before() { diff <(settings_of "$1") "$scratch/settings"; }

# What was set by name is in force, and after Ctrl-C it is as it was.
set_and_put_back() {
    local pid status=0 beside=1
    begin_slowly --set auto-converge=on --set cpu-throttle-increment=20 --set announce-rounds=7
    qmp a query-migrate-capabilities | jq -e 'any(.capability == "auto-converge" and .state)' || status=1
    for host in a b; do
        qmp "$host" query-migrate-parameters | jq -e '."announce-rounds" == 7' || status=1
    done
    qmp a query-migrate-parameters | jq -e '."cpu-throttle-increment" == 20' || status=1
    kill -INT "$pid"
    wait "$pid"
    ((status == 0)) && settings_are_as_before a && jq -e '.settings == {"auto-converge": "on",
        "cpu-throttle-increment": "20", "announce-rounds": "7"}' "$scratch/result.json" &&
        documented "$scratch/result.json" "godwit migrate --json"
}

migration_is() { [[ $(qmp "$1" query-migrate | jq -r .status) == "$2" ]]; }

# A page a second is sent, so that postcopy is there for as long as it takes to lose its connection.
postcopy_recovers() {
    local pid status=0 beside=1
    in_precopy "$godwit" migrate "$(endpoint a)" "$(endpoint b)" --via tcp:b:4445 --postcopy --max-bandwidth "$narrow" \
        --set max-postcopy-bandwidth=4096 || return 1
    await 60 migration_is a postcopy-active && qmp a migrate-pause &&
        await 60 grep -q 'postcopy is connected again' "$scratch/err" &&
        qmp a migrate-set-parameters '{"max-postcopy-bandwidth": 0}' || status=1
    wait "$pid" && ((status == 0)) &&
        jq -e '.result == "done" and .guest == "destination" and .recovered == 1' "$scratch/result.json" &&
        runs b && ! runs a && beats b && ! grep '^CORRUPT' "${console[b]}" &&
        documented "$scratch/result.json" "godwit migrate --json"
}

# Both ssh connections are cut in the middle: godwit makes them anew, the migration goes on, and Ctrl-C
# can still be passed on to both sides.
ssh_is_cut() {
    local pid host result=0 status=0
    begin_over_ssh -v || return
    for host in a b; do
        kill "$(ssh_to "$host")" || result=1
    done
    # the destination is asked nothing before the end
    await 60 grep -q 'source: connected again' "$scratch/err" && tells_more && kill -0 "$pid" || {
        echo "it does not go on over a new connection"
        cat "$scratch/err"
        result=1
    }
    kill -INT "$pid"
    wait "$pid" || status=$?
    grep -q 'destination: connected again' "$scratch/err" && ((result == 0)) && return "$status"
}

tells_more() {
    local lines
    lines=$(wc -l <"$scratch/progress")
    await 60 eval "((\$(wc -l <'$scratch/progress') > $lines))"
}

# The path of the socket is this lab's alone.
ssh_to() { pgrep -f -- "^ssh .*:${sock[$1]} " || { echo "no ssh to $1"; return 1; }; }

# Others hold the destination's monitor and fill its backlog: over ssh this looks like a socket that
# nobody listens on. It lives, so it is asked until it answers, and is not armed any more then.
backlog_is_full() {
    local pid ssh holders=() result=0 status=0
    begin_over_ssh -v || return
    ssh=$(ssh_to b) && kill "$ssh" || return
    : >"$scratch/held"
    for _ in 1 2 3 4 5 6; do
        "$lab" exec b timeout 90 socat -u "UNIX-CONNECT:${sock[b]}" "OPEN:$scratch/held,append" 2>/dev/null &
        holders+=($!)
    done
    # the greeting of one of them, and a backlog that takes nobody more
    await 20 test -s "$scratch/held" && await 20 is_backlog_full || { echo "nobody has its monitor"; result=1; }
    kill -INT "$pid"
    await 20 grep -q ': asking again' "$scratch/err" && kill -0 "$pid" || {
        echo "it took no answer for an answer"
        cat "$scratch/err"
        result=1
    }
    kill "${holders[@]}"
    wait "$pid" || status=$?
    ((result == 0)) && return "$status"
}
is_backlog_full() { "$lab" exec b ss -Hxl src "${sock[b]}" | awk '$3 > $4 { full = 1 } END { exit !full }'; }

# Its process there is gone: that is the proof, and the source goes on at once.
dies_over_ssh() {
    local pid
    begin_over_ssh || return
    SECONDS=0
    "$lab" exec b kill -9 "$(cat "${pidfile[b]}")"
    wait "$pid" || { local status=$?; ((SECONDS < 20)) && return "$status"; }
    echo "after $SECONDS s"
    return 99
}

misses_the_limit() {
    migrate --downtime-limit 1ms --json >"$scratch/result.json" || return
    jq -c .downtime_ms "$scratch/result.json"
    jq -e '.downtime_ms | .kept == false and .excess > 0 and (.excess + 1 - .observed | fabs) < 0.1 and
        (.sending == null or (.sending + .starting - .observed | fabs) < 0.1)' "$scratch/result.json"
}

# steered WHAT OPTIONS...: a guest that never ends by itself arrives, the last decision was WHAT, and the controller
# decides the same of what was recorded.
steered() {
    local what=$1
    shift
    rm -f -- "$scratch/trace"
    migrate --max-bandwidth "$narrow" --json --trace "$scratch/trace" "$@" >"$scratch/result.json" || return
    "$godwit" bench replay "$scratch/trace" && "$godwit" bench replay --json "$scratch/trace" >"$scratch/replay.json" || return
    documented "$scratch/trace" "godwit migrate --trace" && documented "$scratch/replay.json" "godwit bench replay --json" || return
    jq -c '{guest, missed, decisions}' "$scratch/result.json"
    documented "$scratch/result.json" "godwit migrate --json" &&
        jq -e --arg what "$what" '.guest == "destination" and .decisions[-1].what == $what' "$scratch/result.json"
}

# A second client, on a second QMP socket, while the first one's migration goes on.
already_migrating() {
    local pid result
    begin_slowly
    refused 2 'already under way' "$godwit" migrate "qmp+unix:$scratch/a.qmp" "qmp+unix:$scratch/b.qmp" \
        --via "unix:$scratch/other"
    result=$?
    kill -INT "$pid"
    wait "$pid"
    return "$result"
}

test_ends() {
    pair_that_never_ends || return
    settings_of a >"$scratch/settings"
    check "Ctrl-C: exit 3" exits_with 3 interrupted || true
    check "Ctrl-C: the guest goes on on the source" guest_is_on_source || true
    check "Ctrl-C: the source's settings are as before" settings_are_as_before a || true
    pair_with_two_sockets
    check "--set is in force, and put back after Ctrl-C" set_and_put_back || true
    pair_that_never_ends
    check "--set auto-converge=on ends what never ends" migrate --max-bandwidth "$narrow" --timeout 60s \
        --set auto-converge=on --set cpu-throttle-initial=60 --set cpu-throttle-increment=30 || true
    pair_that_never_ends
    check "--timeout: exit 1" refused 1 'timeout' migrate --max-bandwidth "$slow" --timeout 1500ms || true
    check "--timeout: the guest goes on on the source" runs a || true
    pair_that_never_ends
    check "the destination dies: exit 1" exits_with 1 destination_dies || true
    check "the destination dies: the guest goes on on the source" guest_is_on_source || true
    pair_that_never_ends
    check "both ssh connections are cut: it goes on, Ctrl-C: exit 3" exits_with 3 ssh_is_cut || true
    check "... and the guest goes on on the source" guest_is_on_source || true
    pair_that_never_ends
    check "the destination's backlog is full: it is asked again; Ctrl-C: exit 3" exits_with 3 backlog_is_full || true
    check "... and the source's settings are as before" settings_are_as_before a || true
    check "... and the guest goes on on the source" guest_is_on_source || true
    pair_that_never_ends
    check "over ssh, the destination dies: exit 1" exits_with 1 dies_over_ssh || true
    check "... and the guest goes on on the source" guest_is_on_source || true
    pair_that_never_ends
    check "what does not converge is reported" refused 1 'does not converge: the guest dirties .*--postcopy' \
        migrate --max-bandwidth "$narrow" --downtime-limit 1ms --timeout 8s || true
    pair
    check "a downtime limit that is missed is reported" misses_the_limit || true
    pair_that_never_ends
    check "--max-downtime below what a pause costs is refused, with the least that is not" \
        refused 2 'a downtime of 1 ms cannot be promised: a pause costs about [0-9]* ms' migrate --max-downtime 1ms || true
    check "... and nothing was touched" untouched || true
    check "--max-time that does not suffice: exit 1" refused 1 'given up: the time that was promised, 4000 ms' \
        migrate --max-bandwidth "$narrow" --max-time 4s || true
    check "... the guest goes on on the source" runs a || true
    pair_that_never_ends
    check "--max-time --on-miss pause ends what never ends" \
        steered pause --profile "$scratch/patient" --on-miss pause || true
    pair_that_never_ends
    check "--max-time --on-miss stretch does, too" \
        steered limit --max-time 6s --on-miss stretch || true
    pair_that_never_ends
    check "--timeout-action postcopy does, too" steered postcopy --timeout 3s --timeout-action postcopy || true
    pair
    settings_of a >"$scratch/settings"
    check "--allow throttle: what the guest dirties is measured, and it goes over" \
        migrate --allow throttle --max-slowdown 50% || true
    check "... and the source's settings are as before, after a success, too" settings_are_as_before a || true
    pair_with_two_sockets
    check "already migrating" already_migrating || true
    pair_that_never_ends
    check "--postcopy ends what never ends" migrate --postcopy --max-bandwidth 100M || true
    check "--postcopy: the guest is on the destination" runs b || true
    pair_with_two_sockets
    check "--postcopy that loses its connection is recovered" postcopy_recovers || true
    pair_that_never_ends
    check "--pause ends what never ends, after the passes that were asked for" ends_after_passes 3 || true
    check "--pause: the guest runs on the destination" eval 'runs b && beats b' || true
    pair_with_two_sockets
    check "--pause, the destination dies while the guest stands: exit 1" exits_with 1 dies_while_paused || true
    check "--pause: the guest goes on on the source" guest_is_on_source || true
}

test_ways() {
    check "another QEMU listens where the stream goes: its UUID is another, and the guest stays" another_is_there || true
    "$guest" stop a other
    for way in '--multifd 2' '--multifd 2 --compression zlib' '--multifd 2 --compression zstd' --postcopy \
        '--downtime-limit 20ms' '--multifd 2 --set multifd-compression=zstd --set multifd-zstd-level=3' \
        '--postcopy --set postcopy-preempt=on' '--set max-bandwidth=1G --set downtime-limit=50 --set xbzrle=on'; do
        pair || return
        settings_of b >"$scratch/settings"
        # shellcheck disable=SC2086 # words
        check "migrate $way" migrate $way || true
        check "migrate $way: the destination's settings are as before" settings_are_as_before b || true
        check "migrate $way: it runs there, and not here" eval 'runs b && ! runs a && beats b' || true
    done
    pair || return
    check "--progress: one JSON object a line" progress_is_reported || true
    pair "${load[@]}" && beats a || return
    check "over ssh to both, stream over tcp, observed" ssh_migrate || true
}

progress_is_reported() {
    migrate --progress=3 3>"$scratch/progress" >/dev/null &&
        jq -es 'length >= 2 and all(.schema == 1 and .event == "progress" and .t_ms >= 0 and
            .ram_total_bytes >= .ram_remaining_bytes and (.phase | length > 0)) and
            (map(.ram_transferred_bytes) | . == sort)' "$scratch/progress" &&
        documented "$scratch/progress" "godwit migrate --progress"
}

ssh_migrate() {
    "$lab" exec nfs "$godwit" migrate "qmp+ssh://root@a${sock[a]}" "qmp+ssh://root@b${sock[b]}" \
        --via tcp:b:4444 --observe "serial:${serial[a]}" \
        --observe "serial:${serial[b]}" --json >"$scratch/result.json" &&
        jq -e '.guest == "destination" and .observers[0].longest_silence_ms > 0' "$scratch/result.json" &&
        documented "$scratch/result.json" "godwit migrate --json" "Observers"
}

# A nested KVM may be an emulation, and then dirties no more than some 10 MB/s.
readonly tcg_load=(--working-set 32M --dirty-rate 40M) kvm_load=(--working-set 4M --dirty-rate 8M)
accel=tcg slow=8M narrow=20M load=("${tcg_load[@]}")
if ((major < 10)); then
    accel=kvm slow=1M narrow=2M load=("${kvm_load[@]}")
fi
pair_b=()
exec 3>&1
test_back_and_forth
if [[ $accel == kvm && ! -w /dev/kvm ]]; then
    skip "bad input, ends and ways" "QEMU $major needs KVM, and there is no /dev/kvm"
else
    test_bad_input
    test_ends
    test_ways
fi
tap_end
