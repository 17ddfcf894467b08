#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test-routes.sh BUILD [GROUP]...: godwit migrate on libvirt domains, with the lab up: the two routes, bad
# input, and what happens to a migration in which something is killed, cut or interfered with.
#
# GROUP: ways, input, after, copies (what libvirt copies from a domain that came by the direct route), killed (godwit itself), owned (what is not ours is left alone), faults (in
# precopy), phases (in the others); and only if it is named: slow (those that wait for a deadline), each (each
# daemon killed in each phase of each route, with a table of what came of it). After each fault the guest must run once, or godwit must have said that it does not know.

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
root=$(realpath -- "$here/../..")
build=$(realpath -- "${1:?the build tree}")
shift
readonly lab=$root/tools/lab domain=$root/tools/domain godwit=$build/tools/godwit
readonly vm=route uri_a=qemu:///system uri_b=qemu+ssh://root@b/system
groups=("$@")
((${#groups[@]})) || groups=(ways input after copies killed owned faults phases)
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"
# shellcheck source-path=SCRIPTDIR source=phases.bash
. "$here/phases.bash"

scratch=$(mktemp -d /var/tmp/godwit-routes-XXXXXX)
readonly scratch
routes_clean_up() {
    "$lab" exec b ip link set eth0 up 2>/dev/null
    "$lab" link b --rate none --delay none 2>/dev/null
    b_is 10.77.0.2
    "$lab" start a 2>/dev/null
    "$lab" start b 2>/dev/null
    guest_off
    rm -rf -- "$scratch"
}
trap routes_clean_up EXIT

virsh_on() { "$lab" exec "$1" virsh -q -c "$uri_a" "${@:2}"; }
state_on() { virsh_on "$1" domstate "$vm" 2>/dev/null || echo none; }
# What its QEMU says, not what libvirt believes.
qemu_on() {
    virsh_on "$1" qemu-monitor-command "$vm" '{"execute":"query-status"}' 2>/dev/null |
        jq -r .return.status
}
runs_on() { [[ $(qemu_on "$1") == running ]] || { echo "$1: $(state_on "$1"), $(qemu_on "$1")"; return 1; }; }
no_trace_on() { [[ $(state_on "$1") == none ]] || { echo "$1 has it: $(state_on "$1")"; return 1; }; }
beats_on() {
    local file before
    file=$("$domain" path "$1" "$vm" serial)
    before=$(stat -c %s "$file")
    await 60 eval "(( \$(stat -c %s '$file') > $before + 100 ))"
}
qemu_pid_on() { "$lab" exec "$1" cat "/run/libvirt/qemu/$vm.pid"; }
signal_qemu_on() { "$lab" exec "$1" kill "-$2" "$(qemu_pid_on "$1")"; }

guest_off() {
    local host
    for host in a b; do
        "$domain" undefine "$host" "$vm" >/dev/null 2>&1
    done
}

# guest_on_a [OPTION]...: a fresh one, defined on a only.
guest_on_a() {
    guest_off
    "$domain" define a "$vm" bare --build "$build" "$@" >/dev/null && "$domain" start a "$vm" >/dev/null &&
        beats_on a
}
# fresh_guest [OPTION]...: the same for several tests, none of which goes without a word where there is none.
fresh_guest() { guest_on_a "$@" || check "there is a guest on a to begin with" there_is_none; }
there_is_none() { echo "a: $(state_on a), b: $(state_on b)"; return 1; }
# check_on_a GUEST NAME CMD...: a test with a fresh guest on a (GUEST names its options), whatever became of the one before.
check_on_a() {
    local -n guest_options=$1
    check "$2" with_guest_on_a "${@:3}" || true
}
with_guest_on_a() {
    local result=0
    godwit_pid=''
    fast_link
    guest_on_a "${guest_options[@]}" || { echo "there is no guest on a to begin with"; return 1; }
    "$@" || result=1
    # Nothing of it goes on beside the next one.
    if [[ -n $godwit_pid ]] && kill -INT "$godwit_pid" 2>/dev/null; then
        await 60 eval '! kill -0 $godwit_pid 2>/dev/null' || kill_godwit
    fi
    fast_link
    return "$result"
}
# Slow enough for what is to happen in precopy at 1 MB/s, and for it to end after that.
readonly busy=(--working-set 12M --dirty-rate 256K) calm=(--working-set 2M --dirty-rate 64K)
# Enough for a libvirtd to die and to come back; there are many of these.
readonly brief=(--working-set 6M --dirty-rate 256K)
# Sixteen times as fast as an endless precopy sends: it is not over while a busy machine lets the guest stand, either.
# shellcheck disable=SC2034 # by its name, in check_on_a
readonly restless=(--working-set 6M --dirty-rate 2M)

migrate() { "$lab" exec a "$godwit" migrate "$vm" "$uri_b" "$@"; }
migrate_back() { "$lab" exec b "$godwit" migrate "$vm" qemu+ssh://root@a/system "$@"; }

# ends CODE PATTERN: godwit ends so, and says so, in JSON as it is documented.
ends() {
    local status=0
    await 300 eval '! kill -0 "$godwit_pid" 2>/dev/null' || { echo "godwit does not end"; kill_godwit; return 1; }
    wait "$godwit_pid" || status=$?
    godwit_pid=''
    if ((status != $1)) || ! cat "$scratch/err" "$scratch/result" | grep -qE -- "$2"; then
        printf 'exit code %d (wanted %d), wanted "%s" in: %s\n' "$status" "$1" "$2" \
            "$(cat "$scratch/err" "$scratch/result")"
        return 1
    fi
    documented "$scratch/result" "godwit migrate --json"
}

stays_on_a() { runs_on a && beats_on a && no_trace_on b; }
moved_to_b() { runs_on b && beats_on b && [[ $(qemu_on a) != running ]]; }
# Whatever godwit said: not twice.
runs_once() {
    [[ $(qemu_on a) != running || $(qemu_on b) != running ]] || {
        echo "it runs on both"
        return 1
    }
}

# ---- the ways ----

definition_moved() {
    virsh_on b dumpxml --inactive "$vm" >"$scratch/b.xml" && no_trace_on a &&
        ! grep -q incoming "$scratch/b.xml"
}

# On a transient domain, too: libvirt copies its inactive XML.
nothing_left_on() {
    virsh_on "$1" dumpxml --inactive "$vm" >"$scratch/left.xml" && ! grep -nE 'incoming|godwit:' "$scratch/left.xml" &&
        [[ -z $(virsh_on "$1" metadata "$vm" urn:godwit:migration:1 2>/dev/null) ]] # newer virsh succeed without one
}

migration_on() { virsh_on a qemu-monitor-command "$vm" "{\"execute\":\"query-migrate-$1\"}" | jq -S .return; }
is_set() {
    migration_on capabilities | jq -e 'any(.[]; .capability == "auto-converge" and .state) and
        any(.[]; .capability == "validate-uuid" and .state)' &&
        migration_on parameters |
        jq -e '."cpu-throttle-initial" == 30 and ."max-postcopy-bandwidth" == 50 * 1048576'
}

# set_and_put_back ROUTE: what was set by name is in force, and that the stream is for this guest alone; and after Ctrl-C it is as it was.
set_and_put_back() {
    local set=yes
    migration_on parameters >"$scratch/parameters" && migration_on capabilities >"$scratch/capabilities" &&
        in_phase precopy --route "$1" --max-bandwidth 1M --set auto-converge=on --set cpu-throttle-initial=30 \
            --set max-postcopy-bandwidth=50M || return
    await 60 is_set || set=no
    kill -INT "$godwit_pid"
    ends 3 cancelled && [[ $set == yes ]] && stays_on_a &&
        diff <(migration_on parameters) "$scratch/parameters" &&
        diff <(migration_on capabilities) "$scratch/capabilities" &&
        jq -e '.settings."auto-converge" == "on"' "$scratch/result"
}

sent_by_a() { "$lab" exec a cat /sys/class/net/eth0/statistics/tx_bytes; }

# counts_sent ROUTE: what it says it has sent went over the link: no less of it, and but little more (TCP's and
# Ethernet's headers, libvirt's and our own words).
counts_sent() {
    local before after sent
    before=$(sent_by_a)
    migrate --route "$1" --downtime-limit 50ms --json >"$scratch/sent.json" || return
    after=$(sent_by_a)
    documented "$scratch/sent.json" "godwit migrate --json" || return
    sent=$(jq .ram.transferred_bytes "$scratch/sent.json")
    echo "$sent of $((after - before)) bytes"
    ((sent > 1000000 && sent <= after - before && after - before < sent + sent / 10 + 1000000))
}

# reported_to_diverge ROUTE: while it goes on, and at its end.
reported_to_diverge() {
    in_phase precopy --route "$1" --max-bandwidth 4M --downtime-limit 20ms || return
    await 60 grep -q 'warning: the migration does not converge: the guest dirties' "$scratch/err"
    kill -INT "$godwit_pid"
    ends 3 'cancelled; it did not converge: .*' && stays_on_a && jq -e .diverges "$scratch/result"
}

# Before its precopy the direct route waits at most 12 times for the destination's libvirt: five times for libvirt's own
# opening, and then for what it asks, defines, makes and sets. Counted are calls that wait for each other; on a
# machine that stands still for a whole round trip those may, too, that need not, but not each time.
few_round_trips() {
    local n least=99
    "$lab" link b --delay 20ms --build "$build" || return
    for _ in 1 2 3; do
        rm -f "$scratch/client.log"
        "$lab" exec a env LIBVIRT_LOG_OUTPUTS="1:file:$scratch/client.log" LIBVIRT_LOG_FILTERS='1:rpc 1:libvirt' \
            "$godwit" migrate "$vm" "$uri_b" --route direct && "$root/bench/rounds" "$scratch/client.log" >"$scratch/rounds" || break
        n=$(tail -n 1 "$scratch/rounds" | cut -d' ' -f1)
        ((n >= least)) || least=$n
        ((least > 12)) || break
        migrate_back || break
    done
    "$lab" link b --delay none
    cat "$scratch/rounds"
    ((least <= 12))
}

group_ways() {
    local route
    fresh_guest --working-set 4M --dirty-rate 100M || return
    for route in direct native; do
        check "$route: that it does not converge is reported" reported_to_diverge "$route" || true
    done
    for route in direct native; do
        fresh_guest "${busy[@]}" || return
        check "$route: --set is in force, and put back" set_and_put_back "$route" || true
        check "$route: exit 0, and what it says it has sent went over the link" counts_sent "$route" || true
        check "$route: it runs there" moved_to_b || true
        check "$route: nothing of the migration is left in what is copied from there" nothing_left_on b || true
        check "$route: and back, its definition with it" \
            migrate_back --route "$route" --persistent --undefine-source || true
        check "$route: it is defined where it runs, and nowhere else" eval 'runs_on a && no_trace_on b' || true
        check "$route: --persistent leaves no leftover in the definition" \
            eval "! virsh_on a dumpxml --inactive $vm | grep -q incoming" || true
        virsh_on a suspend "$vm"
        check "$route: a paused domain arrives paused" \
            eval "migrate --route $route && [[ \$(state_on b) == paused ]]" || true
        check "$route: and goes on there" eval "virsh_on b resume $vm && runs_on b" || true
        check "$route: --pause, back: it is stopped on the way, and runs there" \
            eval "migrate_back --route $route --pause --max-bandwidth 20M && runs_on a && beats_on a" || true
    done
    fresh_guest "${busy[@]}" || return
    check "direct: 12 round trips before precopy" few_round_trips || true
    fresh_guest --wide "${calm[@]}" || return
    check "direct: of a domain with a network card, too" few_round_trips || true
    fresh_guest "${busy[@]}" || return
    check "auto takes the direct route, and says why" says 'route +direct: ' migrate || true
    guest_off
    fresh_guest "${busy[@]}" || return
    check "--route native refuses to set what libvirt sets" refused 2 \
        'the native route cannot set postcopy-preempt: libvirt does' \
        migrate --route native --postcopy --set postcopy-preempt=on || true
    check "... and auto says so" says 'direct: .*the native route cannot set postcopy-preempt' \
        migrate --postcopy --set postcopy-preempt=on || true
    guest_off
    fresh_guest "${busy[@]}" || return
    check "--dname" eval "migrate --dname other && virsh_on b domstate other" || true
    virsh_on b destroy other
    "$domain" start a "$vm" >/dev/null && beats_on a
    check "--multifd 2, direct" migrate --multifd 2 --route direct || true
    check "--multifd 2, native, back" migrate_back --multifd 2 --route native || true
    check "--postcopy, direct" migrate --postcopy --route direct || true
    check "--postcopy, native, back" migrate_back --postcopy --route native || true
    check "it has survived all that" eval 'runs_on a && beats_on a' || true
    virsh_on a dumpxml --inactive "$vm" | sed 's|</devices>|<channel type="pty"><target type="virtio" name="x"/></channel></devices>|' \
        >"$scratch/odd.xml"
    virsh_on a destroy "$vm"
    virsh_on a define "$scratch/odd.xml" >/dev/null && virsh_on a start "$vm" && beats_on a
    check "what was not proven takes the native route" says 'native: its channel of type pty is not among' migrate || true
    virsh_on b destroy "$vm"
    virsh_on a start "$vm" && beats_on a
    check "... which cannot set everything" refused 2 'the native route cannot set announce-rounds' \
        migrate --set announce-rounds=7 || true
    check "... and --route direct refuses it" refused 2 'direct route is not for' migrate --route direct || true
}

# ---- bad input ----

group_input() {
    local option
    fresh_guest "${busy[@]}" || return
    check "no such domain" refused 2 "no domain 'nobody'" \
        "$lab" exec a "$godwit" migrate nobody "$uri_b" || true
    check "no such libvirt" refused 2 "/nowhere" \
        "$lab" exec a "$godwit" migrate "$vm" 'qemu+unix:///system?socket=/nowhere' || true
    check "not a libvirt of QEMU" refused 2 'not a URI of' "$lab" exec a "$godwit" migrate "$vm" xen:///system || true
    check "the destination is this host" refused 2 'the same host' \
        "$lab" exec a "$godwit" migrate "$vm" qemu+ssh://root@a/system || true
    for option in '--via tcp:b:4444' --quit-source --undefine-source '--migrateuri b:1' '--migrateuri tcp://b:x' \
        --route=teleport; do
        # shellcheck disable=SC2086 # words
        check "exit 2 for $option" exits_with 2 migrate $option || true
    done
    check "domain options are not for bare QEMUs" refused 2 'is a bare QEMU' \
        "$godwit" migrate qmp+unix:/a qmp+unix:/b --via tcp:b:1 --persistent || true
    sed "s|<uuid>.*|<uuid>$(</proc/sys/kernel/random/uuid)</uuid>|" <(virsh_on a dumpxml --inactive "$vm") \
        >"$scratch/same-name.xml"
    virsh_on b define "$scratch/same-name.xml" >/dev/null
    check "the name is taken" refused 2 'name .* is taken' migrate || true
    virsh_on b undefine "$vm"
    sed "s|<name>.*|<name>somebody</name>|" <(virsh_on a dumpxml --inactive "$vm") >"$scratch/same-uuid.xml"
    virsh_on b define "$scratch/same-uuid.xml" >/dev/null
    check "the UUID is taken" refused 2 'UUID .* is taken' migrate || true
    virsh_on b undefine somebody
    check "nothing was touched by these" stays_on_a || true
    check "another migration is under way" already_migrating || true
    virsh_on a destroy "$vm"
    check "a domain that is shut off" refused 2 'not running' migrate || true
    "$domain" start a "$vm" >/dev/null && beats_on a && addresses
}

# b_is ADDRESS|- : what the name b is on host a; -: nothing.
b_is() {
    "$lab" exec a sh -c "grep -v ' b\$' /etc/hosts >/etc/hosts.new; [ '$1' = - ] || echo '$1 b' >>/etc/hosts.new
        cat /etc/hosts.new >/etc/hosts; rm /etc/hosts.new"
}
by_address() { "$lab" exec a "$godwit" migrate "$vm" qemu+ssh://root@10.77.0.2/system "$@"; }

# The destination is given by its address; what its own name is on the source is another matter.
addresses() {
    local route
    b_is 127.0.1.1
    for route in direct native; do
        check "$route: a name that is the source itself is refused" refused 2 \
            'on a the name b is 127.0.1.1, which is a itself' by_address --route "$route" || true
    done
    check "... and nothing was touched" stays_on_a || true
    b_is -
    check "direct: a name that the source does not know: by the URI's address" by_address --route direct || true
    "$domain" undefine b "$vm"
    "$domain" start a "$vm" >/dev/null && beats_on a
    check "native: the same" by_address --route native || true
    b_is 10.77.0.2
    check "... and it runs there" moved_to_b || true
}

already_migrating() {
    local result
    in_phase precopy --max-bandwidth 1M || return
    refused 2 'already (under way|active)|in another job|already' migrate
    result=$?
    kill -INT "$godwit_pid"
    ends 3 cancelled && stays_on_a && return "$result"
}

# ---- what works on a domain that came by the direct route ----

after_is() { [[ $("$1" "$2") == "$3" ]] || { echo "$("$1" "$2"), not $3"; return 1; }; }

# It has left the network when it is reset; then it comes again.
boots_again() {
    virsh_on a reset "$vm" && await 30 eval '! "$lab" exec nfs ping -c 1 -W 1 -q "$address" >/dev/null' && answers
}

is_off_on_a() { [[ $(state_on a) == 'shut off' ]]; }

# A guest that is still booting may miss the button: it is pressed again.
shuts_down() {
    local try
    for try in 1 2 3 4 5 6; do
        virsh_on a shutdown "$vm" && await 10 is_off_on_a && return
    done
    return 1
}

group_after() {
    local address=10.77.0.130 host
    guest_off
    for host in a b; do
        "$domain" define "$host" "$vm" linux --build "$build" --wide --address "$address/24" >/dev/null || return
    done
    "$domain" start a "$vm" >/dev/null
    answers() { await 120 "$lab" exec nfs ping -c 1 -W 1 -q "$address"; }
    check "a domain with the usual devices boots" answers || true
    check "... and goes by the direct route, observed by ping" \
        says '[0-9] of [0-9]{3,} echo requests lost' migrate --route direct --observe "ping:$address" || true
    check "its network came along" answers || true
    check "libvirtd restarts on the destination" \
        eval "'$lab' kill b libvirtd && '$lab' start b && runs_on b && [[ \$(state_on b) == running ]]" || true
    check "save and restore" eval "virsh_on b save $vm $scratch/saved && virsh_on b restore $scratch/saved &&
        runs_on b && answers" || true
    check "snapshot of its memory" eval "virsh_on b snapshot-create-as $vm s1 \
        --memspec file=$scratch/memory,snapshot=external --diskspec vda,snapshot=no --diskspec sda,snapshot=no &&
        virsh_on b snapshot-delete $vm s1 --metadata && runs_on b" || true
    check "virsh migrates it back" virsh_on b migrate --live "$vm" qemu+ssh://root@a/system || true
    check "... and it answers" eval 'runs_on a && answers' || true
    check "godwit again" migrate --route direct || true
    virsh_on a undefine "$vm"
    check "virsh migrate --persistent takes it back" virsh_on b migrate --live --persistent "$vm" qemu+ssh://root@a/system || true
    check "... and nothing of the direct route into its definition" nothing_left_on a || true
    check "godwit there, by the native route" migrate --route native || true
    check "... which takes the arguments out of its running XML" \
        eval "! virsh_on b dumpxml $vm | grep -nE 'incoming|godwit:'" || true
    check "godwit back" migrate_back --route direct || true
    check "it answers" eval 'runs_on a && answers' || true
    check "libvirtd restarts on the source" \
        eval "'$lab' kill a libvirtd && '$lab' start a && runs_on a && [[ \$(state_on a) == running ]]" || true
    check "suspend and resume" eval "virsh_on a suspend $vm && virsh_on a resume $vm && runs_on a" || true
    check "reset" eval "boots_again" || true
    check "shutdown" shuts_down || true
    check "start" eval "virsh_on a start $vm && runs_on a" || true
    check "its definition has no leftover" eval "! virsh_on a dumpxml --inactive $vm | grep -q incoming" || true
    guest_off
}

# ---- what is copied from the running XML of a domain that came by the direct route ----

# guest_on_b [OPTION]...: it has a qcow2 disk, for snapshots, and came by the direct route.
guest_on_b() {
    guest_off
    for host in a b; do virsh_on "$host" undefine "$vm" --snapshots-metadata --managed-save >/dev/null 2>&1; done
    qemu-img create -q -f qcow2 "$scratch/disk.qcow2" 16M && "$domain" define a "$vm" bare --build "$build" "${calm[@]}" >/dev/null &&
        virsh_on a dumpxml "$vm" --inactive | sed "s|</devices>|<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='$scratch/disk.qcow2'/><target dev='vda' bus='virtio'/></disk></devices>|" \
            >"$scratch/disk.xml" && virsh_on a define "$scratch/disk.xml" >/dev/null && virsh_on a start "$vm" && beats_on a &&
        migrate --route direct --unsafe "$@" && runs_on b
}
check_on_b() { "$lab" exec b "$godwit" check "$@" 2>&1; }
# cleans PATTERN ARGUMENT...: check tells of it with a fix, --fix takes it out, and then there is none.
cleans() {
    check_on_b "${@:2}" | grep -E "^warn +leftover.*: $1 has '-incoming defer'" &&
        check_on_b --fix "${@:2}" | grep -E "^ok +leftover.*taken out of $1" &&
        ! check_on_b "${@:2}" | grep -E "leftover.*: $1 has '-incoming"
}
is_off_on_b() { await 30 eval '[[ $(state_on b) != running ]]' || { echo "b: $(state_on b), $(qemu_on b)"; return 1; }; }

# One that is reverted to as it is ends the guest; so check is asked first.
copies_snapshot() {
    guest_on_b --persistent --undefine-source && virsh_on b snapshot-create-as "$vm" old && virsh_on b snapshot-create-as "$vm" new \
        --memspec "file=$scratch/memory,snapshot=external" --diskspec vda,snapshot=no || return
    ! virsh_on b snapshot-revert "$vm" old && is_off_on_b || return
    cleans "snapshot old of $vm" "$vm" && ! check_on_b "$vm" | grep 'snapshot new of.*has' &&
        [[ $(virsh_on b snapshot-current "$vm" --name) == new && $(virsh_on b snapshot-parent "$vm" new) == old ]] &&
        virsh_on b snapshot-revert "$vm" old && runs_on b && beats_on b &&
        ! virsh_on b dumpxml "$vm" | grep incoming && ! virsh_on b save-image-dumpxml "$scratch/memory" | grep incoming
}
# It is restored all the same.
copies_managed_save() {
    guest_on_b --persistent --undefine-source && virsh_on b managedsave "$vm" && virsh_on b start "$vm" && runs_on b && beats_on b &&
        virsh_on b managedsave "$vm" && cleans "the managed save image of $vm" "$vm" && virsh_on b start "$vm" &&
        runs_on b && beats_on b && ! virsh_on b dumpxml "$vm" | grep incoming
}
copies_saved_image() {
    guest_on_b && virsh_on b save "$vm" "$scratch/saved" && virsh_on b restore "$scratch/saved" && runs_on b && beats_on b &&
        virsh_on b save "$vm" "$scratch/saved" && cleans "the saved image $scratch/saved" "$scratch/saved" &&
        virsh_on b restore "$scratch/saved" && runs_on b && beats_on b && ! virsh_on b dumpxml "$vm" | grep incoming
}
# libvirt forgets what its definition would be.
copies_of_transient() {
    guest_on_b && nothing_left_on b && "$lab" kill b libvirtd && "$lab" start b && runs_on b && beats_on b || return
    cleans "what virsh dumpxml --inactive says of $vm.*" "$vm" && nothing_left_on b && runs_on b &&
        virsh_on b dominfo "$vm" | grep -E 'Persistent: +no'
}
# The definition that is made by hand.
copies_by_hand() {
    guest_on_b && virsh_on b dumpxml "$vm" >"$scratch/live.xml" && virsh_on b define "$scratch/live.xml" >/dev/null || return
    virsh_on b destroy "$vm" && virsh_on b start "$vm" && [[ $(qemu_on b) == inmigrate ]] && virsh_on b destroy "$vm" || return
    cleans "the definition of $vm" "$vm" && virsh_on b start "$vm" && runs_on b && beats_on b
}

group_copies() {
    local of
    for of in snapshot managed_save saved_image of_transient by_hand; do
        check "what is copied from the running XML there, ${of//_/ }: check --fix cleans it" "copies_$of" || true
    done
    check "a saved image that is not there cannot be checked" exits_with 1 check_on_b "$scratch/no-image" || true
    check "... nor one by a name of here" exits_with 2 check_on_b ./no-image || true
    for host in a b; do virsh_on "$host" undefine "$vm" --snapshots-metadata --managed-save >/dev/null 2>&1; done
    guest_off
}

# ---- godwit itself is killed, and somebody goes on by hand ----

query_on() { virsh_on "$1" qemu-monitor-command "$vm" "{\"execute\":\"query-$2\"}" 2>/dev/null | jq -r .return.status; }

kill_godwit() {
    "$lab" exec "${godwit_host:-a}" sh -c 'kill -9 $(pidof godwit)'
    wait "$godwit_pid" 2>/dev/null
    godwit_pid=''
}

# killed_in_precopy BYTES: when so much has been sent; what the source then does by itself, and what comes of the command that is natural
# then: `virsh resume`. No other QEMU may get the guest whole, and the source is not to run it a second time.
killed_in_precopy() {
    local result=0
    in_phase precopy --route direct --max-bandwidth 400K && await 60 has_sent "$1" && is_under_way || return
    kill_godwit
    await 90 eval '[[ $(query_on a migrate) == pre-switchover ]]' || {
        echo "the source does not stand at its gate: $(query_on a migrate), $(query_on b migrate)"
        return 1
    }
    virsh_on a resume "$vm" && result=1
    sleep 0.5
    runs_once && [[ $(query_on b status) == inmigrate ]] || result=1
    refused 2 'unfinished, before its switchover.*has not run on the destination' migrate || result=1
    virsh_on b resume "$vm" # it is paused, too: nothing else that is typed there may start it
    migrate --json >"$scratch/result"
    "$lab" exec a sh -c "$(jq -r .error.hint "$scratch/result")" || result=1
    runs_on a && beats_on a && await 60 no_trace_on b || result=1
    return "$result"
}

guards_on_a() { "$lab" exec "${godwit_host:-a}" pgrep -c -x migration-guard; }
no_guard_left() { await 10 eval '(( $(guards_on_a) == 0 ))' || { echo "guards: $(guards_on_a)"; return 1; }; }
# begin_stopped: all has been sent, and the destination's QEMU, which is stopped, has not loaded it.
begin_stopped() {
    begin_confirming direct && await 40 eval '[[ $(qemu_on a) == postmigrate ]]' || {
        echo "the source has not sent all: $(qemu_on a)"
        return 1
    }
}
ended_on_a() { await 30 is_off_on_a || { echo "a: $(state_on a), $(qemu_on a)"; return 1; }; }

# The guest has arrived, godwit stands before it ends the source, and is killed.
killed_before_the_end() {
    begin_stopped && "$lab" exec a sh -c 'kill -STOP $(pidof godwit)' && signal_qemu_on b CONT && await 20 runs_on b &&
        [[ $(qemu_on a) == postmigrate ]] || return
    kill_godwit
    ended_on_a && runs_on b && beats_on b && no_guard_left && [[ $(guards_on_a) == 0 ]] &&
        grep -q 'what was left of it on the source has been ended' "$scratch/err" && nothing_left_on b
}

is_held_on_a() { grep -q 'source cannot be resumed until' "$scratch/err"; }

# Nobody knows yet whether the destination has it: nothing is ended before that has said so, and nobody resumes the
# source meanwhile.
killed_while_it_loads() {
    local result=0 resume
    begin_stopped || return
    kill_godwit
    await 20 is_held_on_a || { echo "the source is not held"; return 1; }
    LIBVIRT_LOG_FILTERS=1:libvirt.domain LIBVIRT_LOG_OUTPUTS=1:stderr virsh_on a resume "$vm" 2>"$scratch/resume" &
    resume=$!
    await 20 grep -q virDomainResume: "$scratch/resume" || { echo "nobody resumes it"; result=1; }
    silent_on_a || result=1
    signal_qemu_on b CONT
    await 20 runs_on b && ended_on_a && runs_once && beats_on b && no_guard_left || result=1
    ! wait "$resume" && ! "$lab" exec a sh -c 'ls -d /tmp/godwit-hold-*' || result=1
    return "$result"
}

# The same from a third host, whose shell on the source holds it.
killed_while_it_loads_from_afar() {
    local godwit_host=nfs
    killed_while_it_loads
}

# ... and the source's libvirtd restarts meanwhile, which ends what holds it: it is held again. libvirt 9.0 crashes
# when such a dump ends that it has not begun itself, and is started by its service manager.
held_twice() {
    "$lab" start a 2>/dev/null
    (($(grep -c 'source cannot be resumed until' "$scratch/err") > 1))
}
killed_while_it_loads_and_libvirtd_restarts() {
    begin_stopped || return
    kill_godwit
    await 20 is_held_on_a && await 20 strike libvirtd-a && await 60 held_twice || {
        echo "it is not held again"
        return 1
    }
    ! timeout 5 "$lab" exec a virsh -q resume "$vm" && signal_qemu_on b CONT && await 20 runs_on b && ended_on_a && runs_once &&
        beats_on b && no_guard_left
}

# The destination dies with it: the source is the guest, and nothing keeps it from going on.
killed_and_lost() {
    begin_stopped || return
    kill_godwit
    await 20 is_held_on_a && signal_qemu_on b KILL && no_guard_left &&
        virsh_on a resume "$vm" && stays_on_a
}

# With the guard killed, too, all that godwit would do after the switchover is undone.
killed_with_its_guard() {
    local result=0
    begin_stopped || return
    "$lab" exec a sh -c 'kill -9 $(pgrep -x migration-guard) $(pidof godwit)'
    wait "$godwit_pid" 2>/dev/null
    signal_qemu_on b CONT
    await 60 runs_on b || result=1
    refused 2 'has moved and runs on the destination; never resume' migrate || result=1
    virsh_on a list --title | grep -q 'do not resume it here' || result=1
    return "$result"
}

# Made by hand: what an unlucky end leaves.
left_waiting() {
    local id='<metadata><g:migration xmlns:g="urn:godwit:migration:1" id="x"/></metadata>'
    virsh_on a dumpxml "$vm" --migratable | sed "s|<domain |<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' |
        s|</devices>|</devices>$id<qemu:commandline><qemu:arg value='-incoming'/><qemu:arg value='defer'/></qemu:commandline>|" \
        >"$scratch/waits.xml"
    virsh_on b create --paused "$scratch/waits.xml" >/dev/null &&
        refused 2 'waits for it; the guest is here, and has not run there' migrate || return
    virsh_on b destroy "$vm" && migrate && moved_to_b && migrate_back && runs_on a
}

leftover_fixed() {
    sed 's|<metadata>.*</metadata>||' "$scratch/waits.xml" >"$scratch/leftover.xml"
    virsh_on a define "$scratch/leftover.xml" >/dev/null &&
        says 'warn .*left by a direct migration' "$lab" exec a "$godwit" check "$vm" &&
        virsh_on a dumpxml --inactive "$vm" | grep -q incoming &&
        says 'ok .*was taken out of the definition' "$lab" exec a "$godwit" check --fix "$vm" &&
        ! virsh_on a dumpxml --inactive "$vm" | grep -q incoming &&
        virsh_on a destroy "$vm" && virsh_on a start "$vm" && beats_on a
}

# As an older godwit has left it, which did not say who it was: what is to be typed gives the title back.
mark_by_hand() {
    virsh_on a metadata "$vm" urn:godwit:migration:1 --live --key godwit --set '<migration id="1" title="it is mine"/>' >/dev/null &&
        virsh_on a desc "$vm" --live --title --new-desc 'moving to b by godwit, do not resume it here | it is mine' >/dev/null &&
        "$lab" exec a "$godwit" check --json "$vm" >"$scratch/check" &&
        "$lab" exec a sh -c "$(jq -r '.findings[] | select(.check == "mark of a migration") | .fix' "$scratch/check")" &&
        [[ $(virsh_on a desc "$vm" --title) == 'it is mine' ]] && nothing_left_on a
}

group_killed() {
    local bytes at
    fresh_guest "${calm[@]}" || return
    for bytes in 0 600000 1300000; do
        check "godwit is killed in precopy, after $bytes bytes, and the source is resumed: it runs once" \
            killed_in_precopy "$bytes" || true
    done
    check "godwit has ended its guard itself" no_guard_left || true
    for at in before_the_end while_it_loads while_it_loads_from_afar while_it_loads_and_libvirtd_restarts and_lost \
        with_its_guard; do
        fresh_guest "${calm[@]}" || return
        check "godwit is killed after the switchover, ${at//_/ }: it runs once" "killed_$at" || true
    done
    fresh_guest "${calm[@]}" || return
    check "after a migration that goes well no guard is left" eval 'migrate --route direct && (( $(guards_on_a) == 0 ))' || true
    guest_off
    fresh_guest "${calm[@]}" || return
    check "a QEMU that waits on the destination for nothing is not said to run" left_waiting || true
    check "a leftover in a definition is reported, and taken away by check --fix" leftover_fixed || true
    check "a mark without an owner goes by hand, and the title is as it was" mark_by_hand || true
    guest_off
}

# ---- only what this migration has made is touched ----

# Every connection that somebody has to b by ssh ends, as when a firewall forgets them. Since OpenSSH 9.8 each is
# a program of its own.
hang_up_ssh() { "$lab" exec b sh -c 'kill $(pgrep -f "^sshd(-session)?: root@")'; }

# It is in the list of libvirt, which answers nobody about it while the hook holds it, from before that until it has
# ended: by autodestroy, or by a godwit that has come back.
owned_lost_in_making() {
    local result=0
    begin_making --route direct || return
    is_under_way && hang_up_ssh || result=1
    release_making_on_b
    ((result)) || { ends 1 'on the source' && runs_on a && beats_on a && await 60 no_trace_on b; } || result=1
    return "$result"
}

# The source is marked, and QEMU knows of no migration yet: the mark looks like one that is left over.
owned_mark() {
    local result=0
    begin_making --route direct || return
    refused 2 'is already under way: godwit, process [0-9]+ on this host .*is working on it' \
        "$lab" exec a "$godwit" check --fix "$vm" || result=1
    { virsh_on a metadata "$vm" urn:godwit:migration:1 >/dev/null && is_under_way; } || result=1
    release_making_on_b
    ends 0 destination && moved_to_b || result=1
    return "$result"
}

# Somebody starts a domain of that UUID there at the same time.
owned_stranger() {
    virsh_on a dumpxml "$vm" --migratable | sed 's|\.serial|.stranger|' >"$scratch/stranger.xml"
    begin_making --route native && is_under_way && {
        # libvirt holds no lock on the name meanwhile: it makes this one first
        "$lab" exec b rm -f /run/hold
        virsh_on b create "$scratch/stranger.xml" >/dev/null
    } || return
    release_making_on_b
    ends 1 'on the source' && runs_on a && beats_on a && runs_on b || return
    virsh_on b destroy "$vm"
}

# b's libvirt cannot save a definition under that name; a directory is in its way.
block_definition_on_b() { "$lab" exec b mkdir -p "/etc/libvirt/qemu/$vm.xml"; }
unblock_definition_on_b() { "$lab" exec b rmdir "/etc/libvirt/qemu/$vm.xml" 2>/dev/null; }

# The guest arrives, its definition does not, and godwit says so; then by hand as it says.
not_defined() {
    local command
    in_phase precopy --route direct --max-bandwidth 2M --persistent --undefine-source && block_definition_on_b
    ends 4 'runs on the destination, and is not defined there' && moved_to_b || return
    jq -e '.result == "incomplete" and .guest == "destination"' "$scratch/result" || return
    unblock_definition_on_b
    command=$(jq -r .error.hint "$scratch/result")
    "$lab" exec a sh -c "$command" && nothing_left_on b && virsh_on b dominfo "$vm" | grep -qE 'Persistent: +yes'
}

# Before anything has moved it is a reason not to begin; where no definition was asked for, it is none.
not_definable() {
    block_definition_on_b
    begin --route direct --persistent
    ends 1 'cannot define the domain' && stays_on_a && migrate --route direct && moved_to_b
    local result=$?
    unblock_definition_on_b
    return "$result"
}

group_owned() {
    held_making_on_b "prepare migrate"
    check_on_a calm "direct: the connection breaks while libvirt makes the domain: nothing is left" owned_lost_in_making
    check_on_a calm "direct: check --fix leaves the mark of a godwit that lives" owned_mark
    check_on_a calm "native: a stranger of the same UUID is neither suspended nor ended" owned_stranger
    usual_making_on_b
    check_on_a calm "direct: a definition that cannot be saved there is exit 4, with what does it by hand" not_defined
    unblock_definition_on_b
    check_on_a calm "direct: one that cannot be saved before is reported before anything has moved" not_definable
    guest_off
}

# ---- faults ----

readonly long_pause=(--downtime-limit 60s)

fault_destroyed() {
    in_endless_precopy "$1" && virsh_on a destroy "$vm" && ends "$2" "$3" && [[ $(qemu_on b) != running ]]
}

# QEMU brings the guest there as it is; libvirt as it was when its migration began: running.
fault_suspended() {
    in_endless_precopy "$1" && virsh_on a suspend "$vm" && hurry && ends 0 destination || return
    if [[ $1 == direct ]]; then
        after_is state_on b paused && virsh_on b resume "$vm" || return
    fi
    moved_to_b
}

# b's libvirtd comes back while the QEMU there answers nobody: the domain is listed, and not yet ended, when godwit
# asks whose it is, which it does after Ctrl-C.
fault_recovers_slowly() {
    local result=0
    in_endless_precopy native -v || return
    "$lab" kill b libvirtd && signal_qemu_on b STOP && "$lab" start b 2>/dev/null || return
    kill -INT "$godwit_pid"
    await 60 grep -q 'waiting for the restarted libvirtd' "$scratch/err" || { echo "godwit did not wait"; result=1; }
    signal_qemu_on b CONT
    ends 3 cancelled && stays_on_a && return "$result"
}

# fault_libvirtd_restarts HOST ROUTE: the direct route goes on without it; the native one is libvirt's.
fault_libvirtd_restarts() {
    in_endless_precopy "$2" && strike "libvirtd-$1" || return
    if [[ $2 == direct ]]; then
        hurry && ends 0 destination && moved_to_b
    else
        ends 1 source && runs_once && runs_on a && beats_on a
    fi
}

# fault_libvirtd_crashes HOST ROUTE: the same, where systemd, or the lab, starts it again at once.
fault_libvirtd_crashes() {
    in_endless_precopy "$2" && "$lab" kill "$1" libvirtd --signal SEGV && "$lab" start "$1" 2>/dev/null || return
    if [[ $2 == direct ]]; then
        hurry && ends 0 destination && moved_to_b
    else
        ends 1 source && runs_on a && beats_on a && no_trace_on b
    fi
}

# What libvirtd 9.0 makes of a guest that is destroyed while it migrates it, now and then: neither lives on.
fault_crashes_with_guest() {
    in_endless_precopy native && signal_qemu_on a KILL && "$lab" kill a libvirtd --signal SEGV &&
        ends 4 'runs nowhere' && [[ $(qemu_on a) != running && $(qemu_on b) != running ]]
}

fault_qemu_dies() { in_endless_precopy "$1" && signal_qemu_on b KILL && ends 1 'on the source' && stays_on_a; }

fault_preparing() {
    local result=0
    held_making_on_b started
    begin_preparing --route direct && strike "$1" || result=1
    release_making_on_b
    ((result)) || { ends 1 'on the source' && stays_on_a; } || result=1
    usual_making_on_b
    return "$result"
}

fault_dies_confirming() {
    begin_confirming direct && strike qemu-b && ends 1 'on the source' && stays_on_a
}

fault_libvirtd_confirming() {
    begin_confirming direct && "$lab" kill b libvirtd || return
    signal_qemu_on b CONT
    "$lab" start b 2>/dev/null
    ends 0 destination && moved_to_b
}

fault_interrupted() { in_endless_precopy "$1" && kill -INT "$godwit_pid" && ends 3 cancelled && stays_on_a; }

# On a terminal all that godwit has started gets it, too.
fault_typed() {
    rm -f -- "$scratch"/{progress,result,err,keys}
    mkfifo "$scratch/keys"
    script -qec "'$lab' exec a '$godwit' migrate $vm $uri_b --route $1 --max-bandwidth 128K -v --json --progress=3 \
        3>'$scratch/progress' >'$scratch/result' 2>'$scratch/err'" /dev/null <"$scratch/keys" >/dev/null &
    godwit_pid=$!
    exec 7>"$scratch/keys"
    await 90 grep -qs '"precopy"' "$scratch/progress" && await 60 has_sent 0 && printf '\003' >&7 &&
        ends 3 cancelled && stays_on_a &&
        ! grep 'connection to libvirt was lost' "$scratch/err"
    local result=$?
    exec 7>&-
    return "$result"
}

fault_timeout() { in_endless_precopy "$1" --timeout 4s && ends 1 timeout && stays_on_a; }

fault_pause_interfered() {
    in_pause --route direct "${long_pause[@]}" && signal_qemu_on b KILL && fast_link && ends 1 'on the source' && stays_on_a
}

group_faults() {
    local route
    for route in direct native; do
        check_on_a restless "$route: Ctrl-C in precopy" fault_interrupted "$route"
        check_on_a restless "$route: Ctrl-C on a terminal" fault_typed "$route"
        check_on_a restless "$route: --timeout" fault_timeout "$route"
        check_on_a restless "$route: the destination's QEMU dies in precopy" fault_qemu_dies "$route"
        check_on_a restless "$route: libvirtd of the source dies in precopy, and comes back" fault_libvirtd_restarts a "$route"
        check_on_a restless "$route: libvirtd of the destination dies in precopy, and comes back" \
            fault_libvirtd_restarts b "$route"
        check_on_a restless "$route: libvirtd of the source crashes in precopy" fault_libvirtd_crashes a "$route"
        check_on_a restless "$route: libvirtd of the destination crashes in precopy" fault_libvirtd_crashes b "$route"
        [[ $route != native ]] ||
            check_on_a restless "native: a libvirtd that takes its time to end what was coming in is waited for" \
                fault_recovers_slowly
        check_on_a restless "$route: virsh suspends it in precopy" fault_suspended "$route"
        check_on_a restless "$route: virsh destroys it in precopy" fault_destroyed "$route" 4 'runs nowhere'
    done
    check_on_a restless "native: the guest dies in precopy, and libvirtd of the source crashes" fault_crashes_with_guest
}

group_phases() {
    check_on_a busy "direct: the destination's QEMU dies in preparing" fault_preparing qemu-b
    check_on_a busy "direct: libvirtd of the source restarts in preparing" fault_preparing libvirtd-a
    check_on_a busy "direct: the destination's QEMU dies in the switchover" fault_pause_interfered
    check_on_a calm "direct: the destination's QEMU dies in confirming" fault_dies_confirming
    check_on_a calm "direct: libvirtd of the destination restarts in confirming" fault_libvirtd_confirming
}

# ---- those that take a deadline ----

cut() { "$lab" exec b ip link set eth0 down; }
uncut() { "$lab" exec b ip link set eth0 up; }

slow_cut_precopy() {
    in_phase precopy --route direct --max-bandwidth 1M && cut && ends 1 'nothing has been sent' && runs_on a &&
        beats_on a && uncut && runs_once
}

slow_cut_pause() {
    in_pause --route direct "${long_pause[@]}" && cut
    fast_link
    ends 4 'virsh -c .* domstate' && runs_once && uncut
}

slow_cut_after() {
    begin_confirming direct
    cut
    signal_qemu_on b CONT
    ends 4 'virsh -c .* domstate' && runs_once && uncut
}

slow_cut_restored() {
    in_phase precopy --route direct --max-bandwidth 1M && cut && sleep 8 && uncut && ends 0 destination && moved_to_b
}

# Without the source's libvirtd the direct route cannot open the gate: the guest stands there, on the source alone,
# until somebody can reach its QEMU again.
slow_libvirtd() {
    in_phase precopy --route "$2" --max-bandwidth 1M && "$lab" kill "$1" libvirtd && ends 4 'virsh -c' &&
        runs_once && "$lab" start "$1" 2>/dev/null && runs_once || return
    [[ $1$2 == adirect ]] || return 0
    refused 2 'stands before its switchover' migrate &&
        virsh_on a qemu-monitor-command "$vm" '{"execute":"migrate_cancel"}' >/dev/null && await 60 runs_on a && beats_on a
}

# What b's libvirt says is lost from the pause on: it gets libvirt's last message, Finish, and lets the guest
# run, but its answer does not come, so that libvirt lets the guest go on at the source, too. Two run it, which is
# libvirt's doing; godwit must not call it one.
deaf_to_b() { "$lab" exec b iptables -A OUTPUT -p tcp --sport 22 -j DROP; }
hears_b() { "$lab" exec b iptables -D OUTPUT -p tcp --sport 22 -j DROP; }
slow_finish_lost() {
    local ended=0
    in_pause --route native "${long_pause[@]}" && deaf_to_b || return
    fast_link
    await 60 runs_on a || { echo "the source did not go on"; ended=1; }
    [[ ${1-} != heard ]] || hears_b
    ends 4 'the guest runs on the source, and the destination does not tell whether it runs the guest, too' || ended=1
    hears_b 2>/dev/null
    cat "$scratch/err"
    runs_on b || ended=1 # else nothing was tested
    return "$ended"
}

group_slow() {
    fresh_guest "${busy[@]}" || return
    check "native: libvirt's Finish is lost" slow_finish_lost || true
    fresh_guest "${busy[@]}" || return
    check "native: libvirt's Finish is lost, and b answers again" slow_finish_lost heard || true
    fresh_guest "${busy[@]}" || return
    check "direct: the link is cut in precopy, and restored" slow_cut_restored || true
    fresh_guest "${busy[@]}" || return
    check "direct: the link is cut in precopy" slow_cut_precopy || true
    uncut
    fresh_guest "${busy[@]}" || return
    check "direct: the link is cut in the switchover" slow_cut_pause || true
    uncut
    fresh_guest "${calm[@]}" || return
    check "direct: the link is cut after the switchover" slow_cut_after || true
    uncut
    for route in direct native; do
        for host in a b; do
            fresh_guest "${busy[@]}" || return
            check "$route: libvirtd of $host dies in precopy, for good" slow_libvirtd "$host" "$route" || true
            "$lab" start "$host" 2>/dev/null
        done
    done
}

# ---- each daemon, in each phase ----

# Each leaves a migration in that phase.
each_preparing() { begin_preparing --route "$1"; }
each_precopy() { in_phase precopy --route "$1" --max-bandwidth 1M; }
each_switchover() { in_pause --route "$1" "${long_pause[@]}"; }
each_confirming() { begin_confirming "$1"; }

# By its exit code, godwit has said where the guest is: that is where it must be.
each_is_as_said() {
    case $1 in
    0) moved_to_b ;;
    1) stays_on_a ;;
    4) runs_once && grep -q 'virsh -c' "$scratch/err" "$scratch/result" ;;
    *) return 1 ;;
    esac
}

# each_cell ROUTE PHASE WHAT
each_cell() {
    local status=0
    "each_$2" "$1" && strike "$3" || return
    fast_link
    [[ $2 != confirming || $3 == qemu-b ]] || signal_qemu_on b CONT
    wait "$godwit_pid" || status=$?
    printf '# | %s | %s | %s | %d | %s | %s | %s |\n' "$1" "$2" "$3" "$status" "$(qemu_on a)" "$(qemu_on b)" \
        "$(jq -r '.error.message // "done"' "$scratch/result" 2>/dev/null)" >"$scratch/row"
    each_is_as_said "$status" || {
        cat "$scratch/err" "$scratch/result"
        return 1
    }
}

group_each() {
    local route phase what guest
    printf '# | route | phase | killed | exit code | on a | on b | godwit says |\n'
    for route in direct native; do
        for phase in preparing precopy switchover confirming; do
            guest=("${brief[@]}")
            [[ $phase != switchover ]] || guest=("${busy[@]}")
            [[ $phase != confirming ]] || guest=("${calm[@]}")
            for what in libvirtd-a libvirtd-b qemu-b; do
                fresh_guest "${guest[@]}" || return
                : >"$scratch/row"
                check "$route: $what dies in $phase" each_cell "$route" "$phase" "$what" || true
                cat "$scratch/row"
            done
        done
    done
}

for group in "${groups[@]}"; do
    tap_group "group_$group"
done
tap_end
