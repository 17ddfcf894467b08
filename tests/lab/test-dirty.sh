#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit watch --dirty on the lab's guests, whose working set is known: test-dirty.sh BUILD, in a lab that is
# up, with any QEMU. A guest on a busy machine may be slow to go through its working set; it cannot dirty more
# than that. So what is told must never be above it by more than a fifth, and must come up to four fifths of it
# in one of some rounds.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
build=$(realpath -- "${1:?the build tree}")
readonly here tools build
readonly lab=$tools/lab guest=$tools/guest domain=$tools/domain godwit=$build/tools/godwit
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d)
readonly scratch vm=dirtied json=$scratch/json
readonly set_mib=16 set_bytes=$((16 << 20))
end() {
    "$guest" stop a d
    "$domain" undefine a "$vm"
    rm -rf -- "$scratch"
}
trap end EXIT

endpoint=qmp+unix:$("$guest" path a d qmp)
console=$("$guest" path a d console)
pid=$("$guest" path a d pid)
readonly endpoint console pid
readonly watch=("$godwit" watch --dirty --interval 10ms)

# begin KIND OPTION...: a guest that has begun to dirty its memory.
begin() {
    "$guest" stop a d
    "$guest" start a d "$1" --build "$build" --working-set "${set_mib}M" --dirty-rate 64M "${@:2}" &&
        await 120 goes_round
}
# It has written the whole set once, and goes on.
goes_round() { grep -qE '^H [0-9a-f]{8} 0*[1-9a-f]' "$console" 2>/dev/null; }

# finds_working_set CMD...: see above. The lines stay in $json.
finds_working_set() {
    local round
    : >"$json"
    for ((round = 0; round < 12; round++)); do
        "$@" --windows 1s,4s --rounds 1 --json >>"$json" 2>"$scratch/err" || {
            echo "exit code $?"
            cat "$scratch/err"
            return 1
        }
        json_is "all(.working_set_bytes < 1.2 * $set_bytes)" || return
        ! jq -es "any(.working_set_bytes > 0.8 * $set_bytes)" "$json" >/dev/null || return 0
    done
    echo "it never came near $set_bytes:"
    cat "$json"
    return 1
}
json_is() { jq -es "$1" "$json" || { cat "$json" "$scratch/err"; return 1; }; }
source_is() { json_is 'all(.source == "'"$1"'") and length > 1'; }
qemu_lives() { "$lab" exec a kill -0 "$(cat "$pid")"; }

# qmp COMMAND: by its second monitor.
qmp() {
    jq -nc --arg command "$1" '{execute: "qmp_capabilities"}, {execute: $command, id: 1}' |
        "$lab" exec a timeout 10 socat -t 5 - "UNIX-CONNECT:$("$guest" path a d qmp2)" >/dev/null
}

interrupted() {
    local watcher
    : >"$json" # it is looked at at once
    "$godwit" watch --dirty --json --windows 1s --interval 1h "$endpoint" >"$json" 2>"$scratch/err" &
    watcher=$!
    await 60 test -s "$json"
    kill -INT "$watcher"
    wait "$watcher" || {
        echo "exit code $?"
        cat "$scratch/err"
        return 1
    }
    json_is 'last | .event == "end" and .result == "interrupted"'
}

# Two at a time: QEMU does one measurement, and each gets its own.
beside_each_other() {
    local other
    "${watch[@]}" --windows 1s --rounds 3 --json "qmp+unix:$("$guest" path a d qmp2)" >"$scratch/other" 2>&1 &
    other=$!
    if ! "${watch[@]}" --windows 2s --rounds 3 --json "$endpoint" >"$json" 2>"$scratch/err" || ! wait "$other"; then
        cat "$scratch/err" "$scratch/other"
        return 1
    fi
    json_is 'length == 4 and all(.windows[0].window_ms == 2000)' &&
        jq -es 'length == 4 and all(.windows[0].window_ms == 1000)' "$scratch/other"
}

test_tcg() {
    begin bare --accel tcg || return
    check "TCG: finds the working set" finds_working_set "${watch[@]}" "$endpoint" || true
    check "... by page sampling" source_is page-sampling || true
    check "... with keys that doc/json.md names" documented "$json" "godwit watch --dirty --json" || true
    check "... the bitmap is refused, for it ends QEMU 7.2" \
        refused 2 'needs KVM' "${watch[@]}" --source dirty-bitmap "$endpoint" || true
    check "... and the ring" refused 2 'needs KVM' "${watch[@]}" --source dirty-ring "$endpoint" || true
    check "... QEMU lives" qemu_lives || true
    check "two watch the same QEMU" beside_each_other || true
    check "Ctrl-C ends it: exit 0" interrupted || true
    qmp stop
    check "a guest that is stopped: exit 2" refused 2 'does not run' "${watch[@]}" "$endpoint" || true
}

test_linux() {
    if [[ ! -s $build/bench/guest/vmlinuz || ! -s $build/bench/guest/initrd.img ]]; then
        skip "a Linux guest: finds the working set" "no Linux guest in $build: meson compile linux-guest"
        return
    fi
    begin linux --accel tcg || return
    check "a Linux guest: finds the working set" finds_working_set "${watch[@]}" "$endpoint" || true
}

test_kvm() {
    begin bare --accel kvm || return
    check "KVM: finds the working set" finds_working_set "${watch[@]}" "$endpoint" || true
    check "... by the dirty bitmap" source_is dirty-bitmap || true
    check "... and by page sampling" finds_working_set "${watch[@]}" --source page-sampling "$endpoint" || true
    check "... there is no ring" refused 2 'not enabled' "${watch[@]}" --source dirty-ring "$endpoint" || true
    "$lab" exec a kill -9 "$(cat "$pid")"
    check "a QEMU that has ended: exit 2, nobody is there" exits_with 2 "${watch[@]}" "$endpoint" || true
}

# Here the guest may stand still once its ring was read (qmp/dirty.h): that comes last.
test_ring() {
    begin bare --accel kvm,dirty-ring-size=65536 || return
    if ! "${watch[@]}" --source page-sampling --windows 1s --rounds 1 "$endpoint" >/dev/null 2>&1 ||
        "${watch[@]}" --source dirty-bitmap --windows 1s --rounds 1 "$endpoint" >/dev/null 2>&1; then
        skip "a dirty ring tells of vCPUs" "this KVM has no dirty ring"
        return
    fi
    check "a VM with a ring: finds the working set" finds_working_set "${watch[@]}" --source page-sampling "$endpoint" || true
    check "... without a word of vCPUs" json_is 'all(has("vcpus") | not)' || true
    begin bare --accel kvm,dirty-ring-size=65536 --vcpus 2 || return
    "${watch[@]}" --windows 1s --rounds 1 --json "$endpoint" >"$json" 2>"$scratch/err"
    check "unasked it is sampled, too" json_is 'all(.source == "page-sampling") and length == 2' || true
    check "... and its ring tells of both vCPUs, of which one works" json_is '.[0].vcpus | length == 2 and
        .[0].bytes_per_s.likely > 0 and .[1].bytes_per_s.likely < .[0].bytes_per_s.likely' || true
    check "... with keys that doc/json.md names" documented "$json" "godwit watch --dirty --json" || true
}

test_domain() {
    "$domain" define a "$vm" bare --build "$build" --working-set "${set_mib}M" --dirty-rate 64M &&
        "$domain" start a "$vm" || return
    check "a libvirt domain: finds the working set" \
        finds_working_set "$lab" exec a "${watch[@]}" "$vm" || true
    "$domain" undefine a "$vm"
}

test_tcg
test_linux
if [[ -w /dev/kvm ]]; then
    test_kvm
    test_ring
else
    skip "KVM and its dirty ring" "no /dev/kvm"
fi
test_domain
tap_end
