#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the fuzzer of requests for so long, from the seeds beside this file; FOLDER keeps what it
# finds.
# Usage: fuzz.sh FUZZER SECONDS [FOLDER]
set -eu
fuzzer=$(realpath "$1") here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/seeds" "$work/found"
count=0
while IFS= read -r seed; do
    count=$((count + 1))
    # The first byte is where it is cut.
    # shellcheck disable=SC2059
    printf "\\x1d$seed" >"$work/seeds/$count"
done <"$here/http.seeds"
# A minute for one input: a busy machine may leave it waiting for long.
"$fuzzer" -max_total_time="$2" -max_len=2048 -timeout=60 -print_final_stats=0 \
    -artifact_prefix="${3:-.}/" -dict="$here/http.dict" "${3:-$work/found}" "$work/seeds"
