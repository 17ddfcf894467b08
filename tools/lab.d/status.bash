# shellcheck shell=bash disable=SC2154 # variables of lab, state.bash and topology.bash
# SPDX-License-Identifier: Apache-2.0
#
# What is there, for people and for programs.

# Prints one host as a JSON object with its name as the only key.
status_of_host() {
    local host=$1 pid daemon daemon_pids=() rate=none drops=false crashes='' wire='{"cut": false}'
    pid=$(host_pid "$host") || pid=null
    for daemon in ${lab_daemons[$host]}; do
        ! daemon_is_supervised "$daemon" || crashes=$(daemon_crashes "$host" "$daemon")
        daemon_pids+=("$daemon" "$(daemon_pid "$host" "$daemon" || echo null)")
    done
    [[ $pid == null ]] || rate=$(network_get_rate "$host" 2>/dev/null) || rate=unknown
    [[ $pid == null ]] || drops=$(network_drops "$host" 2>/dev/null) || drops=null
    [[ $pid == null ]] || wire=$(network_get_wire "$host" 2>/dev/null) || wire='{"cut": null}'
    version() { [[ ! -s $state/$host/$1.version ]] || cat "$state/$host/$1.version"; }
    jq -n --arg host "$host" --arg address "${lab_address[$host]}" --argjson pid "$pid" \
        --arg qemu "$(version qemu)" --arg libvirt "$(version libvirt)" \
        --arg ganesha "$(version ganesha)" --arg rate "$rate" --argjson drops "${drops:-null}" --argjson wire "$wire" --arg shared "$state/$host" \
        --arg crashes "$crashes" '
        def some: if . == "" then null else . end;
        def pairs: [range(0; length; 2) as $i | {(.[$i]): (.[$i + 1] | fromjson)}] | add;
        {($host): {address: $address, bridge: "br0", pid: $pid, pids: ($ARGS.positional | pairs),
                   qemu: ($qemu | some), libvirt: ($libvirt | some), ganesha: ($ganesha | some),
                   link_rate: (if $rate == "" then "none" else $rate end), link_drops: $drops,
                   link_delay: ($wire.delay // "none"), link_jitter: ($wire.jitter // "none"),
                   link_loss: ($wire.loss // "none"), link_pid: $wire.pid, link_cut: $wire.cut, shared: $shared,
                   crashes: ($crashes | split("\n"))}}' --args "${daemon_pids[@]}"
}

# Prints the whole lab as JSON. "up" is true only when every host and every daemon lives and
# no link is cut.
status_json() {
    local host
    if [[ ! -e $state/.godwit-lab ]]; then
        jq -n --arg state "$state" '{up: false, state: $state, switch_pid: null, export: null,
            export_kind: null, hosts: {}}'
        return
    fi
    for host in "${lab_hosts[@]}"; do
        status_of_host "$host"
    done | jq -s --arg state "$state" --argjson switch "$(host_pid sw || echo null)" \
        --argjson finished "$([[ -e $state/up ]] && echo true || echo false)" \
        --arg kind "$(cat "$state/export_kind" 2>/dev/null || true)" '
        add as $hosts
        | {up: ($finished and $switch != null and
                ([$hosts[] | .pid, .pids[]] | all(. != null)) and ([$hosts[] | .link_cut] | any | not)),
           state: $state, switch_pid: $switch, export: "nfs://nfs/export",
           export_kind: (if $kind == "" then null else $kind end), hosts: $hosts}'
}

# The same for people, from the JSON on stdin.
status_text() {
    jq -r '
        def link: if .link_cut then "CUT" elif .link_drops then "drops all" else .link_rate end
            + if .link_delay != "none" then " delay " + .link_delay else "" end
            + if .link_jitter != "none" then " jitter " + .link_jitter else "" end
            + if .link_loss != "none" then " loss " + .link_loss else "" end;
        def shown: if . == null then "not running" else "\(.)" end;
        (if .up then "up" elif .hosts == {} then "not up" else "NOT WHOLE (tools/lab up repairs it)" end
         | "lab:     \(.)"),
        "state:   \(.state)",
        (select(.hosts != {}) | "export:  \(.export) (\(.export_kind))"),
        (select(.hosts != {} and .switch_pid == null) | "switch:  not running"),
        (.hosts | to_entries[] | .value as $h
         | "\(.key):\(" " * (8 - (.key | length)))\($h.address)  link \($h | link)  pid 1: \($h.pid | shown)"
           + ([$h.pids | to_entries[] | "  \(.key): \(.value | shown)"] | join(""))
           + (if $h.qemu then "  QEMU \($h.qemu)" else "" end)
           + (if $h.libvirt then "  libvirt \($h.libvirt)" else "" end)
           + (if $h.ganesha then "  ganesha \($h.ganesha)" else "" end)
           + (if $h.crashes == [] then "" else "  libvirtd crashed: \($h.crashes | length)" end))'
}
