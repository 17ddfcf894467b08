#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Tests the built-in guests: that each boots where it should, beats, dirties memory at the rate it
# was given, keeps its records, and that the tools refuse what is wrong.
#
#   test-guest.sh BUILD_DIR QEMU...
#
# QEMU is a program, or a tree as printed by "tools/setup qemu10". The bare-metal guest is booted on
# each one under TCG and, where /dev/kvm works, KVM; the Linux guest on those from QEMU 10 on. Needs
# no root (but /dev/kvm), no network; under a minute.

set -euo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
# shellcheck source=tests/lab/tap.bash
source "$here/../lab/tap.bash"

usage() {
    echo "usage: test-guest.sh BUILD_DIR QEMU..." >&2
    exit 2
}

[[ $# -ge 2 ]] || usage
guests=$(realpath -- "$1")/bench/guest
shift
readonly guests
readonly patch=$guests/bare-guest-patch record_check=$guests/record-check
for program in "$patch" "$record_check" "$guests/bare-guest.elf"; do
    [[ -e $program ]] || {
        echo "test-guest.sh: $program is missing: build the tree first" >&2
        exit 2
    }
done

work=$(mktemp -d)
readonly work
started=()

clean_up() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap clean_up EXIT

# Sets qemu=(…): the command of the QEMU that $1 names.
set_qemu() {
    local tree=${1%/}
    if [[ -d $1 ]]; then
        qemu=(env "QEMU_MODULE_DIR=$tree/usr/lib/x86_64-linux-gnu/qemu"
            "$tree/usr/bin/qemu-system-x86_64")
        local folder
        for folder in "$tree/usr/share/qemu" "$tree/usr/share/seabios" /usr/share/seabios \
            /usr/share/qemu; do
            qemu+=(-L "$folder")
        done
    else
        qemu=("$1")
    fi
    version=$("${qemu[@]}" --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
    [[ -n $version ]] || {
        echo "test-guest.sh: $1 is not a QEMU" >&2
        exit 2
    }
}

# start NAME QEMU-OPTION...: its serial port goes to $serial, else to the file NAME.serial, its talk
# to NAME.log. Sets pid.
start() {
    local name=$1
    shift
    : >"$work/$name.serial"
    "${qemu[@]}" -display none -vga none -nodefaults -no-reboot -cpu qemu64 \
        -serial "${serial:-file:$work/$name.serial}" "$@" </dev/null >"$work/$name.log" 2>&1 &
    pid=$!
    started+=("$pid")
}

stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

banner() { grep -a -m 1 "^GODWIT-GUEST $1 1 " "$work/$2.serial"; }

# The whole lines of a serial port, without the one that is being written.
lines() { sed '$d' "$work/$1.serial"; }

is_working() { lines "$1" | grep -a '^H ' | tail -n 1 | grep -qav '^H [0-9a-f]* 00000000'; }

readonly awk_hex='
    function hex(text, i, value) {
        for (i = 1; i <= length(text); i++)
            value = value * 16 + index("123456789abcdef", substr(text, i, 1))
        return value + 0
    }'

# Prints "seq work record" of the last beat as decimal numbers.
beat_now() {
    lines "$1" | awk "$awk_hex"'
        /^H / { seq = $2; work = $3; record = $4 }
        END { print hex(seq), hex(work), hex(record) }'
}

# has_records NAME N: the guest knows record N to be on its disk.
has_records() {
    local record
    read -r _ _ record <<<"$(beat_now "$1")"
    ((record >= $2))
}

# Every line after the banner is a beat, and each beat has the number after its predecessor's.
all_consecutive() {
    lines "$1" | awk -v shape="^H [0-9a-f]+ [0-9a-f]+( [0-9a-f]+)?\$" "$awk_hex"'
        { sub(/\r$/, "") }
        /^GODWIT-GUEST / { on = 1; next }
        !on || /^CLOCK [0-9a-f]+ [0-9a-f]+$/ { next }
        $0 !~ shape || (length($0) != 19 && length($0) != 28) { print "odd line: " $0; exit 1 }
        seen && hex($2) != previous + 1 { print "after", previous, "came", $0; exit 1 }
        { previous = hex($2); seen = 1 }
        END { if (!seen) { print "no beat at all"; exit 1 } }'
}

# measure NAME: watch the guest for half a second. Sets beats_per_s and dirty_per_s (bytes).
measure() {
    local ns seq work_done new_seq new_work
    read -r seq work_done _ <<<"$(beat_now "$1")"
    ns=$(date +%s%N)
    sleep 0.5
    ns=$((-ns + $(date +%s%N)))
    read -r new_seq new_work _ <<<"$(beat_now "$1")"
    beats_per_s=$(((new_seq - seq) * 1000000000 / ns))
    dirty_per_s=$(((new_work - work_done) * 4096 * 1000 / (ns / 1000000)))
}

# within VALUE LOW HIGH
within() {
    (($1 >= $2 && $1 <= $3)) || {
        echo "$1 is not within $2 and $3"
        return 1
    }
}

no_corruption() { ! lines "$1" | grep -a '^CORRUPT'; }

no_error() { ! lines "$1" | grep -a '^ERROR'; }

# Does the guest beat at least BEATS_MIN times a second, and dirty its memory at about RATE?
keeps_rates() {
    local name=$1 beats_min=$2 rate=$3
    within "$beats_per_s" "$beats_min" 1200 && within "$dirty_per_s" $((rate / 2)) $((rate * 5 / 4))
}

# A machine that is busy with other things can make any single look fail, but not each of them.
keeps_rates_once() {
    local attempt
    for attempt in 1 2 3 4 5 6; do
        measure "$1"
        echo "look $attempt: $beats_per_s beats/s, $dirty_per_s bytes/s dirtied"
        keeps_rates "$@" && return
    done
    return 1
}

check_load() {
    local name=$1 title=$2 beats_min=$3 rate=$4
    check "$title: beats, and dirties at the rate it was given" \
        keeps_rates_once "$name" "$beats_min" "$rate" || true
    check "$title: beats are consecutive" all_consecutive "$name" || true
    check "$title: memory holds what was written" no_corruption "$name" || true
}

test_patch() {
    local image=$guests/bare-guest.elf bad
    local -a refusals=("--working-set 0" "--working-set 5K" "--working-set 64X" "--working-set 1MB"
        "--working-set 4G" "--working-set -4K" "--dirty-rate 4G" "--dirty-rate 1.5M" "--dirty-rate k"
        "--period-us 0" "--period-us 99" "--period-us 20000000" "--period-us 1ms" "--nonsense 1")
    for bad in "${refusals[@]}"; do
        # shellcheck disable=SC2086 # two words
        check "bare-guest-patch refuses $bad" exits_with 2 "$patch" $bad "$image" "$work/bad" || true
    done
    check "bare-guest-patch wants two files" exits_with 2 "$patch" "$image" || true
    check "bare-guest-patch refuses what is no image" refused 2 "not an image" \
        "$patch" /bin/sh "$work/bad" || true
    cat "$image" "$image" >"$work/twice"
    check "bare-guest-patch refuses two parameter blocks" refused 2 "2 parameter blocks" \
        "$patch" "$work/twice" "$work/bad" || true
    check "bare-guest-patch refuses a missing image" exits_with 2 "$patch" "$work/none" "$work/bad" ||
        true
    check "nothing was written by any of them" test ! -e "$work/bad" || true
    cp "$image" "$work/inplace"
    check "bare-guest-patch patches in place" "$patch" --period-us 2000 "$work/inplace" \
        "$work/inplace" || true
    "$patch" --period-us 1000 "$work/inplace" "$work/again"
    check "an image keeps what it was not asked to change" cmp "$work/again" "$image" || true
}

# test_bare ACCEL MACHINE WORKING_SET RATE BEATS_MIN
test_bare() {
    local accel=$1 machine=$2 working_set=$3 rate=$4 beats_min=$5
    local title="bare, QEMU $version, $accel, $machine" name=bare-$version-$accel image=$work/bare.elf
    "$patch" --working-set "$working_set" --dirty-rate "$rate" --period-us 1000 \
        "$guests/bare-guest.elf" "$image"
    start "$name" -accel "$accel" -machine "$machine" -m 128 -kernel "$image"
    if ! check "$title: boots" await 30 banner bare "$name"; then
        sed 's/^/# /' "$work/$name.log"
        stop "$pid"
        return
    fi
    check "$title: banner tells the parameters" \
        grep -qx "GODWIT-GUEST bare 1 period_us=1000 working_set=$working_set rate=$rate" \
        "$work/$name.serial" || true
    check "$title: fills its working set" await 20 is_working "$name" || true
    check_load "$name" "$title" "$beats_min" "$rate"
    stop "$pid"
}

# A working set that does not fit is reported, and nothing else happens.
test_bare_too_big() {
    local name=toobig
    "$patch" --working-set 64M "$guests/bare-guest.elf" "$work/big.elf"
    start "$name" -accel tcg -machine pc -m 64 -kernel "$work/big.elf"
    check "bare, QEMU $version: refuses a working set that does not fit" \
        await 10 grep -q "^ERROR the working set does not fit in memory" "$work/$name.serial" || true
    stop "$pid"
}

# A reader that stands still for a second must not hold up the guest: the sequence goes on unseen.
test_bare_stuck_reader() {
    local reader qemu_pid before after
    "$patch" --working-set 4M --dirty-rate 1M "$guests/bare-guest.elf" "$work/stuck.elf"
    serial="unix:$work/stuck.sock,server=on,wait=off" \
        start stuck -accel tcg -machine pc -m 64 -kernel "$work/stuck.elf"
    qemu_pid=$pid
    await 5 test -S "$work/stuck.sock"
    socat -u "UNIX-CONNECT:$work/stuck.sock" "OPEN:$work/stuck.serial" &
    reader=$!
    started+=("$reader")
    await 10 is_working stuck || true
    kill -STOP "$reader"
    read -r before _ <<<"$(beat_now stuck)"
    sleep 1
    kill -CONT "$reader"
    sleep 0.3
    read -r after _ <<<"$(beat_now stuck)"
    check "bare, QEMU $version: a stuck reader does not hold up the guest" \
        within $((after - before)) 300 2000 || true
    stop "$reader"
    stop "$qemu_pid"
}

test_bare_on_kvm() {
    if [[ ! -w /dev/kvm ]]; then
        skip "bare, QEMU $version, kvm" "no /dev/kvm that could be written to"
        return
    fi
    if ! timeout 5 "${qemu[@]}" -accel kvm -cpu qemu64 -display none -nodefaults -S \
        -daemonize -pidfile "$work/kvm.pid" >"$work/kvm.log" 2>&1; then
        skip "bare, QEMU $version, kvm" "KVM does not work: $(tail -n 1 "$work/kvm.log")"
        return
    fi
    kill "$(cat "$work/kvm.pid")"
    # A nested KVM that emulates can take a second for every few megabytes of the first pass.
    test_bare kvm q35 1048576 2097152 200
}

# start_linux NAME DISK
start_linux() {
    start "$1" -machine q35 -accel tcg -m 128 \
        -kernel "$guests/vmlinuz" -initrd "$guests/initrd.img" \
        -append "console=ttyS0 quiet nokaslr cryptomgr.notests godwit.ip=10.0.2.15/24
            godwit.working_set=16M godwit.dirty_rate=8M godwit.records_per_s=100" \
        -drive "if=none,id=disk,format=raw,cache=none,file=$2" \
        -device virtio-blk-pci,drive=disk \
        -netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net
}

last_record() { sed -n 's/.*"last": \([0-9]*\).*/\1/p' <<<"$("$record_check" "$1")"; }

test_linux_load() {
    local name=$1 title="linux, QEMU $version"
    check "$title: boots" await 40 banner linux "$name" || {
        sed 's/^/# /' "$work/$name.log" "$work/$name.serial"
        return
    }
    check "$title: banner tells the parameters" grep -q \
        "^GODWIT-GUEST linux 1 period_us=1000 working_set=16777216 rate=8388608 records_per_s=100" \
        "$work/$name.serial" || true
    check "$title: fills its working set" await 10 is_working "$name" || true
    check_load "$name" "$title" 200 8388608
    check "$title: reports no error" no_error "$name" || true
    check "$title: writes records" await 20 has_records "$name" 20 || true
}

# Damage copies of disk one, whose records start at 1 and did not wrap. Record N is in block 1 + N.
test_record_check() {
    local copy=$work/damaged.img
    damage() {
        cp --sparse=always "$work/one.img" "$copy"
        dd if="$1" of="$copy" bs=4096 skip="$2" seek="$3" count=1 conv=notrunc status=none
    }
    check "record-check: what the guest wrote is complete" \
        says '"first": 1, .*"complete": true' "$record_check" "$work/one.img" || true
    damage /dev/zero 0 6
    check "record-check: a lost record" refused 1 '"missing": 1, "corrupt": 0' \
        "$record_check" "$copy" || true
    damage "$work/one.img" 6 9
    check "record-check: a record in another's place" \
        refused 1 '"missing": 1, "corrupt": 0, "out_of_order": 1' "$record_check" "$copy" || true
    damage /dev/zero 0 0
    check "record-check: no header" refused 2 "no record header" "$record_check" "$copy" || true
    damage "$work/two.img" 6 6
    check "record-check: a second writer" refused 1 '"missing": 0, .*"broken_chain": 2' \
        "$record_check" "$copy" || true
    cp --sparse=always "$work/one.img" "$copy"
    printf 'x' | dd of="$copy" bs=1 seek=$((6 * 4096 + 2000)) conv=notrunc status=none
    check "record-check: one wrong byte" refused 1 '"missing": 0, "corrupt": 1' \
        "$record_check" "$copy" || true
    truncate -s 1M "$copy"
    check "record-check: a disk cut short" refused 2 "does not fit" "$record_check" "$copy" || true
}

test_record_format() {
    check "record-check formats a disk" "$record_check" --format "$work/one.img" 16M || true
    "$record_check" --format "$work/two.img" 16M
    check "record-check: the disk is sparse" within "$(du -k "$work/one.img" | cut -f 1)" 1 64 || true
    check "record-check: a disk without records is not complete" refused 1 '"count": 0' \
        "$record_check" "$work/one.img" || true
    check "record-check --format refuses a disk that exists" refused 2 "exists" \
        "$record_check" --format "$work/one.img" 16M || true
    check "record-check --format refuses 10K" exits_with 2 "$record_check" --format "$work/x" 10K || true
    check "record-check --format refuses 1X" exits_with 2 "$record_check" --format "$work/x" 1X || true
    check "record-check wants an image" exits_with 2 "$record_check" || true
    check "record-check: no such image" exits_with 2 "$record_check" "$work/none" || true
}

# Two guests at a time, to be done sooner: first on two new disks, then once more on the first disk
# and on one that is not the guest's.
test_linux() {
    local one two before
    start_linux one "$work/one.img"
    one=$pid
    start_linux two "$work/two.img"
    two=$pid
    test_linux_load one
    await 20 has_records two 20 || true
    stop "$one"
    stop "$two"
    test_record_check

    before=$(last_record "$work/one.img")
    truncate -s 16M "$work/foreign.img"
    start_linux again "$work/one.img"
    one=$pid
    start_linux foreign "$work/foreign.img"
    two=$pid
    check "linux, QEMU $version: boots again" await 40 has_records again $((before + 1)) || true
    check "linux, QEMU $version: refuses a disk that is not its own" \
        await 40 grep -q "^ERROR /dev/vda: no record header" "$work/foreign.serial" || true
    check "linux, QEMU $version: beats without a disk" all_consecutive_but_errors foreign || true
    sleep 0.3
    stop "$one"
    stop "$two"
    check "linux, QEMU $version: nothing was written to the foreign disk" \
        cmp -n $((16 << 20)) "$work/foreign.img" /dev/zero || true
    check "linux, QEMU $version: goes on after the last record when rebooted" \
        within "$(last_record "$work/one.img")" $((before + 1)) 1000000 || true
    check "record-check: complete over two boots" \
        says '"first": 1, .*"complete": true' "$record_check" "$work/one.img" || true
}

all_consecutive_but_errors() {
    sed -i '/^ERROR /d' "$work/$1.serial"
    all_consecutive "$1"
}

test_patch
test_record_format
linux_tested=
for argument in "$@"; do
    set_qemu "$argument"
    test_bare tcg pc 67108864 20971520 300
    test_bare_on_kvm
    if ((${version%%.*} < 10)); then
        skip "linux, QEMU $version" "QEMU before 10 corrupts it under TCG"
    elif [[ ! -e $guests/initrd.img ]]; then
        skip "linux, QEMU $version" "not built: ninja -C BUILD_DIR bench/guest/initrd.img"
    elif [[ -z $linux_tested ]]; then
        linux_tested=yes
        test_linux
    fi
done
test_bare_too_big
test_bare_stuck_reader
tap_end
