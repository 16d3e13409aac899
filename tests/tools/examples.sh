#!/bin/bash
# SPDX-License-Identifier: MIT
# The examples do what they say, with nc at the other end. Usage: examples.sh DIRECTORY_OF_EXAMPLES
set -eu
examples=$(realpath "$1")
work=$(mktemp -d)
server=
other=
mailer=
trap 'kill $server $other $mailer 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "examples: $*" >&2
    exit 1
}

# until_there SOCKET : waits until somebody listens there, which is later than its path is there.
# until_said FILE WORDS : until it says so.
until_there() {
    for _ in $(seq 200); do
        grep -q " 00010000 .*[ /]$1\$" /proc/net/unix && return # __SO_ACCEPTCON
        sleep 0.1
    done
    fail "nobody listens at $1"
}
until_said() {
    for _ in $(seq 200); do
        grep -q "$2" "$1" && return
        sleep 0.1
    done
    fail "$1 does not say '$2'"
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

# A file over TLS, as OpenSSL's own client reads it. Who does not trust the certificate gets
# nothing.
if [ -x "$examples/encrypted" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
    mkfifo input
    "$examples/encrypted" unix:tls-socket cert.pem key.pem large <input 2>refused &
    encrypted=$!
    exec 9>input
    for _ in $(seq 100); do
        [ -S tls-socket ] && break
        sleep 0.1
    done
    openssl s_client -quiet -unix tls-socket -CAfile cert.pem -verify_return_error \
        -verify_hostname localhost </dev/null >got 2>said || fail "s_client says: $(cat said)"
    cmp -s large got || fail "a file over TLS"
    ! openssl s_client -quiet -unix tls-socket -verify_return_error </dev/null >got 2>&1 9>&- ||
        fail "a client that does not trust it"
    exec 9>&-
    wait $encrypted || fail "an answer was cut off"
    grep -q 'no handshake: unknown CA' refused || fail "it does not say who refused it: $(cat refused)"

    # TLS behind lines in clear, for clients whom the server knows.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=alice \
        -keyout alice.key -out alice.pem 2>/dev/null
    "$examples/starttls" starttls-socket cert.pem key.pem alice.pem &
    mailer=$!
    until_there starttls-socket
    mail() { openssl s_client -quiet -nocommands -crlf -starttls smtp -unix starttls-socket "$@"; }
    mail -no_ign_eof -CAfile cert.pem -verify_return_error -cert alice.pem -key alice.key \
        < <(echo "WHO AM I" && until_said got 'hello, CN = alice') >got 2>said ||
        fail "s_client says: $(cat said)"
    ! mail <<<"WHO AM I" >got 2>said || fail "who has no certificate has come in"
    ! grep -q hello got || fail "who has no certificate was answered"
    kill $mailer
fi

# A backup is tried again until there is a server, and then goes there whole.
"$examples/backup" unix:backup-socket large >backed-up 2>attempts &
backup=$!
until_said attempts "attempt 2"
nc -l -N -U backup-socket </dev/null >copy
wait $backup || fail "the backup did not succeed: $(cat backed-up)"
cmp -s large copy || fail "the backup is not what was pushed"
rm backup-socket
nc -l -N -U backup-socket </dev/null >copy &
receiver=$!
until_there backup-socket
"$examples/backup" unix:backup-socket no-such-file >backed-up 2>/dev/null && fail "nothing was pushed"
wait $receiver || true
grep -q "ENOENT in open" backed-up || fail "it does not say that there is no file"

# Each client gets the file, whatever the rates; how fast is tested elsewhere.
mkfifo hold
"$examples/rates" unix:rates-socket large 10000000 <hold &
rates=$!
exec 3>hold
until_there rates-socket
for i in 1 2 3; do
    nc -N -U rates-socket </dev/null >"rated.$i" &
    clients[i]=$!
done
for i in 1 2 3; do
    wait "${clients[i]}" || true
    cmp -s large "rated.$i" || fail "client $i did not get the file"
done
exec 3>&-
wait $rates || fail "the server of rates did not end"

# A client that reads while the end has been asked for still gets the file, whole.
"$examples/graceful" unix:graceful-socket large >cut-off &
graceful=$!
until_there graceful-socket
mkfifo slow
nc -N -U graceful-socket </dev/null >slow &
exec 4<slow
head -c 1000 <&4 >got
kill -TERM $graceful
cat <&4 >>got
exec 4<&-
wait $graceful || fail "graceful: $(cat cut-off)"
cmp -s large got || fail "a client was cut off"

# A file is sent while it is written; its last bytes come after the writer is done.
head -c 100000 large >growing-file
nc -l -N -U growing-socket </dev/null >grown &
receiver=$!
until_there growing-socket
"$examples/growing" growing-file unix:growing-socket <hold >growing-told &
growing=$!
exec 3>hold
for _ in $(seq 200); do
    [ "$(stat -c %s grown)" -eq 100000 ] && break
    sleep 0.1
done
[ "$(stat -c %s grown)" -eq 100000 ] || fail "what is there is not sent before the writer is done"
tail -c +100001 large >>growing-file
exec 3>&-
wait $growing || fail "growing: $(cat growing-told)"
wait $receiver || true
cmp -s large grown || fail "not all that was written was sent"
echo "examples: they do what they say"
