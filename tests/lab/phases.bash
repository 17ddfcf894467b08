# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# phases.bash: a migration that is in a phase, for a fault to meet it there: by construction, never by being quick.
# For test-routes.sh, whose $lab, $godwit, $vm, $scratch and helpers these use.
#
# How a fault meets its phase:
#   preparing   a hook of libvirt's on b holds the making of the destination's domain, whose QEMU is there
#   precopy     the guest dirties its memory faster than a limit on the bandwidth lets it be sent
#   switchover  the link is slow and the downtime limit long, so that the last pass takes seconds. QEMU
#               answers nobody then, so that the pause is seen by the guest's silence
#   confirming  the destination's QEMU is stopped (SIGSTOP) while the guest stands at the gate before its switchover,
#               and who opens the gate is stopped, too

# Slow enough that what has not been sent takes seconds; SSH gets through beside it.
slow_link() { "$lab" link b --rate 3mbit; }
fast_link() { "$lab" link b --rate none; }

# begin OPTION...: begins a migration; its pid is $godwit_pid. Godwit is on a, or, with $godwit_host set, elsewhere.
begin() {
    local host=${godwit_host:-a}
    local -a source=()
    [[ $host == a ]] || source=(-c qemu+ssh://root@a/system)
    rm -f -- "$scratch"/{progress,result,err}
    "$lab" exec "$host" "$godwit" migrate "${source[@]}" "$vm" "$uri_b" --json --progress=3 "$@" \
        3>"$scratch/progress" >"$scratch/result" 2>"$scratch/err" &
    godwit_pid=$!
}

# in_phase PHASE OPTION...: the same, until it is in that phase.
in_phase() {
    local phase=$1
    shift
    begin "$@"
    await 90 grep -q "\"$phase\"" "$scratch/progress" || {
        echo "it never was in $phase"
        cat "$scratch/err"
        return 1
    }
}

has_sent() { tail -n 1 "$scratch/progress" | jq -e ".ram_transferred_bytes > $1" >/dev/null; }

# in_endless_precopy ROUTE OPTION...: in precopy, which the guest (restless, busy) dirties faster than it is sent, so
# that it cannot end before the fault, however late that comes; and QEMU has begun to send.
in_endless_precopy() {
    in_phase precopy --route "$1" --max-bandwidth 128K "${@:2}" && await 60 has_sent 0 || {
        echo "nothing was sent: $(tail -n 1 "$scratch/progress")"
        return 1
    }
}

# hurry [RATE]: and after the fault it may end.
hurry() {
    local rate
    rate=$(numfmt --from=iec "${1:-100M}")
    virsh_on a qemu-monitor-command "$vm" \
        "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":$rate}}" | grep -F '"return":{}'
}

silent_on_a() {
    local file before
    file=$("$domain" path a "$vm" serial)
    before=$(stat -c %s "$file")
    sleep 1.5 # one that runs says something every few ms
    (($(stat -c %s "$file") == before))
}

# in_pause OPTION...: the same, until the guest stands.
in_pause() {
    slow_link
    in_phase precopy "$@" && await 90 silent_on_a || {
        echo "it never stood"
        return 1
    }
}

# b's libvirt stands where a domain's QEMU has just come into being (started), or before it is made (prepare, and
# migrate as the native route has it), until released, for two minutes at most: a hook of its own sees to that.
# held_making_on_b OPERATIONS: those of libvirt's hook at which it stands.
held_making_on_b() {
    "$lab" exec b sh -c "mkdir -p /etc/libvirt/hooks && echo '$1' >/run/hold &&
        cat >/etc/libvirt/hooks/qemu && chmod +x /etc/libvirt/hooks/qemu" <<'HOOK'
#!/bin/sh
[ "$2" != started ] || touch /run/made
case " $(cat /run/hold) " in *" $2 "*) ;; *) exit 0 ;; esac
touch /run/making
n=0
until [ -e /run/go ] || [ $((n += 1)) -gt 1200 ]; do sleep 0.1; done
HOOK
    "$lab" kill b libvirtd
    "$lab" start b 2>/dev/null
}
usual_making_on_b() {
    "$lab" exec b rm -f /etc/libvirt/hooks/qemu /run/making /run/made /run/go /run/hold
    "$lab" kill b libvirtd
    "$lab" start b 2>/dev/null
}
# What else is made on b meanwhile does not stand.
release_making_on_b() { "$lab" exec b touch /run/go; }

# begin_making OPTION...: begins a migration, until b's libvirt stands in making the domain.
begin_making() {
    "$lab" exec b rm -f /run/making /run/made /run/go
    begin "$@"
    await 60 "$lab" exec b test -e /run/making || {
        echo "b's libvirt never made the domain"
        cat "$scratch/err"
        release_making_on_b
        return 1
    }
}

# begin_preparing OPTION...: the same, with its QEMU there; nothing has been sent, for libvirt holds it.
begin_preparing() {
    begin_making "$@" && [[ -n $(qemu_pid_on b) ]] && is_under_way
}

# What strikes must strike a migration: one that has ended before was too quick for it.
is_under_way() {
    kill -0 "$godwit_pid" 2>/dev/null || {
        echo "it was over before"
        cat "$scratch/err" "$scratch/result"
        return 1
    }
}

# Who lets the guest over the gate before its switchover (QEMU's pause-before-switchover) is stopped and goes on:
# godwit on the direct route, the source's libvirtd on the native one.
signal_gate() {
    if [[ $1 == native ]]; then
        "$lab" kill a libvirtd --signal "$2"
    else
        # shellcheck disable=SC2016 # a's
        "$lab" exec "${godwit_host:-a}" sh -c 'kill "-$0" $(pidof godwit)' "$2"
    fi
}

# stands_at_gate ROUTE: by QEMU's word, or, where libvirtd is the one that is stopped, by the guest's silence.
stands_at_gate() {
    if [[ $1 == native ]]; then
        silent_on_a
    else
        [[ $(virsh_on a qemu-monitor-command "$vm" '{"execute":"query-migrate"}' | jq -r .return.status) == pre-switchover ]]
    fi
}

# in_held_precopy ROUTE OPTION...: in precopy, and the gate is held, so that it cannot end.
in_held_precopy() {
    in_phase precopy --route "$1" --max-bandwidth 128K --downtime-limit 20ms "${@:2}" && await 60 has_sent 0 || return
    if [[ $1 == native ]]; then
        hurry 2M && signal_gate native STOP
    else
        signal_gate direct STOP && hurry 2M
    fi
}

# begin_confirming ROUTE OPTION...: the same, until the destination's QEMU stands, and all has been sent to it. It is
# stopped while the guest stands at its gate, which nobody opens before that: so what is left fits into the sockets.
begin_confirming() {
    local result=0
    in_held_precopy "$@" && is_under_way && await 90 stands_at_gate "$1" && signal_qemu_on b STOP || result=1
    signal_gate "$1" CONT
    ((result == 0)) && await 90 grep -qE '"(confirming|switchover)"' "$scratch/progress" || {
        echo "it never was in confirming: $(tail -n 1 "$scratch/progress")"
        return 1
    }
}

# strike WHAT: what dies; libvirt's daemons come back.
strike() {
    case $1 in
    qemu-b) signal_qemu_on b KILL ;;
    libvirtd-*) "$lab" kill "${1#*-}" libvirtd && sleep 1 && "$lab" start "${1#*-}" ;;
    esac
}
