#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the fuzzer of peers for so long, from the scripts below; FOLDER keeps what it finds.
# Usage: fuzz.sh FUZZER SECONDS [FOLDER]
set -eu
fuzzer=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/seeds" "$work/found"

# Who is who, and how it ends; then steps, as fuzz_peer.c numbers them: what, and how much.
seed() {
    local name="$1" escaped
    shift
    printf -v escaped '\\x%x' "$@"
    printf %b "$escaped" >"$work/seeds/$name"
}
# Forty new keys.
flood=()
for _ in {1..40}; do
    flood+=(8 1)
done
for server in 0 128; do
    for old in 0 1; do
        who=$((server + old + 14)) # with the right name and protocol
        for strict in 0 32; do
            seed "talk-$who-$strict" $((who + strict)) 0 0 0 7 100 2 0 12 200 13 40 19 0 19 0 14 9 \
                15 0 19 0 10 0 2 0 12 99 17 0 19 0
        done
        seed "pieces-$who" $who 1 1 0 3 0 12 0 3 5 12 0 3 99 12 0 2 0 12 0 1 0 3 40 12 0 2 0 12 0 \
            0 0
        seed "keys-$who" $who 0 0 0 8 0 8 1 7 9 9 0 2 0 12 50 13 255 19 0 19 0 19 0 17 0
        seed "garbage-$who" $who 2 5 9 71 69 84 32 47 32 72 84 84 2 0 12 0 22 17 1 2 2 0 12 0
        seed "changed-$who" $who 1 0 0 7 9 4 7 2 0 12 40 11 0 12 9
    done
    who=$((server + 14))
    seed "sealed-$server" $who 0 0 0 20 9 0 21 1 20 50 0 2 0 12 90 13 60 20 2 2 1 0 2 0 12 9 19 0
    for first in 12 24; do # which direction gets the rest
        seed "half-$server-$first" $who 0 0 0 20 4 1 24 0 0 1 2 0 12 9 13 9 14 9 15 0 17 0 \
            20 1 1 0 2 0 "$first" 9 12 9 13 9 19 0
    done
    seed "flood-$server" $who 0 0 0 "${flood[@]}" 2 0 12 9 12 9 13 9
    seed "empty-$server" $who 0 0 0 20 0 0 20 0 8 20 0 16 2 0 12 9 18 0
    seed "received-$server" $((who + 64)) 0 9 71 69 84 32 47 32 72 84 84 12 0
done
# A minute for one input: a busy machine may leave it waiting for long.
"$fuzzer" -max_total_time="$2" -max_len=512 -len_control=0 -timeout=60 -print_final_stats=0 \
    -artifact_prefix="${3:-.}/" "${3:-$work/found}" "$work/seeds"
