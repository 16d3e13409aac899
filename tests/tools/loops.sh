#!/bin/bash
# SPDX-License-Identifier: MIT
# An example of an event loop does what it says, with nc or socat at the other end; and while a
# transfer is stuck its loop goes on. Usage: loops.sh DIRECTORY_OF_EXAMPLES EXAMPLE
set -eu
examples=$(realpath "$1") example=$2
# shellcheck source=tests/tools/helpers.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/helpers.sh"
need_tools nc socat

# ---- helpers -------------------------------------------------------------------------------------

# Each example's timer tells something, in a line of this form.
declare -A tick=([epoll]='[0-9]+ clients' [libuv]='[0-9]+ of [0-9]+' [glib]='[0-9]+ bytes' [raii]=waiting)

# run EXAMPLE ARGUMENT...
run() { start "$1" "$examples/$1" "${@:2}"; }

# told EXAMPLE : what else it has told
told() { grep -vxE "${tick[$1]}" "$1.out" || true; }
has_told() { told "$1" | grep -qxE "$2"; }

# tells EXAMPLE LINE... : just these, in this order
tells() { diff <(told "$1") <(printf '%s\n' "${@:2}") >&2 || fail "$1 tells something else"; }

has_ticked() { [ "$(grep -cx "$2" "$1.out")" -ge "$3" ]; }

# In hundredths of a second.
cpu_time() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# goes_on EXAMPLE PID LINE : its timer tells this line again and again, five times a second, and the
# loop sleeps between. That takes a thousandth of a processor; a loop that spins takes as much as it
# can get.
goes_on() {
    local before
    wait_for has_ticked "$1" "$3" 1
    before=$(cpu_time "$2")
    wait_for has_ticked "$1" "$3" $(($(grep -cx "$3" "$1.out") + 5))
    [ $(($(cpu_time "$2") - before)) -lt 10 ] || fail "$1 spins"
}

fds() { find "/proc/$1/fd" -type l | wc -l; }
has_fds() { [ "$(fds "$1")" -eq "$2" ]; }

is_listening() {
    awk -v path="$1" '$4 == "00010000" && $8 == path { found = 1 } END { exit !found }' /proc/net/unix
}

# What waits at the gate goes on when it is opened; not for ever, lest it be left when a test fails.
mkfifo gate
wait_at_gate() { read -r -t 60 _ <>gate; }
open_gate() { echo >gate; }

# slowly FILE COMMAND... : stores what the command writes, but begins at the gate. Its pid in $pid.
slowly() {
    "${@:2}" </dev/null | { wait_at_gate && cat; } >"$1" &
    pid=$!
    children+=("$pid")
}

seq 4000 >small # of 18893 bytes: smaller ones are read
head -c 3000001 /dev/urandom >large
sent='3000001 bytes sent by sendfile'

# ---- epoll ---------------------------------------------------------------------------------------

# ask FILE... : of the server; gives its answer
ask() { printf '%s\n' "$@" | nc -N -U epoll.socket; }

test_epoll() {
    local server client before
    run epoll unix:epoll.socket
    server=$pid
    wait_for has_ticked epoll '0 clients' 1
    before=$(fds "$server")
    ask small missing large ../outside >got
    cat small large >expected
    same got expected
    wait_for has_fds "$server" "$before"

    slowly got ask large
    client=$pid
    goes_on epoll "$server" '1 clients'
    [ "$(ask small)" = "$(cat small)" ] || fail "a stuck client holds up another"
    open_gate
    expect_end 0 "$client"
    same got large
    wait_for has_fds "$server" "$before"
    tells epoll '18893 bytes sent by sendfile' \
        'ENOENT in open: No such file or directory (0 bytes sent, 0 remaining)' "$sent" \
        'EXDEV in open: Invalid cross-device link (0 bytes sent, 0 remaining)' \
        '18893 bytes sent by sendfile' "$sent"
    ok "epoll: files in order, no client delays another or the loop, no fd is left"

    slowly got ask large
    goes_on epoll "$server" '1 clients'
    kill -TERM "$server"
    expect_end 0 "$server"
    open_gate
    has_told epoll 'ECANCELED in sink: .* \([0-9]+ bytes sent, [0-9]+ remaining\)' ||
        fail "what became of the stuck transfer was not told"
    [ ! -e epoll.socket ] || fail "the socket's path is left"
    ok "epoll: SIGTERM ends it in order"
}

# ---- libuv ---------------------------------------------------------------------------------------

test_libuv() {
    local server client before
    { cat large && sum large | cut -d ' ' -f 1; } >expected
    run libuv unix:libuv.socket large 3
    server=$pid
    wait_for has_ticked libuv '0 of 3' 1
    before=$(find "/proc/$server/fd" -type l ! -lname '*/large' | wc -l) # it may be adding up still
    slowly got nc -U libuv.socket
    client=$pid
    goes_on libuv "$server" '0 of 3'
    nc -U libuv.socket </dev/null >got.too
    same got.too expected
    nc -U libuv.socket </dev/null | head -c 1000 >got.less # and away it is
    wait_for has_told libuv '(EPIPE|ECONNRESET) in sink: .*'
    goes_on libuv "$server" '1 of 3'
    open_gate
    expect_end 0 "$client"
    same got expected
    wait_for has_fds "$server" "$before"
    nc -U libuv.socket </dev/null >got
    same got expected
    expect_end 0 "$server"
    sed -E -i 's/^(EPIPE|ECONNRESET) in sink: .*/broken/' libuv.out
    tells libuv '3000001 bytes sent' broken '3000001 bytes sent' '3000001 bytes sent'
    ok "libuv: the file and its sum, also after one that went away, no fd is left"
}

# ---- glib ----------------------------------------------------------------------------------------

# offer FILE COMMAND : to whoever connects, and then what the command writes. What it is asked in
# the file asked, its pid in $pid.
offer() {
    { cat "$1" && "$2"; } | socat -t 60 "UNIX-LISTEN:$work/glib.socket" STDIO >asked &
    pid=$!
    children+=("$pid")
    wait_for is_listening "$work/glib.socket"
}

# fetch [SECONDS]
fetch() { run glib "unix:$work/glib.socket" name copy "${1:-60}"; }

test_glib() {
    local server
    offer large true
    server=$pid
    fetch
    expect_end 0 "$pid"
    expect_end 0 "$server"
    same copy large
    [ "$(cat asked)" = name ] || fail "glib asks for something else"
    tells glib 'copy: 3000001 bytes sent by splice'

    offer small wait_at_gate
    server=$pid
    fetch
    goes_on glib "$pid" '18893 bytes'
    kill -INT "$pid"
    expect_end 1 "$pid"
    open_gate
    expect_end 0 "$server"
    same copy small
    tells glib 'copy: ECANCELED in queue: called off before it was complete: cancelled (0 bytes sent, 0 remaining)'

    offer small wait_at_gate
    server=$pid
    fetch 1
    expect_end 1 "$pid"
    open_gate
    expect_end 0 "$server"
    has_told glib 'copy: ETIMEDOUT in .*' || fail "its time limit was not told"

    fetch
    expect_end 1 "$pid"
    tells glib 'copy: ENOENT in connect: No such file or directory (0 bytes sent, 0 remaining)'
    ok "glib: fetches, tells how far it has come, is interrupted, has so much time"
}

# ---- raii ----------------------------------------------------------------------------------------

# One file behind another, in the order in which their outcomes were told.
expect_files() {
    local name
    told raii | sed -n 's/: OK$//p' | while read -r name; do
        printf '==> %s <==\n' "$name"
        cat "$name"
    done
}

test_raii() {
    local server
    head -c 2000003 /dev/urandom >larger
    slowly got nc -l -U "$work/raii.socket"
    server=$pid
    wait_for is_listening "$work/raii.socket"
    run raii "unix:$work/raii.socket" small large larger large small
    goes_on raii "$pid" waiting
    open_gate
    expect_end 0 "$pid"
    expect_end 0 "$server"
    expect_files >expected
    same got expected
    printf '%s: OK\n' large large larger small small | diff <(told raii | sort) - >&2 ||
        fail "raii tells something else"

    rm "$work/raii.socket"
    slowly got nc -l -U "$work/raii.socket"
    server=$pid
    wait_for is_listening "$work/raii.socket"
    run raii "unix:$work/raii.socket" small missing
    open_gate
    expect_end 1 "$pid"
    expect_end 0 "$server"
    expect_files >expected
    same got expected
    has_told raii 'missing: ENOENT' || fail "a missing file was not told of"

    rm "$work/raii.socket"
    run raii "unix:$work/raii.socket" small
    expect_end 1 "$pid"
    [ "$(cat raii.log)" = 'raii: No such file or directory' ] || fail "what connecting said was not told"
    ok "raii: files of several threads, each whole, told in their order"
}

"test_$example"
