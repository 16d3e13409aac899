#!/bin/bash
# SPDX-License-Identifier: MIT
# A meson project can have ferry as a subproject, by meson's CMake module, as the README says.
# Usage: meson.sh SOURCE_DIRECTORY
set -eu
if ! command -v meson >/dev/null; then
    echo "meson: it is not installed" >&2
    exit 77 # ctest: skipped
fi
source=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/subprojects"
ln -s "$source" "$work/subprojects/ferry"
cp "$source/tools/examples/first.c" "$work"
{
    echo "project('user', 'c')"
    awk '/^```meson$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source/README.md"
    echo "executable('by_meson', 'first.c', dependencies: ferry)"
    echo "executable('by_shared', 'first.c', dependencies: built.dependency('ferry_shared'))"
} >"$work/meson.build"
{ meson setup "$work/build" "$work" && ninja -C "$work/build" by_meson by_shared; } >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
echo 1234567890 >"$work/file"
for program in by_meson by_shared; do
    "$work/build/$program" "$work/file" | grep -qx 'the peer read 17 bytes' ||
        { echo "meson: the program $program does not work" >&2; exit 1; }
done
ldd "$work/build/by_shared" | grep -q libferry || { echo "meson: not the shared one" >&2; exit 1; }
echo "meson: usable as a subproject"
