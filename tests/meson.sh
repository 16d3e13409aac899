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
} >"$work/meson.build"
{ meson setup "$work/build" "$work" && ninja -C "$work/build" by_meson; } >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
echo 1234567890 >"$work/file"
"$work/build/by_meson" "$work/file" | grep -qx 'the peer read 17 bytes' ||
    { echo "meson: the program does not work" >&2; exit 1; }
echo "meson: usable as a subproject"
