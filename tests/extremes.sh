#!/bin/bash
# SPDX-License-Identifier: MIT
# Every number that a program can give ferry has a row in tests/transport/extremes.c, or that of
# tests/tls/, by its name: STRUCT.FIELD, or FUNCTION(ARGUMENT). Usage: extremes.sh SOURCE_DIRECTORY
set -u
cd "$1" || exit 1

number='(u?int(32|64)_t|size_t|unsigned|int)'

# What only ferry fills in.
given_by_ferry='^ferry_tls_(info|failure)\.|^ferry_(service_status|stream_status|promise_info|stop_report|credentials)\.|^ferry_result\.(stream_offset|sequence|queued_ns|active_ns)$'
# How many there are of what stands beside it: nobody can tell whether that is so.
counts_of_arrays='^ferry_promise_(all|any|race|all_settled|await_all|await_any)\(count\)$'
# The same number as another's.
same_as_another='^ferry_stream_get_local\(size\)$|^ferry_listener_get_address\(size\)$|^ferry_file_fd\(fd\)$|^ferry_part_(copy|borrow|give|generate)\(length\)$|^ferry_promise_catch\(error\)$'
# How large the program's own memory is that stands beside it.
sizes_of_memory='^ferry_tls_(certificate|trust)\.[a-z]+_length$|^ferry_tls_server_options\.(answer_to_http_length|(certificate|protocol)_count)$|^ferry_tls_client_options\.protocol_count$'

fields() {
    awk -v number="^ +(const )?$number [a-z_]+;" '
        /^typedef struct [a-z_]+ \{/ { struct = $3 }
        /^}/ { struct = "" }
        struct != "" && $0 ~ number { sub(/;.*/, ""); print struct "." $NF }' "$@"
}

arguments() {
    tr '\n' ' ' <<<"$(cat "$@")" | grep -oE 'FERRY_API [^;{]*;' |
        sed -E 's/^.*[ *](ferry_[a-z_]+)\(/\1(/' |
        while IFS='(' read -r function list; do
            grep -oE "(^|[ (])$number [a-z_]+[,)]" <<<"$list" | grep -oE '[a-z_]+[,)]' |
                sed "s/[,)]//; s/.*/$function(&)/"
        done
}

missing=$({ fields {core,transport,tls}/include/ferry/*.h && arguments {core,transport,tls}/include/ferry/*.h; } |
    grep -vE "$given_by_ferry|$counts_of_arrays|$same_as_another|$sizes_of_memory" | sort -u |
    while read -r name; do
        grep -qF "ROW(\"$name\"," tests/transport/extremes.c tests/tls/extremes.c || echo "$name"
    done)
[ -z "$missing" ] && exit 0
printf 'no row in tests/transport/extremes.c is about:\n%s\n' "$missing"
exit 1
