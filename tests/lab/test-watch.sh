#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit watch, on real migrations by godwit and by virsh in the lab, which is up: test-watch.sh BUILD.
# The guests run under TCG, so QEMU must be 10 or newer to migrate them.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
build=$(realpath -- "${1:?the build tree}")
readonly here tools build
readonly lab=$tools/lab guest=$tools/guest domain=$tools/domain godwit=$build/tools/godwit
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d)
readonly scratch vm=watched metrics=$scratch/vm.prom
holder=''
end() {
    local host
    [[ -z $holder ]] || kill "$holder" 2>/dev/null
    for host in a b; do
        "$guest" stop "$host" g
        "$domain" undefine "$host" "$vm"
    done
    rm -rf -- "$scratch"
}
trap end EXIT

declare -A sock sock2 pidfile
for host in a b; do
    sock[$host]=$("$guest" path "$host" g qmp)
    sock2[$host]=$("$guest" path "$host" g qmp2)
    pidfile[$host]=$("$guest" path "$host" g pid)
done
readonly sock sock2 pidfile
readonly first="qmp+unix:${sock[a]}" second="qmp+unix:${sock2[a]}"

# watch ARGUMENTS...: of the bare source, by its second monitor.
readonly watch=("$godwit" watch --interval 100ms "$second")
watch() { "${watch[@]}" "$@"; }

# qmp COMMAND: of the source, by its second monitor.
qmp() {
    jq -nc --arg command "$1" '{execute: "qmp_capabilities"}, {execute: $command, id: 1}' |
        "$lab" exec a timeout 10 socat -t 5 - "UNIX-CONNECT:${sock2[a]}" |
        jq -c 'select(.id == 1) | .return'
}

pair() {
    "$guest" stop a g
    "$guest" stop b g
    "$guest" start a g bare --build "$build" --working-set 16M --dirty-rate 8M --trace &&
        "$guest" start b g bare --build "$build" --working-set 16M --dirty-rate 8M --trace --incoming
}

# migrate ARGUMENTS...: the bare guest, from a to b.
migrate() {
    "$godwit" migrate "$first" "qmp+unix:${sock[b]}" --via "unix:$scratch/stream" "$@"
}

# begin_slowly: in the background, too slow to end; sets pid.
begin_slowly() {
    pair && await 60 test -s "$("$guest" path a g console)" || return
    "$godwit" migrate "$first" "qmp+unix:${sock[b]}" --via "unix:$scratch/stream" --max-bandwidth 4M \
        >"$scratch/migrate.out" 2>&1 &
    pid=$!
    await 60 is_active
}
is_active() { [[ $(qmp query-migrate | jq -r .status) == active ]]; }

# What Prometheus' text format asks for: each value has a HELP and TYPE before it, and is a number; no
# series is there twice.
metrics_are_valid() {
    awk '
        /^# HELP godwit_migration_[a-z_]+ ./ { help[$3] = 1; next }
        /^# TYPE godwit_migration_[a-z_]+ gauge$/ { if (!help[$3]) exit 1; type[$3] = 1; next }
        /^godwit_migration_[a-z_]+\{target="[^"]+"(,state="[a-z-]+")?\} -?[0-9.]+(e[-+]?[0-9]+)?$/ {
            split($0, name, "{"); if (!type[name[1]] || seen[$1]++) { print "bad: " $0; exit 1 }
            n++; next }
        { print "no metric: " $0; exit 1 }
        END { if (n < 20) { print n " values"; exit 1 } }' "$metrics" || {
        cat "$metrics"
        return 1
    }
}
metric() { awk -v name="godwit_migration_$1" 'index($1, name) == 1 { print $2 }' "$metrics"; }
metric_is() { [[ $(metric "$1") == "$2" ]] || { metric "$1"; return 1; }; }

# result_is FILTER: of the last line that the watcher wrote; all are as documented.
result_is() {
    tail -n 1 "$scratch/watch.json" | jq -e "$1" && documented "$scratch/watch.json" "godwit watch --json" || {
        cat "$scratch/watch.json"
        return 1
    }
}

# Its first line is there: it watches.
has_reported() { await 60 test -s "$scratch/watch.json" || { echo "it reported nothing"; cat "$scratch/watch.err"; }; }

# The same for one that waits for a migration: what it has asked is in its metrics.
waits() { await 60 grep -qs '^godwit_migration_sample_timestamp_seconds' "$metrics" || { echo "it does not wait"; cat "$scratch/watch.err"; }; }

# A watcher in the background, which sets watcher: a program, since a function would not pass signals
# on. watched waits for it, in the shell that has begun it (check runs in another), and sets watch_code.
begin_watching() {
    : >"$scratch/watch.json" # has_reported() and waits() look at once
    rm -f -- "$metrics"
    "$@" >"$scratch/watch.json" 2>"$scratch/watch.err" &
    watcher=$!
}
watched() {
    watch_code=0
    wait "$watcher" || watch_code=$?
}
watch_code_is() {
    ((watch_code == $1)) || {
        echo "exit code $watch_code instead of $1"
        cat "$scratch/watch.err"
        return 1
    }
}

test_usage() {
    local bad
    for bad in '' 'one two' '--interval 1ms x' '--interval 2h x' '--interval soon x' '--timeout 0s x' \
        '--bogus x' "--connect qemu:///system $second" 'qmp+unix:relative' 'qmp+http:x'; do
        # shellcheck disable=SC2086 # words
        check "exit 2 for: watch $bad" exits_with 2 "$godwit" watch $bad || true
    done
    check "exit 2 for --metrics without a name" refused 2 'name of a file' "$godwit" watch --metrics '' x || true
    check "no such socket" refused 2 'No such file' "$godwit" watch qmp+unix:/nonexistent || true
    check "no such libvirt" refused 2 nowhere "$godwit" watch -c 'qemu+unix:///system?socket=/nowhere' x || true
    check "no such domain" refused 2 "no domain 'nobody'" "$lab" exec a "$godwit" watch nobody || true
}

hold_monitor() {
    rm -f -- "$scratch/greeting"
    socat -u "UNIX-CONNECT:${sock2[a]}" "CREATE:$scratch/greeting" &
    holder=$!
    await 60 test -s "$scratch/greeting" || echo "the other one never had it"
    refused 2 'serves one client' watch
    local code=$?
    kill "$holder"
    wait "$holder" 2>/dev/null
    holder=''
    return "$code"
}

test_nothing() {
    pair || return
    check "no migration: exit 2" refused 2 'no migration is under way' watch || true
    check "--wait --timeout: exit 3" refused 3 'no migration has begun' watch --wait --timeout 300ms || true
    check "a file that cannot be written" refused 2 nonexistent watch --wait --metrics /nonexistent/x.prom || true
    check "a monitor that another one has" hold_monitor || true
}

test_bare() {
    local others
    pair || return
    begin_watching "${watch[@]}" --wait --json --metrics "$metrics"
    waits
    check "godwit migrates while it is watched" migrate --max-bandwidth 30M || true
    watched
    check "the watcher has seen it complete: exit 0" watch_code_is 0 || true
    check "one JSON object a line" jq -es 'length > 3 and all(.schema == 1 and .t_ms >= 0) and
        (.[:-1] | all(.event == "sample")) and
        (map(.ram_transferred_bytes) | . == sort)' "$scratch/watch.json" || true
    check "the last tells all" result_is '.event == "end" and .result == "completed" and .downtime_ms > 0 and
        .downtime_counted_by == "QEMU" and .total_ms > 0 and .passes > 0 and .setup_ms >= 0' || true
    check "the metrics are valid, and stay" metrics_are_valid || true
    check "... it has completed" metric_is 'state{target="'"$second"'",state="completed"' 1 || true
    check "... with an end" test "$(metric end_timestamp_seconds | cut -d. -f1)" -ge "$(($(date +%s) - 60))" || true
    others=$(find "$scratch" -name 'vm.prom.*')
    check "... and nothing is left beside them" test -z "$others" || true
    check "an ended migration is none: exit 2" refused 2 'the last one: completed' watch || true
    for host in a b; do
        check "$host's QEMU has logged its trace points" grep -qE \
            '^[0-9]+@[0-9]+\.[0-9]{6}:vmstate_downtime_checkpoint (src-vm-stopped|dst-precopy-bh-enter)$' \
            "$("$guest" path "$host" g log)" || true
    done
}

ctrl_c() {
    qmp query-migrate-parameters >"$scratch/before"
    begin_watching "${watch[@]}"
    has_reported
    kill -INT "$watcher"
    watched && watch_code_is 3 && is_active && kill -0 "$pid" && diff "$scratch/before" <(qmp query-migrate-parameters)
}

is_cancelled() {
    begin_watching "${watch[@]}" --json
    has_reported
    kill -INT "$pid"
    watched && watch_code_is 1 && result_is '.result == "cancelled"'
}

qemu_dies() {
    begin_watching "${watch[@]}" --json --metrics "$metrics"
    has_reported
    "$lab" exec a kill -9 "$(cat "${pidfile[a]}")"
    watched && watch_code_is 4 && grep -q 'has ended' "$scratch/watch.err" && grep -q 'look whether' "$scratch/watch.err" &&
        result_is '.result == "lost" and .unreachable == false' &&
        metrics_are_valid
}

test_ends() {
    local pid
    begin_slowly || return
    check "Ctrl-C ends the watching only: exit 3" ctrl_c || true
    check "rows, and how it stands" grep -qE '^The migration goes on\.$' "$scratch/watch.json" || true
    check "--timeout too" exits_with 3 watch --timeout 500ms || true
    check "whoever drives it cancels: exit 1" is_cancelled || true
    wait "$pid"
    begin_slowly || return
    check "QEMU dies: exit 4" qemu_dies || true
    wait "$pid"
}

on_a() { "$lab" exec a "$@"; }

test_domain() {
    local host
    "$domain" define a "$vm" bare --build "$build" --working-set 8M --dirty-rate 4M --trace || return
    check "a domain that does not run: exit 2" refused 2 'not active' on_a "$godwit" watch "$vm" || true
    "$domain" start a "$vm" || return
    check "a domain without a migration: exit 2" refused 2 'no migration is under way' \
        on_a "$godwit" watch "$vm" || true
    begin_watching on_a "$godwit" watch --wait --interval 200ms --json --metrics "$metrics" "$vm"
    waits
    check "virsh migrates while it is watched" on_a virsh -q migrate --live --bandwidth 20 "$vm" qemu+ssh://root@b/system || true
    watched
    check "the watcher has seen it complete: exit 0" watch_code_is 0 || true
    check "the last tells all" result_is '.result == "completed" and .downtime_ms > 0 and .passes > 0 and
        (.downtime_counted_by == "QEMU" or .downtime_counted_by == "libvirt")' || true
    check "the metrics are valid" metrics_are_valid || true
    check "a traced domain goes back by the direct route" "$lab" exec b "$godwit" migrate --route direct "$vm" \
        qemu+ssh://root@a/system || true
    for host in a b; do
        check "$host's QEMU has logged its trace points" grep -q '@.*vmstate_downtime_checkpoint' \
            "$("$domain" path "$host" "$vm" log)" || true
    done
    begin_watching on_a "$godwit" watch --wait --metrics "$metrics" "$vm"
    waits
    on_a virsh -q destroy "$vm"
    watched
    check "a domain that ends while it waits: exit 4" watch_code_is 4 || true
    check "... by libvirt's word" grep -q 'has ended' "$scratch/watch.err" || true
}

test_usage
major=$("$lab" status --json | jq -r '.hosts.a.qemu | split(".")[0]')
if ((major < 10)); then
    skip "watching migrations" "QEMU $major under TCG corrupts a migrated guest"
else
    tap_group test_nothing
    tap_group test_bare
    tap_group test_ends
    tap_group test_domain
fi
tap_end
