# shellcheck shell=bash disable=SC2154 # variables of routes and of guests.bash
# SPDX-License-Identifier: Apache-2.0
#
# The alternating run. A run of a tool is: all guests stopped but its own, a look at the settings
# in force, godwit bench observe around the one command that migrates, a look at where the guest is.

readonly floor_port=4444
relay_pids=()

# who TOOL: whose guest it moves.
who() { [[ $1 == floor ]] && echo floor || echo domain; }

relay_socket() { printf '%s/%s/libvirt-%s.sock' "$state" "$1" "$2"; }

relays_begin() {
    local host rtt
    for rtt in "${rtts[@]}"; do
        for host in a b; do
            # Not by on(): killed would be the shell that runs it.
            "$lab" exec "$host" "$relay" --rtt "$rtt" "$(relay_socket "$host" "$rtt")" /run/libvirt/libvirt-sock &
            relay_pids+=($!)
        done
    done
    for rtt in "${rtts[@]}"; do
        for host in a b; do
            until [[ -S $(relay_socket "$host" "$rtt") ]]; do sleep 0.05; done
        done
    done
}

runs_end() {
    local pid
    for pid in "${relay_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    relay_pids=()
}

# uri HOST RTT: its libvirt, as the other host calls it.
uri() {
    if [[ -n $2 ]]; then
        printf 'qemu+unix:///system?socket=%s' "$(relay_socket "$1" "$2")"
    else
        printf 'qemu+ssh://root@%s/system' "$1"
    fi
}

# tool_command TOOL FROM TO RTT: into `command`, to be run on FROM.
tool_command() {
    case $1 in
    floor)
        command=("$godwit" migrate "qmp+unix:$(floor_qmp "$2")" "qmp+unix:$(floor_qmp "$3")"
            --via "tcp:$3:$floor_port" --downtime-limit "${downtime_limit}ms" --json)
        ;;
    direct | native)
        command=("$godwit" migrate -c qemu:///system "$name" "$(uri "$3" "$4")" --route "$1"
            --downtime-limit "${downtime_limit}ms" --json)
        ;;
    virsh | virsh-default) command=(virsh migrate --live "$name" "$(uri "$3" "$4")") ;;
    esac
}

# ask TOOL HOST COMMAND...: the answers of the QEMU whose guest it moves.
ask() { if [[ $1 == floor ]]; then qmp "${@:2}"; else monitor "${@:2}"; fi; }

readonly parameters_jq='{downtime_limit_ms: ."downtime-limit", max_bandwidth_bytes_per_s: ."max-bandwidth"}'

# parameters TOOL HOST: what QEMU has now.
parameters() { ask "$1" "$2" query-migrate-parameters | jq -c "$parameters_jq"; }

# watch TOOL HOST: asks again and again what is in force, into $scratch/watched; for the warm-up
# only, since whoever asks takes the monitor. Its pid is in `watcher`.
watch() {
    local what=(query-migrate query-migrate-parameters query-migrate)
    if [[ $1 == floor ]]; then
        while sleep 0.02; do qmp "$2" "${what[@]}" || true; done >"$scratch/watched" 2>/dev/null &
    else
        # shellcheck disable=SC2016 # expanded by that shell
        "$lab" exec "$2" bash -c 'while sleep 0.02; do virsh -q "$0"; done' \
            "$(monitor_commands "${what[@]}")" >"$scratch/watched" 2>/dev/null &
    fi
    watcher=$!
}

# What was in force when the migration was under way before and after the look. libvirt leaves the
# parameters alone until it ends the source.
watched() {
    local under_way='^(active|pre-switchover|device)$'
    [[ $1 == floor ]] || under_way='^(active|pre-switchover|device|completed)$'
    jq -cs --arg under_way "$under_way" "map(if has(\"return\") then .return else . end)
        | [range(0; length - 2) as \$i | select([.[\$i, \$i + 2].status // \"\" | test(\$under_way)] | all)
           | .[\$i + 1] | select(has(\"downtime-limit\")) | $parameters_jq] | last" "$scratch/watched"
}

# What must be so before the run; the parameters are those of the source's QEMU, and a destination is
# always a new one, so nothing is left from the run before.
prepare_run() {
    local tool=$1 from=$2 to=$3
    case $tool in
    floor)
        floor_stop "$to"
        floor_start "$to" -incoming defer
        ;;
    virsh) on "$from" virsh -q migrate-setmaxdowntime "$name" "$downtime_limit" >/dev/null ;;
    esac
}

# Where the guest runs now: "a", "b", or what is wrong.
whereabouts() {
    local host runs=()
    for host in a b; do
        if [[ $1 == floor ]]; then
            ! floor_runs "$host" || runs+=("$host")
        else
            ! on "$host" virsh -q list --name --state-running | grep -qxF "$name" || runs+=("$host")
        fi
    done
    if ((${#runs[@]} == 1)); then echo "${runs[0]}"; else echo "on ${#runs[@]} hosts"; fi
}

# What QEMU says about the pause, in ms; null when it says nothing.
qemu_downtime() {
    local said
    case $1 in
    virsh*)
        said=$(on "$2" virsh -q domjobinfo "$name" --completed 2>/dev/null |
            sed -nE 's/^Total downtime: +([0-9]+) +ms$/\1/p') || true
        ;;
    *) said=$(jq '.command.stdout | fromjson? | .downtime_ms.qemu' "$scratch/observed.json") || true ;;
    esac
    printf '%s' "${said:-null}"
}

# The object of this run, from what was observed.
run_object() {
    jq -c --arg tool "$1" --arg from "$2" --arg to "$3" --arg rtt "$4" --arg now_at "$5" \
        --arg guest "$guest" --argjson round "$round" --argjson place "$turn" --argjson seed "$seed" \
        --argjson before "${before:-null}" --argjson during "${during:-null}" \
        --argjson limit "$downtime_limit" --arg load "$(cut -d' ' -f1 /proc/loadavg)" \
        --argjson qemu "$(qemu_downtime "$1" "$2")" -f "$pieces/run.jq" "$scratch/observed.json"
}

# observe WHO COMMAND...: runs it on the source's host, and leaves what the meter saw.
observe() {
    local who=$1
    shift
    on "${place[$who]}" "$godwit" bench observe --json --observe "serial:$(serial_of "$who" a)" \
        --observe "serial:$(serial_of "$who" b)" -- "$@" >"$scratch/observed.json" 2>"$scratch/talk" || true
}

# run TOOL RTT: one migration; its object goes to runs.jsonl, and into `run_line`. Uses `round`,
# 0 in the warm-up, and `turn`.
run() {
    local tool=$1 rtt=$2 who from to before during='' watcher='' now_at command
    who=$(who "$tool")
    from=${place[$who]} to=$(other "${place[$who]}")
    thaw "$who"
    prepare_run "$tool" "$from" "$to"
    before=$(parameters "$tool" "$from") || before=null
    tool_command "$tool" "$from" "$to" "$rtt"
    [[ -z $apart ]] || listen "$who"
    if ((round == 0)); then
        watch "$tool" "$from"
    fi
    observe "$who" "${command[@]}"
    [[ -z $apart ]] || unlisten
    if [[ -n $watcher ]]; then
        kill "$watcher" 2>/dev/null || true
        wait "$watcher" 2>/dev/null || true
        during=$(watched "$tool") || during=null
    fi
    now_at=$(whereabouts "$who")
    run_line=$(run_object "$tool" "$from" "$to" "$rtt" "$now_at") ||
        die "no result: $(cat "$scratch/talk")"
    printf '%s\n' "$run_line" >>"$out/runs.jsonl"
    tell "$run_line"
    settle "$who" "$to" "$now_at"
}

tell() {
    jq -r '"\(if .round == 0 then "warm-up" else "round \(.round)" end), \(.label): \(.from) to \(.to), " +
        "silent \(.silence_ms) ms, total \(.total_ms) ms\(if .marks == "" then "" else ", marked \(.marks)" end)"' \
        <<<"$1" >&2
    [[ $(jq -r .marks <<<"$1") != *f* ]] || cat -- "$scratch/talk" >&2
}

# The guest is where it was to go, or else everything begins anew, which is reported.
settle() {
    local who=$1 to=$2 now_at=$3 from
    from=$(other "$to")
    if [[ $now_at == [ab] ]]; then
        place["$who"]=$now_at
        [[ $who != floor ]] || floor_stop "$(other "$now_at")"
        return
    fi
    say "the guest of $who runs $now_at: starting a new one"
    if [[ $who == floor ]]; then
        floor_begin
    else
        "$domain" stop "$from" "$name"
        "$domain" stop "$to" "$name"
        domain_begin
    fi
}

# shuffle WORD...: into `shuffled`, in an order of RANDOM's, which is seeded.
shuffle() {
    local i k word
    shuffled=("$@")
    for ((i = $# - 1; i > 0; i--)); do
        k=$((RANDOM % (i + 1)))
        word=${shuffled[i]} shuffled[i]=${shuffled[k]} shuffled[k]=$word
    done
}

# Each tool with each round trip, as TOOL@RTT; the floor has no libvirt.
entries() {
    local tool rtt
    for tool in "${tools[@]}"; do
        if [[ $tool == floor ]] || ((!${#rtts[@]})); then
            printf '%s@\n' "$tool"
        else
            printf "$tool@%s\n" "${rtts[@]}"
        fi
    done
}

describe() {
    jq -nc --arg guest "$guest" --argjson seed "$seed" --argjson rounds "$rounds" \
        --arg options "${guest_options[*]:2} ${domain_options[*]}" --arg kernel "$(uname -sr)" \
        --arg cpu "$(sed -n 's/^model name[^:]*: //p;T;q' /proc/cpuinfo)" --argjson cores "$(nproc)" \
        --arg godwit "$("$godwit" --version)" --argjson lab "$("$lab" status --json | jq -c .hosts.a)" \
        '{about: {$guest, $seed, $rounds, $options, $kernel, $cpu, $cores, $godwit,
            qemu: $lab.qemu, libvirt: $lab.libvirt, date: (now | todate)}}' >"$out/runs.jsonl"
}

runs_do() {
    local all entry
    mapfile -t all < <(entries)
    RANDOM=$seed
    describe
    relays_begin
    say "seed $seed, $rounds rounds of: ${all[*]%@}; into $out"
    for ((round = 0; round <= rounds; round++)); do
        shuffle "${all[@]}"
        turn=0
        for entry in "${shuffled[@]}"; do
            turn=$((turn + 1))
            run "${entry%@*}" "${entry#*@}"
        done
    done
}
