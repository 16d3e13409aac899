#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How the program `ferry` gets on with what it is started by: signals, descriptors 0, 1 and 2,
# limits. Usage: citizen.sh FERRY
set -eu

ferry=$(realpath "$1")
# shellcheck source=tests/tools/helpers.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/helpers.sh"
need_tools perl sha256sum

head -c 3000001 /dev/urandom >large
mkfifo fifo
mkdir site
address=unix:$work/socket
listens() { grep -q " 00010000 .* $work/socket\$" /proc/net/unix; }
has_some() { [ -s "$1" ]; }

# run NAME SETUP COMMAND ARGUMENT... : a command of ferry's, after its shell was set up; its pid in
# $pid. What bash starts in the background ignores SIGINT and SIGQUIT: not here.
run() {
    start "$1" perl -e '$SIG{INT} = $SIG{QUIT} = "DEFAULT"; exec @ARGV' \
        bash -c "$2; exec '$ferry' \"\$@\"" ferry "${@:3}"
}

# receive SETUP FILE : at $address; its pid in $receiver.
receive() {
    rm -f out
    run recv "$1" recv "$address" "$2"
    receiver=$pid
    wait_for listens
}

send() { timeout 120 "$ferry" send "$@" "$address"; }

# ---- signals -------------------------------------------------------------------------------------

for signal in HUP INT TERM QUIT; do
    receive "trap '' $signal" out
    run send "trap '' $signal" send large fifo "$address"
    sender=$pid
    exec 9>fifo
    wait_for has_some out
    kill -s "$signal" "$sender" "$receiver"
    cat large >&9
    exec 9>&-
    expect_end 0 "$sender"
    expect_end 0 "$receiver"
    cat large large >twice
    same twice out
done
run serve "trap '' TERM INT" serve site --listen "$address"
wait_for listens
kill -TERM "$pid"
kill -INT "$pid"
[ "$(grep -c Z "/proc/$pid/stat")" = 0 ] || fail "an ignored signal ended the server"
kill -KILL "$pid"
expect_end 137 "$pid" 2>/dev/null # the shell has a word on that
ok "what was ignored at the start stays so"

# Says by which signal a command of ferry's ended that got it when it listened.
ended_by() {
    perl -e '
        ($signal, $log, @command) = @ARGV;
        if (!($pid = fork)) { open STDERR, ">", $log; exec @command }
        select undef, undef, undef, 0.02 while !-s $log;
        kill $signal, $pid;
        waitpid $pid, 0;
        print $? & 127, " ", $? >> 8' "$1" ended.log "$ferry" "${@:2}"
    rm ended.log
}
[ "$(ended_by TERM recv "$address" out)" = "15 0" ] || fail "recv does not die by SIGTERM"
[ "$(ended_by HUP recv "$address" out)" = "1 0" ] || fail "recv does not die by SIGHUP"
[ ! -e socket ] || fail "the socket's path is left"
[ "$(ended_by INT recv --keep "$address" out)" = "0 0" ] || fail "recv --keep fails at SIGINT"
[ "$(ended_by TERM serve site --listen "$address")" = "0 0" ] || fail "serve fails at SIGTERM"
ok "what a signal ended dies by it, having cleaned up"

# Process 1 gets no signal that it does not ask for. What starts it is its parent, and ends as it
# does.
alone=(unshare --pid --fork --kill-child)
[ "$(id -u)" = 0 ] || alone+=(--user --map-root-user)
if "${alone[@]}" true 2>/dev/null; then
    for command in "recv $address out" "demo --size medium"; do
        # shellcheck disable=SC2086
        start one "${alone[@]}" "$ferry" $command
        outer=$pid
        wait_for pgrep -P "$outer" >/dev/null
        if [ "$command" != "${command#recv}" ]; then wait_for listens; else wait_for has_some one.out; fi
        kill -TERM "$(pgrep -P "$outer")"
        expect_end 143 "$outer"
    done
    ok "process 1 of a container ends at SIGTERM, too"
fi

receive : out
run send : send large fifo large "$address"
sender=$pid
exec 9>fifo
wait_for has_some out
kill -STOP "$sender" "$receiver"
kill -CONT "$sender" "$receiver"
echo more >&9
exec 9>&-
expect_end 0 "$sender"
expect_end 0 "$receiver"
cat large <(echo more) large >expected
same expected out
ok "stopped and continued"

# ---- descriptors ---------------------------------------------------------------------------------

# Each subset of them, as 1, 2 and 4; what is closed has its place kept by something harmless.
for closed in 1 2 3 4 5 6 7; do
    setup=:
    [ $((closed & 1)) = 0 ] || setup="$setup; exec <&-"
    [ $((closed & 2)) = 0 ] || setup="$setup; exec >&-"
    [ $((closed & 4)) = 0 ] || setup="$setup; exec 2>&-"
    receive "$setup" out
    for fd in 0 1 2; do
        [ $((closed & 1 << fd)) = 0 ] || [ "$(readlink "/proc/$receiver/fd/$fd")" = /dev/null ] ||
            fail "fd $fd is $(readlink "/proc/$receiver/fd/$fd")"
    done
    run send "$setup" send large "$address"
    expect_end 0 "$pid"
    expect_end 0 "$receiver"
    same large out
done
for command in "recv $address -" "send - $address" "send large - $address"; do
    status=0
    # shellcheck disable=SC2086
    "$ferry" $command <&- >&- 2>closed.log || status=$?
    [ "$status" = 1 ] || fail "exit status $status of $command with that closed"
    grep -q -- '-: Bad file descriptor' closed.log || fail "the message does not name the reason"
    [ ! -e socket ] || fail "the socket's path is left"
done
ok "descriptors that are closed: no file or socket takes their place"

for command in --help --version "serve --help" "demo --size small"; do
    status=0
    # shellcheck disable=SC2086
    "$ferry" $command >/dev/full 2>full.log || status=$?
    [ "$status" = 1 ] || fail "exit status $status of $command when nobody can read it"
    grep -q 'standard output: No space' full.log || fail "no word of $command that nobody can read it"
done
ok "a standard output that is full is a failure"

# The reader of messages takes the first line, and goes.
rm -f out
start recv bash -c "{ '$ferry' recv '$address' out; echo \$? >status; } 2>&1 | head -n 1"
wait_for has_some recv.out
wait_for listens
{ send large; echo $? >send.status; } 2>&1 | true
expect_end 0 "$pid"
[ "$(cat status send.status)" = $'0\n0' ] || fail "who has no reader for his messages fails"
same large out
ok "messages that nobody reads end nothing"

receive : out
(ulimit -f 0 && send large 2>full.log) || fail "a message beyond the limit of a file's size ends it"
expect_end 0 "$receiver"
same large out
receive 'ulimit -f 1000' out
send large 2>send.log && fail "a file of limited size stored more"
expect_end 1 "$receiver"
grep -q 'File too large' recv.log || fail "the message does not name the reason"
ok "a limit of file sizes is an error, not the end"

# ---- limits --------------------------------------------------------------------------------------

all_fds() { awk '/^Max open files/ { exit $4 != $5 }' "/proc/$1/limits"; }
for command in "recv --keep $address out" "serve site --listen $address"; do
    # shellcheck disable=SC2086
    run limited 'ulimit -Sn 100' $command
    wait_for listens
    all_fds "$pid" || fail "$command keeps to the soft limit of fds"
    kill -TERM "$pid"
    expect_end 0 "$pid"
done
ok "as many fds as the system allows"
