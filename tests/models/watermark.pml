/* SPDX-License-Identifier: MIT */
/*
 * Watermarks beside writes that bring their owner no turn (transport/send/watermark.c), for spin(1).
 * run.sh verifies all ways in which two writers and the owner can meet. The names of steps are
 * those in watermark.c.
 *
 * What is proved: once all have written and the owner sleeps, it has noted on which side of the
 * marks the queue is. Each name that run.sh defines takes one step away. Spin finds a fault then.
 */
#define WRITERS 2
#define WRITES  2 /* of each; a write is one byte */
#define HIGH    2
#define LOW     0
#define TURNS   2 /* for which the sink wakes the owner, whoever else does */

byte level = 0;
bool is_above = false;
bool resuming = false; /* the mail that wakes the owner is under way */
byte ready = TURNS;    /* how often the sink may still have room */
byte written = 0;      /* writers that have done */
bool sleeps = true;

inline look() {
    do
    :: seen = level; /* L0 */
       now = seen >= HIGH || (is_above && seen > LOW);
       if
       :: now == is_above -> break
       :: else -> is_above = now /* L1 */
       fi
#ifdef LOOKS_ONCE
       ; break
#endif
    od
}

active proctype owner() {
    byte seen, count;
    bool now;
end:
    do
    :: atomic { resuming -> resuming = false; sleeps = false }
       look();
       look();
       sleeps = true
    :: atomic { ready > 0 -> ready--; sleeps = false }
       look();
       select(count : 0 .. level); /* only the owner takes: so many are there */
       level = level - count;
       look();
       sleeps = true
    od
}

active [WRITERS] proctype writer() {
    byte i;
    bool noted;
    for (i : 1 .. WRITES) {
#ifdef LOOKS_FIRST
        noted = is_above;
        level++;
#else
        level++; /* N0 */
        noted = is_above; /* N1 */
#endif
        if
        :: !noted && level >= HIGH ->
#ifndef WAKES_NOBODY
           resuming = true
#else
           skip
#endif
        :: else
        fi
    }
    written++
}

active proctype end_of_all() {
    atomic {
        written == WRITERS && sleeps && !resuming;
        assert(level < HIGH || is_above);
        assert(level > LOW || !is_above)
    }
}
