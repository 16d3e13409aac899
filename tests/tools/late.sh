#!/bin/bash
# SPDX-License-Identifier: MIT
# Whoever reads late has every byte: from each example and from the program, over TCP, after they
# have ended. Usage: late.sh FERRY DIRECTORY_OF_EXAMPLES EXAMPLE...
set -eu
ferry=$(realpath "$1") examples=$(realpath "$2")
# shellcheck source=tests/tools/helpers.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/helpers.sh"
need_tools nc socat curl

# ---- helpers -------------------------------------------------------------------------------------

# What is late waits at the gate; not for ever, lest it be left when a test fails.
mkfifo gate
open_gate() { echo >gate; }

# late FILE COMMAND... : stores what the command reads, but it can write no more than a pipe holds
# before the gate is open. So the rest lies in sockets: of 200,000 bytes more than half. Its pid in
# $pid.
late() {
    "${@:2}" </dev/null 2>late.log | { read -r -t 60 _ <>gate && cat; } >"$1" &
    pid=$!
    children+=("$pid")
}

has() { grep -qE "$2" "$1"; }

# Asked without connecting: what takes one connection only would take that one.
listens() {
    awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, 9) == port { found = 1 }
        END { exit !found }' /proc/net/tcp
}

head -c 200000 /dev/urandom >f200k
(cat f200k && printf EOF) >f200k.EOF
(cat f200k && sum f200k | cut -d ' ' -f 1) >f200k.sum
sent='^200000 bytes sent'

# choose_port : one that was free a moment ago, in $port
choose_port() {
    start probe "$examples/sender" 127.0.0.1:0
    wait_for has probe.log 'listening on'
    port=$(grep -oE '[0-9]+$' probe.log | head -n 1)
    kill -TERM "$pid"
    expect_end 0 "$pid"
}

# end_late FILE EXPECTED : the server has gone; only now what it has sent is read
end_late() {
    open_gate
    expect_end 0 "$client"
    same "$1" "$2"
}

# ---- examples ------------------------------------------------------------------------------------

# serve_lines EXAMPLE EXPECTED : a server that is asked in lines, and ended while its client is late
serve_lines() {
    choose_port
    start "$1" "$examples/$1" "127.0.0.1:$port"
    local server=$pid
    wait_for listens "$port"
    late got bash -c "echo f200k | nc 127.0.0.1 $port"
    client=$pid
    wait_for has "$1.out" "$sent"
    kill -TERM "$server"
    expect_end 0 "$server"
    end_late got "$2"
    ok "$1: a late reader has every byte"
}

test_epoll() { serve_lines epoll f200k; }
test_sender() { serve_lines sender f200k.EOF; }

test_libuv() {
    choose_port
    start libuv "$examples/libuv" "127.0.0.1:$port" f200k 1
    local server=$pid
    wait_for listens "$port"
    late got nc 127.0.0.1 "$port"
    client=$pid
    expect_end 0 "$server"
    end_late got f200k.sum
    ok "libuv: a late reader has every byte"
}

# The late ones are servers here.
test_raii() {
    choose_port
    late got nc -l 127.0.0.1 "$port"
    client=$pid
    wait_for listens "$port"
    start raii "$examples/raii" "127.0.0.1:$port" f200k
    expect_end 0 "$pid"
    (printf '==> f200k <==\n' && cat f200k) >expected
    end_late got expected
    ok "raii: a late reader has every byte"
}

test_glib() {
    choose_port
    late got nc -N -l 127.0.0.1 "$port"
    client=$pid
    wait_for listens "$port"
    start glib "$examples/glib" "127.0.0.1:$port" f200k copy 30
    expect_end 0 "$pid"
    echo f200k >expected
    end_late got expected
    ok "glib: a late reader has every byte"
}

# ---- the program ---------------------------------------------------------------------------------

test_send() {
    choose_port
    late got nc -l 127.0.0.1 "$port"
    client=$pid
    wait_for listens "$port"
    start send "$ferry" send --wait=1 f200k "127.0.0.1:$port"
    expect_end 0 "$pid"
    end_late got f200k
    ok "send: a late reader has every byte"
}

test_serve() {
    choose_port
    start serve "$ferry" serve . --listen "127.0.0.1:$port" --log - --stop-timeout 1
    local server=$pid
    wait_for listens "$port"
    late got curl -s "http://127.0.0.1:$port/f200k"
    client=$pid
    wait_for has serve.out 'f200k.* 200 200000'
    kill -TERM "$server"
    wait_for has_ended "$server" # whose status says that the client has not ended in time
    end_late got f200k
    ok "serve: a late reader has every byte"
}

for name in send serve "${@:3}"; do
    "test_$name"
done
