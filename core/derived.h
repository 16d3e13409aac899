/* SPDX-License-Identifier: MIT */
/*
 * Promises that are made of others: one state machine, whatever is made of them.
 *
 * A derived promise waits for parts, each on a tie: the observer of that part. When a part settles
 * its tie is delivered to the thread that made the derived promise, its home, and the rule looks:
 *
 *   waiting --(a part settled; the rule: not yet)--> waiting
 *           --(the rule waits for another promise on that tie, or on others)--> waiting
 *           --(the rule: settle with this)--> settled; parts that it still waits for are cancelled
 *           --(cancelled)--> settled with -ECANCELED; parts that it waits for are cancelled
 *
 * So everything but the posting happens on the home thread, in the order of its inbox, and needs no
 * lock. Parts that had settled before and parts that settle later come the same way. All, any, a
 * chain and a map differ in the rule alone (combine.c). The rule is the state: one rule may put
 * another in its place. A tie, once delivered, may wait for another promise.
 *
 * A derived promise is quiet once it and all that it was ever made of have settled. If it settles
 * before that it says so (FERRY__SETTLES_EARLY), counts what is left, and tells the ties above it
 * when the last of that has settled. A tie whose part is not quiet yet is owing: it waits for that,
 * and for no other promise meanwhile. A rule that goes on gets another tie of the same number. Two
 * that wait for each other by mistake are not waited for in this way: else neither would ever go.
 *
 * If the home thread has ended, mail is given back, on any threads at once. The first of these
 * threads settles the derived promise with -ECANCELED. After that each thread touches only the tie
 * that it was given, and the count of what is left. Parts that are still under way go on.
 *
 * References: each tie that waits holds one to the derived promise, so that it lives on when the
 * program has dropped it. As an observer it also holds one to its part. A derived promise that
 * keeps its parts holds these until its own end. No call here calls itself through another promise:
 * outcomes and cancels travel as mail.
 */
#ifndef FERRY_CORE_DERIVED_H
#define FERRY_CORE_DERIVED_H

#include "core/own.h"

#include <ferry/combine.h>

typedef struct ferry__derived ferry__derived;

/*
 * Looks at a part that has settled, on the home thread. May run a block of the program's.
 * @param index its tie's number; the part is that tie's observer.promise, unless the rule has it
 *        wait for another.
 * @param outcome at first the part's, the value borrowed; what to settle with.
 * @return whether to settle now. If so, a value in the outcome that is not the part's is taken. If
 *         not, the rule has released such a value.
 */
typedef bool ferry__rule(ferry__derived *derived, size_t index, ferry_outcome *outcome);

/* What a derived promise waits for, or did. */
typedef struct ferry__tie {
    ferry__observer observer;   /* first; its promise is the part */
    ferry__derived *derived;    /* whose tie it is; while it waits or owes, a reference */
    size_t index;               /* its number */
    bool is_waiting;            /* for the part, which the rule has not looked at yet */
    bool is_owing;              /* the part has settled, but is not quiet yet */
    bool is_exempt;             /* the part is not cancelled with the derived promise */
    bool is_time;               /* the part is a mere time: nobody waits for it to be quiet */
    bool is_circular;           /* the part waits for the derived promise: the same */
    ferry_promise *kept;        /* the settled part, an observer's reference; or NULL */
    struct ferry__tie *further; /* one more of that number, for when this one owes; or NULL */
} ferry__tie;

/* What rules remember. */
typedef union ferry__memory {
    ferry_chain chain;
    struct {
        ferry_retry options;
        size_t attempts; /* begun so far */
        int64_t pause_ms;
    } retry;
    struct {
        ferry_map options;
        size_t started; /* items begun so far */
    } map;
} ferry__memory;

struct ferry__derived {
    ferry__own own; /* first */

    /* The home thread's. */
    ferry__rule *rule;
    ferry__memory memory;
    void *arg;              /* the blocks' */
    ferry_release *release; /* of it, or NULL: called before it settles */
    ferry_result sum;       /* of parts that were counted: bytes sent and remaining */
    size_t waiting;         /* ties that wait */
    bool is_settled;        /* what comes from now on is only given back */
    bool keeps_parts; /* parts that settle before it does stay, for ferry_promise_get_member */
    bool is_in_rule;  /* a rule runs: a block of the program's may end the thread in it */
    bool is_patient;  /* the rule looks at parts that are quiet; a cancel is for the parts alone */

    /* The home thread's; any thread's once that has ended. */
    atomic_size_t left; /* ties that wait or owe, and one more until it has settled; 0: quiet */

    /* Any thread. */
    ferry__observers quiet_observers; /* if it settles early: who waits for it to be quiet */
    atomic_bool is_given_up;          /* the home thread has ended */
    ferry__mail cancel_mail;          /* posted by the thread that cancels it */
    size_t tie_count;
    ferry__tie ties[];
};

/*
 * Makes a derived promise with one reference, the caller's, that waits for nothing yet. Home is the
 * calling thread.
 * @return 0; -EDEADLK: on an owner thread; -ENOMEM.
 */
int ferry__derived_create(ferry__rule *rule, size_t tie_count, ferry__derived **ret_derived);

/*
 * The home thread. Waits for a promise on a tie that waits for none. Takes no reference of the
 * caller's.
 * @return 0; -ECHILD: it is pending, and of the parent process; -EDEADLK: it is derived itself;
 *         -ENOMEM: only where a part of that number has settled before.
 */
int ferry__derived_wait(ferry__derived *derived, size_t index, ferry_promise *part);

#endif
