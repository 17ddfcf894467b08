# shellcheck shell=bash disable=SC2154 # variables of lab, state.bash and topology.bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemons. They run in the foreground inside their host, so that the pid we started is the pid
# on record; once their starter is gone, the host's PID 1 is their parent.
#
# libvirtd has a supervisor between (supervise), which starts it again when it crashes, as systemd does, and
# keeps a record of that.

# Prints the command line of daemon $2 of host $1, a word a line.
daemon_command() {
    case $2 in
    sshd) printf '%s\n' /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config ;;
    libvirtd) printf '%s\n' libvirtd ;;
    rpcbind) printf '%s\n' rpcbind -f -w ;;
    ganesha)
        printf '%s\n' ganesha.nfsd -F -f /etc/ganesha/ganesha.conf -p /run/ganesha/ganesha.pid \
            -L "$state/$1/log/ganesha.log" -N NIV_EVENT -E "$(ganesha_next_epoch)"
        ;;
    esac
}

# The epoch is the write verifier. By default it is the boot second, so that a server restarted
# within the same second would hide that it has forgotten what it had not yet committed.
ganesha_next_epoch() {
    local file=$state/nfs/epoch last=0 now=$EPOCHSECONDS
    [[ ! -s $file ]] || last=$(<"$file")
    ((now > last)) || now=$((last + 1))
    printf '%s\n' "$now" | tee "$file"
}

daemon_is_supervised() { [[ $1 == libvirtd ]]; }

# Prints the pid of its supervisor, as the machine sees it.
supervisor_pid() { recorded_pid "$state/$1/$2.supervisor"; }

# Not where it has died, and its supervisor has not done yet what that asks for.
daemon_is_decided() { daemon_pid "$1" "$2" >/dev/null || ! supervisor_pid "$1" "$2" >/dev/null; }
daemon_decide() {
    wait_until "$lab_deadline_s" daemon_is_decided "$1" "$2" || die "the supervisor of $2 on $1 does nothing"
}

# Prints the crashes of daemon $2 of host $1, a line each: when, the signal, the pid.
daemon_crashes() {
    daemon_decide "$1" "$2"
    [[ ! -e $state/$1/$2.crashes ]] || cat "$state/$1/$2.crashes"
}

# Starts daemon $2 of host $1 unless it runs.
daemon_start() {
    local host=$1 daemon=$2 pid options command own=$state/$1 record=$2.pid
    daemon_decide "$host" "$daemon"
    ! daemon_pid "$host" "$daemon" >/dev/null || return 0
    pid=$(host_pid "$host") || die "host $host is not running"
    mapfile -t options < <(enter_options "$pid")
    mapfile -t command < <(daemon_command "$host" "$daemon")
    if daemon_is_supervised "$daemon"; then
        rm -f -- "$own/$record"
        command=("$lab_pieces/supervise" "$own/$record" "$own/$daemon.crashes" "${command[@]}")
        record=$daemon.supervisor
        exec 8</proc
    fi
    # bash stays outside the PID namespace and its child is born inside: $! is the machine's number.
    # shellcheck disable=SC2016 # expanded by that bash
    pid=$(nsenter "${options[@]}" --no-fork --wdns=/ -- \
        env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 \
        bash -c 'setsid -- "$@" </dev/null >>"$0" 2>&1 9>&- & echo $!' "$own/log/$daemon.log" "${command[@]}") ||
        die "cannot start $daemon on $host"
    exec 8<&-
    printf '%s %s\n' "$pid" "$(process_stat "$pid" | cut -d' ' -f3)" >"$own/$record"
    daemon_decide "$host" "$daemon"
}

port_answers() { in_network_of "$1" bash -c ": </dev/tcp/$2/$3" 2>/dev/null; }

# Does daemon $2 of host $1 serve?
daemon_answers() {
    local host=$1 address=${lab_address[$1]}
    case $2 in
    sshd) port_answers "$host" "$address" 22 ;;
    rpcbind) port_answers "$host" "$address" 111 ;;
    libvirtd) in_host "$host" timeout 20 virsh -q -c qemu:///system uri >/dev/null 2>&1 ;;
    ganesha)
        port_answers "$host" "$address" 2049 &&
            in_host "$host" timeout 5 nfs-ls 'nfs://nfs/export?version=3' >/dev/null 2>&1 &&
            in_host "$host" timeout 5 nfs-ls 'nfs://nfs/export?version=4' >/dev/null 2>&1
        ;;
    esac
}

# Answers, or is dead and never will.
daemon_settled() {
    daemon_is_decided "$1" "$2" && { ! daemon_pid "$1" "$2" >/dev/null || daemon_answers "$1" "$2"; }
}

daemon_await() {
    local host=$1 daemon=$2
    wait_until "$lab_deadline_s" daemon_settled "$host" "$daemon" ||
        die "$daemon on $host does not answer after $lab_deadline_s s$(log_tail "$host" "$daemon")"
    daemon_pid "$host" "$daemon" >/dev/null ||
        die "$daemon on $host has ended$(log_tail "$host" "$daemon")"
}

# Runs a command inside a host, quietly and without passing signals on.
in_host() {
    local pid options
    pid=$(host_pid "$1") || die "host $1 is not running"
    shift
    mapfile -t options < <(enter_options "$pid")
    nsenter "${options[@]}" --wdns=/ -- "$@" 9>&- </dev/null
}

# Starts what does not run on host $1, in order: ganesha registers itself with rpcbind.
daemons_up() {
    local daemon
    for daemon in ${lab_daemons[$1]}; do
        daemon_start "$1" "$daemon"
        [[ $daemon != rpcbind ]] || daemon_await "$1" "$daemon"
    done
    for daemon in ${lab_daemons[$1]}; do
        daemon_await "$1" "$daemon"
    done
}
