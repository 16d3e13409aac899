#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs and libraries of different versions get on, or say clearly why not. In a copy of the
# source every public struct grows by a field: a library is made of it, and a program.
#
#   program of before, grown library   it works
#   grown program, library of before   it works as long as it does not use the new fields; a call
#                                      with one of them is -E2BIG (tests/abi_program.c)
#
# And the interface is that of the dump in tests/abi/, by libabigail: what the library of before had
# is there still, and the same. Usage: abi.sh SOURCE_DIRECTORY COMPILER [LIBRARY]
# The library is of today, shared, with all that debuggers want; without one, it is made.
set -eu
source=$(realpath "$1") compiler=$2 built=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "abi: $*" >&2
    exit 1
}

# Makes a library of a tree: library TREE NAME [OPTION...].
library() {
    local objects=() unit
    mkdir "$work/$2"
    while read -r unit; do
        objects+=("$work/$2/$(tr / _ <<<"${unit#"$1"/}").o")
        printf '%s\0%s\0' "$unit" "${objects[-1]}"
    done < <(find "$1"/{core,actors,transport} -name '*.c') |
        xargs -0 -n 2 -P "$(nproc)" sh -c '"$0" $1 -fPIC -fvisibility=hidden -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
            -I "$2" -I "$2/core/include" -I "$2/transport/include" -c "$3" -o "$4"' \
            "$compiler" "${*:3}" "$1"
    "$compiler" -shared -o "$work/$2/libferry.so.0" -Wl,-soname,libferry.so.0 \
        "-Wl,--version-script,$1/cmake/ferry.map" "$work/$2"/*.o -pthread
}

# Compiles the program: program TREE NAME [OPTION...]; and runs it: with LIBRARY NAME.
program() {
    local tree=$1 name=$2
    shift 2
    "$compiler" -g -D_GNU_SOURCE -I "$tree/core/include" -I "$tree/transport/include" "$@" \
        "$source/tests/abi_program.c" "$work/before/libferry.so.0" -o "$work/$name"
}

with() {
    LD_LIBRARY_PATH=$work/$1 "$work/$2" || fail "the $2 program fails with the $1 library"
}

mkdir "$work/tree"
cp -r "$source"/{core,actors,transport,cmake} "$work/tree"
grown=$(grep -lE '^ +uint64_t reserved\[' "$work"/tree/*/include/ferry/*.h)
perl -pi -e 's/^( +)uint64_t reserved\[(\d+)\];/"$1uint64_t grown;" . ($2 > 1 ? " uint64_t reserved[" . ($2 - 1) . "];" : "")/e' \
    $grown
# A struct whose only reserved word is taken has none left to look at.
sed -i 's/ || FERRY__IS_NEWER(&outcome->result)//' "$work/tree/core/own.c"

if [ "$built" ]; then
    mkdir "$work/before"
    cp -L "$built" "$work/before/libferry.so.0"
else
    library "$source" before -g
fi
library "$work/tree" grown
program "$source" old
program "$work/tree" new
program "$work/tree" eager -DNEWER
with before old
with grown old
with before new
with grown new
with before eager

dump=$source/tests/abi/ferry.abi
headers=(--headers-dir "$source/core/include" --headers-dir "$source/transport/include")
if [ "${FERRY_ABI_DUMP:-}" ]; then
    abidw "${headers[@]}" --drop-private-types --no-corpus-path --no-comp-dir-path \
        --no-show-locs --exported-interfaces-only "$work/before/libferry.so.0" |
        sed "s|path='$source/|path='|" >"$dump"
fi
abidiff --headers-dir2 "$source/core/include" --headers-dir2 "$source/transport/include" \
    --drop-private-types --no-added-syms "$dump" "$work/before/libferry.so.0" ||
    fail "the interface is not that of $dump: see docs/abi.md"
