#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# That `ferry-bench serve` measures, and that it leaves nothing behind however it ends.
# usage: bench_serve.sh FERRY_BENCH SERVERS
set -eu

bench=$(realpath "$1")
servers=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/bin"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# run COMMAND_IN_FRONT... : the benchmark, in $output what it and all that it starts print. Returns
# when the last of those has ended: until then one has the pipe open that $(...) reads to its end,
# as its descriptor 3 if not otherwise.
run() {
    output=$("$@" "$bench" serve --quick --rounds "$rounds" --sizes 16K --connections 8 \
        --servers "$servers" 2>&1 3>&1)
}

nothing_is_left() {
    [ -z "$(ls -A "$TMPDIR")" ] || fail "left behind after $1: $(find "$TMPDIR")"
}

rounds=1
run env || fail "$output"
for server in ${servers//,/ }; do
    grep -Eq "^  $server +[0-9]+\.[0-9]+ " <<<"$output" || fail "no figures of $server: $output"
done
nothing_is_left "a run"

rounds=1000
for signal in INT TERM KILL; do
    ! run timeout --signal="$signal" 2 || fail "it survived $signal"
    nothing_is_left "$signal"
done

# fails_with PROGRAM LINE... : with a program of that name that prints the lines and ends at once.
fails_with() {
    printf '%s\n' '#!/bin/sh' "cat <<'END'" "${@:2}" END >"$work/bin/$1"
    chmod +x "$work/bin/$1"
    ! run env PATH="$work/bin:$PATH" || fail "it succeeded with this $1: $output"
    grep -qF "${@: -1}" <<<"$output" || fail "it does not show what $1 said: $output"
    nothing_is_left "a failure"
    rm "$work/bin/$1"
}

rounds=1
good=("  9 requests in 1.00s, 9.00KB read" "Requests/sec:   9.00")
fails_with wrk "${good[@]}" "  Socket errors: connect 0, read 1, write 0, timeout 0"
fails_with wrk "${good[@]}" "  Non-2xx or 3xx responses: 1"
fails_with wrk "unable to connect"
fails_with "${servers%%,*}" "no such directive"
