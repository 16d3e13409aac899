#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# That each row of `ferry-bench tls` runs and says where ferry stands.
# usage: bench_tls.sh FERRY_BENCH
set -eu

table=$("$1" tls --quick --rounds 1 2>&1) || {
    echo "FAILED: $table" >&2
    exit 1
}
for row in bulk bulk-shared writer-1 writers-4 roundtrip roundtrip-shared roundtrip-2 idle idle-default; do
    grep -qE "^\\| $row: .* \\| (ahead|level|behind) \\|$" <<<"$table" || {
        echo "FAILED: no row $row: $table" >&2
        exit 1
    }
done
