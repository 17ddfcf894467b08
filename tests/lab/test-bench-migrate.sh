#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit bench migrate, selftest, report and compare on real QEMUs, in the lab, which is up:
# test-bench-migrate.sh BUILD QEMU. Few trials: what is tested is that what is written is what
# happened, and that nothing is lost or left, not how fast anything is. About two minutes.

# shellcheck disable=SC2016 # expanded by other shells, and by jq
set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
build=$(realpath -- "${1:?the build tree}")
qemu=$(realpath -- "${2:?the QEMU, as tools/setup qemu10 prints it}")
tools=$here/../../tools
readonly here build qemu tools godwit=$build/tools/godwit lab=$tools/lab
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

# Not in /tmp, where what is left is looked for.
scratch=$(mktemp -d /var/tmp/godwit-bench-XXXXXX)
readonly scratch
trap 'umount -q "$scratch/small"; rm -rf -- "$scratch"' EXIT
cd -- "$scratch" || exit 1

bench() { "$godwit" bench migrate --lab-tools "$tools" "$@"; }
same() { [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }; }
all_trials() {
    local trial
    for trial in "$2"/trial-*.json; do
        jq -e "$1" "$trial" >/dev/null || {
            jq -c '.trial.timeline[]?.rows? |= length' "$trial"
            return 1
        }
    done
}
nothing_runs() { same "$(pgrep -fa "$1" | grep -v pgrep)" ''; }

# scenario FILE LINE...
scenario() { printf '%s\n' "${@:2}" >"$1"; }

# refuses NAME MESSAGE ARGUMENT...: exit code 2, with that message, and no directory was made.
refuses() {
    local name=$1 message=$2
    shift 2
    check "refused: $name" exits_with 2 bench --out refused "$@"
    check "... says so" bash -c '"$@" 2>&1 | grep -qF -- "$0"' "$message" "$godwit" bench migrate --lab-tools "$tools" --out refused "$@"
}

readonly bare=('where = local' 'guest = bare' 'working-set = 4M' 'dirty-rate = 4M'
    "qemu-source = $qemu" "qemu-destination = $qemu" 'route = qmp')

test_bad_input() {
    local code
    scenario bad 'where = local' 'dirtyrate = 3'
    refuses "an unknown key, with its line" "bad:2: 'dirtyrate' is not a key" bad
    refuses "no such scenario" "absent: cannot open it: No such file" absent
    scenario bad "${bare[@]}" 'setting a =' 'rounds = many'
    refuses "a number that is none" "bad:9: rounds: " bad
    scenario bad "${bare[@]:0:4}" 'qemu-source = /absent/qemu' 'setting a ='
    code=0
    bench --out none bad >/dev/null 2>said || code=$?
    check "a QEMU that is missing: exit code 2" same "$code" 2
    check "... is named" grep -q '/absent/qemu: is not a QEMU' said
    refuses "--local with a scenario" "--local: a scenario says where it runs" --local bad
    refuses "no guests" "/absent/bare-guest.elf" --guests /absent --local
}

test_local() {
    local code=0
    # No faster, on any machine, than a second for each 8 MiB of the working set: long enough to be sampled.
    scenario mine "${bare[@]}" 'setting 8M = max-bandwidth=8M' 'setting multifd = multifd=2 max-bandwidth=8M' \
        'rounds = 2'
    check "four trials" bench --out local --json --progress 3 mine 3>progress
    check "each is a file" same "$(echo local/trial-*)" \
        "$(printf 'local/trial-%04d.json ' 1 2 3 4 | sed 's/ $//')"
    check "each was done, and seen" all_trials '.schema == 1 and .trial.end == "done"
        and .trial.observers[0].silence_ms > 0 and .trial.observers[0].signs > 500' local
    # A heartbeat is stamped when it is read: on a busy machine the last one after STOP.
    check "from STOP to the first heartbeat, all stands in order" all_trials '.trial.pause |
        [.stopped_ms, .ram_sent_ms, .devices_sent_ms, .loaded_ms, .resumed_ms, .first_beat_ms] |
        all(. != null) and . == sort' local
    check "... and the last heartbeat before it" all_trials '.trial.pause |
        .last_beat_ms != null and .last_beat_ms < .first_beat_ms' local
    check "with devices" all_trials '.trial.pause.devices | length > 10' local
    check "both processes were sampled, and QEMU asked" all_trials '.trial.timeline |
        (.usage.rows | length > 100) and (.gauges.rows | length > 5) and (.beats.rows | length > 500)
        and ([.events.rows[] | select(.[2] == "STOP" or .[2] == "RESUME")] | length == 2)' local
    check "the summary has them, its seed and its machine" jq -e '(.trials | length == 4)
        and .seed > 0 and (.machine.cores > 0) and .rounds == 2' local/summary.json
    check "progress names each, begun and ended" jq -es '
        map(select(.event == "ended") | .trial) == [1, 2, 3, 4]' progress
    check "doc/json.md names each key of a trial" documented local/trial-0001.json "godwit bench migrate"
    check "... of the summary" documented local/summary.json "godwit bench migrate"
    check "... and of the progress" documented progress "godwit bench migrate --progress"
    check "again: nothing is left to do" bash -c '"$@" 2>&1 | grep -q "^0 trials into local"' _ \
        "$godwit" bench migrate --out local mine
    check "a simulation takes what it needs from them" "$godwit" bench simulate --runs 10 --json --fit local
    "$godwit" bench simulate --runs 10 --json --fit local >simulated
    check "... doc/json.md names each key" documented simulated "godwit bench simulate --json"
    check "... and each cell was simulated" jq -e '.points | length == 2 and all(.done == 10 or .skipped != null)' simulated
    # All that it wants has been measured: no trial more.
    "$godwit" bench tune --out local --rounds 2 --json mine >raced 2>said || cat said
    check "a race of what is there ends in a profile" jq -e '.trials == 2 and .profile == "local/profile" and
        .page == "local/report.html" and (.best | . == "8M" or . == "multifd")' raced
    check "... doc/json.md names each key" documented raced "godwit bench tune --json"
    check "... and migrate reads it" bash -c '"$@" 2>&1 | grep -q "source: qmp+unix:/nonexistent: No such file"' _ \
        "$godwit" migrate qmp+unix:/nonexistent qmp+unix:/other --via unix:/nowhere --profile local/profile
    scenario other "${bare[@]}" 'setting default ='
    bench --out local other >/dev/null 2>said || code=$?
    check "another scenario does not go there" same "$code" 2
    check "... and is told so" grep -q 'has results of another scenario' said
    check "no QEMU is left" nothing_runs "qemu-system.*/tmp/godwit-bench"
    check "nor a directory" same "$(compgen -G '/tmp/godwit-bench.*')" ''
}

# Interrupted, it goes on at the next trial.
test_interrupted() {
    local code=0 sums
    "$godwit" bench migrate --out cut --rounds 1 mine >/dev/null 2>said &
    check "a first trial is there" await 60 test -e cut/trial-0001.json
    kill -INT $!
    wait $! || code=$?
    check "Ctrl-C: exit code 3" same "$code" 3
    check "... and how to go on" grep -q 'goes on from there' said
    sums=$(md5sum cut/trial-0001.json)
    check "it goes on" bench --out cut --rounds 1 mine
    check "what was there stays" same "$(md5sum cut/trial-0001.json)" "$sums"
    check "to the end" same "$(jq '.trials | length' cut/summary.json)" 2
    check "with one seed" same "$(jq .seed cut/trial-000?.json | sort -u | wc -l)" 1
}

# A disk that is full loses nothing that was there.
test_disk_full() {
    local code=0
    mkdir small
    mount -t tmpfs -o size=8M tmpfs small || return
    bench --out small/out --rounds 1 mine >/dev/null 2>said &
    check "a first trial is kept" await 60 test -e small/out/summary.json
    dd if=/dev/zero of=small/filler bs=4k 2>/dev/null
    wait $! || code=$?
    check "disk full: exit code 1" same "$code" 1
    check "... is said" grep -q 'No space left' said
    check "the trial that is there is whole" jq -e '.trial.end == "done"' small/out/trial-0001.json
    check "and the summary" jq -e '.trials | length == 1' small/out/summary.json
    check "nothing else is left" same "$(find small/out -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" 'scenario summary.json trial-0001.json '
    rm small/filler
    check "with room it goes on" bench --out small/out --rounds 1 mine
    check "to the end" same "$(jq '.trials | length' small/out/summary.json)" 2
    umount small
}

# What is not the rule: a guest that is silent, one that never converges.
test_hard_guests() {
    scenario never "${bare[@]/dirty-rate = 4M/dirty-rate = 200M}" 'setting slow = max-bandwidth=4M downtime-limit=1ms' \
        'rounds = 1' 'timeout = 3s'
    check "one that never converges is a result" bench --out endless never
    check "... of that name" all_trials '.trial.end == "not-converged" and .trial.total_ms < 15000' endless
    scenario mute 'where = local' 'guest = command' \
        "command = env QEMU_MODULE_DIR=$qemu/usr/lib/x86_64-linux-gnu/qemu $qemu/usr/bin/qemu-system-x86_64 -L $qemu/usr/share/qemu -L /usr/share/seabios -nodefaults -display none -m 64 -serial file:{serial}" \
        'setting a =' 'rounds = 1'
    check "a guest of the user's, which says nothing" bench --out unseen mute
    check "... is seen by nobody, and marked so" all_trials '(.trial.marks | contains("b"))
        and .trial.observers[0].silence_ms == null' unseen
    scenario dead 'where = local' 'guest = command' 'command = false {serial}' 'setting a =' 'rounds = 1'
    bench --out dead-out dead >/dev/null 2>said || code=$?
    check "a QEMU that does not start: exit code 1, not a result" same "$code" 1
    check "... nothing is kept of it" same "$(compgen -G 'dead-out/trial-*')" ''
}

test_lab() {
    scenario routes 'guest = linux' 'ping = 10.77.0.151' 'link = 1gbit' 'route = qmp, direct, native, virsh' \
        'setting 20ms = downtime-limit=20ms' 'setting zstd = multifd=2 compression=zstd' 'rounds = 1'
    check "all routes in the lab" bench --out lab --guests "$build/bench/guest" routes
    check "each was done, or was refused" all_trials '.trial | .end == "done" or
        (.end == "refused" and .cell.setting == "zstd" and (.cell.route | test("native|virsh")))' lab
    check "four routes did the first setting" same "$(jq -r '.trial | select(.cell.setting == "20ms" and .end == "done").cell.route' \
        lab/trial-*.json | sort | tr '\n' ' ')" 'direct native qmp virsh '
    check "serial and ping saw it" all_trials '.trial | .end != "done" or
        ([.observers[] | select(.silence_ms > 0) | .kind] | sort == ["ping", "serial"])' lab
    check "the pause is whole, also through libvirt" all_trials '.trial | .end != "done" or
        (.pause | [.stopped_ms, .ram_sent_ms, .devices_sent_ms, .loaded_ms, .resumed_ms] |
            all(. != null) and . == sort)' lab
    check "the link is free again" same "$("$lab" status --json | jq -r .hosts.a.link_rate)" none
    check "no domain is left" bash -c '! "$0" exec a virsh list --all --name | grep -q bench &&
        ! "$0" exec b virsh list --all --name | grep -q bench' "$lab"
}

test_selftest() {
    local code=0
    "$godwit" bench selftest --local --qemu "$qemu" --times 3 --json >result 2>said || code=$?
    check "selftest: twelve stops" jq -e '(.stops | length == 12) and ([.stops[].asked_ms] | unique
        == [5, 20, 100, 500])' result
    check "doc/json.md names each key" documented result "godwit bench selftest --json"
    # How near it comes is the machine's: here only that it sees what was done.
    check "each was seen" jq -e '[.stops[] | .observers[0].silence_ms as $s | $s >= .stopped_ms - 2
        and $s < .stopped_ms + 200] | all' result
    check "its exit code tells whether all were within" same "$code" "$(jq 'if .outside == 0 then 0 else 1 end' result)"
}

test_report() {
    check "a report of both" "$godwit" bench report local lab -o report.html
    check "... has charts" bash -c '(($(grep -c "<svg" report.html) > 5))'
    check "... and asks the network for nothing" bash -c '! grep -Eq "(src|href)=.?https?:" report.html'
    check "compare: nothing is slower than itself" "$godwit" bench compare local/summary.json local/summary.json
    jq '.schema = 99' local/summary.json >later.json
    check "another schema is refused" exits_with 2 "$godwit" bench report later.json
    check "... by name" bash -c '"$0" bench report later.json 2>&1 | grep -q "later.json.*schema"' "$godwit"
}

test_bad_input
test_local
test_interrupted
test_disk_full
test_hard_guests
test_lab
test_selftest
test_report
tap_end
