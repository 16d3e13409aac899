/* SPDX-License-Identifier: MIT */
/*
 * Batches of small writes (transport/stream/batch.h), for spin(1). run.sh verifies all ways in
 * which two threads that write, one that submits another request and the owner can meet.
 *
 * Every write has one byte, and a batch has room for CAP. The names of steps are those in batch.h.
 * What is proved, for each write and the request:
 *   - It is sent once, with its number in the stream's order.
 *   - It is sent behind all that had returned when it began, on any thread.
 *   - Nobody touches a batch that was sent. Nobody waits for ever: it ends when all is sent.
 *
 * Each name that run.sh defines takes one step of the protocol away. Spin finds a fault then.
 *
 * Spin's memory is sequentially consistent, as the atomics of the code are. One load there is not:
 * a look whether a batch is open. So here a thread may find it closed when it is open (B0). Fields
 * do not overflow here: a claim beyond the end stays there. Aborts and failures are not in it.
 */
#ifndef CAP
#define CAP 2
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef WRITES
#define WRITES 4 /* and as many batches at most */
#endif
#define REQUEST WRITES /* the other request: its number among mail and among operations */
#define HALF    ((WRITES - 1) / 2) /* the first half is one thread's, the second the other's */
#define ALL     (WRITES + 1)
#define NONE    15
#define CLOSED  (CAP + 1)

/* The word of claims: what is beyond CAP is closed. */
byte position = CLOSED;
byte slot = 0;
bool opening = false;

byte open[SLOTS] = NONE;   /* batches, where writers find them */
short committed[SLOTS] = 0; /* less what was claimed, once that is told and is not all there */
bool mutex = false;

/* Batches. */
byte made = 0;
byte bytes[WRITES * CAP] = NONE; /* which write has put its byte there */
byte extent[WRITES] = 0;
bool known[WRITES] = false;
bool whole[WRITES] = false;
bool awaited[WRITES] = false;
bool gone[WRITES] = false;
byte place[WRITES] = NONE; /* its slot */

/* Mail: what was posted, in order. */
byte mail[ALL] = NONE;
byte posted = 0;
bool resuming = false;

/* Sets of operations, without those that were sent. */
byte returned = 0;
byte before[ALL] = 0; /* what had returned when it began */
byte sent = 0; /* but this */

inline begin(op) { before[op] = returned }
inline end(op) { d_step { returned = returned | ((1 << op) & ~sent) } }
inline post(what) { d_step { mail[posted] = what; posted++ } }

#ifdef NO_MUTEX
#define LOCK   skip
#define UNLOCK skip
#else
#define LOCK   atomic { !mutex -> mutex = true }
#define UNLOCK mutex = false
#endif

/* ---- any thread: old, at_slot, its, is_all and wakes are its own ----------------------------- */

/* Its owner may wait for that. */
inline tell(b, is_whole) {
    d_step {
        assert(!gone[b]);
        known[b] = true;
        whole[b] = is_whole;
        wakes = awaited[b]
    }
    if
    :: wakes -> resuming = true
    :: else
    fi;
    wakes = false
}

/* W0 */
inline become_whole(b) {
    open[at_slot] = NONE;
    tell(b, true)
}

inline add_committed(more) {
    d_step { committed[at_slot] = committed[at_slot] + more; is_all = committed[at_slot] == 0 }
}

/* C2 */
inline commit(b) {
    add_committed(1);
    if
    :: is_all -> become_whole(b)
    :: else
    fi;
    is_all = false
}

/* K0 */
inline tell_extent() {
    d_step { its = open[at_slot]; assert(its != NONE && !gone[its]); extent[its] = old }
#ifdef SLOT_IS_FREE_AT_ONCE
    open[at_slot] = NONE;
#endif
    is_all = committed[at_slot] == old;
    if
    :: is_all
    :: else ->
#ifndef KNOWN_IS_TOLD_LAST
        tell(its, false);
#endif
        add_committed(-old);
#ifdef KNOWN_IS_TOLD_LAST
        if
        :: is_all
        :: else -> tell(its, false)
        fi
#endif
    fi;
    if
    :: is_all -> become_whole(its)
    :: else
    fi;
    d_step { its = 0; is_all = false }
}

/* C0: old is what it found. */
inline add() {
    d_step {
        old = position;
        at_slot = slot;
        position = (position < CLOSED -> position + 1 : CLOSED);
        slot = (position < CLOSED -> slot : 0)
    }
}

/* What follows that. Sets is_done. */
inline go_on(op) {
    if
    :: old < CAP -> /* C1 */
        d_step {
            its = open[at_slot];
            assert(its != NONE && !gone[its]);
            bytes[its * CAP + old] = op
        }
        commit(its);
        its = 0;
        is_done = true
    :: old == CAP -> tell_extent()
    :: else
    fi;
    d_step { old = 0; at_slot = 0 }
}

inline post_and_open(op) {
    d_step {
        at_slot = 0;
        do
        :: at_slot < SLOTS && open[at_slot] != NONE -> at_slot++
        :: else -> break
        od;
        its = made;
        made++;
        bytes[its * CAP] = op;
        if
        :: at_slot < SLOTS ->
            place[its] = at_slot;
            open[at_slot] = its;
            committed[at_slot] = 0;
            position = CLOSED;
            opening = true
        :: else -> known[its] = true; whole[its] = true; extent[its] = 1
        fi
    }
#ifndef POSTED_AFTER_OPENING
    post(its);
#endif
    if
    :: at_slot < SLOTS -> d_step { position = 1; slot = at_slot; opening = false }
    :: else
    fi;
#ifdef POSTED_AFTER_OPENING
    post(its);
#endif
    if
    :: at_slot < SLOTS ->
#ifndef OPENED_UNHEARD
        wakes = awaited[its];
        if
        :: wakes -> resuming = true
        :: else
        fi;
        wakes = false;
#endif
        commit(its)
    :: else
    fi;
    d_step { its = 0; at_slot = 0 }
}

inline write(op) {
    atomic {
        is_done = false;
        begin(op);
        if
        :: add()
        :: old = CLOSED /* B0 */
        fi
    }
    go_on(op);
    if
    :: is_done
    :: else ->
        LOCK;
        add();
        go_on(op);
        if
        :: is_done
        :: else -> post_and_open(op)
        fi;
        UNLOCK
    fi;
    end(op)
}

/* O0 */
inline close_open() {
#ifdef CLOSED_BY_A_STORE
    d_step { old = position; at_slot = slot }
    position = CLOSED;
#else
    d_step { old = position; at_slot = slot; position = CLOSED; slot = 0 }
#endif
    if
    :: old <= CAP -> tell_extent()
    :: else
    fi;
    d_step { old = 0; at_slot = 0 }
}

inline let_pass() {
    if
#ifdef OPENING_IS_NOT_HEEDED
    :: position <= CAP ->
#else
    :: position <= CAP || opening ->
#endif
        LOCK;
        if
        :: position <= CAP -> close_open()
        :: else
        fi;
        UNLOCK
    :: else
    fi
}

proctype writer(byte op, last) {
    byte old, at_slot, its;
    bool is_all, wakes, is_done;
    do
    :: op <= last -> write(op); op++
    :: else -> break
    od
}

proctype submitter() {
    byte old, at_slot, its;
    bool is_all, wakes;
    atomic { begin(REQUEST); post(REQUEST) }
#ifndef BATCH_STAYS_OPEN
    let_pass();
#endif
    end(REQUEST)
}

/* ---- the owner ------------------------------------------------------------------------------- */

/* It may have been closed, and another one opened, when the owner closes it. */
inline close_batch(b) {
    if
    :: known[b]
    :: else ->
        if
        :: d_step { position <= CAP && slot == place[b] } -> close_open()
        :: else
        fi
    fi
}

/* Sets is_done. */
inline count(b) {
    is_done = counted[b];
    if
    :: is_done
    :: else ->
        close_batch(b);
        if
        :: known[b]
        :: else ->
            awaited[b] = true;
#ifndef NOT_CLOSED_ONCE_MORE
            close_batch(b)
#endif
        fi;
        is_done = known[b];
        if
        :: is_done -> d_step { counted[b] = true; next_number = next_number + extent[b] - 1 }
        :: else
        fi
    fi
}

/* Sets is_done. @param i where in the mail: whether what is behind that can have its number. */
inline is_counted(i) {
    if
    :: number[queue[i]] == NONE -> is_done = false
    :: else ->
        if
        :: queue[i] == REQUEST -> is_done = true
        :: else -> count(queue[i])
        fi
    fi
}

inline give_number(i) {
    d_step { number[queue[i]] = next_number; next_number++ }
}

inline enqueue() {
    d_step { queue[delivered] = mail[delivered]; mail[delivered] = NONE }
    if
    :: delivered == carried -> is_done = true
    :: else -> is_counted(delivered - 1)
    fi;
    if
    :: is_done -> give_number(delivered)
    :: else -> unnumbered = (unnumbered == NONE -> delivered : unnumbered)
    fi;
    delivered++
}

inline number_late() {
    do
    :: unnumbered == NONE -> break
    :: else ->
        is_counted(unnumbered - 1);
        if
        :: is_done ->
            give_number(unnumbered);
            unnumbered = (unnumbered + 1 < delivered -> unnumbered + 1 : NONE)
        :: else -> break
        fi
    od
}

/* O1. Sets is_done. */
inline take(b) {
    if
#ifndef TAKEN_BEFORE_THE_NEXT_IS_NUMBERED
    :: !counted[b] && carried + 1 < delivered -> is_done = false
#endif
    :: else -> count(b)
    fi;
    if
    :: is_done ->
        d_step { is_done = whole[b]; awaited[b] = awaited[b] | !is_done }
    :: else
    fi
}

inline send_one(op, its_number) {
    assert(op < ALL);
    assert((sent & (1 << op)) == 0);
    assert(before[op] == 0);
    assert(its_number == sent_count);
    sent = sent | (1 << op);
    sent_count++;
    returned = returned & ~sent;
    j = 0;
    do
    :: j < ALL -> before[j] = before[j] & ~sent; j++
    :: else -> break
    od;
    j = 0
}

/* What is gone looks the same however it went: fewer states. */
inline drop(b) {
    gone[b] = true;
    extent[b] = 0;
    known[b] = false;
    whole[b] = false;
    awaited[b] = false;
    place[b] = NONE;
    counted[b] = false;
    i = 0;
    do
    :: i < CAP -> bytes[b * CAP + i] = NONE; i++
    :: else -> break
    od;
    i = 0
}

/* O2 */
inline send(what) {
    d_step {
        if
        :: what == REQUEST -> send_one(REQUEST, number[REQUEST])
        :: else ->
            i = 0;
            do
            :: i < extent[what] -> send_one(bytes[what * CAP + i], number[what] + i); i++
            :: else -> break
            od;
            drop(what)
        fi;
        number[what] = NONE;
        queue[carried] = NONE;
        carried++
    }
}

active proctype owner() {
    byte old, at_slot, its, i, j;
    bool is_all, wakes, is_done, is_due;
    byte delivered, carried; /* so much of the mail */
    byte number[ALL] = NONE;
    bool counted[WRITES];
    byte unnumbered = NONE; /* where in the mail */
    byte next_number, sent_count;
    byte queue[ALL] = NONE; /* the owner's copy of mail */
    atomic { run writer(0, HALF); run writer(HALF + 1, WRITES - 1); run submitter() }
    do
    :: atomic { resuming -> resuming = false }; number_late(); is_due = true
    :: delivered < posted -> enqueue(); is_due = true
    :: is_due && carried == delivered -> is_due = false
    :: is_due && carried < delivered ->
        if
        :: queue[carried] == REQUEST -> is_done = true
        :: else -> take(queue[carried])
        fi;
        if
        :: is_done -> send(queue[carried])
        :: else -> is_due = false
        fi
    :: sent_count == ALL -> break
    od;
    assert(sent == (1 << ALL) - 1)
}
