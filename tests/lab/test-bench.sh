#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit bench relocate in the lab, which is up: test-bench.sh GODWIT LAB. Small files: what is tested
# is that it measures what it says and leaves nothing behind, not how fast anything is.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
godwit=$(realpath -- "${1:?the godwit to test}")
lab=$(realpath -- "${2:?tools/lab}")
readonly here godwit lab
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d /var/tmp/godwit-bench-XXXXXX)
readonly scratch dir=${scratch##*/}
readonly share=nfs://nfs/export/$dir/
trap 'rm -rf -- "$scratch"' EXIT
cd -- "$scratch" || exit 1

bench() { "$lab" exec a env PATH="$scratch/bin:$PATH" "$godwit" bench relocate "$@"; }
on_server() { "$lab" exec nfs "$@"; }
same() { [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }; }
result_is() { jq -e "$1" result || { jq -c . result; return 1; }; }
nothing_left() { same "$(on_server find "/export/$dir" -mindepth 1 -printf '%P ')" ""; }
# What it prints is as doc/json.md says.
bench_json() { bench --json "$@" >result && documented result "godwit bench relocate --json"; }

# tool NAME TEXT: a tool of that name with that text, in front of the system's.
tool() {
    mkdir -p bin
    printf '#!/bin/bash\n%s\n' "$2" >"bin/$1"
    chmod 755 "bin/$1"
}
no_tools() { rm -rf bin; }

test_shape() {
    check "three rounds of all" bench_json --rounds 3 --seed 7 --progress 3 one.img "$share" 3>progress
    check "the JSON object has its keys" result_is '
        .schema == 1 and .result == "done" and .direction == "to-share" and .files == 1
        and .bytes == 3000320 and .data_bytes >= .bytes * 0.9 and .cache == "warm" and .rounds == 3
        and .seed == 7 and (.machine | .cores > 0 and (.kernel | startswith("Linux")))
        and ([.contestants[].name] == ["godwit", "nfs-cp", "qemu-img", "disk"])
        and ([.contestants[].role] == ["godwit", "peer", "peer", "ceiling"])'
    check "doc/json.md describes the progress" documented progress "godwit bench relocate --progress"
    check "each tool has its figures" result_is '[.contestants[] |
        .state == "right" and .n == 3 and .wrong == 0 and .version != ""
        and .seconds.median > 0 and .seconds.min <= .seconds.median
        and .seconds.median <= .seconds.max and .bytes_per_s > 0 and .cpu_s_per_gib.median > 0
        and .peak_bytes.median > 1000000 and .server_cpu_s_per_gib.median == null] | all'
    check "the ratios of godwit to itself are 1" result_is '.contestants[0].ratio |
        [.seconds, .cpu, .peak | .min == 1 and .max == 1] | all'
    check "each single run is reported" result_is '[.contestants[].runs | length == 3 and
        (map(.round) == [1, 2, 3]) and all(.outcome == "right" and .seconds > 0)] | all'
    check "each place of a round is taken once" result_is '
        [.contestants[].runs[]] | group_by(.round) | map(map(.place) | sort) | all(. == [1, 2, 3, 4])'
    check "progress tells who and what" jq -es 'length > 0 and all(.schema == 1 and
        .event == "progress" and .rounds == 3) and (map(.doing) | unique | sort
        == ["checking", "running", "warming up"])' progress
    check "nothing is left on the share" nothing_left
}

order_of() { jq -c '[.contestants[].runs[].place]' result; }

test_seed() {
    local first
    first=$(order_of)
    check "the same seed" bench_json --rounds 3 --seed 7 one.img "$share"
    check "gives the same order" same "$(order_of)" "$first"
}

test_text() {
    check "the table has all of them" says '^qemu-img +1 ' bench --rounds 1 one.img "$share"
    check "and says what it ran on" says '^on Linux .* core' bench --rounds 1 --only disk one.img "$share"
    check "a directory of small files by name" says 'warm; 1 of 1 rounds' \
        bench --rounds 1 small/* "$share"
    check "nothing is left on the share" nothing_left
}

test_matrix() {
    check "a matrix" bench_json --rounds 1 --only godwit --connections 1,2 --depth 4 \
        --block-size 64K,1M one.img "$share"
    check "has all combinations" result_is '[.contestants[].name] == ["godwit c=1 b=64K",
        "godwit c=1 b=1M", "godwit c=2 b=64K", "godwit c=2 b=1M"]'
    check "with these options" result_is '.contestants[2].command ==
        "/proc/self/exe relocate --connections 2 --depth 4 --block-size 64K"'
}

test_sink() {
    if on_server grep -q sink /etc/ganesha/ganesha.conf; then
        check "with a sink" bench_json --rounds 1 --only godwit,sink --sink nfs://nfs/sink/ one.img \
            "$share"
        check "the sink is a ceiling" result_is '.contestants[1] |
            .name == "sink" and .role == "ceiling" and .state == "right"'
        check "nothing is left in the sink" says '^ *$' "$lab" exec a sh -c \
            'echo; nfs-ls nfs://nfs/sink?version=3'
    else
        skip "with a sink" "nfs-ganesha-mem is not installed"
    fi
}

# A peer whose copies are wrong by one byte, or too short, or not there.
test_wrong() {
    local real harm
    real=$(command -v nfs-cp)
    for harm in 'printf x | dd of=bad bs=1 seek=2000000 conv=notrunc status=none' \
        'truncate -s 3000000 bad' 'truncate -s 3000832 bad'; do
        tool nfs-cp "cd $scratch; cp \"\$1\" bad; $harm; exec $real bad \"\$2\""
        check "a wrong copy: exit code 1 ($harm)" exits_with 1 \
            bench_json --rounds 2 --only godwit,nfs-cp "$scratch/one.img" "$share"
        check "the result says so" result_is '.result == "failed" and (.contestants[1] | .state == "wrong"
            and .n == 0 and .wrong == 2 and .seconds.median == null
            and (.error.message | startswith("one.img: ")) and all(.runs[]; .outcome == "wrong"))
            and .contestants[0].state == "right"'
    done
    tool nfs-cp 'exit 0'
    check "no copy at all: exit code 1" refused 1 'WRONG: nfs-cp: 1 .*one.img: is not there' \
        bench --rounds 1 --only godwit,nfs-cp one.img "$share"
    tool nfs-cp 'echo "the server is on fire"; exit 9'
    check "a failing peer: exit code 1, with its words" refused 1 \
        'FAILED: nfs-cp: nfs-cp: exit code 9: the server is on fire' \
        bench --rounds 2 --only godwit,nfs-cp one.img "$share"
    check "nothing is left on the share" nothing_left
    no_tools
}

test_missing() {
    mkdir -p empty
    check "tools that are not there are named with their package" says \
        'nfs-cp is not installed; Debian has it in libnfs-utils' \
        "$lab" exec a env PATH="$scratch/empty" "$godwit" bench relocate --rounds 1 one.img "$share"
}

# interrupted ARGUMENT...: SIGINT while nfs-cp, which is slow here, runs.
interrupted() {
    local pid status=0 _
    rm -f running
    bench "$@" >output 2>&1 &
    for _ in $(seq 200); do
        [[ ! -e running ]] || break
        sleep 0.05
    done
    # In host a only godwit itself has this command line.
    pid=$("$lab" exec a pgrep -f "^$godwit bench relocate") && "$lab" exec a kill -INT "$pid"
    wait $! || status=$?
    same "$status" 3 || { cat output; return 1; }
}

test_interrupt() {
    tool nfs-cp "[[ \$1 != --version ]] || exit
        $(command -v nfs-cp) \"\$@\"; touch $scratch/running; exec sleep 60"
    check "Ctrl-C: exit code 3" interrupted --rounds 3 --only godwit,nfs-cp,disk one.img "$share"
    check "it shows what it has" grep -q '1 of 3 rounds' output
    check "nothing is left on the share" nothing_left
    no_tools
}

# In the network of host a, but among the machine's processes: there the server has a pid.
bench_with_server() {
    local host pid
    host=$("$lab" status --json | jq .hosts.a.pid)
    pid=$("$lab" status --json | jq .hosts.nfs.pids.ganesha)
    nsenter --target "$host" --net "$godwit" bench relocate --json --rounds 1 \
        --only godwit,disk --server-pid "$pid" one.img "nfs://10.77.0.3/export/$dir/" >result &&
        documented result "godwit bench relocate --json"
}

test_server_pid() {
    check "--server-pid" bench_with_server
    check "reports what the server used" result_is '.contestants[0].server_cpu_s_per_gib.median > 0'
}

# refuses NAME PATTERN ARGUMENT...
refuses() {
    local name=$1 pattern=$2
    shift 2
    check "refused: $name" refused 2 "$pattern" bench "$@"
}

test_bad_input() {
    mkdir -p deep/er
    refuses "a source that is not there" "absent.img: cannot open it: No such file" absent.img "$share"
    refuses "a source that is no file" "not a regular file" /dev/null "$share"
    refuses "a directory with a directory" "not a regular file" deep "$share"
    refuses "a share that is none" "is not nfs://" one.img /tmp
    refuses "a directory that is not there" "no such directory" one.img nfs://nfs/export/absent/
    refuses "a list with a word in it" "--connections" --connections 1,x one.img "$share"
    refuses "a tool that is none" "is not one of" --only scp one.img "$share"
    refuses "--local without its direction" "go together" --local . one.img "$share"
    refuses "a server that is none" "--server-pid" --server-pid 99999999 one.img "$share"
    check "refused: no benchmark" refused 2 "is missing" "$godwit" bench
    check "refused: a benchmark that is none" refused 2 "no benchmark" "$godwit" bench fly
    check "a name that is taken is put there" "$lab" exec a "$godwit" relocate one.img "$share"
    refuses "a name that is taken" "one.img: exists" one.img "$share"
    check "and it is still there" on_server test -e "/export/$dir/one.img"
}

# qemu-img makes whole sectors of an odd end: that would be a wrong copy.
head -c 3000320 /dev/urandom >one.img
mkdir small
for i in $(seq 20); do head -c 65536 /dev/urandom >"small/$i"; done
on_server mkdir -p "/export/$dir"

test_shape
test_seed
test_text
test_matrix
test_sink
test_wrong
test_missing
test_interrupt
test_server_pid
test_bad_input
tap_end
