#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `ferry serve` end to end: real clients over real sockets, good ones and bad ones.
# usage: serve.sh FERRY SERVE_CLIENTS
set -eu

ferry=$(realpath "$1")
clients=$(realpath "$2")
# shellcheck source=tests/tools/helpers.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/helpers.sh"
need_tools curl nc sha256sum

# ---- helpers -------------------------------------------------------------------------------------

# serve NAME ARGUMENT... : site on a port of its own, in $port and $base; the pid in $pid.
serve() {
    local name=$1
    shift
    start "$name" "$ferry" serve site --listen 127.0.0.1:0 "$@"
    wait_for grep -q 'listening on' "$name.log"
    port=$(grep -oE '[0-9]+$' "$name.log" | head -n 1)
    base=http://127.0.0.1:$port
}

# stop STATUS PID [SIGNAL] : ends a server, which has to answer that status.
stop() {
    local status=0
    kill -"${3:-TERM}" "$2"
    wait_for has_ended "$2"
    wait "$2" 2>/dev/null || status=$?
    [ "$status" -eq "$1" ] || fail "exit status $status instead of $1 of a server"
}

# ask STATUS CURL_ARGUMENT... : the answer's head in fields, its content in body.
ask() {
    local wanted=$1 status
    shift
    : >body
    status=$(curl -sS --max-time 300 --path-as-is -D fields -o body -w '%{http_code}' "$@") ||
        fail "curl failed: $*"
    [ "$status" = "$wanted" ] || fail "status $status instead of $wanted: $*"
}

# has_field NAME VALUE : in the last answer's head; the value is a pattern.
has_field() {
    tr -d '\r' <fields | grep -qiE "^$1: $2\$" || fail "no '$1: $2' in: $(cat fields)"
}
field() { tr -d '\r' <fields | sed -n "s/^$1: //Ip"; }

# piece FILE FIRST LENGTH
piece() { tail -c +$(($2 + 1)) "$1" | head -c "$3"; }

# say STATUS TEXT : TEXT as printf has it, on a connection that its client does not end; the server
# answers that and ends it. STATUS -: it may also end it without a word.
say() {
    local got
    # shellcheck disable=SC2059 # it is a format
    printf "$2" | timeout 120 "$clients" say "$port" >said 2>said.log ||
        fail "no end, or a reset, after '$2': $(cat said.log)"
    got=$(head -c 12 said | tr -d '\0')
    [ "$1" = - ] && [ -z "$got" ] && return
    [[ "$got" =~ ^HTTP/1.1\ $1$ ]] || fail "'$got' instead of $1 after '$2'"
}


# ---- what is served ------------------------------------------------------------------------------

mkdir -p site/sub site/plain outside
head -c 30000001 /dev/urandom >site/large
head -c 3000000 /dev/urandom >site/three
head -c 100000 /dev/urandom >site/medium
: >site/empty
echo first >site/a.txt
echo '<p>front</p>' >site/index.html
echo '<p>below</p>' >site/sub/index.html
echo listed >'site/plain/<b>&"quoted".txt'
echo spaced >'site/with space.txt'
echo foreign >'site/größe ☃.txt'
echo percent >site/100%.txt
echo hidden >site/.hidden
echo secret >outside/secret
ln -s ../outside/secret site/out
ln -s "$work/outside/secret" site/absolute
ln -s ../outside site/outside
ln -s a.txt site/inside
ln -s loop site/loop
mkfifo site/fifo
mknod site/device c 1 5 2>/dev/null || true # as root only
nc -lU site/socket >/dev/null 2>&1 &
children+=($!)
echo locked >site/locked
chmod 0 site/locked

serve main --log access --threads 2
main=$pid

# What it has open beside files of the site, which it keeps open, and its threads.
census() {
    local fds
    fds=$(find "/proc/$main/fd" -type l -printf '%l\n' 2>/dev/null | grep -cv "^$work/site" || true)
    echo "$fds fds, $(find "/proc/$main/task" -mindepth 1 -maxdepth 1 | wc -l) threads"
}
for _ in 1 2 3 4 5 6 7 8; do # both owners have begun, and made what they keep
    ask 200 "$base/"
    ask 200 "$base/large"
done
is_settled() { before=$(census) && sleep 0.3 && [ "$(census)" = "$before" ]; }
wait_for is_settled # the last connection is closed

# ---- what is there, and what is not --------------------------------------------------------------

for name in large medium empty a.txt three; do
    ask 200 "$base/$name"
    same body "site/$name"
    has_field Content-Length "$(stat -c %s "site/$name")"
done
ask 200 "$base/a.txt"
has_field Content-Type 'text/plain.*'
ask 200 "$base/a.txt?query=1"
ask 200 "$base/inside"
same body site/a.txt
ask 200 "$base/with%20space.txt"
same body 'site/with space.txt'
ask 200 "$base/gr%C3%B6%C3%9Fe%20%E2%98%83.txt"
same body 'site/größe ☃.txt'
ask 200 "$base/100%25.txt"
same body site/100%.txt
ask 200 "$base/"
same body site/index.html
has_field Content-Type 'text/html.*'
ask 200 "$base/sub/"
same body site/sub/index.html
ask 301 "$base/sub"
has_field Location /sub/
ask 301 "$base/sub?x=y"
has_field Location '/sub/\?x=y'
ask 200 -L "$base/sub"
same body site/sub/index.html
ask 200 -I "$base/large"
has_field Content-Length 30000001
[ ! -s body ] || grep -q ^HTTP body || fail "HEAD has content"
ok "files, names, directories, HEAD"

ask 404 "$base/nothing"
ask 404 "$base/a.txt/"
ask 404 "$base/.hidden"
ask 403 "$base/plain/"
ask 405 -X POST -d data "$base/a.txt"
has_field Allow 'GET, HEAD, OPTIONS'
ask 405 -X DELETE "$base/a.txt"
ask 501 -X BREW "$base/a.txt"
ask 204 -X OPTIONS "$base/a.txt"
has_field Allow 'GET, HEAD, OPTIONS'
ask 204 -X OPTIONS --request-target '*' "$base"
if [ "$(id -u)" -ne 0 ]; then
    ask 403 "$base/locked"
fi
ask 405 -X PUT -T site/three -H 'Expect: 100-continue' "$base/new"
ask 405 -X PUT -T site/three -H 'Expect:' "$base/new"
[ ! -e site/new ] || fail "a PUT made a file"
ok "what is not there, what is not allowed"

ask 200 --http1.0 "$base/a.txt"
same body site/a.txt
has_field Connection close
ask 200 --http1.0 -H 'Connection: keep-alive' "$base/a.txt"
has_field Connection keep-alive
opened=$(curl -sS --max-time 300 -w '%{num_connects}' -o /dev/null "$base/a.txt" -o /dev/null \
    "$base/medium" -o /dev/null "$base/nothing" -o /dev/null "$base/sub/")
[ "$opened" = 1000 ] || fail "connections for each of four answers: $opened"
ok "HTTP/1.0, connections that are kept"

# ---- ranges and conditions -----------------------------------------------------------------------

# range STATUS RANGE FIRST LENGTH FILE
range() {
    ask "$1" -H "Range: bytes=$2" "$base/$5"
    piece "site/$5" "$3" "$4" >wanted
    same body wanted
    has_field Content-Range "bytes $3-$(($3 + $4 - 1))/$(stat -c %s "site/$5")"
}
range 206 0-0 0 1 large
range 206 20000000-20000999 20000000 1000 large
range 206 29999999- 29999999 2 large
range 206 -1000 29999001 1000 large
range 206 0-99999999999999999999 0 100000 medium
range 206 2-3 2 2 a.txt
for name in empty a.txt large; do
    ask 416 -H 'Range: bytes=99999999-' "$base/$name"
    has_field Content-Range "bytes \*/$(stat -c %s site/$name)"
done
for bad in bytes=x bytes=3-2 lines=0-1 bytes=; do
    ask 200 -H "Range: $bad" "$base/medium"
    same body site/medium
done
ask 206 -H 'Range: bytes=0-4,100-199,-5' "$base/medium"
boundary=$(field Content-Type | sed -n 's/^multipart\/byteranges; boundary=//p')
[ -n "$boundary" ] || fail "no boundary"
{
    for part in '0 5' '100 100' '99995 5'; do
        read -r first length <<<"$part"
        printf '\r\n--%s\r\nContent-Type: application/octet-stream\r\n' "$boundary"
        printf 'Content-Range: bytes %d-%d/100000\r\n\r\n' "$first" $((first + length - 1))
        piece site/medium "$first" "$length"
    done
    printf '\r\n--%s--\r\n' "$boundary"
} >wanted
same body wanted
rm -f resumed
curl -sS --max-time 300 -r 0-9999999 -o resumed "$base/large"
curl -sS --max-time 300 -C - -o resumed "$base/large"
same resumed site/large
ok "ranges: one, several, the end, none, a download taken up again"

touch -d '2001-02-03 04:05:06 UTC' site/a.txt
sleep 1.1 # a second is what the cache looks for changes after
ask 200 "$base/a.txt"
tag=$(field ETag) date=$(field Last-Modified)
[ "$date" = 'Sat, 03 Feb 2001 04:05:06 GMT' ] || fail "Last-Modified is '$date'"
ask 304 -H "If-None-Match: $tag" "$base/a.txt"
[ ! -s body ] || fail "304 has content"
ask 304 -H "If-None-Match: \"other\", W/$tag" "$base/a.txt"
ask 304 -H 'If-None-Match: *' "$base/a.txt"
ask 200 -H 'If-None-Match: "other"' "$base/a.txt"
ask 304 -H "If-Modified-Since: $date" "$base/a.txt"
ask 304 -z '1 Jan 2010' "$base/a.txt"
ask 200 -z '1 Jan 2000' "$base/a.txt"
ask 200 -H "If-Match: $tag" "$base/a.txt"
ask 412 -H 'If-Match: "other"' "$base/a.txt"
ask 412 -H 'If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT' "$base/a.txt"
ask 206 -H "If-Range: $tag" -H 'Range: bytes=0-1' "$base/a.txt"
ask 206 -H "If-Range: $date" -H 'Range: bytes=0-1' "$base/a.txt"
ask 200 -H 'If-Range: "other"' -H 'Range: bytes=0-1' "$base/a.txt"
same body site/a.txt
echo changed >site/a.txt
sleep 1.1
ask 200 -H "If-None-Match: $tag" "$base/a.txt"
same body site/a.txt
ok "conditions, and what has changed is seen to have"

# ---- many at once on one connection --------------------------------------------------------------

names=(a.txt medium sub/ nothing empty medium)
for i in {0..71}; do
    name=${names[i % 6]}
    printf 'GET /%s HTTP/1.1\r\nHost: h\r\n\r\n' "$name"
    if [ "$name" = nothing ]; then
        printf '<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>404 Not Found</h1>\n' >>wanted.all
    elif [ "$name" = sub/ ]; then
        cat site/sub/index.html >>wanted.all
    else
        cat "site/$name" >>wanted.all
    fi
done >requests
nc -N -w 20 127.0.0.1 "$port" <requests >answers # it ends its direction: all are answered even so
# Takes the contents out of it, by their lengths.
take_contents() {
    local offset=0 length lines
    while [ "$offset" -lt "$(stat -c %s answers)" ]; do
        lines=$(tail -c +$((offset + 1)) answers | head -c 2000 | LC_ALL=C awk -v RS='\r\n' \
            'NF == 0 { print size + 2, length_; exit }
             { size += length($0) + 2 }
             tolower($1) == "content-length:" { length_ = $2 }')
        read -r size length <<<"$lines"
        piece answers $((offset + size)) "$length"
        offset=$((offset + size + length))
    done
}
take_contents >contents
same contents wanted.all
[ "$(grep -ao 'HTTP/1\.1 [24]0[04] ' answers | wc -l)" -eq 72 ] || fail "not 72 answers"
ok "72 requests at once, answered in order"

# ---- out of the directory ------------------------------------------------------------------------

for path in /../outside/secret /sub/../../outside/secret /%2e%2e/outside/secret \
    /%2E%2E%2Foutside%2Fsecret /sub/..%2f..%2foutside/secret /..%5coutside /./../x \
    //../outside/secret /%2e%2e%2e/x /outside/secret /out /absolute /outside/ /loop /proc/self/mem \
    /a.txt%00 /fifo /socket /device; do
    [ "$path" != /device ] || [ -e site/device ] || continue
    status=$(curl -sS --max-time 300 --path-as-is -o body -w '%{http_code}' "$base$path") ||
        fail "it does not answer $path"
    [[ "$status" =~ ^40[034]$ ]] || fail "status $status of $path"
    ! grep -q secret body || fail "$path leads out"
done
ok "nothing leads out; pipes, sockets and devices hold up nobody"

# ---- bad input -----------------------------------------------------------------------------------

host='Host: h\r\n'
say 400 'GET /\r\n\r\n'
say 400 '\r\n\r\n\r\nrubbish\r\n\r\n'
say 400 '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
say 400 'GET / HTTP/1.1\r\n\r\n'
say 400 "GET / HTTP/1.1\r\n${host}Host: g\r\n\r\n"
say 400 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'
say 505 "GET / HTTP/2.0\r\n$host\r\n"
say 505 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
say 400 "GET / HTTP/1.x\r\n$host\r\n"
say 400 "GET / FTP/1.1\r\n$host\r\n"
say 501 "BREW / HTTP/1.1\r\n$host\r\n"
say 400 "G\x01T / HTTP/1.1\r\n$host\r\n"
say 400 "GET /\x01 HTTP/1.1\r\n$host\r\n"
say 400 "GET /\x00 HTTP/1.1\r\n$host\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Bad Name: x\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Bad : x\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}X: a\x00b\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}no colon\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Content-Length: x\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Content-Length: 99999999999999999999999\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Transfer-Encoding: gzip\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n1\na\n0\r\n\r\n"
say 413 "GET / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n10000\r\n"
say 501 "GET / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
say 413 "GET / HTTP/1.1\r\n${host}Content-Length: 1000000\r\n\r\n"
say 417 "GET / HTTP/1.1\r\n${host}Expect: the-best\r\n\r\n"
closing="${host}Connection: close\r\n\r\n"
say 400 "GET /%%zz HTTP/1.1\r\n$closing"
say 400 "GET /%% HTTP/1.1\r\n$closing"
say 400 "GET /%%00 HTTP/1.1\r\n$closing"
say 400 "GET a.txt HTTP/1.1\r\n$closing"
say 404 "GET /\xff HTTP/1.1\r\n$closing"
say 400 "GET http://:80/ HTTP/1.1\r\n$closing"
say 400 "GET / HTTP/1.1\r\nHost: a:b\r\nConnection: close\r\n\r\n"
say 400 "GET / HTTP/1.1\r\n${host}X:\rContent-Length: 3\r\n\r\nabc"
say 400 "GET / HTTP/1.1\n${host}\n"
say '(400|405|501)' "CONNECT h:80 HTTP/1.1\r\n$closing"
say 200 "GET http://elsewhere/a.txt HTTP/1.1\r\n$closing"
say 204 "OPTIONS * HTTP/1.1\r\n$closing"
long=$(printf 'x%.0s' {1..9000})
say 414 "GET /$long HTTP/1.1\r\n$closing"
say 431 "GET / HTTP/1.1\r\nX: $long$long\r\n$closing"
say 431 "GET / HTTP/1.1\r\n$(printf 'X-%d: y\\r\\n' {1..3000})$closing"
say 404 "GET /${long:0:3000} HTTP/1.1\r\n$closing"
ok "a clear word for everything malformed"

# shellcheck disable=SC2059 # it is a format
printf "GET /a.txt HTTP/1.1\r\n$host\r\nHEAD / HTTP/1.1\r\n$closing" >two
"$clients" trickle "$port" <two >said
[ "$(grep -ac '^HTTP/1.1 200' said)" -eq 2 ] || fail "not two answers to what trickled in"
"$clients" halves "$port" <two
printf 'GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /medium HT' >two
"$clients" resets "$port" <two
ok "a byte at a time, halves, resets at every stage"

# ---- load ----------------------------------------------------------------------------------------

if command -v wrk >/dev/null; then
    for name in a.txt medium; do
        wrk -t 1 -c 64 -d 1 "$base/$name" >wrk.log
        grep -q 'Requests/sec' wrk.log || fail "wrk did not run"
        ! grep -qE 'Socket errors|Non-2xx' wrk.log || fail "wrk had errors"
    done
    ok "wrk"
else
    echo "skipped: wrk is not installed"
fi

# The slow ones want far more than buffers hold, so they are at it until they are told to end.
mkfifo orders
ulimit -n "$(ulimit -Hn)"
timeout 300 "$clients" slow "$port" /large site/large 500 <orders >slow.out 2>slow.log &
slow=$!
children+=("$slow")
exec 8>orders
wait_for grep -q reading slow.out
for _ in 1 2 3; do
    ask 200 "$base/large"
    same body site/large
done
echo >&8
wait "$slow" || fail "a slow one failed"
exec 8>&-
[ "$(tail -n 1 slow.out)" = 500 ] || fail "slow ones left: $(tail -n 1 slow.out) of 500"
ok "500 slow clients, and a fast one among them"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$browser" ]; then
    mkdir site/page
    for i in {1..8}; do
        printf '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="9"/>' "$i" \
            >"site/page/$i.svg"
        printf '<img src="%d.svg">' "$i" >>site/page/index.html
    done
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --user-data-dir="$work/profile" --dump-dom "$base/page/" >dom 2>browser.log ||
        fail "the browser failed"
    [ "$(grep -o '<img' dom | wc -l)" -eq 8 ] || fail "the browser's page has not all images"
    for i in {1..8}; do
        wait_for grep -q "GET /page/$i.svg HTTP/1.1\" 200" access
    done
    ok "a page with images in $browser"
else
    echo "skipped: no Chromium is installed"
fi

# ---- nothing is left -----------------------------------------------------------------------------

is_as_before() { [ "$(census)" = "$before" ]; }
wait_for is_as_before
[ ! -s main.out ] || fail "it printed something: $(cat main.out)"
[ "$(wc -l <main.log)" -eq 1 ] || fail "it had something to say: $(cat main.log)"
ok "as many fds and threads as before: $before"

line='127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} \+0000\] '
line+='"[^"]*" [0-9]{3} [0-9]+ "[^"]*" "[^"]*" [0-9]+\.[0-9]{3}'
ask 200 -A 'the "agent"' -e 'http://referer/' "$base/a.txt?logged"
wait_for grep -qF '"GET /a.txt?logged HTTP/1.1" 200 8 "http://referer/" "the \x22agent\x22" ' access
stop 0 "$main"
! grep -qvxE "$line" access || fail "not a line as it should be: $(grep -vxE "$line" access | head -n 1)"
ok "the access log"

# ---- time ----------------------------------------------------------------------------------------

serve times --head-timeout 1 --idle-timeout 1
say 408 'GET / HTTP/1.1\r\nHos'
say 200 'GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n' # answered, and closed when it has been idle
grep -q changed said || fail "no answer before it was idle"
[ "$(grep -ac '^HTTP' said)" -eq 1 ] || fail "an idle connection's end has a word"
say - ''
[ ! -s said ] || fail "an idle connection's end has a word"
ok "times for a head, and to be idle"
stop 0 "$pid"

serve rate --rate 1000000
began=$(date +%s%N)
ask 200 "$base/three"
took=$((($(date +%s%N) - began) / 1000000))
same body site/three
[ $took -ge 1500 ] || fail "3 MB at 1 MB/s took $took ms"
ok "--rate"
stop 0 "$pid"

# ---- addresses, limits, listings -----------------------------------------------------------------

addresses=(--listen "unix:$work/socket")
[ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6 && addresses+=(--listen '[::1]:0')
serve many "${addresses[@]}" --list --threads 1 --log -
wait_for test "$(grep -c listening many.log)" -eq $((1 + ${#addresses[@]} / 2))
ask 200 "$base/a.txt"
ask 200 --unix-socket socket http://h/medium
same body site/medium
if [ ${#addresses[@]} -gt 2 ]; then
    ask 200 "http://[::1]:$(grep -oE '\[::1\]:[0-9]+' many.log | grep -oE '[0-9]+$')/a.txt"
    same body site/a.txt
    wait_for grep -q '^::1 - - ' many.out
fi
wait_for grep -q '^127.0.0.1 - - .*GET /a.txt' many.out
wait_for grep -q '^[^[0-9].* - - .*GET /medium' many.out
ask 200 "$base/plain/"
grep -qF 'href="./%3Cb%3E%26%22quoted%22.txt">&lt;b&gt;&amp;&quot;quoted&quot;.txt</a>' body ||
    fail "not a listing: $(cat body)"
ask 200 "$base/plain/%3Cb%3E%26%22quoted%22.txt"
ask 200 "$base/"
same body site/index.html
threads=$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)
serve more --threads 3 --list --log -
ask 200 "$base/a.txt"
[ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" -eq $((threads + 2)) ] ||
    fail "not the threads that were asked for"
stop 0 "$pid"
for server in "${children[@]}"; do
    grep -qs "unix:$work/socket" "/proc/$server/cmdline" && stop 0 "$server"
done
[ ! -e socket ] || fail "the socket's path is still there"
ok "several addresses, listings, threads"

serve hidden --hidden --max-connections 1
ask 200 "$base/.hidden"
exec 7<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n' >&7
read -r -t 20 answer <&7
[[ "$answer" = 'HTTP/1.1 200 OK'* ]] || fail "no answer to the first"
ask 200 "$base/medium" # the first is idle, and gives way
same body site/medium
timeout 120 cat <&7 >answers || fail "who has given way is not told"
exec 7>&- 7<&-
stop 0 "$pid"
ok "--hidden, --max-connections"

# With few fds: as many clients as want to, and each is served.
(
    ulimit -n 64
    exec "$ferry" serve site --listen 127.0.0.1:0 --threads 2 2>few.log
) &
pid=$!
children+=("$pid")
wait_for grep -q 'listening on' few.log
port=$(grep -oE '[0-9]+$' few.log | head -n 1)
for i in {0..79}; do
    exec {clients_fds[i]}<>"/dev/tcp/127.0.0.1/$port"
done
ask 200 "http://127.0.0.1:$port/a.txt"
for fd in "${clients_fds[@]}"; do
    exec {fd}>&-
done
stop 0 "$pid"
ok "idle clients give way where fds are few"

start activated "$clients" activate "$ferry" serve site --listen systemd:0
wait_for test -s activated.out
port=$(cat activated.out)
ask 200 "http://127.0.0.1:$port/a.txt" # it waits for the server, as it would with a service manager
stop 0 "$pid"
start named "$clients" activate "$ferry" serve site --listen systemd:web
wait_for test -s named.out
ask 200 "http://127.0.0.1:$(cat named.out)/a.txt"
stop 0 "$pid"
ok "socket activation"

# An empty name is no directory, above all not the one that it is started in.
! timeout 120 "$ferry" serve '' --listen 127.0.0.1:0 2>unnamed.log || fail "it serves ''"
grep -q 'No such file' unnamed.log || fail "another complaint about '': $(cat unnamed.log)"
ok "a directory has a name"

# ---- what it is at -------------------------------------------------------------------------------

# local_port FD : of a socket of this shell's.
local_port() {
    local inode
    inode=$(readlink "/proc/$$/fd/$1" | tr -dc 0-9)
    echo $((16#$(awk -v inode="$inode" '$10 == inode { print substr($2, 10) }' /proc/net/tcp)))
}

# tells PATTERN : a dump of $pid's has such a line; it is asked for another one meanwhile.
tells() { kill -USR1 "$pid" && grep -qE "$1" dumped.log; }

serve dumped
exec 8<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /large HTTP/1.1\r\nHost: h\r\n\r\n' >&8 # and it reads nothing
client="stream fd [0-9]+, 127.0.0.1:$(local_port 8): 1 request queued"
wait_for tells "^$client.*; sends request 0 'large', for [0-9]+ ms; waits for its sink, for [0-9]+ ms"
wait_for tells '^service: shared, 1 stream; 1 request queued'
wait_for tells '^owner ferry-owner-0: '
wait_for tells "^listener 127.0.0.1:$port: 1 accepted"
kill -TERM "$pid"
wait_for tells "^stream fd [0-9]+, 127.0.0.1:$(local_port 8): .*; closing; .* its sink" # why it lasts
exec 8>&- 8<&-
wait_for has_ended "$pid"
wait "$pid" || fail "exit status $? after dumps"
ok "SIGUSR1 tells which client has stalled, also while the server stops"

# has_taken_signals : the dumper has, so what the one before made it write is written.
has_taken_signals() { grep -qE '^ShdPnd:[[:space:]]+0+$' "/proc/$pid/status"; }

# serve_into_pipe ARGUMENT... : as serve; its standard error is a pipe, which descriptor 5 reads.
serve_into_pipe() {
    local line
    rm -f words
    mkfifo words
    "$ferry" serve site --listen 127.0.0.1:0 "$@" 2>words &
    pid=$!
    children+=("$pid")
    exec 5<words
    read -r -t 20 line <&5 || fail "it listens nowhere"
    port=${line##*:}
    base=http://127.0.0.1:$port
}

serve_into_pipe
exec 5<&-
for _ in 1 2; do
    kill -USR1 "$pid"
    wait_for has_taken_signals
done
ask 200 "$base/a.txt"
stop 0 "$pid"

serve_into_pipe --stop-timeout 0
exec 8<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /large HTTP/1.1\r\nHost: h\r\n\r\n' >&8
read -r -t 20 answer <&8
dd if=/dev/zero of=words oflag=nonblock bs=4096 2>/dev/null || true # until it is full
kill -USR1 "$pid"
wait_for has_taken_signals
stop 1 "$pid"
exec 5<&- 8>&- 8<&-
ok "nobody reads the dump: the server goes on, and stops in time"

# ---- stopping ------------------------------------------------------------------------------------

refuses() { ! (exec 6<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# begin_download RATE : in the background, and under way when this returns.
begin_download() {
    rm -f download
    curl -sS --max-time 300 --limit-rate "$1" -o download "$base/large" 2>curl.log &
    download=$!
    children+=("$download")
    wait_for test -s download
}

serve stopped
exec 7<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n' >&7
begin_download 15M
kill -TERM "$pid"
timeout 120 cat <&7 >answers || fail "an idle connection is not closed by a stop"
exec 7>&- 7<&-
wait_for refuses
wait "$download" || fail "a stop cut a download off: $(cat curl.log)"
same download site/large
wait_for has_ended "$pid"
wait "$pid" || fail "exit status $? after a stop"

serve stopped
begin_download 1M
kill -TERM "$pid"
wait_for refuses
kill -0 "$pid" || fail "a stop did not wait for a download"
stop 143 "$pid"
kill "$download" 2>/dev/null || true

serve stopped --stop-timeout 0
begin_download 1M
stop 1 "$pid"
grep -q 'not all answers.*: 1 connections' stopped.log || fail "no word about answers that were not finished"
kill "$download" 2>/dev/null || true

serve stopped --stop-timeout 0
exec 7<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n' >&7
read -r -t 20 answer <&7
stop 0 "$pid" # it has its answer, so nothing is cut off though it does not end
exec 7>&- 7<&-
[ "$(wc -l <stopped.log)" -eq 1 ] || fail "it complains of an idle client: $(cat stopped.log)"
ok "a stop finishes what is under way; a second signal, or the time, ends it"
