#!/bin/bash
# SPDX-License-Identifier: MIT
# Verifies the models of ferry's protocols with spin(1): run.sh
#
# A model is verified in all the ways in which its threads can meet. Then each step that it can do
# without is left out, one at a time, and spin has to find a fault.
#
# In the batches' model each of two threads writes once. For more, which takes far longer, and much
# memory:
#   spin -DWRITES=4 -a batch.pml && cc -O2 -DSAFETY -DCOLLAPSE pan.c && ./a.out -m200000
set -eu
if ! command -v spin >/dev/null; then
    echo "models: spin is not installed" >&2
    exit 77 # ctest: skipped
fi
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The number of faults that spin finds, it stops at the first: search MODEL OPTION...
search() {
    spin "${@:2}" -a "$here/$1.pml" >spin.log
    cc -O0 -DSAFETY -DCOLLAPSE -o pan pan.c # to compile takes longer than to search
    ./pan -m200000 -w22 >pan.log
    if grep -qE "max search depth too small|Search not completed|out of memory" pan.log &&
        ! grep -q "errors: 1" pan.log; then
        echo "not all was searched: $*" >&2
        exit 1
    fi
    sed -n 's/.*errors: //p' pan.log
}

# expect FAULTS MODEL OPTION...
expect() {
    local found
    found=$(search "${@:2}")
    if [ "$found" != "$1" ]; then
        echo "$found faults found, expected $1: ${*:2}" >&2
        cat "$work/pan.log" >&2
        exit 1
    fi
}

expect 0 batch -DWRITES=2 -DCAP=1 -DSLOTS=1
expect 0 batch -DWRITES=2 -DCAP=2 -DSLOTS=2
for fault in POSTED_AFTER_OPENING BATCH_STAYS_OPEN OPENING_IS_NOT_HEEDED CLOSED_BY_A_STORE \
    NOT_CLOSED_ONCE_MORE TAKEN_BEFORE_THE_NEXT_IS_NUMBERED SLOT_IS_FREE_AT_ONCE NO_MUTEX \
    KNOWN_IS_TOLD_LAST OPENED_UNHEARD; do
    expect 1 batch -DWRITES=2 "-D$fault"
done

expect 0 watermark
for fault in LOOKS_ONCE LOOKS_FIRST WAKES_NOBODY; do
    expect 1 watermark "-D$fault"
done
