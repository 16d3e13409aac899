#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# That each row of `ferry-bench tls` runs and says where ferry stands.
# usage: bench_tls.sh FERRY_BENCH
set -eu

rows=(bulk bulk-shared writer-1 writers-4 roundtrip roundtrip-shared roundtrip-2 idle idle-default)
# Those of servers only say how ferry stands where there is another.
{ command -v nginx && command -v wrk; } >/dev/null && rows+=(https-1k https-16k https-128k https-1m https-short https-resumed)
table=$("$1" tls --quick --rounds 1 --servers nginx,ferry 2>&1) || {
    echo "FAILED: $table" >&2
    exit 1
}
for row in "${rows[@]}"; do
    grep -qE "^\\| $row: .* \\| (ahead|level|behind) \\|$" <<<"$table" || {
        echo "FAILED: no row $row: $table" >&2
        exit 1
    }
done
