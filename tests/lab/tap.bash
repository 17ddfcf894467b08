# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What a test script says: one line a test, "ok N - name", "not ok N - name", or "ok N - name # SKIP
# reason", and at the end how many. tests/run counts these lines.

tap_count=0 tap_failed=0

# check NAME CMD...: one test, which passes if CMD succeeds. What CMD printed is shown if it fails.
check() {
    local name=$1 output
    shift
    tap_count=$((tap_count + 1))
    if output=$("$@" 2>&1); then
        printf 'ok %d - %s\n' "$tap_count" "$name"
    else
        tap_failed=$((tap_failed + 1))
        printf 'not ok %d - %s\n' "$tap_count" "$name"
        printf '# %s\n' "${output//$'\n'/$'\n'# }"
        return 1
    fi
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
