#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit bench report and bench compare on results that nobody has measured.
#
#   test-bench-report.sh GODWIT SYNTHETIC-TRIALS
set -euo pipefail

readonly godwit=$1 synthetic=$2
dir=$(mktemp -d)
readonly dir
trap 'rm -rf -- "$dir"' EXIT
failures=0

fail() {
    echo "FAIL: $1" >&2
    failures=$((failures + 1))
}

# run CODE COMMAND...: its output is in $dir/out and $dir/err
run() {
    local expected=$1 code=0
    shift
    "$@" >"$dir/out" 2>"$dir/err" || code=$?
    ((code == expected)) || fail "exit code $code, not $expected: $* ($(<"$dir/err"))"
}

says() { # says FILE PATTERN
    grep -qE -e "$2" "$dir/$1" || fail "$1 does not say '$2'"
}

says_not() {
    ! grep -qE -e "$2" "$dir/$1" || fail "$1 says '$2'"
}

# make DIR SETTINGS RATES ROUTES ROUNDS TIMELINES SLOWER SEED
make() { "$synthetic" "$dir/$1" "${@:2}"; }

compare_tells() {
    run 0 "$godwit" bench compare "$dir/base" "$dir/base"
    says out '0 faster, 0 slower, 12 cannot tell'
    run 1 "$godwit" bench compare "$dir/base" "$dir/slow/summary.json"
    says out 'default direct +silence +20 +20 .* slower$'
    says out "only in $dir/base: linux tcg 0 MiB/s multifd-2 direct \(20 trials\)"
    says out "only in $dir/slow/summary.json: linux tcg 0 MiB/s default native"
    run 0 "$godwit" bench compare "$dir/slow" "$dir/base"
    says out 'faster$'
    run 1 "$godwit" bench compare --json "$dir/base" "$dir/slow"
    jq -e '.schema == 1 and .slower > 0 and .same_machine and
        (.cells | length) == 2 and .cells[0].silence_ms.before_n == 20 and
        (.only_before | length) == 4 and (.only_after | length) == 1' "$dir/out" >/dev/null ||
        fail "compare --json: $(<"$dir/out")"
    is_documented "$dir/out" 'godwit bench compare --json'
}

a_gate_tells() {
    run 0 "$godwit" bench compare "$dir/base" "$dir/base" --fail-above 10s
    tail -n 1 "$dir/err" | grep -qE 'fail-above 10000ms: within it in each of 6 cells; the worst trial [0-9.]+ ms$' ||
        fail "the gate's last line is '$(tail -n 1 "$dir/err")'"
    run 1 "$godwit" bench compare "$dir/base" "$dir/base" --fail-above 1ms
    tail -n 1 "$dir/err" | grep -qE 'BEYOND it in 6 of 6 cells: .*linux guest, tcg, default, direct, .*ms in trial [0-9]+' ||
        fail "the gate's last line is '$(tail -n 1 "$dir/err")'"
    local value
    for value in 50 0ms -1ms soon; do
        run 2 "$godwit" bench compare "$dir/base" "$dir/base" "--fail-above=$value"
        run 2 "$godwit" bench report "$dir/base" -o "$dir/x.html" "--fail-above=$value"
        run 2 "$godwit" bench migrate --local --dry-run "--fail-above=$value"
    done
}

is_documented() { # is_documented FILE SECTION
    "$(dirname "${BASH_SOURCE[0]}")/../../documented" "$@" >&2 || fail "doc/json.md does not name all of $1"
}

trials_are_documented() {
    is_documented "$dir/base/summary.json" 'godwit bench migrate'
    is_documented "$dir/cell/trial-0001.json" 'godwit bench migrate'
}

compare_refuses() {
    run 2 "$godwit" bench compare "$dir/base" "$dir/missing"
    says err 'missing: .*No such file'
    run 2 "$godwit" bench compare "$dir/base" "$dir/relocate.json"
    says err "relocate.json: is of the kind 'none'"
    run 2 "$godwit" bench compare "$dir/base"
}

report_draws() {
    run 0 "$godwit" bench report "$dir/cell" -o "$dir/page.html"
    says out '/page.html$'
    says page.html '</html>'
    says page.html '<details open><summary>default, direct, idle: trial'
    says page.html 'tests/&lt;synthetic&gt;.json'
    says_not page.html '(src|href)="?http|<script|<link|@import|url\('
    # the time line, the silences, the pause and its devices
    (($(grep -c '^<svg\|<figure.*<svg' "$dir/page.html") == 4)) || fail "not 4 charts in the page"
    [[ ! -e $dir/page.html.new ]] || fail 'a new page is left over'
    run 0 "$godwit" bench report "$dir/cell" --trial 3 -o -
    says out '<h2>Trials by number'
    run 2 "$godwit" bench report "$dir/cell" --trial 99 -o "$dir/none.html"
    says err 'there is no trial 99'
    [[ ! -e $dir/none.html ]] || fail 'a page of nothing'
}

report_draws_all_kinds() {
    run 0 "$godwit" bench report "$dir/base" "$dir/relocate.json" -o -
    says out 'Relocation: to-share'
    says out '<td class=t>nfs-&lt;cp&gt;</td>'
    says out 'Against virsh'
    run 0 "$godwit" bench report "$dir/relocate.json" -o -
    says_not out 'Migrations'
    run 0 "$godwit" bench report "$dir/refused" -o - # no silence at all
    says out '1 refused'
}

report_refuses() {
    echo '{"schema": 1, "kind": "weather"}' >"$dir/weather.json"
    run 2 "$godwit" bench report "$dir/weather.json" -o "$dir/none.html"
    says err "weather.json: is of the kind 'weather'"
    echo '{"schema": 7, "kind": "migration-series"}' >"$dir/new.json"
    run 2 "$godwit" bench report "$dir/new.json" -o "$dir/none.html"
    says err 'schema 7'
    run 2 env PATH=/nonexistent "$godwit" bench report "$dir/cell" -o "$dir/none.html"
    says err 'gnuplot is not installed'
    says err 'install gnuplot-nox'
    run 1 "$godwit" bench report "$dir/cell" -o /dev/full/page.html
}

write_relocation() {
    cat >"$dir/relocate.json" <<'JSON'
{"schema": 1, "result": "done", "direction": "to-share", "share": "nfs://nfs/export/", "files": 1,
 "bytes": 1073741824, "data_bytes": 1073741824, "cache": "warm", "rounds": 3, "seed": 5,
 "machine": {"kernel": "Linux 6.1.0", "cpu": "AMD EPYC", "cores": 2, "load_1m": 1.0},
 "contestants": [
  {"name": "godwit", "role": "godwit", "version": "0.1", "state": "right", "n": 3,
   "seconds": {"median": 1.108, "min": 0.963, "max": 1.185}, "bytes_per_s": 969000000,
   "cpu_s_per_gib": {"median": 0.702}, "ratio": {"seconds": {"median": 1.0, "min": 1.0, "max": 1.0}}},
  {"name": "nfs-<cp>", "role": "peer", "version": "", "state": "not installed", "n": 0,
   "seconds": {"median": null, "min": null, "max": null}, "bytes_per_s": 0,
   "cpu_s_per_gib": {"median": null}, "ratio": {"seconds": {"median": null}}}]}
JSON
}

make cell 1 1 1 6 1 1 1
make base 3 1 2 21 0 1 1
make slow 1 1 3 21 0 2 2
make refused 8 1 2 1 0 1 1
jq '.trials |= map(select(.end == "refused"))' "$dir/refused/summary.json" >"$dir/some"
mv "$dir/some" "$dir/refused/summary.json"
write_relocation
compare_tells
a_gate_tells
compare_refuses
trials_are_documented
if command -v gnuplot >/dev/null; then
    report_draws
    report_draws_all_kinds
    report_refuses
else
    echo 'not tested: bench report; gnuplot is not installed (gnuplot-nox)'
fi
((failures == 0)) || exit 1
echo 'ok'
