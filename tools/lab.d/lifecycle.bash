# shellcheck shell=bash disable=SC2154 # variables of lab, state.bash and topology.bash
# SPDX-License-Identifier: Apache-2.0
#
# Bringing the lab up and taking it down. `up` is a list of "make sure that" steps, each of which sees
# for itself what is missing; so it also repairs a lab in which something was killed.

# Mount points that hosts cover with something of their own. Those that the machine lacks are made
# with mode 0, by which the last of several labs knows that they are to be removed.
readonly lab_mount_points=(/export /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /var/lib/nfs)

readonly lab_programs=(
    unshare nsenter setpriv setsid flock mount ip tc tini jq ssh ssh-keygen sshd libvirtd virsh
    rpcbind ganesha.nfsd nfs-ls qemu-system-x86_64 qemu-img
)

lifecycle_check_machine() {
    local program missing=()
    for program in "${lab_programs[@]}"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    ((!${#missing[@]})) || die "not installed: ${missing[*]}; run tools/setup lab"
}

lifecycle_any_host_alive() {
    local host
    for host in sw "${lab_hosts[@]}"; do
        ! host_pid "$host" >/dev/null || return 0
    done
    return 1
}

lifecycle_is_whole() {
    local host daemon
    [[ -e $state/up ]] && host_pid sw >/dev/null || return 1
    for host in "${lab_hosts[@]}"; do
        host_pid "$host" >/dev/null && network_is_connected "$host" || return 1
        for daemon in ${lab_daemons[$host]}; do
            daemon_pid "$host" "$daemon" >/dev/null || return 1
        done
    done
}

# Prints what the export can be: a file system that ganesha can export by handle, or else tmpfs.
lifecycle_export_kind() {
    local fs_type
    fs_type=$(stat --file-system --format %T -- "$state")
    case $1:$fs_type in
    auto:ext2/ext3 | auto:xfs | auto:btrfs) echo disk ;;
    auto:*)
        say "$state is on $fs_type, which cannot be exported: the export is in memory (tmpfs)"
        echo tmpfs
        ;;
    *) echo tmpfs ;;
    esac
}

lifecycle_make_mount_points() {
    local dir
    for dir in "${lab_mount_points[@]}"; do
        [[ ! -d $dir || $(stat -c %a -- "$dir") == 0 ]] || continue
        printf '%s\n' "$dir" >>"$state/made_dirs"
        # Another lab may have made it just now.
        [[ -d $dir ]] || mkdir -m 0 -- "$dir" 2>/dev/null || [[ -d $dir ]] || die "cannot make the mount point $dir"
    done
}

lifecycle_make_keys() {
    local keys=$state/keys name
    [[ ! -s $keys/known_hosts ]] || return 0
    rm -rf -- "$keys"
    mkdir -m 700 -- "$keys"
    for name in lab "${lab_kvm_hosts[@]/#/host_}"; do
        ssh-keygen -q -t ed25519 -N '' -C "godwit-lab-$name" -f "$keys/$name"
    done
    for name in "${lab_kvm_hosts[@]}"; do
        printf '%s,%s %s\n' "$name" "${lab_address[$name]}" "$(cat "$keys/host_$name.pub")"
    done >"$keys/known_hosts.tmp"
    mv -- "$keys/known_hosts.tmp" "$keys/known_hosts"
}

host_is_ready_or_dead() { [[ -e $state/$1/ready ]] || ! host_pid "$1" >/dev/null; }

# Makes sure that host $1 (or sw) exists; its QEMU prefix is $2, empty for the system's.
host_create() {
    local host=$1 qemu_prefix=${2:-} own=$state/$1
    ! host_pid "$host" >/dev/null || return 0
    mkdir -p -- "$own/log"
    rm -f -- "$own/ready" "$own/init"
    printf '%s' "$qemu_prefix" >"$own/qemu_prefix"
    unshare --mount --propagation slave --uts --ipc --net --pid -- \
        setsid --fork "$lab_pieces/host-init" "$state" "$host" \
        </dev/null >"$own/log/init.log" 2>&1 ||
        die "cannot make namespaces for $host$(log_tail "$host" init)"
    wait_until 5 test -e "$own/init" || die "$host does not start$(log_tail "$host" init)"
    wait_until "$lab_deadline_s" host_is_ready_or_dead "$host" || true
    if [[ ! -e $own/ready ]] || ! host_pid "$host" >/dev/null; then
        die "$host cannot be made$(log_tail "$host" init)"
    fi
}

# version_of HOST PROGRAM OPTION: the first number in what it says of itself. A host of which programs are
# just being started may kill one (ganesha was seen to, once in some hundred labs), so it is asked again.
version_of() {
    local said=$state/$1/log/version-$2.log try status
    for try in 1 2 3; do
        status=0
        in_host "$@" >"$said" 2>&1 || status=$?
        if ((!status)); then
            sed -n '/[0-9]/{s/^[^0-9]*\([0-9][0-9.]*\).*/\1/p;q}' "$said"
            return
        fi
        echo "(try $try: status $status)" >>"$said"
        sleep 0.1
    done
    die "$2 does not tell its version on $1$(log_tail "$1" "version-$2")"
}

# Asks the programs inside host $1 for their versions.
host_note_versions() {
    local host=$1 own=$state/$1
    case $host in
    nfs) version_of nfs ganesha.nfsd -v >"$own/ganesha.version" ;;
    *)
        version_of "$host" qemu-system-x86_64 --version >"$own/qemu.version"
        version_of "$host" libvirtd --version >"$own/libvirt.version"
        ;;
    esac
}

# for_each_parallel CMD WORD...: CMD WORD for all words at once; fails if one fails.
for_each_parallel() {
    local cmd=$1 word pids=() pid failed=0
    shift
    for word in "$@"; do
        "$cmd" "$word" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    return "$failed"
}

host_create_as_set() { host_create "$1" "$(sed -n "s/^qemu_prefix $1 //p" "$state/settings")"; }

host_furnish() {
    network_connect "$1"
    host_note_versions "$1" &
    daemons_up "$1"
    wait $! || exit 1
}

# Brings up all that is missing on the named hosts.
lifecycle_bring_up() {
    for_each_parallel host_create_as_set sw "$@" || die "not up; tools/lab down clears away what there is"
    network_switch_up
    say "starting the daemons: libvirtd and sshd on a and b, rpcbind and nfs-ganesha on nfs"
    for_each_parallel host_furnish "$@" || die "not up; tools/lab down clears away what there is"
}

# lifecycle_up SETTINGS EXPORT: SETTINGS is the text of the settings file, EXPORT auto or tmpfs.
lifecycle_up() {
    local settings=$1 export=$2 started_us=${EPOCHREALTIME/./} took_ms
    lifecycle_check_machine
    state_lock
    if [[ -e $state/settings ]] && ! lifecycle_any_host_alive; then
        lifecycle_clear
        state_lock
    fi
    if [[ ! -e $state/settings ]]; then
        printf '%s\n' "$settings" >"$state/settings"
    elif [[ $(<"$state/settings") != "$settings" ]]; then
        die "the lab is up with other settings; run tools/lab down first. It has:
$(<"$state/settings")" 2
    fi
    if lifecycle_is_whole; then
        say "already up"
        return
    fi
    rm -f -- "$state/up"
    [[ -s $state/export_kind ]] || lifecycle_export_kind "$export" >"$state/export_kind"
    say "making the hosts a, b and nfs"
    lifecycle_make_mount_points
    lifecycle_make_keys
    lifecycle_bring_up "${lab_hosts[@]}"
    : >"$state/up"
    took_ms=$(((${EPOCHREALTIME/./} - started_us) / 1000))
    say "up in $((took_ms / 1000)).$((took_ms / 100 % 10)) s; tools/lab status shows it"
}

host_is_gone() { ! host_pid "$1" ending >/dev/null; }

host_kill() {
    local pid
    pid=$(host_pid "$1" ending) || return 0
    kill -KILL "$pid" 2>/dev/null || true
}

# To remove a directory takes away what others, such as another lab, have mounted on it in their
# namespaces.
lifecycle_remove_mount_points() {
    local dir
    [[ -s $state/made_dirs ]] || return 0
    while read -r dir; do
        if grep -qs " $dir " /proc/[0-9]*/mountinfo; then
            say "left $dir, which is in use"
        elif [[ -d $dir ]]; then
            rmdir -- "$dir" 2>/dev/null || say "left $dir, which is not empty"
        fi
    done <"$state/made_dirs"
}

# Ends all that lives and removes all that was made.
lifecycle_clear() {
    local host
    for host in sw "${lab_hosts[@]}"; do
        host_kill "$host"
    done
    for host in sw "${lab_hosts[@]}"; do
        wait_until 15 host_is_gone "$host" ||
            die "host $host (pid $(host_pid "$host" ending)) does not end; is one of its processes in state D?"
    done
    lifecycle_remove_mount_points
    state_remove
}

lifecycle_down() {
    if [[ ! -e $state ]]; then
        say "not up"
        return
    fi
    state_lock
    lifecycle_clear
    say "down"
}
