# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The state directory, and who is alive.
#
#   STATE/.godwit-lab    marks the directory as ours
#   STATE/settings       what `up` was asked for
#   STATE/up             written last by `up`
#   STATE/made_dirs      mount points that had to be made on the machine, one a line
#   STATE/keys/          ssh keys and known_hosts
#   STATE/HOST/          the host's shared directory:
#     init               pid and start time of the host's PID 1, as the machine sees them
#     DAEMON.pid         the same for each daemon
#     libvirtd.supervisor   the same for its supervisor
#     libvirtd.crashes   a line a crash of libvirtd
#     libvirtd.struck    the pid of the last one that `lab kill` has sent a signal to
#     log/               what everyone there said
#
# Nothing of the lab is known by a name outside its processes: no named network namespace, no mount and
# no device in the machine's own namespaces. To end a host is to kill its PID 1; the kernel ends all
# others in its PID namespace, and with them go mounts, devices and sockets. So whatever crashed, `down`
# has at most four processes to kill and a directory to remove.

# shellcheck source-path=SCRIPTDIR source=topology.bash
. "${BASH_SOURCE[0]%/*}/topology.bash"

say() { printf 'lab: %s\n' "$*" >&2; }

die() {
    printf 'lab: error: %s\n' "$1" >&2
    exit "${2:-1}"
}

# Sets $state from GODWIT_LAB and refuses what could not work or would be dangerous to remove later.
state_locate() {
    state=$(realpath -m -- "${GODWIT_LAB:-/var/lib/godwit-lab}")
    [[ $state =~ ^/[A-Za-z0-9._/-]+$ ]] ||
        die "GODWIT_LAB=$state: use letters, digits and ._- only" 2
    ((${#state} <= 48)) || die "GODWIT_LAB=$state: longer than 48 bytes, sockets would not fit" 2
    case $state/ in
    /run/* | /etc/* | /proc/* | /sys/* | /dev/* | /var/*/libvirt/* | /var/lib/nfs/* | /export/*)
        die "GODWIT_LAB=$state: each host covers that with a directory of its own; name another" 2
        ;;
    esac
    [[ -e $state ]] || return 0
    local entries
    entries=$(ls -A -- "$state" 2>/dev/null) || true
    [[ -d $state && (-z $entries || $'\n'$entries$'\n' == *$'\n.godwit-lab\n'*) ]] ||
        [[ ! -e $state ]] ||
        die "$state exists and is no lab's; set GODWIT_LAB to another directory" 2
}

# Takes the lock, which is the directory itself, so that no lock file is left behind. Who waited may
# find that `down` has meanwhile removed what it locked: then once more.
state_lock() {
    while :; do
        mkdir -p -- "$state"
        exec 9<"$state"
        if ! flock --nonblock 9; then
            say "waiting for another lab command to finish"
            flock --timeout 120 9 || die "another lab command holds $state since 120 s"
        fi
        [[ ! $state -ef /dev/fd/9 ]] || break
    done
    : >"$state/.godwit-lab"
}

# Removes the directory, its mark last, so that whoever sees a half-removed one knows it as ours.
state_remove() {
    find "$state" -mindepth 1 -maxdepth 1 ! -name .godwit-lab \
        -exec rm -rf --one-file-system -- {} + || die "cannot empty $state"
    rm -f -- "$state/.godwit-lab"
    rmdir -- "$state" || die "cannot remove $state"
}

# Prints state (one letter), kernel flags and start time (clock ticks) of process $1.
process_stat() {
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    line=${line##*) }
    # shellcheck disable=SC2086 # wanted as words: the third field of stat is the first here
    set -- $line
    printf '%s %s %s\n' "$1" "$7" "${20}"
}

# recorded_pid FILE [ending]: prints the pid on record in FILE if that very process still lives. One that
# was killed, but has not ended yet because the kernel is still ending the others in its PID namespace,
# counts only with "ending".
recorded_pid() {
    local pid start_time letter flags start_time_now
    local -r pf_exiting=0x4
    { read -r pid start_time <"$1"; } 2>/dev/null || return 1
    read -r letter flags start_time_now < <(process_stat "$pid") || return 1
    [[ $start_time_now == "$start_time" && $letter != [ZX] ]] || return 1
    [[ ${2:-} == ending ]] || ((!(flags & pf_exiting))) || return 1
    printf '%s\n' "$pid"
}

# host_pid HOST [ending]
host_pid() { recorded_pid "$state/$1/init" "${2:-}"; }

# Prints the pid of daemon $2 of host $1, as the machine sees it.
daemon_pid() { recorded_pid "$state/$1/$2.pid"; }

# wait_until SECONDS CMD...: runs CMD until it succeeds or the time is over.
wait_until() {
    local deadline_us=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        ((${EPOCHREALTIME/./} < deadline_us)) || return 1
        sleep 0.02
    done
}

# log_tail HOST NAME: the end of a log, for an error message.
log_tail() {
    local file=$state/$1/log/$2.log
    if [[ -s $file ]]; then
        printf '\n--- last lines of %s\n' "$file"
        # ganesha tells of every client that hangs up, as our probes do.
        grep -v 'svc_vc_wait: .* recv errno' -- "$file" | tail -n 15
    else
        printf '\n(%s is empty)' "$file"
    fi
}

# Runs a command with network devices of host $1 (or sw); all else is the machine's.
in_network_of() {
    local pid
    pid=$(host_pid "$1") || die "host $1 is not running"
    shift
    nsenter --target "$pid" --net -- "$@"
}

# The nsenter options that enter everything of the host with PID 1 $1.
enter_options() { printf '%s\n' --target "$1" --mount --uts --ipc --net --pid; }
