#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What godwit assumes: QEMU before 8 under TCG corrupts a Linux guest that it migrates, and QEMU 10
# does not. godwit migrate refuses the first for that reason.
#
#   tcg-migration.sh BUILD QEMU10-TREE
#
# A guest with two vCPUs, on which a shell forks and executes all the time, is migrated from QEMU to
# QEMU on this machine until its kernel panics or falls silent. It is a race, and seldom lost while the
# host is idle (0 of 155 migrations) and soon when it is not (the 1st, the 4th): so the host is kept busy. It takes a few migrations or never
# comes, so GUESTS guests are tried, MOST migrations each: if none breaks, that is reported as a skip, for
# nothing was shown. On QEMU 10 a guest then has to survive as many migrations as it took.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
build=$(realpath -- "${1:?the build tree}")
qemu10=${2:?the tree of QEMU 10}
most=${MOST:-25} guests_tried=${GUESTS:-3}
readonly here build qemu10 most guests_tried
readonly godwit=$build/tools/godwit guests=$build/bench/guest
# shellcheck source-path=SCRIPTDIR source=../lab/tap.bash
. "$here/../lab/tap.bash"

work=$(mktemp -d)
readonly work
pids=()
# One busy loop more than there are processors.
keep_host_busy() {
    local i
    for ((i = $(nproc); i >= 0; i--)); do
        (while :; do :; done) &
        pids+=($!)
    done
}

# Ends the QEMUs and loops that are left; the shell is not to tell of it.
end_all() {
    {
        ((!${#pids[@]})) || kill -9 "${pids[@]}"
        wait
    } 2>/dev/null
    pids=()
}
trap 'end_all; rm -rf -- "$work"' EXIT

# Sets qemu=(…): the command of the QEMU in tree $1; "" is the system's.
set_qemu() {
    qemu=(qemu-system-x86_64)
    [[ -n $1 && $1 != / ]] || return 0
    qemu=(env "QEMU_MODULE_DIR=$1/usr/lib/x86_64-linux-gnu/qemu" "$1/usr/bin/qemu-system-x86_64"
        -L "$1/usr/share/qemu" -L "$1/usr/share/seabios" -L /usr/share/seabios -L /usr/share/qemu)
}

# boot N [QEMU-OPTION...]: guest N; its console is $work/N.log, its shell a socket $work/N.sh.
boot() {
    local n=$1
    shift
    rm -f -- "$work/$n.qmp" "$work/$n.sh"
    "${qemu[@]}" -machine q35 -accel tcg -cpu qemu64 -smp 2 -m 256 -nodefaults -display none \
        -vga none -no-reboot -qmp "unix:$work/$n.qmp,server=on,wait=off" -serial "file:$work/$n.log" \
        -serial "unix:$work/$n.sh,server=on,wait=off" -kernel "$guests/vmlinuz" \
        -initrd "$guests/initrd.img" -append "console=ttyS0 quiet mitigations=off \
        godwit.working_set=32M godwit.dirty_rate=20M" "$@" >>"$work/qemu.err" 2>&1 &
    pids+=($!)
    for _ in $(seq 400); do
        [[ ! -S $work/$n.qmp ]] || return 0
        sleep 0.05
    done
    cat "$work/qemu.err"
    return 1
}

# beats N: five more heartbeats of guest N within 15 s, and no word of a panic.
beats() {
    local before i
    before=$(grep -c '^H ' "$work/$1.log")
    for ((i = 0; i < 150; i++)); do
        ! grep -q 'Kernel panic\|Oops\|BUG: \|^CORRUPT' "$work/$1.log" || return 1
        (($(grep -c '^H ' "$work/$1.log") < before + 5)) || return 0
        sleep 0.1
    done
    return 1
}

load() {
    # shellcheck disable=SC2016 # the guest's shell expands it
    printf 'while :; do busybox ls /proc >/dev/null; busybox md5sum /init /bin/busybox >/tmp.md5; done &\n' |
        socat -t 1 - "UNIX-CONNECT:$work/$1.sh" >/dev/null
}

# Migrates until the guest is broken, at most $1 times; `survived` says how often it was well after.
torture() {
    local n=0
    survived=0 last_words=''
    keep_host_busy
    rm -f -- "$work"/*.log
    boot 0 || return 2
    beats 0 || return 2
    load 0
    sleep 2
    while ((survived < $1)); do
        boot $((n + 1)) -incoming defer || return 2
        "$godwit" migrate --unsafe "qmp+unix:$work/$n.qmp" "qmp+unix:$work/$((n + 1)).qmp" \
            --via "unix:$work/stream" --quit-source >/dev/null 2>"$work/godwit.err" || {
            last_words=$(cat "$work/godwit.err" "$work/qemu.err")
            return 2
        }
        n=$((n + 1))
        beats "$n" || break
        survived=$((survived + 1))
    done
    end_all
    last_words=$(grep -m 3 'Kernel panic\|Oops\|BUG: \|^CORRUPT' "$work/$n.log")
    ((survived == $1))
}

is_refused() {
    refused 2 'under TCG corrupts' "$godwit" migrate "qmp+unix:$work/r.qmp" "qmp+unix:$work/s.qmp" \
        --via "unix:$work/stream"
}

version=$(qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9]*\).*/\1/p')
if [[ ! -s $guests/vmlinuz ]]; then
    skip "QEMU under TCG and migration" "no Linux guest in $guests"
    tap_end
    exit
fi
needed=$most
if ((version < 8)); then
    set_qemu ''
    boot r && boot s -incoming defer
    check "godwit refuses QEMU $version under TCG, with the reason" is_refused || true
    end_all
    for ((i = 0; i < guests_tried; i++)); do
        torture "$most"
        result=$?
        ((result == 0)) || break
    done
    case $result in
    0) skip "QEMU $version under TCG corrupts a migrated guest" "not in $((most * guests_tried)) migrations this time" ;;
    1)
        needed=$((survived + 1))
        check "QEMU $version under TCG corrupts a migrated guest" true
        printf '# after %d migrations: %s\n' "$needed" "${last_words:-the guest fell silent}"
        ;;
    *) check "QEMU $version under TCG can be tried: $last_words" false ;;
    esac
else
    skip "QEMU before 8 under TCG corrupts a migrated guest" "this machine's QEMU is $version"
fi
set_qemu "$qemu10"
((needed >= 10)) || needed=10
torture "$needed"
check "QEMU 10 under TCG does not, $needed times" says "^$needed " \
    echo "$survived survived; ${last_words:-}" || true
tap_end
