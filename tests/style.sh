#!/bin/bash
# SPDX-License-Identifier: MIT
# All C looks as .clang-format says, and passes the checks of .clang-tidy:
#
#   style.sh SOURCE_DIRECTORY format
#   style.sh SOURCE_DIRECTORY tidy BUILD_DIRECTORY      without the static analyzer: some seconds
#   style.sh SOURCE_DIRECTORY analyze BUILD_DIRECTORY   the analyzer alone, on the library: minutes
#
# Each version of the two programs has its own mind. They are asked where they are of version 14, as
# on Debian 12; else the test is skipped.
set -eu
source=$1 what=$2 build=${3:-}
cd "$source"
export LC_ALL=C.UTF-8 # columns are characters

# tool NAME : prints how version 14 of it is called.
tool() {
    local program
    for program in "$1-14" "$1"; do
        "$program" --version 2>/dev/null | grep -q 'version 14\.' || continue
        echo "$program"
        return
    done
    echo "style: there is no $1 of version 14" >&2
    exit 77
}

# What clang-format leaves alone: comments, in whatever language, end at column 100.
wide_comments() {
    grep -rnE '^.{101}' core actors transport tools tests --include='*.[ch]' --include='*.cpp'
    grep -rnIE '^.{101}' CMakeLists.txt .ci .github cmake tools tests --exclude='*.md' |
        grep -E '^[^:]*:[0-9]+: *(#|//)'
}

check_format() {
    local program
    ! wide_comments | grep . || return 1
    program=$(tool clang-format)
    find core actors transport tools tests -name '*.[ch]' -print0 |
        xargs -0 "$program" --dry-run -Werror
}

# check_code CHECKS FOLDERS : all that is built there, a few files at a time.
check_code() {
    local program
    program=$(tool clang-tidy)
    grep -oE "\"file\": \"$source/($2)/[^\"]*\.c\"" \
        "$build/compile_commands.json" |
        cut -d'"' -f4 | sort -u |
        xargs -n 8 -P "$(nproc)" "$program" -p "$build" --quiet "--checks=$1" 2>/dev/null
}

case $what in
format) check_format ;;
tidy) check_code '-clang-analyzer-*' 'core|actors|transport|tools' ;;
analyze)
    check_code '-bugprone-*,-misc-*,-performance-*,-readability-*' 'core|actors|transport'
    ;;
esac
echo "style: $what finds nothing"
