# shellcheck shell=bash disable=SC2154 # variables of routes
# SPDX-License-Identifier: Apache-2.0
#
# The two guests that migrate: the libvirt domain, and its double in a bare QEMU, the floor. Both
# live on from run to run; only the one whose turn it is runs.
#
#   place[domain], place[floor]   the host on which each is

readonly name=routes floor_name=routes-floor
declare -A place

on() { "$lab" exec "$@"; }
other() { [[ $1 == a ]] && echo b || echo a; }
serial_of() { printf '%s/%s/log/%s.serial' "$state" "$2" "$([[ $1 == floor ]] && echo $floor_name || echo $name)"; }

# ---- the floor

# A QMP socket for godwit, and one for us.
floor_qmp() { printf '%s/%s/%s.qmp%s' "$state" "$1" "$floor_name" "${2:-}"; }
floor_pid() { printf '%s/%s/%s.pid' "$state" "$1" "$floor_name"; }

# qmp HOST COMMAND...: the answers of the floor's QEMU, a line each.
qmp() {
    local host=$1
    shift
    { printf '{"execute":"qmp_capabilities"}\n' && printf '{"execute":"%s","id":1}\n' "$@"; } |
        timeout 10 socat -t 5 - "UNIX-CONNECT:$(floor_qmp "$host" 2)" |
        jq -c 'select(.id == 1) | .return'
}

# The virsh commands that ask the domain's QEMU.
monitor_commands() { printf "qemu-monitor-command $name '{\"execute\":\"%s\"}';" "$@"; }

# monitor HOST COMMAND...: the same of the domain's, through one virsh.
monitor() { on "$1" virsh -q "$(monitor_commands "${@:2}")" | jq -c .return; }

# The words of the command line that libvirt gives the domain, into `floor_command`: without the
# environment, libvirt's own monitor and secret, and -S; with files and disk of its own.
floor_learn_command() {
    local line word words=()
    line=$(on a virsh -q domxml-to-native qemu-argv --domain "$name")
    eval "words=($line)" # quoted for a shell by libvirt, from our own XML
    while [[ ${words[0]} == *=* ]]; do
        words=("${words[@]:1}")
    done
    floor_command=()
    for ((i = 0; i < ${#words[@]}; i++)); do
        word=${words[i]}
        case $word:${words[i + 1]:-} in
        -S:*) continue ;;
        -object:*'"secret"'* | -chardev:*id=charmonitor,* | -mon:*) i=$((i + 1)) && continue ;;
        -netdev:* | *:*'"netdev"'*) die "the floor has no network card: give the domain no --address" 2 ;;
        esac
        word=${word//"guest=$name,"/"guest=$floor_name,"}
        word=${word//"/$name.serial"/"/$floor_name.serial"}
        word=${word//"/export/$name.img"/"/export/$floor_name.img"}
        floor_command+=("$word")
    done
    printf '%q ' "${floor_command[@]}" >"$out/floor-command"
}

# floor_start HOST [-incoming defer]: returns when its QEMU answers. It goes into the background by a
# shell: -daemonize would be ended by the -sandbox that libvirt gives it.
floor_start() {
    local host=$1
    shift
    : >>"$(serial_of floor "$host")"
    # shellcheck disable=SC2016 # expanded by that shell
    on "$host" bash -c 'setsid "$@" </dev/null >>"$0" 2>&1 &' "$state/$host/log/$floor_name.log" \
        "${floor_command[@]}" -pidfile "$(floor_pid "$host")" \
        -qmp "unix:$(floor_qmp "$host"),server=on,wait=off" \
        -qmp "unix:$(floor_qmp "$host" 2),server=on,wait=off" "$@" 9>&-
    for ((i = 0; i < 100; i++)); do
        ! floor_alive "$host" || ! qmp "$host" query-status >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    die "the floor's QEMU does not start on $host: $(tail -n 3 -- "$state/$host/log/$floor_name.log")"
}

floor_kill() { on "$1" kill "-$2" "$(cat "$(floor_pid "$1")" 2>/dev/null)" 2>/dev/null; }
floor_alive() { [[ -s $(floor_pid "$1") ]] && floor_kill "$1" 0; }

floor_stop() {
    local host=$1
    if floor_alive "$host"; then
        floor_kill "$host" TERM || true
        for ((i = 0; i < 100; i++)); do
            floor_alive "$host" || break
            sleep 0.05
        done
        ! floor_alive "$host" || floor_kill "$host" KILL || true
    fi
    rm -f -- "$(floor_qmp "$host")" "$(floor_qmp "$host" 2)" "$(floor_pid "$host")"
}

floor_runs() { floor_alive "$1" && [[ $(qmp "$1" query-status | jq -r .status) == running ]]; }

# ---- both

has_floor() { [[ " ${tools[*]} " == *' floor '* ]]; }
has_domain() { [[ " ${tools[*]} " != ' floor ' ]]; }

# beats WHO: a heartbeat comes from where it is.
beats() {
    local file before
    file=$(serial_of "$1" "${place[$1]}")
    before=$(stat -c %s -- "$file")
    for ((i = 0; i < 300; i++)); do
        sleep 0.1
        (($(stat -c %s -- "$file") <= before + 100)) || return 0
    done
    die "no heartbeat from $1 on ${place[$1]}"
}

# The Linux guest looks for its last record first, and then writes; the beats tell.
is_at_work() {
    beats "$1"
    [[ $guest == linux ]] || return 0
    for ((i = 0; i < 300; i++)); do
        ! tail -c 200 -- "$(serial_of "$1" "${place[$1]}")" |
            grep -qE '^H [0-9a-f]{8} [0-9a-f]{8} 0*[1-9a-f]' || return 0
        sleep 0.1
    done
    die "$1 writes no records"
}

domain_begin() {
    local host
    for host in a b; do
        "$domain" undefine "$host" "$name"
    done
    for host in a b; do
        "$domain" define "$host" "$name" "$guest" "${guest_options[@]}" "${domain_options[@]}"
    done
    "$domain" start a "$name"
    place[domain]=a
    is_at_work domain
}

floor_begin() {
    floor_stop a
    floor_stop b
    floor_start a
    : >>"$(serial_of floor b)"
    place[floor]=a
    is_at_work floor
}

# Stops all guests that run.
freeze() {
    ! has_domain || [[ $(on "${place[domain]}" virsh -q domstate "$name") != running* ]] ||
        on "${place[domain]}" virsh -q suspend "$name" >/dev/null
    ! has_floor || [[ -z ${place[floor]:-} ]] || qmp "${place[floor]}" stop >/dev/null
}

# thaw domain|floor, and gives it time to get into its stride: caches, and its whole working set.
thaw() {
    freeze
    if [[ $1 == domain ]]; then
        on "${place[domain]}" virsh -q resume "$name" >/dev/null
    else
        qmp "${place[floor]}" cont >/dev/null
    fi
    sleep 2
    beats "$1"
}

make_disks() {
    local image=$scratch/$name.img
    "$build/bench/guest/record-check" --format "$image" 128M
    cp --sparse=always -- "$image" "$scratch/$floor_name.img"
    on a "$godwit" relocate --overwrite "$image" "$scratch/$floor_name.img" nfs://nfs/export/ >/dev/null
}

guests_begin() {
    if [[ $guest == linux ]]; then
        guest_options=(--build "$build" --prealloc --disk "nfs://nfs/export/$name.img")
    else
        guest_options=(--build "$build" --prealloc --working-set 800K --dirty-rate 8M --accel kvm)
        on a sh -c ': </dev/kvm' 2>/dev/null || {
            say "there is no KVM here: the bare-metal guest runs under TCG"
            guest_options[-1]=tcg
        }
    fi
    floor_stop a
    floor_stop b
    "$domain" undefine a "$name"
    "$domain" undefine b "$name"
    [[ $guest != linux ]] || make_disks
    domain_begin # also for the floor alone, which has its command line
    ! has_floor || floor_learn_command
    freeze
    ! has_floor || floor_begin
    freeze
}

guests_end() {
    local host
    for host in a b; do
        floor_stop "$host"
        rm -f -- "$(serial_of floor "$host")"
        "$domain" undefine "$host" "$name" || true
    done
}
