#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What godwit prints as JSON where it has little to report, in the ways that need no lab: tests/lab has the others. A
# command that ends before it has done anything prints its object, too, and what it does not know is null.
#
#   test-json.sh GODWIT
set -euo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
dir=$(mktemp -d)
readonly here dir godwit=$1
trap 'rm -rf -- "$dir"' EXIT
failures=0

# prints CODE COMMAND ARGUMENT...: godwit ends with CODE, and doc/json.md names each key of its object.
prints() {
    local wanted=$1 name=$2 code=0 said
    shift 2
    "$godwit" "$@" >"$dir/out" 2>"$dir/err" 3>"$dir/progress" || code=$?
    ((code == wanted)) || fail "exit code $code, not $wanted: $* ($(<"$dir/err"))"
    said=$("$here/../documented" "$dir/out" "godwit $name --json" Observers) || fail "$*: $said"
}

fail() {
    echo "FAIL: $1" >&2
    failures=$((failures + 1))
}

# is FILTER: the object that was printed last.
is() { jq -e "$1" "$dir/out" >/dev/null || fail "not $1: $(<"$dir/out")"; }

readonly nowhere="qemu+unix:///system?socket=$dir/none"
head -c 3000001 /dev/urandom >"$dir/one.img"
mkdir "$dir/to"

prints 0 relocate relocate --json --progress=3 "$dir/one.img" "$dir/to/"
is '.result == "done" and .files[0].state == "done" and .bytes == 3000001'
said=$("$here/../documented" "$dir/progress" "godwit relocate --progress") || fail "progress: $said"
prints 0 relocate relocate --json --checksum=chunks "$dir/one.img" null:
is '.files[0].xxh3_128 == null'
prints 2 relocate relocate --json "$dir/none.img" "$dir/to/"
is '.result == "refused" and .error.class == "refused"'
prints 2 relocate relocate --json "$dir/one.img" "$dir/to/one.img/"
prints 2 "relocate --pool" relocate --json --pool images --connect "$nowhere" nfs://localhost/export/
is '.result == "refused" and (has("pool") | not)'
prints 2 check check --json --connect "$nowhere" none
is '.result == "refused" and .findings[0].verdict == "refuse"'
prints 2 check check --json --pool images --connect "$nowhere" http://nowhere/
prints 2 migrate migrate --json --connect "$nowhere" none qemu+ssh://localhost/system
is '.result == "refused" and .guest == "source" and .route == null and ([.downtime_ms[]] | all(. == null))'
prints 2 migrate migrate --json --via "unix:$dir/stream" "qmp+unix:$dir/a" "qmp+unix:$dir/b"
is '.route == "qmp" and ([.downtime_ms[]] | all(. == null))'
prints 2 "bench relocate" bench relocate --json "$dir/none.img" nfs://localhost/export/
is '.result == "refused"'
readonly traces=$here/../core/tune/traces
prints 0 "bench replay" bench replay --json "$traces/throttle.trace"
is '.same and (.decisions | length > 2)'
sed 's/"what":"postcopy"/"what":"pause"/' "$traces/postcopy.trace" >"$dir/other.trace"
prints 1 "bench replay" bench replay --json "$dir/other.trace"
is '.same == false and (.decisions[-1] | .same == false and .now.what == "postcopy" and .then.what == "pause")'
head -n 3 "$traces/pause.trace" >"$dir/cut.trace"
prints 2 "bench replay" bench replay --json "$dir/cut.trace"
is '.error.message | test("cut.trace:4: the trace is not whole")'
said=$("$here/../documented" "$traces/throttle.trace" "godwit migrate --trace") || fail "throttle.trace: $said"
prints 0 "bench simulate" bench simulate --json --runs 3 --dirty-rate 0,300M --link 100M --working-set 600M
is '(.points | length == 2) and .points[0].done == 3 and .points[1].never == 3 and .points[1].total_ms.median == null'
prints 0 "bench simulate" bench simulate --json --runs 7 --dirty-rate 3333333 --link 11111111 --working-set 50000000
prints 2 "bench simulate" bench simulate --json --link nothing
prints 2 "bench simulate" bench simulate --json --fit "$dir/to"
printf 'where = local\nguest = bare\nram = 64M, 128M\nsetting a =\nsetting b = pause\n' >"$dir/two.scenario"
prints 2 "bench tune" bench tune --json "$dir/two.scenario"
is '.error.message | test("one guest")'

prints 0 "bench observe" bench observe --json --observe "serial:$dir/one.img" -- echo hello
is '.result == "done" and .command.stdout == "hello\n"'
prints 1 "bench observe" bench observe --json --observe "serial:$dir/one.img" -- false
is '.result == "failed" and .command.exit_code == 1'
prints 2 "bench observe" bench observe --json --observe "serial:$dir/none" -- true
is '.result == "refused" and (.command | keys == ["line"])'

((failures == 0)) || exit 1
echo 'ok'
