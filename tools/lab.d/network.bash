# shellcheck shell=bash disable=SC2154 # variables of lab, state.bash and topology.bash
# SPDX-License-Identifier: Apache-2.0
#
# Cables. Every host has a bridge br0 with its address, whose uplink eth0 is one end of a cable to the
# switch's bridge, so that the tap of a guest put on br0 is on the same Ethernet wherever it runs. The other
# end is called to-HOST. A cable is a veth, or where it is long two taps with a process between them (wire.c).

# Where br_netfilter is loaded (docker does it), each frame that crosses a bridge goes through netfilter,
# too: 15 % of a sender's CPU time, for nothing here. The setting is the network namespace's own. Where
# /proc/sys cannot be written, it stays as it is.
network_bypass_netfilter() {
    # shellcheck disable=SC2016 # expanded by that sh
    in_network_of "$1" sh -c '
        for file in /proc/sys/net/bridge/bridge-nf-call-*; do
            [ ! -w "$file" ] || echo 0 >"$file"
        done' 2>/dev/null || true
}

network_switch_up() {
    network_bypass_netfilter sw
    ! in_network_of sw ip link show dev br0 >/dev/null 2>&1 || return 0
    in_network_of sw ip -batch - <<-BATCH || die "cannot make the switch"
		link set dev lo up
		link add name br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
		link set dev br0 mtu $lab_mtu_bytes up
	BATCH
}

# Both ends: those of a long cable go one after the other.
network_is_connected() {
    in_network_of "$1" ip link show dev br0 >/dev/null 2>&1 && network_has_cable "$1"
}

network_has_cable() {
    in_network_of "$1" ip link show dev eth0 >/dev/null 2>&1 &&
        in_network_of sw ip link show dev "to-$1" >/dev/null 2>&1
}

# Takes the cable away, whichever it is: one end of a veth takes the other with it, and a wire ends
# without its taps.
network_unplug() {
    in_network_of "$1" ip link delete dev eth0 2>/dev/null || true
    in_network_of sw ip link delete dev "to-$1" 2>/dev/null || true
}

network_plug_direct() {
    local host=$1 pid
    pid=$(host_pid "$host") || die "host $host is not running"
    in_network_of sw ip link add name "to-$host" type veth peer name eth0 netns "$pid" ||
        die "cannot connect $host to the switch"
}

# network_plug_wire HOST DELAY JITTER LOSS: a long cable (wire.c). What it does stands on its end, in words.
# The queue of a tap holds packets while the wire is not let run.
network_plug_wire() {
    local host=$1 delay=$2 jitter=$3 loss=$4 pid switch_pid wire_pid
    pid=$(host_pid "$host") && switch_pid=$(host_pid sw) || return 1
    wire_pid=$("$wire" --delay "$delay" --jitter "$jitter" --loss "${loss%\%}" \
        --log "$state/$host/log/wire.log" "$pid" eth0 "$switch_pid" "to-$host" 9>&-) || return 1
    in_network_of sw ip link set dev "to-$host" txqueuelen 10000 &&
        in_network_of "$host" ip link set dev eth0 txqueuelen 10000 \
            alias "delay $delay jitter $jitter loss $loss pid $wire_pid"
}

# Connects the two ends of the cable. The switch's comes up first, so that it can be pulled ("drop") before
# the first frame goes through.
network_attach() {
    local host=$1 cable=${2:-pass}
    in_network_of sw ip link set dev "to-$host" mtu "$lab_mtu_bytes" master br0 up &&
        { [[ $cable == pass ]] || in_network_of sw bridge link set dev "to-$host" state 0; } &&
        in_network_of "$host" ip link set dev eth0 mtu "$lab_mtu_bytes" master br0 up ||
        die "cannot connect $host to the switch"
}

# Also after a crash of either end.
network_connect() {
    local host=$1
    host_pid "$host" >/dev/null || die "host $host is not running"
    network_bypass_netfilter "$host"
    network_is_connected "$host" && return
    in_network_of "$host" ip link delete dev br0 2>/dev/null || true
    network_unplug "$host"
    network_plug_direct "$host"
    # A bridge without an address of its own takes the lowest of its ports', which a guest may bring.
    in_network_of "$host" ip -batch - <<-BATCH || die "cannot give $host its bridge"
		link set dev lo up
		link add name br0 address ${lab_mac[$host]} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
		link set dev br0 mtu $lab_mtu_bytes up
		address add ${lab_address[$host]}/$lab_prefix_len dev br0
	BATCH
    network_attach "$host"
}

# network_set_wire HOST DELAY JITTER LOSS: another cable, direct where all is nothing. The limit of the link, and
# whether it drops everything, stay as they were.
network_set_wire() {
    local host=$1 rate cable=pass
    rate=$(network_get_rate "$host" 2>/dev/null) || rate=none
    [[ $(network_drops "$host" 2>/dev/null) != true ]] || cable=drop
    network_unplug "$host"
    if [[ "$2 $3 $4" == "none none none" ]]; then
        network_plug_direct "$host"
    elif ! network_plug_wire "$host" "${2/none/0ms}" "${3/none/0ms}" "${4/none/0%}"; then
        network_unplug "$host"
        network_plug_direct "$host"
        network_attach "$host" "$cable"
        network_set_rate "$host" "${rate:-none}"
        die "cannot delay the link of $host: it is direct now"
    fi
    network_attach "$host" "$cable"
    network_set_rate "$host" "${rate:-none}"
}

# Prints what the wire of host $1 does, as {delay, jitter, loss, pid, cut}; "none", and null, where it is direct. Without
# a cable it is cut.
network_get_wire() {
    if ! network_has_cable "$1"; then
        echo '{"delay": "none", "jitter": "none", "loss": "none", "pid": null, "cut": true}'
        return
    fi
    in_network_of "$1" ip -json link show dev eth0 | jq -c '
        (.[0].ifalias // "" | capture("^delay (?<delay>\\S+) jitter (?<jitter>\\S+) loss (?<loss>\\S+) pid (?<pid>\\d+)$"))
            // {delay: "none", jitter: "none", loss: "none", pid: null}
        | {delay, jitter, loss} as $terms
        | ($terms | map_values(if test("^0(ms|%)$") then "none" else . end))
            + {pid: (.pid | if . then tonumber else null end), cut: false}'
}

# network_parse_time NAME TEXT: prints it in lower case, "none" for nothing at all; fails on what has no unit or is more than 10 s.
network_parse_time() {
    local text=${1,,}
    [[ $text != none && ! $text =~ ^0(\.0+)?(us|ms|s)$ ]] || { echo none && return; }
    [[ $text =~ ^(0|[1-9][0-9]{0,7})(\.[0-9]{1,3})?(us|ms|s)$ ]] && (($(network_time_ns "$text") <= 10000000000)) ||
        return 1
    printf '%s\n' "$text"
}

network_time_ns() {
    awk -v time="$1" 'BEGIN {
        factor = 1e9
        if (time ~ /us$/) factor = 1e3
        if (time ~ /ms$/) factor = 1e6
        printf "%.0f\n", time * factor
    }'
}

# Prints a share of 100, with the sign; "none" for nothing at all; fails on anything else.
network_parse_percent() {
    local text=${1%\%}
    [[ $text != none && ! $text =~ ^0(\.0+)?$ ]] || { echo none && return; }
    [[ $text =~ ^(100(\.0{1,4})?|[1-9]?[0-9](\.[0-9]{1,4})?)$ ]] || return 1
    printf '%s%%\n' "$text"
}

# Prints a rate as tc takes it, in lower case; fails on anything else. tc's own "bps" means bytes.
network_parse_rate() {
    local rate=${1,,}
    [[ $rate == none || $rate =~ ^([1-9][0-9]{0,8}(\.[0-9]{1,3})?|0\.[0-9]{1,3})[kmg]?bit$ ]] ||
        return 1
    printf '%s\n' "$rate"
}

# Prints the rate in bit/s.
network_rate_bits_per_s() {
    awk -v rate="$1" 'BEGIN {
        factor = 1
        if (rate ~ /kbit$/) factor = 1e3
        if (rate ~ /mbit$/) factor = 1e6
        if (rate ~ /gbit$/) factor = 1e9
        printf "%.0f\n", rate * factor
    }'
}

# Shapes one direction: what device $2 in the network of $1 sends. The burst must hold the largest
# segment that TCP hands down (64 KiB) and 4 ms of the rate; a queue of 20 ms is that of a plain switch.
network_shape() {
    local where=$1 dev=$2 bits_per_s=$3 burst_bytes
    burst_bytes=$((bits_per_s / 8 / 250))
    ((burst_bytes >= 131072)) || burst_bytes=131072
    in_network_of "$where" tc qdisc replace dev "$dev" root tbf \
        rate "${bits_per_s}bit" burst "$burst_bytes" latency 20ms
}

network_unshape() {
    local where=$1 dev=$2
    [[ $(in_network_of "$where" tc qdisc show dev "$dev" root) != *tbf* ]] ||
        in_network_of "$where" tc qdisc delete dev "$dev" root
}

network_set_rate() {
    local host=$1 rate=$2 bits_per_s
    if [[ $rate == none ]]; then
        network_unshape "$host" eth0
        network_unshape sw "to-$host"
    else
        bits_per_s=$(network_rate_bits_per_s "$rate")
        network_shape "$host" eth0 "$bits_per_s"
        network_shape sw "to-$host" "$bits_per_s"
    fi
}

# Prints the rate that is in force, as the kernel has it.
network_get_rate() {
    in_network_of "$1" tc -json qdisc show dev eth0 root | jq -r '
        def text: if . % 1e9 == 0 then "\(. / 1e9)gbit"
                  elif . % 1e6 == 0 then "\(. / 1e6)mbit"
                  elif . % 1e3 == 0 then "\(. / 1e3)kbit"
                  else "\(.)bit" end;
        [.[] | select(.kind == "tbf") | .options.rate * 8 | text][0] // "none"'
}

# The hosts keep each other's hardware addresses while a link drops everything, as they would with a
# router between them: else ARP tells after a second that nobody is there.
network_keep_neighbours() {
    local host=$1 nud=$2 other from to
    for other in "${lab_hosts[@]}"; do
        [[ $other != "$host" ]] || continue
        for from in "$host" "$other"; do
            [[ $from == "$host" ]] && to=$other || to=$host
            in_network_of "$from" ip neighbour replace "${lab_address[$to]}" lladdr "${lab_mac[$to]}" \
                dev br0 nud "$nud" 2>/dev/null || true # a host that is not running
        done
    done
}

# Whether the link of host $1 drops everything. The switch does it, with its port in the state
# "disabled"; the carrier stays, so that neither side learns of it.
network_set_cable() {
    case $2 in
    drop)
        network_keep_neighbours "$1" permanent
        in_network_of sw bridge link set dev "to-$1" state 0
        ;;
    pass)
        in_network_of sw bridge link set dev "to-$1" state 3
        network_keep_neighbours "$1" stale
        ;;
    esac || die "cannot change the link of $1"
}

# Prints true or false.
network_drops() {
    in_network_of sw bridge -json link show dev "to-$1" | jq -r '.[0].state == "disabled"'
}
