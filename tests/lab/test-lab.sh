#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test-lab.sh BUILD: tests tools/lab itself: that what its help promises holds, and that nothing is left behind whatever
# happens. Root; a state directory of its own, so that a lab that is up is not disturbed.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
tools=$(realpath -- "$here/../../tools")
readonly here tools
readonly lab=$tools/lab
build=$(realpath -- "${1:?the build tree}")
readonly build

# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# status exits with 1 when something is down, which here is no failure.
status_is() { jq -e "$1" <<<"$("$lab" status --json)"; }

# --- what is left behind

# Every process that is in the lab, by its name or by what it has mounted.
lab_processes() {
    local dir
    for dir in /proc/[0-9]*; do
        if grep -qsF -- "$GODWIT_LAB" "$dir/cmdline" || grep -qsF -- "$GODWIT_LAB" "$dir/mountinfo"; then
            printf '%s %s\n' "${dir#/proc/}" "$(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null)"
        fi
    done
}

footprint() {
    ip netns list | sort
    sort /proc/self/mounts
    ip -brief link | cut -d' ' -f1 | sort
}

# The mount point /export is removed, unless it was there before or another lab uses it.
export_dir_is_left() {
    [[ -d /export && $(stat -c %a /export) == 0 ]] &&
        ! grep -qs ' /export ' /proc/[0-9]*/mountinfo
}

nothing_left() {
    local left
    left=$(lab_processes)
    [[ -z $left ]] || {
        printf 'processes: %s\n' "$left"
        return 1
    }
    [[ ! -e $GODWIT_LAB ]] || {
        printf 'files: %s\n' "$(ls -AR "$GODWIT_LAB")"
        return 1
    }
    ! export_dir_is_left || {
        echo "/export"
        return 1
    }
    diff <(printf '%s\n' "$footprint_before") <(footprint)
}

# --- the contract

test_bad_usage() {
    local bad
    check "status says that it is not up" exits_with 1 "$lab" status
    check "status --json when not up" says '"up": false' sh -c "$lab status --json || true"
    for bad in '' 'fly' 'up --fast' 'up --qemu' 'up --qemu /nonexistent' 'up --qemu c=/usr' 'down now' \
        'status --xml' 'exec' 'exec c true' 'exec a' 'link a' 'link a --rate' 'link a --rate 0' \
        'link a --rate 10mbps' 'link c --rate none' 'link a --drop --pass' 'link c --drop' 'link a --delay' \
        'link a --delay 10' 'link a --delay -1ms' 'link a --delay 11s' 'link a --delay 1ms --jitter 2' \
        'link a --delay 1ms --jitter 2ms' 'link a --loss 101' 'link a --loss 1x' 'link a --rate 1 --delay 1ms' 'kill c' 'kill a ganesha' 'start'; do
        # shellcheck disable=SC2086 # words
        check "exit 2 for: lab $bad" exits_with 2 "$lab" $bad
    done
    check "exit 2 when not root" exits_with 2 setpriv --reuid 65534 --clear-groups "$lab" up
    check "exit 2 for a state directory that is not ours" exits_with 2 env GODWIT_LAB=/usr "$lab" up
    check "exec without a lab fails" exits_with 1 "$lab" exec a true
    check "down without a lab succeeds" "$lab" down
}

test_up() {
    local started_ms
    started_ms=$(now_ms)
    check "up" "$lab" up --qemu "$qemu10" --export-tmpfs
    check "up takes less than 10 s" test $(($(now_ms) - started_ms)) -lt 10000
    check "up again: already up" says 'already up' "$lab" up --qemu "$qemu10" --export-tmpfs
    check "up with other settings is refused" exits_with 2 "$lab" up --qemu "a=$qemu10"
}

test_names() {
    local from to
    for from in a b nfs; do
        for to in a b nfs; do
            check "$from reaches $to by name" "$lab" exec "$from" ping -q -c1 -W2 "$to"
        done
    done
    check "the host name is the host's" test "$("$lab" exec b hostname)" = b
    check "no way out" exits_with 2 "$lab" exec a ping -q -c1 -W1 192.0.2.1
}

test_ssh_and_libvirt() {
    local pair
    for pair in 'a b' 'b a' 'nfs a' 'nfs b'; do
        # shellcheck disable=SC2086 # words
        set -- $pair
        check "ssh root@$2 from $1" says "^$2\$" "$lab" exec "$1" ssh "root@$2" hostname
    done
    check "virsh from a to b" says 'Id +Name' \
        "$lab" exec a virsh -c qemu+ssh://root@b/system list
    check "libvirt on b drives its own QEMU" says 'hypervisor: QEMU [1-9][0-9]' "$lab" exec b virsh version
    check "different host UUIDs" test \
        "$("$lab" exec a virsh capabilities | grep -m1 '<uuid>')" != \
        "$("$lab" exec b virsh capabilities | grep -m1 '<uuid>')"
}

test_export() {
    local version file=nfs://nfs/export/lab-test.img
    check "qemu-img create over NFS" "$lab" exec a qemu-img create -q -f raw "$file" 3M
    check "qemu-img info on the other host" says '3145728 bytes' "$lab" exec b qemu-img info "$file"
    for version in 3 4; do
        check "nfs-ls with version $version" says lab-test.img \
            "$lab" exec a nfs-ls "nfs://nfs/export?version=$version"
    done
    if compgen -G '/usr/lib/*/ganesha/libfsalmem.so' >/dev/null; then
        check "the sink takes a file" "$lab" exec a nfs-cp /etc/os-release nfs://nfs/sink/release
        check "and has its size" says " $(stat -L -c %s /etc/os-release) release" \
            "$lab" exec a nfs-ls 'nfs://nfs/sink?version=3'
    else
        skip "the sink takes a file" "nfs-ganesha-mem is not installed"
    fi
    check "the server sees the file, owned by root" says '^3145728 0$' \
        "$lab" exec nfs stat -c '%s %u' /export/lab-test.img
}

test_status() {
    local key
    check "status exits with 0" "$lab" status
    check "up is true" status_is '.up == true'
    check "state" status_is ".state == \"$GODWIT_LAB\""
    check "export" status_is '.export == "nfs://nfs/export" and .export_kind == "tmpfs"'
    for key in '.hosts.a.address == "10.77.0.1"' '.hosts.a.pids.libvirtd > 1' '.hosts.b.pids.sshd > 1' \
        '.hosts.nfs.pids.ganesha > 1' '.hosts.nfs.pids.rpcbind > 1' '.hosts.a.qemu | test("^[1-9][0-9]")' \
        '.hosts.b.libvirt | test("^[0-9]+\\.")' '.hosts[].link_rate == "none"' \
        '.hosts | all(.pid > 1)'; do
        check "status: $key" status_is "$key"
    done
    check "the shared directory is the same everywhere" same_shared_directory
}

same_shared_directory() {
    local dir
    dir=$("$lab" status --json | jq -r .hosts.a.shared)
    "$lab" exec a sh -c "echo hello >$dir/note" &&
        [[ $("$lab" exec b cat "$dir/note") == hello && $(<"$dir/note") == hello ]]
}

signal_reaches() {
    local signal=$1 dir=$GODWIT_LAB/a pid status=0
    rm -f "$dir/trapped" "$dir/waiting"
    # Who runs us may have it ignored, as nohup has, and then sh cannot trap it.
    env --default-signal="$signal" "$lab" exec a sh -c "trap 'echo $signal >$dir/trapped; exit 9' $signal; >$dir/waiting
        for i in \$(seq 100); do sleep 0.05; done" &
    pid=$!
    until [[ -e $dir/waiting ]]; do sleep 0.02; done
    kill -s "$signal" "$pid"
    wait "$pid" || status=$?
    [[ $(<"$dir/trapped") == "$signal" ]] && ((status == 9))
}

kill_ends_command() {
    local pid
    "$lab" exec a sleep 77.125 &
    pid=$!
    sleep 0.2
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    sleep 0.1
    ! "$lab" exec a ps -e -o args= | grep -x 'sleep 77.125'
}

ctrl_c_reaches_once() {
    local log=$GODWIT_LAB/a/ctrl-c.log
    rm -f "$log"
    # A terminal of its own, on which Ctrl-C is typed once the command runs.
    (
        sleep 0.6
        printf '\003'
        sleep 0.6
    ) | timeout 10 script -qec "$lab exec a sh -c 'trap \"echo INT >>$log\" INT; sleep 0.9; sleep 0.3'" \
        /dev/null >/dev/null
    [[ $(<"$log") == INT ]]
}

test_exec() {
    local signal
    check "exec keeps the directory" test "$(cd /usr/share && "$lab" exec a pwd)" = /usr/share
    check "exec passes stdin and stdout" test "$(echo through | "$lab" exec a cat)" = through
    check "exec passes the exit code" exits_with 37 "$lab" exec a sh -c 'exit 37'
    check "exec keeps arguments whole" test "$("$lab" exec a printf '<%s>' 'a b' '' '*')" = '<a b><><*>'
    check "exec: no such command is 127" exits_with 127 "$lab" exec a no-such-command
    for signal in TERM INT HUP; do
        check "SIG$signal reaches the command" signal_reaches "$signal"
    done
    check "Ctrl-C on a terminal reaches the command once" ctrl_c_reaches_once
    check "SIGKILL of exec ends the command" kill_ends_command
}

# Prints the Mbit/s of a transfer of $3 bytes from host $1 to host $2.
transfer_rate() {
    local from=$1 to=$2 bytes=$3 receiver started_ms
    "$lab" exec "$to" socat -u -b 65536 TCP-LISTEN:7777,reuseaddr OPEN:/dev/null &
    receiver=$!
    until "$lab" exec "$to" ss -Hltn 'sport = 7777' | grep -q .; do sleep 0.02; done
    started_ms=$(now_ms)
    "$lab" exec "$from" sh -c "head -c $bytes /dev/zero | socat -u -b 65536 - TCP:$to:7777"
    wait "$receiver"
    echo $((bytes * 8 / ($(now_ms) - started_ms) / 1000))
}

# rate_between LOW HIGH FROM TO BYTES
rate_between() {
    local mbit_per_s
    mbit_per_s=$(transfer_rate "$3" "$4" "$5")
    echo "$3 to $4: $mbit_per_s Mbit/s"
    ((mbit_per_s >= $1 && mbit_per_s <= $2))
}

test_link() {
    check "link a --rate 100mbit" "$lab" link a --rate 100mbit
    check "status shows the rate" status_is '.hosts.a.link_rate == "100mbit"'
    check "a sends at 100 Mbit/s" rate_between 40 106 a b 8000000
    check "a receives at 100 Mbit/s" rate_between 40 106 b a 8000000
    check "the other hosts are not limited" rate_between 200 1000000 b nfs 8000000
    check "link a --rate none" "$lab" link a --rate none
    check "no limit any more" rate_between 200 1000000 a b 40000000
    check "status shows none" status_is '.hosts.a.link_rate == "none"'
}

# A port that nobody listens at is refused at once; without a word it takes until the time is up (124).
connects_to_b() { "$lab" exec a timeout 1 bash -c 'exec 7<>/dev/tcp/b/9' 2>/dev/null; }

test_link_drops() {
    check "before: b refuses" exits_with 1 connects_to_b
    check "link b --drop" "$lab" link b --drop
    check "status shows it" status_is '.hosts.b.link_drops and (.hosts.a.link_drops | not)'
    check "b is silent" exits_with 124 connects_to_b
    check "the others are not" "$lab" exec a timeout 5 bash -c 'exec 7<>/dev/tcp/nfs/2049'
    check "link b --pass" "$lab" link b --pass
    check "b refuses again" exits_with 1 connects_to_b
    check "status shows that, too" status_is '.hosts.b.link_drops | not'
}

# delay HOST OPTION...
delay() { "$lab" link "$1" --build "$build" "${@:2}"; }

# Prints the round trips of $3 pings from host $1 to $2, in us, the shortest first.
round_trips_us() {
    "$lab" exec "$1" ping -c "$3" -i 0.02 -W 5 "$2" | sed -nE 's/.* time=([0-9.]+) ms$/\1/p' |
        awk '{ printf "%d\n", $1 * 1000 }' | sort -n
}

# median_between LOW-MS HIGH-MS FROM TO: of the round trips.
median_between() {
    local us
    mapfile -t us < <(round_trips_us "$3" "$4" 15)
    echo "${us[*]}"
    ((${#us[@]} == 15 && us[7] >= $1 * 1000 && us[7] <= $2 * 1000))
}

# 40 ms, each way more or less 15: some of 50 are far from the others, and none is early.
jitter_spreads() {
    local us
    mapfile -t us < <(round_trips_us a b 50)
    echo "${us[*]}"
    ((${#us[@]} == 50 && us[0] >= 10000 && us[44] - us[5] > 10000 && us[25] < 60000))
}

# Both ways lose 30 %, so half of the round trips. 9 standard deviations are allowed.
half_is_lost() {
    local got
    got=$("$lab" exec a ping -c 400 -i 0.003 -W 1 -q b | sed -nE 's/.* ([0-9]+) received.*/\1/p')
    echo "$got of 400"
    ((got > 106 && got < 286))
}

# How many bytes a frame had that was carried to b, by the last wire's own count.
frame_bytes() {
    sed -nE 's/^wire: to the host: ([0-9]+) frames, ([0-9]+) bytes.*/\2 \1/p' "$GODWIT_LAB/b/log/wire.log" |
        tail -n 1 | awk '{ print int($1 / $2) }'
}

# frames_are OPERATOR BYTES OPTION...: with a cable of these options, in a transfer to b.
frames_are() {
    delay b "${@:3}" && transfer_rate a b 20000000 && delay b --delay none &&
        await 30 eval "! pgrep -f 'wire .*$GODWIT_LAB/b/log'" && frame_bytes && test "$(frame_bytes)" "$1" "$2"
}

wire_pid() { "$lab" status --json | jq ".hosts.$1.link_pid"; }

is_direct() {
    "$lab" exec b ip -details link show dev eth0 | grep -w veth && median_between 0 15 a b &&
        status_is '.hosts.b | .link_delay == "none" and .link_loss == "none" and .link_pid == null'
}

test_link_delays() {
    check "link b --delay 20ms" delay b --delay 20ms
    check "status shows it" status_is '.hosts.b | .link_delay == "20ms" and .link_jitter == "none" and .link_loss == "none"
        and .link_pid > 1'
    check "a round trip to b takes 40 ms more" median_between 40 60 a b
    check "one from a to nfs does not" median_between 0 15 a nfs
    check "with a rate, too" "$lab" link b --rate 100mbit
    check "b receives at 100 Mbit/s" rate_between 30 106 a b 8000000
    check "with jitter, and the rate stays" delay b --delay 20ms --jitter 15ms
    check "... as status says" status_is '.hosts.b | .link_rate == "100mbit" and .link_jitter == "15ms"'
    check "jitter spreads" jitter_spreads
    check "link b --drop" "$lab" link b --drop
    check "b is silent" exits_with 124 connects_to_b
    check "and stays so with another delay" delay b --delay 1ms
    check "b is silent still" exits_with 124 connects_to_b
    check "link b --pass, and no rate" "$lab" link b --pass --rate none
    check "b refuses again" exits_with 1 connects_to_b
    check "a delay of nothing is none" delay b --delay 0ms
    check "the path is direct again" is_direct
    check "no program without a build tree" exits_with 1 "$lab" link b --delay 1ms --build /nonexistent
    check "which leaves it direct" is_direct
}

test_link_loses() {
    check "link b --loss 30%" delay b --loss 30%
    check "status shows the loss" status_is '.hosts.b | .link_delay == "none" and .link_loss == "30%"'
    check "half of the round trips are lost" half_is_lost
    check "what is lost is a packet" frames_are -le 1600 --loss 0.0001
    check "without loss TCP's segments go through whole" frames_are -gt 4000 --delay 1ms
    check "it is off, and the path direct" is_direct
}

kill_wire() {
    kill -KILL "$(wire_pid b)" && await 30 status_is '.hosts.b.link_cut and (.up | not)' &&
        { "$lab" status || true; } | grep "^b: .* link CUT" && exits_with 124 connects_to_b
}

set_anew() { delay b --delay 5ms && median_between 10 30 a b; }

set_off() { kill -KILL "$(wire_pid b)" && delay b --delay none && is_direct; }

# with_wire CMD...: a long cable of b's does not outlive what CMD kills, and `up`, which it does, makes a direct one.
with_wire() {
    local pid
    delay b --delay 5ms
    pid=$(wire_pid b)
    "$@" && is_gone "$pid" && is_direct
}

with_dead_wire() { delay b --delay 5ms && kill -KILL "$(wire_pid b)" && "$@" && is_direct; }

test_link_dies() {
    delay b --delay 5ms
    check "a wire that is killed leaves a link that is cut, and known to be" kill_wire
    check "it can be set anew" set_anew
    check "... or taken off" set_off
}

# Prints the settings of the switch and of the hosts that send bridged frames through netfilter.
bridge_netfilter() {
    local file pid
    file=/proc/sys/net/bridge/bridge-nf-call-iptables
    for pid in $(switch_pid) $("$lab" status --json | jq '.hosts[].pid'); do
        nsenter --target "$pid" --net cat "$file"
    done | sort -u
}

test_bridge_netfilter() {
    local name="bridged frames do not pass netfilter"
    if [[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]]; then
        skip "$name" "the kernel has no br_netfilter"
    elif [[ ! -w /proc/sys/net/bridge/bridge-nf-call-iptables ]]; then
        skip "$name" "/proc/sys is read-only"
    else
        check "$name" test "$(bridge_netfilter)" = 0
    fi
}

# A network namespace on b's br0 stands for a guest.
guest_on_bridge() {
    "$lab" exec b sh -ec '
        ip netns add guest
        ip link add tap0 type veth peer name eth0 netns guest
        ip link set tap0 master br0 up
        ip -n guest addr add 10.77.0.100/24 dev eth0
        ip -n guest link set eth0 up' &&
        "$lab" exec a ping -q -c1 -W3 10.77.0.100 &&
        "$lab" exec b ping -q -c1 -W3 10.77.0.100 &&
        "$lab" exec nfs ping -q -c1 -W3 10.77.0.100
}

domain_xml() {
    cat <<-XML
	<domain type='qemu'>
	  <name>labtest</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
	  <os><type arch='x86_64' machine='pc'>hvm</type></os>
	  <features><acpi/></features>
	  <devices>
	    <disk type='network' device='disk'>
	      <driver name='qemu' type='raw' cache='none'/>
	      <source protocol='nfs' name='/export/lab-test.img'>
	        <host name='nfs'/><identity user='0' group='0'/>
	      </source>
	      <target dev='vda' bus='virtio'/>
	    </disk>
	    <interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>
	  </devices>
	</domain>
	XML
}

test_guests() {
    check "a guest on b's bridge is reached from every host" guest_on_bridge
    domain_xml >"$GODWIT_LAB/a/labtest.xml"
    check "libvirt starts a domain with its disk on the export" \
        "$lab" exec a virsh -q create "$GODWIT_LAB/a/labtest.xml"
    check "libvirt migrates it to b" \
        "$lab" exec a virsh -q migrate --live labtest qemu+ssh://root@b/system
    check "it runs on b" says running "$lab" exec b virsh domstate labtest
    check "and is gone from a" says '^$' "$lab" exec a virsh -q list
}

# --- deaths

# A signal takes a while to be obeyed.
is_gone() { await 30 eval "! kill -0 $1 2>/dev/null"; }

kill_and_start_nfs() {
    local epoch
    epoch=$(<"$GODWIT_LAB/nfs/epoch")
    "$lab" kill nfs && status_is '.up == false and .hosts.nfs.pids.ganesha == null' &&
        "$lab" start nfs && status_is '.up' && (($(<"$GODWIT_LAB/nfs/epoch") > epoch)) &&
        "$lab" exec a nfs-ls nfs://nfs/export | grep lab-test.img
}

kill_and_repair() {
    local pid
    pid=$("$lab" status --json | jq "$1")
    kill -KILL "$pid"
    is_gone "$pid"
    exits_with 1 "$lab" status && "$lab" up --qemu "$qemu10" --export-tmpfs && status_is '.up' &&
        "$lab" exec a virsh -c qemu+ssh://root@b/system list &&
        "$lab" exec b nfs-ls nfs://nfs/export
}

switch_pid() { cut -d' ' -f1 "$GODWIT_LAB/sw/init"; }

repair_switch() {
    local pid
    pid=$(switch_pid)
    kill -KILL "$pid"
    is_gone "$pid"
    exits_with 1 "$lab" status && "$lab" up --qemu "$qemu10" --export-tmpfs && status_is '.up' &&
        "$lab" exec a ping -q -c1 -W2 nfs
}

other_lab_goes() {
    GODWIT_LAB=$GODWIT_LAB-2 "$lab" up && GODWIT_LAB=$GODWIT_LAB-2 "$lab" down &&
        "$lab" exec nfs stat /export/lab-test.img && "$lab" exec a nfs-ls nfs://nfs/export
}

test_deaths() {
    check "another lab that comes and goes leaves the export alone" other_lab_goes
    check "kill nfs, start nfs: a new verifier, the files are there" kill_and_start_nfs
    check "up restarts a dead libvirtd, and makes a cut link whole" with_dead_wire kill_and_repair .hosts.a.pids.libvirtd
    check "up restarts a dead sshd" kill_and_repair .hosts.b.pids.sshd
    check "up restarts a dead host" with_wire kill_and_repair .hosts.b.pid
    check "up restarts a dead switch" with_wire repair_switch
}

# --- a libvirtd that crashes

crash_is_survived() {
    local before
    before=$("$lab" status --json | jq .hosts.b.pids.libvirtd)
    kill -SEGV "$before"
    is_gone "$before"
    status_is ".up and (.hosts.b.crashes | length == 1) and (.hosts.b.crashes[0] | test(\" SEGV $before\$\"))
        and .hosts.b.pids.libvirtd != $before and .hosts.a.crashes == []" && "$lab" start b &&
        "$lab" exec b virsh -c qemu:///system list
}

crash_by_kill() {
    local before
    before=$("$lab" status --json | jq .hosts.b.pids.libvirtd)
    "$lab" kill b libvirtd --signal ABRT
    status_is ".up and (.hosts.b.crashes | length == 1) and .hosts.b.pids.libvirtd != $before" && "$lab" start b
}

kill_stays_dead() {
    "$lab" kill b libvirtd && status_is '.hosts.b.pids.libvirtd == null' &&
        ! pgrep -f "supervise $GODWIT_LAB/b/libvirtd.pid" && "$lab" start b && status_is '.up' &&
        status_is '.hosts.b.crashes | length == 1'
}

# What never lives is not started for ever.
hopeless_is_given_up() {
    local dir=$GODWIT_LAB/a/hopeless
    mkdir -p "$dir"
    # shellcheck disable=SC2016 # its own pid
    exits_with 1 "$tools/lab.d/supervise" "$dir/x.pid" "$dir/x.crashes" bash -c 'kill -ABRT $$' 8</proc &&
        (($(wc -l <"$dir/x.crashes") == 5)) && exits_with 0 "$tools/lab.d/supervise" "$dir/x.pid" "$dir/x.crashes" \
        bash -c 'exit 6' 8</proc && (($(wc -l <"$dir/x.crashes") == 5))
}

# tap_says CODE WORDS DEED...: what a script says of which the second test does these deeds, one each time it is done
# (then it is fine), and how it ends.
tap_says() {
    local wanted=$1 words=$2 said status=0
    shift 2
    said=$(bash -c "$tap_script" "$here/tap.bash" "$lab" "$GODWIT_LAB/a/made" "$@") || status=$?
    said=$(grep -E '^(not )?ok|^# (not yet|libvirtd)' <<<"$said")
    [[ $status-$said == "$wanted-$words" ]] || { printf '%d: %s\n' "$status" "$said"; return 1; }
}
# shellcheck disable=SC2016 # a script
readonly tap_script='
    . "$0"
    lab=$1 made=$2 deeds=$2.deeds in_group=
    shift 2
    [[ $1 != group ]] || { in_group=tap_group; shift; }
    printf "%s\n" "$@" >"$deeds"
    next() { head -n 1 "$deeds"; sed -i 1d "$deeds"; }
    needs() {
        [[ -e $made ]] || return 1
        case $(next) in
        crash)
            pid=$("$lab" status --json | jq .hosts.b.pids.libvirtd)
            kill -SEGV "$pid"
            while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
            [[ $(head -n 1 "$deeds") != lose ]] || { next >/dev/null; rm "$made"; }
            return 1
            ;;
        fail) return 1 ;;
        esac
    }
    group() {
        check makes touch "$made"
        check needs needs
    }
    $in_group group
    tap_end'

test_crashes() {
    check "a libvirtd that crashes is started again, and counted" crash_is_survived
    check "one that lab kill has crashed is started again" crash_by_kill
    check "one that lab kill has killed stays dead" kill_stays_dead
    check "one that crashes at once, again and again, is given up" hopeless_is_given_up
    check "a test that fails is not done again" tap_says 1 "ok 1 - makes
not ok 2 - needs" fail
    check "a test that has met a crash is done once more" tap_says 0 "ok 1 - makes
# libvirtd has crashed; once more: needs
ok 2 - needs" crash
    check "... and then fails" tap_says 1 "ok 1 - makes
# libvirtd has crashed; once more: needs
not ok 2 - needs" crash fail
    check "one that has lost what it needs: from the group's beginning" tap_says 0 "ok 1 - makes
# libvirtd has crashed; once more: needs
# not yet ok: needs
# libvirtd has crashed; from the beginning: group
ok 3 - makes
ok 4 - needs" group crash lose
    check "... once" tap_says 1 "ok 1 - makes
# libvirtd has crashed; once more: needs
# not yet ok: needs
# libvirtd has crashed; from the beginning: group
ok 3 - makes
not ok 4 - needs" group crash lose fail
}

test_down() {
    delay a --delay 5ms
    delay b --loss 1
    "$lab" exec a sleep 99 &
    "$lab" exec b sh -c 'setsid -f sleep 99'
    check "down" "$lab" down
    check "down leaves nothing" nothing_left
    wait
}

test_down_after_crash() {
    check "up on disk, with the system's QEMU" "$lab" up
    check "the export is on disk" status_is '.export_kind == "disk" or .export_kind == "tmpfs"'
    kill -KILL "$("$lab" status --json | jq .hosts.a.pid)" "$(switch_pid)"
    kill -KILL "$("$lab" status --json | jq .hosts.nfs.pids.ganesha)"
    check "down after a crash" "$lab" down
    check "down after a crash leaves nothing" nothing_left
}

test_interrupted_up() {
    local delay
    for delay in 0.01 0.03 0.05 0.08 0.12 0.2 0.3; do
        "$lab" up 2>/dev/null &
        sleep "$delay"
        kill -KILL $! 2>/dev/null
        wait $! 2>/dev/null
        check "down after up was killed at $delay s" "$lab" down
        check "nothing left after up was killed at $delay s" nothing_left
    done
    "$lab" up 2>/dev/null &
    sleep 0.15
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    check "up completes what a killed up began" "$lab" up
    check "it is whole" status_is '.up'
}

test_at_once() {
    local pids=() pid result=0
    "$lab" down 2>/dev/null
    for _ in 1 2 3; do
        "$lab" up 2>/dev/null &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || result=1
    done
    check "three up at once" test "$result" = 0
    check "three up at once: whole" status_is '.up'
    "$lab" down 2>/dev/null &
    pid=$!
    check "two down at once" "$lab" down
    wait "$pid"
    check "two down at once leave nothing" nothing_left
}

main() {
    ((EUID == 0)) || {
        echo "1..0 # SKIP needs root"
        exit 0
    }
    qemu10=$("$tools/setup" qemu10) || exit 1
    readonly qemu10
    # A machine of our own, as far as mounts and network are concerned: what others do there does
    # not look like something that the lab has left.
    if [[ ${2:-} != --inside ]]; then
        exec unshare --mount --propagation private --net "${BASH_SOURCE[0]}" "$build" --inside
    fi
    GODWIT_LAB=$(mktemp -d /tmp/godwit-lab-test.XXXXXX)
    export GODWIT_LAB
    trap '"$lab" down >/dev/null 2>&1; rm -rf -- "$GODWIT_LAB"
        GODWIT_LAB=$GODWIT_LAB-2 "$lab" down >/dev/null 2>&1' EXIT
    trap 'exit 130' INT TERM HUP
    rmdir -- "$GODWIT_LAB"
    mount -t tmpfs -o mode=755 lab-test /run
    footprint_before=$(footprint)
    readonly footprint_before

    test_bad_usage
    test_up
    test_names
    test_ssh_and_libvirt
    test_export
    test_status
    test_exec
    test_link
    test_link_drops
    test_link_delays
    test_link_loses
    test_link_dies
    test_bridge_netfilter
    test_guests
    test_deaths
    test_crashes
    test_down
    test_down_after_crash
    test_interrupted_up
    test_at_once

    tap_end
}

main "$@"
