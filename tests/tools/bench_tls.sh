#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# That rows of `ferry-bench tls` run and say where ferry stands.
# usage: bench_tls.sh FERRY_BENCH
set -eu

rows=(bulk bulk-shared writer-1 writers-4 roundtrip roundtrip-shared roundtrip-2 idle idle-default
    https-1k https-short https-resumed)
only=$(IFS=, && echo "${rows[*]}")
table=$("$1" tls --quick --rounds 1 --servers nginx,ferry --only "$only" 2>&1) || {
    echo "FAILED: $table" >&2
    exit 1
}
# A row of servers needs another one, and wrk(1).
for row in "${rows[@]}"; do
    grep -qE "^(\\| $row: .* \\| (ahead|level|behind) \\||ferry-bench: $row: nobody to stand beside is there)$" \
        <<<"$table" || {
        echo "FAILED: no row $row: $table" >&2
        exit 1
    }
done
