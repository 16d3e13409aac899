#!/bin/bash
# SPDX-License-Identifier: MIT
# Each name that the headers declare has a man page, which is whole and refers to pages that are
# there. And bash completes what the program's help names.
# Usage: man.sh SOURCE_DIRECTORY PAGES PROGRAM
set -u
source=$1 pages=$2 program=$3
failed=0
complain() {
    echo "man: $*" >&2
    failed=1
}

names=$(cat "$source"/{core,transport,tls}/include/ferry/*.h | tr '\n' ' ' |
    grep -oE '(FERRY_API|static inline) [^;{]*[;{]' | grep -oE '\bferry_[a-z_]+\(' | tr -d '(' | sort -u)
[ "$(wc -l <<<"$names")" -gt 90 ] || complain "the headers declare hardly anything"
for name in $names; do
    [ -e "$pages/man3/$name.3" ] || complain "there is no page of $name"
done

cd "$pages" || exit 1
for page in man[137]/*.[137]; do
    if read -r _ other < <(grep '^\.so ' "$page"); then
        [ -e "$other" ] || complain "$page stands for $other, which is not there"
        continue
    fi
    for part in NAME SYNOPSIS DESCRIPTION; do
        grep -q "^\.SH $part\$" "$page" || complain "$page has no $part"
    done
done
grep -ohE '\bferry[a-z_\\-]*\([137]\)' man[137]/*.[137] | tr -d '\\' | sort -u |
    while IFS='()' read -r name section _; do
        [ -e "man$section/$name.$section" ] || echo "$name($section)"
    done >"${TMPDIR:-/tmp}/man-missing.$$"
[ ! -s "${TMPDIR:-/tmp}/man-missing.$$" ] || complain "no such pages: $(cat "${TMPDIR:-/tmp}/man-missing.$$")"
rm -f "${TMPDIR:-/tmp}/man-missing.$$"
if command -v groff >/dev/null; then
    warnings=$(groff -s -man -ww -Tutf8 man[137]/*.[137] 2>&1 >/dev/null)
    [ -z "$warnings" ] || complain "groff says: $(head -5 <<<"$warnings")"
fi

# shellcheck disable=SC1091
. "$source/tools/ferry/completion.bash"
# complete_to WORD... : what bash would offer for the last one
complete_to() {
    COMP_WORDS=("$program" "$@")
    COMP_CWORD=$#
    _ferry "$program"
    printf '%s\n' "${COMPREPLY[@]}"
}
commands=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort)
[ -n "$commands" ] && [ "$(complete_to '' | sort)" = "$commands" ] || complain "commands are not completed"
for command in $commands; do
    options=$("$program" "$command" --help | grep -oE '^ {2,6}(-., )?--[a-z0-9-]+' | grep -oE -- '--.*' | sort)
    [ "$(complete_to "$command" -- | sort)" = "$options" ] ||
        complain "options of $command are not completed"
done
[ $failed -eq 0 ] && echo "man: all names have pages, and all options are completed"
exit $failed
