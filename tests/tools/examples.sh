#!/bin/bash
# SPDX-License-Identifier: MIT
# The examples do what they say, with nc at the other end. Usage: examples.sh DIRECTORY_OF_EXAMPLES
set -eu
examples=$(realpath "$1")
work=$(mktemp -d)
server=
other=
trap 'kill $server $other 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "examples: $*" >&2
    exit 1
}

"$examples/sender" unix:socket >told 2>announced &
server=$!
for _ in $(seq 100); do
    grep -q "listening on unix:socket" announced && break
    sleep 0.1
done
grep -q "listening on unix:socket" announced || fail "sender does not listen"

# ask NAMES... : what the sender answers. Keeps its own direction open, as clients do that wait.
ask() {
    echo "$*" | nc -N -U socket
}

printf 'first' >first
printf 'second' >second
[ "$(ask first)" = firstEOF ] || fail "one file"
[ "$(ask first second)" = firstsecondEOF ] || fail "two files, in order"
[ "$(ask first missing second)" = firstsecondEOF ] || fail "a missing file costs only itself"
grep -q "ENOENT in open" told || fail "it does not tell what failed"

# The original's scenario: 32 transfers of 2 MiB, 4 at a time, each complete and closed.
head -c $((2 << 20)) /dev/urandom >large
(cat large && printf EOF) | sha256sum >expected
seq 32 | xargs -P 4 -I{} sh -c 'echo large | nc -N -U socket | sha256sum >got.{}'
for i in $(seq 32); do
    cmp -s expected "got.$i" || fail "transfer $i is not what was sent"
done
[ "$(grep -c "2097152 bytes sent" told)" -eq 32 ] || fail "not every transfer was told of"
[ "$(find "/proc/$server/fd" -lname 'socket:*' | wc -l)" -eq 1 ] || fail "connections are left open"

# Files in the middle of a protocol that is not ferry's.
"$examples/protocol" protocol-socket &
other=$!
for _ in $(seq 100); do
    [ -S protocol-socket ] && break
    sleep 0.1
done
printf '[first]\nfirst\n[whole]\n[missing]\n\n[ENOENT]\n[large]\n' >expected
cat large >>expected
printf '\n[whole]\n[second]\nsecond\n[whole]\n' >>expected
printf 'first\nmissing\nlarge\nsecond\n' | nc -N -U protocol-socket >got
cmp -s expected got || fail "a protocol with files in it"
