# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What a test script says: one line a test, "ok N - name", "not ok N - name", or "ok N - name # SKIP
# reason", and at the end how many. tests/run counts these lines.
#
# A libvirtd that crashes (Debian 12's does, see README.md) is no fault of what is tested. The lab starts it again, and
# has a record of it. A test that fails and finds that record longer is done once more. It may need what the crash
# has taken from a test before it: if it fails again, its group is begun again, once (tap_group), and what failed in
# the group's first run is only a remark. All this is said, and tests/run tells how many crashes there were.

tap_count=0 tap_failed=0

# check NAME CMD...: one test, which passes if CMD succeeds. What CMD printed is shown if it fails.
check() {
    local name=$1 output
    shift
    tap_count=$((tap_count + 1))
    if output=$("$@" 2>&1) || { tap_crash_seen "$name" && output=$("$@" 2>&1); }; then
        printf 'ok %d - %s\n' "$tap_count" "$name"
        return
    fi
    if [[ $tap_run == crashed || $tap_run == in_vain ]]; then
        tap_run=in_vain
        printf '# not yet ok: %s\n' "$name"
    else
        tap_failed=$((tap_failed + 1))
        printf 'not ok %d - %s\n' "$tap_count" "$name"
    fi
    printf '# %s\n' "${output//$'\n'/$'\n'# }"
    return 1
}

tap_tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tools" && pwd)
readonly tap_tools

# Waits for the lab to know of one that was just now. A lab that is not up says so by its exit code, too.
tap_count_crashes() {
    { "$tap_tools/lab" status --json 2>/dev/null || true; } | jq '[.hosts[].crashes | length] | add // 0'
}
tap_crashes=$(tap_count_crashes)
tap_crashes=${tap_crashes:-0}

# Whether there was one since it was asked last, after a test that has failed; then libvirtd serves again.
tap_crash_seen() {
    local crashes
    crashes=$(tap_count_crashes)
    ((${crashes:-0} > tap_crashes)) || return 1
    tap_crashes=$crashes
    [[ $tap_run != first ]] || tap_run=crashed
    echo "# libvirtd has crashed; once more: $1"
    printf '# %s\n' "${output//$'\n'/$'\n'# }"
    "$tap_tools/lab" start a 2>/dev/null && "$tap_tools/lab" start b 2>/dev/null
}

# Of a group: first, crashed (libvirtd has, in it), in_vain (and tests have failed of it). "": of no group, or its last.
tap_run=''

# tap_group CMD...: runs CMD, which makes tests that build on each other, and begins with what it needs for them.
tap_group() {
    tap_run=first
    "$@"
    if [[ $tap_run == in_vain ]]; then
        echo "# libvirtd has crashed; from the beginning: $*"
        tap_run=''
        "$@"
    fi
    tap_run=''
}

skip() {
    tap_count=$((tap_count + 1))
    printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

# await SECONDS CMD...: until it succeeds.
await() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

tap_documented=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/documented
readonly tap_documented

# documented FILE SECTION...: doc/json.md names each key of the JSON objects in FILE, in those sections.
documented() { "$tap_documented" "$@"; }

# The last thing a script does: its exit code is its result.
tap_end() {
    printf '1..%d\n' "$tap_count"
    ((tap_failed == 0))
}

# exits_with CODE CMD...
exits_with() {
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    ((status == wanted)) || {
        echo "exit code $status instead of $wanted"
        return 1
    }
}

# says PATTERN CMD...: CMD succeeds and its output has a line that matches.
says() {
    local pattern=$1 output
    shift
    output=$("$@" 2>&1) || {
        printf 'failed: %s\n' "$output"
        return 1
    }
    grep -qE -- "$pattern" <<<"$output" || {
        printf 'no "%s" in: %s\n' "$pattern" "$output"
        return 1
    }
}

# refused CODE PATTERN CMD...: CMD ends with CODE, and says on its way what is wrong.
refused() {
    local wanted=$1 pattern=$2 status=0 output
    shift 2
    output=$("$@" 2>&1) || status=$?
    if ((status != wanted)) || ! grep -qE -- "$pattern" <<<"$output"; then
        printf 'exit code %d (wanted %d), wanted "%s" in: %s\n' "$status" "$wanted" "$pattern" "$output"
        return 1
    fi
}
