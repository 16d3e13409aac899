#!/bin/bash
# SPDX-License-Identifier: MIT
# What the documentation shows is what is built, and the example does what the README says it does.
# Usage: docs.sh SOURCE_DIRECTORY EXAMPLE_PROGRAM
set -eu
source=$1 example=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "docs: $*" >&2
    exit 1
}

awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$source/README.md" \
    >"$work/shown.c"
diff "$work/shown.c" "$source/tools/examples/first.c" >&2 ||
    fail "README.md's first program is not tools/examples/first.c"
[ "$(wc -l <"$work/shown.c")" -le 40 ] || fail "the first program has more than 40 lines"

for file in "$source"/tools/examples/*.{c,cpp}; do
    [ "$(wc -l <"$file")" -lt 100 ] || fail "$(basename "$file") has 100 lines or more"
done

head -c 1000 /dev/zero >"$work/file"
printf '%s: OK, 1000 bytes sent\nthe peer read 1006 bytes\n' "$work/file" >"$work/expected"
"$example" "$work/file" >"$work/told"
diff "$work/told" "$work/expected" >&2 || fail "the first program tells something else"

# What a how-to shows is a piece of the program that it names last.
awk -v work="$work" '
    match($0, /examples\/[a-z]+\.c\)/) { program = substr($0, RSTART + 9, RLENGTH - 10) }
    /^```$/ { block = "" }
    block != "" { print >block }
    /^```c$/ { block = work "/how-to." ++count "." program }' "$source/docs/how-to.md"
[ "$(ls "$work"/how-to.* | wc -l)" -ge 6 ] || fail "there are fewer than six how-tos"
for block in "$work"/how-to.*; do
    program=$source/tools/examples/${block#*how-to.*.}
    [[ $(<"$program") == *"$(<"$block")"* ]] || fail "how-to.md shows what ${program##*/} does not say"
done

# These pages speak of names that there are.
cat "$source"/{core,transport,tls}/include/ferry/*.h >"$work/headers"
for page in README.md docs/{coming-from,how-to}.md; do
    grep -ohE '\b(ferry|FERRY)_[a-zA-Z_]+[a-zA-Z]\b' "$source/$page" | sort -u |
        while read -r name; do
            grep -qE "\b$name" "$work/headers" "$source/CMakeLists.txt" ||
                fail "$page speaks of $name, which is not there"
        done
done

# Every file that these pages name exists, and every link leads somewhere.
for page in ARCHITECTURE.md CONTRIBUTING.md README.md docs/{coming-from,how-to,ownership,shutdown,words}.md; do
    grep -oE '`[a-z_]+/[a-zA-Z_/.]+`' "$source/$page" | tr -d '`' | sort -u |
        while read -r path; do
            [ -e "$source/$path" ] || fail "$page names $path, which is not there"
        done
done
find "$source" -path "$source/build" -prune -o -name '*.md' -print |
    while read -r page; do
        { grep -oE '\]\([^)#: ]+\)' "$page" || true; } | tr -d '()]' |
            while read -r link; do
                [ -e "$(dirname "$page")/$link" ] || fail "${page#"$source/"} links to $link"
            done
    done

# Each room has a README, and a line there for each of its files, and for no others.
for room in $(sed -n 's/^\([a-z/]*\):.*/\1/p' "$source/tests/rooms.txt" | grep -vE '^circle$|/include$'); do
    (cd "$source/$room" && ls -- *.[ch] include/ferry/*.h 2>/dev/null) | sed 's/\..*//' | sort -u \
        >"$work/there"
    sed -n 's/^| `\([a-z_/]*\)\.[ch]` |.*/\1/p' "$source/$room/README.md" | sort -u >"$work/named"
    diff "$work/named" "$work/there" >&2 || fail "$room/README.md (<) and the files there (>) differ"
done

# It is read in one sitting.
[ "$(wc -c <"$source/ARCHITECTURE.md")" -le 10240 ] || fail "ARCHITECTURE.md has more than 10 KB"

# A comment is whole: it sends nobody to its neighbour, and a public one to no other call.
if grep -rniE '\<likewise\>' "$source"/{core,actors,transport,tls,tools} --include='*.[ch]' >&2 ||
    grep -niE '[^a-z]as ferry_' "$source"/{core,transport,tls}/include/ferry/*.h >&2; then
    fail "these comments are not whole"
fi

# Each invariant has tests that say so, and no test says so of anything else.
sed -n '/^## Invariants/,/^## /s/^- \*\*\([a-z_]*\)\*\*.*/\1/p' "$source/ARCHITECTURE.md" | sort \
    >"$work/invariants"
grep -rhoE '/\* Pins: [a-z_]+\. \*/' "$source/tests" | sed 's/.*: \(.*\)\..*/\1/' | sort -u \
    >"$work/pinned"
diff "$work/invariants" "$work/pinned" >&2 ||
    fail "ARCHITECTURE.md's invariants (<) and those that tests pin (>) differ"

# The headers and the build agree on the version.
version=$(sed -n 's/^#define FERRY_VERSION  *"\(.*\)"$/\1/p' "$source/core/include/ferry/api.h")
grep -q "^project(ferry VERSION $version " "$source/CMakeLists.txt" ||
    fail "the headers say version $version, CMakeLists.txt another"
numbers=$(sed -n 's/^#define FERRY_VERSION_[MAJORINPTCH]* *\([0-9]*\)$/\1/p' "$source/core/include/ferry/api.h")
[ "$(echo $numbers)" = "${version//./ }" ] || fail "the parts of the version are not those of $version"
echo "docs: shown and built agree"
