#!/bin/bash
# SPDX-License-Identifier: MIT
# The public headers compile without warnings, each alone and all together in either order, as C17
# and, where CXX names a compiler, as C++17 and C++20; also where casts must be C++'s own, as many a
# C++ project has it. Usage: headers.sh SOURCE_DIRECTORY
set -eu
source=$1
mapfile -t headers < <(basename -a "$source"/{core,transport,tls}/include/ferry/*.h)
failed=0

# compile LANGUAGE FLAG... : standard input, by the compiler of that language
compile() {
    local compiler=${CC:-cc}
    [ "$1" = c ] || compiler=$CXX
    "$compiler" -x "$@" -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fsyntax-only \
        -I"$source/core/include" -I"$source/transport/include" -I"$source/tls/include" -
}

include() {
    printf '#include <ferry/%s>\n' "$@"
}

# check LANGUAGE FLAG...
check() {
    local header
    for header in "${headers[@]}"; do
        include "$header" "$header" | compile "$@" || complain "$header does not stand alone" "$@"
    done
    include "${headers[@]}" | compile "$@" || complain "all together do not compile" "$@"
    include "${headers[@]}" | tac | compile "$@" || complain "in reverse they do not compile" "$@"
}

complain() {
    echo "headers: $1, as ${*:2}" >&2
    failed=1
}

check c -std=c17
if [ -n "${CXX:-}" ]; then
    check c++ -std=c++17 -Wold-style-cast
    check c++ -std=c++20 -Wold-style-cast
fi

# Where pointers are smaller, they say so first.
if "${CC:-cc}" -m32 -E -x c - </dev/null >/dev/null 2>&1; then
    include api.h | compile c -m32 2>&1 | grep -m1 error: | grep -q 'ferry is for 64-bit machines' ||
        complain "a 32-bit build is not refused" c -m32
fi
[ $failed -eq 0 ] && echo "headers: without warnings as C${CXX:+ and C++}"
exit $failed
