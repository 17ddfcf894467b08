# shellcheck shell=bash disable=SC2154 # variables of routes, of guests.bash and of runs.bash
# SPDX-License-Identifier: Apache-2.0
#
# One pause of each tool, taken apart: the heartbeats around it, by the meter, and QEMU's own
# events on both sides, with QEMU's own time stamps. All are of one machine's wall clock.

listener_pids=()

# listen WHO: from now on the events of both hosts go to $scratch/events.HOST.
listen() {
    local host
    listener_pids=()
    for host in a b; do
        rm -f -- "$scratch/fifo.$host"
        if [[ $1 == floor ]]; then
            mkfifo -- "$scratch/fifo.$host"
            socat - "UNIX-CONNECT:$(floor_qmp "$host" 2)" \
                <>"$scratch/fifo.$host" >"$scratch/events.$host" 2>/dev/null &
            printf '{"execute":"qmp_capabilities"}\n' >"$scratch/fifo.$host"
        else
            # Not by on(): killed would be the shell that runs it.
            "$lab" exec "$host" virsh -q qemu-monitor-event --loop >"$scratch/events.$host" &
        fi
        listener_pids+=($!)
    done
    sleep 1
}

unlisten() {
    local pid
    for pid in "${listener_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

# Prints the events of a host as objects {t_ms, host, event, status}.
events() {
    local who=$1 host=$2
    if [[ $who == floor ]]; then
        jq -c --arg host "$host" 'select(.event) | {t_ms: (.timestamp.seconds * 1000 + .timestamp.microseconds / 1000),
            $host, event, status: (.data.status // null)}' "$scratch/events.$host"
    else
        sed -nE "s/^event ([A-Z_]+) at ([0-9]+)\.([0-9]{6}) for domain '$name': (.*)$/\1 \2 \3 \4/p" \
            "$scratch/events.$host" | jq -cR --arg host "$host" 'capture("^(?<event>\\S+) (?<s>\\S+) (?<us>\\S+) (?<data>.*)$")
            | {t_ms: ((.s | tonumber) * 1000 + (.us | tonumber) / 1000), $host, event,
               status: ([.data | fromjson? | .status?][0])}'
    fi
}

apart_all() {
    local all entry who
    mapfile -t all < <(entries)
    describe
    : >"$out/apart.jsonl"
    relays_begin
    # shellcheck disable=SC2034 # run's
    round=1 turn=0
    for entry in "${all[@]}"; do
        turn=$((turn + 1))
        run "${entry%@*}" "${entry#*@}"
        who=$(who "${entry%@*}")
        { events "$who" a && events "$who" b; } |
            jq -cs --argjson run "$run_line" '{run: $run, events: .}' >>"$out/apart.jsonl"
    done
    jq -rs -f "$pieces/apart.jq" "$out/apart.jsonl"
}
