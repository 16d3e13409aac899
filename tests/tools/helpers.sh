# SPDX-License-Identifier: MIT
# What the tests of the program share: a directory of their own, processes that they end, waiting.
# To be sourced; then $work is the working directory.

work=$(mktemp -d)
children=()

cleanup() {
    local pid
    for pid in "${children[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    chmod -R u+rwX "$work"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}

# need_tools TOOL...
need_tools() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "this test needs $tool"
    done
}

# wait_for COMMAND... : until it succeeds; two minutes are far more than anything here takes.
wait_for() {
    local deadline=$((SECONDS + 120))
    until "$@"; do
        [ $SECONDS -lt $deadline ] || fail "waited in vain for: $*"
        sleep 0.02
    done
}

# start NAME COMMAND... : in the background, but not deaf to SIGINT; standard output in NAME.out,
# standard error in NAME.log, its pid in $pid.
start() {
    local name=$1
    shift
    : >"$name.log"
    env --default-signal=INT,QUIT "$@" >"$name.out" 2>"$name.log" &
    pid=$!
    children+=("$pid")
}

has_ended() { ! kill -0 "$1" 2>/dev/null; }

# expect_end STATUS PID : of a process that was started; STATUS may be "failure".
expect_end() {
    local status=0
    wait_for has_ended "$2"
    wait "$2" 2>/dev/null || status=$?
    if [ "$1" = failure ]; then
        [ "$status" -ne 0 ] || fail "process $2 ended well"
    else
        [ "$status" -eq "$1" ] || fail "exit status $status instead of $1, of process $2"
    fi
}

same() {
    [ "$(sha256sum <"$1")" = "$(sha256sum <"$2")" ] || fail "$1 and $2 differ"
}
ok() { echo "ok: $*"; }

cd "$work"
