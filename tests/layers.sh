#!/bin/bash
# SPDX-License-Identifier: MIT
# The layers use one another one way only: tools, tests -> transport -> actors -> core -> libc.
# Usage: layers.sh SOURCE_DIRECTORY BUILD_DIRECTORY
set -eu
source=$1 build=$2
failed=0

complain() {
    echo "layers: $*" >&2
    failed=1
}

# What a layer needs must be defined in it or below: a link of just those archives must succeed.
below=()
for layer in core actors transport; do
    below=("$build/libferry_$layer.a" "${below[@]}")
    ${CC:-cc} ${LAYERS_LINK_FLAGS:-} -shared -o "$build/layer_$layer.so" -Wl,--no-undefined \
        -Wl,--whole-archive "${below[0]}" -Wl,--no-whole-archive "${below[@]:1}" -pthread ||
        complain "$layer calls upward"
    rm -f "$build/layer_$layer.so"
done

# Nor may it include from above; and only the public headers of a layer stand without its name.
forbid() {
    local layer=$1 pattern=$2
    if grep -nE "#include [<\"]($pattern)" -r "$source/$layer" --include='*.[ch]'; then
        complain "$layer includes from above"
    fi
}
forbid core 'actors/|transport/|tools/|tests/|ferry/(connect|file|limiter|listen|part|service|stream|ferry)\.h'
forbid actors 'transport/|tools/|tests/|ferry/(connect|file|limiter|listen|part|service|stream|ferry)\.h'
forbid transport 'tools/|tests/'

# libck stands in one file.
users=$(grep -lE '#include <ck_' -r "$source"/{core,actors,transport,tools} --include='*.[ch]')
[ "$users" = "$source/core/mailbox.c" ] || complain "libck is used in: $users"

# The shared library exports the public interface and nothing else.
exported=$(nm -D --defined-only "$build/libferry.so" | awk '{ print $3 }' | sort)
declared=$(cat "$source"/{core,transport}/include/ferry/*.h |
    grep -oE '^FERRY_API [^;(]*\bferry_[a-z_]+\(' | grep -oE 'ferry_[a-z_]+\($' | tr -d '(' | sort)
[ "$exported" = "$declared" ] ||
    complain "exported and declared differ: $(diff <(echo "$exported") <(echo "$declared"))"

[ $failed -eq 0 ] && echo "layers: one way, and only the public interface is exported"
exit $failed
