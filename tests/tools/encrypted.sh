#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the program `ferry` promises of TLS, tried out against itself, curl, openssl and socat.
# usage: encrypted.sh FERRY
set -eu

ferry=$(realpath "$1")
# shellcheck source=tests/tools/helpers.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/helpers.sh"
need_tools curl openssl socat nc sha256sum

# ---- helpers -------------------------------------------------------------------------------------

# await_listening NAME : until that process says that it listens; its port in $port.
await_listening() {
    wait_for grep -q 'listening on' "$1.log"
    port=$(grep 'listening on' "$1.log" | head -n 1 | grep -oE '[0-9]+$')
}

# expect STATUS COMMAND... : runs it to its end; output in out.log.
expect() {
    local wanted=$1 status=0
    shift
    timeout 300 "$@" >out.log 2>&1 </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || fail "exit status $status instead of $wanted: $*"
}

says() { grep -qF -- "$1" "${2:-out.log}" || fail "no '$1' in: $(cat "${2:-out.log}")"; }

# issue NAME SUBJECT_ALT_NAME : a certificate of the authority's in NAME.pem, its key in NAME.key.
issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" \
        2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -days 2 -out "$1.pem" \
        -extfile <(echo "subjectAltName=$2") 2>/dev/null
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -days 2 \
    -keyout ca.key -out ca.pem 2>/dev/null
issue own DNS:localhost,IP:127.0.0.1
issue other DNS:other.test
issue client DNS:client.test
issue next DNS:localhost,IP:127.0.0.1
cat own.pem own.key >both.pem
mkdir site
head -c 20000001 /dev/urandom >site/large
head -c 4097 /dev/urandom >site/small
: >site/empty
large=site/large small=site/small

# ---- the command line ----------------------------------------------------------------------------

expect 2 "$ferry" serve site --tls-key own.key
says 'follows the --tls-cert'
expect 2 "$ferry" serve site --listen 127.0.0.1:0 --tls-client-ca ca.pem
says 'needs a --tls-cert'
expect 2 "$ferry" serve site --tls-client-ca ca.pem --listen 127.0.0.1:0
expect 2 "$ferry" recv 127.0.0.1:0 out --tls-client-ca ca.pem
expect 2 "$ferry" send --tls "$small" unix:nobody
says 'needs a --name'
expect 1 "$ferry" serve site --listen 127.0.0.1:0 --tls-cert missing.pem
says missing.pem
expect 1 "$ferry" serve site --listen 127.0.0.1:0 --tls-cert own.pem --tls-key other.key
expect 1 "$ferry" recv 127.0.0.1:0 out --tls-cert site/large
says 'no certificate is in it'
expect 1 "$ferry" recv 127.0.0.1:0 out --tls-cert own.pem
says 'no private key is in it'
expect 1 "$ferry" recv 127.0.0.1:0 out --tls-cert both.pem --tls-client-ca own.key
says 'no certificate is in it'
expect 1 "$ferry" send --ca missing.pem "$small" 127.0.0.1:1
says missing.pem
ok "command lines, certificates and keys that are of no use"

# ---- serve ---------------------------------------------------------------------------------------

# serve NAME ARGUMENT... : site; the port of its first address in $port, its pid in $pid.
serve() {
    start "$1" "$ferry" serve site "${@:2}"
    await_listening "$1"
}

# fetch CURL_ARGUMENT... : the content in body. It has to come.
fetch() { curl -sS --fail --max-time 300 --cacert ca.pem -o body "$@" || fail "curl failed: $*"; }

# shown : the fingerprint of what is shown at $port to a client that asks for the name $1.
shown() {
    openssl s_client -connect "127.0.0.1:$port" -servername "$1" </dev/null 2>/dev/null |
        openssl x509 -noout -fingerprint
}
fingerprint() { openssl x509 -noout -fingerprint -in "$1"; }

serve first --listen 127.0.0.1:0 --tls-cert own.pem --tls-key own.key --tls-cert other.pem \
    --tls-key other.key --listen 127.0.0.1:0
server=$pid secure=$port
wait_for eval '[ "$(grep -c "listening on" first.log)" -eq 2 ]'
plain=$(grep -oE '[0-9]+$' first.log | tail -n 1)
says "TLS: listening on 127.0.0.1:$secure" first.log
! grep "TLS.*:$plain\$" first.log || fail "it says of plain HTTP that it is TLS"
for file in large small empty; do
    fetch "https://127.0.0.1:$secure/$file"
    same "site/$file" body
    fetch "http://127.0.0.1:$plain/$file"
    same "site/$file" body
done
fetch -r 1000-1999999 "https://localhost:$secure/large"
same body <(tail -c +1001 "$large" | head -c 1999000)
fetch --tls-max 1.2 "https://localhost:$secure/large"
same "$large" body
fetch --limit-rate 20M "https://localhost:$secure/large" "https://localhost:$secure/small" -o second
same "$large" body
same "$small" second
ok "files, ranges, kept connections, TLS 1.2 and 1.3, and a plain address beside"

[ "$(shown localhost)" = "$(fingerprint own.pem)" ] || fail "not the first certificate"
[ "$(shown other.test)" = "$(fingerprint other.pem)" ] || fail "not the certificate that was asked for"
fetch --resolve "other.test:$secure:127.0.0.1" "https://other.test:$secure/small"
ok "the certificate that a client asks for"

expect 60 curl -sS --cacert client.pem "https://localhost:$secure/small"
expect 60 curl -sS --cacert ca.pem --resolve "third.test:$secure:127.0.0.1" "https://third.test:$secure/small"
[ "$(curl -sS -o body -w '%{http_code}' "http://127.0.0.1:$secure/small")" = 400 ] ||
    fail "HTTP without TLS is not told 400"
says 'https://' body
openssl s_client -connect "127.0.0.1:$secure" -alpn h2,http/1.1 </dev/null >out.log 2>&1
says 'ALPN protocol: http/1.1'
expect 1 openssl s_client -connect "127.0.0.1:$secure" -alpn h2
ok "wrong names, HTTP without TLS, protocols inside"

# A certificate that is no good changes nothing; then a new one is shown, and a download goes on.
curl -sS --max-time 300 --cacert ca.pem --limit-rate 5M -o slow "https://127.0.0.1:$secure/large" &
slow=$!
wait_for test -s slow
cp own.pem kept.pem
cp next.pem own.pem
kill -HUP "$server"
wait_for grep -q '^ferry serve: TLS: .*stay as they were' first.log
[ "$(shown localhost)" = "$(fingerprint kept.pem)" ] || fail "a key that does not fit was taken"
cp next.key own.key
kill -HUP "$server"
is_next() { [ "$(shown localhost)" = "$(fingerprint next.pem)" ]; }
wait_for is_next
wait "$slow" || fail "a download ended with a new certificate"
same "$large" slow
kill -TERM "$server"
expect_end 0 "$server"
ok "certificates are read again at SIGHUP"

serve mutual --tls-cert both.pem --tls-client-ca ca.pem --listen 127.0.0.1:0 --listen "unix:$work/socket"
expect 56 curl -sS --cacert ca.pem "https://127.0.0.1:$port/small"
fetch --cert client.pem --key client.key "https://127.0.0.1:$port/large"
same "$large" body
fetch --cert client.pem --key client.key --unix-socket socket "https://localhost/small"
same "$small" body
kill -TERM "$pid"
expect_end 0 "$pid"
serve inherited --tls-client-ca ca.pem --tls-cert own.pem --tls-key own.key --listen 127.0.0.1:0 --tls-cert both.pem
expect 56 curl -sS --cacert ca.pem "https://127.0.0.1:$port/small"
fetch --cert client.pem --key client.key "https://127.0.0.1:$port/large"
kill -TERM "$pid"
expect_end 0 "$pid"
ok "clients that must show a certificate; a certificate for all addresses, key in the same file"

# ---- send and recv -------------------------------------------------------------------------------

# receive NAME ARGUMENT... : ferry recv into out.
receive() {
    start "$1" "$ferry" recv "${@:2}" out
    await_listening "$1"
}

for address in 127.0.0.1:0 localhost:0; do
    receive recv "$address" --tls-cert both.pem
    host=${address%:0}
    expect 1 "$ferry" send --tls "$small" "$host:$port"
    says 'nobody who is trusted has signed the certificate'
    expect 1 "$ferry" send --ca ca.pem --name other.test "$small" "$host:$port"
    says 'the certificate is for another name'
    echo nonsense | nc -N 127.0.0.1 "$port" >/dev/null || true
    expect 0 "$ferry" send --ca ca.pem "$large" site/empty "$small" "$host:$port"
    expect_end 0 "$pid"
    same out <(cat "$large" "$small")
    says 'could not connect: the peer does not speak TLS' recv.log
done
ok "send to recv; who cannot connect is told why, and does not count"

receive recv 127.0.0.1:0 --tls-cert both.pem --tls-client-ca ca.pem
expect 1 "$ferry" send --ca ca.pem "$large" "127.0.0.1:$port"
says 'certificate required'
expect 0 "$ferry" send --ca ca.pem --tls-cert client.pem --tls-key client.key "$large" "127.0.0.1:$port"
expect_end 0 "$pid"
same "$large" out
says 'the peer has shown no certificate' recv.log
ok "a sender that must show a certificate"

start recv "$ferry" recv "unix:$work/other" out --tls-cert both.pem
wait_for grep -q 'listening on' recv.log
expect 0 "$ferry" send --ca ca.pem --name localhost "$large" "unix:$work/other"
expect_end 0 "$pid"
same "$large" out
ok "over a unix socket"

# A receiver that is cut off must not take a part for the whole.
receive recv 127.0.0.1:0 --tls-cert both.pem
mkfifo input
openssl s_client -quiet -connect "127.0.0.1:$port" <input >/dev/null 2>&1 &
peer=$!
exec 8>input
head -c 100000 "$large" >&8
wait_for eval '[ "$(stat -c %s out 2>/dev/null)" = 100000 ]'
kill -KILL "$peer"
wait "$peer" 2>/dev/null || true
exec 8>&-
expect_end 1 "$pid"
says 'only 100000 bytes were stored' recv.log
ok "a sender that ends without saying so in TLS"

# ---- others --------------------------------------------------------------------------------------

receive recv 127.0.0.1:0 --tls-cert both.pem
expect 0 socat -u "OPEN:$large" "OPENSSL:127.0.0.1:$port,cafile=ca.pem"
expect_end 0 "$pid"
same "$large" out
receive recv 127.0.0.1:0 --tls-cert both.pem
openssl s_client -quiet -no_ign_eof -nocommands -connect "127.0.0.1:$port" -CAfile ca.pem \
    -verify_return_error <"$small" >/dev/null 2>&1
expect_end 0 "$pid"
same "$small" out
start socat socat -d -d -u OPENSSL-LISTEN:0,cert=both.pem,verify=0 CREATE:out
wait_for grep -q 'listening on' socat.log
port=$(grep 'listening on' socat.log | grep -oE '[0-9]+$')
expect 0 "$ferry" send --ca ca.pem "$large" "127.0.0.1:$port"
expect_end 0 "$pid"
same "$large" out
ok "socat and openssl at the other end"

for placement in dedicated shared; do
    expect 0 "$ferry" demo --tls --size small --placement "$placement"
    says 'Every byte arrived as it was sent'
done
ok "the demo"
