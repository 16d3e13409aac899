#!/bin/bash
# SPDX-License-Identifier: MIT
# The glossary is the code's. Each word of docs/words.md, and of ARCHITECTURE.md's table of words,
# is in use where the page says, and is explained once. Each private type is called by one of them.
# Usage: words.sh SOURCE_DIRECTORY
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

complain() {
    echo "words: $*" >&2
    failed=1
}

# entries FILE : "FOLDER: WORD" for each word that its tables explain. A heading names the folder.
entries() {
    awk -F ' *[|] *' '
        /^## / { folder = match($0, /\([a-z]+\/\)/) ? substr($0, RSTART + 1, RLENGTH - 3) : "all" }
        /^## / { inside = /[(]/ || /words/ }
        inside && /^\| / && $2 != "word" {
            count = split($2, words, ", ")
            for (i = 1; i <= count; i++)
                print folder ": " words[i]
        }' "$1"
}

# said FOLDER : all that is said in its sources, one word behind the other, names taken apart.
said() {
    find "$1" -name '*.[ch]' -exec cat {} + | tr 'A-Z_\n-' 'a-z  ' | tr -s ' */"' ' '
}

{ entries docs/words.md && entries ARCHITECTURE.md; } >"$work/entries"
[ "$(wc -l <"$work/entries")" -ge 60 ] || complain "the tables of words are not where they were"
for folder in core actors transport tls; do
    said "$folder" >"$work/$folder"
    cat "$work/$folder" >>"$work/all"
done

while IFS=': ' read -r folder word; do
    grep -qwE "${word/-/ ?}(s|es)?" "$work/$folder" || complain "nothing in $folder is called \"$word\""
done <"$work/entries"

sed 's/^[^ ]* //' "$work/entries" | sort >"$work/words"
uniq -d "$work/words" >"$work/twice"
[ ! -s "$work/twice" ] || complain "explained twice: $(tr '\n' ' ' <"$work/twice")"

# A private type is called by one of the words, in the singular or plural.
sed 's/-//; s/ promise$//; s/$/\\(s\\|es\\)\\?/' "$work/words" >"$work/patterns"
grep -rhoE '^(typedef (struct|union|enum)( __attribute__\S+)? ferry__[a-z_]+|struct ferry__[a-z_]+ \{)' \
    core actors transport tls --include='*.h' | grep -oE 'ferry__[a-z_]+' | sort -u |
    sed 's/^ferry__//; s/_/ /g' >"$work/types"
grep -vwf "$work/patterns" "$work/types" >"$work/unexplained" || true
[ ! -s "$work/unexplained" ] ||
    complain "no word of theirs is in docs/words.md: $(tr '\n' ',' <"$work/unexplained")"

[ $failed -eq 0 ] && echo "words: each is in use, and explained once"
