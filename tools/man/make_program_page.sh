#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes ferry(1) of what the program says of itself.
# Usage: make_program_page.sh PROGRAM VERSION OUT_FILE
set -eu
program=$1 version=$2 out=$3

# As roff that is shown as it is.
shown() {
    printf '.nf\n'
    "$program" "$@" --help | sed 's/\\/\\e/g; s/-/\\-/g; s/^\([.'"'"']\)/\\\&\1/; s/^$/.PP/'
    printf '.fi\n'
}

commands=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
mkdir -p "$(dirname "$out")"
{
    printf '.TH ferry 1 "" "ferry %s" "ferry"\n' "$version"
    printf '.SH NAME\nferry \\- moves files over TCP and unix sockets\n'
    printf '.SH SYNOPSIS\n.B ferry\n[OPTION...] [COMMAND [ARGUMENT...]]\n.SH DESCRIPTION\n'
    shown
    for command in $commands; do
        printf '.SH FERRY %s\n' "$(echo "$command" | tr '[:lower:]' '[:upper:]')"
        shown "$command"
    done
    printf '.SH SEE ALSO\nferry(7)\n'
} >"$out.new"
mv "$out.new" "$out"
