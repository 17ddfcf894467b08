#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The guests as libvirt domains, and the meter of their pauses, in the lab, which is up:
# test-domain.sh BUILD. They run under TCG, so QEMU must be 10 or newer to migrate them.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
build=$(realpath -- "${1:?the build tree}")
readonly here tools build
readonly lab=$tools/lab domain=$tools/domain godwit=$build/tools/godwit relay=$build/bench/relay
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

state=$("$lab" status --json | jq -r .state)
scratch=$(mktemp -d)
readonly state scratch
readonly slow=$state/b/libvirt-slow.sock
relay_pid=''
end() {
    [[ -z $relay_pid ]] || kill "$relay_pid" 2>/dev/null
    for host in a b; do
        for name in narrow wide; do
            "$domain" undefine "$host" "$name"
        done
    done
    rm -rf -- "$scratch"
}
trap end EXIT

virsh_on() { "$lab" exec "$1" virsh -q "${@:2}"; }
runs_only_on() {
    local other=a
    [[ $1 == b ]] || other=b
    virsh_on "$1" list --name --state-running | grep -qxF "$2" &&
        ! virsh_on "$other" list --name | grep -qxF "$2"
}

# beats HOST NAME: a heartbeat comes from there.
beats() {
    local file before
    file=$("$domain" path "$1" "$2" serial)
    before=$(grep -c '^H ' "$file")
    for _ in $(seq 200); do
        sleep 0.1
        (($(grep -c '^H ' "$file") <= before)) || return 0
    done
    echo "no heartbeat from $2 on $1"
    return 1
}

# observe HOST NAME COMMAND...: into $scratch/observed.
observe() {
    "$lab" exec "$1" "$godwit" bench observe --json --observe "serial:$("$domain" path a "$2" serial)" \
        --observe "serial:$("$domain" path b "$2" serial)" -- "${@:3}" >"$scratch/observed"
}
observed_is() { jq -e "$1" "$scratch/observed" || { cat "$scratch/observed"; return 1; }; }

test_usage() {
    local bad
    for bad in '' 'define' 'define c narrow bare' 'define a narrow fat' 'define a a/b bare' \
        'define a narrow bare --memory many' 'define a narrow bare --accel' 'define a narrow bare --accel hvf' \
        'start a' 'path a narrow qmp' 'destroy a narrow'; do
        # shellcheck disable=SC2086 # words
        check "exit 2 for: domain $bad" exits_with 2 "$domain" $bad
    done
    check "the XML is the same for both hosts" diff <("$domain" xml a x linux --wide --build "$build") \
        <("$domain" xml b x linux --wide --build "$build")
    check "stop what is not there" "$domain" stop a narrow
    check "undefine what is not there" "$domain" undefine a narrow
}

# moves NAME FROM TO URI: virsh migrate, observed; and the meter has seen the guest change sides.
moves() {
    observe "$2" "$1" virsh migrate --live "$1" "$4" && runs_only_on "$3" "$1" && beats "$3" "$1" &&
        observed_is '.result == "done" and .command.exit_code == 0 and .command.wall_ms > 0 and
            (.observers | length) == 1 and (.observers[0] | .signs_of_life > 100 and .duplicates == 0 and
            .restarts == 0 and any(.silences[]; .from != null and .from != .to and .began_ms > 0 and .length_ms > 0))'
}

test_narrow() {
    check "define" "$domain" define a narrow bare --build "$build" --dirty-rate 2M || return
    check "start" "$domain" start a narrow || return
    check "it beats" beats a narrow || return
    check "console is the serial" test "$("$domain" path a narrow console)" = "$("$domain" path a narrow serial)"
    # 300 ms, which is above what a busy machine does to the guest by itself.
    check "bench observe sees suspend and resume" observe a narrow sh -c \
        'virsh -q suspend narrow && sleep 0.3 && virsh -q resume narrow' || true
    check "... as a silence of that length" observed_is '.observers[0] |
        .longest_silence_ms >= 299 and .longest_silence_ms < 600 and .silences[0].from == .silences[0].to' || true
    check "doc/json.md names each key of it" documented "$scratch/observed" "godwit bench observe --json" Observers || true
    check "bench observe passes a failure on" exits_with 1 observe a narrow sh -c 'echo done; exit 7' || true
    check "... with exit code and words" observed_is '.result == "failed" and .command.exit_code == 7
        and .command.stdout == "done\n"' || true
    check "virsh migrate to b, seen from outside" moves narrow a b qemu+ssh://root@b/system || true
    check "virsh migrate back to a" moves narrow b a qemu+ssh://root@a/system || true
}

test_relay() {
    "$lab" exec b "$relay" --rtt 20ms "$slow" /run/libvirt/libvirt-sock &
    relay_pid=$!
    check "the relay listens" await 5 test -S "$slow" || return
    check "virsh migrate through a round trip of 20 ms" moves narrow a b "qemu+unix:///system?socket=$slow" || true
}

test_wide() {
    local kind
    check "define --wide" "$domain" define a wide linux --wide --build "$build" --address 10.77.0.110/24 || return
    check "start" "$domain" start a wide || return
    check "it beats" beats a wide || return
    for kind in disk:3 interface:1 channel:1 graphics:1 video:1 sound:1 watchdog:1 rng:1 memballoon:1 serial:2; do
        check "it has ${kind#*:} ${kind%:*}" test \
            "$(virsh_on a dumpxml wide | grep -c "^    <${kind%:*}[ >]")" = "${kind#*:}" || true
    done
    check "it answers on the network" "$lab" exec nfs ping -q -c 1 -W 5 10.77.0.110 || true
    check "virsh migrate to b" moves wide a b qemu+ssh://root@b/system || true
    check "virsh migrate back to a" moves wide b a qemu+ssh://root@a/system || true
}

undefine_leaves_nothing() {
    local host
    for host in a b; do
        "$domain" undefine "$host" narrow || return 1
        ! virsh_on "$host" list --all --name | grep -qx narrow || return 1
    done
    ! compgen -G "$state/[ab]/log/narrow.serial" && ! compgen -G "$state/domain/narrow*"
}

test_usage
major=$("$lab" status --json | jq -r '.hosts.a.qemu | split(".")[0]')
if ((major < 10)); then
    skip "domains" "QEMU $major under TCG corrupts a migrated guest"
else
    tap_group test_narrow
    tap_group test_relay
    tap_group test_wide
fi
check "undefine leaves nothing" undefine_leaves_nothing || true
tap_end
