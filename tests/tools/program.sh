#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the program `ferry` promises, tried out on loopback and unix sockets, against itself and
# against nc and socat. usage: program.sh FERRY FERRY_BENCH
set -eu

ferry=$(realpath "$1")
bench=$(realpath "$2")
# shellcheck source=tests/tools/helpers.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/helpers.sh"
need_tools nc socat sha256sum

# ---- helpers -------------------------------------------------------------------------------------

# await_listening NAME : until that process says that it listens; its port, if any, in $port.
await_listening() {
    wait_for grep -qi 'listening on' "$1.log"
    port=$(grep -i 'listening on' "$1.log" | head -n 1 | grep -oE '[0-9]+$' || true)
}

# expect STATUS COMMAND... : runs it to its end; output in out.log.
expect() {
    local wanted=$1 status=0
    shift
    timeout 300 "$@" >out.log 2>&1 </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || fail "exit status $status instead of $wanted: $*"
}

has_size() { [ "$(stat -c %s "$1" 2>/dev/null)" = "$2" ]; }

# ---- things to send ------------------------------------------------------------------------------

head -c 30000001 /dev/urandom >large
head -c 4097 /dev/urandom >small
: >empty
cat large empty small >all

# ---- the command line ----------------------------------------------------------------------------

for command in "" demo send recv serve; do
    # shellcheck disable=SC2086
    expect 0 "$ferry" $command --help
    grep -q Usage: out.log || fail "no usage in the help of '$command'"
done
expect 0 "$ferry" --version
grep -qE '^ferry [0-9]+\.[0-9]+' out.log || fail "no version"
ok "--help and --version"

expect 2 "$ferry" nonsense
expect 2 "$ferry" --nonsense
expect 2 "$ferry" send
expect 2 "$ferry" send small
expect 2 "$ferry" recv
expect 2 "$ferry" recv 127.0.0.1:0
expect 2 "$ferry" recv 127.0.0.1:0 file another
expect 2 "$ferry" serve
expect 2 "$ferry" serve . another
expect 2 "$ferry" serve . --threads 0
expect 2 "$ferry" serve . --threads many
expect 2 "$ferry" serve . --rate 1e6
expect 2 "$ferry" serve . --rate -1
expect 2 "$ferry" serve . --max-connections 0
expect 2 "$ferry" serve . --head-timeout 0
expect 2 "$ferry" serve . --idle-timeout 99999999
expect 2 "$ferry" serve . --nonsense
expect 1 "$ferry" serve missing --listen 127.0.0.1:0
grep -q missing out.log || fail "the message does not name the directory"
expect 1 "$ferry" serve small --listen 127.0.0.1:0
expect 1 "$ferry" serve . --listen 127.0.0.1:0 --log no/such/log
grep -q no/such/log out.log || fail "the message does not name the log"
expect 2 "$ferry" demo --size huge
for address in nonsense 127.0.0.1 127.0.0.1: ::1:1 '[::1]' '[::1' unix:; do
    expect 2 "$ferry" send small "$address"
    expect 2 "$ferry" recv "$address" out
    [ "$address" = :1 ] || expect 1 "$ferry" serve . --listen "$address"
done
ok "bad usage, unreadable addresses"

# Numbers are digits that mean what they say: nobody gets another number than he typed.
bad=('' ' 1' '1 ' +1 -1 0x1 1e3 1.5 many 18446744073709551617 99999999999999999999)
for number in "${bad[@]}"; do
    for option in "send --wait" "demo --threads" "serve --threads" "serve --rate" "serve --max-connections" \
        "serve --head-timeout" "serve --idle-timeout" "serve --stop-timeout"; do
        operands=(.)
        case $option in
        send*) operands=(small 127.0.0.1:1) ;;
        demo*) operands=() ;;
        esac
        expect 2 "$ferry" "${option% *}" "${option#* }=$number" "${operands[@]}"
        grep -q -e "${option#* } takes a whole number from" out.log || fail "no clear message for $option=$number"
    done
done
for token in '' 1 1:2:3:4 1:2:3:4: 1:2:3:4:-1 1:2:3:4:+5 '1:2:3:4: 5' ' 1:2:3:4:5' 1:2:3:4:5x 0x1:2:3:4:5 \
    -1:2:3:4:5 10000000000000000:2:3:4:5 1:2:3:4:9223372036854775808 1:2:3:4:18446744073709551617 1:2:3:4:5:6; do
    expect 2 "$ferry" send --resume="$token" small 127.0.0.1:1
    grep -q -e '--resume takes a token' out.log || fail "no clear message for the token $token"
done
for option in --rounds --client-threads --slow --sizes --connections; do
    for number in "${bad[@]}" 0 1G 1,; do
        expect 2 "$bench" serve "$option" "$number"
        grep -qF "not a" out.log || fail "no clear message for $option $number"
    done
done
ok "numbers that are none, or too large"

# ---- send to recv --------------------------------------------------------------------------------

addresses=(127.0.0.1:0 "unix:$work/socket")
[ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6 && addresses+=('[::1]:0')

# transfer ADDRESS FILE... : by ferry on both ends, into the file out.
transfer() {
    local address=$1 receiver
    shift
    start recv "$ferry" recv "$address" out
    receiver=$pid
    await_listening recv
    expect 0 "$ferry" send "$@" "${address%:0}${port:+:$port}"
    expect_end 0 "$receiver"
}

for address in "${addresses[@]}"; do
    transfer "$address" large
    same large out
    transfer "$address" large empty small
    same all out
    transfer "$address" empty
    same empty out
    [ ! -e socket ] || fail "the socket's path is still there"
    ok "send to recv at $address: one file, several in order, an empty one"
done

start recv "$ferry" recv 127.0.0.1:0 -
await_listening recv
# shellcheck disable=SC2002 # it is to be a pipe
cat large | "$ferry" send - empty small "127.0.0.1:$port" 2>send.log || fail "sending a pipe"
expect_end 0 "$pid"
same all recv.out
ok "standard input and output"

start recv "$ferry" recv "localhost:0" out
await_listening recv
expect 0 "$ferry" send small "localhost:$port"
expect_end 0 "$pid"
same small out
ok "a host by name"

# ---- many connections, and taking one up again ---------------------------------------------------

start recv "$ferry" recv --keep 127.0.0.1:0 many
receiver=$pid
await_listening recv
senders=()
for file in large small empty all; do
    start "send-$file" "$ferry" send "$file" "127.0.0.1:$port"
    senders+=("$pid")
done
for sender in "${senders[@]}"; do
    expect_end 0 "$sender"
done
expect 0 "$ferry" send small "127.0.0.1:$port"
kill -TERM "$receiver"
expect_end 0 "$receiver" # that is how it ends; everything was stored
same small many.5
[ "$(sha256sum many.? | cut -d' ' -f1 | sort)" = "$(sha256sum large small empty all small |
    cut -d' ' -f1 | sort)" ] || fail "what was received is not what was sent"
ok "recv --keep: connections at once and after each other, a file each"

start peer socat -u "UNIX-LISTEN:$work/socket" SYSTEM:"head -c 1000000 >part"
wait_for test -S socket
expect 1 "$ferry" send large "unix:$work/socket"
token=$(grep -oE -e '--resume=[0-9a-f:]+' out.log) || fail "no token"
rm -f socket
has_size part 1000000 || fail "this test expects a part of a file"
start recv "$ferry" recv --append "unix:$work/socket" part
await_listening recv
expect 0 "$ferry" send "${token}1000000" large "unix:$work/socket"
expect_end 0 "$pid"
same large part
touch -d tomorrow large
start recv "$ferry" recv --append "unix:$work/socket" part
receiver=$pid
await_listening recv
expect 1 "$ferry" send "${token}1000000" large "unix:$work/socket"
expect_end 0 "$receiver" # a unix socket has no reset: nothing came
same large part
expect 2 "$ferry" send "${token}" large "unix:$work/socket"
expect 2 "$ferry" send "${token}1" large small "unix:$work/socket"
ok "send --resume: the rest of a file that broke off; not of one that has changed"

start recv sh -c "'$ferry' recv 127.0.0.1:0 - | cat"
await_listening recv
expect 0 "$ferry" send all "127.0.0.1:$port"
expect_end 0 "$pid"
same all recv.out
ok "recv into a pipe"

# ---- failures ------------------------------------------------------------------------------------

echo untouched >out
start recv "$ferry" recv 127.0.0.1:0 out
receiver=$pid
await_listening recv
expect 1 "$ferry" send small missing "127.0.0.1:$port"
grep -q missing out.log || fail "the message does not name the file"
expect 1 "$ferry" send small . "127.0.0.1:$port"
grep -qi directory out.log || fail "the message does not name the reason"
grep -q untouched out || fail "a transfer that never began emptied the file"
kill -TERM "$receiver"
expect_end 143 "$receiver"
ok "a missing file and a directory: nothing is sent"

start recv "$ferry" recv 127.0.0.1:0 out
receiver=$pid
await_listening recv
expect 1 "$ferry" send small /proc/self/mem "127.0.0.1:$port" # its first byte cannot be read
grep -q /proc/self/mem out.log || fail "the message does not name the file"
expect_end 1 "$receiver"
ok "a file that fails after others were sent: the receiver fails too"

mkfifo fifo
exec 9<>fifo
start recv "$ferry" recv 127.0.0.1:0 out
receiver=$pid
await_listening recv
start send "$ferry" send large fifo "127.0.0.1:$port"
wait_for has_size out 30000001
kill -TERM "$pid"
expect_end 143 "$pid"
expect_end 1 "$receiver"
ok "a sender that is interrupted: the receiver fails too"

start recv "$ferry" recv 127.0.0.1:0 out
receiver=$pid
await_listening recv
start send "$ferry" send large fifo "127.0.0.1:$port"
wait_for has_size out 30000001
kill -TERM "$receiver"
expect_end 143 "$receiver"
echo more >&9
expect_end 1 "$pid"
ok "a receiver that is interrupted: the sender fails too"

for file in large small; do
    start recv "$ferry" recv 127.0.0.1:0 /dev/full
    receiver=$pid
    await_listening recv
    expect 1 "$ferry" send "$file" "127.0.0.1:$port"
    expect_end 1 "$receiver"
    grep -q '/dev/full.*No space' recv.log || fail "the message does not name file and reason"
done
ok "a full disk: both ends fail"

expect 1 "$ferry" recv 127.0.0.1:0 no/such/directory/out
grep -q no/such/directory/out out.log || fail "the message does not name the file"
expect 1 "$ferry" send small "unix:$work/nobody"
expect 1 "$ferry" send small "127.0.0.1:$port" # whose listener is gone
grep -q refused out.log || fail "the message does not name the reason"
expect 1 "$ferry" send small 127.0.0.1:no-such-service
ok "nobody there, nowhere to store"

# ---- paths of unix sockets -----------------------------------------------------------------------

start recv "$ferry" recv "unix:$work/socket" out
await_listening recv
expect 1 "$ferry" recv "unix:$work/socket" other
grep -q 'in use' out.log || fail "the message does not name the reason"
[ -S socket ] || fail "the path of a live socket was removed"
expect 0 "$ferry" send small "unix:$work/socket"
expect_end 0 "$pid"
same small out
start recv "$ferry" recv "unix:$work/socket" out
await_listening recv
kill -KILL "$pid"
expect_end 137 "$pid" 2>/dev/null # the shell has a word on that
[ -S socket ] || fail "this test expects a stale socket here"
transfer "unix:$work/socket" small
same small out
echo precious >precious
expect 1 "$ferry" recv "unix:$work/precious" out
grep -q precious precious || fail "a file was replaced by a socket"
start recv "$ferry" recv "unix:$work/socket" out
await_listening recv
kill -TERM "$pid"
expect_end 143 "$pid"
[ ! -e socket ] || fail "the socket's path is still there after an interruption"
ok "stale sockets are replaced, live ones and files are not, one's own is removed"

# ---- nc and socat at the other end ---------------------------------------------------------------

start peer nc -lvn 127.0.0.1 0
await_listening peer
expect 0 "$ferry" send large empty small "127.0.0.1:$port"
expect_end 0 "$pid"
same all peer.out
start peer nc -lvU "$work/socket"
await_listening peer
expect 0 "$ferry" send large empty small "unix:$work/socket"
expect_end 0 "$pid"
same all peer.out
rm -f socket
ok "send to nc"

start peer socat -d -d -u TCP-LISTEN:0,bind=127.0.0.1 CREATE:out
await_listening peer
expect 0 "$ferry" send large empty small "127.0.0.1:$port"
expect_end 0 "$pid"
same all out
start peer socat -d -d -u "UNIX-LISTEN:$work/socket" CREATE:out
await_listening peer
expect 0 "$ferry" send large empty small "unix:$work/socket"
expect_end 0 "$pid"
same all out
ok "send to socat"

start peer socat -d -d -t 60 TCP-LISTEN:0,bind=127.0.0.1 'OPEN:fifo,rdonly!!CREATE:out'
await_listening peer
expect 0 "$ferry" send --wait 1 large empty small "127.0.0.1:$port"
grep -q 'has not ended' out.log || fail "no word about a receiver that goes on"
wait_for has_size out "$(stat -c %s all)"
same all out
kill "$pid"
ok "send to one that keeps its own direction open"

start recv "$ferry" recv 127.0.0.1:0 out
await_listening recv
nc -N 127.0.0.1 "$port" <all
expect_end 0 "$pid"
same all out
start recv "$ferry" recv "unix:$work/socket" out
await_listening recv
nc -NU "$work/socket" <all
expect_end 0 "$pid"
same all out
ok "nc to recv"

start recv "$ferry" recv 127.0.0.1:0 out
await_listening recv
socat -u OPEN:all "TCP:127.0.0.1:$port"
expect_end 0 "$pid"
same all out
start recv "$ferry" recv "unix:$work/socket" out
await_listening recv
socat -u OPEN:all "UNIX-CONNECT:$work/socket"
expect_end 0 "$pid"
same all out
ok "socat to recv"

# ---- the demo ------------------------------------------------------------------------------------

for placement in dedicated shared; do
    mkdir -p tmp
    expect 0 env TMPDIR="$work/tmp" "$ferry" demo --size small --placement "$placement"
    grep -q 'Every byte arrived' out.log || fail "no verdict"
    rmdir tmp || fail "the demo left files behind"
done
expect 1 env TMPDIR="$work/nowhere" "$ferry" demo --size small
ok "demo"
