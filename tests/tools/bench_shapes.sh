#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# That each row of `ferry-bench shapes` runs, says where ferry stands, and is counted.
# usage: bench_shapes.sh FERRY_BENCH
set -eu

bench=$1

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

table=$("$bench" shapes --quick --rounds 1 --servers nginx,ferry 2>&1) || fail "$table"
rows=$(grep -cE '^\| [a-z0-9-]+: .* \| (ahead|level|behind) \|$' <<<"$table") || fail "no rows: $table"
counted=$(sed -n 's/^ferry is ahead in \([0-9]*\), level in \([0-9]*\), behind in \([0-9]*\)$/\1 + \2 + \3/p' <<<"$table")
[ $((counted)) -eq "$rows" ] || fail "$rows rows, and counted: $counted: $table"
[ "$rows" -eq "$(grep -c '^| [a-z0-9-]*: ' <<<"$table")" ] || fail "a row says nothing: $table"

# Two of them by name, and none that is not there.
chosen=$("$bench" shapes --quick --rounds 1 --only writer-1,short-16) || fail "it does not choose"
[ "$(grep -cE '^\| (writer-1|short-16): ' <<<"$chosen")" -eq 2 ] || fail "others: $chosen"
! "$bench" shapes --only short 2>/dev/null || fail "it took a name that is not there"
