#!/bin/bash
# SPDX-License-Identifier: MIT
# The rooms of the house use one another one way only, and no files use one another in a circle.
# Usage: layers.sh SOURCE_DIRECTORY BUILD_DIRECTORY
set -eu
source=$1 build=$2
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

complain() {
    echo "layers: $*" >&2
    failed=1
}

# Each file uses only what its room may, and none of those that use it (tests/rooms.txt).
cd "$source"
# What takes the place of TLS is not built where there is TLS. Where there is none, TLS is not.
if [ -e "$build/libferry-tls.so" ]; then
    find core actors transport tls tools -name '*.[ch]' ! -name 'without_tls.c' >"$work/files"
else
    find core actors transport tools -name '*.[ch]' ! -name 'with_tls.c' >"$work/files"
fi
xargs grep -H '^#include' <"$work/files" >"$work/includes"
find "$build/CMakeFiles" "$build/tools" -name '*.c.o' >"$work/objects"
{
    sed 's/$/: none -/' "$work/objects" # also those without symbols: report.c's, with NDEBUG
    xargs nm -A -P <"$work/objects" 2>/dev/null
} >"$work/symbols"
awk -v build="$build" -v must_have_object='^(core|actors|transport|tls|tools/ferry)/' \
    -f tests/rooms.awk tests/rooms.txt "$work"/{files,includes,symbols} >"$work/complaints"
if [ -s "$work/complaints" ]; then
    cat "$work/complaints" >&2
    failed=1
fi

# libck stands in one file.
users=$(grep -lE '#include <ck_' -r "$source"/{core,actors,transport,tls,tools} --include='*.[ch]')
[ "$users" = "$source/core/mailbox.c" ] || complain "libck is used in: $users"

# check_exports LIBRARY VERSION FOLDER... : it exports the public interface in these folders, and
# nothing else. What libferry shows to libferry-tls has a version of its own (core/shared.h).
check_exports() {
    local exported declared
    exported=$(nm -D --defined-only "$build/$1.so" |
        awk -v "version=@@$2\$" '$2 != "A" && !/@@FERRY_PRIVATE$/ { sub(version, "", $3); print $3 }' |
        sort)
    declared=$(find "${@:3}" -path '*/include/ferry/*.h' -exec cat {} + |
        grep -oE '^FERRY_API [^;(]*\bferry_[a-z_]+\(' | grep -oE 'ferry_[a-z_]+\($' | tr -d '(' | sort)
    [ "$exported" = "$declared" ] ||
        complain "$1: exported and declared differ: $(diff <(echo "$exported") <(echo "$declared"))"
}
check_exports libferry FERRY_0 core transport
[ ! -e "$build/libferry-tls.so" ] || check_exports libferry-tls FERRY_TLS_0 tls

# It needs the glibc that the README says. A later one gives C23's strtol(3) and sscanf(3) to what
# is built with it. With musl there is none.
newest=$(nm -D --undefined-only "$build/libferry.so" | grep -v ' __isoc23_' |
    grep -o 'GLIBC_[0-9.]*' | sort -V | tail -1)
said=$(sed -n 's/.*glibc \([0-9.]*\) or later.*/\1/p' README.md)
[ -z "$newest" ] || [ "$newest" = "GLIBC_$said" ] ||
    complain "libferry.so needs $newest; the README says $said"

[ $failed -eq 0 ] && echo "layers: one way, without circles, and only the public interface is exported"
exit $failed
