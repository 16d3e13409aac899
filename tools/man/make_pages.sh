#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the man pages of the public headers.
# Usage: make_pages.sh SOURCE_DIRECTORY VERSION OUT_DIRECTORY
set -eu
rm -rf "$3/man3" "$3/man7"
mkdir -p "$3/man3" "$3/man7"
cd "$1"
# shellcheck disable=SC2046
set -- "$2" "$3" $(ls core/include/ferry/*.h transport/include/ferry/*.h tls/include/ferry/*.h)
version=$1 out=$2
shift 2
exec awk -v "out=$out" -v "version=$version" -f tools/man/pages.awk pass=1 "$@" pass=2 "$@"
